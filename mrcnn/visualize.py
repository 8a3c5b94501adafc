"""Pictures of images, boxes, masks, detections, evaluations and weights.

Boxes are (y1, x1, y2, x2) in pixels, masks [h, w, n], colours (r, g, b) in 0..1, keypoints (x, y, score) in pixels, the
centre of the upper left one being (0, 0). Matplotlib is imported when a figure is made, and its global state stays as
it was. A function that makes a figure returns it and

- draws on `ax` where one is given, and shows nothing;
- writes the figure to the file `save` where that is given, and shows nothing;
- else shows it: inline in a notebook, in a window where Matplotlib's backend has windows, nowhere otherwise.

`draw_instances` needs no Matplotlib and returns an image, for video, servers and tests.
"""

import colorsys
import html
import io
import math
import random
import sys
from contextlib import contextmanager, nullcontext
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mrcnn import utils
from mrcnn.keypoints import COCO_NAMES, COCO_SKELETON

NOTHING_FOUND = """No instances to display. The usual reasons:
- the weights are untrained, or not those of this model;
- the threshold DETECTION_MIN_CONFIDENCE is too high;
- the image is unlike the training images, or its objects are too small."""

# Padding around a label's text as a share of the font size.
PADDING = 0.15

# A point's score is the peak of the softmax over a map of thousands of cells. Below 0.05 it is spread over more than 20
# of them, and the point is better left out; Detectron2 has the same threshold for pictures.
KEYPOINT_THRESHOLD = 0.05


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
        yield figure.add_subplot() if ax is None else ax
    if ax is not None and save is not None:
        ax.figure.savefig(save)


# What pictures share


def _rgb(image):
    """A new uint8 [H, W, 3] from a gray, RGB or RGBA image of values 0..255."""
    image = np.asarray(image)
    image = image[..., None] if image.ndim == 2 else image
    image = image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, axis=-1)
    return image.copy() if image.dtype == np.uint8 else np.clip(image, 0, 255).astype("uint8")


def _check(image, boxes, masks, class_ids):
    """Raise ValueError unless boxes [n, 4], masks [h, w, n] or None, and class_ids [n] fit each other and the image."""
    n = len(class_ids)
    if boxes.shape != (n, 4) and boxes.size + n > 0:
        raise ValueError(f"boxes have the shape {boxes.shape} where {n} class_ids need ({n}, 4).")
    if masks is not None and n and masks.shape != (*image.shape[:2], n):
        raise ValueError(
            f"masks have the shape {masks.shape} where the image and {n} class_ids need {(*image.shape[:2], n)}."
        )


def _colors(colors, n):
    if colors is not None and len(colors) < n:
        raise ValueError(f"There are {len(colors)} colors for {n} instances.")
    return random_colors(n) if colors is None else colors


def _labels(class_ids, class_names, scores):
    """Texts such as "dog 0.987", or "class 3 0.987" without class names."""
    if class_names is not None and max(class_ids, default=0) >= len(class_names):
        raise ValueError(f"Class id {max(class_ids)} has no name among the {len(class_names)} class_names.")
    names = [f"class {i}" if class_names is None else str(class_names[i]) for i in class_ids]
    return names if scores is None else [f"{name} {score:.3f}" for name, score in zip(names, scores, strict=True)]


def _text_color(color):
    """Black or white, whichever reads better on `color` (luma of ITU-R BT.601)."""
    return (0, 0, 0) if np.dot(color[:3], (0.299, 0.587, 0.114)) > 0.5 else (1, 1, 1)


def line_width(score, threshold=0.0):
    """Width of a box's line: score above `threshold` in steps of 0.1, rounded up, at least 1; 2 without a score.

    Rounding first keeps 0.8 - 0.7 from being a little more than 0.1.
    """
    return 2 if score is None else max(1, math.ceil(round((float(score) - threshold) / 0.1, 4)))


