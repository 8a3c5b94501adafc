"""What the network must know of an image, as one vector."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

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
    scale: ArrayLike,
    active_class_ids: ArrayLike,
) -> np.ndarray:
    """Pack what the network must know of an image into one vector.

    Args:
        image_id: an integer below 2^24 (float32 holds no larger ones exactly).
        original_image_shape: (H, W, C) before resizing.
        image_shape: (H, W, C) after it.
        window: (y1, x1, y2, x2) in pixels, the part that is not padding.
        scale: the factor of the resizing; of two, their geometric mean is kept.
        active_class_ids: [K] 1 for every class that the image's data set knows, else 0.

    Returns:
        [12 + K] float32.
    """
    if np.ndim(scale):
        scale = np.sqrt(np.prod(np.asarray(scale, float)))
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
