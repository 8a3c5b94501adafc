"""Which settings fit a data set: anchors, image size, how many objects."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from mrcnn.data.bad_images import OTHERS_FAULT, readable_objects
from mrcnn.data.dataset import Dataset
from mrcnn.data.remarks import SMALL
from mrcnn.data.resizing import plan
from mrcnn.ops.anchors import generate_anchors
from mrcnn.ops.boxes import pair_overlaps
from mrcnn.settings.checks import ONE_STAGE
from mrcnn.settings.config import Config, Numbers

# Objects that anchors are tried on, of a larger set a random choice.
MOST = 5000

# What the IoU of a box with some anchor should be.
ENOUGH = 0.5

# Pixels of a side that are large enough for most; at least twice SMALL are wanted.
PLAIN = 32

# The largest image that is proposed.
LARGEST = 2048

# How finely the smallest scale is looked for, and by how much each level's scale may exceed the one before.
STARTS, STEPS = 24, (1.4, 1.6, 1.8, 2.0)

# Where between the bounds of SCALE_JITTER objects are looked at, as training sees them in many sizes.
JITTERED = (0.1, 0.3, 0.5, 0.7, 0.9)

# What other anchors must win of all boxes, for the config's own to be left.
GAIN = 0.01


class Advice(NamedTuple):
    """What was found, a line each, and the settings that should be others."""

    lines: list[str]
    settings: dict[str, Any]


class Objects(NamedTuple):
    """Those of an image of a set: its size in pixels, and their boxes [n, 4] (y1, x1, y2, x2) in these."""

    height: int
    width: int
    boxes: np.ndarray


class Boxes(NamedTuple):
    """A set's objects where the network sees them: boxes [n, 4] in pixels; and the factor by which images with objects
    grow, the median of all."""

    pixels: np.ndarray
    scale: float


def advise(dataset: Dataset, config: Config, seed: int = 0) -> Advice:
    """Look at all objects of a set once, crowds and images that cannot be read aside.

    Args:
        dataset: prepared.
        config: the settings that it shall be trained with.
        seed: of the choice of objects from a large set.

    Raises:
        ValueError: there is no object.
    """
    objects, config = objects_of(dataset), copy.copy(config)
    lines: list[str] = []
    settings: dict[str, Any] = {}
    for part in (_sizes, _counts, _anchors):
        for line, changes in part(objects, config, np.random.default_rng(seed)):
            lines.append(line)
            settings |= changes
        config.update(**settings)  # anchors are for the images that are proposed
    return Advice(lines, settings)


def objects_of(dataset: Dataset) -> list[Objects]:
    """The objects of each image of a set.

    Raises:
        ValueError: there is none.
    """
    found = []
    for i in dataset.image_ids:
        objects = [x for x in readable_objects(dataset, i) if not x.crowd]
        info = dataset.image_info[i]
        height, width = info.get("height") or 0, info.get("width") or 0
        if objects and not (height and width):
            try:
                height, width = dataset.load_image(i).shape[:2]
            except OTHERS_FAULT:
                raise
            except Exception:  # which is said where the image is used
                objects = []
        left, top, wide, high = np.array([x.inside(height, width) for x in objects], float).reshape(-1, 4).T
        boxes = np.stack([top, left, top + high, left + wide], axis=1)
        found.append(Objects(height, width, boxes[(wide > 0) & (high > 0)]))
    if not any(len(x.boxes) for x in found):
        raise ValueError("The set has no objects, so there is nothing to advise on.")
    return found


def seen(objects: Sequence[Objects], config: Config, jitter: float = 1) -> Boxes:
    """The boxes of objects where the network sees them in training, in images that are larger by a factor; there is
    one at least. Of what is larger than the network's image a part of that size counts."""
    found, factors = [], []
    for image in objects:
        if len(image.boxes):
            geometry = _resized(image, config)
            scale, (top, left, *_) = np.broadcast_to(geometry.scale, 2) * jitter, geometry.window
            corners = image.boxes * np.tile(scale, 2) + (top, left, top, left)
            corners[:, 2:] = np.minimum(corners[:, 2:], corners[:, :2] + geometry.shape)
            found.append(corners)
            factors.append(max(scale))
    return Boxes(np.concatenate(found), float(np.median(factors)))


def _resized(image, config):
    """How an image is resized for training."""
    sides = config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM, config.IMAGE_MIN_SCALE, config.IMAGE_RESIZE_MODE
    return plan(image.height, image.width, *sides, square=True)