def place_labels(boxes, sizes, shape):
    """Places for labels: left-aligned above their boxes, moved as little as needed to be inside and not on another.

    Args:
        boxes: [n, 4]; the first of them choose first.
        sizes: [n, 2] heights and widths of the labels, in pixels like the boxes.
        shape: (H, W, ...) of the image.

    Returns:
        [n, 4] float64 boxes of the labels. They lie inside the image and are disjoint, except that a label larger than
        the image starts at its edge, and that a label stays where it wanted to be when the image has no room left.
    """
    placed = np.zeros((len(sizes), 4))
    for i, (box, size) in enumerate(zip(boxes, np.asarray(sizes, dtype="float64"), strict=True)):
        room = np.maximum(np.array(shape[:2]) - size, 0)
        wish = np.clip([box[0] - size[0], box[1]], 0, room)
        taken = placed[:i]
        # The nearest free place touches other labels, so their edges are all the candidates there are.
        ys = np.unique(np.clip(np.concatenate([wish[:1], taken[:, 0] - size[0], taken[:, 2]]), 0, room[0]))
        xs = np.unique(np.clip(np.concatenate([wish[1:], taken[:, 1] - size[1], taken[:, 3]]), 0, room[1]))
        straight = [(y, wish[1]) for y in ys] + [(wish[0], x) for x in xs]
        best = _nearest_free(wish, np.array(straight), size, taken)
        if best is None:  # rare, and the only part whose cost grows with the cube of n
            best = _nearest_free(wish, np.stack(np.meshgrid(ys, xs), axis=-1).reshape(-1, 2), size, taken)
        corner = wish if best is None else best
        placed[i] = *corner, *(corner + size)
    return placed


def _nearest_free(wish, corners, size, taken):
    """The one of `corners` [m, 2] nearest to `wish` where a label of `size` hits none of `taken` [k, 4], or None."""
    corners = corners[np.argsort(np.abs(corners - wish).sum(axis=1), kind="stable")]
    first, last = corners[:, None, :] + 1e-6, corners[:, None, :] + size - 1e-6
    free = ~((first < taken[:, 2:]) & (last > taken[:, :2])).all(axis=-1).any(axis=-1)
    return corners[np.argmax(free)] if free.any() else None


def _poses(keypoints, boxes, skeleton, threshold):
    """What to draw of the points of each instance whose box has an area; large ones first, so that small ones show.

    Args:
        keypoints: [n, J, 3] of (x, y, score).
        boxes: [n, 4].
        skeleton: [(i, j)] the two points of each limb; None for COCO's where J is that of COCO's persons, else ().
        threshold: lowest score to show; 0 is never shown.

    Returns:
        [(limbs, dots, width)]: [(start, end, color)], [(point, point, color)] with points (x, y), and the limbs' width
        in pixels. A limb has one colour in all instances; dots are white if there is a skeleton, else have one each.

    Raises:
        ValueError: the shapes of keypoints and boxes disagree, or the skeleton has a point that the keypoints have not.
    """
    keypoints, n = np.asarray(keypoints), len(boxes)
    if n == 0:
        return []
    if keypoints.ndim != 3 or keypoints.shape[::2] != (n, 3):
        raise ValueError(f"keypoints have the shape {keypoints.shape} where {n} instances need ({n}, points, 3).")
    count = keypoints.shape[1]
    if skeleton is None:
        skeleton = COCO_SKELETON if count == len(COCO_NAMES) else ()
    if not all(0 <= j < count for limb in skeleton for j in limb):
        raise ValueError(f"The skeleton {list(skeleton)} has points that are not among the {count} of an instance.")
    limb_colors = _part_colors(len(skeleton))
    dot_colors = [(1.0, 1.0, 1.0)] * count if len(skeleton) else _part_colors(count)
    poses = []
    for points, (y1, x1, y2, x2) in zip(keypoints, boxes, strict=True):
        if y2 <= y1 or x2 <= x1:
            continue
        xy, seen = points[:, :2], (points[:, 2] > 0) & (points[:, 2] >= threshold)
        limbs = [(xy[i], xy[j], c) for (i, j), c in zip(skeleton, limb_colors, strict=True) if seen[i] and seen[j]]
        poses.append((limbs, [(xy[j], xy[j], dot_colors[j]) for j in np.flatnonzero(seen)], (y2 - y1 + x2 - x1) / 150))
    return sorted(poses, key=lambda pose: -pose[2])


