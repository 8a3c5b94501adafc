"""The losses of CenterNet and CornerNet against numbers computed by hand."""

import math

import numpy as np
import pytest
from keras import ops
from tiny import value_and_gradients

from mrcnn import losses

pytestmark = pytest.mark.graph


def test_heatmap_loss():
    # Probabilities 1/2 (logit 0) at a point, near it (0.5) and far from it, 0.8 (log 4) far from it; -1 does not count.
    target = np.array([1, 0.5, 0, 0, -1], "float32").reshape(1, 1, 5, 1)
    logits = np.array([0, 0, 0, math.log(4), 3], "float32").reshape(1, 1, 5, 1)
    half = math.log(2) / 4  # (1 / 2)^2 log 2
    wanted = half + half / 16 + half - 0.8**2 * math.log(0.2)
    value, (gradient,) = value_and_gradients(lambda x: losses.heatmap_loss(target, x), logits)
    assert value == pytest.approx(wanted, rel=1e-5)
    assert gradient[0, 0, 4, 0] == 0 and gradient[0, 0, 0, 0] < 0 < gradient[0, 0, 1, 0] < gradient[0, 0, 2, 0]
    # alpha and beta; twice the points halve it
    again = np.concatenate([target, np.where(target == 1, 1, -1)])
    value, _ = value_and_gradients(
        lambda x: losses.heatmap_loss(again, x, alpha=1.0, beta=2.0), np.concatenate([logits, logits])
    )
    half = math.log(2) / 2
    assert value == pytest.approx((2 * half + half / 4 + half - 0.8 * math.log(0.2)) / 2, rel=1e-5)


def test_heatmap_loss_of_active_classes():
    target = np.zeros((2, 1, 1, 2), "float32")
    target[0, ..., 0] = target[1, ..., 1] = 1
    logits = np.zeros_like(target)
    value, (gradient,) = value_and_gradients(
        lambda x: losses.heatmap_loss(target, x, np.array([[1, 0], [1, 0]])), logits
    )
    assert value == pytest.approx(2 * math.log(2) / 4, rel=1e-5)  # one point and one that is none
    assert not gradient[..., 1].any() and gradient[..., 0].all()


def test_without_points_the_rest_is_learnt():
    value, _ = value_and_gradients(
        lambda x: losses.heatmap_loss(np.zeros((1, 2, 2, 1), "float32"), x), np.zeros((1, 2, 2, 1), "float32")
    )
    assert value == pytest.approx(4 * math.log(2) / 4, rel=1e-5)


def test_point_loss():
    said = np.arange(12, dtype="float32").reshape(1, 2, 3, 2)
    cells = np.array([[4, 0, 2]], "int32")  # (8, 9), (0, 1), (4, 5)
    target = ops.convert_to_tensor(np.array([[[9, 9.5], [3, 5], [4, 0]]], "float32"))
    value, (gradient,) = value_and_gradients(
        lambda x: losses.point_loss(target, x, cells, np.array([[True, True, False]])), said
    )
    assert value == pytest.approx((1 + 0.5 + 3 + 4) / 4)
    assert np.count_nonzero(gradient) == 4
    known = np.array([[[True, False], [False, False], [False, True]]])
    value, _ = value_and_gradients(lambda x: losses.point_loss(target, x, cells, known), said)
    assert value == pytest.approx((1 + 5) / 2)
    value, _ = value_and_gradients(lambda x: losses.point_loss(target, x, cells, np.zeros((1, 3), bool)), said)
    assert value == 0


def test_point_loss_is_smooth_near_zero():
    said = np.array([0.5, 3], "float32").reshape(1, 1, 1, 2)
    target, known = ops.zeros((1, 1, 2)), np.ones((1, 1), bool)
    value, (gradient,) = value_and_gradients(
        lambda x: losses.point_loss(target, x, np.zeros((1, 1), "int32"), known, smooth=1.0), said
    )
    assert value == pytest.approx((0.125 + 2.5) / 2)
    np.testing.assert_allclose(gradient.ravel(), [0.25, 0.5])


def test_embedding_losses():
    # Means 1, 1.25 and 5 (padding) of one image; 1 of another.
    first = np.array([[0.5, 1.25, 5], [0, 9, 9]], "float32")
    second = np.array([[1.5, 1.25, 5], [2, 9, 9]], "float32")
    known = np.array([[True, True, False], [True, False, False]])
    pull, (moves, _) = value_and_gradients(lambda a, b: losses.embedding_losses(a, b, known)[0], first, second)
    assert pull == pytest.approx((2 * 0.25 + 0 + 2 * 1) / 3)
    assert moves[0, 0] < 0 < -moves[1, 0] and not moves[:, 2].any()
    push, (moves, others) = value_and_gradients(lambda a, b: losses.embedding_losses(a, b, known)[1], first, second)
    assert push == pytest.approx(0.75)  # both ways the same, over two pairs
    np.testing.assert_allclose(moves, [[0.5, -0.5, 0], [0, 0, 0]])
    np.testing.assert_array_equal(others, moves)
    first, second = (ops.convert_to_tensor(x) for x in (first, second))
    assert [float(x) for x in losses.embedding_losses(first, second, np.zeros_like(known))] == [0, 0]
    assert float(losses.embedding_losses(first, second, known, margin=0.2)[1]) == 0
