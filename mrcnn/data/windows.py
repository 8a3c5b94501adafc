"""Parts of images too large to be in memory: windows of a TIFF are read alone, of other files with the whole."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from numpy.typing import ArrayLike

from mrcnn.data.arrays import is_array, read_array
from mrcnn.data.reading import read_image
from mrcnn.ops.images import convert_channels

# Compressions that tifffile decodes by itself, without another package.
KNOWN = (tifffile.COMPRESSION.NONE, tifffile.COMPRESSION.ADOBE_DEFLATE, tifffile.COMPRESSION.DEFLATE)


class Windows(NamedTuple):
    """An image of which any part can be had.

    Attributes:
        shape: (height, width).
        read: function(y1, x1, y2, x2) that gives the pixels [y2 - y1, x2 - x1, channels] of a window inside the image.
    """

    shape: tuple[int, int]
    read: Callable[[int, int, int, int], np.ndarray]


def windows(image: Path | str | ArrayLike | Windows, channels: int | None = 3) -> Windows:
    """Open an image to read windows of it.

    A TIFF of one page, gray of 8 or 16 bits, RGB or RGBA of 8, in tiles or strips, plain or deflated, stays on disk;
    of every other file all pixels are read, as by `read_image`.

    Args:
        image: a file, or an array [H, W] or [H, W, C]; `Windows` come back as they are.
        channels: of the windows, see `convert_channels`; None leaves those of an array or a .npy file as they are.

    Raises:
        OSError, ValueError: as `read_image`.
    """
    if isinstance(image, Windows):
        return image
    if not isinstance(image, (str, Path)):
        return _of_array(np.asarray(image), channels)
    if is_array(image):
        try:
            return _of_array(read_array(image), channels)
        except ValueError as error:
            raise ValueError(f"{image}: {error}") from None
    channels = channels or 3
    return _of_tiff(Path(image), channels) or _of_array(read_image(image, channels), channels)


def _of_array(array, channels):
    def read(y1, x1, y2, x2):
        return array[y1:y2, x1:x2]

    return _converted(array.shape, read, channels)


def _converted(shape, read, channels):
    """What `read` gives of pixels [H, W] or [H, W, C], with so many channels; ValueError where that cannot be."""
    if not channels:
        return Windows(shape[:2], read)
    convert_channels(np.empty((1, 1, *shape[2:]), "uint8"), channels)  # before hours of windows
    return Windows(shape[:2], lambda *window: convert_channels(read(*window), channels))


def _of_tiff(path, channels):
    """None where tifffile cannot read parts of the file, or `read_image` would say what is wrong with it."""
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            if len(file.pages) > 1 or not _simple(page):
                return None
            if page.is_memmappable:
                return _of_array(tifffile.memmap(path, page=0, mode="r").reshape(page.shape), channels)
            shape, dtype = page.shape, page.dtype
        return _converted(shape, partial(_read_tiff, path, shape, dtype), channels)
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
