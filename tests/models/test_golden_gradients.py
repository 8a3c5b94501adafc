"""Gradients of the training graph against the original's, as far as rounding leaves them alone (`Steps.movement`); SGD
steps, compiled too, and BatchNorm."""

import keras
import numpy as np
import pytest
from golden_case import (
    LOSSES,
    NO_CLIP,
    TOLERANCE,
    Steps,
    build,
    close,
    gold,
    gradients_of,
    inputs_of,
    original_losses,
    predict,
    stored,
    weights_of,
)
from keras import ops
from tiny import WEIGHTS

CLASS = LOSSES.index("mrcnn_class_loss")
MOST = 0.03  # of a tensor's largest value may move


def check(case, names, gradient, movement):
    """The gradients `names` are the original's: their norms, and every number of those that are stored.

    Returns the names of the latter.
    """
    norms = dict(zip(gold(case, "grad_names").tolist(), gold(case, "grad_norms"), strict=True))
    for name in names:
        slack = TOLERANCE * norms[name] + np.linalg.norm(movement[name]) + 1e-6
        assert np.linalg.norm(gradient[name]) == pytest.approx(norms[name], rel=0, abs=slack), name
    compared = dict(stored(case, "grad", names))
    for name, expected in compared.items():
        slack = np.abs(movement[name]).max()
        assert slack < MOST * np.abs(expected).max(), name
        close(gradient[name], expected, name, slack=slack)
    return set(compared)


@pytest.mark.parametrize("case", [pytest.param("A_given_rois", marks=pytest.mark.graph), "E_inactive"])
def test_gradients(case):
    # Case E has the RoIs and so the mask targets of case A.
    logs, gradient, movement, steps = gradients_of(case, "A_given_rois")
    assert logs["loss"] == pytest.approx(float(gold(case, "loss_total")), rel=1e-5)
    for name in LOSSES:
        assert logs[name] == pytest.approx(float(gold(case, f"loss_{name}")), rel=1e-5)
    names = gold(case, "grad_names").tolist()
    assert set(names) == set(gradient)
    assert len(check(case, names, gradient, movement)) >= 67
    norm = np.sqrt(sum((x**2).sum() for x in gradient.values()))
    assert norm == pytest.approx(float(gold(case, "grad_global_norm")), rel=1e-4)
    for k, found in enumerate(steps if case == "A_given_rois" else []):  # on TensorFlow in `test_sgd_steps`
        assert found["loss"] == pytest.approx(gold("A_noclip", f"step{k}_logs")[0], rel=10.0 ** (k - 5))


def test_an_error_of_a_thousandth_is_seen(monkeypatch):
    """Of each loss by the last layer before it, whose gradient no ReLU moves."""
    case = "A_given_rois"
    movement = gradients_of(case, case)[2]  # of the losses as they are
    model = build(case)
    original_losses(monkeypatch, model, case)
    for name in LOSSES:
        monkeypatch.setitem(model.keras_model.loss_weights, name, 1.001)
    _, gradient = Steps(model).gradients(inputs_of(case))
    for name in ("rpn_class_raw", "rpn_bbox_pred", "mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask"):
        with pytest.raises(AssertionError):
            check(case, [f"{name}/kernel"], gradient, movement)


@pytest.mark.parametrize("case", ["C_crowd", "D_no_positive"])
def test_gradients_beyond_the_class_loss(case):
    # The sampled negatives differ on purpose: what the class loss does not reach must have the original's gradients.
    _, gradient, movement, _ = gradients_of(case)
    names, reachable = gold(case, "grad_names").tolist(), gold(case, "grad_reachable")[CLASS]
    free = [name for name, reached in zip(names, reachable, strict=True) if not reached]
    assert len(free) == 28
    assert {"rpn_class_raw/kernel", "rpn_bbox_pred/kernel", "mrcnn_bbox_fc/kernel", "mrcnn_mask/kernel"} <= check(
        case, free, gradient, movement
    )


