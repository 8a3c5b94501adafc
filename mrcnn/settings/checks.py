"""What a setting may be: one table of types and ranges."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
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
MORE_LOSSES = (
    *(f"mrcnn_{stage}_{kind}_loss" for stage in (2, 3) for kind in ("class", "bbox")),
    *(f"dense_{kind}_loss" for kind in ("class", "bbox", "centerness")),
)

# DETECTOR -> what it may find, as COCO calls it; masks and keypoints where it is given the heads for them.
DETECTORS = {
    "mask_rcnn": ("bbox", "segm", "keypoints"),
    "faster_rcnn": ("bbox",),
    "cascade_rcnn": ("bbox", "segm", "keypoints"),
    "fast_rcnn": ("bbox",),
    "retinanet": ("bbox",),
    "fcos": ("bbox",),
    "ssd": ("bbox",),
}

# Those of one stage on a pyramid, and all of one stage.
PYRAMIDS = ("retinanet", "fcos")
ONE_STAGE = (*PYRAMIDS, "ssd")

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


def is_number(x: Any) -> bool:
    """Whether a setting is a finite number."""
    return isinstance(x, numbers.Real) and not _is_flag(x) and math.isfinite(x)


def _is_whole(x):
    return is_number(x) and float(x).is_integer()


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
    return Kind("a number", is_number, limit)


def _sequence(limit=None):
    return Kind("a sequence of numbers", _is_sequence_of(is_number), limit)


def _array(limit=None, count=None):
    """Settings that were NumPy arrays in the original; a config made from JSON has them too."""
    words = f"a sequence of {count} numbers" if count else "a sequence of numbers"
    return Kind(words, _is_sequence_of(is_number, count), limit, lambda x: np.asarray(x, float))


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
    several = _is_sequence_of(_is_sequence_of(is_number))(x) and len({len(level) for level in x}) == 1
    return several or _is_sequence_of(is_number)(x)


_text = Kind("text", _is_text)
_flag = Kind("True or False", _is_flag, convert=bool)
_function = Kind("a function", is_function)
_texts = Kind("a sequence of texts", _is_sequence_of(_is_text))
_pairs = Kind("a sequence of pairs of indices", _is_sequence_of(_is_sequence_of(_is_whole, 2)))
_ids = Kind("a sequence of class ids", _is_sequence_of(_is_whole))
_bounds = Kind("two numbers, the lower one first", lambda x: _is_sequence_of(is_number, 2)(x) and x[0] <= x[1], SHARE)
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
    "IMAGE_RESIZE_MODE": _choice("square", "rect", "shortest", "pad64", "crop", "stretch", "none"),
    "IMAGE_MIN_DIM": _or_none(_whole()),
    "IMAGE_MAX_DIM": _or_none(_whole()),
    "IMAGE_MIN_SCALE": _or_none(_number(_at_least(0))),
    "IMAGE_CHANNEL_COUNT": _whole(1),
    "MEAN_PIXEL": _array(),
    "PIXEL_STD": Kind(
        "a number or a sequence of numbers", lambda x: is_number(x) or _is_sequence_of(is_number)(x), ABOVE_0
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
    "DENSE_TOP": _choice("level", "map"),
    "DENSE_CONVOLUTIONS": _whole(),
    "DENSE_NORM": _choice("none", "group"),
    "DENSE_IOU": _bounds,
    "DENSE_BOX_LOSS": _choice("smooth_l1", "giou"),
    "DENSE_CANDIDATES": _whole(1),
    "FOCAL_ALPHA": _or_none(_number(SHARE)),
    "FOCAL_GAMMA": _number(_at_least(0)),
    "FCOS_RADIUS": _number(ABOVE_0),
    "SSD_SCALES": _sequence(ABOVE_0),
    "SSD_RATIOS": Kind("a sequence of sequences of numbers", _is_sequence_of(_is_sequence_of(is_number))),
    "SSD_NEGATIVES": _number(_at_least(0)),
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
        "a dict of numbers", lambda x: isinstance(x, dict) and all(map(is_number, x.values())), _at_least(0)
    ),
    "LOSS_MEAN": _choice("positives", "sample"),
    "SMOOTH_L1_BETA": _number(_at_least(0)),
    "MASK_LOSS": _choice("probabilities", "logits"),
    "USE_RPN_ROIS": _flag,
    "TRAIN_BN": Kind("True, False or None", lambda x: x is None or _is_flag(x)),
    "GRADIENT_CLIP_NORM": _number(ABOVE_0),
    "PRECISION": _choice("float32", "bfloat16", "float16"),
}
