"""RoI pooling (Girshick 2015, section 2.1): the highest value in each part of a box, in whole cells of the map."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from keras import ops

from mrcnn.ops.boxes import Tensor

# Levels of doubling where the map's size is only known at run time: cells of a box of up to 127 cells of the map.
UNKNOWN = 7


def roi_pool(maps: Sequence[Tensor], level: Tensor, boxes: Tensor, shape: Sequence[int]) -> Tensor:
    """The highest values on a grid over each box, of many maps of different sizes at once.

    A box is rounded to whole cells of the map, its last cell inside, and divided; the parts are rounded outwards, so
    that they may share a cell. What lies outside the map does not count; a part that is all outside is 0. As
    torchvision's `roi_pool`.

    The maximum of any range is that of two ranges whose length is a power of two, from its begin on and up to its end.
    Of these the maxima are computed once for all boxes, which takes a few times the memory of the maps.

    Args:
        maps: [B, h, w, C] each.
        level: [B, N] int32, the map of each box.
        boxes: [B, N, 4] normalised to the map.
        shape: (rows, columns) of the grid.

    Returns:
        [B, N, rows, columns, C], of the maps' dtype.
    """
    sides = [side for x in maps for side in x.shape[1:3]]
    longest = None if None in sides else -(-max(sides) // min(shape)) + 1
    doublings = longest.bit_length() if longest else UNKNOWN
    batch, channels = ops.shape(maps[0])[0], maps[0].shape[-1]
    cells = ops.concatenate([ops.reshape(_maxima(x, doublings), (batch, -1, channels)) for x in maps], axis=1)
    sizes = [ops.shape(x)[1:3] for x in maps]
    starts: list[Any] = [0]
    for height, width in sizes[:-1]:
        starts.append(starts[-1] + doublings**2 * height * width)

    def of_box(values):
        return ops.take(ops.cast(ops.stack(values), "int32"), level, axis=0)

    heights, widths = of_box([h for h, _ in sizes]), of_box([w for _, w in sizes])
    first = of_box(starts) + ops.shape(cells)[1] * ops.arange(batch, dtype="int32")[:, None]
    down, across = (
        _ranges(boxes[..., i], boxes[..., i + 2], side, count, doublings)
        for i, (side, count) in enumerate(zip((heights, widths), shape, strict=True))
    )
    flat = ops.reshape(cells, (-1, channels))
    size = (heights * widths)[..., None, None]
    table = (down.power[..., :, None] * doublings + across.power[..., None, :]) * size + first[..., None, None]

    def at(rows, columns):
        return ops.take(flat, table + rows[..., :, None] * widths[..., None, None] + columns[..., None, :], axis=0)

    corners = [at(rows, columns) for rows in (down.low, down.high) for columns in (across.low, across.high)]
    highest = ops.maximum(ops.maximum(corners[0], corners[1]), ops.maximum(corners[2], corners[3]))
    inside = ops.logical_and(down.inside[..., :, None], across.inside[..., None, :])
    return ops.where(inside[..., None], highest, ops.zeros_like(highest))


class Ranges(NamedTuple):
    """Parts of boxes along an axis, [B, N, count] each: two ranges of 2 ** power cells cover each part.

    Attributes:
        power: int32.
        low, high: int32, the first cells of the two.
        inside: whether any cell of the part is on the map.
    """

    power: Tensor
    low: Tensor
    high: Tensor
    inside: Tensor


def parts(start: Tensor, end: Tensor, sizes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The cells of a map, from `low` up to but without `high`, that each of `count` parts of boxes takes along an axis.

    Args:
        start, end: [B, N] of boxes, normalised to the map.
        sizes: [B, N] int32, the map's cells along this axis.

    Returns:
        low, high: [B, N, count] int32; equal where a part lies outside the map.
    """
    size = ops.cast(sizes, "float32")
    first, last = (ops.cast(ops.floor(ops.cast(x, "float32") * size + 0.5), "int32") for x in (start, end))
    length = ops.maximum(last - first + 1, 1)[..., None]
    part = ops.arange(count, dtype="int32")
    limit = sizes[..., None]
    low = ops.clip(first[..., None] + part * length // count, 0, limit)
    return low, ops.clip(first[..., None] + ((part + 1) * length + count - 1) // count, 0, limit)


def _ranges(start, end, sizes, count, doublings):
    low, high = parts(start, end, sizes, count)
    cells, limit = high - low, sizes[..., None]
    power = sum(ops.cast(cells >= 2**k, "int32") for k in range(1, doublings)) if doublings > 1 else low * 0
    reach = ops.take(ops.convert_to_tensor([2**k for k in range(doublings)], dtype="int32"), power)
    return Ranges(power, ops.clip(low, 0, limit - 1), ops.clip(high - reach, 0, limit - 1), cells > 0)


def _maxima(x, doublings):
    """[B, doublings ** 2, h, w, C]: the maxima of x over 2 ** i rows and 2 ** j columns from each cell on."""
    rows = _doubled(x, 1, doublings)
    return ops.stack([both for x in rows for both in _doubled(x, 2, doublings)], axis=1)


def _doubled(x, axis, doublings):
    found = [x]
    for k in range(doublings - 1):
        pads = [[0, 0] for _ in x.shape]
        pads[axis][1] = 2**k
        padded = ops.pad(found[-1], pads, constant_values=float("-inf"))
        shifted = padded[:, 2**k :] if axis == 1 else padded[:, :, 2**k :]
        found.append(ops.maximum(found[-1], shifted))
    return found
