"""What a setting may be: one table of types and ranges, and the rules that hold between settings."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

# What LOSS_WEIGHTS weighs.
LOSSES = (
    "rpn_class_loss",
    "rpn_bbox_loss",
    "mrcnn_class_loss",
    "mrcnn_bbox_loss",
    "mrcnn_mask_loss",
    "mrcnn_keypoint_loss",
)

# Those of other detectors, which LOSS_WEIGHTS may have too.
MORE_LOSSES = tuple(f"mrcnn_{stage}_{kind}_loss" for stage in (2, 3) for kind in ("class", "bbox"))

# DETECTOR -> what it may find, as COCO calls it; masks and keypoints where it is given the heads for them.
DETECTORS = {
    "mask_rcnn": ("bbox", "segm", "keypoints"),
    "faster_rcnn": ("bbox",),
    "cascade_rcnn": ("bbox", "segm", "keypoints"),
    "fast_rcnn": ("bbox",),
}

# Those of them that look at boxes which come with the images.
PROPOSALS_GIVEN = ("fast_rcnn",)

# Strides of a backbone's maps C2..C5.
MAP_STRIDES = (4, 8, 16, 32)


# Types


def is_function(x: Any) -> bool:
    """Whether a setting is code: a function, or a static method read from a class."""
    return callable(x) or isinstance(x, staticmethod)


def _is_text(x):
    return isinstance(x, str)


def _is_flag(x):
    return isinstance(x, (bool, np.bool_))


def _is_number(x):
    return isinstance(x, numbers.Real) and not _is_flag(x) and math.isfinite(x)


def _is_whole(x):
    return _is_number(x) and float(x).is_integer()


def _is_sequence_of(fits, count=None):
    return lambda x: (
        hasattr(x, "__len__")
        and not isinstance(x, (str, dict))
        and count in (None, len(x))
        and all(fits(value) for value in x)
    )


# Ranges, which hold for every number of a sequence: in words and as a test.
Range = tuple[str, Callable[[np.ndarray], np.ndarray]]
SHARE: Range = ("between 0 and 1", lambda x: (x >= 0) & (x <= 1))
ABOVE_0: Range = ("above 0", lambda x: x > 0)


def _at_least(low: float) -> Range:
    return f"at least {low}", lambda x: x >= low


@dataclass(frozen=True)
class Kind:
    """What a setting may be: its type in words and as a test, its range, and the one type that the package sees.

    `range` None leaves the numbers free; `convert` gives back the value itself where there is nothing to do.
    """

    words: str
    fits: Callable[[Any], bool]
    range: Range | None = None
    convert: Callable[[Any], Any] = lambda x: x

    def remedy(self, value: Any) -> str | None:
        """What to do about a value, as half a sentence; None where it is fine."""
        if not self.fits(value):
            return f"it must be {self.words}."
        if self.range and value is not None:
            words, inside = self.range
            if not np.all(inside(np.asarray(list(value.values()) if isinstance(value, dict) else value))):
                return f"it must be {words}."
        return None


@dataclass(frozen=True)
class Choice:
    """A setting that names one of a few ways."""

    choices: tuple[str, ...]

    def remedy(self, value: Any) -> str | None:
        """As `Kind.remedy`."""
        return None if _is_text(value) and value in self.choices else f"choose one of {', '.join(self.choices)}."

    def convert(self, value: Any) -> Any:
        """As `Kind.convert`."""
        return value


def _choice(*choices):
    return Choice(choices)


def _whole(low=0):
    return Kind("a whole number", _is_whole, _at_least(low), int)  # also of len(images) / 2


def _number(limit=None):
    return Kind("a number", _is_number, limit)


def _sequence(limit=None):
    return Kind("a sequence of numbers", _is_sequence_of(_is_number), limit)


def _array(limit=None, count=None):
    """Settings that were NumPy arrays in the original; a config made from JSON has them too."""
    words = f"a sequence of {count} numbers" if count else "a sequence of numbers"
    return Kind(words, _is_sequence_of(_is_number, count), limit, lambda x: np.asarray(x, float))


def _or_none(kind):
    """The same, or None."""
    return Kind(
        f"{kind.words} or None",
        lambda x: x is None or kind.fits(x),
        kind.range,
        lambda x: None if x is None else kind.convert(x),
    )


def _is_scales(x):
    """Numbers, or as many for each entry."""
    several = _is_sequence_of(_is_sequence_of(_is_number))(x) and len({len(level) for level in x}) == 1
    return several or _is_sequence_of(_is_number)(x)


_text = Kind("text", _is_text)
_flag = Kind("True or False", _is_flag, convert=bool)
_function = Kind("a function", is_function)
_texts = Kind("a sequence of texts", _is_sequence_of(_is_text))
_pairs = Kind("a sequence of pairs of indices", _is_sequence_of(_is_sequence_of(_is_whole, 2)))
_ids = Kind("a sequence of class ids", _is_sequence_of(_is_whole))
_shape = Kind("two whole numbers", _is_sequence_of(_is_whole, 2), _at_least(1))

# Every setting of `Config`.
SETTINGS: dict[str, Kind | Choice] = {
    "NAME": _or_none(_text),
    "DETECTOR": Choice(tuple(DETECTORS)),
    "GPU_COUNT": _whole(1),
    "IMAGES_PER_GPU": _whole(1),
    "STEPS_PER_EPOCH": _whole(1),
    "VALIDATION_STEPS": _whole(),
    "BACKBONE": Kind("the name of a backbone or a function", lambda x: _is_text(x) or is_function(x)),
    "RESNET_STRIDE": _choice("1x1", "3x3"),
    "RESNET_BIAS": _flag,
    "RESNET_PADDING": _choice("same", "symmetric"),
    "BATCH_NORM_EPSILON": _number(_at_least(0)),
    "COMPUTE_BACKBONE_SHAPE": _or_none(_function),
    "BACKBONE_WIDTH": _whole(1),
    "BACKBONE_STRIDES": _sequence(ABOVE_0),
    "FPN_CLASSIF_FC_LAYERS_SIZE": _whole(1),
    "TOP_DOWN_PYRAMID_SIZE": _whole(1),
    "BOX_DENSE_LAYERS": _whole(1),
    "BOX_CONVOLUTIONS": _whole(),
    "BOX_CHANNELS": _whole(1),
    "FPN_BN": _flag,
    "BOX_HEAD_BN": _flag,
    "MASK_HEAD_BN": _flag,
    "RPN_CHANNELS": _whole(1),
    "RPN_CONVOLUTIONS": _whole(1),
    "MASK_CHANNELS": _whole(1),
    "NUM_CLASSES": Kind("a whole number", _is_whole, convert=int),  # `_classes` has a better word on its range
    "RPN_ANCHOR_SCALES": Kind("a sequence of numbers, or of as many for each level", _is_scales, ABOVE_0),
    "RPN_ANCHOR_RATIOS": _sequence(ABOVE_0),
    "RPN_ANCHOR_STRIDE": _whole(1),
    "RPN_ANCHORS": _choice("exact", "rounded"),
    "RPN_SCORE": _choice("softmax", "sigmoid"),
    "BOX_NORMALIZATION": _choice("pixels", "edges"),
    "RPN_NMS_THRESHOLD": _number(SHARE),
    "RPN_TRAIN_ANCHORS_PER_IMAGE": _whole(1),
    "PRE_NMS_LIMIT": _whole(1),
    "PROPOSAL_NMS": _choice("joint", "level"),
    "PROPOSAL_WINDOW": _choice("padded", "image"),
    "POST_NMS_ROIS_TRAINING": _whole(1),
    "POST_NMS_ROIS_INFERENCE": _whole(1),
    "USE_MINI_MASK": _flag,
    "MINI_MASK_SHAPE": _shape,
    "IMAGE_RESIZE_MODE": _choice("square", "rect", "shortest", "pad64", "crop", "none"),
    "IMAGE_MIN_DIM": _or_none(_whole()),
    "IMAGE_MAX_DIM": _or_none(_whole()),
    "IMAGE_MIN_SCALE": _or_none(_number(_at_least(0))),
    "IMAGE_CHANNEL_COUNT": _whole(1),
    "MEAN_PIXEL": _array(),
    "PIXEL_STD": Kind(
        "a number or a sequence of numbers", lambda x: _is_number(x) or _is_sequence_of(_is_number)(x), ABOVE_0
    ),
    "CHANNEL_ORDER": _choice("rgb", "bgr"),
    "IMAGE_PADDING": _choice("black", "mean"),
    "IMAGE_ROUNDING": _choice("truncate", "nearest"),
    "TRAIN_ROIS_PER_IMAGE": _whole(1),
    "ROI_POSITIVE_RATIO": _number(SHARE),
    "APPEND_GT_ROIS": _flag,
    "CASCADE_IOUS": _sequence(SHARE),
    "ROI_LEVEL": _choice("round", "floor"),
    "ROI_ALIGN": _choice("corners", "bins", "aligned", "pool"),
    "POOL_SIZE": _whole(1),
    "MASK_POOL_SIZE": _whole(1),
    "MASK_SHAPE": _shape,
    "USE_MASK": _flag,
    "NUM_KEYPOINTS": _whole(),
    "KEYPOINT_NAMES": _texts,
    "KEYPOINT_FLIP_PAIRS": _pairs,
    "KEYPOINT_SKELETON": _pairs,
    "KEYPOINT_SIGMAS": _sequence(ABOVE_0),
    "KEYPOINT_CLASSES": _or_none(_ids),
    "KEYPOINT_POOL_SIZE": _whole(1),
    "KEYPOINT_CONVOLUTIONS": _whole(1),
    "KEYPOINT_CHANNELS": _whole(1),
    "KEYPOINT_MASK_SHAPE": _shape,
    "KEYPOINT_DECODE": _choice("cells", "pixels"),
    "KEYPOINT_ROI_EXPAND": _number(_at_least(1)),  # less, and points leave their RoI
    "MAX_GT_INSTANCES": _whole(1),
    "RPN_BBOX_STD_DEV": _array(ABOVE_0, 4),
    "BBOX_STD_DEV": _array(ABOVE_0, 4),
    "DETECTION_MAX_INSTANCES": _whole(1),
    "DETECTION_MIN_CONFIDENCE": _number(SHARE),
    "DETECTION_NMS_THRESHOLD": _number(SHARE),
    "DETECTION_CLASSES": _choice("best", "all"),
    "DETECTION_NMS": _choice("class", "all", "none"),
    "MASK_PASTE": _choice("integer", "exact", "torchvision"),
    "OPTIMIZER": _choice("sgd", "adamw"),
    "LEARNING_RATE": _number(_at_least(0)),
    "LEARNING_MOMENTUM": _number(SHARE),
    "WEIGHT_DECAY": _number(_at_least(0)),
    "WEIGHT_DECAY_BY": _choice("loss", "optimizer"),
    "LEARNING_RATE_SCHEDULE": _choice("constant", "step", "cosine"),
    "WARMUP_STEPS": _whole(),
    "LOSS_WEIGHTS": Kind(
        "a dict of numbers", lambda x: isinstance(x, dict) and all(map(_is_number, x.values())), _at_least(0)
    ),
    "LOSS_MEAN": _choice("positives", "sample"),
    "SMOOTH_L1_BETA": _number(_at_least(0)),
    "MASK_LOSS": _choice("probabilities", "logits"),
    "USE_RPN_ROIS": _flag,
    "TRAIN_BN": Kind("True, False or None", lambda x: x is None or _is_flag(x)),
    "GRADIENT_CLIP_NORM": _number(ABOVE_0),
    "PRECISION": _choice("float32", "bfloat16", "float16"),
}


# Rules between settings: each yields a sentence for what is wrong. They see values of the right type alone.


def _classes(c):
    if c.NUM_CLASSES < 2:
        yield f"NUM_CLASSES is {c.NUM_CLASSES}; set it to 1 (the background) plus the number of your classes."


def _sides(c):
    if c.IMAGE_RESIZE_MODE == "none":
        return
    name = "IMAGE_MIN_DIM" if c.IMAGE_RESIZE_MODE in ("crop", "pad64") else "IMAGE_MAX_DIM"
    side = getattr(c, name)
    if not side or side % 64:
        near = 64 * max(1, math.ceil((side or 64) / 64))
        yield f"{name} is {side}; it must be a multiple of 64 in mode {c.IMAGE_RESIZE_MODE!r}, for instance {near}."


def _losses(c):
    known = LOSSES + MORE_LOSSES
    unknown = sorted(set(c.LOSS_WEIGHTS) - set(known))
    if unknown:
        yield f"LOSS_WEIGHTS has {', '.join(unknown)}; the losses are {', '.join(known)}."


def _levels(c):
    scales, levels = len(c.RPN_ANCHOR_SCALES), len(c.BACKBONE_STRIDES)
    if scales != levels:
        yield (
            f"RPN_ANCHOR_SCALES has {scales} values for {levels} pyramid levels; give one scale for each entry of "
            "BACKBONE_STRIDES."
        )
    if levels == 1 and c.BACKBONE_STRIDES[0] not in MAP_STRIDES:
        yield (
            f"BACKBONE_STRIDES is {list(c.BACKBONE_STRIDES)}; a backbone's single map has a stride of "
            f"{', '.join(map(str, MAP_STRIDES))}."
        )


def _channels(c):
    for name in ("MEAN_PIXEL", "PIXEL_STD"):
        given, wanted = np.size(getattr(c, name)), c.IMAGE_CHANNEL_COUNT
        if given != wanted and not (name == "PIXEL_STD" and _is_number(c.PIXEL_STD)):
            yield f"{name} has {given} values for IMAGE_CHANNEL_COUNT = {wanted}; give one value for each channel."


def _mask_shape(c):
    shape = (2 * c.MASK_POOL_SIZE,) * 2
    if tuple(c.MASK_SHAPE) != shape:
        yield (
            f"MASK_SHAPE is {tuple(c.MASK_SHAPE)}; the mask head doubles MASK_POOL_SIZE = {c.MASK_POOL_SIZE}, so it "
            f"must be {shape}."
        )


def _positives(c):
    if c.TRAIN_ROIS_PER_IMAGE * c.ROI_POSITIVE_RATIO < 1:
        yield (
            f"TRAIN_ROIS_PER_IMAGE = {c.TRAIN_ROIS_PER_IMAGE} with ROI_POSITIVE_RATIO = {c.ROI_POSITIVE_RATIO} leaves "
            "no room for a positive RoI; raise one of them."
        )


def _keypoints(c):
    count = c.NUM_KEYPOINTS
    for name in ("KEYPOINT_NAMES", "KEYPOINT_SIGMAS"):
        given = len(getattr(c, name))
        if given not in (0, count):
            yield f"{name} has {given} entries for NUM_KEYPOINTS = {count}; give {count} or none."
    for name in ("KEYPOINT_FLIP_PAIRS", "KEYPOINT_SKELETON"):
        wrong = [pair for pair in getattr(c, name) if not all(0 <= i < count for i in pair)]
        if wrong:
            yield f"{name} has {wrong}; the indices of {count} keypoints are 0 to {count - 1}."
    if c.KEYPOINT_CLASSES is not None:
        if len(c.KEYPOINT_CLASSES) == 0:
            yield "KEYPOINT_CLASSES is empty; None stands for all classes."
        wrong = [i for i in c.KEYPOINT_CLASSES if not 0 < i < c.NUM_CLASSES]
        if wrong:
            yield f"KEYPOINT_CLASSES has {wrong}; the ids of the classes are 1 to {c.NUM_CLASSES - 1}."
    shape = (4 * c.KEYPOINT_POOL_SIZE,) * 2
    if tuple(c.KEYPOINT_MASK_SHAPE) != shape:
        yield (
            f"KEYPOINT_MASK_SHAPE is {tuple(c.KEYPOINT_MASK_SHAPE)}; it is four times KEYPOINT_POOL_SIZE = "
            f"{c.KEYPOINT_POOL_SIZE}, so it must be {shape}."
        )


RULES = (_classes, _sides, _losses, _levels, _channels, _mask_shape, _positives, _keypoints)


def problems(config: Any) -> Iterator[str]:
    """A sentence for each impossible value of a config; rules between settings count where every type is right."""
    values = {name: getattr(config, name) for name in SETTINGS}
    found = [
        f"{name} is {values[name]!r}; {remedy}"
        for name, kind in SETTINGS.items()
        if (remedy := kind.remedy(values[name]))
    ]
    yield from found
    if not found:
        for rule in RULES:
            yield from rule(config)
