"""Augmentation of an image together with its masks and keypoints."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from skimage.transform import resize

from mrcnn.data.imgaug import import_imgaug
from mrcnn.ops.keypoints import swap


def augment(
    image: np.ndarray,
    mask: np.ndarray,
    augmentation: Any,
    rng: np.random.Generator | None = None,
    points: ArrayLike | None = None,
    flip_pairs: Iterable[Sequence[int]] = (),
    corners: ArrayLike | None = None,
) -> tuple[np.ndarray, ...]:
    """Change an image as training sees it, and its masks and keypoints along with it: their geometry alone.

    Args:
        image: uint8 [H, W, C].
        mask: bool [H, W, n].
        augmentation: an `imgaug.augmenters` object, an `albumentations.Compose`, or names of `RECIPES` with commas
            between them, such as "flip,scale,colour", which need no further package.
        rng: `numpy.random.Generator`; default is NumPy's, for imgaug its own, global state.
        points: keypoints [n, J, 3] of (x, y, v) in pixels, or None.
        flip_pairs: pairs (left, right) of keypoints, which are exchanged where the augmentation is a mirror. Whether it
            is, three points in the middle of the image tell.
        corners: further points [m, k, 3], which no mirror exchanges, or None.

    Returns:
        image and mask of the same shapes and dtypes; then, if points or corners were given, float32 ones, which may
        have left the image; v is 0 for those that the augmenter lost.

    Raises:
        ValueError: `check` refuses the augmentation, or it changed the size of the image.
    """
    apply = _way(augmentation)
    height, width = image.shape[:2]
    probe = np.array([[0.5, 0.5], [0.6, 0.5], [0.5, 0.6]]) * (width, height)
    given = [np.array(x, "float32") for x in (points, corners) if x is not None]
    flat = np.concatenate([probe, *(x.reshape(-1, 3)[:, :2] for x in given)]) if given else None
    new_image, new_mask, flat = apply(image, mask, flat, augmentation, rng)
    if new_image.shape != image.shape or new_mask.shape != mask.shape:
        raise ValueError(
            f"The augmentation changed the image from {image.shape} to {new_image.shape}; give it keep_size=True, or "
            "what else makes it keep the size."
        )
    start = len(probe)
    for moved in given:
        end = start + moved[..., 0].size
        moved[..., :2] = flat[start:end].reshape(*moved.shape[:-1], 2)
        moved[~np.isfinite(moved).all(axis=-1)] = 0
        start = end
    if points is not None:
        (ax, ay), (bx, by) = flat[1] - flat[0], flat[2] - flat[0]  # a probe that was lost is no mirror
        given[0] = swap(given[0], flip_pairs) if ax * by < ay * bx else given[0]
    return new_image, new_mask, *given


def check(augmentation: Any) -> None:
    """Look at an augmentation before the first image is read.

    Raises:
        ValueError: it is none that `augment` takes; the message names those that are known.
    """
    if augmentation is not None:
        _way(augmentation)


def _way(augmentation):
    """The function that applies it."""
    if isinstance(augmentation, str):
        for name in augmentation.split(","):
            if name not in RECIPES:
                raise ValueError(f"There is no augmentation {name!r}; known are {', '.join(RECIPES)}.")
        return _recipes
    if type(augmentation).__module__.split(".")[0] == "albumentations":
        return _albumentations
    if hasattr(augmentation, "to_deterministic"):
        return _imgaug
    raise ValueError(
        f"The augmentation is a {type(augmentation).__name__}; give one of imgaug, an albumentations.Compose, or names "
        f"with commas between them: {', '.join(RECIPES)}."
    )


def _imgaug(image, mask, points, augmentation, rng):
    imgaug = import_imgaug()
    fixed = augmentation.to_deterministic()
    if rng is not None:
        fixed.seed_(int(rng.random() * 2**31), deterministic_too=True)
    new_image = fixed.augment_image(image)
    # Segmentation maps move with geometry and are left alone by everything else, whatever the augmenter.
    if mask.shape[-1]:
        maps = imgaug.augmentables.segmaps.SegmentationMapsOnImage(mask.astype(np.int32), shape=image.shape)
        mask = fixed.augment_segmentation_maps(maps).get_arr().astype(bool)
    if points is not None:
        # There the centre of a pixel lies at .5.
        given = imgaug.augmentables.kps.KeypointsOnImage.from_xy_array(points + 0.5, shape=image.shape)
        points = fixed.augment_keypoints(given).to_xy_array() - 0.5
    return new_image, mask, points


def _albumentations(image, mask, points, augmentation, rng):
    import albumentations

    augmentation = copy.deepcopy(augmentation)  # threads share the one that was given
    given = {"image": image, "masks": [*np.moveaxis(mask, -1, 0).astype("uint8")]}
    if points is not None:
        whole = albumentations.KeypointParams(format="xy", remove_invisible=False)
        augmentation = albumentations.Compose([augmentation], keypoint_params=whole)
        # Some augmenters drop points all the same: the third column tells which are left.
        given["keypoints"] = np.column_stack([points, np.arange(len(points))])
    if rng is not None:
        augmentation.set_random_seed(int(rng.random() * 2**31))
    changed = augmentation(**given)
    masks = changed["masks"]
    mask = np.stack(masks, axis=-1).astype(bool) if len(masks) else mask
    if points is not None:
        left = np.reshape(changed["keypoints"], (-1, 3))
        points = np.full(points.shape, np.nan)
        points[left[:, 2].astype(int)] = left[:, :2]
    return changed["image"], mask, points


# Recipes: image [H, W, C], mask [H, W, n] and points [m, 2] of (x, y), which the functions below never get as None.
Sample = tuple[np.ndarray, np.ndarray, np.ndarray]


def flip(image: np.ndarray, mask: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> Sample:
    """Left becomes right, half the time."""
    if rng.random() >= 0.5:
        return image, mask, points
    return image[:, ::-1], mask[:, ::-1], points * (-1, 1) + (image.shape[1] - 1, 0)


def turn(image: np.ndarray, mask: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> Sample:
    """By a random number of quarter turns where the image is square, else of half turns: for images without an up."""
    quarters = int(rng.integers(4)) if image.shape[0] == image.shape[1] else 2 * int(rng.integers(2))
    for _ in range(quarters):
        points = points[:, ::-1] * (1, -1) + (0, image.shape[1] - 1)
        image, mask = np.rot90(image), np.rot90(mask)
    return image, mask, points


def scale(
    image: np.ndarray,
    mask: np.ndarray,
    points: np.ndarray,
    rng: np.random.Generator,
    low: float = 0.5,
    high: float = 1.5,
) -> Sample:
    """Another size (uniform in low..high), then a window of the old one: a part of it, or all of it on gray."""
    size = np.array(image.shape[:2])
    new = np.maximum(1, np.round(size * rng.uniform(low, high)).astype(int))
    image = np.round(resize(image, new, preserve_range=True)).astype(image.dtype)
    rows, columns = (((np.arange(n) + 0.5) * old / n).astype(int) for n, old in zip(new, size, strict=True))
    mask = mask[rows][:, columns]
    # Where the old window begins in the new image, negative for a margin.
    start = np.round((new - size) * rng.random(2)).astype(int)
    canvas = np.full((*size, image.shape[2]), 127, image.dtype), np.zeros((*size, mask.shape[2]), bool)
    to = np.maximum(0, -start)
    extent = np.minimum(size - to, new - np.maximum(0, start))
    for target, source in zip(canvas, (image, mask), strict=True):
        part = tuple(slice(a, a + n) for a, n in zip(to, extent, strict=True))
        target[part] = source[tuple(slice(a, a + n) for a, n in zip(np.maximum(0, start), extent, strict=True))]
    return *canvas, (points + 0.5) * (new / size)[::-1] - 0.5 - start[::-1]


def colour(image: np.ndarray, mask: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> Sample:
    """Brightness, contrast and saturation by up to a quarter each."""
    brightness, contrast, saturation = rng.uniform(-0.25, 0.25, 3)
    pixels = image.astype("float32")
    pixels = pixels.mean() + (pixels - pixels.mean()) * (1 + contrast) + 255 * brightness / 2
    gray = pixels.mean(axis=2, keepdims=True)
    pixels = gray + (pixels - gray) * (1 + saturation)
    return np.clip(np.round(pixels), 0, 255).astype(image.dtype), mask, points


RECIPES = {"flip": flip, "turn": turn, "scale": scale, "colour": colour}


def _recipes(image, mask, points, names, rng):
    rng = np.random.default_rng(np.random.randint(2**31)) if rng is None else rng
    points = np.zeros((0, 2)) if points is None else points
    for name in names.split(","):
        image, mask, points = RECIPES[name](image, mask, points, rng)
    return image, mask, points
