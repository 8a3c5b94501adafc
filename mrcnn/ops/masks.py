"""Instance masks: their boxes, their small copies for training, pasting the network's masks, run-length encoding."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mrcnn.ops.images import resized_blocks
from mrcnn.ops.polygons import to_polygons as to_polygons


def extract_bboxes(mask: np.ndarray) -> np.ndarray:
    """Tight boxes around masks.

    Args:
        mask: [H, W, N], zero or not.

    Returns:
        [N, 4] int32 pixel boxes (y1, x1, y2, x2), all zero where a mask is empty.
    """
    mask = np.asarray(mask)
    mask = mask if mask.dtype == bool else mask != 0  # of thousands of objects a copy takes gigabytes
    if not mask.size:
        return np.zeros((mask.shape[-1], 4), dtype="int32")

    def extent(profile):  # [length, N]
        return profile.argmax(axis=0), len(profile) - profile[::-1].argmax(axis=0)

    rows, columns = mask.any(axis=1), mask.any(axis=0)
    (y1, y2), (x1, x2) = extent(rows), extent(columns)
    return (np.stack([y1, x1, y2, x2], axis=1) * rows.max(axis=0)[:, None]).astype("int32")


def minimize_mask(bbox: np.ndarray, mask: np.ndarray, mini_shape: Sequence[int]) -> np.ndarray:
    """Cut masks to their boxes and resize them: large images then need far less memory for ground truth.

    Args:
        bbox: [N, 4] integer pixel boxes.
        mask: [H, W, N].
        mini_shape: (height, width) of the mini masks.

    Returns:
        [height, width, N] bool.

    Raises:
        ValueError: a box has no area, as for an empty mask; such instances must be dropped before.
    """
    mini = np.zeros((*mini_shape, mask.shape[-1]), dtype=bool)
    for i in range(mask.shape[-1]):
        y1, x1, y2, x2 = bbox[i][:4]
        part = mask[y1:y2, x1:x2, i] != 0
        if not part.size:
            raise ValueError(f"Instance {i} has the box {[int(v) for v in bbox[i][:4]]}, which covers no pixel.")
        mini[:, :, i] = _resize(part, mini_shape)
    return mini


def expand_mask(bbox: np.ndarray, mini_mask: np.ndarray, image_shape: Sequence[int]) -> np.ndarray:
    """Undo `minimize_mask` as far as its resolution allows.

    Args:
        bbox: [N, 4] integer pixel boxes within the image.
        mini_mask: [height, width, N].
        image_shape: (H, W, ...) of the image.

    Returns:
        [H, W, N] bool.
    """
    mask = np.zeros((*image_shape[:2], mini_mask.shape[-1]), dtype=bool)
    for i in range(mask.shape[-1]):
        mask[:, :, i] = unmold_mask(mini_mask[:, :, i], bbox[i][:4], image_shape)
    return mask


def unmold_mask(
    mask: np.ndarray, bbox: Iterable[float], image_shape: Sequence[int], paste: str = "integer"
) -> np.ndarray:
    """Paste one mask of the network into an image.

    Args:
        mask: [height, width] probabilities 0..1.
        bbox: (y1, x1, y2, x2) pixels within the image, whole numbers with "integer".
        image_shape: (H, W, ...) of the image.
        paste: a key of `PASTES`.

    Returns:
        [H, W] bool, all False where the box has no area.
    """
    full = np.zeros(image_shape[:2], dtype=bool)
    y, x, part = PASTES[paste](mask, bbox, image_shape)
    full[y : y + part.shape[0], x : x + part.shape[1]] = part
    return full


def unmold_mask_rle(
    mask: np.ndarray, bbox: Iterable[float], image_shape: Sequence[int], paste: str = "integer"
) -> dict[str, Any]:
    """As `unmold_mask`, but the run lengths of `encode_rle`, made without the whole image's mask."""
    y, x, part = PASTES[paste](mask, bbox, image_shape)
    return place_rle(y, x, part, image_shape)


def place_rle(y: int, x: int, part: np.ndarray, image_shape: Sequence[int]) -> dict[str, Any]:
    """As of `encode_rle`, for a mask that is empty but for a part [h, w] bool of it, whose upper left pixel is (y, x)
    of an image of the shape (H, W, ...)."""
    height, width = image_shape[:2]
    changes = np.zeros(0, int)
    if part.any():
        # Runs go down the columns: where does a pixel differ from the one before?
        columns = np.pad(part.T, [(0, 0), (1, 1)])
        column, row = np.nonzero(columns[:, 1:] != columns[:, :-1])
        changes, times = np.unique((x + column) * height + y + row, return_counts=True)
        changes = changes[times == 1]  # a run that ends a column goes on at the top of the next
    counts = np.diff(changes, prepend=0, append=height * width)
    if len(changes) and changes[-1] == height * width:
        counts = counts[:-1]
    return compress_rle({"size": [height, width], "counts": counts.tolist()})


