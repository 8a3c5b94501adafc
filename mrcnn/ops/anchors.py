"""Anchors: boxes of fixed sizes and shapes, at every place of every pyramid level, that the RPN scores and refines."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike


def generate_anchors(
    scales: ArrayLike,
    ratios: ArrayLike,
    shape: Iterable[int],
    feature_stride: ArrayLike,
    anchor_stride: int,
    rounded: bool = False,
) -> np.ndarray:
    """Anchors of one pyramid level.

    Args:
        scales: side in pixels of the square anchor, or several of them.
        ratios: width / height of the anchors; the area stays scale^2.
        shape: (height, width) of the feature map in cells.
        feature_stride: pixels of the image per cell; one number, or (down, across).
        anchor_stride: 1 for anchors in every cell, 2 in every second one, and so on.
        rounded: True for half sides in whole pixels (halves to even), as torchvision's.

    Returns:
        [rows * columns * ratios * scales, 4] float64 pixel boxes (y1, x1, y2, x2), in that order of nesting. They are
        centred on the multiples of the stride (not half a stride further, as elsewhere) and may reach past the image.
    """
    scales, ratios = np.meshgrid(scales, np.sqrt(ratios))
    half_sizes = 0.5 * np.stack([scales / ratios, scales * ratios], axis=-1).reshape(1, 1, -1, 2)
    if rounded:
        half_sizes = np.rint(half_sizes)
    strides = np.broadcast_to(feature_stride, 2)
    rows, columns = (np.arange(0, n, anchor_stride) * stride for n, stride in zip(shape, strides, strict=True))
    centres = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)[:, :, None]
    return np.concatenate([centres - half_sizes, centres + half_sizes], axis=-1).reshape(-1, 4)


def generate_pyramid_anchors(
    scales: Iterable[ArrayLike],
    ratios: ArrayLike,
    feature_shapes: Iterable[Iterable[int]],
    feature_strides: Iterable[ArrayLike],
    anchor_stride: int,
    rounded: bool = False,
) -> np.ndarray:
    """Anchors [A, 4] of all levels, one after the other: level i has `scales[i]`, `feature_shapes[i]` (height, width)
    and `feature_strides[i]`; the rest is as in `generate_anchors`."""
    levels = zip(scales, feature_shapes, feature_strides, strict=True)
    return np.concatenate(
        [generate_anchors(scale, ratios, shape, stride, anchor_stride, rounded) for scale, shape, stride in levels]
    )


def default_boxes(
    image_shape: Sequence[int],
    feature_shapes: Iterable[Iterable[int]],
    feature_strides: Iterable[float],
    scales: Sequence[float] | np.ndarray,
    ratios: Iterable[ArrayLike],
) -> np.ndarray:
    """The default boxes of SSD (Liu et al. 2016, section 2.2): at the middle of every cell of every map a square, one
    between its size and the next map's, and for each ratio a flat and a tall box.

    Args:
        image_shape: (H, W, ...) pixels.
        feature_shapes: (height, width) of each map.
        feature_strides: pixels of the image per cell, of each map.
        scales: sides of the squares as shares of the image's, of each map and one more.
        ratios: of each map, the ratios above 1.

    Returns:
        [A, 4] float64 pixel boxes (y1, x1, y2, x2), maps behind each other. Sides end at the image's.
    """
    size, found = np.array(image_shape[:2], float), []
    for shape, stride, scale, larger, more in zip(
        feature_shapes, feature_strides, scales, scales[1:], ratios, strict=False
    ):
        sides = [(scale, scale), (np.sqrt(scale * larger),) * 2]
        for root in np.sqrt(more):
            sides += [(scale / root, scale * root), (scale * root, scale / root)]
        found.append(_centred(shape, stride, np.minimum(sides, 1) * size))
    return np.concatenate(found)


def _centred(shape, stride, sides):
    """Boxes of `sides` [n, 2] (height, width) at the middle of every cell, [rows * columns * n, 4]."""
    half, (rows, columns) = np.asarray(sides) / 2, ((np.arange(n) + 0.5) * stride for n in shape)
    centres = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)[:, :, None]
    return np.concatenate([centres - half, centres + half], axis=-1).reshape(-1, 4)


def cell_anchors(
    feature_shapes: Iterable[Iterable[int]],
    feature_strides: Iterable[float],
    sizes: Iterable[ArrayLike],
) -> np.ndarray:
    """The anchors of YOLO (Redmon and Farhadi 2017, section 2), at the middle of every cell of every map.

    Args:
        feature_shapes, feature_strides: as of `default_boxes`.
        sizes: of each map [n, 2], (width, height) in pixels.

    Returns:
        [A, 4] float64 pixel boxes (y1, x1, y2, x2), maps behind each other, in a map row by row.
    """
    levels = zip(feature_shapes, feature_strides, sizes, strict=True)
    return np.concatenate([_centred(shape, stride, np.asarray(size, float)[:, ::-1]) for shape, stride, size in levels])


def cluster_sizes(sizes: ArrayLike, count: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Sizes of boxes that stand for many, by k-means with 1 - IoU as distance, all boxes at one place (Redmon and
    Farhadi 2017, section 2).

    Args:
        sizes: [n, 2] (width, height), above 0.
        count: clusters; fewer come back where fewer boxes differ.
        rng: chooses the first centres, far from each other (Arthur and Vassilvitskii 2007).

    Returns:
        [count, 2] by area, and the mean IoU of the boxes with the nearest of them.
    """
    sizes = np.asarray(sizes, float).reshape(-1, 2)
    centres = sizes[[rng.integers(len(sizes))]]
    while len(centres) < count:
        distance = (1 - size_ious(sizes, centres).max(axis=1)).clip(0) ** 2
        if distance.sum() <= 1e-9:
            break
        centres = np.concatenate([centres, sizes[[rng.choice(len(sizes), p=distance / distance.sum())]]])
    nearest = None
    for _ in range(300):
        found = size_ious(sizes, centres).argmax(axis=1)
        if nearest is not None and (found == nearest).all():
            break
        nearest = found
        own = [sizes[nearest == i] for i in range(len(centres))]
        centres = np.array([x.mean(axis=0) if len(x) else old for x, old in zip(own, centres, strict=True)])
    centres = centres[np.argsort(centres.prod(axis=1), kind="stable")]
    return centres, float(size_ious(sizes, centres).max(axis=1).mean())


def size_ious(sizes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU [n, m] of boxes of `sizes` [n, 2] and of `others` [m, 2], all at one place."""
    shared = np.minimum(sizes[:, None], others).prod(axis=2)
    return shared / (sizes.prod(axis=1)[:, None] + others.prod(axis=1) - shared)


def count_anchors(
    scales: Iterable[ArrayLike],
    ratios: ArrayLike,
    feature_shapes: Iterable[Iterable[int]],
    feature_strides: Iterable[ArrayLike],
    anchor_stride: int,
    rounded: bool = False,
) -> int:
    """The number of anchors that `generate_pyramid_anchors` makes of the same arguments."""
    return sum(
        np.size(scale) * np.size(ratios) * int(np.prod([-(-n // anchor_stride) for n in shape]))
        for scale, shape in zip(scales, feature_shapes, strict=True)
    )


def backbone_shapes(image_shape: Sequence[int], strides: ArrayLike) -> np.ndarray:
    """Heights and widths [levels, 2] int64 of the pyramid's levels for an image of `image_shape` (H, W, ...): its
    sides divided by each of `strides`, rounded up as "same" padding does."""
    return np.ceil(np.asarray(image_shape[:2]) / np.asarray(strides)[:, None]).astype("int64")
