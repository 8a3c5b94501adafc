"""Losses of classes: cross-entropy of the RPN's two and of the box head's many."""

from keras import ops

from mrcnn.losses.means import masked_mean
from mrcnn.ops.boxes import Tensor


def cross_entropy(class_ids: Tensor, logits: Tensor) -> Tensor:
    """Softmax cross-entropy [...] of logits [..., K] with class ids [...]."""
    log_probs = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
    return -ops.take_along_axis(log_probs, ops.cast(class_ids, "int32")[..., None], axis=-1)[..., 0]


def rpn_class_loss(rpn_match: Tensor, rpn_class_logits: Tensor) -> Tensor:
    """Cross-entropy of foreground against background, over the anchors that are one of them.

    Args:
        rpn_match: [B, A, 1] int; 1 positive, -1 negative, 0 neutral.
        rpn_class_logits: [B, A, 2], or [B, A, 1] of a sigmoid, which is a softmax against 0.
    """
    match = ops.squeeze(rpn_match, -1)
    if rpn_class_logits.shape[-1] == 1:
        rpn_class_logits = ops.pad(rpn_class_logits, [[0, 0], [0, 0], [1, 0]])
    return masked_mean(cross_entropy(ops.equal(match, 1), rpn_class_logits), ops.not_equal(match, 0))


def class_loss(target_class_ids: Tensor, pred_class_logits: Tensor, active_class_ids: Tensor) -> Tensor:
    """Cross-entropy over the RoIs, left out where the predicted class does not exist in the image's data set.

    Args:
        target_class_ids: [B, T] int; 0 background, -1 no RoI at all.
        pred_class_logits: [B, T, K].
        active_class_ids: [B, K]; 1 for classes of the data set that the image comes from.
    """
    predicted = ops.argmax(pred_class_logits, axis=-1)
    active = ops.take_along_axis(ops.cast(active_class_ids, "float32"), predicted, axis=1)
    weights = active * ops.cast(target_class_ids >= 0, "float32")
    return masked_mean(cross_entropy(ops.maximum(target_class_ids, 0), pred_class_logits), weights)
