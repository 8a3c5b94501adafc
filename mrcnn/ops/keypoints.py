"""Keypoints: cells of a heatmap and back to points, mirroring, the constants of COCO's persons.

A point is (x, y, v) in pixels, with COCO's conventions: (0, 0) is the centre of the upper left pixel; v is 0 where
there is no annotation, 1 where the point is annotated but hidden, 2 where it can be seen. Hidden points are learnt like
visible ones.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from mrcnn.ops.boxes import Tensor, namespace

# Points of a person, as settings of a Config: https://cocodataset.org/#keypoints-eval has the sigmas.
COCO_NAMES = """nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow
    left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle""".split()
COCO_FLIP_PAIRS = [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)]
COCO_SKELETON = [
    *[(15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8)],
    *[(7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)],
]
COCO_SIGMAS = [
    *[0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087],
    *[0.089, 0.089],
]

# Of points without a sigma of their own: about the mean of COCO's.
DEFAULT_SIGMA = 0.07


def encode(points: Tensor, boxes: Tensor, shape: Sequence[int]) -> Tensor:
    """The cell of the heatmap over its box in which each point lies.

    A point on the far edge of the box belongs to the last cell (He et al. 2017, section 5, gives the head one cell to
    find; the rule of the edge is Detectron's).

    Args:
        points: [..., J, 3] of (x, y, v) in pixels.
        boxes: [..., 4] pixels, as floats.
        shape: (rows, columns) of the heatmap.

    Returns:
        [..., J] int32, row * columns + column; -1 where v is 0 or the point is outside the box.
    """
    xp = namespace(points, boxes)
    rows, columns = shape
    y1, x1, y2, x2 = (boxes[..., i, None] for i in range(4))
    # Pixel 0 reaches from 0 to 1 on the axis on which boxes are.
    row, row_inside = _cell(xp, points[..., 1] + 0.5, y1, y2, rows)
    column, column_inside = _cell(xp, points[..., 0] + 0.5, x1, x2, columns)
    known = (points[..., 2] > 0) & row_inside & column_inside
    cell = row * columns + column
    return xp.where(known, cell, -1).astype("int32") if xp is np else xp.cast(xp.where(known, cell, -1), "int32")


def _cell(xp, position, start, end, count):
    size = end - start
    share = (position - start) / xp.where(size > 0, size, 1)
    inside = (position >= start) & (position <= end) & (size > 0)
    return xp.floor(xp.clip(share * count, 0, count - 1)), inside


def decode(heatmaps: np.ndarray, box: np.ndarray | Sequence[float], resize: str = "cells") -> np.ndarray:
    """Points from the heatmaps of one box: each map is resized, and the point is the centre of its highest cell.

    Args:
        heatmaps: [J, rows, columns] logits.
        box: (y1, x1, y2, x2) pixels.
        resize: a key of `RESIZES`.

    Returns:
        [J, 3] float32 of (x, y, score): pixels, and the peak of the softmax over the map's cells.
    """
    start, side = np.array(box[:2], float), np.array(box[2:], float) - box[:2]
    heatmaps = np.asarray(heatmaps, "float32")
    points = np.zeros((len(heatmaps), 3), "float32")
    for point, heatmap, large in zip(points, heatmaps, RESIZES[resize](heatmaps, side), strict=True):
        peak = np.array(np.unravel_index(large.argmax(), large.shape))
        point[:2] = (start + (peak + 0.5) * side / large.shape - 0.5)[::-1]
        point[2] = 1 / np.exp(heatmap - heatmap.max()).sum()
    return points


def _divide_cells(heatmaps, side):
    """Each map enlarged to at least `side` pixels, every cell in an odd number of parts: a lone peak stays in place."""
    from PIL import Image

    cells = np.array(heatmaps.shape[1:])
    parts = 2 * np.ceil((side / cells - 1) / 2).clip(0).astype(int) + 1
    size, margin = cells * parts, 2 * parts
    for heatmap in heatmaps:
        # Reflected, the map has no slope across its border, where a cubic would overshoot.
        padded = Image.fromarray(np.pad(heatmap, 2, mode="reflect"))
        large = np.asarray(padded.resize((size + 2 * margin)[::-1].tolist(), Image.Resampling.BICUBIC))
        yield large[margin[0] : margin[0] + size[0], margin[1] : margin[1] + size[1]]


def _box_pixels(heatmaps, side):
    """Each map resized to the whole pixels that cover `side`, by the cubic of PyTorch and OpenCV."""
    size = np.ceil(side.clip(1)).astype(int)
    down, across = (_cubic(cells, n) for cells, n in zip(heatmaps.shape[1:], size, strict=True))
    return down @ heatmaps @ across.T


def _cubic(cells, size):
    """Weights [size, cells] of cubic convolution (Keys 1981) with its a = -0.75; edge cells repeat beyond the edge."""
    position = (np.arange(size) + 0.5) * cells / size - 0.5
    weights = np.zeros((size, cells), "float32")
    for offset in (-1, 0, 1, 2):
        cell = np.floor(position) + offset
        t, a = np.abs(position - cell), -0.75
        near = ((a + 2) * t - (a + 3)) * t * t + 1
        far = ((t - 5) * t + 8) * t * a - 4 * a
        index = cell.clip(0, cells - 1).astype(int)
        np.add.at(weights, (np.arange(size), index), np.where(t <= 1, near, far))
    return weights


# KEYPOINT_DECODE -> function(heatmaps [J, rows, columns], sides of the box) that gives J maps.
RESIZES = {"cells": _divide_cells, "pixels": _box_pixels}


def resize(
    points: ArrayLike,
    shape: Sequence[int],
    scale: ArrayLike,
    padding: Sequence[Sequence[int]],
    crop: Sequence[int] | None = None,
) -> np.ndarray:
    """Move points along with the image that `images.resize_image` resized.

    Args:
        points: [..., 3] of (x, y, v).
        shape: (H, W, ...) of the image before.
        scale, padding, crop: as returned by `resize_image`.

    Returns:
        [..., 3] float32.
    """
    points = np.array(points, "float32")
    y, x = (0, 0) if crop is None else crop[:2]
    start = x - padding[1][0], y - padding[0][0]
    down, across = np.broadcast_to(scale, 2)
    for axis, (size, wanted) in enumerate(((shape[1], across), (shape[0], down))):
        factor = max(1, round(size * wanted)) / size
        points[..., axis] = (points[..., axis] + 0.5) * factor - 0.5 - start[axis]
    return points


def restore(points: np.ndarray, shape: Sequence[int], window: Iterable[float]) -> np.ndarray:
    """The inverse of `resize`: points [..., 3] of a molded image, in pixels of the original.

    Args:
        points: (x, y, anything).
        shape: (H, W, ...) of the original image.
        window: (y1, x1, y2, x2) pixels of the molded image that are image.
    """
    y1, x1, y2, x2 = window
    factor = np.array([shape[1] / (x2 - x1), shape[0] / (y2 - y1), 1])
    half = np.array([0.5, 0.5, 0])
    return ((points - (x1, y1, 0) + half) * factor - half).astype("float32")


def mirror(points: np.ndarray, width: int, pairs: Iterable[Sequence[int]]) -> np.ndarray:
    """Points [..., J, 3] of an image `width` pixels wide, left and right exchanged."""
    return swap(points * (-1, 1, 1) + (width - 1, 0, 0), pairs).astype("float32")


def drop_outside(points: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Points [..., 3] with those outside an image of `shape` (H, W) set to zero: they are not annotated any more."""
    x, y, v = np.moveaxis(points, -1, 0)
    inside = (x >= -0.5) & (y >= -0.5) & (x < shape[1] - 0.5) & (y < shape[0] - 0.5) & (v > 0)
    return np.where(inside[..., None], points, 0)


def swap(points: np.ndarray, pairs: Iterable[Sequence[int]]) -> np.ndarray:
    """Points [..., J, 3] with those of each pair (left, right) exchanged, as a mirror does."""
    order = np.arange(points.shape[-2])
    for left, right in pairs:
        order[[left, right]] = order[[right, left]]
    return points[..., order, :]


def sigmas(given: Sequence[float] | np.ndarray, count: int) -> np.ndarray:
    """[count] the sigmas that are given, or `DEFAULT_SIGMA` for each point where none are."""
    return np.array(given if len(given) else [DEFAULT_SIGMA] * count)


def similarity(truth: np.ndarray, points: np.ndarray, area: float, sigmas: ArrayLike) -> float:
    """COCO's object keypoint similarity (OKS, https://cocodataset.org/#keypoints-eval), 0..1.

    Args:
        truth: [J, 3] of (x, y, v) in pixels; points with v = 0 do not count.
        points: [J, 3], the points to judge.
        area: of the object, in pixels.
        sigmas: [J].

    Returns:
        The mean over the points of `truth`, nan if it has none.
    """
    known = truth[:, 2] > 0
    distance = np.sum((truth[:, :2] - points[:, :2]) ** 2, axis=1)
    closeness = np.exp(-distance / (2 * (2 * np.asarray(sigmas)) ** 2 * (area + np.spacing(1))))
    return float(closeness[known].mean()) if known.any() else float("nan")
