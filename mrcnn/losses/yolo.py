"""Losses of YOLO: of boxes in cells, of whether there is an object, and of its class.

Each is over the number of instances that the batch's places stand for. Version 1 has squares of everything, as its
paper has them. Versions 2 and 3 have what the authors' code, Darknet, follows the slope of: their papers leave it open.
"""

from keras import ops

from mrcnn.losses.classes import cross_entropy
from mrcnn.losses.focal import binary_cross_entropy, per_positive
from mrcnn.ops.boxes import Tensor, area, encode_in_cell, overlaps, pair_overlaps


def responsible(target_class_ids: Tensor, target_boxes: Tensor, predicted: Tensor, each: int) -> tuple[Tensor, Tensor]:
    """Which of the `each` boxes that a cell predicts stands for its instance: that of the highest IoU (Redmon et al.
    2016, section 2.2).

    Args:
        target_class_ids, target_boxes: [B, A] int and [B, A, 4]; alike for the boxes of a cell, which stand together.
        predicted: [B, A, 4] in the unit of the targets.

    Returns:
        [B, A] bool, and the IoU [B, A] of each box with the instance; none of both has a slope.
    """
    iou = ops.stop_gradient(pair_overlaps(predicted, target_boxes))
    cells = ops.reshape(iou, (-1, iou.shape[1] // each, each))
    best = ops.equal(ops.arange(each), ops.cast(ops.argmax(cells, axis=-1), "int32")[..., None])
    return ops.logical_and(ops.reshape(best, ops.shape(iou)), target_class_ids > 0), iou


def grid_box_loss(chosen: Tensor, targets: Tensor, numbers: Tensor) -> Tensor:
    """Squared errors of places and of square roots of sides (Redmon et al. 2016, equation 3, lines 1 and 2).

    Args:
        chosen: [B, A] bool, the boxes that stand for something.
        targets, numbers: [B, A, 4] of y, x in the cell, and the roots of height and width as shares of the image.
    """
    return per_positive(ops.where(chosen, ops.sum(ops.square(targets - numbers), axis=-1), 0.0), chosen)


def grid_object_loss(
    chosen: Tensor, target_class_ids: Tensor, iou: Tensor, confidences: Tensor, no_object: float = 0.5
) -> Tensor:
    """Squared errors of confidences, whose target is the IoU of the box (lines 3 and 4).

    Args:
        chosen: [B, A] bool.
        target_class_ids: [B, A] int; -1 is left out.
        iou, confidences: [B, A].
        no_object: the weight of boxes that stand for nothing.
    """
    nothing = ops.logical_and(ops.logical_not(chosen), target_class_ids >= 0)
    loss = ops.where(chosen, ops.square(iou - confidences), 0.0)
    return per_positive(loss + no_object * ops.where(nothing, ops.square(confidences), 0.0), chosen)


def grid_class_loss(chosen: Tensor, target_class_ids: Tensor, classes: Tensor, active_class_ids: Tensor) -> Tensor:
    """Squared errors of the classes of cells with an instance (line 5).

    Args:
        chosen: [B, A] bool, one box of such a cell.
        target_class_ids: [B, A] int.
        classes: [B, A, K - 1], without the background.
        active_class_ids: [B, K]; 1 for classes of the data set that the image comes from: others are left out.
    """
    loss = ops.square(_one_hot(target_class_ids, classes) - classes) * _active(active_class_ids)
    return per_positive(ops.where(chosen, ops.sum(loss, axis=-1), 0.0), chosen)


def cell_box_loss(
    target_class_ids: Tensor, target_boxes: Tensor, anchors: Tensor, numbers: Tensor, cells: Tensor, logistic: bool
) -> Tensor:
    """The loss of the boxes of v2 and v3, which counts small boxes up to twice: 2 - area.

    Args:
        target_class_ids: [B, A] int; positive anchors are above 0.
        target_boxes, anchors: [B, A, 4] normalised.
        numbers: [B, A, 4], y and x before the sigmoid, log h, log w.
        cells: [A, 2] sides of the cells over those of the anchors.
        logistic: False for half the squared errors of the sigmoids (v2), True for their cross-entropy (v3), whose slope
            is target less prediction. Sides have half the squared error.
    """
    positive = target_class_ids > 0
    targets = encode_in_cell(anchors, ops.where(positive[..., None], target_boxes, anchors), cells)
    if logistic:
        place = binary_cross_entropy(targets[..., :2], numbers[..., :2])
    else:
        place = 0.5 * ops.square(targets[..., :2] - ops.sigmoid(numbers[..., :2]))
    sides = 0.5 * ops.square(targets[..., 2:] - numbers[..., 2:])
    loss = ops.sum(place + sides, axis=-1) * (2 - area(target_boxes))
    return per_positive(ops.where(positive, loss, 0.0), positive)


def cell_object_loss(
    target_class_ids: Tensor,
    logits: Tensor,
    predicted: Tensor,
    target_boxes: Tensor,
    gt_boxes: Tensor,
    ignore: float,
    logistic: bool,
    weight: float = 1.0,
) -> Tensor:
    """The loss of whether there is an object.

    Args:
        target_class_ids: [B, A] int; positive anchors are above 0, -1 is left out.
        logits: [B, A, 1].
        predicted, target_boxes: [B, A, 4], the boxes that the anchors lead to, and should.
        gt_boxes: [B, G, 4] of all instances and crowds, zero-padded.
        ignore: an anchor that stands for nothing is left out if it leads to a box with a higher IoU with one of these.
        logistic: False for half the squared error of the sigmoid, whose target is the IoU of the box (v2); True for its
            cross-entropy, whose target is 1 (v3).
        weight: of positive anchors.
    """
    positive, predicted = target_class_ids > 0, ops.stop_gradient(predicted)
    near = ops.max(overlaps(predicted, gt_boxes), axis=-1) > ignore
    negative = ops.logical_and(ops.equal(target_class_ids, 0), ops.logical_not(near))
    if logistic:
        loss = binary_cross_entropy(positive, logits[..., 0])
    else:
        target = ops.where(positive, pair_overlaps(predicted, target_boxes), 0.0)
        loss = 0.5 * ops.square(target - ops.sigmoid(logits[..., 0]))
    return per_positive(ops.where(positive, weight * loss, ops.where(negative, loss, 0.0)), positive)


def logistic_class_loss(target_class_ids: Tensor, logits: Tensor, active_class_ids: Tensor) -> Tensor:
    """Cross-entropy of the classes' sigmoids, of positive anchors alone (v3); arguments as of `grid_class_loss`."""
    positive = target_class_ids > 0
    loss = binary_cross_entropy(_one_hot(target_class_ids, logits), logits) * _active(active_class_ids)
    return per_positive(ops.where(positive, ops.sum(loss, axis=-1), 0.0), positive)


def softmax_class_loss(target_class_ids: Tensor, logits: Tensor, active_class_ids: Tensor) -> Tensor:
    """Cross-entropy of a softmax over the active classes, of positive anchors alone (v2); else likewise."""
    positive = target_class_ids > 0
    logits = ops.where(_active(active_class_ids) > 0, ops.cast(logits, "float32"), -1e4)
    loss = cross_entropy(ops.maximum(target_class_ids - 1, 0), logits)
    return per_positive(ops.where(positive, loss, 0.0), positive)


def _one_hot(class_ids, outputs):
    """Of the classes behind the background."""
    classes = ops.arange(1, outputs.shape[-1] + 1, dtype="int32")
    return ops.cast(ops.equal(ops.cast(class_ids, "int32")[..., None], classes), "float32")


def _active(class_ids):
    return ops.cast(class_ids, "float32")[:, None, 1:]
