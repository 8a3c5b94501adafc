"""From a network's outputs to pixels of the original image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrcnn.ops import boxes, keypoints, masks


@dataclass(frozen=True)
class Place:
    """Where an image lies in what the network saw.

    Attributes:
        original: (H, W, ...) of the image.
        molded: (H, W, ...) of what the network saw.
        window: (y1, x1, y2, x2) pixels of that which are image.
        normalization: of boxes, as `boxes.normalize` takes it.
    """

    original: Sequence[int]
    molded: Sequence[int]
    window: Sequence[int] | np.ndarray
    normalization: str = "pixels"


def mold_boxes(pixels: np.ndarray, place: Place, count: int) -> np.ndarray:
    """Boxes [n, 4] in pixels of the original image as the network reads them: the first `count` of them, normalised to
    the molded image, zero-padded, [count, 4] float32."""
    y1, x1, y2, x2 = place.window
    scale = np.array([(y2 - y1) / place.original[0], (x2 - x1) / place.original[1]] * 2)
    kept = np.asarray(pixels, "float32").reshape(-1, 4)[:count]
    molded = np.zeros((count, 4), "float32")
    molded[: len(kept)] = boxes.normalize(kept * scale + (y1, x1, y1, x1), place.molded[:2], place.normalization)
    return molded


def to_original(normalized: np.ndarray, place: Place) -> np.ndarray:
    """Boxes [n, 4] that are normalised to the molded image, normalised to the original one."""
    start, scale = _window(place)
    return (normalized - start) / scale


def to_molded(normalized: np.ndarray, place: Place) -> np.ndarray:
    """The way back of `to_original`."""
    start, scale = _window(place)
    return normalized * scale + start


def _window(place):
    """The upper left corner [4] and the sides [4] of the window, normalised to the molded image."""
    wy1, wx1, wy2, wx2 = boxes.normalize(np.asarray(place.window), place.molded[:2], place.normalization)
    return np.array([wy1, wx1] * 2), np.array([wy2 - wy1, wx2 - wx1] * 2)


def place_boxes(detections: np.ndarray, place: Place, whole: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Detections in pixels of the original image.

    Args:
        detections: [D, 6] of (y1, x1, y2, x2 normalised to the molded image, class id, score), zero-padded.
        place: of the image.
        whole: True rounds to whole pixels.

    Returns:
        kept [n], rows of the detections that cover pixels of the image; and their boxes [n, 4], int32 or float32.
    """
    count = int(np.argmin(np.append(detections[:, 4], 0) != 0))
    normalized = to_original(detections[:count, :4], place)
    if whole:
        rois = boxes.denormalize(normalized, place.original[:2], place.normalization)
    else:
        rois = boxes.to_pixels(normalized, place.original[:2], place.normalization).astype("float32")
    kept = np.nonzero(boxes.area(rois) > 0)[0]
    return kept, rois[kept]


def paste_masks(
    probabilities: np.ndarray,
    rois: np.ndarray,
    shape: Sequence[int],
    paste: str = "integer",
    rle: bool = False,
) -> Any:
    """Masks of detections in the original image.

    Args:
        probabilities: [n, h, w], each of the detection's class.
        rois: [n, 4] pixels of the image.
        shape: (H, W, ...) of the image.
        paste: a key of `masks.PASTES`.
        rle: True for run lengths.

    Returns:
        [H, W, n] bool, or a list of n run lengths.
    """
    unmold: Callable[..., Any] = masks.unmold_mask_rle if rle else masks.unmold_mask
    full = [unmold(mask, box, shape, paste) for mask, box in zip(probabilities, rois, strict=True)]
    return full if rle else masks.stack_masks(full, *shape[:2])


def place_keypoints(
    heatmaps: np.ndarray,
    detections: np.ndarray,
    place: Place,
    expand: float = 1.0,
    classes: Iterable[int] | None = None,
    decode: str = "cells",
) -> np.ndarray:
    """Keypoints of detections in the original image.

    Args:
        heatmaps: [n, J, h, w] logits.
        detections: [n, 6], as `place_boxes` takes them.
        place: of the image.
        expand: how many times as long as the box's the sides of the heatmap are.
        classes: ids of those that have keypoints; None for all.
        decode: a key of `keypoints.RESIZES`.

    Returns:
        [n, J, 3] float32 of (x, y, score) in pixels; all 0 for classes without keypoints.
    """
    regions = boxes.expand(detections[:, :4], expand)
    rois = boxes.to_pixels(regions, place.molded, place.normalization)
    points = np.zeros((len(detections), heatmaps.shape[1], 3), "float32")
    for i, class_id in enumerate(detections[:, 4]):
        if classes is None or class_id in classes:
            found = keypoints.decode(heatmaps[i], rois[i], decode)
            points[i] = keypoints.restore(found, place.original, place.window)
    return points
