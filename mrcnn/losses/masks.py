"""The loss of masks."""

from keras import ops

from mrcnn.losses.means import masked_mean, of_class
from mrcnn.ops.boxes import Tensor


def mask_loss(target_masks: Tensor, target_class_ids: Tensor, pred_masks: Tensor, logits: bool = False) -> Tensor:
    """Binary cross-entropy of the positive RoIs' masks, on the channel of the true class.

    Args:
        target_masks: [B, P, h, w] of 0 and 1.
        target_class_ids: [B, P] int; positive RoIs are above 0.
        pred_masks: [B, P, h, w, K] probabilities, or logits if `logits`.
    """
    pred = of_class(pred_masks, target_class_ids, axis=4)
    target = ops.cast(target_masks, pred.dtype)
    if logits:
        entropy = ops.softplus(pred) - target * pred
    else:
        pred = ops.clip(pred, 1e-7, 1 - 1e-7)
        entropy = -(target * ops.log(pred) + (1 - target) * ops.log(1 - pred))
    return masked_mean(ops.mean(entropy, axis=(2, 3)), target_class_ids > 0)
