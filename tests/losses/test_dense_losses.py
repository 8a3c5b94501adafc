"""The losses of one-stage detectors: torchvision's numbers, and small cases computed by hand."""

import numpy as np
import pytest
from conftest import golden_data
from keras import ops
from tiny import value_and_gradients

from mrcnn import losses

GOLD = golden_data("torchvision_dense.npz")
CELL = [0.0, 0.0, 2.0, 2.0]  # about the place (1, 1)


def tensors(*arrays):
    return [ops.convert_to_tensor(np.asarray(x)) for x in arrays]


def floats(*arrays):
    return tensors(*(np.asarray(x, "float32") for x in arrays))


@pytest.mark.parametrize("alpha, gamma", [(0.25, 2.0), (-1.0, 2.0), (0.5, 0.0)])
def test_focal_loss_is_torchvisions(alpha, gamma):
    found = losses.focal_loss(*tensors(GOLD["targets"], GOLD["logits"]), alpha if alpha >= 0 else None, gamma)
    expected = GOLD[f"focal_alpha_{alpha}_gamma_{gamma}"]
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_by_hand(gamma):
    """Of the probabilities 0.2 and 0.9."""
    logits = np.log([0.2 / 0.8, 0.9 / 0.1])
    found = losses.focal_loss(*floats([1, 0], logits), 0.25, gamma)
    expected = [0.25 * 0.8**gamma * -np.log(0.2), 0.75 * 0.9**gamma * -np.log(0.1)]
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-5)


def test_focal_loss_of_certainty_is_finite():
    value, (gradient,) = value_and_gradients(
        lambda x: ops.sum(losses.focal_loss(ops.convert_to_tensor([1.0, 0.0, 1.0, 0.0]), x)),
        np.array([1e3, -1e3, -1e3, 1e3], "float32"),
    )
    assert value == pytest.approx(0.25 * 1e3 + 0.75 * 1e3) and np.isfinite(gradient).all()


def test_class_loss_is_over_the_positives():
    """Two positives in the batch; a neutral place and a class that the second image's set has not say nothing."""
    class_ids = np.array([[1, 0, -1], [2, 0, 0]])
    logits = np.random.default_rng(0).normal(size=(2, 3, 2)).astype("float32")
    active = np.array([[1, 1, 1], [1, 0, 1]], "float32")
    found = losses.dense_class_loss(*tensors(class_ids, logits, active))
    each = losses.focal_loss(*tensors([[[1, 0], [0, 0], [0, 0]], [[0, 1], [0, 0], [0, 0]]], logits))
    each = ops.convert_to_numpy(each)
    assert float(found) == pytest.approx((each[0, :2].sum() + each[1, :, 1].sum()) / 2, rel=1e-5)


def test_without_positives_the_sum_is_divided_by_one():
    logits = np.zeros((1, 3, 2), "float32")
    found = losses.dense_class_loss(*tensors(np.zeros((1, 3), int), logits, np.ones((1, 3), "float32")))
    assert float(found) == pytest.approx(6 * 0.75 * 0.25 * np.log(2), rel=1e-5)


def test_the_worst_negatives_count():
    """Of the first image's four negatives the three that are worst, as it has one positive; of the second's none."""
    class_ids = np.array([[1, 0, 0, 0, 0, -1], [0, 0, 0, 0, 0, 0]])
    logits = np.zeros((2, 6, 3), "float32")
    logits[0, 1:5, 1] = 3, 1, 4, 2
    logits[0, 5], logits[1] = 9, (0, 5, 0)
    found = losses.mined_class_loss(*tensors(class_ids, logits, np.ones((2, 3), "float32")))
    entropies = np.log(2 + np.exp([0.0, 3, 4, 2]))  # of the positive and of the three
    assert float(found) == pytest.approx(entropies.sum(), rel=1e-5)


def test_classes_of_other_sets_are_impossible():
    """Their logits do not matter, whatever they are; the background's always does."""
    class_ids, logits = np.array([[1, 0, 0, 0]]), np.zeros((1, 4, 3), "float32")
    logits[..., 2] = 50
    found = losses.mined_class_loss(*tensors(class_ids, logits, np.array([[0, 1, 0]], "float32")))
    assert float(found) == pytest.approx(4 * np.log(2), rel=1e-5)


def test_giou_loss_is_torchvisions():
    boxes = GOLD["boxes_x1y1x2y2"][:, [1, 0, 3, 2]]
    found = ops.convert_to_numpy(losses.giou_loss(*tensors(boxes[:30], boxes[30:60])))
    np.testing.assert_allclose(found, GOLD["giou_loss"], atol=1e-5)


@pytest.mark.parametrize(
    "kind, beta, expected",
    [
        ("smooth_l1", 0.0, (0.5 + 0 + np.log(2) + 0) / 0.1),
        ("smooth_l1", 1.0, 5 - 0.5 + np.log(2) / 0.1 - 0.5),
        ("giou", 1.0, 0.5),
    ],
)
def test_box_loss_by_hand(kind, beta, expected):
    """The anchor becomes itself; it should be twice as high. The others are background and neutral."""
    anchors, targets = [[CELL] * 3], [[[0, 0, 4, 2], [0] * 4, [0] * 4]]
    deltas = np.zeros((1, 3, 4))
    deltas[0, 1:] = 3
    found = losses.dense_bbox_loss(
        *tensors(np.array([[1, 0, -1]])), *floats(targets, anchors, deltas), [0.1] * 4, kind, beta
    )
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_loss_of_sides_by_hand():
    """The box of a cell about the place should be half as high again: it covers two thirds of that."""
    sides = [[[0.5, 0.5, 0.5, 0.5]] * 2]
    found = losses.side_loss(*tensors(np.array([[2, 0]])), *floats([[[0, 0, 3, 2], [0] * 4]], [[CELL] * 2], sides))
    assert float(found) == pytest.approx(1 / 3, rel=1e-5)


def test_centerness_loss_by_hand():
    """The place is 1 from the left and 3 from the right, in the middle of the height."""
    targets, logits = [[[0, 0, 2, 4], [0] * 4]], [[[0.4], [5.0]]]
    target = np.sqrt(1 / 3)
    found = losses.centerness_loss(*tensors(np.array([[1, 0]])), *floats(targets, [[CELL] * 2], logits))
    assert float(found) == pytest.approx(np.log(1 + np.exp(0.4)) - target * 0.4, rel=1e-5)


def test_nothing_positive_has_no_gradient():
    """Nor NaNs from the boxes that are not there."""
    class_ids, zeros, cells = tensors(np.zeros((1, 2), int)), floats(np.zeros((1, 2, 4)))[0], floats([[CELL] * 2])[0]
    for function in (
        lambda x: losses.dense_bbox_loss(*class_ids, zeros, cells, x, [0.1] * 4, "giou"),
        lambda x: losses.dense_bbox_loss(*class_ids, zeros, cells, x, [0.1] * 4),
        lambda x: losses.side_loss(*class_ids, zeros, cells, x),
        lambda x: losses.centerness_loss(*class_ids, zeros, cells, x[..., :1]),
    ):
        value, (gradient,) = value_and_gradients(function, np.ones((1, 2, 4), "float32"))
        assert value == 0 and not gradient.any()
