"""Boxes: overlaps, deltas, clipping, normalisation.

A box is (y1, x1, y2, x2); y2 and x2 lie outside it. Every formula stands here once and serves NumPy arrays and backend
tensors alike: NumPy in gives NumPy out, a tensor in gives a tensor out.
"""

import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

# A NumPy array or a tensor of the backend: each backend has its own class, and what goes in comes out.
Tensor = Any

# Larger exponents than this would blow a 16 pixel box up past 1000 pixels: exp() is never given more (as in Detectron).
MAX_LOG_SCALE = math.log(1000.0 / 16)

# Added to areas that are divided by; those of normalised boxes are small.
TINY = 1e-9


def namespace(*arrays: Tensor) -> ModuleType:
    """`numpy` if every argument is a NumPy array, number or sequence of numbers, else `keras.ops`."""
    if all(isinstance(a, (np.ndarray, np.generic, int, float, list, tuple)) for a in arrays):
        return np
    from keras import ops  # here, so that arrays need NumPy alone

    return ops


def _split(boxes):
    return boxes[..., 0], boxes[..., 1], boxes[..., 2], boxes[..., 3]


def area(boxes: Tensor) -> Tensor:
    """Area [...] of boxes [..., 4]."""
    y1, x1, y2, x2 = _split(boxes)
    return (y2 - y1) * (x2 - x1)


