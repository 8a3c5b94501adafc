"""The five losses against the original's values and gradients (tiny_layers.npz), and where they differ on purpose."""

import numpy as np
import pytest
from keras import ops
from tf32 import round_products
from tiny import value_and_gradients

from mrcnn import losses, model

# case of the golden file -> the loss of a prediction and the case's other arrays
FUNCTIONS = {
    "rpn_class": lambda pred, x: losses.rpn_class_loss(x["match"], pred),
    "rpn_bbox": lambda pred, x: losses.rpn_bbox_loss(x["target"], x["match"], pred),
    "class": lambda pred, x: losses.class_loss(x["target_class_ids"], pred, x["active_class_ids"]),
    "bbox": lambda pred, x: losses.bbox_loss(x["target"], x["target_class_ids"], pred),
    "mask": lambda pred, x: losses.mask_loss(x["target"], x["target_class_ids"], pred),
}


@pytest.fixture
def case(golden):
    """A function of a case's name that gives its arrays, writable."""
    data = golden("tiny_layers.npz")

    def get(name):
        keys = ("value", "grad", "pred", "match", "target", "target_class_ids", "active_class_ids")
        return {key: data[f"loss_{name}_{key}"].copy() for key in keys if f"loss_{name}_{key}" in data}

    return get


def evaluate(loss, arrays):
    """Value and gradient of a loss with respect to its prediction."""
    tensors = {key: ops.convert_to_tensor(value) for key, value in arrays.items()}
    value, (gradient,) = value_and_gradients(lambda pred: FUNCTIONS[loss](pred, tensors), arrays["pred"])
    return value, gradient


@pytest.mark.parametrize("loss", FUNCTIONS)
def test_golden(loss, case):
    arrays = case(loss)
    value, gradient = evaluate(loss, arrays)
    assert value == pytest.approx(float(arrays["value"]), rel=1e-5)
    assert arrays["grad"].any()
    np.testing.assert_allclose(gradient, arrays["grad"], rtol=0, atol=1e-5 * np.abs(arrays["grad"]).max())


@pytest.mark.parametrize(
    "name", ["rpn_class_all_neutral", "rpn_bbox_no_positive", "bbox_no_positive", "mask_no_positive"]
)
def test_nothing_to_learn_is_zero(name, case):
    arrays = case(name)
    loss = name.replace("_all_neutral", "").replace("_no_positive", "")
    value, gradient = evaluate(loss, arrays)
    assert value == 0 == arrays["value"]
    np.testing.assert_array_equal(gradient, np.zeros_like(arrays["pred"]))


@pytest.mark.parametrize("loss", ["class", "bbox", "mask"])
def test_padding_only_is_zero(loss, case):
    arrays = case(loss)
    arrays["target_class_ids"][:] = -1
    value, gradient = evaluate(loss, arrays)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros_like(arrays["pred"]))


def test_inactive_class_counts_in_its_own_image_only(case):
    arrays = case("class_inactive")
    value, gradient = evaluate("class", arrays)
    logits, ids = arrays["pred"].astype("float64"), arrays["target_class_ids"]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    entropy = -np.log(np.take_along_axis(probabilities, ids[..., None], axis=-1)[..., 0])
    predicted = logits.argmax(axis=-1)

    def mean(active):
        counts = np.take_along_axis(active, predicted, axis=1)
        return (entropy * counts).sum() / counts.sum(), counts.astype(bool)

    expected, counts = mean(arrays["active_class_ids"])
    assert value == pytest.approx(expected, rel=1e-5)
    # The original reads image 0's classes for both images: its number comes out with those.
    of_image_0, golden_counts = mean(np.repeat(arrays["active_class_ids"][:1], 2, axis=0))
    assert float(arrays["value"]) == pytest.approx(of_image_0, rel=1e-5)
    assert counts[1].all() and not golden_counts[1].all()
    assert expected == pytest.approx(2.0980, abs=1e-4) and of_image_0 == pytest.approx(2.0914, abs=1e-4)
    assert not gradient[~counts].any() and gradient[counts].any(axis=-1).all()


