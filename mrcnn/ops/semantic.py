"""From instances to one map of classes, the weights of their borders, and back by connected components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage
from skimage.measure import label

from mrcnn.ops.masks import encode_rle

# The class of pixels of which nothing is known, such as those of a crowd.
IGNORED = -1


def topmost(masks: np.ndarray, class_ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """The instance of every pixel [H, W] int32, -1 for none: where several are, the smallest, and no crowd.

    Args:
        masks: [H, W, n] bool.
        class_ids: [n], crowds negative.
    """
    top, areas = np.full(masks.shape[:2], -1, "int32"), masks.sum(axis=(0, 1))
    for i in sorted(range(len(class_ids)), key=lambda i: (class_ids[i] > 0, -areas[i])):
        top[masks[..., i]] = i
    return top


def classes_of(top: np.ndarray, class_ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """The class of every pixel [H, W] int32, of its instance as `topmost` gives it: 0 background, `IGNORED` a crowd."""
    table = np.maximum(np.asarray(class_ids, "int32"), IGNORED)
    return np.append(table, np.int32(0))[top]


def paint(masks: np.ndarray, class_ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """The class of every pixel [H, W] int32 of instances; see `topmost` and `classes_of`."""
    return classes_of(topmost(masks, class_ids), class_ids)


def separate(top: np.ndarray, class_ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """The instances of pixels [H, W], with a line of background, one pixel wide, between those of one class that touch
    each other (Ronneberger et al. 2015, section 3): connected components then tell them apart."""
    classes, separated = classes_of(top, class_ids), top.copy()
    for axis in (0, 1):
        own, kinds, new = (np.moveaxis(x, axis, 0) for x in (top, classes, separated))
        touching = (own[:-1] != own[1:]) & (kinds[:-1] == kinds[1:]) & (kinds[:-1] > 0)
        new[:-1][touching] = -1
    return separated


def balanced(classes: np.ndarray, power: float) -> np.ndarray:
    """What each pixel weighs [H, W], so that rare classes are not drowned (the w_c of Ronneberger et al. 2015, equation
    2): the inverse of how many pixels its class has, to a power; 1 on average.

    Args:
        classes: [H, W] int, below 0 for pixels that weigh nothing.
        power: 0 for the same of all, 1 for classes that weigh the same as wholes.
    """
    known = classes >= 0
    counts = np.bincount(classes[known], minlength=1)
    weights = np.where(known, np.maximum(counts, 1.0)[classes] ** -power, 0.0)
    return weights * (known.sum() / max(weights.sum(), 1e-12))


def border_weights(top: np.ndarray, w0: float = 10.0, sigma: float = 5.0) -> np.ndarray:
    """What the background between instances weighs more than other pixels [H, W] float32 (Ronneberger et al. 2015,
    equation 2): w0 exp(-(d1 + d2)^2 / (2 sigma^2)), of the distances in pixels to the two nearest instances; 0 in
    instances, and where the farther of the two is more than 4 sigma away.

    Args:
        top: the instance of every pixel, -1 for none.
        w0, sigma: at most, and in pixels.
    """
    reach = int(np.ceil(4 * sigma))
    nearest = np.full((2, *top.shape), np.inf, "float32")
    for k, where in enumerate(ndimage.find_objects(top + 1)):
        if where is None:
            continue
        around = tuple(slice(max(0, s.start - reach), s.stop + reach) for s in where)
        distance = ndimage.distance_transform_edt(top[around] != k)
        first, second = nearest[0][around], nearest[1][around]
        nearest[1][around] = np.clip(distance, first, second)
        nearest[0][around] = np.minimum(first, distance)
    weights = w0 * np.exp(-np.square(nearest.sum(axis=0)) / (2 * sigma**2))
    return np.where(top < 0, weights, 0).astype("float32")


class Components(NamedTuple):
    """Instances as connected pixels of one class, the surest first.

    Attributes:
        labels: [H, W] int32, k + 1 for the pixels of instance k, 0 elsewhere.
        class_ids: [n] int32.
        scores: [n] float32, the mean of the pixels'.
    """

    labels: np.ndarray
    class_ids: np.ndarray
    scores: np.ndarray


def components(classes: np.ndarray, scores: np.ndarray, least_area: int = 1, most: int | None = None) -> Components:
    """Connected components of each class but the background; pixels are connected by their sides.

    Args:
        classes: [H, W] int, 0 background.
        scores: [H, W] of the pixels' classes.
        least_area: in pixels; smaller ones are left out.
        most: the number that is kept, the surest ones; None for all.
    """
    labels = label(classes, background=0, connectivity=1)
    areas = np.bincount(labels.ravel())
    means = np.bincount(labels.ravel(), weights=scores.ravel()) / np.maximum(areas, 1)
    found = 1 + np.flatnonzero(areas[1:] >= least_area)
    found = found[np.argsort(-means[found], kind="stable")][:most]
    class_ids = np.zeros(len(areas), "int32")
    class_ids[labels.ravel()] = classes.ravel()
    numbers = np.zeros(len(areas), "int32")
    numbers[found] = 1 + np.arange(len(found))
    return Components(numbers[labels], class_ids[found], means[found].astype("float32"))


def label_boxes(labels: np.ndarray, count: int) -> np.ndarray:
    """The boxes [count, 4] int32 around the pixels of `labels` [H, W] that are 1 to `count`; zeros where none are."""
    boxes = np.zeros((count, 4), "int32")
    for k, where in enumerate(ndimage.find_objects(labels, count)):
        if where:
            boxes[k] = where[0].start, where[1].start, where[0].stop, where[1].stop
    return boxes


def resize_nearest(image: np.ndarray, window: Sequence[int] | np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The pixels of a window (y1, x1, y2, x2) of `image` [H, W, ...] at the centres of those of a map [h, w, ...]."""
    y1, x1, y2, x2 = window
    rows = y1 + ((np.arange(shape[0]) + 0.5) * (y2 - y1) / shape[0]).astype(int)
    columns = x1 + ((np.arange(shape[1]) + 0.5) * (x2 - x1) / shape[1]).astype(int)
    return image[rows[:, None], columns]


def place_components(
    classes: np.ndarray,
    scores: np.ndarray,
    shape: Sequence[int],
    least_area: int = 1,
    most: int | None = None,
    lowest: float = 0.0,
    rle: bool = False,
) -> dict[str, Any]:
    """What `detect` gives for an image: its pixels' classes, and connected pixels of a class as an instance, as sure as
    they are on average.

    What is connected is so in what the network saw: where that is larger, thin lines between objects may go.

    Args:
        classes, scores, least_area, most: as of `components`, of the part that is image.
        shape: (h, w, ...) of the image.
        lowest: score of an instance.
        rle: True gives masks as run lengths.

    Returns:
        rois [n, 4] int32, class_ids [n] int32, scores [n] float32, masks [h, w, n] bool or a list of n run lengths,
        and semantic [h, w] int32.
    """
    objects = components(classes, scores, least_area, most)
    window, shape = (0, 0, *classes.shape), shape[:2]
    labels = resize_nearest(objects.labels, window, shape)
    rois = label_boxes(labels, len(objects.scores))
    kept = np.flatnonzero((objects.scores >= lowest) & rois.any(axis=1))
    return {
        "rois": rois[kept],
        "class_ids": objects.class_ids[kept],
        "scores": objects.scores[kept],
        "masks": [encode_rle(labels == k + 1) for k in kept] if rle else labels[..., None] == kept + 1,
        "semantic": resize_nearest(classes, window, shape).astype("int32"),
    }
