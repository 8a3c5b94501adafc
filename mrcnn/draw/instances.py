"""Drawing instances into images: masks, boxes, points, labels and what decides of their colours, widths and places.

Boxes are (y1, x1, y2, x2) in pixels, masks [h, w, n], colours (r, g, b) in 0..1, keypoints (x, y, score) in pixels, the
centre of the upper left one being (0, 0). Nothing here needs Matplotlib: `draw_instances` gives an image, for video,
servers and tests; `mrcnn.draw.figures` makes figures of the same.
"""

import colorsys
import math
import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

from mrcnn.draw.fonts import font, readable
from mrcnn.ops.boxes import cover
from mrcnn.ops.keypoints import COCO_NAMES, COCO_SKELETON
from mrcnn.settings.checks import check_arguments

# (r, g, b) in 0..1.
Color = Sequence[float]

# A line of a pose: from (x, y) to (x, y), and its colour.
Stroke = tuple[np.ndarray, np.ndarray, tuple[float, float, float]]

# Padding around a label's text as a share of the font size.
PADDING = 0.15

# No label covers a box of less than this many times the area of a label: it would hide much of what is there.
SMALL = 2

# Config's DETECTION_MIN_CONFIDENCE, the score from which the lines of boxes get thicker.
SCORE_THRESHOLD = 0.7

# A point's score is the peak of the softmax over a map of thousands of cells. Below 0.05 it is spread over more than 20
# of them, and the point is better left out; Detectron2 has the same threshold for pictures.
KEYPOINT_THRESHOLD = 0.05


# What images and figures share


@check_arguments
def random_colors(N: int, bright: bool = True) -> list[tuple[float, float, float]]:
    """N distinct colours (r, g, b) in 0..1, evenly spaced in hue, in an order that mixes them.

    The order is the same in every call (the original's was random), so pictures can be compared.
    """
    colors = [colorsys.hsv_to_rgb(i / N, 1, 1.0 if bright else 0.7) for i in range(N)]
    random.Random(0).shuffle(colors)
    return colors


def apply_mask(image: np.ndarray, mask: ArrayLike, color: Color, alpha: float = 0.5) -> np.ndarray:
    """Blend `color` into the pixels of `image` [h, w, 3], values 0..255, where `mask` [h, w] is 1; in place.

    Returns the same array; its pixels are image * (1 - alpha) + color * 255 * alpha, cut to the array's dtype.
    """
    inside = np.asarray(mask) == 1
    for c in range(3):  # eight times faster than all channels at once
        channel = image[..., c]
        channel[inside] = channel[inside] * (1 - alpha) + alpha * color[c] * 255
    return image


def draw_box(image: np.ndarray, box: ArrayLike, color: ArrayLike) -> np.ndarray:
    """Draw a box with lines of two pixels into `image` [h, w, c], in place; `color` is in the image's own values."""
    y1, x1, y2, x2 = np.maximum(box, 0)
    image[y1 : y1 + 2, x1:x2] = color
    image[y2 : y2 + 2, x1:x2] = color
    image[y1:y2, x1 : x1 + 2] = color
    image[y1:y2, x2 : x2 + 2] = color
    return image


def rgb(image: ArrayLike) -> np.ndarray:
    """A new uint8 [H, W, 3] from a gray, RGB or RGBA image of values 0..255."""
    image = np.asarray(image)
    image = image[..., None] if image.ndim == 2 else image
    image = image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, axis=-1)
    return image.copy() if image.dtype == np.uint8 else np.clip(image, 0, 255).astype("uint8")


def check(
    image: np.ndarray, boxes: np.ndarray, masks: np.ndarray | None, class_ids: Sequence[int] | np.ndarray
) -> None:
    """Raise ValueError unless boxes [n, 4], masks [h, w, n] or None, and class_ids [n] fit each other and the image."""
    n = len(class_ids)
    if boxes.shape != (n, 4) and boxes.size + n > 0:
        raise ValueError(f"boxes have the shape {boxes.shape} where {n} class_ids need ({n}, 4).")
    if masks is not None and n and masks.shape != (*image.shape[:2], n):
        raise ValueError(
            f"masks have the shape {masks.shape} where the image and {n} class_ids need {(*image.shape[:2], n)}."
        )


