"""Figures and what goes onto their axes.

Matplotlib is imported when a figure is made. A function that makes a figure

- draws on `ax` where one is given, and shows nothing;
- writes the figure to the file `save` where that is given, and shows nothing;
- else makes it pyplot's current one, so that `plt.savefig` and `plt.gca` find it, and shows it: inline in a notebook,
  in a window where Matplotlib's backend has windows, nowhere otherwise. Where it has no window, the next such figure
  takes its place in pyplot, so that a loop over many images fills no memory.
"""

from __future__ import annotations

import io
import sys
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mrcnn.draw import instances as draw
from mrcnn.draw.fonts import families
from mrcnn.draw.instances import Color
from mrcnn.ops.masks import extract_bboxes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def notebook() -> Any:
    """The IPython shell if this runs in a notebook, else None."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell if hasattr(shell, "kernel") else None


def _show_inline(figure, shell):
    import matplotlib.pyplot as plt
    from IPython.display import Image as Inline
    from IPython.display import display

    def show():
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=72, bbox_inches="tight")
        display(Inline(png.getvalue()))

    show()
    cell, inline = shell.execution_count, "inline" in plt.get_backend()

    def again():
        """A notebook echoes the value of a cell's last line, and Matplotlib's inline backend shows at the end of a cell
        what pyplot has and closes it; neither need show once more what the cell has just shown."""
        if not (shell.execution_count == cell or (inline and plt.fignum_exists(figure.number))):
            show()

    figure._ipython_display_ = again


def _has_windows():
    import matplotlib
    from matplotlib.backends import BackendFilter, backend_registry

    backend = matplotlib.get_backend().lower()
    return backend in backend_registry.list_builtin(BackendFilter.INTERACTIVE) or "ipympl" in backend


# The last figure that was made for pyplot and has no window.
_last: weakref.WeakSet[Figure] = weakref.WeakSet()


def _pyplot_figure(figsize):
    """A new figure of pyplot; without a window it takes the place of the last one."""
    import matplotlib.pyplot as plt

    if _has_windows():
        return plt.figure(figsize=figsize, layout="constrained")
    while _last:
        plt.close(_last.pop())
    figure = plt.figure(figsize=figsize, layout="constrained")
    _last.add(figure)
    return figure


@contextmanager
def new_figure(figsize: tuple[float, float], save: Path | str | None = None) -> Iterator[Figure]:
    """A new figure, written to `save`, or pyplot's and shown, when the block ends."""
    if save is not None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=figsize, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        figure.savefig(save)
        return
    import matplotlib.pyplot as plt

    figure, shell = _pyplot_figure(figsize), notebook()
    yield figure
    if _has_windows():
        plt.show()
    elif shell is not None:
        _show_inline(figure, shell)


@contextmanager
def new_axes(figsize: tuple[float, float], ax: Axes | None = None, save: Path | str | None = None) -> Iterator[Axes]:
    """`ax`, or the only axes of a new figure."""
    if ax is None:
        with new_figure(figsize, save) as figure:
            yield figure.add_subplot()
        return
    yield ax
    if save is not None:
        ax.figure.savefig(save)  # type: ignore[union-attr]


def show_image(ax: Axes, image: np.ndarray, title: str = "") -> None:
    """The picture alone, so that a data coordinate of the axes is a pixel edge of the image as in boxes."""
    height, width = image.shape[:2]
    ax.imshow(image, extent=(0, width, height, 0))
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.axis("off")
    ax.set_title(title, **families([title]))


def add_box(
    ax: Axes, box: np.ndarray, color: Color, width: float = 2, style: str = "solid", alpha: float = 0.7
) -> None:
    """The outline of a box."""
    from matplotlib.patches import Rectangle

    y1, x1, y2, x2 = box
    look: dict[str, Any] = {"linewidth": width, "linestyle": style, "alpha": alpha, "edgecolor": color}
    ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, facecolor="none", **look))


def add_outlines(ax: Axes, mask: np.ndarray, color: Color) -> None:
    """The outlines of a mask [h, w] bool."""
    from skimage.measure import find_contours

    y1, x1, y2, x2 = extract_bboxes(mask[..., None])[0]
    # A border of zeros closes the outline of a mask that touches the image's edge.
    for outline in find_contours(np.pad(mask[y1:y2, x1:x2], 1).astype("uint8"), 0.5):
        y, x = (outline + (y1 - 0.5, x1 - 0.5)).T
        ax.plot(x, y, color=color, linewidth=1)


def _scale(ax, shape):
    """Pixels of the image per pixel of the figure."""
    ax.figure.draw_without_rendering()  # gives the axes their final size
    return shape[1] / ax.get_window_extent().width


def add_poses(ax: Axes, poses: Iterable[tuple[list[Any], list[Any], float]], shape: Sequence[int]) -> None:
    """Limbs and dots, as `instances.poses` gives them, of an image of this shape."""
    from matplotlib.collections import LineCollection
    from matplotlib.patheffects import withStroke

    point = 72 / ax.figure.dpi / _scale(ax, shape)  # Matplotlib's points per pixel of the image
    for limbs, dots, width in poses:
        width = max(1.5, width * point)
        rim = draw.rim(width)
        lines = [np.add((start, end), 0.5) for start, end, _ in limbs]
        effects = [withStroke(linewidth=width + 2 * rim, foreground="black", capstyle="round")]
        style: dict[str, Any] = {
            "colors": [color for _, _, color in limbs],
            "capstyle": "round",
            "path_effects": effects,
        }
        ax.add_collection(LineCollection(lines, linewidths=width, **style), autolim=False)
        x, y = np.array([xy for xy, _, _ in dots]).reshape(-1, 2).T + 0.5
        style = {"facecolors": [color for _, _, color in dots], "edgecolors": "black", "linewidths": rim}
        ax.scatter(x, y, (2 * width + rim) ** 2, zorder=2, **style)  # as limbs, above boxes and below labels


def add_labels(
    ax: Axes,
    boxes: np.ndarray,
    labels: Sequence[str],
    colors: Sequence[Color],
    shape: Sequence[int],
    size: float = 11,
) -> None:
    """The labels of boxes of an image of this shape, where `instances.place_labels` puts them; none for empty texts."""
    chosen = [i for i, label in enumerate(labels) if label]
    if not chosen:
        return
    scale = _scale(ax, shape)
    box = {"boxstyle": f"square,pad={draw.PADDING}", "edgecolor": "none"}
    style: dict[str, Any] = {"size": size, "ha": "left", "va": "top", "in_layout": False, "clip_on": True}
    style |= families(labels)
    texts = [
        ax.text(0, 0, labels[i], color=draw.text_color(colors[i]), bbox={**box, "facecolor": colors[i][:3]}, **style)
        for i in chosen
    ]
    padding = draw.PADDING * size * ax.figure.dpi / 72 * scale
    sizes = np.zeros((len(labels), 2))
    sizes[chosen] = [text.get_window_extent().size[::-1] * scale + 2 * padding for text in texts]
    for text, place in zip(texts, draw.place_labels(boxes, sizes, shape)[chosen], strict=True):
        text.set_position(place[1::-1] + padding)
        text.set_visible(place.any())