def test_proposals_are_constants():
    case = "B_rpn_rois"
    _, gradient, movement, _ = gradients_of(case)
    names = gold(case, "grad_names").tolist()
    per_loss = dict(zip(names, gold(case, "grad_norms_per_loss").T, strict=True))
    # In the original the head's box loss moves the RPN through its own targets, here only the RPN's losses do.
    name = "rpn_bbox_pred/kernel"
    np.testing.assert_allclose(per_loss[name], [0, 6.2159, 0, 4.7871, 0], atol=1e-4)
    assert np.linalg.norm(gradient[name]) == pytest.approx(per_loss[name][1], rel=1e-4)
    unmoved = [name for name in names if name.startswith(("mrcnn_", "rpn_class_raw"))]
    assert len(check(case, unmoved, gradient, movement)) > 20
    # The golden norm of all gradients is 57.18.
    norm = np.sqrt(sum((x**2).sum() for x in gradient.values()))
    assert norm < float(gold(case, "grad_global_norm")) - 0.1


# Steps


@pytest.mark.parametrize(
    "case, clip, rate, layers, steps",
    [
        ("A_given_rois", 5.0, 0.01, ".*", 2),
        ("A_noclip", NO_CLIP, 0.001, ".*", 2),
        ("A_heads", 5.0, 0.01, r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)", 1),
    ],
)
def test_sgd_steps(case, clip, rate, layers, steps, monkeypatch):
    _, gradient, movement, _ = gradients_of("A_given_rois", "A_given_rois")
    model = build("A_given_rois")
    original_losses(monkeypatch, model, "A_given_rois")
    run = Steps(model, clip, layers)
    frozen = weights_of(run.model, trained=False)
    names = gold(case, "step_names").tolist()
    scale = rate * min(1, clip / np.sqrt(sum((gradient[name] ** 2).sum() for name in names)))
    for k in range(steps):
        logs, change = run.step(inputs_of("A_given_rois"), rate)
        assert set(change) == set(names)
        expected = dict(zip(gold(case, "step_metrics_names"), gold(case, f"step{k}_logs"), strict=True))
        assert logs == pytest.approx(expected, rel=1e-5)
        # What rounding moves goes through clipping and momentum as the gradients do; as much in each step.
        slack = {name: (1 + 0.9 * k) * scale * np.abs(movement[name]).max() for name in names}
        norms = [np.linalg.norm(change[name]) for name in names]
        close(norms, gold(case, f"step{k}_delta_norms"), tolerance=1e-4)
        compared = list(stored(case, f"step{k}_delta", names))
        assert len(compared) >= 47
        for name, expected in compared:
            # A float32 weight of size 1 moves in steps of 6e-8.
            close(change[name], expected, name, 1e-4, slack[name] + 1.2e-7)
    # BatchNorm is frozen: no statistics moved.
    for name, value in weights_of(run.model, trained=False).items():
        if "seed" not in name:
            np.testing.assert_array_equal(value, frozen[name], err_msg=name)


@pytest.mark.compiled  # on JAX in `test_gradients`
def test_compiled_step(monkeypatch):
    model = build("A_given_rois")
    original_losses(monkeypatch, model, "A_given_rois")
    model.load_weights(WEIGHTS, by_name=True)
    model.set_trainable(".*", verbose=0)
    model.compile(0.01, 0.9)
    optimizer = model.keras_model.optimizer
    assert isinstance(optimizer, keras.optimizers.SGD)
    assert (optimizer.momentum, optimizer.global_clipnorm, optimizer.clipnorm) == (0.9, 5.0, None)
    model.keras_model.reset_metrics()
    inputs = inputs_of("A_given_rois")
    logs = model.keras_model.train_on_batch(inputs, return_dict=True)
    expected = dict(zip(gold("A_given_rois", "step_metrics_names"), gold("A_given_rois", "step0_logs"), strict=True))
    assert {name: float(x) for name, x in logs.items()} == pytest.approx(expected, rel=1e-5)
    model.keras_model.reset_metrics()
    logs = model.keras_model.train_on_batch(inputs, return_dict=True)
    assert float(logs["loss"]) == pytest.approx(gold("A_given_rois", "step1_logs")[0], rel=1e-4)