def instance_colors(colors: Sequence[Color] | None, n: int) -> Sequence[Color]:
    """The colours given, or `random_colors` for None; ValueError if they are too few for n instances."""
    if colors is not None and len(colors) < n:
        raise ValueError(f"There are {len(colors)} colors for {n} instances.")
    return random_colors(n) if colors is None else colors


def label_texts(
    class_ids: Sequence[int] | np.ndarray, class_names: Sequence[str] | None, scores: Iterable[float | None] | None
) -> list[str]:
    """Texts such as "dog 0.987", "class 3 0.987" without class names or a font that has their letters, "dog" without a
    score, or "crowd: dog" where the id is negative."""
    kinds = [abs(int(i)) for i in class_ids]
    if class_names is not None and max(kinds, default=0) >= len(class_names):
        raise ValueError(f"Class id {max(kinds)} has no name among the {len(class_names)} class_names.")
    names = [f"class {i}" for i in kinds]
    if class_names is not None:
        names = [readable(str(class_names[i]), own) for i, own in zip(kinds, names, strict=True)]
    names = [f"crowd: {name}" if i < 0 else name for i, name in zip(class_ids, names, strict=True)]
    if scores is None:
        return names
    return [f"{name} {score_text(score)}".rstrip() for name, score in zip(names, scores, strict=True)]


def score_text(score: float | None) -> str:
    """Such as "0.987"; empty for None."""
    return "" if score is None else f"{score:.3f}"


def text_color(color: Color) -> tuple[int, int, int]:
    """Black or white, whichever reads better on `color` (luma of ITU-R BT.601)."""
    return (0, 0, 0) if np.dot(color[:3], (0.299, 0.587, 0.114)) > 0.5 else (1, 1, 1)


def back_to_front(boxes: np.ndarray, chosen: Iterable[int]) -> list[int]:
    """The indices `chosen` of boxes [n, 4] in an order to paint them: large ones first, so that small ones show."""
    return sorted(chosen, key=lambda i: -np.prod(boxes[i][2:] - boxes[i][:2]))


def line_width(score: float | None, threshold: float = SCORE_THRESHOLD) -> int:
    """Width of a box's line: score above `threshold` in steps of 0.1, rounded up, at least 1; 2 without a score.

    Rounding first keeps 0.8 - 0.7 from being a little more than 0.1.
    """
    return 2 if score is None else max(1, math.ceil(round((float(score) - threshold) / 0.1, 4)))


