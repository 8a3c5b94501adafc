"""Images that are no pictures: arrays of any number of channels (.npy), and pages of TIFF files."""

from __future__ import annotations

import functools
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import ArrayLike

# More channels than these are taken for a side of the image.
MAX_CHANNELS = 64

TIFF_ENDINGS = (".tif", ".tiff")

# What is wrong with a file is raised, or read as far as it goes; each tag of it needs no line of its own.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


# As many as Pillow reads of a picture.
MOST_PIXELS = 2 * (1 << 30) // 12


def reason(error: BaseException) -> str:
    """What an error of a library says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def is_array(path: object) -> bool:
    """Whether a file's name is that of a saved array."""
    return str(path).lower().endswith(".npy")


def read_array(path: Path | str, labels: bool = False) -> np.ndarray:
    """The image of a .npy file [H, W] or [H, W, C] of uint8, uint16 or bool; with `labels` of any whole numbers.

    Returns:
        [H, W, C], uint8 or, of 0..65535, uint16.

    Raises:
        FileNotFoundError, OSError: not there, or none of these; one line that names the file.
    """
    return _checked(_mapped(path), path, labels)


def array_size(path: Path | str) -> tuple[int, int]:
    """(height, width) of a .npy file; raises as `read_array`."""
    height, width, _ = _checked(_mapped(path), path).shape
    return height, width


def page_sizes(path: Path | str) -> list[tuple[int, int]]:
    """(height, width) of every page of a TIFF file that has several; none of any other file.

    Smaller copies and masks of pages, as pyramids have them, do not count.
    """
    if not str(path).lower().endswith(TIFF_ENDINGS):
        return []
    try:
        sizes = [size for _, size, _ in _pages(path)]
    except Exception:  # whatever is wrong with it, the reader of pictures says so
        return []
    return sizes if len(sizes) > 1 else []


def page_size(path: Path | str, page: int) -> tuple[int, int]:
    """(height, width) of a page of a TIFF file, counted from 0.

    Raises:
        OSError: its values are none that an image can have.
    """
    _, size, dtype = _pages(path)[page]
    _check_dtype(dtype, f"{path}, page {page}")
    return size


def read_page(path: Path | str, page: int, labels: bool = False) -> np.ndarray:
    """A page of a TIFF file, counted from 0, as of `read_array`.

    Raises:
        FileNotFoundError, OSError: see there.
    """
    try:
        with tifffile.TiffFile(path) as file:
            number, (height, width), _ = _pages(path)[page]
            if height * width > MOST_PIXELS:
                raise OSError("it has too many pixels to be read at once; cut it into pieces.")
            found = file.pages[number]
            values = found.asarray()
            if values.ndim == 3 and found.planarconfig == 2:  # a channel after the other
                values = np.moveaxis(values, 0, -1)
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no image file {path}.") from None
    except Exception as error:  # a broken file makes tifffile raise almost anything
        raise OSError(f"Page {page} of {path} cannot be read: {reason(error)}") from error
    return _checked(values, f"{path}, page {page}", labels)


def _pages(path):
    """Place in the file, (height, width) and type of values of pages that are images of their own: bit 0 of the tag
    NewSubfileType says of a smaller copy, bit 2 of a mask."""
    status = os.stat(path)
    return _listed(str(path), status.st_mtime_ns, status.st_size)


@functools.lru_cache(256)  # else a stack of n pages would be gone through n times
def _listed(path, *_):
    with tifffile.TiffFile(path) as file:
        pages: Any = enumerate(file.pages)
        return [(k, (x.imagelength, x.imagewidth), x.dtype) for k, x in pages if not getattr(x, "subfiletype", 0) & 5]


def _mapped(path):
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no image file {path}.") from None
    except Exception as error:  # a broken header makes NumPy raise almost anything
        raise OSError(f"The array {path} cannot be read: {reason(error)}") from error
    if not isinstance(values, np.ndarray):
        raise OSError(f"{path} holds several arrays; save each in a file of its own.")
    return values


def _checked(values: ArrayLike, name: object, labels: bool = False) -> np.ndarray:
    """[H, W, C]."""
    values = np.asarray(values)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or not values.size or values.shape[2] > MAX_CHANNELS:
        shape = " x ".join(map(str, values.shape))
        raise OSError(f"{name} is an array of {shape}; an image is height x width x channels.")
    if labels and values.dtype.kind in "biu":
        return values
    _check_dtype(values.dtype, name)
    return values.astype("uint8") * 255 if values.dtype == bool else values


def _check_dtype(dtype, name):
    if dtype not in (np.uint8, np.uint16, np.bool_):
        raise OSError(f"{name} has values of {dtype}, of which nothing says what is white; save uint8, uint16.")
