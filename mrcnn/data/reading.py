"""Image files: reading, writing, their size, and where they may lie."""

import os
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from mrcnn.data.arrays import array_size, is_array, read_array, reason
from mrcnn.ops.files import whole
from mrcnn.ops.images import convert_channels

# What is decoded, whatever a file is called. Pillow knows more, and starts other programs for some of it.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000")

# Of files in these formats; in the first ones pictures are written, as they hold every colour.
WRITTEN_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
IMAGE_ENDINGS = (*WRITTEN_ENDINGS, ".gif", ".pbm", ".pgm", ".ppm", ".jp2")

# TIFF's tags.
SUBFILE, BITS, MEANING, SAMPLES, KIND = 254, 258, 262, 277, 339


def find_file(folder: Path, name: str) -> str:
    """The path of a file in a folder, by a name that Windows wrote with backslashes, or a Mac with accents that are
    letters of their own; the name as it is where there is none."""
    path = str(folder / name)
    if name.isascii() and "\\" not in name:
        return path
    forms = [unicodedata.normalize(form, x) for x in (name, name.replace("\\", "/")) for form in ("NFC", "NFD")]
    return next((x for x in (path, *(str(folder / form) for form in forms)) if os.path.exists(x)), path)


class DarkImage(UserWarning):
    """A file of 16 bits a channel uses so few of them that little is left of it in 8."""


def read_image(path: Path | str | IO[bytes], channels: int = 3) -> np.ndarray:
    """Read an image file upright, as its EXIF orientation says.

    Args:
        path: a file in one of `FORMATS`, or one that is open, of 1 to 16 bits a channel: gray, palette, RGB, RGBA,
            CMYK ...; of one that moves the first picture. Or a .npy file, see `mrcnn.data.arrays`.
        channels: 1, 3 or 4, see `convert_channels`.

    Returns:
        [H, W, channels] uint8.

    Raises:
        FileNotFoundError: no such file.
        OSError: the file cannot be decoded, has more pixels than Pillow's limit (179 million), several pages, or values
            of which nothing says what is white: floating point, 32 bits.
        ValueError: it has no way to `channels` channels. Every message is one line that names the path.
    """
    if isinstance(path, (str, Path)) and is_array(path):
        pixels = read_array(path)
        deep = pixels.dtype == np.uint16
    else:
        with opened(path) as file:
            deep = ";16" in str(file.tile)  # Pillow's name of what is in the file
            pixels = _pixels(file)
    try:
        image = convert_channels(pixels, channels)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if deep:
        warn_if_dark(image, f"The image {path}")
    return image


def warn_if_dark(image: np.ndarray, name: str, seen: str = "") -> None:
    """A `DarkImage` warning where 16 bits a channel, brought to the 8 of `image`, leave little to see.

    Args:
        image: [...] uint8.
        name, seen: what the warning calls it, and the part of it that was looked at.
    """
    if 0 < image.max() <= 16:
        warnings.warn(
            f"{name} has 16 bits a channel and uses 12 of them or fewer{seen}, so it is nearly black; scale its values "
            "to all 16 bits, by one factor for all images.",
            DarkImage,
            stacklevel=3,
        )


@contextmanager
def opened(path: Path | str | IO[bytes], kind: str = "image file", name: str = "") -> Iterator[ImageFile]:
    """A file in one of `FORMATS`, opened by Pillow but not decoded: its size is known, and not above Pillow's limit.

    Whatever is raised while it is open becomes one line that names the path.

    Args:
        path: of the file.
        kind, name: what the messages call it; by default its path is its name.

    Raises:
        FileNotFoundError: no such file.
        OSError: not an image that can be read here.
    """
    name = name or str(path)
    try:
        if isinstance(path, (str, Path)) and os.path.exists(path) and not os.path.isfile(path):  # a pipe never ends
            raise OSError("it is no file.")
        with Image.open(path, formats=FORMATS) as file:
            if file.format == "TIFF":
                _refuse_stacks(file)
            yield file
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no {kind} {name}.") from None
    except Image.DecompressionBombError:
        raise OSError(f"The {kind} {name} has too many pixels to be read at once; cut it into pieces.") from None
    except UnidentifiedImageError:
        raise OSError(
            f"The {kind} {name} cannot be read: it is broken, none of {', '.join(FORMATS)}, or of unusual pixels; save "
            "it with up to 4 channels of 8 or 16 bits."
        ) from None
    except Exception as error:  # a broken file makes Pillow raise almost anything
        raise OSError(f"The {kind} {name} cannot be read: {reason(error)}") from error