def _part_colors(n):
    """n colours a golden angle apart: those of neighbours in the list, as left and right mostly are, differ most."""
    return [colorsys.hsv_to_rgb(i * 0.618 % 1, 0.75, 1.0) for i in range(n)]


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
        rim = _rim(width)
        lines = [np.add((start, end), 0.5) for start, end, _ in limbs]
        effects = [withStroke(linewidth=width + 2 * rim, foreground="black", capstyle="round")]
        style = {"colors": [color for _, _, color in limbs], "capstyle": "round", "path_effects": effects}
        ax.add_collection(LineCollection(lines, linewidths=width, **style), autolim=False)
        x, y = np.array([xy for xy, _, _ in dots]).reshape(-1, 2).T + 0.5
        style = {"facecolors": [color for _, _, color in dots], "edgecolors": "black", "linewidths": rim}
        ax.scatter(x, y, (2 * width + rim) ** 2, zorder=2, **style)  # as limbs, above boxes and below labels


def _add_labels(ax, boxes, labels, colors, shape, size=11):
    chosen = [i for i, label in enumerate(labels) if label]
    if not chosen:
        return
    scale = _scale(ax, shape)
    box = {"boxstyle": f"square,pad={PADDING}", "edgecolor": "none"}
    style = {"size": size, "ha": "left", "va": "top", "in_layout": False, "clip_on": True}
    texts = [
        ax.text(0, 0, labels[i], color=_text_color(colors[i]), bbox={**box, "facecolor": colors[i][:3]}, **style)
        for i in chosen
    ]
    padding = PADDING * size * ax.figure.dpi / 72 * scale
    extents = [text.get_window_extent() for text in texts]
    sizes = [(e.height * scale + 2 * padding, e.width * scale + 2 * padding) for e in extents]
    for text, (y1, x1, _, _) in zip(texts, place_labels(boxes[chosen], sizes, shape), strict=True):
        text.set_position((x1 + padding, y1 + padding))


# Instances


def random_colors(N, bright=True):
    """N distinct colours (r, g, b) in 0..1, evenly spaced in hue, in an order that mixes them.

    The order is the same in every call (the original's was random), so pictures can be compared.
    """
    colors = [colorsys.hsv_to_rgb(i / N, 1, 1.0 if bright else 0.7) for i in range(N)]
    random.Random(0).shuffle(colors)
    return colors


def apply_mask(image, mask, color, alpha=0.5):
    """Blend `color` into the pixels of `image` [h, w, 3], values 0..255, where `mask` [h, w] is 1; in place.

    Returns the same array; its pixels are image * (1 - alpha) + color * 255 * alpha, cut to the array's dtype.
    """
    inside = np.asarray(mask) == 1
    for c in range(3):  # eight times faster than all channels at once
        channel = image[..., c]
        channel[inside] = channel[inside] * (1 - alpha) + alpha * color[c] * 255
    return image


def draw_box(image, box, color):
    """Draw a box with lines of two pixels into `image` [h, w, c], in place; `color` is in the image's own values."""
    y1, x1, y2, x2 = np.maximum(box, 0)
    image[y1 : y1 + 2, x1:x2] = color
    image[y2 : y2 + 2, x1:x2] = color
    image[y1:y2, x1 : x1 + 2] = color
    image[y1:y2, x2 : x2 + 2] = color
    return image


