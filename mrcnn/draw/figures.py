"""Figures of images, boxes, masks, detections and their differences from the truth.

Boxes are (y1, x1, y2, x2) in pixels, masks [h, w, n], colours (r, g, b) in 0..1, keypoints (x, y, score) in pixels, the
centre of the upper left one being (0, 0). A function that makes a figure returns it and

- draws on `ax` where one is given, and shows nothing;
- writes the figure to the file `save` where that is given, and shows nothing;
- else makes it pyplot's current one and shows it: inline in a notebook, in a window where Matplotlib's backend has
  windows, nowhere otherwise.

`draw_instances` gives an image instead, without Matplotlib.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mrcnn.draw import instances as draw
from mrcnn.draw.canvas import add_box, add_labels, add_outlines, add_poses, new_axes, new_figure, show_image
from mrcnn.draw.fonts import families
from mrcnn.draw.instances import Color, apply_mask
from mrcnn.evaluate.metrics import compute_matches
from mrcnn.ops.masks import unmold_mask
from mrcnn.settings.checks import check_arguments

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

NOTHING = "No instances to display."
NOTHING_FOUND = f"""{NOTHING} The usual reasons:
- the weights are untrained, or not those of this model;
- the threshold DETECTION_MIN_CONFIDENCE is too high;
- the image is unlike the training images, or its objects are too small."""


# Instances


@check_arguments
def display_instances(
    image: ArrayLike,
    boxes: ArrayLike,
    masks: ArrayLike | None,
    class_ids: Sequence[int] | np.ndarray,
    class_names: Sequence[str] | None,
    scores: Sequence[float | None] | np.ndarray | None = None,
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
    with new_axes(figsize, ax, save) as ax:
        if show_mask and masks is not None:
            _add_masks(ax, image, masks, colors, layers)
        show_image(ax, image, title)
        if show_bbox:
            for i in layers:
                add_box(ax, boxes[i], colors[i], draw.line_width(None if scores is None else scores[i], threshold))
        add_labels(ax, boxes[shown], [labels[i] for i in shown], [colors[i] for i in shown], image.shape)
        if not shown:
            _say_nothing_found(ax)
    return ax.figure


def _add_masks(ax, image, masks, colors, order):
    """Masks into the image, and their outlines onto the axes."""
    for i in order:
        apply_mask(image, masks[..., i], colors[i])
        add_outlines(ax, masks[..., i], colors[i])


def _say_nothing_found(ax):
    if len(ax.figure.axes) == 1:
        ax.text(0, -0.01, NOTHING_FOUND, size=14, va="top", transform=ax.transAxes)
    else:  # beside others there is no room under it
        ax.text(0.03, 0.03, NOTHING, size=11, backgroundcolor="white", clip_on=True, transform=ax.transAxes)


@check_arguments
def display_keypoints(
    image: ArrayLike,
    boxes: ArrayLike,
    keypoints: ArrayLike,
    class_ids: Sequence[int] | np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    scores: Sequence[float | None] | np.ndarray | None = None,
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
        captions = [""] * len(boxes) if scores is None else [draw.score_text(score) for score in scores]
    else:
        captions = draw.label_texts(class_ids, class_names, scores)
    options: dict[str, Any] = {"show_bbox": show_bbox, "colors": colors, "captions": captions}
    with new_axes(figsize, ax, save) as ax:
        # Without the scores, whose thick lines would cover points.
        display_instances(image, boxes, None, class_ids, class_names, title=title, ax=ax, **options)
        add_poses(ax, poses, np.shape(image))
    return ax.figure


# Images and the stages of the model


@check_arguments
def display_images(
    images: Sequence[ArrayLike],
    titles: Sequence[str] | None = None,
    cols: int = 4,
    cmap: Any = None,
    norm: Any = None,
    interpolation: str | None = None,
    save: Path | str | None = None,
    one_scale: bool = False,
    bar: str | None = None,
) -> Figure:
    """Show a list of images [h, w] or [h, w, 3] in a grid of `cols` columns; returns the figure.

    Args:
        titles: of the images; the last have none where these are fewer.
        cmap, norm, interpolation: those of Matplotlib's `imshow`.
        one_scale: a pixel is as large in every image.
        bar: what the values of the images [h, w] mean, beside a colour bar; `norm` gives them one scale.
    """
    titles = [*([] if titles is None else titles), *[""] * len(images)][: len(images)]
    rows, scaled = max(1, math.ceil(len(images) / cols)), None
    height, width = np.max([(0, 0), *(np.shape(image)[:2] for image in images)], axis=0)
    with new_figure((14, 14 * rows / cols + 0.3), save) as figure:
        for i, (image, title) in enumerate(zip(images, titles, strict=True)):
            ax = figure.add_subplot(rows, cols, i + 1)
            image = np.asarray(image)
            flat = image.ndim == 2
            shown = ax.imshow(image if flat else draw.rgb(image), cmap=cmap, norm=norm, interpolation=interpolation)
            scaled = shown if flat else scaled
            if one_scale:
                ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
            ax.set_title(title, fontsize=9, **families([title]))
            ax.axis("off")
        if bar is not None and scaled is not None:
            figure.colorbar(scaled, ax=figure.axes, label=bar, fraction=0.02)
    return figure


@check_arguments
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
    titles = [
        f"H x W={image.shape[0]}x{image.shape[1]}",
        *draw.label_texts(top, class_names, None),
        *["-"] * len(empty),
    ]
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
    colors: Sequence[Color] | None = None,
) -> Figure | SubFigure:
    """Show boxes before and after refinement, with a line from the one to the other; returns the figure.

    Args:
        image: [h, w, c].
        boxes: [n, 4] pixels, or None; rows of zeros are skipped here and in `refined_boxes`.
        refined_boxes: [n, 4] pixels, solid lines, or None.
        masks: [h, w, n] or None.
        captions: n labels, at the refined box where there is one.
        visibilities: [n] of 0 (gray, dotted, faint), 1 (coloured, dotted) and 2 (coloured, solid); 1 where None.
        colors: one colour for each box instead of `random_colors`.

    Raises:
        ValueError: neither boxes nor refined boxes, or too few colors.
    """
    given = refined_boxes if boxes is None else boxes
    if given is None:
        raise ValueError("draw_boxes needs boxes, refined_boxes or both.")
    n = len(given)
    before = np.zeros((n, 4)) if boxes is None else np.asarray(boxes)
    after = np.zeros((n, 4)) if refined_boxes is None else np.asarray(refined_boxes)
    visibilities = np.ones(n, int) if visibilities is None else visibilities
    own = draw.instance_colors(colors, n)[:n]
    colors = [color if seen else (0.5, 0.5, 0.5) for color, seen in zip(own, visibilities, strict=True)]
    image = draw.rgb(image)
    with new_axes((12, 12), ax, save) as ax:
        if masks is not None:
            _add_masks(ax, image, masks, colors, range(n))
        show_image(ax, image, title)
        for i in range(n):
            if before[i].any():
                style, alpha = [("dotted", 0.5), ("dotted", 1), ("solid", 1)][visibilities[i]]
                add_box(ax, before[i], colors[i], 2, style, alpha)
            if after[i].any():
                add_box(ax, after[i], colors[i], 2, alpha=1)
            if before[i].any() and after[i].any():
                ax.plot([before[i][1], after[i][1]], [before[i][0], after[i][0]], color=colors[i])
        if captions is not None:
            labelled = np.where(after.any(axis=1, keepdims=True), after, before)
            texts = [caption if box.any() else "" for caption, box in zip(captions, labelled, strict=True)]
            add_labels(ax, labelled, texts, colors, image.shape)
    return ax.figure


@check_arguments
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
    rois, refined = (
        np.clip(np.rint(np.asarray(boxes)[chosen]).astype(int), 0, limits) for boxes in (rois, refined_rois)
    )
    masks = np.zeros((*image.shape[:2], len(chosen)), bool)
    for j in np.flatnonzero(positive & (rois[:, 2] > rois[:, 0]) & (rois[:, 3] > rois[:, 1])):
        masks[..., j] = unmold_mask(mask[chosen[j]], rois[j], image.shape)
    named = draw.label_texts([class_ids[i] for i in chosen], class_names, None)
    captions = [name if class_ids[i] > 0 else "" for i, name in zip(chosen, named, strict=True)]
    count = int((class_ids > 0).sum())
    title = f"{len(chosen)} of {len(class_ids)} RoIs; {count} are positive ({count / max(len(class_ids), 1):.0%})"
    return draw_boxes(image, rois, refined * positive[:, None], masks, captions, positive.astype(int), title, ax, save)


@check_arguments
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

    A prediction's label is its class and score / its IoU: with the ground truth that it matched, or else the largest it
    has.
    """
    pred_box, pred_class_id, pred_score = np.asarray(pred_box), np.asarray(pred_class_id), np.asarray(pred_score)
    _, pred_match, overlaps = compute_matches(
        gt_box, gt_class_id, gt_mask, pred_box, pred_class_id, pred_score, pred_mask, iou_threshold, score_threshold
    )
    # The matches come without padding and in order of falling score.
    order = np.flatnonzero(pred_box.any(axis=1)) if len(pred_box) else np.zeros(0, int)
    order = order[np.argsort(pred_score[order], kind="stable")[::-1]]
    ious = [
        row[int(match)] if match > -1 else max(row, default=0) for row, match in zip(overlaps, pred_match, strict=True)
    ]
    captions = [""] * len(gt_box) + [
        f"{class_names[i]} {score:.2f} / {iou:.2f}"
        for i, score, iou in zip(pred_class_id[order].astype(int), pred_score[order], ious, strict=True)
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
