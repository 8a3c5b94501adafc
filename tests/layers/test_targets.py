"""Targets of the heads: the original's numbers, the sampling rule, crowds, padding."""

import numpy as np
import pytest
from keras import ops
from tiny import value_and_gradients
from whole import whole

from mrcnn.config import Config
from mrcnn.data.random_rois import generate_random_rois
from mrcnn.layers.targets import DetectionTargetLayer
from mrcnn.model import build_detection_targets
from mrcnn.ops import boxes

UTILS = "utils_golden.npz"


# Random RoIs, and targets in NumPy


@pytest.mark.parametrize("rng", [None, np.random.default_rng(0)])
def test_random_rois(rng, golden):
    case = golden(UTILS, "random_rois")
    gt = case.ins["gt_boxes"]
    np.random.seed(case.args["seed"])
    rois = generate_random_rois(case.args["image_shape"], 60, case.ins["gt_class_ids"], gt, rng)
    # The same rule as the original's with another random sequence: 18 around each of the 3 boxes, 6 anywhere.
    assert rois.shape == case.outs["rois"].shape and rois.dtype == "int32"
    assert (rois != case.outs["rois"]).any()
    for found in (rois, case.outs["rois"]):
        assert (found[:, 2:] > found[:, :2]).all()
        assert found.min() >= 0 and found.max() <= 128
        for i, (y1, x1, y2, x2) in enumerate(gt):
            near = found[18 * i : 18 * (i + 1)]
            height, width = y2 - y1, x2 - x1
            assert (near >= [y1 - height, x1 - width] * 2).all() and (near <= [y2 + height, x2 + width] * 2).all()
            assert len(np.unique(near, axis=0)) > 10


def test_random_rois_of_small_boxes_and_background():
    rois = generate_random_rois((64, 100), 500, np.array([1]), np.array([[0, 99, 1, 100]]))
    assert rois.shape == (500, 4)
    assert (rois[:450] >= [0, 98, 0, 98]).all() and (rois[:450] <= [2, 100, 2, 100]).all()
    assert (rois[:, 2:] > rois[:, :2]).all()
    rois = generate_random_rois((64, 100), 2000, np.zeros(0, int), np.zeros((0, 4), int))
    assert rois.shape == (2000, 4)
    np.testing.assert_array_equal([rois.min(axis=0)[:2], rois.max(axis=0)[2:]], [[0, 0], [64, 100]])


@pytest.mark.parametrize("kind", ["full", "mini"])
def test_detection_targets(kind, golden):
    case = golden(UTILS, f"detection_targets_{kind}")
    config = Config.__new__(Config)
    config.NUM_CLASSES, config.TRAIN_ROIS_PER_IMAGE, config.USE_MINI_MASK = 4, 40, kind == "mini"
    config.IMAGE_SHAPE = [128, 128, 3]
    ins = [case.ins[name] for name in ("rpn_rois", "gt_class_ids", "gt_boxes", "gt_masks")]
    np.random.seed(case.args["seed"])
    rois, class_ids, deltas, masks = build_detection_targets(*ins, config)
    outs = case.outs
    assert [x.shape for x in (rois, class_ids, deltas, masks)] == [(40, 4), (40,), (40, 4, 4), (40, 28, 28, 4)]
    assert [x.dtype for x in (rois, class_ids, deltas, masks)] == ["int32", "int32", "float32", "float32"]
    # Which of the negatives are drawn is another random choice; both positives are kept, and come first.
    assert (class_ids > 0).sum() == (outs["class_ids"] > 0).sum() == 2
    assert not class_ids[2:].any()
    order = [np.lexsort(x[:2].T) for x in (rois, outs["rois"])]
    np.testing.assert_array_equal(rois[:2][order[0]], outs["rois"][:2][order[1]])
    np.testing.assert_array_equal(class_ids[:2][order[0]], outs["class_ids"][:2][order[1]])
    np.testing.assert_allclose(deltas[:2][order[0]], outs["bboxes"][:2][order[1]], rtol=0, atol=1e-5)
    np.testing.assert_allclose(masks[:2][order[0]], outs["masks"][:2][order[1]], rtol=0, atol=5e-4)  # float16 stored
    assert not deltas[2:].any() and not masks[2:].any()
    given = {tuple(x) for x in case.ins["rpn_rois"]}
    assert {tuple(x) for x in rois} <= given and {tuple(x) for x in outs["rois"]} <= given
    assert len({tuple(x) for x in rois}) == 40


# DetectionTargetLayer. Boxes in pixels of a 101x101 image, so that a hundredth is a pixel.

