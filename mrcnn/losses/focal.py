"""Losses of classes at every place of every map, most of which hold nothing: focal loss, hard negatives."""

from keras import ops

from mrcnn.losses.classes import cross_entropy
from mrcnn.ops.boxes import Tensor


def binary_cross_entropy(targets: Tensor, logits: Tensor) -> Tensor:
    """Elementwise cross-entropy of a sigmoid, of logits and targets 0..1 of one shape."""
    logits = ops.cast(logits, "float32")
    return ops.softplus(logits) - ops.cast(targets, "float32") * logits


def focal_loss(targets: Tensor, logits: Tensor, alpha: float | None = 0.25, gamma: float = 2.0) -> Tensor:
    """Elementwise focal loss (Lin et al. 2017, equation 5): cross-entropy that what is already right hardly adds to.

    Args:
        targets: [...] of 0 and 1.
        logits: [...].
        alpha: weight of the ones, 1 - alpha being that of the zeros; None for none.
        gamma: how fast the weight falls with the probability of what is true; 0 for plain cross-entropy.
    """
    targets, logits = ops.cast(targets, "float32"), ops.cast(logits, "float32")
    wrong = ops.sigmoid(ops.where(targets > 0, -logits, logits))  # one minus the probability of what is true
    loss = binary_cross_entropy(targets, logits)
    if gamma:
        loss = loss * (ops.square(wrong) if gamma == 2 else wrong**gamma)
    return loss if alpha is None else loss * (alpha * targets + (1 - alpha) * (1 - targets))


def per_positive(values: Tensor, positive: Tensor) -> Tensor:
    """The sum of `values` [...] over the number of the batch's `positive` ones [B, A] bool, at least one."""
    count = ops.sum(ops.cast(positive, "float32"))
    return ops.sum(values) / ops.maximum(count, 1)


def dense_class_loss(
    target_class_ids: Tensor,
    logits: Tensor,
    active_class_ids: Tensor,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
) -> Tensor:
    """Focal loss of every place and class, over the number of positive places.

    Args:
        target_class_ids: [B, A] int; 0 background, -1 neither.
        logits: [B, A, K - 1], without the background.
        active_class_ids: [B, K]; 1 for classes of the data set that the image comes from: others are left out.
        alpha, gamma: see `focal_loss`.
    """
    classes = ops.arange(1, logits.shape[-1] + 1, dtype="int32")
    targets = ops.equal(ops.cast(target_class_ids, "int32")[..., None], classes)
    known = ops.cast(target_class_ids >= 0, "float32")[..., None]
    active = ops.cast(active_class_ids, "float32")[:, None, 1:]
    return per_positive(focal_loss(targets, logits, alpha, gamma) * known * active, target_class_ids > 0)


def mined_class_loss(
    target_class_ids: Tensor, logits: Tensor, active_class_ids: Tensor, negatives: float = 3.0
) -> Tensor:
    """Softmax cross-entropy of the positive places and of the worst of the others, over the number of positive places
    (Liu et al. 2016, section 2.2).

    Args:
        target_class_ids: [B, A] int; 0 background, -1 neither.
        logits: [B, A, K]; those of classes that are not active count as impossible.
        active_class_ids: [B, K]; 1 for classes of the data set that the image comes from.
        negatives: of an image, as many times as it has positive places.
    """
    positive, background = target_class_ids > 0, ops.equal(target_class_ids, 0)
    possible = ops.concatenate([ops.ones_like(active_class_ids[:, :1]), active_class_ids[:, 1:]], axis=1) > 0
    logits = ops.where(possible[:, None], ops.cast(logits, "float32"), -1e4)
    loss = cross_entropy(ops.maximum(target_class_ids, 0), logits)
    rank = ops.argsort(ops.argsort(ops.where(background, -ops.stop_gradient(loss), 1.0), axis=1), axis=1)
    count = negatives * ops.sum(ops.cast(positive, "float32"), axis=1, keepdims=True)
    hard = ops.logical_and(background, ops.cast(rank, "float32") < count)
    return per_positive(ops.where(ops.logical_or(positive, hard), loss, 0.0), positive)