def place_labels(boxes: ArrayLike, sizes: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Places for labels: left-aligned above their boxes, or the nearest place that hides no small object or label.

    Args:
        boxes: [n, 4]; the first of them choose first.
        sizes: [n, 2] heights and widths of the labels, in pixels like the boxes; zeros for a box without one.
        shape: (H, W, ...) of the image.

    Returns:
        [n, 4] float64 boxes of the labels, cut to the size of the image, inside it, disjoint, and off every box that is
        smaller than `SMALL` times the largest label; zeros where there is no label, or no such place for it.
    """
    boxes, image = np.reshape(boxes, (-1, 4)), np.array(shape[:2], "float64")
    sizes, places = np.minimum(np.reshape(sizes, (-1, 2)), image), np.zeros(boxes.shape)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    taken = np.maximum(boxes[areas < SMALL * sizes.prod(axis=1).max(initial=0)], 0)
    for i, (box, size) in enumerate(zip(boxes, sizes, strict=True)):
        if not size.all():
            continue
        corner = np.clip((box[0] - size[0], box[1]), 0, image - size)
        if ((corner < taken[:, 2:]) & (corner + size > taken[:, :2])).all(axis=1).any():
            corner = _nearest_free(corner, size, taken, image)
        if corner is not None:
            places[i] = *corner, *(corner + size)
            taken = np.concatenate([taken, places[i : i + 1]])
    return places


def _nearest_free(wish, size, taken, image):
    """The corner (y, x) nearest to `wish` where a label of `size` lies in the image [2] and hits none of the boxes
    `taken` [k, 4], or None; on a grid with cells of a quarter of the label's height."""
    cell = size[0] / 4
    count = np.zeros(1 + (image // cell).astype(int))
    for y1, x1, y2, x2 in np.concatenate([taken[:, :2] // cell + 1, -(-taken[:, 2:] // cell) + 1], axis=1).astype(int):
        count[y1:y2, x1:x2] = 1
    count = count.cumsum(axis=0).cumsum(axis=1)  # of the taken cells above and left of each corner of a cell
    h, w = -(-size // cell).astype(int)
    free = np.argwhere(count[h:, w:] - count[:-h, w:] - count[h:, :-w] + count[:-h, :-w] == 0) * cell
    return free[np.abs(free - wish).sum(axis=1).argmin()] if len(free) else None


def poses(
    keypoints: ArrayLike, boxes: np.ndarray, skeleton: Sequence[Sequence[int]] | None, threshold: float
) -> list[tuple[list[Stroke], list[Stroke], float]]:
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
    limb_colors = part_colors(len(skeleton))
    dot_colors = [(1.0, 1.0, 1.0)] * count if len(skeleton) else part_colors(count)
    poses: list[tuple[list[Stroke], list[Stroke], float]] = []
    for points, (y1, x1, y2, x2) in zip(keypoints, boxes, strict=True):
        if y2 <= y1 or x2 <= x1:
            continue
        xy, seen = points[:, :2], (points[:, 2] > 0) & (points[:, 2] >= threshold)
        limbs = [(xy[i], xy[j], c) for (i, j), c in zip(skeleton, limb_colors, strict=True) if seen[i] and seen[j]]
        poses.append((limbs, [(xy[j], xy[j], dot_colors[j]) for j in np.flatnonzero(seen)], (y2 - y1 + x2 - x1) / 150))
    return sorted(poses, key=lambda pose: -pose[2])


def part_colors(n: int) -> list[tuple[float, float, float]]:
    """n colours a golden angle apart: those of neighbours in the list, as left and right mostly are, differ most."""
    return [colorsys.hsv_to_rgb(i * 0.618 % 1, 0.75, 1.0) for i in range(n)]


def track_colors(track_ids: Iterable[int]) -> list[tuple[float, float, float]]:
    """A colour for each number of a tracker, the same in every frame; gray for 0, which is none."""
    return [colorsys.hsv_to_rgb(i * 0.618 % 1, 1, 1.0) if i else (0.6, 0.6, 0.6) for i in track_ids]


# Images


@check_arguments
def draw_instances(
    image: ArrayLike,
    result: dict[str, Any],
    class_names: Sequence[str] | None = None,
    threshold: float = SCORE_THRESHOLD,
    colors: Sequence[Color] | None = None,
    alpha: float = 0.5,
    skeleton: Sequence[Sequence[int]] | None = (),
    keypoint_threshold: float = KEYPOINT_THRESHOLD,
) -> np.ndarray:
    """Draw detections into a copy of an image: masks inside their boxes, outlines, boxes, points, limbs and labels.

    Colours, line widths and label places are those of `display_instances`. Without detections it is a plain copy.

    Args:
        image: [H, W, c], values 0..255; not modified.
        result: what `detect` returns for the image: `rois` [n, 4], `class_ids` [n], and where present `scores` [n],
            `masks` [H, W, n], `keypoints` [n, J, 3] of (x, y, score) and `track_ids` [n]; not modified.
        class_names: names by class id; without them labels read "class 3".
        threshold: the score from which line widths count; it hides nothing.
        colors: one colour for each instance instead of `random_colors`, or, with track_ids, `track_colors`.
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
    image, boxes, class_ids = rgb(image), np.asarray(result["rois"]), result["class_ids"]
    masks, scores = result.get("masks"), result.get("scores")
    check(image, boxes, masks, class_ids)
    labels, tracks = label_texts(class_ids, class_names, scores), result.get("track_ids")
    if tracks is not None:
        labels = [f"#{track} {label}" if track else label for track, label in zip(tracks, labels, strict=True)]
        colors = track_colors(tracks) if colors is None else colors
    colors = instance_colors(colors, len(class_ids))
    limits = np.tile(image.shape[:2], 2)
    boxes = np.clip(cover(boxes.reshape(-1, 4)), 0, limits)
    shown = [i for i, (y1, x1, y2, x2) in enumerate(boxes) if y2 > y1 and x2 > x1]
    layers = back_to_front(boxes, shown)
    paints = [paint_of(color) for color in colors]
    if masks is not None:
        _paint_masks(image, boxes, masks, colors, paints, layers, alpha)
    picture = Image.fromarray(image)
    widths = [line_width(None if scores is None else scores[i], threshold) for i in layers]
    _paint_boxes(picture, boxes[layers], [paints[i] for i in layers], widths)
    if result.get("keypoints") is not None:
        for pose in poses(result["keypoints"], boxes, skeleton, keypoint_threshold):
            _draw_pose(picture, *pose)
    paint_labels(picture, boxes[shown], [labels[i] for i in shown], [colors[i] for i in shown])
    return np.array(picture)


def _paint_masks(image, boxes, masks, colors, paints, order, alpha):
    """Masks and their borders, inside their boxes."""
    for i in order:
        y1, x1, y2, x2 = boxes[i]
        region, mask = image[y1:y2, x1:x2], np.ascontiguousarray(masks[y1:y2, x1:x2, i], dtype=bool)
        apply_mask(region, mask, colors[i], alpha)
        region[_border(mask)] = paints[i]


def _paint_boxes(picture, boxes, paints, widths):
    """Outwards from the first pixel of the box, so that thick lines do not cover small objects."""
    draw, limits = ImageDraw.Draw(picture), np.tile(picture.size[::-1], 2)
    for box, paint, line in zip(boxes, paints, widths, strict=True):
        y1, x1, y2, x2 = np.clip(box + (1 - line, 1 - line, line - 1, line - 1), 0, limits).tolist()
        draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=paint, width=line)


def paint_of(color: Color) -> tuple[int, ...]:
    """A colour in 0..255."""
    return tuple(round(255 * channel) for channel in color[:3])


def paint_labels(picture: Image.Image, boxes: np.ndarray, labels: Sequence[str], colors: Sequence[Color]) -> None:
    """Draw the labels of boxes [n, 4] into a picture, where `place_labels` puts them."""
    draw, shape = ImageDraw.Draw(picture), picture.size[::-1]
    size = max(11, round(max(shape) / 60))
    fonts = [font(label, size) for label in labels]
    padding = round(PADDING * size)
    sizes = np.array(
        [
            (sum(own.getmetrics()) + 2 * padding, math.ceil(own.getlength(label)) + 2 * padding)
            for own, label in zip(fonts, labels, strict=True)
        ]
    )
    places = place_labels(boxes, sizes, shape)
    for label, own, color, place in zip(labels, fonts, colors, places, strict=True):
        if not place.any():
            continue
        y1, x1, y2, x2 = (int(edge) for edge in place)
        draw.rectangle((x1, y1, x2 - 1, y2 - 1), fill=paint_of(color))
        ink = tuple(255 * channel for channel in text_color(color))
        draw.text((x1 + padding, y1 + padding), label, fill=ink, font=own)


def rim(width: float) -> float:
    """Width of the black rim that sets limbs of `width` and their dots off from any image, in the same unit."""
    return max(0.75, width / 5)


def _draw_pose(picture, limbs, dots, width):
    width = max(1.5, width)
    for strokes, line in ((limbs, width), (dots, 2 * width)):
        for start, end, color in strokes:
            _stroke(picture, start, end, line, rim(width), tuple(round(255 * channel) for channel in color))


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
    x, y, (dx, dy) = (x - start[0]).astype("float32"), (y - start[1]).astype("float32"), end - start
    along = np.clip((x * dx + y * dy) / max(dx * dx + dy * dy, np.float32(1e-9)), 0, 1)
    distance = np.hypot(x - along * dx, y - along * dy)
    for radius, paint in ((width / 2 + rim, (0, 0, 0)), (width / 2, color)):
        cover = np.clip(radius + 0.5 - distance, 0, 1)  # about the share of the pixel that the line covers
        picture.paste(paint, (x1, y1), Image.fromarray(np.rint(255 * cover).astype("uint8")))


def _border(mask):
    """Pixels of `mask` [h, w] bool with a neighbour, above, below, left or right, that is not in it."""
    wide = np.pad(mask, 1)
    return mask & ~(wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:])