def display_instances(
    image,
    boxes,
    masks,
    class_ids,
    class_names,
    scores=None,
    title="",
    figsize=(16, 16),
    ax=None,
    show_mask=True,
    show_bbox=True,
    colors=None,
    captions=None,
    save=None,
    threshold=0.0,
):
    """Show an image with its instances, each with one colour for mask, box and label.

    Without instances, the caption under the picture says so and names the usual reasons.

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

    Returns:
        The Matplotlib figure.

    Raises:
        ValueError: the shapes of boxes, masks and class_ids disagree, or colors or class_names are too few.
    """
    image, boxes = _rgb(image), np.asarray(boxes)
    masks = None if masks is None else np.asarray(masks)
    _check(image, boxes, masks, class_ids)
    colors = _colors(colors, len(class_ids))
    labels = _labels(class_ids, class_names, scores) if captions is None else captions
    shown = [i for i in range(len(class_ids)) if boxes[i].any()]
    with _axes(figsize, ax, save) as ax:
        if show_mask and masks is not None:
            for i in shown:
                apply_mask(image, masks[..., i], colors[i])
                _add_outlines(ax, masks[..., i], colors[i])
        _show_image(ax, image, title)
        if show_bbox:
            for i in shown:
                _add_box(ax, boxes[i], colors[i], line_width(None if scores is None else scores[i], threshold))
        _add_labels(ax, boxes[shown], [labels[i] for i in shown], [colors[i] for i in shown], image.shape)
        if not shown:
            ax.text(0, -0.01, NOTHING_FOUND, size=14, va="top", transform=ax.transAxes)
    return ax.figure


def display_keypoints(
    image,
    boxes,
    keypoints,
    class_ids=None,
    class_names=None,
    scores=None,
    skeleton=None,
    threshold=KEYPOINT_THRESHOLD,
    title="",
    figsize=(16, 16),
    ax=None,
    save=None,
    show_bbox=True,
    colors=None,
):
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
    poses = _poses(keypoints, boxes, skeleton, threshold)
    if class_ids is None:
        class_ids = np.zeros(len(boxes), int)
        captions = [""] * len(boxes) if scores is None else [f"{score:.3f}" for score in scores]
    else:
        captions = _labels(class_ids, class_names, scores)
    options = {"show_bbox": show_bbox, "colors": colors, "captions": captions}
    with _axes(figsize, ax, save) as ax:
        # Without the scores, whose thick lines would cover points.
        display_instances(image, boxes, None, class_ids, class_names, title=title, ax=ax, **options)
        _add_poses(ax, poses, np.shape(image))
    return ax.figure


def draw_instances(
    image,
    result,
    class_names=None,
    threshold=0.0,
    colors=None,
    alpha=0.5,
    skeleton=(),
    keypoint_threshold=KEYPOINT_THRESHOLD,
):
    """Draw detections into a copy of an image: masks inside their boxes, outlines, boxes, points, limbs and labels.

    Colours, line widths and label places are those of `display_instances`. Without detections it is a plain copy.

    Args:
        image: [H, W, c], values 0..255; not modified.
        result: what `detect` returns for the image: `rois` [n, 4], `class_ids` [n], and where present `scores` [n],
            `masks` [H, W, n] and `keypoints` [n, J, 3] of (x, y, score); not modified.
        class_names: names by class id; without them labels read "class 3".
        threshold: the score from which line widths count; it hides nothing.
        colors: one colour for each instance instead of `random_colors`.
        alpha: opacity of masks.
        skeleton: [(i, j)] the two points of each limb, from 0, such as `keypoints.COCO_SKELETON`; () for dots
            alone; None as in `display_keypoints`.
        keypoint_threshold: the lowest score of points to show, and of limbs at both ends. Points of score 0 are never
            shown.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: the shapes of rois, masks, keypoints and class_ids disagree, colors or class_names are too few, or
            the skeleton has a point that the keypoints have not.
    """
    image, boxes, class_ids = _rgb(image), np.asarray(result["rois"]), result["class_ids"]
    masks, scores = result.get("masks"), result.get("scores")
    _check(image, boxes, masks, class_ids)
    colors, labels = _colors(colors, len(class_ids)), _labels(class_ids, class_names, scores)
    height, width = image.shape[:2]
    boxes = np.clip(boxes.reshape(-1, 4).astype(int), 0, (height, width, height, width))
    shown = [i for i, (y1, x1, y2, x2) in enumerate(boxes) if y2 > y1 and x2 > x1]
    paints = [tuple(round(255 * channel) for channel in color[:3]) for color in colors]
    if masks is not None:
        for i in shown:
            y1, x1, y2, x2 = boxes[i]
            region, mask = image[y1:y2, x1:x2], np.ascontiguousarray(masks[y1:y2, x1:x2, i], dtype=bool)
            apply_mask(region, mask, colors[i], alpha)
            region[_border(mask)] = paints[i]
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    for i in shown:
        y1, x1, y2, x2 = boxes[i].tolist()
        width = line_width(None if scores is None else scores[i], threshold)
        draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=paints[i], width=width)
    if result.get("keypoints") is not None:
        for pose in _poses(result["keypoints"], boxes, skeleton, keypoint_threshold):
            _draw_pose(picture, *pose)
    font = _font(max(11, round(max(image.shape[:2]) / 60)))
    padding = round(PADDING * font.size)
    line = sum(font.getmetrics()) + 2 * padding
    sizes = [(line, math.ceil(font.getlength(labels[i])) + 2 * padding) for i in shown]
    for i, place in zip(shown, place_labels(boxes[shown], sizes, image.shape), strict=True):
        y1, x1, y2, x2 = (int(edge) for edge in place)
        draw.rectangle((x1, y1, x2 - 1, y2 - 1), fill=paints[i])
        ink = tuple(255 * channel for channel in _text_color(colors[i]))
        draw.text((x1 + padding, y1 + padding), labels[i], fill=ink, font=font)
    return np.array(picture)


