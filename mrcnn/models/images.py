"""Images as `detect` takes them, checked."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

from mrcnn.ops.images import odd_values


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
