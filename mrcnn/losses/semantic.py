"""The loss of a class for every pixel."""

from keras import ops

from mrcnn.losses.classes import cross_entropy
from mrcnn.ops.boxes import Tensor


def pixel_loss(logits: Tensor, target_class_ids: Tensor, weights: Tensor, active_class_ids: Tensor) -> Tensor:
    """Softmax cross-entropy of every pixel, the mean by their weights; 0 where all of these are 0.

    Args:
        logits: [B, H, W, K]; those of classes that are not active count as impossible.
        target_class_ids: [B, H, W] int, 0 background.
        weights: [B, H, W]; 0 for pixels that do not count.
        active_class_ids: [B, K]; 1 for classes of the data set that the image comes from.
    """
    possible = ops.concatenate([ops.ones_like(active_class_ids[:, :1]), active_class_ids[:, 1:]], axis=1) > 0
    logits = ops.where(possible[:, None, None], ops.cast(logits, "float32"), -1e4)
    weights = ops.cast(weights, "float32")
    total = ops.sum(weights)
    return ops.sum(cross_entropy(target_class_ids, logits) * weights) / ops.where(total > 0, total, 1.0)