def boxes_of(dataset: Dataset, config: Config) -> Boxes:
    """The boxes of a set's objects where the network sees them in training.

    Raises:
        ValueError: there is none.
    """
    return seen(objects_of(dataset), config)


def best_ious(boxes: np.ndarray, scales: Numbers, ratios: Numbers, config: Config) -> np.ndarray:
    """The IoU [n] of each box with the anchor that it shares most with: of each shape that whose centre is nearest.

    Args:
        boxes: [n, 4] pixels.
        scales, ratios: of the anchors, as RPN_ANCHOR_SCALES and RPN_ANCHOR_RATIOS.
        config: what else is known of them.
    """
    centres, best = (boxes[:, :2] + boxes[:, 2:]) / 2, np.zeros(len(boxes))
    for level, stride in zip(scales, config.BACKBONE_STRIDES, strict=True):
        apart = stride * config.RPN_ANCHOR_STRIDE
        places = np.tile(np.rint(centres / apart) * apart, 2)
        for anchor in generate_anchors(level, ratios, (1, 1), stride, 1, config.RPN_ANCHORS == "rounded"):
            best = np.maximum(best, pair_overlaps(boxes, places + anchor))
    return best


def _sizes(objects: Sequence[Objects], config: Config, rng: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """How large objects are, and a larger or smaller image where that fits them better."""
    found = seen(objects, config)
    sides = _sides(found)
    small, middle, large = np.percentile(sides, (5, 50, 95))
    yield (
        (
            f"{len(sides)} objects in {len(objects)} images; at IMAGE_MAX_DIM = {config.IMAGE_MAX_DIM} half "
            f"of them are under {middle:.0f} pixels of a side, one in twenty under {small:.0f}, one over {large:.0f}."
        ),
        {},
    )
    side = config.IMAGE_MAX_DIM
    if not side or config.IMAGE_RESIZE_MODE not in ("square", "rect", "shortest", "stretch"):
        return
    if small < 2 * SMALL:
        # In images that fill the square objects grow with its side; in others the padding might grow alone.
        full = seen(objects, copy.copy(config).update(IMAGE_MIN_DIM=side))
        least = float(np.percentile(_sides(full), 5))
        wanted = min(LARGEST, max(128, _whole(side * 2 * SMALL / least)), _whole(2 * side / full.scale))
        if least * wanted / side > 1.2 * small:
            yield (
                (
                    f"{np.mean(sides < 2 * SMALL):.0%} of them are under {2 * SMALL} pixels, and "
                    f"{np.mean(sides < SMALL):.0%} under {SMALL}, which are hardly found: images enlarged to "
                    f"{wanted}{'; or tiles, --tiles' if wanted == LARGEST else ''}."
                ),
                {"IMAGE_MIN_DIM": wanted, "IMAGE_MAX_DIM": wanted},
            )
    elif small > 2 * PLAIN and (wanted := max(128, _whole(side * max(PLAIN / small, 0.5)))) < 0.8 * side:
        yield (
            (
                f"Nearly all are larger than {2 * PLAIN} pixels: images of {wanted} would do, at "
                f"{(wanted / side) ** 2:.0%} of the work, if what tells them apart is seen there too."
            ),
            {},
        )


def _whole(side):
    """The next side of an image that the network takes."""
    return 64 * math.ceil(side / 64)


def _sides(found):
    """The root [n] of each box's area."""
    return np.sqrt(np.prod(found.pixels[:, 2:] - found.pixels[:, :2], axis=1))


def _counts(objects: Sequence[Objects], config: Config, rng: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """How many objects images have."""
    counts = [len(x.boxes) for x in objects]
    most = trained = max(counts)
    words, changes = "", {}
    if config.IMAGE_RESIZE_MODE == "crop":
        trained = max(_fullest(x, config) for x in objects if len(x.boxes))
        words = f", and in a part of {config.IMAGE_MIN_DIM} pixels {trained}"
    if trained > config.MAX_GT_INSTANCES and not config.by_pixels:
        changes["MAX_GT_INSTANCES"] = 10 * math.ceil(trained / 10)
    # No more can be found than there are candidates.
    candidates = ("DENSE_CANDIDATES",) if config.DETECTOR in ONE_STAGE else ("PRE_NMS_LIMIT", "POST_NMS_ROIS_INFERENCE")
    for name in ("DETECTION_MAX_INSTANCES", *(() if config.by_pixels else candidates)):
        if 1.2 * most > getattr(config, name):
            changes[name] = 10 * math.ceil(1.5 * most / 10)
    yield f"The most objects in an image are {most}{words}; the mean is {np.mean(counts):.1f}.", changes


def _fullest(image, config):
    """The most objects that a crop of an image shows, of crops an eighth of their side apart."""
    side, geometry = config.IMAGE_MIN_DIM, _resized(image, config)
    low, high = np.split(image.boxes * geometry.scale, 2, axis=1)
    shown = []
    for axis, length in enumerate(geometry.size):
        starts = np.append(np.arange(0, length - side, side / 8), length - side)[:, None]
        shown.append((high[:, axis] > starts) & (low[:, axis] < starts + side))
    return int((shown[0].astype(int) @ shown[1].T).max())


def _anchors(objects: Sequence[Objects], config: Config, rng: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Whether the anchors fit, and others that do."""
    if config.takes_proposals or config.by_pixels or (config.DETECTOR in ONE_STAGE and config.DETECTOR != "retinanet"):
        return
    low, high = config.SCALE_JITTER or (1, 1)
    factors = [low + (high - low) * share for share in JITTERED] if low < high else [low]
    boxes = np.concatenate([seen(objects, config, factor).pixels for factor in factors])
    sizes = f"IMAGE_MAX_DIM = {config.IMAGE_MAX_DIM}"
    if config.SCALE_JITTER:
        sizes += f" and SCALE_JITTER = {low:g},{high:g}"
    boxes = boxes if len(boxes) <= MOST else rng.choice(boxes, MOST, replace=False)
    own = best_ious(boxes, config.RPN_ANCHOR_SCALES, config.RPN_ANCHOR_RATIOS, config)
    missed = float(np.mean(own < ENOUGH))
    yield (
        (
            f"At {sizes} {missed:.1%} of the objects are matched by no anchor at an IoU of {ENOUGH}; the mean of the "
            f"best IoU is {own.mean():.3f}."
        ),
        {},
    )
    scales, ratios, ious = propose_anchors(boxes, config)
    if missed - np.mean(ious < ENOUGH) > GAIN:
        yield (
            (f"Those below leave {np.mean(ious < ENOUGH):.1%} unmatched; the mean of theirs is {ious.mean():.3f}."),
            {"RPN_ANCHOR_SCALES": scales, "RPN_ANCHOR_RATIOS": ratios},
        )


def propose_anchors(boxes: np.ndarray, config: Config) -> tuple[list[Any], list[float], np.ndarray]:
    """RPN_ANCHOR_SCALES and RPN_ANCHOR_RATIOS, as many as a config has, that boxes [n, 4] fit best, and the IoU [n] of
    each box with the best of the anchors: fewest below `ENOUGH`, then the highest mean.

    Scales grow from level to level by one factor; those of a level keep the shares that they have to the first.
    """
    sides = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    levels = [np.ravel(x) for x in config.RPN_ANCHOR_SCALES]
    several = np.ndim(config.RPN_ANCHOR_SCALES[0]) > 0
    starts = np.geomspace(max(4, np.percentile(sides, 1) / 2), max(8, np.percentile(sides, 50)), STARTS)

    def scales_of(start, factor):
        grown = [(start * factor**i * level / level[0]).round(1) for i, level in enumerate(levels)]
        return [x.tolist() if several else float(x[0]) for x in grown]

    def value(choice):
        ious = best_ious(boxes, choice[0], choice[1], config)
        return np.mean(ious >= ENOUGH), ious.mean(), choice, ious

    choices = [
        (scales_of(start, factor), ratios)
        for start, factor, ratios in product(starts, STEPS, _ratios(boxes, len(config.RPN_ANCHOR_RATIOS), config))
    ]
    *_, (scales, ratios), ious = max(map(value, choices), key=lambda x: x[:2])
    return scales, ratios, ious


def _ratios(boxes, count, config):
    """The config's own, and those at the middle of as many equal parts of the set's."""
    height, width = (boxes[:, 2:] - boxes[:, :2]).T
    # Those of objects: between two shapes lies one that none has.
    middles = np.quantile(np.log(width / height), (np.arange(count) + 0.5) / count, method="nearest")
    return [list(map(float, config.RPN_ANCHOR_RATIOS)), [float(f"{x:.3g}") for x in np.exp(middles)]]


def pasted(settings: dict[str, Any]) -> str:
    """Settings as they follow --config; in quotes where a shell would take their brackets for its own, as zsh does."""
    words = (f"{name}={value}".replace(" ", "") for name, value in settings.items())
    return " ".join(f'"{word}"' if "[" in word else word for word in words)
