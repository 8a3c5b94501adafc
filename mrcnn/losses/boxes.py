"""Losses of boxes: smooth L1 of deltas, of the RPN's, the box head's and a dense head's; and GIoU of boxes."""

from collections.abc import Sequence

from keras import ops

from mrcnn.losses.focal import binary_cross_entropy, per_positive
from mrcnn.losses.means import masked_mean, of_class
from mrcnn.ops.boxes import Tensor, centerness, decode, decode_sides, encode, encode_sides, giou


def smooth_l1_loss(y_true: Tensor, y_pred: Tensor, beta: float = 1.0) -> Tensor:
    """Elementwise smooth L1 (Girshick 2015): quadratic below a difference of `beta`, linear above; L1 for 0."""
    difference = ops.abs(y_true - y_pred)
    if not beta:
        return difference
    return ops.where(difference < beta, 0.5 / beta * difference**2, difference - 0.5 * beta)


def giou_loss(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """1 - GIoU [...] of boxes [..., 4] (Rezatofighi et al. 2019), 0..2: with a slope where boxes do not touch, too."""
    return 1 - giou(y_true, y_pred)


def _box_loss(target, pred, positive, sample, mean, beta):
    """Smooth L1 [B, n, 4] of the `positive` [B, n]: its mean, or its sum over the number of those in the `sample`."""
    loss = smooth_l1_loss(target, pred, beta)
    if mean == "positives":
        return masked_mean(ops.mean(loss, axis=-1), positive)
    count = ops.sum(ops.cast(sample, loss.dtype))
    return ops.sum(loss * ops.cast(positive, loss.dtype)[..., None]) / ops.maximum(count, 1)


def rpn_bbox_loss(
    target_bbox: Tensor, rpn_match: Tensor, rpn_bbox: Tensor, mean: str = "positives", beta: float = 1.0
) -> Tensor:
    """Smooth L1 of the RPN's deltas, over the positive anchors.

    Args:
        target_bbox: [B, M, 4] deltas of the positive anchors in their order, zero-padded.
        rpn_match: [B, A, 1] int; 1 positive, 0 neutral: not in the sample.
        rpn_bbox: [B, A, 4].
        mean: "positives" for the mean over these and their four numbers; "sample" for the sum divided by the size of
            the sample, as torchvision does.
        beta: where the loss turns linear.
    """
    match = ops.squeeze(rpn_match, -1)
    positive = ops.equal(match, 1)
    # The k-th positive anchor of an image belongs to row k of its targets.
    row = ops.cumsum(ops.cast(positive, "int32"), axis=1) - 1
    row = ops.clip(row, 0, ops.shape(target_bbox)[1] - 1)
    target = ops.take_along_axis(ops.cast(target_bbox, rpn_bbox.dtype), row[..., None], axis=1)
    return _box_loss(target, rpn_bbox, positive, ops.not_equal(match, 0), mean, beta)


def bbox_loss(
    target_bbox: Tensor, target_class_ids: Tensor, pred_bbox: Tensor, mean: str = "positives", beta: float = 1.0
) -> Tensor:
    """Smooth L1 of the positive RoIs' deltas, those of the true class.

    Args:
        target_bbox: [B, T, 4].
        target_class_ids: [B, T] int; positive RoIs are above 0, padding below.
        pred_bbox: [B, T, K, 4], or [B, T, 1, 4] if they are the same for all classes.
        mean, beta: as in `rpn_bbox_loss`; the sample are all RoIs.
    """
    pred = of_class(pred_bbox, target_class_ids, axis=2) if pred_bbox.shape[2] > 1 else pred_bbox[:, :, 0]
    return _box_loss(target_bbox, pred, target_class_ids > 0, target_class_ids >= 0, mean, beta)


def dense_bbox_loss(
    target_class_ids: Tensor,
    target_boxes: Tensor,
    anchors: Tensor,
    deltas: Tensor,
    std_dev: Sequence[float],
    kind: str = "smooth_l1",
    beta: float = 1.0,
) -> Tensor:
    """The loss of the boxes of positive anchors, over their number.

    Args:
        target_class_ids: [B, A] int; positive anchors are above 0.
        target_boxes: [B, A, 4], of the instance of each.
        anchors: [B, A, 4] in the same unit.
        deltas: [B, A, 4] in units of `std_dev`.
        std_dev: the four numbers by which deltas are divided.
        kind: "smooth_l1", the sum of the four deltas' losses, or "giou" of the boxes that they lead to.
        beta: where smooth L1 turns linear; 0 for L1.
    """
    positive, std = target_class_ids > 0, ops.convert_to_tensor(std_dev, dtype="float32")
    if kind == "giou":
        loss = giou_loss(target_boxes, decode(anchors, deltas * std))
    else:
        loss = ops.sum(smooth_l1_loss(encode(anchors, target_boxes) / std, deltas, beta), axis=-1)
    return per_positive(ops.where(positive, loss, 0.0), positive)


def side_loss(target_class_ids: Tensor, target_boxes: Tensor, cells: Tensor, sides: Tensor) -> Tensor:
    """The GIoU loss of the boxes of positive places, over their number (Tian et al. 2019, equation 2).

    Args:
        target_class_ids: [B, A] int; positive places are above 0.
        target_boxes: [B, A, 4], of the instance of each.
        cells: [B, A, 4], squares about the places, in the same unit.
        sides: [B, A, 4] distances from the places in cells.
    """
    positive = target_class_ids > 0
    return per_positive(ops.where(positive, giou_loss(target_boxes, decode_sides(cells, sides)), 0.0), positive)


def centerness_loss(target_class_ids: Tensor, target_boxes: Tensor, cells: Tensor, logits: Tensor) -> Tensor:
    """Binary cross-entropy of the centre-ness [B, A, 1] of positive places, over their number; else as `side_loss`."""
    positive = target_class_ids > 0
    sides = ops.where(positive[..., None], encode_sides(cells, target_boxes), 1.0)
    loss = binary_cross_entropy(centerness(sides), logits[..., 0])
    return per_positive(ops.where(positive, loss, 0.0), positive)
