"""Losses of points: heatmaps with Gaussians, and what is said in the cells of points (Zhou et al. 2019, section 3)."""

from __future__ import annotations

from keras import ops

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


def point_loss(target: Tensor, said: Tensor, cells: Tensor, known: Tensor) -> Tensor:
    """L1 of what a map says in the cells of points, the mean over the numbers that are known.

    Args:
        target: [B, M, n].
        said: [B, h, w, n].
        cells: [B, M] int, row * w + column.
        known: [B, M] or [B, M, n] bool.
    """
    rows = ops.reshape(said, (-1, said.shape[1] * said.shape[2], said.shape[3]))
    difference = ops.abs(target - ops.take_along_axis(rows, cells[..., None], axis=1))
    known = known if len(known.shape) == 3 else known[..., None]
    return masked_mean(difference, ops.broadcast_to(known, ops.shape(difference)))