def _rim(width):
    """Width of the black rim that sets limbs of `width` and their dots off from any image, in the same unit."""
    return max(0.75, width / 5)


def _draw_pose(picture, limbs, dots, width):
    width = max(1.5, width)
    for strokes, line in ((limbs, width), (dots, 2 * width)):
        for start, end, color in strokes:
            _stroke(picture, start, end, line, _rim(width), tuple(round(255 * channel) for channel in color))


def _stroke(picture, start, end, width, rim, color):
    """Draw a line with round ends and a black rim into a PIL image, anti-aliased; from a point to itself it is a dot.

    Args:
        start, end: (x, y) pixels.
        width, rim: pixels; the rim comes on top of the width.
        color: (r, g, b) in 0..255.
    """
    start, end, reach = np.asarray(start, "float32"), np.asarray(end, "float32"), width / 2 + rim + 1
    x1, y1 = np.clip(np.minimum(start, end) - reach, 0, picture.size).astype(int).tolist()
    x2, y2 = np.clip(np.maximum(start, end) + reach + 1, 0, picture.size).astype(int).tolist()
    if x2 <= x1 or y2 <= y1:
        return
    y, x = np.ogrid[y1:y2, x1:x2]
    x, y, (dx, dy) = np.float32(x - start[0]), np.float32(y - start[1]), end - start
    along = np.clip((x * dx + y * dy) / max(dx * dx + dy * dy, np.float32(1e-9)), 0, 1)
    distance = np.hypot(x - along * dx, y - along * dy)
    for radius, paint in ((width / 2 + rim, (0, 0, 0)), (width / 2, color)):
        cover = np.clip(radius + 0.5 - distance, 0, 1)  # about the share of the pixel that the line covers
        picture.paste(paint, (x1, y1), Image.fromarray(np.rint(255 * cover).astype("uint8")))


@cache
def _font(size):
    return ImageFont.load_default(size)


def _border(mask):
    """Pixels of `mask` [h, w] bool with a neighbour, above, below, left or right, that is not in it."""
    wide = np.pad(mask, 1)
    return mask & ~(wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:])


# Images and the stages of the model


def display_images(images, titles=None, cols=4, cmap=None, norm=None, interpolation=None, save=None):
    """Show a list of images [h, w] or [h, w, 3] in a grid of `cols` columns; returns the figure.

    `cmap`, `norm` and `interpolation` are those of Matplotlib's `imshow`.
    """
    titles = [""] * len(images) if titles is None else titles
    rows = max(1, math.ceil(len(images) / cols))
    with _figure((14, 14 * rows / cols + 0.3), save) as figure:
        for i, (image, title) in enumerate(zip(images, titles, strict=True)):
            ax = figure.add_subplot(rows, cols, i + 1)
            image = np.asarray(image)
            ax.imshow(image if image.ndim == 2 else _rgb(image), cmap=cmap, norm=norm, interpolation=interpolation)
            ax.set_title(title, fontsize=9)
            ax.axis("off")
    return figure


