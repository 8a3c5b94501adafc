"""Sampling: a random choice of candidates in which positives do not drown among negatives."""

from typing import Any

import numpy as np
from keras import ops

from mrcnn.ops.boxes import Tensor
from mrcnn.ops.gather import gather


def thin_out(labels: np.ndarray, count: int, positive_share: float, rng: Any) -> np.ndarray:
    """Labels of which at most `count` are not 0, in NumPy.

    Args:
        labels: [N] int; 1 positive, -1 negative, 0 neither.
        count: of positives and negatives together.
        positive_share: the first int(count * positive_share) may be positive; negatives fill the rest.
        rng: `numpy.random.Generator`, or `numpy.random` for NumPy's global state.

    Returns:
        A copy [N] in which those left out at random are 0.
    """
    labels = labels.copy()

    def leave(label, limit):
        rows = np.flatnonzero(labels == label)
        if len(rows) > limit:
            labels[rng.choice(rows, len(rows) - limit, replace=False)] = 0
        return min(len(rows), limit)

    leave(-1, count - leave(1, int(count * positive_share)))
    return labels


def choose(
    positive: Tensor, negative: Tensor, chance: Tensor, count: int, positive_count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """A choice of `count` of N candidates, positives first, negatives in the rest, with static shapes.

    Args:
        positive, negative: [B, N] bool, never both; N is at least `count`.
        chance: [B, N] float32 of 0..1: of either kind those with the highest are taken.
        count: candidates to choose.
        positive_count: positives among them, at most.

    Returns:
        indices [B, count] int32 into N; which of them are positive [B, count] bool; and which are any at all
        [B, count] bool, False where there are too few candidates.
    """

    def pick(candidates, limit):
        rank, index = ops.top_k(ops.where(candidates, chance, -1.0), limit)
        return rank >= 0, index

    is_positive, positive_index = pick(positive, positive_count)
    is_negative, negative_index = pick(negative, count)
    index = ops.concatenate([positive_index, negative_index], axis=1)
    rank = ops.concatenate([2 * ops.cast(is_positive, "int32"), ops.cast(is_negative, "int32")], axis=1)
    # Distinct keys, because not every backend sorts equal ones in order.
    total = positive_count + count
    _, place = ops.top_k(rank * total - ops.arange(total, dtype="int32"), count)
    rank = gather(rank, place)
    return gather(index, place), rank > 1, rank > 0
