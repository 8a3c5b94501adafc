"""Images as arrays: as `detect` takes them, channels, resizing, and the pixels that the network wants."""

import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def image_list(images: Any) -> list[np.ndarray]:
    """The arrays of a list of images; a word where their values are hardly those of images.

    Args:
        images: any iterable of [h, w] or [h, w, C] arrays of numbers, or of what NumPy makes such arrays of.

    Raises:
        ValueError: it is one image, a path or nothing, or holds what is no image.
    """
    if len(getattr(images, "shape", (0,) * 4)) < 4:
        raise ValueError(f"detect takes a list of images, and this is one of shape {images.shape}: write [image].")
    if isinstance(images, (str, bytes, os.PathLike, dict)) or not hasattr(images, "__iter__"):
        raise ValueError(f"detect takes a list of images, not {_name(images)}.")
    arrays = [_array(image, f"images[{i}]") for i, image in enumerate(images)]
    for i, image in enumerate(arrays):
        if words := odd_values(image):
            warnings.warn(f"images[{i}]: {words}", stacklevel=3)
    return arrays


def _name(x):
    return f"a path, {os.fspath(x)!r}" if isinstance(x, (str, os.PathLike)) else type(x).__name__


def _array(image, name):
    if image is None:
        raise ValueError(f"{name} is None, which OpenCV gives for a file that it cannot read.")
    if isinstance(image, (str, bytes, os.PathLike)):
        raise ValueError(f"{name} is {_name(image)}; read it with mrcnn.data.reading.read_image.")
    try:
        array = np.asarray(image)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "buif" or array.ndim not in (2, 3) or not array.size:
        raise ValueError(f"{name} is no image, which is [h, w, channels] of numbers: {array.dtype} {array.shape}.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} has values that are not finite.")
    return array


