"""Figures of images, boxes, masks, detections, evaluations and weights.

Boxes are (y1, x1, y2, x2) in pixels, masks [h, w, n], colours (r, g, b) in 0..1, keypoints (x, y, score) in pixels, the
centre of the upper left one being (0, 0). Matplotlib is imported when a figure is made, and its global state stays as
it was. A function that makes a figure returns it and

- draws on `ax` where one is given, and shows nothing;
- writes the figure to the file `save` where that is given, and shows nothing;
- else shows it: inline in a notebook, in a window where Matplotlib's backend has windows, nowhere otherwise.

`draw_instances` gives an image instead, without Matplotlib.
"""

from __future__ import annotations

import html
import io
import math
import sys
from collections.abc import Iterable, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mrcnn import utils
from mrcnn.draw import instances as draw
from mrcnn.draw.instances import Color, apply_mask, draw_box, draw_instances, random_colors  # noqa: F401  (old names)

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from mrcnn.models.mask_rcnn import MaskRCNN

NOTHING = "No instances to display."
NOTHING_FOUND = f"""{NOTHING} The usual reasons:
- the weights are untrained, or not those of this model;
- the threshold DETECTION_MIN_CONFIDENCE is too high;
- the image is unlike the training images, or its objects are too small."""


# Figures