INSTANCES = np.array([[10, 10, 40, 40], [50, 50, 90, 90], [0, 60, 30, 100]])
IDS = np.array([2, 3, 1])
POSITIVE = np.array([[10, 10, 40, 41], [12, 10, 40, 40], [52, 50, 90, 90], [0, 62, 30, 100]])
NEGATIVE = np.array([[0, 0, 20, 20], [60, 5, 90, 30], [45, 45, 60, 60], [70, 0, 95, 30], [30, 30, 50, 50]])


def masks_of(instances, shape=(101, 101), full=True):
    """Masks [h, w, G] of instances whose upper half is object."""
    if not full:
        half = np.zeros((56, 56, len(instances)), bool)
        half[:28] = True
        return half
    masks = np.zeros((*shape, len(instances)), bool)
    for i, (y1, x1, y2, x2) in enumerate(np.asarray(instances, int)):
        masks[y1 : (y1 + y2) // 2, x1:x2, i] = True
    return masks


def sample(proposals, ids=IDS, instances=INSTANCES, masks=None, count=8, ratio=0.5, full=True, padding=2, **options):
    """Outputs of the layer for one image, given pixels; ground truth and proposals are padded with zeros."""
    layer = DetectionTargetLayer(count, ratio, (28, 28), not full, **options)
    masks = masks_of(instances, full=full) if masks is None else masks
    boxes_ = [np.vstack([np.asarray(x, "float32") / 100, np.zeros((padding, 4))]) for x in (proposals, instances)]
    arrays = [
        boxes_[0].astype("float32"),
        np.pad(ids, (0, padding)).astype("int32"),
        boxes_[1].astype("float32"),
        np.pad(masks, ((0, 0), (0, 0), (0, padding))),
    ]
    return [ops.convert_to_numpy(x)[0] for x in whole(layer)([ops.convert_to_tensor(x[None]) for x in arrays])]


def test_positives_first_then_negatives_then_padding():
    proposals = np.vstack([NEGATIVE[:2], POSITIVE[:2]])
    rois, ids, deltas, masks = sample(proposals, count=6)
    assert [x.shape for x in (rois, ids, deltas, masks)] == [(6, 4), (6,), (6, 4), (3, 28, 28)]
    assert ids.dtype == "int32"
    np.testing.assert_array_equal(ids, [2, 2, 0, 0, -1, -1])
    pixels = np.rint(rois * 100).astype(int)
    assert {tuple(x) for x in pixels[:2]} == {tuple(x) for x in POSITIVE[:2]}
    assert {tuple(x) for x in pixels[2:4]} == {tuple(x) for x in NEGATIVE[:2]}
    assert not rois[4:].any() and not deltas[2:].any() and not masks[2:].any()
    expected = boxes.encode(pixels[:2].astype(float), np.tile(INSTANCES[:1].astype(float), (2, 1)))
    np.testing.assert_allclose(deltas[:2], expected / [0.1, 0.1, 0.2, 0.2], rtol=0, atol=1e-4)


def test_at_most_p_positives_and_negatives_fill():
    rois, ids, _, masks = sample(np.vstack([POSITIVE, NEGATIVE]), count=6, ratio=0.34)
    assert masks.shape[0] == 2
    assert (ids[:2] > 0).all()
    np.testing.assert_array_equal(ids[2:], [0] * 4)
    pixels = [tuple(x) for x in np.rint(rois * 100).astype(int)]
    assert len(set(pixels)) == 6
    assert set(pixels[2:]) <= {tuple(x) for x in NEGATIVE}


def test_class_of_the_instance_with_most_overlap():
    _, ids, _, _ = sample(POSITIVE)
    assert sorted(ids[:4]) == [1, 2, 2, 3]
    # IoU 0.5 counts as positive, a little less does not.
    _, ids, _, _ = sample([[10, 10, 40, 25], [10, 10, 40, 24.9]], count=2)
    np.testing.assert_array_equal(ids, [2, 0])


def test_without_positives_negatives_stay():
    # The original would give an empty sample.
    for instances, ids in ((INSTANCES, IDS), (np.zeros((0, 4)), np.zeros(0, int))):
        rois, class_ids, deltas, masks = sample(NEGATIVE, ids, instances, masks_of(instances))
        np.testing.assert_array_equal(class_ids, [0] * 5 + [-1] * 3)
        assert {tuple(x) for x in np.rint(rois[:5] * 100).astype(int)} == {tuple(x) for x in NEGATIVE}
        assert not deltas.any() and not masks.any()


def test_crowds():
    # The second instance is a crowd: what would match it is neither positive nor, inside it, negative.
    ids = np.array([2, -3, 1])
    for proposal, expected in ((POSITIVE[2], -1), ([60, 60, 80, 80], -1), ([50, 76, 90, 110], 0), (POSITIVE[0], 2)):
        _, class_ids, _, _ = sample([proposal], ids, count=2)
        assert class_ids[0] == expected, proposal


@pytest.mark.parametrize("share, expected", [(0.71, -1), (0.69, 0), (0.3, 0), (0.01, 0)])
def test_crowd_threshold(share, expected):
    # The original ignored every proposal with IoU of 0.001 or more with a crowd.
    _, ids, _, _ = sample([[60, 90 - 20 * share, 80, 110 - 20 * share]], np.array([2, -3, 1]), count=2)
    assert ids[0] == expected


@pytest.mark.parametrize("threshold, expected", [(0.5, [2, 2, 2]), (0.6, [2, 2, 0]), (0.8, [2, 0, 0])])
def test_stages_of_a_cascade(threshold, expected):
    # IoU 1, 0.7 and 0.55 with the first instance, of 30 x 30.
    proposals = [[10, 10, 40, 40], [10, 10, 40, 31], [10, 10, 40, 26.5]]
    rois, ids, _, _ = sample(proposals, count=8, iou_threshold=threshold)
    np.testing.assert_array_equal(ids[:3], expected)
    np.testing.assert_array_equal(ids[3:], -1)
    assert {tuple(x) for x in np.rint(rois[:3] * 1000)} == {tuple(x) for x in np.rint(np.multiply(proposals, 10))}


@pytest.mark.parametrize("overlap, expected", [(0.7, -1), (0.8, 0)])
def test_how_far_a_proposal_lies_in_a_crowd(overlap, expected):
    proposals = [[60, 75, 80, 95]]  # three quarters of it in the crowd's columns
    _, ids, _, _ = sample(proposals, np.array([2, -3, 1]), count=2, crowd_overlap=overlap)
    assert ids[0] == expected


def test_padding_of_ground_truth_is_ignored():
    # Normalised padding boxes are (0, 0, -0.01, -0.01); a proposal near the corner must not match them.
    instances = np.vstack([INSTANCES, [[0, 0, -1, -1], [0, 0, 30, 30]]])
    rois, ids, _, _ = sample([[0, 0, 30, 30], [0, 0, 1, 1]], np.pad(IDS, (0, 2)), instances, count=2)
    np.testing.assert_array_equal(ids, [0, 0])
    assert np.isfinite(rois).all()


def test_padding_of_proposals_is_no_roi():
    rois, ids, deltas, masks = sample(np.zeros((3, 4)))
    np.testing.assert_array_equal(ids, [-1] * 8)
    assert not rois.any() and not deltas.any() and not masks.any()


@pytest.mark.parametrize("full", [True, False])
def test_mask_targets(full):
    instances, ids = INSTANCES[1:2], IDS[1:2]
    masks = masks_of(instances, full=full)
    proposals = [[50, 50, 90, 90], [50, 50, 72, 90], [40, 50, 80, 90]]
    rois, class_ids, _, targets = sample(proposals, ids, instances, masks, full=full)
    np.testing.assert_array_equal(class_ids[:4], [3, 3, 3, -1])
    assert set(np.unique(targets)) == {0, 1}
    found = {tuple(x): mask for x, mask in zip(np.rint(rois[:3] * 100).astype(int), targets[:3], strict=True)}
    if full:
        # A full mask has no object at x = 90, where the last column of samples lies; a mini mask ends with its box.
        assert not any(mask[:, -1].any() for mask in found.values())
        found = {key: mask[:, :-1] for key, mask in found.items()}
    # Object is y 50..70; a row of the target is one of 28 samples from edge to edge.
    half = found[50, 50, 90, 90]
    assert half[:13].all() and not half[15:].any()
    most = found[50, 50, 72, 90]
    assert most[:24].all() and not most[27:].any()
    # 10 of 40 rows lie above the instance, where there is no mask.
    higher = found[40, 50, 80, 90]
    assert not higher[:6].any() and higher[8:19].all() and not higher[22:].any()


def test_each_image_of_a_batch_by_itself():
    layer = DetectionTargetLayer(6, 0.5)
    gt = np.stack([INSTANCES, INSTANCES[[1, 0, 2]]]).astype("float32") / 100
    ids = np.stack([IDS, [0, 2, 0]]).astype("int32")
    proposals = np.stack([np.vstack([POSITIVE, NEGATIVE])] * 2).astype("float32") / 100
    masks = np.stack([masks_of(INSTANCES, full=False)] * 2)
    rois, class_ids, _, _ = (ops.convert_to_numpy(x) for x in whole(layer)([proposals, ids, gt, masks]))
    assert (class_ids[0, :3] > 0).all() and (class_ids[0, 3:] == 0).all()
    # Only the first instance counts in image 1: two positives.
    np.testing.assert_array_equal(class_ids[1], [2, 2, 0, 0, 0, 0])
    assert {tuple(x) for x in np.rint(rois[1, :2] * 100).astype(int)} == {tuple(x) for x in POSITIVE[:2]}


def test_seed():
    proposals = np.vstack([POSITIVE, NEGATIVE])
    first, again, other = (sample(proposals, count=4, seed=seed)[0] for seed in (1, 1, 3))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    layer = DetectionTargetLayer(4, 0.5, seed=1)
    arrays = [x[None] for x in (proposals.astype("float32") / 100, IDS.astype("int32"))]
    arrays += [INSTANCES[None].astype("float32") / 100, masks_of(INSTANCES, full=False)[None]]
    draw = whole(layer)
    drawn = {ops.convert_to_numpy(draw(arrays)[0]).tobytes() for _ in range(8)}
    assert len(drawn) > 1  # every call draws anew


def test_outputs_are_constants():
    layer = DetectionTargetLayer(8, 0.5)
    others = [IDS[None].astype("int32"), INSTANCES[None].astype("float32") / 100, masks_of(INSTANCES, full=False)[None]]

    def total(proposals):
        rois, _, deltas, masks = layer([proposals, *(ops.convert_to_tensor(x) for x in others)])
        return ops.sum(rois) + ops.sum(deltas) + ops.sum(masks)

    value, (gradient,) = value_and_gradients(total, np.vstack([POSITIVE, NEGATIVE])[None].astype("float32") / 100)
    assert value != 0
    assert not gradient.any()


def test_config_and_shapes():
    layer = DetectionTargetLayer(
        10, 0.3, (14, 14), False, (1, 2, 3, 4), seed=5, iou_threshold=0.6, crowd_overlap=0.9, name="targets"
    )
    copy = DetectionTargetLayer.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert (copy.iou_threshold, copy.crowd_overlap) == (0.6, 0.9)
    assert (copy.rois_per_image, copy.positive_slots, copy.mask_shape, copy.use_mini_mask) == (10, 3, (14, 14), False)
    assert (copy.std_dev, copy.seed, copy.name) == ((1, 2, 3, 4), 5, "targets")
    shapes = layer.compute_output_shape([(None, 40, 4), (None, 8), (None, 8, 4), (None, 128, 128, 8)])
    assert shapes == [(None, 10, 4), (None, 10), (None, 10, 4), (None, 3, 14, 14)]


def test_fewer_proposals_than_the_sample():
    rois, ids, _, masks = sample(POSITIVE[:1], count=20, padding=0)
    assert rois.shape == (20, 4) and masks.shape == (10, 28, 28)
    np.testing.assert_array_equal(ids, [2] + [-1] * 19)


def test_ground_truth_among_the_proposals():
    rois, ids, deltas, _ = sample(NEGATIVE[:2], ids=np.array([2, -3, 1]), count=6, append_gt=True)
    np.testing.assert_array_equal(np.sort(ids[:2]), [1, 2])  # the crowd is none
    np.testing.assert_array_equal(ids[2:], [0, 0, -1, -1])
    pixels = {tuple(x) for x in np.rint(rois[:2] * 100).astype(int)}
    assert pixels == {tuple(INSTANCES[0]), tuple(INSTANCES[2])}
    np.testing.assert_allclose(deltas[:2], 0, atol=1e-5)
    assert (sample(NEGATIVE[:2], count=6)[1] <= 0).all()


@pytest.mark.parametrize("full", [True, False])
def test_masks_are_read_at_the_cells_centres(full):
    # The upper half of a box of 32 x 32 pixels is object. The RoI is the box, so 14 of 28 rows, read at their centres.
    mask = np.zeros((64, 64, 1), bool)
    mask[16:32, 16:48, 0] = True
    given = mask if full else masks_of([0], full=False)
    layer = DetectionTargetLayer(4, 0.5, (28, 28), not full, sampling="aligned")
    box = np.array([[[0.25, 0.25, 0.75, 0.75]]], "float32")
    arrays = [box, np.array([[1]], "int32"), box, given[None]]
    masks = ops.convert_to_numpy(whole(layer)([ops.convert_to_tensor(x) for x in arrays])[3])[0, 0]
    assert masks[:14].all() and not masks[14:].any()
    assert DetectionTargetLayer.from_config(layer.get_config()).get_config() == layer.get_config()