def display_top_masks(image, mask, class_ids, class_names, limit=4, save=None):
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
    image, boxes=None, refined_boxes=None, masks=None, captions=None, visibilities=None, title="", ax=None, save=None
):
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
    if boxes is None and refined_boxes is None:
        raise ValueError("draw_boxes needs boxes, refined_boxes or both.")
    n = len(refined_boxes if boxes is None else boxes)
    before = np.zeros((n, 4)) if boxes is None else np.asarray(boxes)
    after = np.zeros((n, 4)) if refined_boxes is None else np.asarray(refined_boxes)
    visibilities = np.ones(n, int) if visibilities is None else visibilities
    colors = [color if seen else (0.5, 0.5, 0.5) for color, seen in zip(random_colors(n), visibilities, strict=True)]
    image = _rgb(image)
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


def draw_rois(image, rois, refined_rois, mask, class_ids, class_names, limit=10, ax=None, save=None):
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
    image,
    gt_box,
    gt_class_id,
    gt_mask,
    pred_box,
    pred_class_id,
    pred_score,
    pred_mask,
    class_names,
    title="",
    ax=None,
    show_mask=True,
    show_box=True,
    iou_threshold=0.5,
    score_threshold=0.5,
    save=None,
):
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
    )


def plot_precision_recall(AP, precisions, recalls, ax=None, save=None):
    """Plot precisions [m] over recalls [m], with the AP at IoU 0.5 in the title; returns the figure."""
    with _axes((6, 5), ax, save) as ax:
        ax.plot(recalls, precisions)
        ax.set(title=f"Precision-Recall Curve. AP@50 = {AP:.3f}", xlabel="Recall", ylabel="Precision")
        ax.set(xlim=(0, 1.1), ylim=(0, 1.1))
    return ax.figure


def plot_overlaps(gt_class_ids, pred_class_ids, pred_scores, overlaps, class_names, threshold=0.5, ax=None, save=None):
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
        labels = _labels(pred_class_ids, class_names, pred_scores[:rows])
        ax.set_yticks(range(rows), labels)
        ax.set_xticks(range(columns), [class_names[i] for i in gt_class_ids], rotation=90)
        for (i, j), iou in np.ndenumerate(overlaps):
            verdict = "match" if gt_class_ids[j] == pred_class_ids[i] else "wrong"
            text = f"{iou:.3f}\n{verdict}" if iou > threshold else f"{iou:.3f}"
            ax.text(j, i, text, ha="center", va="center", size=9, color="white" if iou > 0.5 else "black")
        ax.set(xlabel="Ground truth", ylabel="Predictions")
    return ax.figure


# Tables


def display_table(table):
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


def weight_stats(model):
    """Rows (name, shape, min, max, std) of every weight of a `MaskRCNN` or Keras model, nested models too.

    The name ends in "*** dead?" where the values of a kernel are all but equal (vectors such as biases begin so), and
    in "*** overflow?" where one is 1000 or more in size, or not finite. The first row is the header.
    """
    rows = [("WEIGHT NAME", "SHAPE", "MIN", "MAX", "STD")]
    for weight in getattr(model, "keras_model", model).weights:
        values = np.asarray(weight.numpy(), dtype="float32")
        low, high, std = values.min(), values.max(), values.std()
        dead = values.ndim > 1 and values.size > 1 and std < 1e-8
        overflow = not max(-low, high) < 1000  # written so that NaN counts
        name = weight.path + (" *** dead?" if dead else "") + (" *** overflow?" if overflow else "")
        rows.append((name, str(tuple(values.shape)), *(f"{value:+10.4f}" for value in (low, high, std))))
    return rows


def display_weight_stats(model):
    """Show the table of `weight_stats`."""
    display_table(weight_stats(model))
