from multiprocessing.pool import ThreadPool

import numpy as np
import pytest
from toy_data import Shapes, Toy, assert_same, config, ids, shapes

from mrcnn.data.anchors import pyramid_anchors
from mrcnn.data.batches import INPUT_NAMES, DataGenerator
from mrcnn.data.random_rois import generate_random_rois
from mrcnn.data.samples import load_image_gt
from mrcnn.model import build_detection_targets, data_generator

# Order


def test_recipes_draw_from_the_global_state_where_no_generator_is_given():
    def turned(seed):
        np.random.seed(seed)
        return load_image_gt(shapes(1), config(), 0, augmentation="turn")[3]

    np.testing.assert_array_equal(turned(0), turned(0))
    assert any((turned(seed) != turned(0)).any() for seed in range(1, 5))


def test_batch_i_is_batch_i():
    """The original ignored the index, so that the same call gave another batch."""
    generator = DataGenerator(shapes(6), config(), augment=True)
    first, second = generator[0], generator[1]
    assert len(generator) == 3 and ids(first) != ids(second)
    assert_same(generator[1], second)
    assert_same(generator[0], first)
    assert [int(i) for i in generator.image_ids(1)] == ids(second)


def test_crops_are_seeded_too():
    dataset = shapes(4, size=(96, 96))
    dataset.load_image = lambda i: np.random.default_rng(i).integers(0, 255, (96, 96, 3), dtype="uint8")
    generator = DataGenerator(dataset, config(IMAGE_RESIZE_MODE="crop"), shuffle=False, steps=4)
    assert_same(generator[1], generator[1])
    one, two = generator[0][0], generator[2][0]  # the same images, one pass later
    assert ids((one,)) == ids((two,)) and not np.array_equal(one["input_image"], two["input_image"])


def test_without_shuffle_it_goes_through_the_data_set():
    """In the original it repeated one batch."""
    generator = DataGenerator(shapes(5), config(), shuffle=False)
    assert [ids(generator[i]) for i in range(len(generator))] == [[0, 1], [2, 3], [4, 0]]
    generator.on_epoch_end()
    assert [ids(generator[i]) for i in range(3)] == [[1, 2], [3, 4], [0, 1]]


def sequence(generator, epochs):
    found = []
    for _ in range(epochs):
        found += [i for batch in range(len(generator)) for i in ids(generator[batch])]
        generator.on_epoch_end()
    return found


def test_passes_follow_each_other_without_a_gap():
    found = sequence(DataGenerator(shapes(5), config(), steps=3, seed=7), 5)  # six images an epoch, five a pass
    passes = [found[i : i + 5] for i in range(0, 30, 5)]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in passes)
    assert len({tuple(order) for order in passes}) > 3
    assert sequence(DataGenerator(shapes(5), config(), steps=3, seed=7), 5) == found
    assert sequence(DataGenerator(shapes(5), config(), steps=3, seed=8), 5) != found


def test_resuming_goes_on_in_the_same_sequence():
    whole = DataGenerator(shapes(5), config(), steps=3, augment=True)
    for _ in range(2):
        whole.on_epoch_end()
    resumed = DataGenerator(shapes(5), config(), steps=3, augment=True, epoch=2)
    for i in range(3):
        assert_same(whole[i], resumed[i])


def test_threads_do_not_change_the_batches():
    def make():
        return DataGenerator(shapes(8, bad=[3]), config(MAX_GT_INSTANCES=1), augment=True, steps=12, seed=3)

    serial = make()
    expected = [serial[i] for i in range(12)]
    generator = make()
    with ThreadPool(2) as pool:
        found = pool.map(generator.__getitem__, reversed(range(12)), chunksize=1)
    for one, two in zip(reversed(found), expected, strict=True):
        assert_same(one, two)
    assert list(generator.bad) == [3]


# What a batch holds


