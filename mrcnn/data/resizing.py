"""Bringing an image to the size and the values that the network wants."""

import random
from collections.abc import Iterable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mrcnn.ops.images import mold_image, resize, unmold_image


class Plan(NamedTuple):
    """The geometry of a resized image, in pixels.

    Attributes:
        scale: the factor by which the image is resized, or in mode "stretch" two: (down, across).
        size: (height, width) after that.
        padding: [(top, bottom), (left, right), (0, 0)] around it.
        window: (y1, x1, y2, x2), the part of the result that is image.
        shape: (height, width) of the result.
    """

    scale: float | tuple[float, float]
    size: tuple[int, int]
    padding: list[tuple[int, int]]
    window: tuple[int, int, int, int]
    shape: tuple[int, int]


def plan(
    height: int,
    width: int,
    min_dim: int | None = None,
    max_dim: int | None = None,
    min_scale: float | None = None,
    mode: str = "square",
    square: bool = False,
) -> Plan:
    """What `resize_image` makes of an image of height x width pixels, which it need not see.

    Args:
        height, width: of the image, at least 1.
        min_dim, max_dim, min_scale, mode, square: as of `resize_image`.

    Raises:
        ValueError: unknown mode, or a min_dim or max_dim that the mode needs or cannot use.
    """
    bounded = mode in ("square", "rect", "shortest")
    side = _side(mode, min_dim, max_dim)
    if mode == "stretch":
        both = (side, side)
        return Plan((side / height, side / width), both, [(0, 0)] * 3, (0, 0, *both), both)
    scale: float = 1
    if min_dim and mode != "none":
        scale = min_dim / min(height, width)
        scale = scale if mode == "shortest" else max(1, scale)
    if min_scale and mode != "none":
        scale = max(scale, min_scale)
    if bounded and round(max(height, width) * scale) > side:
        scale = side / max(height, width)
    size = height, width
    if scale != 1:
        size = max(1, round(height * scale)), max(1, round(width * scale))
    if mode == "none":
        shape = size
    elif mode == "crop" or mode == "square" or (square and bounded):
        shape = side, side
    else:
        shape = -(-size[0] // 64) * 64, -(-size[1] // 64) * 64
    if mode == "crop":
        return Plan(scale, size, [(0, 0)] * 3, (0, 0, *shape), shape)
    top, left = (shape[0] - size[0]) // 2, (shape[1] - size[1]) // 2
    padding = [(top, shape[0] - size[0] - top), (left, shape[1] - size[1] - left), (0, 0)]
    return Plan(scale, size, padding, (top, left, top + size[0], left + size[1]), shape)


def _side(mode, min_dim, max_dim):
    """The side that a mode goes by; 0 for none."""
    if mode == "none":
        return 0
    names = dict.fromkeys(("square", "rect", "shortest", "stretch"), "max_dim") | {
        "pad64": "min_dim",
        "crop": "min_dim",
    }
    if mode not in names:
        raise ValueError(
            f"Resize mode {mode!r} is unknown; choose square, rect, shortest, pad64, crop, stretch or none."
        )
    side = max_dim if names[mode] == "max_dim" else min_dim
    if not side:
        raise ValueError(f"Resize mode {mode!r} needs {names[mode]}.")
    if mode == "shortest" and not min_dim:
        raise ValueError("Resize mode 'shortest' needs min_dim.")
    if mode == "pad64" and side % 64:
        raise ValueError(f"Resize mode 'pad64' needs a min_dim that is a multiple of 64, not {side}.")
    return side


def resize_image(
    image: np.ndarray,
    min_dim: int | None = None,
    max_dim: int | None = None,
    min_scale: float | None = None,
    mode: str = "square",
    rng: random.Random | ModuleType = random,
    square: bool = False,
    rounding: str = "truncate",
    jitter: float | None = None,
) -> tuple[np.ndarray, tuple[int, ...], Any, list[tuple[int, int]], tuple[int, ...] | None]:
    """Bring an image to the size the network wants, keeping its aspect ratio unless the mode is "stretch".

    Args:
        image: [H, W, C].
        min_dim: the shorter side is scaled up to this many pixels; larger images are not scaled down to it. In mode
            "crop" it is the side of the crop.
        max_dim: in modes "square", "rect" and "shortest", the longer side is at most this; in "stretch", both are it.
        min_scale: scale up at least by this factor, even if min_dim asks for less.
        mode: "none": as it is; whether the network can take it is for the model to say.
            "square": scaled, then padded with zeros to a square of side max_dim.
            "rect": scaled the same way, then padded with zeros to multiples of 64.
            "shortest": as "rect", but larger images are scaled down to min_dim too.
            "pad64": scaled without regard to max_dim, then padded with zeros to multiples of 64.
            "crop": scaled, then a square cut out at random; for training only.
            "stretch": to a square of side max_dim, whatever becomes of the aspect ratio.
        rng: `random.Random` for the place of the crop; default is Python's global state.
        square: pad to a square of side max_dim in modes "rect" and "shortest" too.
        rounding: what becomes of interpolated values of whole-number images: "truncate" cuts them, half a gray level
            darker on average, as the original does; "nearest" rounds them.
        jitter: scale by this factor more, then cut a random part of the size that the mode gives, or pad to it on all
            sides.

    Returns:
        image: [H', W', C] of the same dtype.
        window: (y1, x1, y2, x2) in pixels, the part of the result that is not padding.
        scale: the factor by which the image was resized; in mode "stretch" two, (down, across).
        padding: [(top, bottom), (left, right), (0, 0)] pixels.
        crop: (y, x, height, width) in the scaled image, or None.

    Raises:
        ValueError: unknown mode, or a min_dim or max_dim that the mode needs or cannot use.
    """
    planned = plan(image.shape[0], image.shape[1], min_dim, max_dim, min_scale, mode, square)
    if jitter is not None:
        planned = _jittered(planned, image.shape, jitter)
    scale, size, padding, window, shape = planned
    if scale != 1:
        resized = resize(image, size, preserve_range=True)
        if rounding == "nearest" and np.issubdtype(image.dtype, np.integer):
            np.rint(resized, out=resized)
        image = resized.astype(image.dtype)
    if mode == "crop" or jitter is not None:
        height, width = (min(a, b) for a, b in zip(size, shape, strict=True))
        y, x = rng.randint(0, size[0] - height), rng.randint(0, size[1] - width)
        cut = image[y : y + height, x : x + width]
        return np.pad(cut, padding) if cut.shape[:2] != shape else cut, window, scale, padding, (y, x, height, width)
    if mode != "none":
        image = np.pad(image, padding)
    return image, window, scale, padding, None


def _jittered(planned, shape, factor):
    """A `Plan` with another scale and the same result: what of the image lies in it, in the middle."""
    scale = np.multiply(planned.scale, factor)
    sides = np.broadcast_to(scale, 2)
    size = tuple(max(1, round(n * by)) for n, by in zip(shape, sides, strict=False))
    spare = [max(0, whole - own) for whole, own in zip(planned.shape, size, strict=True)]
    (top, left), (y2, x2) = (n // 2 for n in spare), planned.shape
    padding = [(top, spare[0] - top), (left, spare[1] - left), (0, 0)]
    window = (top, left, y2 - padding[0][1], x2 - padding[1][1])
    return Plan(scale.tolist() if scale.ndim == 0 else tuple(scale.tolist()), size, padding, window, planned.shape)


def mold(
    image: np.ndarray, config: Any, window: Iterable[int] | None = None, inside: np.ndarray | None = None
) -> np.ndarray:
    """What the network reads of a resized and padded image: centred, scaled and ordered as the config says.

    Args:
        image: [..., C] 0..255; [H, W, C] with a window.
        config: MEAN_PIXEL, PIXEL_STD, CHANNEL_ORDER and IMAGE_PADDING are read.
        window: (y1, x1, y2, x2) pixels of the part that is no padding.
        inside: [H, W] bool, the same for a part of any shape, as augmentation leaves it.

    Returns:
        [..., C] float32.
    """
    molded = mold_image(image, config.MEAN_PIXEL)
    if np.any(np.not_equal(config.PIXEL_STD, 1)):
        molded /= np.asarray(config.PIXEL_STD, "float32")
    if config.IMAGE_PADDING == "mean":
        if window is not None:
            y1, x1, y2, x2 = (int(edge) for edge in window)
            molded[:y1] = molded[y2:] = molded[:, :x1] = molded[:, x2:] = 0
        if inside is not None and not inside.all():
            molded[~inside] = 0
    return molded[..., ::-1] if config.CHANNEL_ORDER == "bgr" else molded


def unmold(image: ArrayLike, config: Any) -> np.ndarray:
    """Undo `mold`: [..., C] uint8."""
    image = np.asarray(image)[..., ::-1] if config.CHANNEL_ORDER == "bgr" else np.asarray(image)
    return unmold_image(image * np.asarray(config.PIXEL_STD), config.MEAN_PIXEL)