def convert_channels(image: ArrayLike, count: int) -> np.ndarray:
    """Bring an image to a number of channels.

    Gray becomes RGB by repetition, RGB becomes gray by luma (ITU-R 601), RGBA loses its alpha, 16-bit values (uint16)
    are scaled to 0..255 uint8. What has `count` channels already keeps them whatever they mean.

    Args:
        image: [H, W] or [H, W, C].
        count: channels wanted.

    Returns:
        [H, W, count], of the image's dtype unless that was uint16.

    Raises:
        ValueError: there is no such conversion.
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3:
        raise ValueError(f"An image must be [H, W] or [H, W, channels], this array has shape {image.shape}.")
    if image.dtype.kind == "u" and image.dtype.itemsize == 2:  # of either byte order
        image = np.rint(image / 257).astype("uint8")
    if image.shape[2] == 4 and count in (1, 3):
        image = image[:, :, :3]
    channels = image.shape[2]
    if channels == count:
        return image
    if (channels, count) == (1, 3):
        return np.repeat(image, 3, axis=2)
    if (channels, count) == (3, 1):
        luma = image @ np.array([0.299, 0.587, 0.114])
        return (np.rint(luma) if np.issubdtype(image.dtype, np.integer) else luma).astype(image.dtype)[:, :, None]
    raise ValueError(f"An image with {channels} channels cannot become one with {count}.")


def odd_values(image: np.ndarray) -> str | None:
    """What is odd about the values of an image [...] of 0..255, or of 0..65535 if uint16; None if nothing."""
    if image.dtype == np.uint8:
        return None
    low, high = image.min(), image.max()
    if low < 0:
        return (
            "An image has negative values, as if mold_image had been applied: detect does that itself. Pass the "
            "image of 0..255, or molded ones to detect_molded."
        )
    if image.dtype == np.uint16:
        dark = f"An image of uint16, in which white is 65535, has no value above {high}; use uint8 for 0..255."
        return dark if 0 < high < 4096 else None
    if image.dtype.kind in "bf" and low < high <= 1:
        return "An image has values of 0..1, which is nearly black where 255 is white; multiply it by 255."
    return f"An image has values up to {high:g}; white is 255." if high > 255 else None


def resize(
    image: np.ndarray,
    output_shape: Sequence[int],
    order: int = 1,
    mode: str = "constant",
    cval: float = 0,
    clip: bool = True,
    preserve_range: bool = False,
    anti_aliasing: bool = False,
    anti_aliasing_sigma: float | None = None,
) -> np.ndarray:
    """`skimage.transform.resize` with the defaults of the original: bilinear, no anti-aliasing, zero beyond the border.

    With these defaults it is computed here, equal to the last bit and many times faster on large images.

    Args:
        image: [H, W] or [H, W, C]; bool counts as 0.0 and 1.0.
        output_shape: (height, width) or with the channels.
        preserve_range: False scales integers to 0..1 (scikit-image's convention), True keeps their values.

    Returns:
        [height, width] or [height, width, C], float32 for float16 and float32 images, else float64.
    """
    image = np.asarray(image)
    plain = (order, mode, cval, clip, anti_aliasing) == (1, "constant", 0, True, False)
    if plain and image.ndim in (2, 3) and tuple(output_shape[2:]) in ((), image.shape[2:]):
        if not preserve_range and image.dtype != bool:
            from skimage.util import img_as_float  # here, so that others need NumPy alone

            image = img_as_float(image)
        resized = np.empty((*output_shape[:2], *image.shape[2:]), _float(image))
        for rows, block in resized_blocks(image, output_shape[:2]):
            resized[rows] = block
        return resized
    import skimage.transform

    if image.dtype == bool:
        image = image.astype("float64")  # scikit-image >= 0.19 refuses to interpolate bool
    return skimage.transform.resize(
        image,
        output_shape,
        order=order,
        mode=mode,
        cval=cval,
        clip=clip,
        preserve_range=preserve_range,
        anti_aliasing=anti_aliasing,
        anti_aliasing_sigma=anti_aliasing_sigma,
    )


def _float(image):
    return np.dtype("float32" if image.dtype in ("float16", "float32") else "float64")


def resized_blocks(image: np.ndarray, size: Sequence[int], rows: int = 64) -> Iterator[tuple[slice, np.ndarray]]:
    """`resize` with its defaults and the range preserved, a block of rows after the other: without a large float array.

    Args:
        image: [H, W] or [H, W, C].
        size: (height, width).
        rows: of a block.

    Yields:
        slice of rows of the result, [at most `rows`, width] or [..., C] float.
    """
    top, bottom, *weights_y = _linear(image.shape[0], size[0], (-1, 1, *[1] * (image.ndim - 2)))
    left, right, *weights_x = _linear(image.shape[1], size[1], (-1, *[1] * (image.ndim - 2)))
    low, high = image.min(), image.max()
    for start in range(0, size[0], rows):
        part = slice(start, min(start + rows, size[0]))
        block = 0
        for indices, weight_y in zip((top, bottom), weights_y, strict=True):
            line = image[indices[part]]
            for columns, weight_x in zip((left, right), weights_x, strict=True):
                block = block + line.take(columns, axis=1) * weight_y[part] * weight_x
        yield part, np.clip(block, low, high).astype(_float(image))


def _linear(length, count, shape):
    """For `count` samples along an axis of `length` pixels: the pixels before and after each, and their weights in
    `shape`, 0 beyond the border."""
    position = (np.arange(count) + 0.5) * (length / count) - 0.5
    before = np.floor(position)
    after, weight = before + 1, position - before
    indices = [np.clip(x, 0, length - 1).astype(int) for x in (before, after)]
    weights = [(1 - weight) * (before >= 0), weight * (after < length)]
    return *indices, *(w.reshape(shape) for w in weights)


def mold_image(image: ArrayLike, mean_pixel: ArrayLike) -> np.ndarray:
    """Image [..., C] 0..255 minus the mean pixel [C], as float32: what the network reads."""
    return np.asarray(image, dtype="float32") - np.asarray(mean_pixel, dtype="float32")


def unmold_image(image: ArrayLike, mean_pixel: ArrayLike) -> np.ndarray:
    """Undo `mold_image`: [..., C] uint8."""
    return np.clip(np.rint(np.asarray(image) + np.asarray(mean_pixel)), 0, 255).astype("uint8")
