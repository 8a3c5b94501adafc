"""The losses of the paper, each a mean over what it concerns; 0 where it concerns nothing.

The names are the original's; every function takes and returns backend tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keras import ops

from mrcnn.ops.boxes import Tensor

if TYPE_CHECKING:
    from mrcnn.settings.config import Config


def _mean(values, weights):
    """Mean of `values` where `weights` is 1, over both axes of a batch; 0 if there is none."""
    weights = ops.cast(weights, values.dtype)
    return ops.sum(values * weights) / ops.maximum(ops.sum(weights), 1)


def smooth_l1_loss(y_true: Tensor, y_pred: Tensor, beta: float = 1.0) -> Tensor:
    """Elementwise smooth L1 (Girshick 2015): quadratic below a difference of `beta`, linear above; L1 for 0."""
    difference = ops.abs(y_true - y_pred)
    if not beta:
        return difference
    return ops.where(difference < beta, 0.5 / beta * difference**2, difference - 0.5 * beta)


def _box_loss(target, pred, positive, sample, mean, beta):
    """Smooth L1 [B, n, 4] of the `positive` [B, n]: its mean, or its sum over the number of those in the `sample`."""
    loss = smooth_l1_loss(target, pred, beta)
    if mean == "positives":
        return _mean(ops.mean(loss, axis=-1), positive)
    count = ops.sum(ops.cast(sample, loss.dtype))
    return ops.sum(loss * ops.cast(positive, loss.dtype)[..., None]) / ops.maximum(count, 1)


def _cross_entropy(class_ids, logits):
    """Softmax cross-entropy [...] of logits [..., K] with class ids [...]."""
    log_probs = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
    return -ops.take_along_axis(log_probs, ops.cast(class_ids, "int32")[..., None], axis=-1)[..., 0]


def _one_hot(class_ids, count, dtype):
    """[..., count] with a 1 at each class (padding, -1, as background): a product with it picks channels exactly."""
    return ops.one_hot(ops.maximum(class_ids, 0), count, dtype=dtype)


def rpn_class_loss_graph(rpn_match: Tensor, rpn_class_logits: Tensor) -> Tensor:
    """Cross-entropy of foreground against background, over the anchors that are one of them.

    Args:
        rpn_match: [B, A, 1] int; 1 positive, -1 negative, 0 neutral.
        rpn_class_logits: [B, A, 2], or [B, A, 1] of a sigmoid, which is a softmax against 0.
    """
    match = ops.squeeze(rpn_match, -1)
    if rpn_class_logits.shape[-1] == 1:
        rpn_class_logits = ops.pad(rpn_class_logits, [[0, 0], [0, 0], [1, 0]])
    return _mean(_cross_entropy(ops.equal(match, 1), rpn_class_logits), ops.not_equal(match, 0))


def rpn_bbox_loss_graph(
    config: Any, target_bbox: Tensor, rpn_match: Tensor, rpn_bbox: Tensor, mean: str = "positives", beta: float = 1.0
) -> Tensor:
    """Smooth L1 of the RPN's deltas, over the positive anchors.

    Args:
        config: not used; old code passes it.
        target_bbox: [B, M, 4] deltas of the positive anchors in their order, zero-padded.
        rpn_match: [B, A, 1] int; 1 positive.
        rpn_bbox: [B, A, 4].
        mean, beta: see LOSS_MEAN and SMOOTH_L1_BETA in `Config`; the sample are the anchors that are not neutral.
    """
    positive = ops.equal(ops.squeeze(rpn_match, -1), 1)
    # The k-th positive anchor of an image belongs to row k of its targets.
    row = ops.cumsum(ops.cast(positive, "int32"), axis=1) - 1
    row = ops.clip(row, 0, ops.shape(target_bbox)[1] - 1)
    target = ops.take_along_axis(ops.cast(target_bbox, rpn_bbox.dtype), row[..., None], axis=1)
    return _box_loss(target, rpn_bbox, positive, ops.not_equal(ops.squeeze(rpn_match, -1), 0), mean, beta)


def mrcnn_class_loss_graph(target_class_ids: Tensor, pred_class_logits: Tensor, active_class_ids: Tensor) -> Tensor:
    """Cross-entropy over the RoIs, left out where the predicted class does not exist in the image's data set.

    Args:
        target_class_ids: [B, T] int; 0 background, -1 no RoI at all.
        pred_class_logits: [B, T, K].
        active_class_ids: [B, K]; 1 for classes of the data set that the image comes from.
    """
    predicted = ops.argmax(pred_class_logits, axis=-1)
    active = ops.take_along_axis(ops.cast(active_class_ids, "float32"), predicted, axis=1)
    weights = active * ops.cast(target_class_ids >= 0, "float32")
    return _mean(_cross_entropy(ops.maximum(target_class_ids, 0), pred_class_logits), weights)


def mrcnn_bbox_loss_graph(
    target_bbox: Tensor, target_class_ids: Tensor, pred_bbox: Tensor, mean: str = "positives", beta: float = 1.0
) -> Tensor:
    """Smooth L1 of the positive RoIs' deltas, those of the true class.

    Args:
        target_bbox: [B, T, 4].
        target_class_ids: [B, T] int; positive RoIs are above 0.
        pred_bbox: [B, T, K, 4].
        mean, beta: see LOSS_MEAN and SMOOTH_L1_BETA in `Config`; the sample are all RoIs.
    """
    pred = ops.einsum("btkc,btk->btc", pred_bbox, _one_hot(target_class_ids, pred_bbox.shape[2], pred_bbox.dtype))
    return _box_loss(target_bbox, pred, target_class_ids > 0, target_class_ids >= 0, mean, beta)


def mrcnn_mask_loss_graph(
    target_masks: Tensor, target_class_ids: Tensor, pred_masks: Tensor, logits: bool = False
) -> Tensor:
    """Binary cross-entropy of the positive RoIs' masks, on the channel of the true class.

    Args:
        target_masks: [B, P, h, w] of 0 and 1.
        target_class_ids: [B, P] int; positive RoIs are above 0.
        pred_masks: [B, P, h, w, K] probabilities, or logits if `logits`.
    """
    pred = ops.einsum("bphwk,bpk->bphw", pred_masks, _one_hot(target_class_ids, pred_masks.shape[4], pred_masks.dtype))
    target = ops.cast(target_masks, pred.dtype)
    if logits:
        entropy = ops.softplus(pred) - target * pred
    else:
        pred = ops.clip(pred, 1e-7, 1 - 1e-7)
        entropy = -(target * ops.log(pred) + (1 - target) * ops.log(1 - pred))
    return _mean(ops.mean(entropy, axis=(2, 3)), target_class_ids > 0)


def mrcnn_keypoint_loss_graph(target_cells: Tensor, pred_keypoints: Tensor) -> Tensor:
    """Softmax cross-entropy over the cells of each heatmap, over the points that have one.

    Points that are annotated but hidden (v = 1) count like visible ones.

    Args:
        target_cells: [B, P, J] int, row * columns + column; -1 where there is no point to learn.
        pred_keypoints: [B, P, J, h, w] logits.
    """
    _, slots, points, rows, columns = pred_keypoints.shape
    logits = ops.reshape(pred_keypoints, (-1, slots, points, rows * columns))
    return _mean(_cross_entropy(ops.maximum(target_cells, 0), logits), target_cells >= 0)


# Loss -> its value from the outputs y of the training graph, and the settings c.
LOSSES: dict[str, Callable[[dict[str, Tensor], Config], Tensor]] = {
    "rpn_class_loss": lambda y, c: rpn_class_loss_graph(y["target_rpn_match"], y["rpn_class_logits"]),
    "rpn_bbox_loss": lambda y, c: rpn_bbox_loss_graph(
        c, y["target_rpn_bbox"], y["target_rpn_match"], y["rpn_bbox"], c.LOSS_MEAN, c.SMOOTH_L1_BETA
    ),
    "mrcnn_class_loss": lambda y, c: mrcnn_class_loss_graph(
        y["target_class_ids"], y["mrcnn_class_logits"], y["active_class_ids"]
    ),
    "mrcnn_bbox_loss": lambda y, c: mrcnn_bbox_loss_graph(
        y["target_bbox"], y["target_class_ids"], y["mrcnn_bbox"], c.LOSS_MEAN, c.SMOOTH_L1_BETA
    ),
    "mrcnn_mask_loss": lambda y, c: mrcnn_mask_loss_graph(
        y["target_mask"],
        y["target_class_ids"][:, : y["target_mask"].shape[1]],
        y["mrcnn_mask"],
        c.MASK_LOSS == "logits",
    ),
    "mrcnn_keypoint_loss": lambda y, c: mrcnn_keypoint_loss_graph(y["target_keypoint"], y["mrcnn_keypoint"]),
}
