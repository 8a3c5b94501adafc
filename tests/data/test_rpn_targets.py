"""Targets of the RPN: the original's numbers, crowds, what nothing overlaps, and what they cost."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from mrcnn.data.rpn_targets import rpn_targets as targets_of
from mrcnn.model import build_rpn_targets
from mrcnn.ops import boxes
from mrcnn.ops.anchors import backbone_shapes, generate_pyramid_anchors
from mrcnn.ops.matching import AnchorBlocks

UTILS = "utils_golden.npz"


def rpn_targets(golden, case, rng=None, **ins):
    """Match and deltas of a golden case from its random state, and the case."""
    case = golden(UTILS, case)
    np.random.seed(case.args.get("seed", 0))
    config = SimpleNamespace(
        RPN_TRAIN_ANCHORS_PER_IMAGE=case.args["rpn_train_anchors_per_image"], RPN_BBOX_STD_DEV=[0.1, 0.1, 0.2, 0.2]
    )
    values = {**case.ins, **ins}
    anchors = golden(UTILS)["anchors_square/out_anchors"]
    return case, build_rpn_targets((128, 128, 3), anchors, values["gt_class_ids"], values["gt_boxes"], config, rng)


@pytest.mark.parametrize("name", ["rpn_targets", "rpn_targets_256", "rpn_targets_few_positive_slots"])
def test_rpn_targets(name, golden):
    case, (match, deltas) = rpn_targets(golden, name)
    assert match.dtype == "int32"
    np.testing.assert_array_equal(match, case.outs["rpn_match"])
    np.testing.assert_allclose(deltas, case.outs["rpn_bbox"], rtol=0, atol=1e-12)


def test_rpn_targets_without_subsampling(golden):
    case, (match, deltas) = rpn_targets(golden, "rpn_targets_all")
    np.testing.assert_array_equal(match, case.outs["rpn_match"])
    np.testing.assert_allclose(deltas[:5], case.outs["rpn_bbox_positive"], rtol=0, atol=1e-12)
    assert not deltas[5:].any()


def test_rpn_targets_with_a_crowd(golden):
    case, (match, deltas) = rpn_targets(golden, "rpn_targets_crowd")
    expected = case.outs["rpn_match"]
    # Positives are the original's, and so many negatives.
    np.testing.assert_array_equal(match == 1, expected == 1)
    np.testing.assert_allclose(deltas, case.outs["rpn_bbox"], rtol=0, atol=1e-12)
    assert (match == -1).sum() == (expected == -1).sum() == 60
    # The original keeps 547 anchors that so much as touch the crowd (IoU of 0.001) from being negative; here these are
    # the 243 that have 0.7 of their own area in it.
    anchors = golden(UTILS)["anchors_square/out_anchors"]
    crowd = case.ins["gt_boxes"][case.ins["gt_class_ids"] < 0]
    touching = boxes.overlaps(anchors, crowd).max(axis=1) >= 0.001
    inside = boxes.overlaps(anchors, crowd, over="first").max(axis=1) >= 0.7
    assert (touching.sum(), inside.sum()) == (547, 243)
    everything = SimpleNamespace(RPN_TRAIN_ANCHORS_PER_IMAGE=100000, RPN_BBOX_STD_DEV=[0.1, 0.1, 0.2, 0.2])
    match, _ = build_rpn_targets((128, 128), anchors, case.ins["gt_class_ids"], case.ins["gt_boxes"], everything)
    assert not (match[inside] == -1).any()
    assert (match[touching & ~inside] == -1).sum() >= 300
    assert (expected[touching] != -1).all()


def test_rpn_targets_of_background(golden):
    none = {"gt_class_ids": np.zeros(0, int), "gt_boxes": np.zeros((0, 4), int)}
    _, (match, deltas) = rpn_targets(golden, "rpn_targets", **none)
    assert [(match == value).sum() for value in (1, -1, 0)] == [0, 64, 4028]
    assert deltas.shape == (64, 4) and not deltas.any()
    # A crowd alone gives no positives, and no negatives inside it.
    crowd = {"gt_class_ids": np.array([-1]), "gt_boxes": np.array([[0, 0, 128, 64]])}
    _, (match, _) = rpn_targets(golden, "rpn_targets_all", **crowd)
    anchors = golden(UTILS)["anchors_square/out_anchors"]
    inside = boxes.overlaps(anchors, crowd["gt_boxes"], over="first")[:, 0] >= 0.7
    np.testing.assert_array_equal(match, np.where(inside, 0, -1))


def test_rpn_targets_from_a_generator(golden):
    first, again, other = (rpn_targets(golden, "rpn_targets", np.random.default_rng(seed))[1][0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(first == 1, other == 1)


STD_DEV = (0.1, 0.1, 0.2, 0.2)


def coco_anchors():
    """The 261,888 anchors of a square of 1024 pixels."""
    strides = [4, 8, 16, 32, 64]
    shapes = backbone_shapes((1024, 1024), strides)
    return generate_pyramid_anchors((32, 64, 128, 256, 512), [0.5, 1, 2], shapes, strides, 1)


@pytest.mark.parametrize("box", [[0, 0, 0, 0], [50, 60, 50, 60], [900, 900, 950, 950]])
def test_what_no_anchor_overlaps(box, golden):
    """The original took all anchors, every one with its largest IoU of 0, for positive: 32 positives, no negative."""
    anchors = AnchorBlocks(golden(UTILS)["anchors_square/out_anchors"])
    match, deltas = targets_of(anchors, [1], [box], 64, STD_DEV, np.random.default_rng(0))
    assert [(match == value).sum() for value in (1, -1)] == [0, 64]
    assert not deltas.any()


def test_a_hundred_instances_at_the_size_of_coco():
    """As many positives as there is room for, in order, with the deltas of the instance that each overlaps most; in a
    hundredth of the memory that all pairs take, which was 1.5 GB."""
    rng = np.random.default_rng(0)
    sides = np.exp(rng.uniform(np.log(10), np.log(600), (130, 2)))
    corner = rng.uniform(0, 1024 - sides)
    gt = np.rint(np.concatenate([corner, corner + sides], axis=-1))
    ids = np.repeat([1, -1], [100, 30])
    anchors = AnchorBlocks(coco_anchors())
    assert anchors.count == 261888
    tracemalloc.start()
    match, deltas = targets_of(anchors, ids, gt, 256, STD_DEV, rng)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6
    assert [(match == value).sum() for value in (1, -1)] == [128, 128]
    positive = coco_anchors()[match == 1]
    iou = boxes.overlaps(positive, gt[:100])
    expected = boxes.encode(positive, gt[iou.argmax(axis=1)]) / STD_DEV
    np.testing.assert_array_equal(deltas[:128], expected)
    assert not deltas[128:].any()
    everywhere = coco_anchors()
    most = np.array([boxes.overlaps(everywhere, gt[i : i + 1]).max() for i in range(100)])
    assert ((iou == most).any(axis=1) | (iou.max(axis=1) >= 0.7)).all()
    negative = coco_anchors()[match == -1]
    assert boxes.overlaps(negative, gt[:100]).max() < 0.3
    assert boxes.overlaps(negative, gt[100:], over="first").max() < 0.7


def test_other_thresholds(golden):
    anchors = golden(UTILS)["anchors_square/out_anchors"]
    gt = np.array([[20, 20, 70, 80], [5, 60, 40, 110]])
    match, _ = targets_of(AnchorBlocks(anchors), [1, 2], gt, 5000, STD_DEV, np.random.default_rng(0), 0.4, 0.5, 1.0)
    iou = boxes.overlaps(anchors, gt)
    best = iou.max(axis=1)
    forced = (iou == iou.max(axis=0)).any(axis=1)
    np.testing.assert_array_equal(match, np.where(forced | (best >= 0.5), 1, np.where(best < 0.4, -1, 0)))
