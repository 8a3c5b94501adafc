"""Non-maximum suppression: of boxes that overlap much, the one with the highest score stays."""

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from mrcnn.ops.boxes import Tensor, overlaps
from mrcnn.ops.gather import gather


def nms(boxes: ArrayLike, scores: ArrayLike, threshold: float) -> np.ndarray:
    """Greedy non-maximum suppression of one set of boxes, in NumPy.

    Args:
        boxes: [N, 4] pixels or normalised.
        scores: [N].
        threshold: a box is dropped if its IoU with a kept, higher scored box is above this.

    Returns:
        [kept] int32 indices, highest score first.
    """
    boxes = np.asarray(boxes, dtype="float64")
    order = np.argsort(scores, kind="stable")[::-1]
    keep = []
    while len(order):
        keep.append(order[0])
        order = order[1:][overlaps(boxes[order[:1]], boxes[order[1:]])[0] <= threshold]
    return np.array(keep, dtype="int32")


def nms_indices(
    boxes: Tensor, valid: Tensor, threshold: float, count: int, groups: Tensor | None = None, tile: int = 512
) -> tuple[Tensor, Tensor]:
    """Greedy non-maximum suppression of whole batches of sorted boxes, with static shapes.

    Boxes go through in tiles. A tile loses what the boxes kept so far suppress; within it, "kept unless a kept, higher
    box suppresses me" is iterated to its only fixed point, which is the greedy answer. It stops when every image has
    `count` boxes.

    Args:
        boxes: [B, N, 4] float32, highest score first; no gradient flows through.
        valid: [B, N] bool; False rows are neither kept nor suppress anything.
        threshold: IoU above which the lower scored box is dropped.
        count: number of boxes to return, at most.
        groups: [B, N] whole numbers, such as class ids: only boxes of one group suppress each other.
        tile: boxes per tile.

    Returns:
        indices [B, count] int32 into N in order of score (0 where there is none), and their validity [B, count] bool.
    """
    batch, total = ops.shape(boxes)[:2]
    tile = min(tile, total)
    tiles = -(-total // tile)
    padding = tiles * tile - total
    boxes = ops.pad(ops.stop_gradient(boxes), [[0, 0], [0, padding], [0, 0]])
    valid = ops.pad(valid, [[0, 0], [0, padding]])
    if groups is not None:
        groups = ops.pad(ops.cast(groups, "int32"), [[0, 0], [0, padding]])
    earlier = ops.arange(tile)[None, :] < ops.arange(tile)[:, None]
    slots = ops.arange(count, dtype="int32")[None, :]

    def rivals(here, there):
        """Which boxes of the second indices overlap those of the first too much, [B, n, m]."""
        overlap = overlaps(*(gather(boxes, rows) for rows in (here, there))) > threshold
        if groups is None:
            return overlap
        first, second = (gather(groups, rows) for rows in (here, there))
        return ops.logical_and(overlap, ops.equal(first[:, :, None], second[:, None, :]))

    def enter_tile(i, kept, kept_count):
        start = i * tile
        rows = ops.broadcast_to(start + ops.arange(tile, dtype="int32"), (batch, tile))
        hit = ops.logical_and(rivals(rows, kept), (slots < kept_count[:, None])[:, None, :])
        alive = ops.slice(valid, (0, start), (batch, tile))
        alive = ops.logical_and(alive, ops.logical_not(ops.any(hit, axis=-1)))
        rival = ops.logical_and(rivals(rows, rows), earlier)
        kept, kept_count = _append(kept, kept_count, _survivors(alive, rival), start)
        return i + 1, kept, kept_count

    def unfinished(i, kept, kept_count):
        return ops.logical_and(i < tiles, ops.any(kept_count < count))

    state = (ops.convert_to_tensor(0, "int32"), ops.zeros((batch, count), "int32"), ops.zeros((batch,), "int32"))
    _, kept, kept_count = ops.while_loop(unfinished, enter_tile, state)
    return kept, slots < kept_count[:, None]


def _survivors(alive, rival):
    """Of boxes [B, n] those that no survivor suppresses: `rival` [B, n, n] says whether the second comes before the
    first and would."""

    def sweep(keep, changed):
        suppressed = ops.any(ops.logical_and(rival, keep[:, None, :]), axis=-1)
        new = ops.logical_and(alive, ops.logical_not(suppressed))
        return new, ops.any(ops.not_equal(new, keep))

    def unsettled(keep, changed):
        return changed

    return ops.while_loop(unsettled, sweep, (alive, ops.any(alive)))[0]


def _append(kept, kept_count, keep, start):
    """The list of indices [B, count], of which `kept_count` [B] are filled, and behind these `start` + n for every n of
    `keep` [B, n], as many as fit; and how many are filled then."""
    slots, length = ops.arange(kept.shape[1], dtype="int32")[None, :], keep.shape[1]
    counted = ops.cumsum(ops.cast(keep, "int32"), axis=1)
    # The k-th of them lies behind all places where no more than k are counted.
    k = slots - kept_count[:, None]
    place = ops.sum(ops.cast(counted[:, None, :] <= k[:, :, None], "int32"), axis=-1)
    kept = ops.where(ops.logical_and(k >= 0, place < length), start + place, kept)
    return kept, ops.minimum(kept_count + counted[:, -1], kept.shape[1])