def crop_rle(rle: dict[str, Any], window: Sequence[int]) -> np.ndarray:
    """The pixels [y2 - y1, x2 - x1] bool of a window (y1, x1, y2, x2) of a mask in COCO's run lengths, without decoding
    the columns beside it."""
    height, (y1, x1, y2, x2) = rle["size"][0], window
    counts = rle["counts"] if isinstance(rle["counts"], list) else run_lengths(rle["counts"])
    ends = np.cumsum(counts)
    first, last = x1 * height, x2 * height
    inside = ends[np.searchsorted(ends, first, "right") : np.searchsorted(ends, last, "left")]
    lengths = np.diff(inside, prepend=first, append=last)
    values = (np.arange(len(lengths)) + np.searchsorted(ends, first, "right")) % 2 == 1
    return np.repeat(values, lengths).reshape(x2 - x1, height).T[y1:y2]


def _resize(mask, shape):
    """A mask [h, w] of 0..1 or bool in another size, bool."""
    resized = np.empty(shape, dtype=bool)
    for rows, block in resized_blocks(mask, shape):
        resized[rows] = block >= 0.5
    return resized


def _paste_integer(mask, bbox, image_shape):
    """The mask resized to its integer box."""
    y1, x1, y2, x2 = (int(edge) for edge in bbox)
    if y2 <= y1 or x2 <= x1:
        return y1, x1, np.zeros((0, 0), bool)
    return y1, x1, _resize(mask, (y2 - y1, x2 - x1))


def _paste_exact(mask, bbox, image_shape):
    """The mask read at the centres of pixels, bilinear, with zeros around it, as Detectron2 pastes."""
    corners = np.asarray(bbox, float).reshape(2, 2)
    if (corners[1] <= corners[0]).any():
        return 0, 0, np.zeros((0, 0), bool)
    firsts, positions = [], []
    for start, end, cells, size in zip(*corners, mask.shape, image_shape, strict=False):
        cell = (end - start) / cells
        first, last = max(0, math.floor(start - cell)), min(size, math.ceil(end + cell))
        firsts.append(first)
        positions.append((np.arange(first, last) + 0.5 - start) / cell - 0.5)
    return *firsts, _bilinear(mask, *positions) >= 0.5


def _paste_torchvision(mask, bbox, image_shape):
    """The mask with a border of zeros, resized to the box that grows by as much and is cut to whole numbers, as
    torchvision's `paste_masks_in_image`."""
    padded = np.pad(mask, 1)
    corners = np.asarray(bbox, float).reshape(2, 2)
    if (corners[1] <= corners[0]).any():
        return 0, 0, np.zeros((0, 0), bool)
    half = (corners[1] - corners[0]) / 2 * padded.shape / mask.shape
    starts, ends = (np.trunc(corners.mean(axis=0) + part).astype(int) for part in (-half, half))
    firsts, positions = [], []
    for start, end, cells, size in zip(starts, ends, padded.shape, image_shape, strict=False):
        first, last, length = max(start, 0), min(end + 1, size), end - start + 1
        firsts.append(first)
        position = (np.arange(first, last) - start + 0.5) * cells / length - 0.5
        positions.append(position.clip(0, cells - 1))
    return *firsts, _bilinear(padded, *positions) > 0.5


def _bilinear(cells, y, x):
    """Values [len(y), len(x)] of cells [h, w] at positions whose whole numbers are the cells, 0 far outside."""
    down, across = (
        np.maximum(0, 1 - np.abs(position[:, None] - np.arange(size))).astype("float32")
        for position, size in zip((y, x), cells.shape, strict=True)
    )
    return down @ np.asarray(cells, "float32") @ across.T


# MASK_PASTE -> function(mask, box, image shape) that gives (y, x) of a part of the image, and the part, bool.
PASTES = {"integer": _paste_integer, "exact": _paste_exact, "torchvision": _paste_torchvision}