def test_batch_of_arrays():
    generator = DataGenerator(shapes(2), config(), shuffle=False)
    (batch,) = generator[0]
    anchors = 3 * (16**2 + 8**2 + 4**2 + 2**2 + 1)
    expected = {
        "input_image": ((2, 64, 64, 3), "float32"),
        "input_image_meta": ((2, 15), "float32"),
        "input_rpn_match": ((2, anchors, 1), "int32"),
        "input_rpn_bbox": ((2, 256, 4), "float32"),
        "input_gt_class_ids": ((2, 4), "int32"),
        "input_gt_boxes": ((2, 4, 4), "float32"),
        "input_gt_masks": ((2, 8, 8, 4), "bool"),
    }
    assert {name: (value.shape, str(value.dtype)) for name, value in batch.items()} == expected
    assert set(batch) == set(INPUT_NAMES)
    np.testing.assert_allclose(batch["input_image"][1, 5, 5], 2 - np.array(Toy.MEAN_PIXEL), rtol=1e-6)
    np.testing.assert_array_equal(batch["input_gt_class_ids"], [[1, 0, 0, 0], [2, 0, 0, 0]])
    np.testing.assert_array_equal(batch["input_gt_boxes"][1], [[2, 8, 34, 40], [0] * 4, [0] * 4, [0] * 4])
    full = DataGenerator(shapes(2), config(USE_MINI_MASK=False), shuffle=False)[0][0]["input_gt_masks"]
    np.testing.assert_array_equal(full[1, :, :, :1], shapes(2).load_mask(1)[0])
    assert full.shape == (2, 64, 64, 4) and not full[:, :, :, 1:].any()


def test_meta_is_float32_whatever_the_first_image_is():
    """The original took the first image's dtype: an int scale of 1 cut the other's 64 / 48 to 1."""
    dataset = shapes(2, size=[(64, 64), (48, 48)])
    meta = DataGenerator(dataset, config(), shuffle=False)[0][0]["input_image_meta"]
    assert meta.dtype == np.float32
    np.testing.assert_allclose(meta[:, 11], [1, 64 / 48])


def test_an_image_without_instances_is_background():
    """The original skipped it."""
    (batch,) = DataGenerator(Shapes([[]]), config(IMAGES_PER_GPU=1))[0]
    assert ids((batch,)) == [0]
    for name in ("input_gt_class_ids", "input_gt_boxes", "input_gt_masks", "input_rpn_bbox"):
        assert not batch[name].any(), name
    match = batch["input_rpn_match"]
    assert (match == -1).sum() == 256 and not (match == 1).any()


def test_crowds_have_negative_ids():
    dataset = Shapes([[(-1, 0, 0, 64, 64), (2, 8, 8, 24, 24)]])
    (batch,) = DataGenerator(dataset, config(IMAGES_PER_GPU=1))[0]
    assert batch["input_gt_class_ids"].tolist() == [[-1, 2, 0, 0]]
    assert batch["input_gt_boxes"][0, 0].tolist() == [0, 0, 64, 64]
    match = batch["input_rpn_match"][0, :, 0]
    anchors = pyramid_anchors(config(), (64, 64, 3))
    inside = np.all((anchors[:, :2] >= 0) & (anchors[:, 2:] <= 64), axis=1)
    assert (match == 1).any() and not (match[inside] == -1).any()


def test_more_instances_than_allowed():
    boxes = [(1 + i % 2, 5 * i, 0, 5 * i + 10 + i, 20) for i in range(9)]
    (batch,) = DataGenerator(Shapes([boxes]), config(IMAGES_PER_GPU=1, USE_MINI_MASK=False))[0]
    class_ids, found, masks = (batch[f"input_gt_{name}"][0] for name in ("class_ids", "boxes", "masks"))
    assert len(class_ids) == 4
    chosen = [(int(c), *(int(v) for v in box)) for c, box in zip(class_ids, found, strict=True)]
    assert len(set(chosen)) == 4 and set(chosen) <= set(boxes)
    np.testing.assert_array_equal(masks, Shapes([chosen]).load_mask(0)[0])


def test_unaugmented_sources():
    dataset = shapes(4)
    flips = DataGenerator(dataset, config(), shuffle=False, augment=True, no_augmentation_sources=["other"], steps=20)
    left = {0: set(), 1: set()}
    for i in range(20):
        (batch,) = flips[i]
        for image_id, box in zip(ids((batch,)), batch["input_gt_boxes"][:, 0], strict=True):
            left[image_id % 2].add(int(box[1]))
    assert left == {0: {8, 24}, 1: {8}}