def test_padding_rows_do_not_count(case):
    arrays = case("class")
    arrays["target_class_ids"][:, 4:] = -1
    value, gradient = evaluate("class", arrays)
    few = {key: x[:, :4] if key in ("pred", "target_class_ids") else x for key, x in arrays.items()}
    assert value == pytest.approx(evaluate("class", few)[0], rel=1e-6)
    assert not gradient[:, 4:].any() and gradient[:, :4].any(axis=-1).all()
    # The original calls padding background: the mean would be over 12 rows instead of 8.
    assert abs(value - float(arrays["value"])) > 0.01
    for loss in ("bbox", "mask"):
        arrays = case(loss)
        ids = arrays["target_class_ids"]
        ids[ids == 0] = -1
        value, gradient = evaluate(loss, arrays)
        assert value == pytest.approx(float(arrays["value"]), rel=1e-5)
        assert not gradient[ids == -1].any()


def test_extreme_predictions_are_finite(case):
    for loss, scale in (("rpn_class", 1e4), ("class", 1e4)):
        arrays = case(loss)
        arrays["pred"] *= scale
        value, gradient = evaluate(loss, arrays)
        assert np.isfinite(value) and np.isfinite(gradient).all()
    arrays = case("mask")
    arrays["pred"] = 1 - arrays["target"][..., None].repeat(4, axis=-1).astype("float32")
    value, gradient = evaluate("mask", arrays)
    assert value == pytest.approx(-np.log(1e-7), rel=0.02)
    assert np.isfinite(gradient).all()


def test_smooth_l1(golden):
    data = golden("tiny_layers.npz")
    result = losses.smooth_l1_loss(*(ops.convert_to_tensor(data[f"smooth_l1_{x}"]) for x in ("true", "pred")))
    np.testing.assert_allclose(ops.convert_to_numpy(result), data["smooth_l1"], rtol=1e-5, atol=1e-7)
    pred = np.array([-3, -1, -0.5, 0, 0.5, 1, 3], "float32")
    result = losses.smooth_l1_loss(ops.zeros(7), ops.convert_to_tensor(pred))
    np.testing.assert_allclose(ops.convert_to_numpy(result), [2.5, 0.5, 0.125, 0, 0.125, 0.5, 2.5])
    _, (gradient,) = value_and_gradients(lambda x: ops.sum(losses.smooth_l1_loss(ops.zeros(7), x)), pred)
    np.testing.assert_allclose(gradient, [-1, -1, -0.5, 0, 0.5, 1, 1])


def test_rpn_bbox_targets_follow_the_positive_anchors():
    match = np.array([[0, 1, -1, 1], [1, 0, 0, 0]], "int32")[..., None]
    target = np.zeros((2, 3, 4), "float32")
    target[0, 0], target[0, 1], target[1, 0] = 1, 2, 3
    pred = np.zeros((2, 4, 4), "float32")
    pred[0, 1], pred[0, 3], pred[1, 0] = 1, 2, 3
    pred[0, 2], pred[1, 3] = 50, 60  # not positive, so without a say
    assert evaluate("rpn_bbox", {"pred": pred, "match": match, "target": target})[0] == 0
    pred[1, 0] = 3.5
    value, gradient = evaluate("rpn_bbox", {"pred": pred, "match": match, "target": target})
    assert value == pytest.approx(0.125 / 3)
    np.testing.assert_allclose(gradient[1, 0], 0.5 / 12)
    assert np.count_nonzero(gradient) == 4


@pytest.mark.parametrize("loss", ["bbox", "mask"])
def test_channels_are_picked_not_multiplied(loss, case, monkeypatch):
    """Where products of floats keep 11 bits, as on today's GPUs, value and gradient are the same."""
    arrays = case(loss)
    value, gradient = evaluate(loss, arrays)
    round_products(monkeypatch)
    rounded, rounded_gradient = evaluate(loss, arrays)
    assert rounded == value
    np.testing.assert_array_equal(rounded_gradient, gradient)


