"""Heatmaps of points: cells and what is left within them, Gaussians and how wide they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrcnn.ops.boxes import Tensor, namespace


def cells_of(points: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The cells of a map in which points lie; points outside belong to the nearest one.

    Args:
        points: [..., 2] of (y, x), in cells: the first one reaches from 0 to 1.
        shape: (rows, columns).

    Returns:
        cells [...] int32, row * columns + column, and their upper left corners [..., 2] float32.
    """
    xp, (rows, columns) = namespace(points), shape
    y, x = (xp.maximum(xp.minimum(xp.floor(points[..., i]), n - 1), 0) for i, n in enumerate((rows, columns)))
    row, column = (z.astype("int32") if xp is np else xp.cast(z, "int32") for z in (y, x))
    return row * columns + column, xp.stack([y, x], axis=-1)


def gaussian_radius(sides: np.ndarray, overlap: float = 0.7, how: str = "exact") -> np.ndarray:
    """How far off both corners of boxes may be so that the IoU is still `overlap` (Law and Deng 2018, section 3.2): the
    least of three cases, the box shifted, smaller on all sides, and larger on all sides.

    Args:
        sides: [..., 2] heights and widths.
        overlap: above 0, below 1.
        how: "exact", or "published": the radius of CornerNet's first code, which CenterNet's has kept. It divides by 2
            for 2 a in the solution of a r^2 + b r + c = 0, wrong where a is not 1, in the second and the third case,
            and takes the larger solution of the first two. The third, 8 `overlap` times too large, is the least then.

    Returns:
        [...] in the unit of `sides`.
    """
    total, area = np.sum(sides, axis=-1), np.prod(sides, axis=-1)
    shifted = 1, -total, area * (1 - overlap) / (1 + overlap)
    smaller = 4, -2 * total, area * (1 - overlap)
    larger = 4 * overlap, 2 * overlap * total, -area * (1 - overlap)
    solve = {"exact": _least_solution, "published": _published_solution}[how]
    return np.minimum.reduce([solve(*case) for case in (shifted, smaller, larger)])


def _least_solution(a, b, c):
    """The least above 0 of a r^2 + b r + c = 0, for a above 0: of two such where c is above 0."""
    return (-b - np.sign(c) * np.sqrt(b**2 - 4 * a * c)) / (2 * a)


def _published_solution(a, b, c):
    return (-b + np.sqrt(b**2 - 4 * a * c)) / 2


def paint_gaussian(heatmap: np.ndarray, row: int, column: int, radius: int) -> None:
    """Raise a map [rows, columns] to a Gaussian about a cell: 1 there, 0 beyond `radius` cells, its deviation a sixth
    of its width (2 `radius` + 1), as CornerNet's code has it."""
    rows, columns = (
        np.arange(max(place - radius, 0), min(place + radius + 1, count))
        for place, count in zip((row, column), heatmap.shape, strict=True)
    )
    square = (rows[:, None] - row) ** 2 + (columns - column) ** 2
    window = heatmap[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    np.maximum(window, np.exp(-square / (2 * ((2 * radius + 1) / 6) ** 2)), out=window)