def _notebook():
    """The IPython shell if this runs in a notebook, else None."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell if hasattr(shell, "kernel") else None


def _show_inline(figure, shell):
    from IPython.display import Image as Inline
    from IPython.display import display

    def show():
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=72, bbox_inches="tight")
        display(Inline(png.getvalue()))

    show()
    # A notebook echoes the value of a cell's last line; the cell that has just shown the figure need not show it again.
    cell = shell.execution_count
    figure._ipython_display_ = lambda: None if shell.execution_count == cell else show()


@contextmanager
def _figure(figsize, save=None):
    """A new figure, written to `save` or shown when the block ends."""
    import matplotlib
    from matplotlib.backends import BackendFilter, backend_registry
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shell = _notebook()
    windows = backend_registry.list_builtin(BackendFilter.INTERACTIVE)
    if save is None and shell is None and matplotlib.get_backend().lower() in windows:
        import matplotlib.pyplot as plt

        yield plt.figure(figsize=figsize, layout="constrained")
        plt.show()
        return
    figure = Figure(figsize=figsize, layout="constrained")
    FigureCanvasAgg(figure)
    yield figure
    if save is not None:
        figure.savefig(save)
    elif shell is not None:
        _show_inline(figure, shell)


@contextmanager
def _axes(figsize, ax=None, save=None):
    """`ax`, or the only axes of a new figure."""
    with _figure(figsize, save) if ax is None else nullcontext() as figure:
        yield ax if figure is None else figure.add_subplot()
    if ax is not None and save is not None:
        ax.figure.savefig(save)


def _show_image(ax, image, title=""):
    """The picture alone, so that a data coordinate of the axes is a pixel edge of the image as in boxes."""
    height, width = image.shape[:2]
    ax.imshow(image, extent=(0, width, height, 0))
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.axis("off")
    ax.set_title(title)


def _add_box(ax, box, color, width=2, style="solid", alpha=0.7):
    from matplotlib.patches import Rectangle

    y1, x1, y2, x2 = box
    style = {"linewidth": width, "linestyle": style, "alpha": alpha, "edgecolor": color, "facecolor": "none"}
    ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, **style))


def _add_outlines(ax, mask, color):
    from skimage.measure import find_contours

    y1, x1, y2, x2 = utils.extract_bboxes(mask[..., None])[0]
    # A border of zeros closes the outline of a mask that touches the image's edge.
    for outline in find_contours(np.pad(mask[y1:y2, x1:x2], 1).astype("uint8"), 0.5):
        y, x = (outline + (y1 - 0.5, x1 - 0.5)).T
        ax.plot(x, y, color=color, linewidth=1)


def _scale(ax, shape):
    """Pixels of the image per pixel of the figure."""
    ax.figure.draw_without_rendering()  # gives the axes their final size
    return shape[1] / ax.get_window_extent().width


def _add_poses(ax, poses, shape):
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


def _add_labels(ax, boxes, labels, colors, shape, size=11):
    chosen = [i for i, label in enumerate(labels) if label]
    if not chosen:
        return
    scale = _scale(ax, shape)
    box = {"boxstyle": f"square,pad={draw.PADDING}", "edgecolor": "none"}
    style = {"size": size, "ha": "left", "va": "top", "in_layout": False, "clip_on": True}
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


# Instances


def display_instances(
    image: ArrayLike,
    boxes: ArrayLike,
    masks: ArrayLike | None,
    class_ids: Sequence[int] | np.ndarray,
    class_names: Sequence[str] | None,
    scores: Sequence[float] | np.ndarray | None = None,
    title: str = "",
    figsize: tuple[float, float] = (16, 16),
    ax: Axes | None = None,
    show_mask: bool = True,
    show_bbox: bool = True,
    colors: Sequence[Color] | None = None,
    captions: Sequence[str] | None = None,
    save: Path | str | None = None,
    threshold: float = draw.SCORE_THRESHOLD,
    large_first: bool = True,
) -> Figure | SubFigure:
    """Show an image with its instances, each with one colour for mask, box and label.

    Without instances, a caption says so and, in a figure of one picture, names the usual reasons.

    Args:
        image: [h, w, c], values 0..255.
        boxes: [n, 4] pixels; rows of zeros are padding and skipped.
        masks: [h, w, n] bool, or None.
        class_ids: [n] ints, indices of `class_names`.
        scores: [n]; boxes get thicker with them (`line_width`). None for ground truth.
        title: above the picture.
        figsize: inches.
        colors: one colour for each instance instead of `random_colors`.
        captions: n labels instead of class name and score.
        threshold: the score from which line widths count, usually DETECTION_MIN_CONFIDENCE; it hides nothing.
        large_first: paint large instances first, so that small ones show; else in the order given.

    Returns:
        The Matplotlib figure.

    Raises:
        ValueError: the shapes of boxes, masks and class_ids disagree, or colors or class_names are too few.
    """
    image, boxes = draw.rgb(image), np.asarray(boxes)
    masks = None if masks is None else np.asarray(masks)
    draw.check(image, boxes, masks, class_ids)
    colors = draw.instance_colors(colors, len(class_ids))
    labels = draw.label_texts(class_ids, class_names, scores) if captions is None else captions
    shown = [i for i in range(len(class_ids)) if boxes[i].any()]
    layers = draw.back_to_front(boxes, shown) if large_first else shown
    with _axes(figsize, ax, save) as ax:
        if show_mask and masks is not None:
            for i in layers:
                apply_mask(image, masks[..., i], colors[i])
                _add_outlines(ax, masks[..., i], colors[i])
        _show_image(ax, image, title)
        if show_bbox:
            for i in layers:
                _add_box(ax, boxes[i], colors[i], draw.line_width(None if scores is None else scores[i], threshold))
        _add_labels(ax, boxes[shown], [labels[i] for i in shown], [colors[i] for i in shown], image.shape)
        if not shown:
            if len(ax.figure.axes) == 1:
                ax.text(0, -0.01, NOTHING_FOUND, size=14, va="top", transform=ax.transAxes)
            else:  # beside others there is no room under it
                style: dict[str, Any] = {"size": 11, "backgroundcolor": "white", "clip_on": True}
                ax.text(0.03, 0.03, NOTHING, transform=ax.transAxes, **style)
    return ax.figure


def display_keypoints(
    image: ArrayLike,
    boxes: ArrayLike,
    keypoints: ArrayLike,
    class_ids: Sequence[int] | np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    scores: Sequence[float] | np.ndarray | None = None,
    skeleton: Sequence[Sequence[int]] | None = None,
    threshold: float = draw.KEYPOINT_THRESHOLD,
    title: str = "",
    figsize: tuple[float, float] = (16, 16),
    ax: Axes | None = None,
    save: Path | str | None = None,
    show_bbox: bool = True,
    colors: Sequence[Color] | None = None,
) -> Figure | SubFigure:
    """Show an image with the points and limbs of its instances, their boxes and labels.

    A limb has the same colour in all instances, so that left and right can be told apart.

    Args:
        image: [h, w, c], values 0..255.
        boxes: [n, 4] pixels; rows of zeros are padding and skipped.
        keypoints: [n, J, 3] of (x, y, score) in pixels, or ground truth with COCO's v of 0, 1 and 2 for the score: a
            point with v above 0, hidden ones too, passes every threshold up to 1.
        class_ids: [n] ints, or None for labels of scores alone, or none.
        class_names: names by class id; without them labels read "class 3".
        scores: [n] of the instances; None for ground truth.
        skeleton: [(i, j)] the two points of each limb, from 0; () for dots alone. None is COCO's skeleton where there
            are as many points as COCO's persons have, else ().
        threshold: the lowest score of points to show, and of limbs at both ends. Points of score 0 are never shown.
        title: above the picture.
        figsize: inches.
        colors: one colour for each instance's box and label instead of `random_colors`.

    Returns:
        The Matplotlib figure.

    Raises:
        ValueError: the shapes of boxes, keypoints and class_ids disagree, colors or class_names are too few, or the
            skeleton has a point that the keypoints have not.
    """
    boxes = np.asarray(boxes).reshape(-1, 4)
    poses = draw.poses(keypoints, boxes, skeleton, threshold)
    if class_ids is None:
        class_ids = np.zeros(len(boxes), int)
        captions = [""] * len(boxes) if scores is None else [f"{score:.3f}" for score in scores]
    else:
        captions = draw.label_texts(class_ids, class_names, scores)
    options: dict[str, Any] = {"show_bbox": show_bbox, "colors": colors, "captions": captions}
    with _axes(figsize, ax, save) as ax:
        # Without the scores, whose thick lines would cover points.
        display_instances(image, boxes, None, class_ids, class_names, title=title, ax=ax, **options)
        _add_poses(ax, poses, np.shape(image))
    return ax.figure


# Images and the stages of the model


def display_images(
    images: Sequence[ArrayLike],
    titles: Sequence[str] | None = None,
    cols: int = 4,
    cmap: Any = None,
    norm: Any = None,
    interpolation: str | None = None,
    save: Path | str | None = None,
) -> Figure:
    """Show a list of images [h, w] or [h, w, 3] in a grid of `cols` columns; returns the figure.

    `cmap`, `norm` and `interpolation` are those of Matplotlib's `imshow`.
    """
    titles = [""] * len(images) if titles is None else titles
    rows = max(1, math.ceil(len(images) / cols))
    with _figure((14, 14 * rows / cols + 0.3), save) as figure:
        for i, (image, title) in enumerate(zip(images, titles, strict=True)):
            ax = figure.add_subplot(rows, cols, i + 1)
            image = np.asarray(image)
            ax.imshow(image if image.ndim == 2 else draw.rgb(image), cmap=cmap, norm=norm, interpolation=interpolation)
            ax.set_title(title, fontsize=9)
            ax.axis("off")
    return figure


def display_top_masks(
    image: np.ndarray,
    mask: np.ndarray,
    class_ids: ArrayLike,
    class_names: Sequence[str],
    limit: int = 4,
    save: Path | str | None = None,
) -> Figure:
    """Show the image and, side by side, the masks of the `limit` classes that cover most pixels; returns the figure.

    Args:
        image: [h, w, c].
        mask: [h, w, n].
        class_ids: [n].
    """
    class_ids = np.asarray(class_ids)
    # Numbers instead of ones, so that neighbours of one class can be told apart.
    layers = {c: (mask[..., class_ids == c] * np.arange(1, 1 + (class_ids == c).sum())).max(-1) for c in set(class_ids)}
    top = sorted(layers, key=lambda c: (-np.count_nonzero(layers[c]), c))[:limit]
    empty = [np.zeros(image.shape[:2], "uint8")] * (limit - len(top))
    images = [image, *(layers[c] for c in top), *empty]
    titles = [f"H x W={image.shape[0]}x{image.shape[1]}", *(class_names[c] for c in top), *["-"] * len(empty)]
    return display_images(images, titles, cols=limit + 1, cmap="Blues_r", save=save)


def draw_boxes(
    image: ArrayLike,
    boxes: np.ndarray | None = None,
    refined_boxes: np.ndarray | None = None,
    masks: np.ndarray | None = None,
    captions: Iterable[str] | None = None,
    visibilities: Sequence[int] | np.ndarray | None = None,
    title: str = "",
    ax: Axes | None = None,
    save: Path | str | None = None,
) -> Figure | SubFigure:
    """Show boxes before and after refinement, with a line from the one to the other; returns the figure.

    Args:
        image: [h, w, c].
        boxes: [n, 4] pixels, or None; rows of zeros are skipped here and in `refined_boxes`.
        refined_boxes: [n, 4] pixels, solid lines, or None.
        masks: [h, w, n] or None.
        captions: n labels, at the refined box where there is one.
        visibilities: [n] of 0 (gray, dotted, faint), 1 (coloured, dotted) and 2 (coloured, solid); 1 where None.

    Raises:
        ValueError: neither boxes nor refined boxes.
    """
    given = refined_boxes if boxes is None else boxes
    if given is None:
        raise ValueError("draw_boxes needs boxes, refined_boxes or both.")
    n = len(given)
    before = np.zeros((n, 4)) if boxes is None else np.asarray(boxes)
    after = np.zeros((n, 4)) if refined_boxes is None else np.asarray(refined_boxes)
    visibilities = np.ones(n, int) if visibilities is None else visibilities
    colors = [color if seen else (0.5, 0.5, 0.5) for color, seen in zip(random_colors(n), visibilities, strict=True)]
    image = draw.rgb(image)
    with _axes((12, 12), ax, save) as ax:
        if masks is not None:
            for i in range(n):
                apply_mask(image, masks[..., i], colors[i])
                _add_outlines(ax, masks[..., i], colors[i])
        _show_image(ax, image, title)
        for i in range(n):
            if before[i].any():
                style, alpha = [("dotted", 0.5), ("dotted", 1), ("solid", 1)][visibilities[i]]
                _add_box(ax, before[i], colors[i], 2, style, alpha)
            if after[i].any():
                _add_box(ax, after[i], colors[i], 2, alpha=1)
            if before[i].any() and after[i].any():
                ax.plot([before[i][1], after[i][1]], [before[i][0], after[i][0]], color=colors[i])
        if captions is not None:
            labelled = np.where(after.any(axis=1, keepdims=True), after, before)
            texts = [caption if box.any() else "" for caption, box in zip(captions, labelled, strict=True)]
            _add_labels(ax, labelled, texts, colors, image.shape)
    return ax.figure


def draw_rois(
    image: np.ndarray,
    rois: np.ndarray,
    refined_rois: np.ndarray,
    mask: np.ndarray,
    class_ids: np.ndarray,
    class_names: Sequence[str],
    limit: int = 10,
    ax: Axes | None = None,
    save: Path | str | None = None,
) -> Figure | SubFigure:
    """Show up to `limit` regions of interest, chosen at random but always alike; returns the figure.

    A positive one (class id above 0) comes dotted, with its refined box, mask and class name; a negative one gray.

    Args:
        image: [h, w, c].
        rois, refined_rois: [n, 4] pixels.
        mask: [n, mask height, mask width], as the mask head gives them.
        class_ids: [n].
    """
    class_ids = np.asarray(class_ids)
    chosen = np.sort(np.random.default_rng(0).permutation(len(rois))[:limit])
    positive = class_ids[chosen] > 0
    limits = (*image.shape[:2], *image.shape[:2])
    rois, refined = (np.clip(np.asarray(boxes)[chosen].astype(int), 0, limits) for boxes in (rois, refined_rois))
    masks = np.zeros((*image.shape[:2], len(chosen)), bool)
    for j in np.flatnonzero(positive & (rois[:, 2] > rois[:, 0]) & (rois[:, 3] > rois[:, 1])):
        masks[..., j] = utils.unmold_mask(mask[chosen[j]], rois[j], image.shape)
    captions = [class_names[class_ids[i]] if class_ids[i] > 0 else "" for i in chosen]
    count = int((class_ids > 0).sum())
    title = f"{len(chosen)} of {len(class_ids)} RoIs; {count} are positive ({count / max(len(class_ids), 1):.0%})"
    return draw_boxes(image, rois, refined * positive[:, None], masks, captions, positive.astype(int), title, ax, save)


# Evaluation


def display_differences(
    image: ArrayLike,
    gt_box: np.ndarray,
    gt_class_id: np.ndarray,
    gt_mask: np.ndarray,
    pred_box: ArrayLike,
    pred_class_id: ArrayLike,
    pred_score: ArrayLike,
    pred_mask: np.ndarray,
    class_names: Sequence[str],
    title: str = "",
    ax: Axes | None = None,
    show_mask: bool = True,
    show_box: bool = True,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.5,
    save: Path | str | None = None,
) -> Figure | SubFigure:
    """Show ground truth (green) and predictions (red) in one picture; returns the figure.

    A prediction's label is its score / its IoU: with the ground truth that it matched, or else the largest it has.
    """
    pred_box, pred_class_id, pred_score = np.asarray(pred_box), np.asarray(pred_class_id), np.asarray(pred_score)
    _, pred_match, overlaps = utils.compute_matches(
        gt_box, gt_class_id, gt_mask, pred_box, pred_class_id, pred_score, pred_mask, iou_threshold, score_threshold
    )
    # The matches come without padding and in order of falling score.
    order = np.flatnonzero(pred_box.any(axis=1)) if len(pred_box) else np.zeros(0, int)
    order = order[np.argsort(pred_score[order], kind="stable")[::-1]]
    ious = [
        row[int(match)] if match > -1 else max(row, default=0) for row, match in zip(overlaps, pred_match, strict=True)
    ]
    captions = [""] * len(gt_box) + [
        f"{score:.2f} / {iou:.2f}" for score, iou in zip(pred_score[order], ious, strict=True)
    ]
    return display_instances(
        image,
        np.concatenate([np.reshape(gt_box, (-1, 4)), pred_box[order].reshape(-1, 4)]),
        np.concatenate([gt_mask, pred_mask[..., order]], axis=-1),
        np.concatenate([gt_class_id, pred_class_id[order]]).astype(int),
        class_names,
        title=title or "Ground truth (green) and predictions (red); labels: score / IoU",
        ax=ax,
        show_mask=show_mask,
        show_bbox=show_box,
        colors=[(0, 1, 0, 0.8)] * len(gt_box) + [(1, 0, 0, 0.8)] * len(order),
        captions=captions,
        save=save,
        large_first=False,  # where both are, the color is always the same
    )


def plot_precision_recall(
    AP: float, precisions: ArrayLike, recalls: ArrayLike, ax: Axes | None = None, save: Path | str | None = None
) -> Figure | SubFigure:
    """Plot precisions [m] over recalls [m], with the AP at IoU 0.5 in the title; returns the figure."""
    with _axes((6, 5), ax, save) as ax:
        ax.plot(recalls, precisions)
        ax.set(title=f"Precision-Recall Curve. AP@50 = {AP:.3f}", xlabel="Recall", ylabel="Precision")
        ax.set(xlim=(0, 1.1), ylim=(0, 1.1))
    return ax.figure


def plot_overlaps(
    gt_class_ids: np.ndarray,
    pred_class_ids: np.ndarray,
    pred_scores: Sequence[float] | np.ndarray,
    overlaps: np.ndarray,
    class_names: Sequence[str],
    threshold: float = 0.5,
    ax: Axes | None = None,
    save: Path | str | None = None,
) -> Figure | SubFigure:
    """Show the IoU of every prediction with every ground truth as a grid; returns the figure.

    A cell above `threshold` says whether the classes are the same ("match") or not ("wrong").

    Args:
        gt_class_ids: [g]; zeros are padding, here and in `pred_class_ids`.
        pred_class_ids: [p].
        pred_scores: [p].
        overlaps: [p, g] IoU.
    """
    gt_class_ids, pred_class_ids = (ids[ids != 0] for ids in (np.asarray(gt_class_ids), np.asarray(pred_class_ids)))
    rows, columns = len(pred_class_ids), len(gt_class_ids)
    overlaps = np.asarray(overlaps)[:rows, :columns]
    with _axes((max(4, 2 + columns), max(3, 2 + 0.5 * rows)), ax, save) as ax:
        if overlaps.size:
            ax.imshow(overlaps, interpolation="nearest", cmap="Blues", vmin=0, vmax=1, aspect="auto")
        labels = draw.label_texts(pred_class_ids, class_names, pred_scores[:rows])
        ax.set_yticks(range(rows), labels)
        ax.set_xticks(range(columns), [class_names[i] for i in gt_class_ids], rotation=90)
        for (i, j), iou in np.ndenumerate(overlaps):
            verdict = "match" if gt_class_ids[j] == pred_class_ids[i] else "wrong"
            text = f"{iou:.3f}\n{verdict}" if iou > threshold else f"{iou:.3f}"
            ax.text(j, i, text, ha="center", va="center", size=9, color="white" if iou > 0.5 else "black")
        ax.set(xlabel="Ground truth", ylabel="Predictions")
        ax.set(xlim=(-0.5, max(columns, 1) - 0.5), ylim=(max(rows, 1) - 0.5, -0.5))  # also where there is no cell
    return ax.figure


# Tables


def display_table(table: Iterable[Iterable[Any]]) -> None:
    """Show rows of values, an HTML table in a notebook and aligned text elsewhere."""
    table = [[str(cell) for cell in row] for row in table]
    if _notebook() is None:
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    from IPython.display import HTML, display

    rows = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in table)
    display(HTML("<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"))


def weight_stats(model: MaskRCNN | keras.Model) -> list[tuple[str, ...]]:
    """Rows (name, shape, min, max, std) of every weight of a `MaskRCNN` or Keras model, nested models too.

    The name ends in "*** dead?" where the values of a kernel are all but equal (vectors such as biases begin so), and
    in "*** overflow?" where one is 1000 or more in size, or not finite. The first row is the header.
    """
    rows: list[tuple[str, ...]] = [("WEIGHT NAME", "SHAPE", "MIN", "MAX", "STD")]
    keras_model: Any = getattr(model, "keras_model", model)
    for weight in keras_model.weights:
        values = np.asarray(weight.numpy(), dtype="float32")
        low, high, std = values.min(), values.max(), values.std()
        dead = values.ndim > 1 and values.size > 1 and std < 1e-8
        overflow = not max(-low, high) < 1000  # written so that NaN counts
        name = weight.path + (" *** dead?" if dead else "") + (" *** overflow?" if overflow else "")
        rows.append((name, str(tuple(values.shape)), *(f"{value:+10.4f}" for value in (low, high, std))))
    return rows


def display_weight_stats(model: MaskRCNN | keras.Model) -> None:
    """Show the table of `weight_stats`."""
    display_table(weight_stats(model))
