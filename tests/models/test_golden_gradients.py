"""Gradients of the training graph against the original's, as far as rounding leaves them alone (`Steps.movement`)."""

import numpy as np
import pytest
from golden_case import LOSSES, TOLERANCE, Steps, build, close, gold, gradients_of, inputs_of, original_losses, stored

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
    logs, gradient, movement = gradients_of(case, "A_given_rois")
    assert logs["loss"] == pytest.approx(float(gold(case, "loss_total")), rel=1e-5)
    for name in LOSSES:
        assert logs[name] == pytest.approx(float(gold(case, f"loss_{name}")), rel=1e-5)
    names = gold(case, "grad_names").tolist()
    assert set(names) == set(gradient)
    assert len(check(case, names, gradient, movement)) >= 67
    norm = np.sqrt(sum((x**2).sum() for x in gradient.values()))
    assert norm == pytest.approx(float(gold(case, "grad_global_norm")), rel=1e-4)


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
    _, gradient, movement = gradients_of(case)
    names, reachable = gold(case, "grad_names").tolist(), gold(case, "grad_reachable")[CLASS]
    free = [name for name, reached in zip(names, reachable, strict=True) if not reached]
    assert len(free) == 28
    assert {"rpn_class_raw/kernel", "rpn_bbox_pred/kernel", "mrcnn_bbox_fc/kernel", "mrcnn_mask/kernel"} <= check(
        case, free, gradient, movement
    )


def test_proposals_are_constants():
    case = "B_rpn_rois"
    _, gradient, movement = gradients_of(case)
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
