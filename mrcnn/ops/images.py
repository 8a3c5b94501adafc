"""Images: reading, channels, resizing, and the two forms the network wants: molded pixels and the image's meta data."""

import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import skimage.transform
from numpy.typing import ArrayLike
from PIL import Image, ImageOps


def read_image(path: Path | str, channels: int = 3) -> np.ndarray:
    """Read an image file upright, as its EXIF orientation says.

    Args:
        path: a file that Pillow reads: 8-bit or 16-bit, gray, palette, RGB, RGBA, CMYK ...
        channels: 1, 3 or 4, see `convert_channels`.

    Returns:
        [H, W, channels] uint8.

    Raises:
        FileNotFoundError: no such file.
        OSError: the file cannot be decoded.
        ValueError: it has no way to `channels` channels. Every message is one line that names the path.
    """
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I"):  # 16 bits per pixel
                pixels = np.clip(np.asarray(image), 0, 65535).astype("uint16")
            else:
                if image.mode in ("LA", "PA") or "transparency" in image.info:
                    image = image.convert("RGBA")
                elif image.mode not in ("L", "RGB", "RGBA"):
                    image = image.convert("L" if image.mode == "1" else "RGB")
                pixels = np.asarray(image)
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no image file {path}.") from None
    except Exception as error:  # a broken file makes Pillow raise almost anything
        reason = " ".join(str(error).split())
        raise OSError(f"The image file {path} cannot be read: {reason}") from error
    try:
        return convert_channels(pixels, channels)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write_image(path: Path | str, image: ArrayLike) -> None:
    """Write an image [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] of uint8; the ending of `path` names the format.

    Raises:
        ValueError: no such format.
        OSError: the file cannot be written.
    """
    image = np.asarray(image)
    Image.fromarray(image[:, :, 0] if image.shape[2:] == (1,) else image).save(path)


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
    if image.dtype == np.uint16:
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
            image = skimage.util.img_as_float(image)
        resized = np.empty((*output_shape[:2], *image.shape[2:]), _float(image))
        for rows, block in resized_blocks(image, output_shape[:2]):
            resized[rows] = block
        return resized
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


