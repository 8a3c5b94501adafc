"""Losses of points: heatmaps with Gaussians, what is said in the cells of points, and what tells pairs of them apart
(Law and Deng 2018, section 3; Zhou et al. 2019, section 3)."""

from __future__ import annotations

from keras import ops

from mrcnn.losses.boxes import smooth_l1_loss
from mrcnn.losses.means import masked_mean
from mrcnn.ops.boxes import Tensor


def heatmap_loss(
    target: Tensor, logits: Tensor, active: Tensor | None = None, alpha: float = 2.0, beta: float = 4.0
) -> Tensor:
    """The focal loss with a smaller penalty near points (Law and Deng 2018, equation 1), over the number of points.

    Args:
        target: [B, h, w, C]; 1 at points, less about them, below 0 where nothing is learnt.
        logits: [B, h, w, C].
        active: [B, C] 0 or 1, channels of an image that count; None for all.
        alpha: how fast the weight falls with the probability of what is true.
        beta: how fast that of other cells falls towards points.
    """
    target, logits = ops.cast(target, "float32"), ops.cast(logits, "float32")
    point, known = ops.cast(target >= 1, "float32"), ops.cast(target >= 0, "float32")
    probability = ops.sigmoid(logits)
    hit = (1 - probability) ** alpha * ops.softplus(-logits)  # softplus(-x) is -log sigmoid(x)
    miss = known * ops.abs(1 - target) ** beta * probability**alpha * ops.softplus(logits)
    loss = ops.where(point > 0, hit, miss)
    if active is not None:
        active = ops.cast(active, "float32")[:, None, None]
        loss, point = loss * active, point * active
    return ops.sum(loss) / ops.maximum(ops.sum(point), 1)


def at_cells(said: Tensor, cells: Tensor) -> Tensor:
    """What a map [B, h, w, n] says in cells [B, M] int, row * w + column: [B, M, n]."""
    rows = ops.reshape(said, (-1, said.shape[1] * said.shape[2], said.shape[3]))
    return ops.take_along_axis(rows, cells[..., None], axis=1)


def point_loss(target: Tensor, said: Tensor, cells: Tensor, known: Tensor, smooth: float = 0.0) -> Tensor:
    """L1 of what a map says in the cells of points, the mean over the numbers that are known.

    Args:
        target: [B, M, n].
        said, cells: of `at_cells`.
        known: [B, M] or [B, M, n] bool.
        smooth: the difference below which smooth L1 takes its place.
    """
    difference = smooth_l1_loss(target, at_cells(said, cells), smooth)
    known = known if len(known.shape) == 3 else known[..., None]
    return masked_mean(difference, ops.broadcast_to(known, ops.shape(difference)))


def embedding_losses(first: Tensor, second: Tensor, known: Tensor, margin: float = 1.0) -> tuple[Tensor, Tensor]:
    """Pull and push (Law and Deng 2018, equations 4 and 5; Newell et al. 2017): the embeddings of an object's two
    points come together, the means of different objects of an image move apart until they differ by `margin`.

    Args:
        first, second: [B, M] of either point.
        known: [B, M] bool, objects that there are.

    Returns:
        the mean over objects of the squared distances of both points to their mean, and that over pairs of objects of
        an image of what their distance lacks.
    """
    mean = (first + second) / 2
    pull = (first - mean) ** 2 + (second - mean) ** 2
    lacking = ops.relu(margin - ops.abs(mean[:, :, None] - mean[:, None]))
    others = ops.logical_not(ops.eye(mean.shape[1], dtype="bool"))
    pairs = ops.logical_and(ops.logical_and(known[:, :, None], known[:, None]), others)
    return masked_mean(pull, known), masked_mean(lacking, pairs)
