"""How good the classes of pixels are: IoU of each class, their mean, and the share of pixels that are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def confusion(truth: np.ndarray, found: np.ndarray, num_classes: int) -> np.ndarray:
    """Pixels by their true class and the one that was found, [K, K] int64.

    Args:
        truth: [H, W] int, negative for pixels that do not count.
        found: [H, W] int, 0..K - 1.
    """
    known = truth >= 0
    pairs = num_classes * truth[known].astype("int64") + found[known]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def semantic_metrics(counts: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """The numbers of PASCAL VOC (Everingham et al. 2015) and of FCN's paper.

    Args:
        counts: [K, K] of `confusion`, summed over the images.
        class_names: [K], the background's first.

    Returns:
        mIoU, the mean of the classes' IoU, with the background's, without classes that are neither there nor found;
        accuracy, the share of the pixels that are right; each in 0..1 or -1 without any pixel; and "per_class", {class
        name: {"IoU": ...}}, -1 where it is neither there nor found.
    """
    right, true, found = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    union = true + found - right
    ious = np.where(union > 0, right / np.maximum(union, 1), -1.0)
    there = ious[ious >= 0]
    return {
        "mIoU": float(there.mean()) if len(there) else -1.0,
        "accuracy": float(right.sum() / counts.sum()) if counts.any() else -1.0,
        "per_class": {name: {"IoU": float(iou)} for name, iou in zip(class_names, ious, strict=True)},
    }