def resize_image(
    image: np.ndarray,
    min_dim: int | None = None,
    max_dim: int | None = None,
    min_scale: float | None = None,
    mode: str = "square",
    rng: random.Random | ModuleType = random,
    square: bool = False,
) -> tuple[np.ndarray, tuple[int, ...], float, list[tuple[int, int]], tuple[int, ...] | None]:
    """Bring an image to the size the network wants, keeping its aspect ratio.

    Args:
        image: [H, W, C].
        min_dim: the shorter side is scaled up to this many pixels; larger images are not scaled down to it. In mode
            "crop" it is the side of the crop.
        max_dim: in modes "square", "rect" and "shortest", the longer side is at most this.
        min_scale: scale up at least by this factor, even if min_dim asks for less.
        mode: "none": as it is; whether the network can take it is for the model to say.
            "square": scaled, then padded with zeros to a square of side max_dim.
            "rect": scaled the same way, then padded with zeros to multiples of 64.
            "shortest": as "rect", but larger images are scaled down to min_dim too.
            "pad64": scaled without regard to max_dim, then padded with zeros to multiples of 64.
            "crop": scaled, then a square cut out at random; for training only.
        rng: `random.Random` for the place of the crop; default is Python's global state.
        square: pad to a square of side max_dim in modes "rect" and "shortest" too.

    Returns:
        image: [H', W', C] of the same dtype.
        window: (y1, x1, y2, x2) in pixels, the part of the result that is not padding.
        scale: the factor by which the image was resized.
        padding: [(top, bottom), (left, right), (0, 0)] pixels.
        crop: (y, x, height, width) in the scaled image, or None.

    Raises:
        ValueError: unknown mode, or a min_dim or max_dim that the mode needs or cannot use.
    """
    dtype = image.dtype
    height, width = image.shape[:2]
    scale: float = 1
    padding = [(0, 0), (0, 0), (0, 0)]
    if mode == "none":
        return image, (0, 0, height, width), scale, padding, None
    if mode not in ("square", "rect", "shortest", "pad64", "crop"):
        raise ValueError(f"Resize mode {mode!r} is unknown; choose square, rect, shortest, pad64, crop or none.")
    bounded = mode in ("square", "rect", "shortest")
    side = max_dim if bounded else min_dim
    if not side:
        raise ValueError(f"Resize mode {mode!r} needs {'max_dim' if bounded else 'min_dim'}.")
    if mode == "shortest" and not min_dim:
        raise ValueError("Resize mode 'shortest' needs min_dim.")
    if mode == "pad64" and side % 64:
        raise ValueError(f"Resize mode 'pad64' needs a min_dim that is a multiple of 64, not {side}.")

    if min_dim:
        scale = min_dim / min(height, width)
        scale = scale if mode == "shortest" else max(1, scale)
    if min_scale and scale < min_scale:
        scale = min_scale
    if bounded and round(max(height, width) * scale) > side:
        scale = side / max(height, width)
    if scale != 1:
        size = max(1, round(height * scale)), max(1, round(width * scale))
        image = resize(image, size, preserve_range=True).astype(dtype)

    height, width = image.shape[:2]
    if mode == "crop":
        y, x = rng.randint(0, height - side), rng.randint(0, width - side)
        return image[y : y + side, x : x + side], (0, 0, side, side), scale, padding, (y, x, side, side)
    whole = mode == "square" or (square and bounded)
    target = (side, side) if whole else (-(-height // 64) * 64, -(-width // 64) * 64)
    top, left = (target[0] - height) // 2, (target[1] - width) // 2
    padding = [(top, target[0] - height - top), (left, target[1] - width - left), (0, 0)]
    return np.pad(image, padding), (top, left, top + height, left + width), scale, padding, None


def mold_image(image: ArrayLike, mean_pixel: ArrayLike) -> np.ndarray:
    """Image [..., C] 0..255 minus the mean pixel [C], as float32: what the network reads."""
    return np.asarray(image, dtype="float32") - np.asarray(mean_pixel, dtype="float32")


def mold(image: np.ndarray, config: Any, window: Iterable[int] | None = None) -> np.ndarray:
    """What the network reads of a resized and padded image: centred, scaled and ordered as the config says.

    Args:
        image: [..., C] 0..255; [H, W, C] with a window.
        config: MEAN_PIXEL, PIXEL_STD, CHANNEL_ORDER and IMAGE_PADDING are read.
        window: (y1, x1, y2, x2) pixels of the part that is no padding.

    Returns:
        [..., C] float32.
    """
    molded = mold_image(image, config.MEAN_PIXEL)
    if np.any(np.not_equal(config.PIXEL_STD, 1)):
        molded /= np.asarray(config.PIXEL_STD, "float32")
    if window is not None and config.IMAGE_PADDING == "mean":
        y1, x1, y2, x2 = (int(edge) for edge in window)
        molded[:y1] = molded[y2:] = molded[:, :x1] = molded[:, x2:] = 0
    return molded[..., ::-1] if config.CHANNEL_ORDER == "bgr" else molded


def unmold(image: ArrayLike, config: Any) -> np.ndarray:
    """Undo `mold`: [..., C] uint8."""
    image = np.asarray(image)[..., ::-1] if config.CHANNEL_ORDER == "bgr" else np.asarray(image)
    return unmold_image(image * np.asarray(config.PIXEL_STD), config.MEAN_PIXEL)


def unmold_image(image: ArrayLike, mean_pixel: ArrayLike) -> np.ndarray:
    """Undo `mold_image`: [..., C] uint8."""
    return np.clip(np.rint(np.asarray(image) + np.asarray(mean_pixel)), 0, 255).astype("uint8")


# Where each piece of an image's meta data stands in its vector. The rest, from 12 on, is active_class_ids.
META: dict[str, int | slice] = {
    "image_id": 0,
    "original_image_shape": slice(1, 4),
    "image_shape": slice(4, 7),
    "window": slice(7, 11),
    "scale": 11,
    "active_class_ids": slice(12, None),
}


def compose_image_meta(
    image_id: int,
    original_image_shape: ArrayLike,
    image_shape: ArrayLike,
    window: ArrayLike,
    scale: float,
    active_class_ids: ArrayLike,
) -> np.ndarray:
    """Pack what the network must know of an image into one vector.

    Args:
        image_id: an integer below 2^24 (float32 holds no larger ones exactly).
        original_image_shape: (H, W, C) before resizing.
        image_shape: (H, W, C) after it.
        window: (y1, x1, y2, x2) in pixels, the part that is not padding.
        scale: the factor of the resizing.
        active_class_ids: [K] 1 for every class that the image's data set knows, else 0.

    Returns:
        [12 + K] float32.
    """
    parts = [[image_id], original_image_shape, image_shape, window, [scale], active_class_ids]
    return np.concatenate([np.asarray(part, dtype="float32").ravel() for part in parts])


def parse_image_meta(meta: Any) -> dict[str, Any]:
    """Unpack meta data [B, 12 + K] (or one vector [12 + K]) into a dict by the names of `META`.

    From a NumPy array: scale [B] is float32, all else int32: image_id [B], original_image_shape [B, 3],
    image_shape [B, 3], window [B, 4] in pixels, active_class_ids [B, K]. From a backend tensor: slices of it.
    """
    fields = {name: meta[..., where] for name, where in META.items()}
    if isinstance(meta, np.ndarray):
        fields = {name: part.astype("float32" if name == "scale" else "int32") for name, part in fields.items()}
    return fields
