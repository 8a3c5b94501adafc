from multiprocessing.pool import ThreadPool

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.data import batches as data
from mrcnn.data.batches import INPUT_NAMES, DataGenerator
from mrcnn.data.dataset import Dataset
from mrcnn.data.samples import load_image_gt
from mrcnn.model import build_detection_targets, data_generator

SIDE = 64


class Toy(Config):
    NUM_CLASSES = 3
    BACKBONE = "resnet18"
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = SIDE
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    MAX_GT_INSTANCES = 4
    MINI_MASK_SHAPE = (8, 8)
    TRAIN_ROIS_PER_IMAGE = 20


class Shapes(Dataset):
    """Images with instances given as (class id, y1, x1, y2, x2); of every box the upper left quarter is missing.

    Pixels are the image's id + 1; ids in `bad` cannot be read.
    """

    def __init__(self, instances, size=(SIDE, SIDE), bad=()):
        super().__init__()
        self.instances, self.size, self.bad, self.read = instances, size, set(bad), []
        self.add_class("toy", 1, "one")
        self.add_class("other", 1, "two")
        for i in range(len(instances)):
            self.add_image("toy" if i % 2 == 0 else "other", i, f"/toy/{i}.png")
        self.prepare()

    def load_image(self, image_id):
        self.read.append(int(image_id))
        if image_id in self.bad:
            raise OSError(f"broken {image_id}")
        size = self.size[image_id] if isinstance(self.size, list) else self.size
        return np.full((*size, 3), image_id + 1, "uint8")

    def load_mask(self, image_id):
        size = self.size[image_id] if isinstance(self.size, list) else self.size
        boxes = self.instances[image_id]
        mask = np.zeros((*size, len(boxes)), bool)
        for i, (_, y1, x1, y2, x2) in enumerate(boxes):
            mask[y1:y2, x1:x2, i] = True
            mask[y1 : (y1 + y2) // 2, x1 : (x1 + x2) // 2, i] = False
        return mask, np.array([box[0] for box in boxes], "int32")


def shapes(count=5, **options):
    """`count` images with one instance each, further down in every one."""
    return Shapes([[(1 + i % 2, 2 * i, 8, 2 * i + 32, 40)] for i in range(count)], **options)


def config(**values):
    return Toy().update(**values)


def ids(batch):
    return batch[0]["input_image_meta"][:, 0].astype(int).tolist()


def assert_same(one, two):
    assert list(one[0]) == list(two[0])
    for name, value in one[0].items():
        np.testing.assert_array_equal(value, two[0][name], err_msg=name)


# One image


def test_load_image_gt():
    dataset = Shapes([[(2, 4, 8, 36, 40), (-1, 0, 0, 64, 16)]])
    image, meta, class_ids, boxes, masks = load_image_gt(dataset, config(), 0)
    assert image.dtype == np.uint8 and image.shape == (64, 64, 3) and (image == 1).all()
    assert meta.dtype == np.float32
    np.testing.assert_array_equal(
        meta, [0, 64, 64, 3, 64, 64, 3, 0, 0, 64, 64, 1, 1, 1, 0]
    )  # class 2 is another source's
    assert class_ids.dtype == np.int32 and class_ids.tolist() == [2, -1]
    assert boxes.dtype == np.int32 and boxes.tolist() == [[4, 8, 36, 40], [0, 0, 64, 16]]
    assert masks.dtype == bool
    np.testing.assert_array_equal(masks, dataset.load_mask(0)[0])


def test_load_image_gt_scales_and_pads_image_and_masks_alike():
    dataset = Shapes([[(1, 0, 0, 16, 32)]], size=(16, 32))
    image, meta, _, boxes, masks = load_image_gt(dataset, config(), 0)
    assert boxes.tolist() == [[16, 0, 48, 64]]
    np.testing.assert_array_equal(meta[1:12], [16, 32, 3, 64, 64, 3, 16, 0, 48, 64, 2])
    assert not image[:16].any() and not image[48:].any() and image[17:47, 1:63].all()
    assert masks[:, :, 0].sum() == 32 * 64 * 3 // 4


def test_load_image_gt_mini_masks():
    dataset = Shapes([[(1, 4, 8, 36, 40), (1, 0, 0, 16, 16)]])
    mini = load_image_gt(dataset, config(), 0, use_mini_mask=True)[4]
    expected = np.ones((8, 8), bool)
    expected[:4, :4] = False
    assert mini.shape == (8, 8, 2) and mini.dtype == bool
    np.testing.assert_array_equal(mini[:, :, 0], expected)
    np.testing.assert_array_equal(mini[:, :, 1], expected)


def test_an_instance_without_pixels_is_dropped_with_its_class_id():
    dataset = Shapes([[(1, 4, 8, 4, 8), (2, 0, 0, 16, 16)]])
    for mini in (False, True):
        _, _, class_ids, boxes, masks = load_image_gt(dataset, config(), 0, use_mini_mask=mini)
        assert class_ids.tolist() == [2] and boxes.tolist() == [[0, 0, 16, 16]] and masks.shape[-1] == 1


def test_flip_moves_image_mask_and_boxes_together():
    dataset = Shapes([[(1, 4, 8, 36, 40)]])
    plain = np.tile(np.arange(SIDE, dtype="uint8")[None, :, None], (SIDE, 1, 3))
    dataset.load_image = lambda image_id: plain
    draws = iter([0, 0.4999, 0, 0.5])  # the first of each pair is the crop's
    rng = type("Draw", (), {"random": lambda self: next(draws)})()
    image, _, _, boxes, masks = load_image_gt(dataset, config(), 0, augment=True, rng=rng)
    np.testing.assert_array_equal(image, plain[:, ::-1])
    np.testing.assert_array_equal(masks, dataset.load_mask(0)[0][:, ::-1])
    assert boxes.tolist() == [[4, 64 - 40, 36, 64 - 8]]
    assert not masks[4:20, 40:56].any() and masks[4:20, 24:40].all()  # the missing quarter is on the right now
    image, _, _, boxes, _ = load_image_gt(dataset, config(), 0, augment=True, rng=rng)
    np.testing.assert_array_equal(image, plain)
    assert boxes.tolist() == [[4, 8, 36, 40]]


@pytest.mark.parametrize("empty", [np.zeros((0, 0, 0)), np.zeros((10, 20, 0)), np.zeros((64, 64, 0), bool)])
def test_no_instances_need_no_mask_of_the_right_size(empty):
    dataset = Shapes([[]])
    dataset.load_mask = lambda image_id: (empty, np.zeros(0, "int32"))
    _, _, class_ids, boxes, masks = load_image_gt(dataset, config(), 0, use_mini_mask=True)
    assert class_ids.shape == (0,) and boxes.shape == (0, 4) and masks.shape == (8, 8, 0)
    assert load_image_gt(dataset, config(), 0)[4].shape == (64, 64, 0)


@pytest.mark.parametrize("shape, count", [((64, 32, 2), 2), ((10, 64, 2), 2), ((64, 64, 2), 3), ((64, 64, 2), 0)])
def test_masks_that_do_not_belong_to_the_image(shape, count):
    dataset = Shapes([[]])
    dataset.load_mask = lambda image_id: (np.ones(shape), np.ones(count, "int32"))
    with pytest.raises(ValueError) as error:
        load_image_gt(dataset, config(), 0)
    assert str(error.value) == (
        f"/toy/0.png: the image is 64 x 64 (height x width) with {count} class ids, but its masks are "
        f"{shape[0]} x {shape[1]} x {shape[2]}."
    )


@pytest.mark.parametrize("shape, channels", [((64, 64), 3), ((64, 64, 4), 3), ((64, 64, 3), 1), ((64, 64, 1), 3)])
def test_channels_as_detect_converts_them(shape, channels):
    dataset = Shapes([[]])
    dataset.load_image = lambda image_id: np.full(shape, 7, "uint8")
    toy = config(IMAGE_CHANNEL_COUNT=channels, MEAN_PIXEL=[0.0] * channels)
    image, meta, *_ = load_image_gt(dataset, toy, 0)
    assert image.shape == (64, 64, channels) and (image == 7).all() and meta[3] == channels


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
    assert tuple(batch) == INPUT_NAMES
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
    anchors = data.pyramid_anchors(config(), (64, 64, 3))
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
    rois = data.generate_random_rois((1000, 1000, 3), 500, np.array([1]), box, np.random.default_rng(0))
    near = (rois >= [80, 140, 80, 140]).all(axis=1) & (rois <= [140, 320, 140, 320]).all(axis=1)
    assert rois.shape == (500, 4) and rois.dtype == np.int32 and near[:450].all() and near[450:].sum() < 5
    assert data.generate_random_rois((64, 64), 7, np.zeros(0), np.zeros((0, 4))).shape == (7, 4)


# Bad images


def test_a_bad_image_is_named_skipped_and_counted(capsys):
    dataset = shapes(5, bad=[2])
    generator = DataGenerator(dataset, config(), shuffle=False, steps=5)
    assert [ids(generator[i]) for i in range(5)] == [[0, 1], [3, 3], [4, 0], [1, 3], [3, 4]]
    assert list(generator.bad) == [2] and dataset.read.count(2) == 1
    assert capsys.readouterr().out.splitlines() == ["", "Skipping image 2 (/toy/2.png): OSError: broken 2"]


def test_a_wrong_mask_counts_as_a_bad_image(capsys):
    dataset = shapes(6)
    right = dataset.load_mask
    dataset.load_mask = lambda i: (right(i)[0][:10], right(i)[1]) if i == 1 else right(i)
    assert ids(DataGenerator(dataset, config(), shuffle=False)[0]) == [0, 2]
    assert "/toy/1.png: the image is 64 x 64" in capsys.readouterr().out


def test_more_than_a_fifth_bad_ends_the_run():
    generator = DataGenerator(shapes(10, bad=[1, 4, 7]), config(), shuffle=False)
    for i in range(3):
        generator[i]
    with pytest.raises(RuntimeError, match="^3 of 10 images cannot be used, the last one /toy/7.png: broken 7$"):
        generator[3]


def test_no_images():
    with pytest.raises(RuntimeError, match="no images; call prepare"):
        DataGenerator(Shapes([]), config())
    with pytest.raises(RuntimeError, match="1 of 1 images cannot be used, the last one /toy/0.png"):
        DataGenerator(shapes(1, bad=[0]), config())[0]


def test_images_that_do_not_fit_the_model(capsys):
    dataset = Shapes([[]] * 6, size=[(64, 64)] * 5 + [(128, 64)])
    generator = DataGenerator(dataset, config(IMAGE_RESIZE_MODE="none", IMAGES_PER_GPU=6), shuffle=False)
    assert ids(generator[0]) == [0, 1, 2, 3, 4, 0]
    assert "the image is (128, 64, 3) after resizing; the model wants (64, 64, 3)" in capsys.readouterr().out


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
