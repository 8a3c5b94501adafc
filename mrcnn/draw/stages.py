"""Figures of how a detector works: its parts and the way through them, and where RoIs read a map.

They are shown, saved and returned as in `mrcnn.draw.figures`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mrcnn.draw.canvas import add_box, new_axes
from mrcnn.draw.instances import Color
from mrcnn.ops.roi_align import SAMPLINGS
from mrcnn.ops.roi_pool import parts as pool_parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Of boxes and samples, on maps in Matplotlib's colours, which have little red.
RED = (1.0, 0.2, 0.2)


def draw_diagram(
    parts: Mapping[str, tuple[float, float, str]],
    arrows: Iterable[tuple[str, str]],
    colors: Mapping[str, str] | None = None,
    ax: Axes | None = None,
    save: Path | str | None = None,
) -> Figure | SubFigure:
    """Show parts as boxes of text with arrows between them; returns the figure.

    Args:
        parts: by name, the column and the row of the box's middle, rows counting downwards, and its text.
        arrows: (from, to) of names.
        colors: of boxes by name; white where there is none.

    Raises:
        KeyError: an arrow names no part.
    """
    x, y = np.array([part[:2] for part in parts.values()]).T
    size = 2.3 * (np.ptp(x) + 1), 1.1 * (np.ptp(y) + 1)
    with new_axes(size, ax, save) as ax:
        ax.set(xlim=(x.min() - 0.5, x.max() + 0.5), ylim=(y.max() + 0.5, y.min() - 0.5))
        ax.axis("off")
        patches = {}
        for name, (column, row, text) in parts.items():
            style = {"boxstyle": "round,pad=0.4", "facecolor": (colors or {}).get(name, "white"), "edgecolor": "black"}
            label = ax.text(column, row, text, ha="center", va="center", size=10, bbox=style)
            patches[name] = label.get_bbox_patch()
        for start, end in arrows:
            ax.annotate(
                "",
                parts[end][:2],
                parts[start][:2],
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": "black",
                    "patchA": patches[start],
                    "patchB": patches[end],
                    "shrinkA": 1,
                    "shrinkB": 1,
                },
            )
    return ax.figure


def draw_sampling(
    values: np.ndarray,
    box: ArrayLike,
    shape: Sequence[int],
    sampling: str = "corners",
    color: Color = RED,
    title: str = "",
    norm: Any = None,
    ax: Axes | None = None,
    save: Path | str | None = None,
) -> Figure | SubFigure:
    """Show where RoIAlign or RoI pooling reads a map for one box: points between the cells, or blocks of whole cells.

    Args:
        values: [h, w] the map; of it the cells about the box are shown, each a square.
        box: [4] normalised to the map; dotted, as exactly as it is.
        shape: (rows, columns) of the grid.
        sampling: as of `PyramidROIAlign`.
        norm: of the map's colours, as of Matplotlib's `imshow`.
    """
    size = np.asarray(values.shape[:2])
    # Cell k is drawn about k; where that is in the box's coordinates is the sampling's convention.
    scale, shift = {"corners": (size - 1, 0.0), "aligned": (size, 0.5), "centres": (size, 0.5)}.get(
        sampling, (size, 0.0)
    )
    box = np.asarray(box, "float32")
    edges = box * np.tile(scale, 2) - shift
    axes = [(box[i], box[i + 2], size[i].astype("int32"), shape[i]) for i in (0, 1)]
    with new_axes((5, 5), ax, save) as ax:
        ax.imshow(values, norm=norm)
        if sampling == "pool":
            down, across = (np.stack(_numbers(pool_parts, *axis), axis=-1) - 0.5 for axis in axes)
            for i, (y1, y2) in enumerate(down):
                for j, (x1, x2) in enumerate(across):
                    inset = 0.1 * ((i + j) % 2 + 1)  # neighbours may share cells: both outlines are seen
                    add_box(ax, np.array([y1 + inset, x1 + inset, y2 - inset, x2 - inset]), color, 1, alpha=0.9)
        else:
            down, across = (
                np.concatenate([np.ravel(np.asarray(place[0])) for place in _places(sampling, *axis)]) for axis in axes
            )
            ax.plot(*(x.ravel() for x in np.meshgrid(across, down)), ".", color=color, markersize=5)
        add_box(ax, edges, color, 2, "dotted", 1)
        ax.set(xlim=(edges[1] - 2, edges[3] + 2), ylim=(edges[2] + 2, edges[0] - 2), title=title)
        ax.axis("off")
    return ax.figure


def _numbers(function, start, end, size, count):
    return [np.asarray(x)[0, 0] for x in function(*(np.reshape(x, (1, 1)) for x in (start, end, size)), count)]


def _places(sampling, start, end, size, count):
    return SAMPLINGS[sampling](*(np.reshape(x, (1, 1)) for x in (start, end, size)), count)