def test_batch_norm_trains(monkeypatch):
    case = "A_train_bn"
    # With all slots positive ones the mask head runs on every RoI as the original's does, and all numbers are equal.
    model = build(case, ROI_POSITIVE_RATIO=1.0)
    original_losses(monkeypatch, model, case)
    run = Steps(model, NO_CLIP)
    old = weights_of(model, trained=False)
    logs, change = run.step(inputs_of(case), 1.0)
    for name in LOSSES:
        assert logs[name] == pytest.approx(float(gold(case, f"loss_{name}")), rel=2e-5), name
    names = gold(case, "grad_names").tolist()
    # Eleven layers of batch statistics amplify rounding: norms differ by up to 6e-4. Biases before BatchNorm have no
    # gradient but rounding.
    for name, expected in zip(names, gold(case, "grad_norms"), strict=True):
        assert np.linalg.norm(change[name]) == pytest.approx(expected, rel=1e-3, abs=2e-5), name
    for name, expected in stored(case, "grad", names):
        np.testing.assert_allclose(-change[name], expected, rtol=0, atol=5e-3 * np.abs(expected).max() + 2e-5)
    # The original's zero-debias replaced the loaded statistics by the batch's, with Bessel's correction twice; Keras's
    # moving average is 0.99 old + 0.01 batch, without the correction.
    new = weights_of(model, trained=False)
    counts = {"tiny_bn1": 64 * 64, "tiny_bn2": 32 * 32, "tiny_bn3": 16 * 16, "tiny_bn4": 8 * 8, "tiny_bn5": 4 * 4}
    counts |= {"mrcnn_class_bn1": 60, "mrcnn_class_bn2": 60} | {f"mrcnn_mask_bn{i}": 60 * 14 * 14 for i in (1, 2, 3, 4)}
    for layer, per_image in counts.items():
        count = 2 * per_image
        mean, variance = (gold(case, f"after_steps/{layer}/moving_{x}") for x in ("mean", "variance"))
        close(new[f"{layer}/moving_mean"], 0.99 * old[f"{layer}/moving_mean"] + 0.01 * mean, layer, 1e-4)
        batch = variance * ((count - 1) / count) ** 2
        close(new[f"{layer}/moving_variance"], 0.99 * old[f"{layer}/moving_variance"] + 0.01 * batch, layer, 1e-4)


def test_batch_norm_of_the_mask_head_is_over_positive_slots():
    case = "A_train_bn"
    model = build(case)
    graph = model.keras_model
    old = weights_of(model, trained=False)
    outputs, mine = predict(model, case)
    # Everything but the mask head is as in the original ...
    for name in ("rpn_class_loss", "rpn_bbox_loss", "mrcnn_bbox_loss"):
        assert mine[name] == pytest.approx(float(gold(case, f"loss_{name}")), rel=1e-5), name
    # ... whose statistics are over 120 RoIs, 64 of them padding; here they are over the 24 slots that can be positive,
    # and the mask loss is another one.
    assert outputs["mrcnn_mask"].shape[1] == 12
    assert abs(mine["mrcnn_mask_loss"] - float(gold(case, "loss_mrcnn_mask_loss"))) > 0.05
    before = weights_of(model, trained=False)
    layers = [graph.get_layer(f"mrcnn_mask_{name}1").output for name in ("conv", "bn")]
    x, _ = keras.Model(graph.inputs, layers)(inputs_of(case), training=True)
    x = ops.convert_to_numpy(x)
    assert x.shape == (24, 14, 14, 256)
    new = weights_of(model, trained=False)
    for name, batch in (("mean", x.mean(axis=(0, 1, 2))), ("variance", x.var(axis=(0, 1, 2)))):
        name = f"mrcnn_mask_bn1/moving_{name}"
        assert (before[name] != old[name]).all()
        close(new[name], 0.99 * before[name] + 0.01 * batch, name, 1e-5)
