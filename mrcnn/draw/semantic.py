"""Pictures of the classes of pixels, over images, and of the ways to unpool."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from mrcnn.draw.canvas import new_axes, new_figure, show_image
from mrcnn.draw.instances import apply_mask, label_texts, paint_labels, paint_of, part_colors, rgb
from mrcnn.ops.masks import extract_bboxes
from mrcnn.ops.semantic import IGNORED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Pixels of which nothing is known.
GRAY = (0.5, 0.5, 0.5)


def draw_semantic(
    image: ArrayLike, classes: np.ndarray, class_names: Sequence[str] | None = None, alpha: float = 0.5
) -> np.ndarray:
    """Draw the classes of pixels into a copy of an image: a colour for each class, its border, and its name once.

    Args:
        image: [H, W, c], values 0..255; not modified.
        classes: [H, W] int, 0 for the background, which stays as it is, -1 for what is not known, which becomes gray.
        class_names: names by class id; without them labels read "class 3".
        alpha: opacity of the colours.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: the shapes disagree, or class_names are too few.
    """
    painted, names = _painted(image, classes, class_names, alpha)
    picture = Image.fromarray(painted)
    masks = [np.asarray(classes) == i for i in names]
    boxes = extract_bboxes(np.stack(masks, axis=-1)) if masks else np.zeros((0, 4))
    paint_labels(picture, boxes, [label for label, _ in names.values()], [color for _, color in names.values()])
    return np.array(picture)


def _painted(image, classes, class_names, alpha):
    """What `draw_semantic` draws, without names; and (name, colour) by the ids of the classes in it."""
    image, classes = rgb(image), np.asarray(classes)
    if classes.shape != image.shape[:2]:
        raise ValueError(f"classes have the shape {classes.shape} where the image needs {image.shape[:2]}.")
    present = [int(i) for i in np.unique(classes) if i > 0]
    palette = part_colors(max(present, default=0))
    labels, colors = label_texts(present, class_names, None), [palette[i - 1] for i in present]
    apply_mask(image, classes == IGNORED, GRAY, alpha)
    borders = _borders(classes)
    for i, color in zip(present, colors, strict=True):
        apply_mask(image, classes == i, color, alpha)
        image[borders & (classes == i)] = paint_of(color)
    return image, dict(zip(present, zip(labels, colors, strict=True), strict=True))


def _borders(classes):
    """Pixels [H, W] bool with another class to the right of them or below, or to the left or above."""
    found = np.zeros(classes.shape, bool)
    down, right = classes[1:] != classes[:-1], classes[:, 1:] != classes[:, :-1]
    found[1:] |= down
    found[:-1] |= down
    found[:, 1:] |= right
    found[:, :-1] |= right
    return found


def display_semantic(
    image: ArrayLike,
    classes: np.ndarray,
    class_names: Sequence[str] | None = None,
    title: str = "",
    ax: Axes | None = None,
    save: Path | str | None = None,
) -> Figure | SubFigure:
    """Show the classes of pixels over an image, as `draw_semantic` draws them, with their names in a legend below;
    returns the figure."""
    from matplotlib.patches import Patch

    painted, names = _painted(image, classes, class_names, alpha=0.5)
    with new_axes((7, 7), ax, save) as ax:
        show_image(ax, painted, title)
        patches = [Patch(color=color, label=label) for label, color in names.values()]
        if patches:
            ax.legend(handles=patches, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, fontsize=8)
    return ax.figure


def display_unpooling(values: ArrayLike, save: Path | str | None = None) -> Figure:
    """Show a map, its maxima in cells of 2 x 2, and the ways back from them, with the numbers in their places; returns
    the figure.

    The transposed convolution has the kernel that interpolates, as networks begin with; then they learn it.

    Args:
        values: [h, w] numbers, h and w even and small.
    """
    from keras import Model, layers, ops

    from mrcnn.layers import unpool

    before = np.asarray(values, "float32")[None, ..., None]
    pooled = ops.max_pool(before, 2)
    interpolate = layers.Input(pooled.shape[1:])
    enlarged = Model(interpolate, unpool.upscore(interpolate, 2, "upscore"))(pooled)
    maps = {
        "map": before,
        "its maxima": pooled,
        "nearest": unpool.nearest(pooled),
        "bed of nails": unpool.bed_of_nails(pooled),
        "remembered maxima": unpool.at_maxima(pooled, ops.convert_to_tensor(before)),
        "transposed convolution": enlarged,
    }
    with new_figure((9, 6.5), save) as figure:
        highest = float(before.max())
        for axes, (name, x) in zip(figure.subplots(2, 3).ravel(), maps.items(), strict=True):
            grid = np.asarray(ops.convert_to_numpy(x))[0, ..., 0]
            axes.imshow(grid, vmin=0, vmax=highest, cmap="Blues")
            for (i, j), value in np.ndenumerate(grid):
                color = "white" if value > highest / 2 else "black"
                axes.text(j, i, f"{value:.3g}", ha="center", va="center", color=color)
            axes.set(title=name, xticks=[], yticks=[])
    return figure
