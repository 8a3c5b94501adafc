"""RoIs that stand in for an RPN's proposals."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def generate_random_rois(
    image_shape: Sequence[int],
    count: int,
    gt_class_ids: ArrayLike,
    gt_boxes: np.ndarray,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """RoIs to train the heads without an RPN: 90 % near the instances, the rest anywhere.

    Args:
        image_shape: (H, W, ...) pixels.
        count: RoIs to return.
        gt_class_ids: [n].
        gt_boxes: [n, 4] pixels.
        rng: `numpy.random.Generator`; default is NumPy's global state.

    Returns:
        [count, 4] int32 pixels, every side at least one pixel.
    """
    rng = np.random.default_rng(np.random.randint(2**31)) if rng is None else rng
    height, width = image_shape[:2]
    per_box = int(0.9 * count / max(1, len(gt_boxes)))
    regions = [
        (max(2 * y1 - y2, 0), max(2 * x1 - x2, 0), min(2 * y2 - y1, height), min(2 * x2 - x1, width), per_box)
        for y1, x1, y2, x2 in np.asarray(gt_boxes, int)
    ]
    regions.append((0, 0, height, width, count - per_box * len(gt_boxes)))
    rois = []
    for y1, x1, y2, x2, amount in regions:
        rows = np.sort(_two_apart(rng, y1, y2, amount), axis=1)
        columns = np.sort(_two_apart(rng, x1, x2, amount), axis=1)
        rois.append(np.stack([rows[:, 0], columns[:, 0], rows[:, 1], columns[:, 1]], axis=1))
    return np.concatenate(rois).astype("int32")


def _two_apart(rng, low, high, amount):
    """[amount, 2] integers in low..high inclusive, different within a row."""
    first = rng.integers(low, high + 1, amount)
    other = rng.integers(low, high, amount)
    return np.stack([first, other + (other >= first)], axis=1)
