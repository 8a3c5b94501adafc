"""RoIAlign's arithmetic: bilinear samples in boxes, and the pyramid's level that suits a box."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from keras import ops

from mrcnn.ops.boxes import Tensor

# How far outside the map, in cells, a sample may lie and still count as on its edge. Samples of a box that ends at the
# image's edge lie exactly there; without this, rounding, which every backend does in its own way, would drop some.
EDGE = 1e-3


def crop_and_resize(
    flat_maps: Tensor,
    offsets: Tensor,
    heights: Tensor,
    widths: Tensor,
    boxes: Tensor,
    shape: Sequence[int],
    sampling: str = "corners",
) -> Tensor:
    """Bilinear samples on a grid over each box, of many maps of different sizes at once: maps lie flattened behind each
    other, and each box says where its own map begins. Samples outside the map are 0.

    Args:
        flat_maps: [B, L, C], all cells of all maps of an image, row by row.
        offsets: [B, N] int32, first cell of the map that belongs to a box.
        heights, widths: [B, N] int32, that map's size.
        boxes: [B, N, 4] normalised to that map.
        shape: (rows, columns) of the grid, at least 2 each with "corners".
        sampling: a key of `SAMPLINGS`.

    Returns:
        [B, N, rows, columns, C], of the maps' dtype; the weights are float32 whatever that is.
    """
    batch, length, channels = ops.shape(flat_maps)
    rows, columns = shape
    first = offsets + length * ops.arange(batch, dtype="int32")[:, None]
    cells = ops.reshape(flat_maps, (-1, channels))

    def sample(vertical, horizontal):
        y, top, bottom, inside_y = vertical
        x, left, right, inside_x = horizontal
        inside = ops.cast(ops.logical_and(inside_y[..., :, None], inside_x[..., None, :]), "float32")
        weight_y = (y - ops.cast(top, "float32"))[..., :, None]
        weight_x = (x - ops.cast(left, "float32"))[..., None, :]

        def corner(row, column, weight):
            index = first[..., None, None] + row[..., :, None] * widths[..., None, None] + column[..., None, :]
            return ops.cast(ops.take(cells, index, axis=0), "float32") * (weight * inside)[..., None]

        return (
            corner(top, left, (1 - weight_y) * (1 - weight_x))
            + corner(top, right, (1 - weight_y) * weight_x)
            + corner(bottom, left, weight_y * (1 - weight_x))
            + corner(bottom, right, weight_y * weight_x)
        )

    place = SAMPLINGS[sampling]
    down = place(boxes[..., 0], boxes[..., 2], heights, rows)
    across = place(boxes[..., 1], boxes[..., 3], widths, columns)
    samples = [sample(vertical, horizontal) for vertical in down for horizontal in across]
    mean = sum(samples[1:], samples[0]) / len(samples) if len(samples) > 1 else samples[0]
    return ops.cast(mean, flat_maps.dtype)


def _around(position, sizes, margin):
    """Positions [B, N, count] along one axis of the map, the two cells around each, and whether they are on the map, by
    no more than `margin` cells outside."""
    last = ops.cast(sizes - 1, "float32")[..., None]
    inside = ops.logical_and(position >= -margin, position <= last + margin)
    position = ops.clip(position, 0, last)
    lower = ops.floor(position)
    upper = ops.minimum(lower + 1, last)
    return position, ops.cast(lower, "int32"), ops.cast(upper, "int32"), inside


def _corners(start, end, sizes, count):
    """The rule of TensorFlow's crop_and_resize: the first and last of the samples lie on the box's edges."""
    last = ops.cast(sizes - 1, "float32")[..., None]
    start, end = ops.cast(start, "float32")[..., None], ops.cast(end, "float32")[..., None]
    step = (end - start) * last / (count - 1)
    return [_around(start * last + ops.arange(count, dtype="float32") * step, sizes, EDGE)]


def _bins(start, end, sizes, count, offset=0.0):
    """RoIAlign (He et al. 2017, section 3): two samples in each of `count` bins, at a quarter and three of its length.

    With an offset of 0.5 cell k of the map has its centre at k + 0.5; without one at k, a box is then at least one cell
    long. Up to one cell outside, the map goes on as on its edge.
    """
    size = ops.cast(sizes, "float32")[..., None]
    start, end = ops.cast(start, "float32")[..., None] * size, ops.cast(end, "float32")[..., None] * size
    length = (end - start) if offset else ops.maximum(end - start, 1.0)
    bins = ops.arange(count, dtype="float32")
    return [_around(start - offset + (bins + part) * length / count, sizes, 1.0) for part in (0.25, 0.75)]


def _centres(start, end, sizes, count):
    """One sample in the middle of each of `count` equal parts; what is outside of the map's outer cells is 0."""
    size = ops.cast(sizes, "float32")[..., None]
    start, end = ops.cast(start, "float32")[..., None] * size, ops.cast(end, "float32")[..., None] * size
    parts = (ops.arange(count, dtype="float32") + 0.5) / count
    return [_around(start + parts * (end - start) - 0.5, sizes, 0.5)]


# ROI_ALIGN -> function(start [B, N], end [B, N], sizes [B, N], count): a list of samples' places along an axis.
SAMPLINGS: dict[str, Callable[..., Any]] = {
    "corners": _corners,
    "bins": _bins,
    "aligned": partial(_bins, offset=0.5),
    "centres": _centres,  # of images, see `mrcnn.layers.warp`
}

# ROI_LEVEL -> how a level that is a fraction becomes a whole one.
ROUNDINGS: dict[str, Callable[[Tensor], Tensor]] = {"round": ops.round, "floor": lambda level: ops.floor(level + 1e-6)}


def pyramid_level(boxes: Tensor, image_area: Tensor, rounding: str = "round", first: int = 2, last: int = 5) -> Tensor:
    """The pyramid's level for each box (equation 1 of the FPN paper): a box of 224 x 224 pixels belongs to P4.

    Args:
        boxes: [..., 4] normalised.
        image_area: area of the image in pixels, scalar or broadcastable to [...].
        rounding: a key of `ROUNDINGS`.
        first, last: the levels that there are.

    Returns:
        [...] int32 in first..last.
    """
    area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    side = ops.sqrt(ops.maximum(area, 0)) * ops.sqrt(image_area) / 224.0
    level = 4 + ops.cast(ROUNDINGS[rounding](ops.log2(ops.maximum(side, 1e-8))), "int32")
    return ops.clip(level, first, last)