def intersections(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Area [..., N, M] that every box of one set [..., N, 4] shares with every box of another [..., M, 4]."""
    xp = namespace(boxes1, boxes2)
    a, b = boxes1[..., :, None, :], boxes2[..., None, :, :]
    height = xp.minimum(a[..., 2], b[..., 2]) - xp.maximum(a[..., 0], b[..., 0])
    width = xp.minimum(a[..., 3], b[..., 3]) - xp.maximum(a[..., 1], b[..., 1])
    return xp.maximum(height, 0) * xp.maximum(width, 0)


def overlaps(boxes1: Tensor, boxes2: Tensor, over: Literal["union", "first"] = "union") -> Tensor:
    """Overlap of every box of one set with every box of another.

    Args:
        boxes1: [..., N, 4], pixels or normalised.
        boxes2: [..., M, 4] in the same unit.
        over: "union" for intersection over union; "first" for intersection over the area of the box of `boxes1`,
            which is how COCO matches crowd regions.

    Returns:
        [..., N, M] in 0..1; 0 where an area is zero.
    """
    xp = namespace(boxes1, boxes2)
    intersection, total = intersections(boxes1, boxes2), area(boxes1)[..., :, None]
    if over == "union":
        total = total + area(boxes2)[..., None, :] - intersection
    return intersection / xp.where(total > 0, total, 1)  # where it is not, nothing intersects


def pair_overlaps(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """IoU [...] of pairs of boxes [..., 4]."""
    return overlaps(boxes1[..., None, :], boxes2[..., None, :])[..., 0, 0]


def giou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Generalised IoU [...] of pairs of boxes [..., 4] (Rezatofighi et al. 2019), -1..1: the IoU less the share of the
    smallest box around both that neither covers."""
    xp = namespace(boxes1, boxes2)
    low, high = xp.minimum(boxes1, boxes2), xp.maximum(boxes1, boxes2)
    sides = xp.maximum(low[..., 2:] - high[..., :2], 0)
    around = high[..., 2:] - low[..., :2]
    shared, whole = sides[..., 0] * sides[..., 1], around[..., 0] * around[..., 1]
    union = area(boxes1) + area(boxes2) - shared
    return shared / (union + TINY) - (whole - union) / (whole + TINY)


def encode(boxes: Tensor, targets: Tensor) -> Tensor:
    """Deltas (dy, dx, log dh, log dw) that take `boxes` to `targets`, both [..., 4] with positive sides.

    The parametrisation of R-CNN (Girshick et al. 2014, appendix C): centres in units of the box's sides. Sides that are
    not positive, which only padding has, are taken as one millionth.
    """
    xp = namespace(boxes, targets)
    y1, x1, y2, x2 = _split(boxes)
    ty1, tx1, ty2, tx2 = _split(targets)
    height, width = _side(xp, y2 - y1), _side(xp, x2 - x1)
    target_height, target_width = _side(xp, ty2 - ty1), _side(xp, tx2 - tx1)
    dy = (ty1 + ty2 - y1 - y2) * 0.5 / height
    dx = (tx1 + tx2 - x1 - x2) * 0.5 / width
    return xp.stack([dy, dx, xp.log(target_height / height), xp.log(target_width / width)], axis=-1)


def _side(xp, length):
    return xp.where(length > 0, length, 1e-6)


def decode(boxes: Tensor, deltas: Tensor, limit: float = MAX_LOG_SCALE) -> Tensor:
    """Apply deltas (dy, dx, log dh, log dw) to boxes, both [..., 4]; the inverse of `encode`.

    The logarithms are limited to log(1000 / 16), or `limit`, so that no delta overflows.
    """
    xp = namespace(boxes, deltas)
    y1, x1, y2, x2 = _split(boxes)
    dy, dx, dh, dw = _split(deltas)
    height, width = y2 - y1, x2 - x1
    centre_y = y1 + 0.5 * height + dy * height
    centre_x = x1 + 0.5 * width + dx * width
    height = height * xp.exp(xp.minimum(dh, limit))
    width = width * xp.exp(xp.minimum(dw, limit))
    y1, x1 = centre_y - 0.5 * height, centre_x - 0.5 * width
    return xp.stack([y1, x1, y1 + height, x1 + width], axis=-1)


def encode_in_cell(boxes: Tensor, targets: Tensor, cells: Tensor) -> Tensor:
    """Where the centres of `targets` lie in the cells about the centres of `boxes`, and how large they are: (y, x,
    log h, log w), the first two 0..1 in the cell, the others against the sides of `boxes` (Redmon and Farhadi 2017,
    section 2).

    Args:
        boxes, targets: [..., 4] with positive sides.
        cells: [..., 2] sides of the cells, (height, width) over those of `boxes`.
    """
    xp = namespace(boxes, targets)
    deltas = encode(boxes, targets)
    return xp.concatenate([deltas[..., :2] / cells + 0.5, deltas[..., 2:]], axis=-1)


def in_cell_to_deltas(numbers: Tensor, cells: Tensor) -> Tensor:
    """The deltas [..., 4] that `decode` takes, of numbers (y, x, log h, log w) as of `encode_in_cell`."""
    xp = namespace(numbers, cells)
    return xp.concatenate([(numbers[..., :2] - 0.5) * cells, numbers[..., 2:]], axis=-1)


def encode_sides(boxes: Tensor, targets: Tensor) -> Tensor:
    """Distances (top, left, bottom, right) from the centres of `boxes` to the sides of `targets`, both [..., 4], in
    units of the boxes' sides (Tian et al. 2019); negative where a centre lies outside."""
    xp = namespace(boxes, targets)
    centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    return xp.concatenate([(centre - targets[..., :2]) / size, (targets[..., 2:] - centre) / size], axis=-1)


def decode_sides(boxes: Tensor, sides: Tensor) -> Tensor:
    """The boxes [..., 4] whose sides lie so far from the centres of `boxes`; the inverse of `encode_sides`."""
    xp = namespace(boxes, sides)
    centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    return xp.concatenate([centre - sides[..., :2] * size, centre + sides[..., 2:] * size], axis=-1)


def centerness(sides: Tensor) -> Tensor:
    """How near places are to the centres of boxes, [...] of 0..1, of their distances [..., 4] to the sides, all above
    0: 1 in the middle (Tian et al. 2019, equation 3)."""
    xp = namespace(sides)
    low, high = (pick(sides[..., :2], sides[..., 2:]) for pick in (xp.minimum, xp.maximum))
    return xp.sqrt(low[..., 0] / high[..., 0] * (low[..., 1] / high[..., 1]))


def clip(boxes: Tensor, window: Tensor) -> Tensor:
    """Boxes [..., 4] cut to `window`, four numbers or an array that broadcasts against [..., 4]."""
    xp = namespace(boxes, window)
    window = xp.asarray(window) if xp is np else xp.convert_to_tensor(window, dtype=boxes.dtype)
    low = xp.concatenate([window[..., :2], window[..., :2]], axis=-1)
    high = xp.concatenate([window[..., 2:], window[..., 2:]], axis=-1)
    return xp.maximum(xp.minimum(boxes, high), low)


def expand(boxes: Tensor, factor: float) -> Tensor:
    """Boxes [..., 4] with both sides `factor` times as long, about the same centre."""
    xp = namespace(boxes)
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    half = (boxes[..., 2:] - boxes[..., :2]) / 2 * factor
    return xp.concatenate([centre - half, centre + half], axis=-1)


def cover(boxes: ArrayLike) -> np.ndarray:
    """The smallest boxes [..., 4] int that hold pixel boxes [..., 4] of any numbers: integer ones stay as they are."""
    boxes = np.asarray(boxes)
    return np.concatenate([np.floor(boxes[..., :2]), np.ceil(boxes[..., 2:])], axis=-1).astype(int)


def _scale_and_shift(shape, normalization):
    last = float(normalization == "pixels")
    scale = np.array([shape[0], shape[1], shape[0], shape[1]], dtype="float32") - np.float32(last)
    return scale, np.array([0, 0, last, last], dtype="float32")


def normalize(boxes: Tensor, shape: Sequence[int], normalization: str = "pixels") -> Tensor:
    """Pixel boxes [..., 4] to normalised float32 ones.

    Args:
        boxes: (y1, x1, y2, x2).
        shape: (H, W) in pixels.
        normalization: "pixels" for (y1, x1, y2 - 1, x2 - 1) / (H - 1, W - 1, H - 1, W - 1), where the shift makes y2
            and x2 the last pixel inside; "edges" for (y1, x1, y2, x2) / (H, W, H, W). See BOX_NORMALIZATION.
    """
    scale, shift = _scale_and_shift(shape, normalization)
    xp = namespace(boxes)
    if xp is np:
        return ((np.asarray(boxes) - shift) / scale).astype("float32")
    return (xp.cast(boxes, "float32") - xp.convert_to_tensor(shift)) / xp.convert_to_tensor(scale)


def denormalize(boxes: Tensor, shape: Sequence[int], normalization: str = "pixels") -> Tensor:
    """Normalised boxes [..., 4] to int32 pixel boxes on an image of `shape` (H, W); halves round to even."""
    xp = namespace(boxes)
    if xp is np:
        return np.around(to_pixels(np.asarray(boxes), shape, normalization)).astype("int32")
    return xp.cast(xp.round(to_pixels(boxes, shape, normalization)), "int32")


def to_pixels(boxes: Tensor, shape: Sequence[int], normalization: str = "pixels") -> Tensor:
    """As `denormalize`, without rounding."""
    scale, shift = _scale_and_shift(shape, normalization)
    xp = namespace(boxes)
    if xp is np:
        return boxes * scale + shift
    return boxes * xp.convert_to_tensor(scale) + xp.convert_to_tensor(shift)