def _refuse_stacks(file):
    """Raise OSError for a TIFF of which Pillow would read a part: of many channels, or of several pages."""
    channels = file.tag_v2.get(SAMPLES, 1)
    if channels > 4:
        raise OSError(f"it has {channels} channels; override load_image to read it.")
    pages = 0
    for page in range(file.n_frames):
        file.seek(page)
        pages += not file.tag_v2.get(SUBFILE, 0)  # others are smaller copies and masks of a page
    if pages > 1:
        raise OSError(f"it has {pages} pages; write each to a file.")
    file.seek(0)


def _pixels(file):
    """[H, W] or [H, W, C] uint8 or uint16, upright."""
    tags = file.tag_v2 if file.format == "TIFF" else {}
    bits, kind = tags.get(BITS, (16,))[0], tags.get(KIND, (1,))[0]
    if file.mode == "F" or kind == 3:
        raise OSError("its values are floating point, of which nothing says what is white; save it with 8 or 16 bits.")
    if bits > 16 or kind == 2:
        raise OSError("its values have 32 bits or a sign; save it with 8 or 16 bits.")
    image = ImageOps.exif_transpose(file)
    if image.mode.startswith("I"):  # "I" in other formats than TIFF, too, where 16 bits are read
        values = np.asarray(image)
        values = values if bits == 16 else np.rint(values * (65535 / (2**bits - 1)))
        return (65535 - values if tags.get(MEANING) == 0 else values).astype("uint16")  # where 0 is white
    if image.mode in ("LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return np.asarray(image)


def write_image(path: Path | str, image: ArrayLike) -> None:
    """Write an image [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] of uint8, whole or not at all; the ending of `path`
    names the format.

    Raises:
        ValueError: no such format.
        OSError: the file cannot be written.
    """
    image = np.asarray(image)
    with whole(path) as new:
        Image.fromarray(image[:, :, 0] if image.shape[2:] == (1,) else image).save(new)


def image_size(path: Path | str, decode: bool = False) -> tuple[int, int]:
    """(height, width) of an image file as `read_image` gives it, from its header.

    Args:
        path: of the file.
        decode: try all of its pixels, too, which a header says nothing of.

    Raises:
        FileNotFoundError: no such file.
        OSError: not an image that can be read here.
    """
    if is_array(path):
        return array_size(path)
    with opened(path) as image:
        turned = image.getexif().get(0x0112) in (5, 6, 7, 8)  # EXIF orientation: lying on its side
        if decode:
            image.load()
        return image.size if turned else image.size[::-1]


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder, arrays among them, sorted, without hidden ones; none if it is not there."""
    return sorted(path for path in folder.glob("[!.]*") if path.suffix.lower() in (*IMAGE_ENDINGS, ".npy"))


def path_within(folder: Path | str, name: object, outside: bool = False) -> str:
    """The path of an image that an annotation file names.

    Args:
        folder: of the set.
        name: the file's name, from `folder` on.
        outside: whether it may lead out of the folder, as "../a.png" and "/a.png" do.

    Raises:
        ValueError: it leads out of the folder, or is no name. Links in the folder may lead anywhere.
    """
    if not isinstance(name, str) or not name or min(name) < " ":
        raise ValueError(f"{name!r} is not the name of a file")
    path = os.path.join(folder, name)
    if not outside and leads_out(path, folder):
        raise ValueError(f"{name} leads out of {folder}; move it there, or load the set with outside=True")
    return path


def leads_out(path: Path | str, folder: Path | str) -> bool:
    """Whether a path leads out of a folder, links in it aside."""
    home = os.path.abspath(folder)
    return os.path.commonpath([home, os.path.abspath(path)]) != home
