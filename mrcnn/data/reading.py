"""Image files: reading, writing, their size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageOps

from mrcnn.ops.images import convert_channels

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


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


def image_size(path: Path | str) -> tuple[int, int]:
    """(height, width) of an image file as `read_image` gives it, from its header.

    Raises:
        FileNotFoundError: no such file.
        OSError: not an image.
    """
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(0x0112, 1) >= 5  # EXIF orientation: lying on its side
            return image.size if turned else image.size[::-1]
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no image file {path}.") from None
    except Exception as error:
        raise OSError(f"The image file {path} cannot be read: {error}") from error


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder, sorted; none if it is not there."""
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_ENDINGS)


def read_labels(path: Path | str, size: Sequence[int]) -> np.ndarray:
    """Values of a mask's file.

    Args:
        path: a gray, 16-bit or palette image, or a colour image, whose first channel counts.
        size: (height, width) of the image that it belongs to.

    Returns:
        [H, W] of the file's own values.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is of another size.
    """
    try:
        with Image.open(path) as file:
            values = np.asarray(file)
    except Exception as error:  # a broken file makes Pillow raise almost anything
        raise OSError(f"The mask {path} cannot be read: {error}") from error
    values = values if values.ndim == 2 else values[..., 0]
    if values.shape != tuple(size):
        raise ValueError(f"The mask {path} is {values.shape[1]}x{values.shape[0]}, its image {size[1]}x{size[0]}.")
    return values
