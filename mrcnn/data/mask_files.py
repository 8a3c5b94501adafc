"""Masks and labels out of image files."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import skimage.measure
from PIL import ImageOps

from mrcnn.data.reading import MEANING, opened

# Values of a mask that has neither noise nor soft edges, 0 among them.
FEW_VALUES = 5

# Pieces of a label image with fewer pixels are specks. Many, which are most of its pieces, are no objects but a picture
# (photos had 5000 or more, 69 of 100 pieces at least), noise of JPEG or resized edges; true labels had 13 at most.
SPECK, MANY_SPECKS = 4, 100

# Formats that change numbers.
LOSSY = ("JPEG", "MPO", "JPEG2000")


def read_mask(path: Path | str, size: Sequence[int]) -> np.ndarray:
    """The mask of one object.

    It is where any colour is above 0; in a file with noise (a JPEG) or soft edges, which have many values, where it is
    above half of the largest. What is transparent is outside, and where all else has one colour, as a drawing on
    nothing does, that is the object.

    Args:
        path: an image of any kind: gray, palette, colours, with alpha or not.
        size: (height, width) of the image that it belongs to.

    Returns:
        [H, W] bool.

    Raises:
        FileNotFoundError, OSError: the file cannot be read.
        ValueError: it is of another size.
    """
    with opened(path, "mask") as file:
        image, lossy = ImageOps.exif_transpose(file), file.format in LOSSY
        if image.mode in ("P", "PA", "LA", "CMYK") or "transparency" in image.info:
            image = image.convert("RGBA")
        pixels = np.atleast_3d(np.asarray(image))
        if _is_turned(file):
            pixels = ~pixels
    _check_size(path, pixels, size)
    colours = pixels[..., :3].max(axis=-1)
    largest = colours.max(initial=0)
    flat = ((colours == 0) | (colours == largest)).all() or len(np.unique(colours)) <= FEW_VALUES
    inside = colours > (0 if flat and not lossy else largest / 2)
    if pixels.shape[2] < 4:
        return inside
    opaque = pixels[..., 3] > 127
    drawn = not opaque.all() and not np.ptp(pixels[opaque, :3], axis=0).any() if opaque.any() else True
    return opaque if drawn else opaque & inside


def read_labels(
    path: Path | str, size: Sequence[int], colours: Callable[[np.ndarray], np.ndarray] | None = None
) -> np.ndarray:
    """The numbers of a label image.

    Args:
        path: a gray or palette image. Of a colour image, each colour R, G, B is a number, R + 256 G + 65536 B as in
            COCO's panoptic files; one that shows gray has the numbers of the gray one. Transparent pixels are 0.
        size: (height, width) of the image that it belongs to.
        colours: gives the numbers [H, W] of colours [H, W, 3 or 4], where they are others than these.

    Returns:
        [H, W] of integers.

    Raises:
        FileNotFoundError, OSError: the file cannot be read, or is of a kind that does not keep numbers.
        ValueError: it is of another size, or not of labels but of specks.
    """
    with opened(path, "label image") as file:
        if file.format in LOSSY or file.mode == "F":
            raise OSError(f"{'floating point' if file.mode == 'F' else file.format} does not keep numbers; write PNG.")
        if ";16" in str(file.tile) and not file.mode.startswith("I"):
            raise OSError("of colours of 16 bits 8 would be read; write its numbers as gray ones.")
        image = ImageOps.exif_transpose(file)
        pixels = np.asarray(image.convert("RGBA") if image.mode == "PA" else image)
    _check_size(path, pixels, size)
    own = colours if colours and pixels.shape[2:] > (2,) else _numbers
    labels = pixels if pixels.ndim == 2 else own(pixels)
    check_specks(path, labels)
    return labels


def _numbers(pixels):
    """Of colours [H, W, C] the numbers [H, W]."""
    channels = [*np.moveaxis(pixels, -1, 0)]
    alpha = channels.pop() if len(channels) in (2, 4) else 255
    gray = all(np.array_equal(channels[0], channel) for channel in channels)
    labels = channels[0] if gray else sum(channel.astype("int32") << 8 * k for k, channel in enumerate(channels))
    return np.where(alpha, labels, 0)


def check_specks(path: Path | str, labels: np.ndarray) -> None:
    """Raise ValueError for labels [H, W] that are no objects but specks, as a picture's."""
    sizes = np.bincount(skimage.measure.label(labels, background=0, connectivity=2).ravel())[1:]
    specks = np.count_nonzero(sizes < SPECK)
    if specks > MANY_SPECKS and 2 * specks > len(sizes):
        raise ValueError(
            f"The label image {path} has {len(sizes)} pieces, {specks} of them under {SPECK} pixels: a picture, or "
            "labels that JPEG or resizing changed."
        )


def _is_turned(file):
    """Whether Pillow turned the numbers over, as for a picture in which 0 is white."""
    return file.format == "TIFF" and file.tag_v2.get(MEANING) == 0 and file.mode in ("1", "L")


def _check_size(path, pixels, size):
    if pixels.shape[:2] != tuple(size):
        (height, width), (rows, columns) = pixels.shape[:2], size
        raise ValueError(f"The mask {path} is {width}x{height}, its image {columns}x{rows}.")