@pytest.mark.parametrize("shape, axis", [((2, 3, 5, 4), 2), ((2, 3, 7, 6, 5), 4)])
def test_prediction_of_the_class(shape, axis):
    predictions = np.random.default_rng(0).random(shape, dtype="float32")
    ids = np.array([[0, 4, -1], [2, 1, 3]], "int32")
    picked = losses.of_class(ops.convert_to_tensor(predictions), ops.convert_to_tensor(ids), axis)
    expected = [[predictions[i, j].take(max(ids[i, j], 0), axis=axis - 2) for j in range(3)] for i in range(2)]
    np.testing.assert_array_equal(ops.convert_to_numpy(picked), expected)


def test_the_originals_names(case):
    """`mrcnn.model`'s names are these functions; one of them takes the config besides."""
    assert model.mrcnn_mask_loss_graph is losses.mask_loss and model.smooth_l1_loss is losses.smooth_l1_loss
    assert model.mrcnn_bbox_loss_graph is losses.bbox_loss and model.mrcnn_class_loss_graph is losses.class_loss
    assert model.rpn_class_loss_graph is losses.rpn_class_loss
    arrays = [ops.convert_to_tensor(case("rpn_bbox")[name]) for name in ("target", "match", "pred")]
    assert float(model.rpn_bbox_loss_graph(object(), *arrays)) == float(losses.rpn_bbox_loss(*arrays)) > 0


# Other choices than the original's


def loss_value(function, *arrays, **options):
    return float(ops.convert_to_numpy(function(*(ops.convert_to_tensor(x) for x in arrays), **options)))


def test_smooth_l1_turns_linear_at_beta():
    true, pred = np.zeros(4, "float32"), np.array([0.1, -0.25, 0.5, 2], "float32")
    for beta, expected in ((1, [0.005, 0.03125, 0.125, 1.5]), (0.25, [0.02, 0.125, 0.375, 1.875]), (0, np.abs(pred))):
        result = ops.convert_to_numpy(
            losses.smooth_l1_loss(ops.convert_to_tensor(true), ops.convert_to_tensor(pred), beta)
        )
        np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_box_losses_over_the_sample():
    match = np.array([[[1], [0], [-1], [1], [-1]]], "int32")
    target = np.array([[[1, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 0, 0]]], "float32")
    pred = np.zeros((1, 5, 4), "float32")
    pred[0, 1] = 9  # neutral
    # Differences 1 and 0.5 with beta 0.5: 0.75 + 0.25, over the four anchors that are not neutral.
    value = loss_value(lambda t, m, p: losses.rpn_bbox_loss(t, m, p, mean="sample", beta=0.5), target, match, pred)
    assert value == pytest.approx(1.0 / 4)
    classes = np.array([[2, 0, -1, 1]], "int32")
    target = np.array([[[1, 1, 0, 0], [0] * 4, [0] * 4, [0, 0, 0, 0.5]]], "float32")
    value = loss_value(losses.bbox_loss, target, classes, np.zeros((1, 4, 3, 4), "float32"), mean="sample", beta=0.5)
    assert value == pytest.approx((2 * 0.75 + 0.25) / 3)  # padding is not in the sample


def test_rpn_class_loss_of_one_logit():
    match = np.array([[[1], [-1], [0]]], "int32")
    logits = np.array([[[2.0], [-1.0], [50.0]]], "float32")
    expected = (np.log1p(np.exp(-2)) + np.log1p(np.exp(-1))) / 2
    assert loss_value(losses.rpn_class_loss, match, logits) == pytest.approx(expected, rel=1e-5)


def test_mask_loss_of_logits():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, (1, 2, 3, 3)).astype("float32")
    classes, logits = np.array([[1, 2]], "int32"), rng.normal(0, 2, (1, 2, 3, 3, 3)).astype("float32")
    from_probs = loss_value(losses.mask_loss, target, classes, 1 / (1 + np.exp(-logits)))
    assert loss_value(losses.mask_loss, target, classes, logits, logits=True) == pytest.approx(from_probs, rel=1e-5)
    # Far off, where a probability is 0 in float32, the logit still says how far.
    wrong = loss_value(
        losses.mask_loss,
        np.ones((1, 1, 1, 1), "float32"),
        np.array([[1]]),
        np.full((1, 1, 1, 1, 2), -200.0, "float32"),
        logits=True,
    )
    assert wrong == pytest.approx(200)