def resize_mask(
    mask: np.ndarray, scale: ArrayLike, padding: Sequence[Sequence[int]], crop: Sequence[int] | None = None
) -> np.ndarray:
    """Give masks the size that `images.resize_image` gave their image.

    Args:
        mask: [H, W, N].
        scale, padding, crop: as returned by `resize_image`; what is cut out is padded.

    Returns:
        [H', W', N] of the same dtype, nearest neighbours with corners aligned, as `scipy.ndimage.zoom(order=0)`.
    """
    planes, factors = np.moveaxis(mask, -1, 0), np.broadcast_to(scale, 2)
    for axis, size in enumerate(mask.shape[:2]):
        count = max(1, round(size * factors[axis]))
        part = slice(0, count) if crop is None else slice(crop[axis], crop[axis] + crop[axis + 2])
        if count != size:
            nearest = np.floor(np.arange(count) * ((size - 1) / max(count - 1, 1)) + 0.5).astype(int)
            planes, part = planes.take(nearest[part], axis + 1), slice(None)
        planes = planes[:, :, part] if axis else planes[:, part]
    if np.any(padding):
        planes = np.pad(planes, [padding[2], *padding[:2]])
    return np.moveaxis(planes, 0, -1)


def stack_masks(masks: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Masks [height, width, n] bool of a list of n masks, each of them in one piece in memory: that is several times
    faster to make and to read than `np.stack(masks, axis=-1)`."""
    return np.moveaxis(np.stack(masks), 0, -1) if len(masks) else np.zeros((height, width, 0), bool)


def encode_rle(mask: ArrayLike) -> dict[str, Any]:
    """COCO's run-length encoding of one mask [H, W]: {"size": [H, W], "counts": str}, ready for JSON."""
    return _plain(_coco().encode(np.asfortranarray(np.asarray(mask) != 0, dtype="uint8")))


def compress_rle(rle: dict[str, Any]) -> dict[str, Any]:
    """As of `encode_rle`: run lengths whose counts are whole numbers."""
    return _plain(_coco().frPyObjects(rle, *rle["size"]))


def _coco():
    from pycocotools import mask  # here, so that the rest needs NumPy alone

    return mask


def _plain(rle):
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def decode_rle(rle: dict[str, Any]) -> np.ndarray:
    """Mask [H, W] bool of a COCO run-length encoding, compressed (counts a string) or not (counts a list)."""
    return _coco().decode(compress_rle(rle) if isinstance(rle["counts"], list) else rle).astype(bool)


def run_lengths(counts: str) -> list[int]:
    """The numbers that compressed run lengths stand for, as of COCO's `rleFrString`: 5 bits a character, the lowest
    first, with 32 where more follow; from the fourth number on the difference to the second before.

    Raises:
        ValueError: a character that COCO does not use, or the last number is cut off.
    """
    codes = np.frombuffer(counts.encode("utf-8", "replace"), "uint8").astype("int64") - 48
    last = codes & 32 == 0
    if len(codes) and not (last[-1] and codes.min() >= 0 and codes.max() < 64):
        raise ValueError("its compressed run lengths are broken")
    starts = np.flatnonzero(np.concatenate([[True], last[:-1]]))[: last.sum()]
    places = np.arange(len(codes)) - np.repeat(starts, np.diff(starts, append=len(codes)))
    if places.max(initial=0) > 6:  # a number of 32 bits has 7 characters
        raise ValueError("its compressed run lengths are broken")
    values = np.add.reduceat((codes & 31) << 5 * places, starts) if len(codes) else codes
    values -= ((codes[last] & 16) << 1) << 5 * places[last]  # the sign
    values[1::2], values[2::2] = values[1::2].cumsum(), values[2::2].cumsum()
    return values.tolist()


def polygons_to_rle(polygons: Iterable[ArrayLike], height: int, width: int) -> dict[str, Any]:
    """As of `encode_rle`, for the union of polygons, drawn as COCO draws them.

    Each polygon is [x1, y1, x2, y2, ...] or [points, 2] in pixels; those of fewer than three points cover nothing.
    """
    flat = [np.asarray(polygon, dtype="float64").ravel().tolist() for polygon in polygons]
    flat = [polygon for polygon in flat if len(polygon) >= 6]
    if not flat:
        return compress_rle({"size": [height, width], "counts": [height * width]})
    return _plain(_coco().merge(_coco().frPyObjects(flat, height, width)))


def polygons_to_mask(polygons: Iterable[ArrayLike], height: int, width: int) -> np.ndarray:
    """Mask [height, width] bool of `polygons_to_rle`."""
    return decode_rle(polygons_to_rle(polygons, height, width))
