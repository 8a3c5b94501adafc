"""Where images lie on the canvas of an exported model, for NumPy and for its graph."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np


def size_on_canvas(
    height: Any,
    width: Any,
    shape: Sequence[int],
    mode: str = "square",
    min_dim: int | None = None,
    min_scale: float | None = None,
    xp: ModuleType = np,
) -> list[Any]:
    """Height and width that an image of height x width pixels has on a canvas of `shape` (H, W), by the rules of
    `data.resizing.plan` with the canvas in the place of the largest side.

    Args:
        height, width: float32, so that a graph can compute them.
        mode: "square" and "rect", which are one here, "shortest" or "stretch".
        min_dim, min_scale: as of `resize_image`.
        xp: `keras.ops` in a graph.

    Returns:
        [height, width] float32, whole numbers.
    """
    if mode == "stretch":
        return [xp.full_like(height, float(side)) for side in shape]
    sides, short = (height, width), xp.minimum(height, width)
    # The factor as a fraction, over / under: float32 holds both.
    over, under = xp.ones_like(short), xp.ones_like(short)
    if min_dim:
        grows = short < float(min_dim) if mode != "shortest" else short > 0
        over, under = xp.where(grows, float(min_dim), over), xp.where(grows, short, under)
    if min_scale:
        grows = over < under * min_scale
        over, under = xp.where(grows, float(min_scale), over), xp.where(grows, 1.0, under)
    for side, limit in zip(sides, shape, strict=True):
        large = xp.round(side * over / under) > limit
        over, under = xp.where(large, float(limit), over), xp.where(large, side, under)
    return [xp.maximum(xp.round(side * over / under), 1.0) for side in sides]


def window_on_canvas(height: int, width: int, shape: Sequence[int], **rules: Any) -> tuple[int, int, int, int]:
    """(y1, x1, y2, x2) in pixels of the canvas that are image; arguments as of `size_on_canvas`."""
    rows, columns = (int(x) for x in size_on_canvas(np.float32(height), np.float32(width), shape, **rules))
    top, left = (shape[0] - rows) // 2, (shape[1] - columns) // 2
    return top, left, top + rows, left + columns