def test_given_rois():
    toy = config(USE_RPN_ROIS=False, POST_NMS_ROIS_TRAINING=50)
    rois = DataGenerator(shapes(2), toy, shuffle=False)[0][0]["input_rois"]
    assert rois.shape == (2, 50, 4) and rois.dtype == np.float32
    y1, x1, y2, x2 = np.moveaxis(rois, -1, 0)
    assert (y2 > y1).all() and (x2 > x1).all() and rois.min() >= 0 and rois.max() <= 64


def test_random_rois_lie_near_the_instances():
    box = np.array([[100, 200, 120, 260]])
    rois = generate_random_rois((1000, 1000, 3), 500, np.array([1]), box, np.random.default_rng(0))
    near = (rois >= [80, 140, 80, 140]).all(axis=1) & (rois <= [140, 320, 140, 320]).all(axis=1)
    assert rois.shape == (500, 4) and rois.dtype == np.int32 and near[:450].all() and near[450:].sum() < 5
    assert generate_random_rois((64, 64), 7, np.zeros(0), np.zeros((0, 4))).shape == (7, 4)


# The original's generator


@pytest.mark.parametrize("batch_size", [1, 3])
def test_data_generator(batch_size):
    generator = data_generator(shapes(4), config(), shuffle=False, batch_size=batch_size)
    batches = [next(generator) for _ in range(5)]
    expected = DataGenerator(shapes(4), config(IMAGES_PER_GPU=batch_size), shuffle=False)[0][0]
    inputs, outputs = batches[0]
    assert outputs == [] and len(inputs) == 7
    for name, value in zip(INPUT_NAMES, inputs, strict=True):
        np.testing.assert_array_equal(value, expected[name])
    order = [int(i) for inputs, _ in batches for i in inputs[1][:, 0]]
    assert order == [i % 4 for i in range(5 * batch_size)]


def test_data_generator_with_rois():
    toy = config()
    (*inputs, rois), outputs = next(data_generator(shapes(4), toy, random_rois=60, batch_size=2))
    assert len(inputs) == 7 and outputs == [] and rois.shape == (2, 60, 4)

    inputs, outputs = next(data_generator(shapes(4), toy, random_rois=60, batch_size=2, detection_targets=True))
    assert len(inputs) == 9 and inputs[8].shape == (2, 20, 4)
    assert [x.shape for x in outputs] == [(2, 20, 1), (2, 20, 3, 4), (2, 20, 28, 28, 3)]


def test_build_detection_targets():
    """A RoI on the box, one moved by a tenth of its height, and background, which the original left out here."""
    rois = np.array([[10, 10, 50, 50], [14, 10, 54, 50], [0, 0, 8, 8]])
    mask = np.zeros((64, 64, 1), bool)
    mask[10:50, 10:30] = True
    toy = config(TRAIN_ROIS_PER_IMAGE=6, ROI_POSITIVE_RATIO=0.34, USE_MINI_MASK=False)
    for class_id, positive in ((2, 2), (-2, 0)):
        found = build_detection_targets(
            rois, np.array([class_id]), np.array([[10, 10, 50, 50]]), mask, toy, np.random.default_rng(0)
        )
        sampled, class_ids, deltas, masks = found
        assert sampled.shape == (6, 4) and class_ids.tolist() == [2] * positive + [0] * (6 - positive)
        assert not deltas[:, [0, 1]].any() and not masks[..., [0, 1]].any() and not masks[positive:].any()
        for roi, delta, mask_target in zip(sampled[:positive], deltas[:, 2], masks[..., 2], strict=False):
            moved = roi[0] == 14
            np.testing.assert_allclose(delta, [-4 / 40 / 0.1 if moved else 0, 0, 0, 0], atol=1e-5)
            assert mask_target[:24, :14].all() and not mask_target[:, 14:].any()
            assert bool(mask_target[-2:].any()) is not moved  # its last tenth is below the mask


def test_encoders_of_another_model():
    """They see all of an image's instances, also where a batch has room for fewer."""
    boxes = [(1, 5 * i, 0, 5 * i + 10, 20) for i in range(9)]

    def count(sample, rng):
        return {"count": np.array(len(sample.boxes)), "draw": rng.random()}

    (batch,) = DataGenerator(Shapes([boxes] * 2), config(), encoders=[count])[0]
    assert batch["count"].tolist() == [9, 9] and len(set(batch["draw"])) == 2
    assert batch["input_gt_boxes"].shape == (2, 4, 4) and not any(name.startswith("input_rpn") for name in batch)
