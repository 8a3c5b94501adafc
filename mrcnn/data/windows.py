"""Parts of images too large to be in memory: windows of a TIFF are read alone, of other files with the whole."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from numpy.typing import ArrayLike

from mrcnn.data.arrays import is_array, read_array
from mrcnn.data.reading import read_image, warn_if_dark
from mrcnn.ops.images import convert_channels

# Compressions that tifffile decodes by itself, without another package.
KNOWN = (tifffile.COMPRESSION.NONE, tifffile.COMPRESSION.ADOBE_DEFLATE, tifffile.COMPRESSION.DEFLATE)

# Rows of an image of 16 bits that are looked at for what is brighter than nearly black, and files that were.
ROWS = 16
_seen: set[str] = set()


class Windows(NamedTuple):
    """An image of which any part can be had.

    Attributes:
        shape: (height, width).
        read: function(y1, x1, y2, x2) that gives the pixels [y2 - y1, x2 - x1, channels] of a window inside the image.
    """

    shape: tuple[int, int]
    read: Callable[[int, int, int, int], np.ndarray]


def windows(image: Path | str | ArrayLike | Windows, channels: int | None = 3, name: str = "") -> Windows:
    """Open an image to read windows of it.

    16 bits become 8 by the range of the type, as in `convert_channels`, so that an object looks alike in every window.

    A TIFF of one page, gray of 8 or 16 bits, RGB or RGBA of 8, in tiles or strips, plain or deflated, stays on disk;
    of every other file all pixels are read, as by `read_image`.

    Args:
        image: a file, or an array [H, W] or [H, W, C]; `Windows` come back as they are.
        channels: of the windows, see `convert_channels`; None leaves those of an array or a .npy file as they are.
        name: of an array, for a warning of 16 bits that are nearly black.

    Raises:
        OSError, ValueError: as `read_image`.
    """
    if isinstance(image, Windows):
        return image
    if not isinstance(image, (str, Path)):
        return _of_array(np.asarray(image), channels, name)
    if is_array(image):
        try:
            return _of_array(read_array(image), channels, str(image))
        except ValueError as error:
            raise ValueError(f"{image}: {error}") from None
    channels = channels or 3
    return _of_tiff(Path(image), channels) or _of_array(read_image(image, channels), channels, str(image))


def _of_array(array, channels, name):
    def read(y1, x1, y2, x2):
        return array[y1:y2, x1:x2]

    return _converted(array.shape, array.dtype, read, channels, name)


def _converted(shape, dtype, read, channels, name):
    """What `read` gives of pixels [H, W] or [H, W, C], with so many channels; ValueError where that cannot be."""
    count = channels or (*shape, 1)[2]
    convert_channels(np.empty((1, 1, *shape[2:]), "uint8"), count)  # before hours of windows
    found = Windows(shape[:2], lambda *window: convert_channels(read(*window), count))
    if dtype.newbyteorder("=") == np.uint16 and name not in _seen:
        _look(found, name)
    return found


def _look(found, name):
    """Warn of what is nearly black by some rows, as all may be hours of reading; once, as a set opens a file for each
    of its tiles."""
    _seen.update({name} - {""})
    height, width = found.shape
    rows = np.unique(np.linspace(0, height - 1, ROWS).astype(int)).tolist()
    with contextlib.suppress(OSError):  # what is broken is named where it is needed
        pixels = np.stack([found.read(y, 0, y + 1, width) for y in rows])
        warn_if_dark(pixels, f"The image {name or 'given'}", f" in {len(rows)} rows looked at")


def _of_tiff(path, channels):
    """None where tifffile cannot read parts of the file, or `read_image` would say what is wrong with it."""
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            if len(file.pages) > 1 or not _simple(page):
                return None
            if page.is_memmappable:
                return _of_array(tifffile.memmap(path, page=0, mode="r").reshape(page.shape), channels, str(path))
            shape, dtype = page.shape, page.dtype
        return _converted(shape, dtype, partial(_read_tiff, path, shape, dtype), channels, str(path))
    except Exception:  # of a broken file almost anything; `read_image` names it
        return None


def _read_tiff(path, shape, dtype, y1, x1, y2, x2):
    """A window of a TIFF's page of that shape."""
    window = np.zeros((y2 - y1, x2 - x1, *shape[2:]), dtype)
    try:
        with tifffile.TiffFile(path) as file:
            _fill(window, file.pages.first, y1, x1)
    except Exception as error:  # as above
        raise OSError(f"The image file {path} cannot be read: {' '.join(str(error).split())}") from error
    return window


def _simple(page):
    """Whether a page is what `read_image` reads without a change of its values, in tiles or strips."""
    meaning = {1: (tifffile.PHOTOMETRIC.MINISBLACK,), 3: (tifffile.PHOTOMETRIC.RGB,), 4: (tifffile.PHOTOMETRIC.RGB,)}
    return (
        page.compression in KNOWN
        and page.dtype in (np.uint8, *[np.uint16] * (page.samplesperpixel == 1))
        and tifffile.EXTRASAMPLE.ASSOCALPHA not in page.extrasamples
        and page.bitspersample in (8, 16)
        and page.photometric in meaning.get(page.samplesperpixel, ())
        and page.planarconfig == tifffile.PLANARCONFIG.CONTIG
        and page.imagedepth == 1
        and page.tags.valueof("Orientation", 1) == 1
    )


def _fill(window, page, top, left):
    """Copy those tiles or strips into a window [h, w] or [h, w, C], at (top, left) of the page, that it meets."""
    height, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    across = -(-page.imagewidth // width)
    for row in range(top // height, -(-(top + window.shape[0]) // height)):
        for column in range(left // width, -(-(left + window.shape[1]) // width)):
            index, y, x = row * across + column, row * height - top, column * width - left
            part = _segment(page, index)
            if part is not None:
                y1, x1 = max(y, 0), max(x, 0)
                inside = part[y1 - y : window.shape[0] - y, x1 - x : window.shape[1] - x]
                window[y1 : y1 + inside.shape[0], x1 : x1 + inside.shape[1]] = inside


def _segment(page, index):
    """The pixels of a tile or a strip; None of one that was left out, which is black."""
    count = page.databytecounts[index]
    if not count:
        return None
    page.parent.filehandle.seek(page.dataoffsets[index])
    part, _, shape = page.decode(page.parent.filehandle.read(count), index)
    part = part[0, : shape[1], : shape[2]]  # without the depth; tiles at the edges are padded
    return part if page.samplesperpixel > 1 else part[..., 0]
