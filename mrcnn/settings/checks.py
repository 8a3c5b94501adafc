"""What settings may be, and numbers that functions take: two tables of types and ranges, and their check."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from mrcnn.settings.kinds import (
    ABOVE_0,
    BELOW_1,
    LONGEST_NAME,
    MOST,
    MOST_CELLS,
    MOST_INSTANCES,
    MOST_WIDE,
    SHARE,
    Choice,
    Kind,
    at_least,
    is_flag_or_bit,
    is_function,
    is_name,
    is_number,
    is_sequence_of,
    is_text,
    is_whole,
    short,
)

F = TypeVar("F", bound=Callable[..., Any])

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
    *(f"dense_{kind}_loss" for kind in ("class", "bbox", "centerness", "object")),
    *("semantic_loss", "semantic_aux_loss"),
    *(f"dense_{kind}_loss" for kind in ("size", "offset", "joint_class", "joint_vector", "joint_offset")),
    *(f"dense_{kind}_loss" for kind in ("pull", "push")),
)

# DETECTOR -> what it may find, as COCO calls it; masks and keypoints where it is given the heads for them.
DETECTORS = {
    "mask_rcnn": ("bbox", "segm", "keypoints"),
    "faster_rcnn": ("bbox",),
    "cascade_rcnn": ("bbox", "segm", "keypoints"),
    "fast_rcnn": ("bbox",),
    "rcnn": ("bbox",),
    "retinanet": ("bbox",),
    "fcos": ("bbox",),
    "ssd": ("bbox",),
    "fcn": ("bbox", "segm", "semantic"),
    "unet": ("bbox", "segm", "semantic"),
    "yolo_v1": ("bbox",),
    "yolo_v2": ("bbox",),
    "yolo_v3": ("bbox",),
    "cornernet": ("bbox",),
    "centernet": ("bbox", "keypoints"),
}

# Those of one stage on a pyramid, with anchors in cells, and all of one stage.
PYRAMIDS = ("retinanet", "fcos")
CELLS = ("yolo_v2", "yolo_v3")
ONE_STAGE = (*PYRAMIDS, "ssd", "yolo_v1", *CELLS, "cornernet", "centernet")

# Those that take images of one size, and need not pad them.
ONE_SIZE = ("ssd", "yolo_v1")

# Those of them that look at boxes which come with the images.
PROPOSALS_GIVEN = ("fast_rcnn", "rcnn")

# Strides of a backbone's maps C2..C5.
MAP_STRIDES = (4, 8, 16, 32)


def _choice(*choices, true=None):
    return Choice(choices, true)


def _whole(low=0, high=MOST):
    return Kind("a whole number", is_whole, at_least(low), int, high)  # also of len(images) / 2


def _number(limit=None):
    return Kind("a number", is_number, limit)


def _sequence(limit=None, high=MOST):
    return Kind("a sequence of numbers", is_sequence_of(is_number), limit, most=high)


def _numbers(limit=None, convert=lambda x: x):
    """One for all channels, or one for each."""
    fits = is_sequence_of(is_number)
    return Kind("a number or a sequence of numbers", lambda x: is_number(x) or fits(x), limit, convert)


# Settings that were NumPy arrays in the original; a config made from JSON has them too.
def _to_array(x):
    return np.asarray(x, float)


def _array(count, limit=None):
    return Kind(f"a sequence of {count} numbers", is_sequence_of(is_number, count), limit, _to_array)


def _or_none(kind):
    """The same, or None."""
    return Kind(
        f"{kind.words} or None",
        lambda x: x is None or kind.fits(x),
        kind.range,
        lambda x: None if x is None else kind.convert(x),
        kind.most,
    )


def _is_scales(x):
    """Numbers, or as many for each entry."""
    several = is_sequence_of(is_sequence_of(is_number))(x) and len({len(level) for level in x}) == 1
    return several or is_sequence_of(is_number)(x)


def _is_sizes(x):
    """Pairs for each level, of equal number."""
    pairs = is_sequence_of(is_sequence_of(is_sequence_of(is_number, 2)))
    return pairs(x) and len({len(level) for level in x}) == 1 and len(x[0]) > 0


def _is_bounds(x):
    return is_sequence_of(is_number, 2)(x) and x[0] <= x[1]


_name = Kind(
    f"a name of at most {LONGEST_NAME} bytes: letters, digits, _, and from the second on spaces and . + -", is_name
)
_flag = Kind("True or False", is_flag_or_bit, convert=bool)
_function = Kind("a function", is_function)
# Where the numbers of a training may go: see `mrcnn.train.trackers`.
TRACKERS = "tensorboard", "csv", "mlflow", "wandb"

_texts = Kind("a sequence of texts", is_sequence_of(is_text))
_pairs = Kind("a sequence of pairs of indices", is_sequence_of(is_sequence_of(is_whole, 2)))
_ids = Kind("a sequence of class ids", is_sequence_of(is_whole))
_bounds = Kind("two numbers, the lower one first", _is_bounds, SHARE)
_shape = Kind("two whole numbers", is_sequence_of(is_whole, 2), at_least(1), most=MOST_CELLS)

# Every setting of `Config`.
SETTINGS: dict[str, Kind | Choice] = {
    "NAME": _or_none(_name),
    "DETECTOR": Choice(tuple(DETECTORS)),
    "GPU_COUNT": _whole(1, MOST_WIDE),
    "IMAGES_PER_GPU": _whole(1, MOST_WIDE),
    "STEPS_PER_EPOCH": _whole(1),
    "VALIDATION_STEPS": _or_none(_whole()),
    "TRACKERS": Kind(f"some of {', '.join(TRACKERS)}", is_sequence_of(lambda x: is_text(x) and x in TRACKERS)),
    "BACKBONE": Kind(
        "the name of a backbone or a function", lambda x: (is_text(x) and x.isidentifier()) or is_function(x)
    ),
    "RESNET_STRIDE": _choice("1x1", "3x3"),
    "RESNET_BIAS": _flag,
    "RESNET_PADDING": _choice("same", "symmetric"),
    "BATCH_NORM_EPSILON": _number(at_least(0)),
    "COMPUTE_BACKBONE_SHAPE": _or_none(_function),
    "BACKBONE_WIDTH": _whole(1, MOST_WIDE),
    "BACKBONE_STRIDES": _sequence(ABOVE_0, MOST_WIDE),
    "FPN_CLASSIF_FC_LAYERS_SIZE": _whole(1, MOST_WIDE),
    "TOP_DOWN_PYRAMID_SIZE": _whole(1, MOST_WIDE),
    "BOX_DENSE_LAYERS": _whole(1, MOST_CELLS),
    "BOX_CONVOLUTIONS": _whole(0, MOST_CELLS),
    "BOX_CHANNELS": _whole(1, MOST_WIDE),
    "HEAD_NORM": _choice("batch", "group"),
    "FPN_BN": _flag,
    "BOX_HEAD_BN": _flag,
    "MASK_HEAD_BN": _flag,
    "RPN_CHANNELS": _whole(1, MOST_WIDE),
    "RPN_CONVOLUTIONS": _whole(1, MOST_CELLS),
    "MASK_CHANNELS": _whole(1, MOST_WIDE),
    # A rule has a better word on what is too little.
    "NUM_CLASSES": _whole(1, MOST_INSTANCES),
    "RPN_ANCHOR_SCALES": Kind(
        "a sequence of numbers, or of as many for each level", _is_scales, ABOVE_0, most=MOST_WIDE
    ),
    "RPN_ANCHOR_RATIOS": _sequence(ABOVE_0, MOST_CELLS),
    "RPN_ANCHOR_STRIDE": _whole(1, MOST_CELLS),
    "RPN_ANCHORS": _choice("exact", "rounded"),
    "RPN_SCORE": _choice("softmax", "sigmoid"),
    "BOX_NORMALIZATION": _choice("pixels", "edges"),
    "RPN_NMS_THRESHOLD": _number(SHARE),
    "RPN_TRAIN_ANCHORS_PER_IMAGE": _whole(1, MOST_INSTANCES),
    "PRE_NMS_LIMIT": _whole(1),
    "PROPOSAL_NMS": _choice("joint", "level"),
    "PROPOSAL_WINDOW": _choice("padded", "image"),
    "POST_NMS_ROIS_TRAINING": _whole(1, MOST_INSTANCES),
    "POST_NMS_ROIS_INFERENCE": _whole(1, MOST_INSTANCES),
    "USE_MINI_MASK": _flag,
    "MINI_MASK_SHAPE": _shape,
    "IMAGE_RESIZE_MODE": _choice("square", "rect", "shortest", "pad64", "crop", "stretch", "none"),
    "IMAGE_MIN_DIM": _or_none(_whole(0, MOST_WIDE)),
    "IMAGE_MAX_DIM": _or_none(_whole(0, MOST_WIDE)),
    "IMAGE_MIN_SCALE": _or_none(Kind("a number", is_number, at_least(0), most=64)),
    "IMAGE_CHANNEL_COUNT": _whole(1, MOST_WIDE),
    "MEAN_PIXEL": _numbers(convert=_to_array),
    "PIXEL_STD": _numbers(ABOVE_0),
    "CHANNEL_ORDER": _choice("rgb", "bgr"),
    "IMAGE_PADDING": _choice("black", "mean", true="black"),
    "IMAGE_ROUNDING": _choice("truncate", "nearest"),
    "TRAIN_ROIS_PER_IMAGE": _whole(1, MOST_INSTANCES),
    "ROI_POSITIVE_RATIO": _number(SHARE),
    "APPEND_GT_ROIS": _flag,
    "CASCADE_IOUS": _sequence(SHARE),
    "ROI_LEVEL": _choice("round", "floor"),
    "ROI_ALIGN": _choice("corners", "bins", "aligned", "pool"),
    "POOL_SIZE": _whole(1, MOST_CELLS),
    "MASK_POOL_SIZE": _whole(1, MOST_CELLS),
    "MASK_SHAPE": _shape,
    "USE_MASK": _flag,
    "NUM_KEYPOINTS": _whole(0, MOST_CELLS),
    "KEYPOINT_NAMES": _texts,
    "CLASS_NAMES": _texts,
    "KEYPOINT_FLIP_PAIRS": _pairs,
    "KEYPOINT_SKELETON": _pairs,
    "KEYPOINT_SIGMAS": _sequence(ABOVE_0),
    "KEYPOINT_CLASSES": _or_none(_ids),
    "KEYPOINT_POOL_SIZE": _whole(1, MOST_CELLS),
    "KEYPOINT_CONVOLUTIONS": _whole(1, MOST_CELLS),
    "KEYPOINT_CHANNELS": _whole(1, MOST_WIDE),
    "KEYPOINT_MASK_SHAPE": _shape,
    "KEYPOINT_DECODE": _choice("cells", "pixels"),
    "KEYPOINT_ROI_EXPAND": Kind("a number", is_number, at_least(1), most=100),  # below 1 points leave their RoI
    "RCNN_CROP_SIZE": _whole(32, MOST_WIDE),
    "RCNN_CONTEXT": _whole(0, MOST_WIDE),
    "DENSE_TOP": _choice("level", "map"),
    "DENSE_CONVOLUTIONS": _whole(0, MOST_CELLS),
    "DENSE_NORM": _choice("none", "group"),
    "DENSE_IOU": _bounds,
    "DENSE_BOX_LOSS": _choice("smooth_l1", "giou"),
    "DENSE_CANDIDATES": _whole(1),
    "FOCAL_ALPHA": _or_none(_number(SHARE)),
    "FOCAL_GAMMA": _number(at_least(0)),
    "FCOS_RADIUS": _number(ABOVE_0),
    "SSD_SCALES": _sequence(ABOVE_0),
    "SSD_RATIOS": Kind(
        "a sequence of sequences of numbers", is_sequence_of(is_sequence_of(is_number)), ABOVE_0, most=MOST_CELLS
    ),
    "SSD_NEGATIVES": _number(at_least(0)),
    "FCN_HEAD": _choice("skips", "dilated"),
    "FCN_STRIDE": Kind("8, 16 or 32", lambda x: is_whole(x) and x in (8, 16, 32), convert=int),
    "FCN_CHANNELS": _whole(0, MOST_WIDE),
    "FCN_DROPOUT": _number(BELOW_1),
    "UNET_LEVELS": _whole(1, 6),  # images are multiples of 64 pixels
    "UNET_BN": _flag,
    "UNET_UNPOOL": _choice("transposed", "nearest", "nails", "maxima"),
    "UNET_DROPOUT": _number(BELOW_1),
    "BORDER_WEIGHT": _number(at_least(0)),
    "BORDER_SIGMA": _number(ABOVE_0),
    "CLASS_BALANCE": _number(SHARE),
    "COMPONENT_AREA": _whole(1),
    "YOLO_ANCHORS": Kind(
        "for each map of BACKBONE_STRIDES equally many pairs of numbers, (width, height)", _is_sizes, ABOVE_0
    ),
    "YOLO_IGNORE": _number(SHARE),
    "YOLO_ALIKE": _number(SHARE),
    "YOLO_BOXES": _whole(1, MOST_CELLS),
    "YOLO_DENSE": _whole(0, MOST_WIDE),
    "YOLO_NO_OBJECT": _number(at_least(0)),
    "DARKNET": _or_none(Kind("the text of a .cfg file of Darknet", is_text)),
    "CENTERNET_UP": _choice("transposed", "aggregation"),
    "HEATMAP_RADIUS": _choice("exact", "published"),
    "HEATMAP_IOU": Kind("a number", is_number, ("above 0 and below 1", lambda x: 0 < x < 1)),
    "HEATMAP_BETA": _number(at_least(0)),
    "MAX_GT_INSTANCES": _whole(1, MOST_INSTANCES),
    "RPN_BBOX_STD_DEV": _array(4, ABOVE_0),
    "BBOX_STD_DEV": _array(4, ABOVE_0),
    "DETECTION_MAX_INSTANCES": _whole(1, MOST_INSTANCES),
    "DETECTION_MIN_CONFIDENCE": _number(SHARE),
    "DETECTION_NMS_THRESHOLD": _number(SHARE),
    "DETECTION_CLASSES": _choice("best", "all"),
    "DETECTION_NMS": _choice("class", "all", "none"),
    "MASK_PASTE": _choice("integer", "exact", "torchvision"),
    "OPTIMIZER": _choice("sgd", "adamw"),
    "LEARNING_RATE": _number(at_least(0)),
    "LEARNING_MOMENTUM": _number(SHARE),
    "WEIGHT_DECAY": _number(at_least(0)),
    "WEIGHT_DECAY_BY": _choice("loss", "optimizer"),
    "LEARNING_RATE_SCHEDULE": _choice("constant", "step", "cosine"),
    "WARMUP_STEPS": _whole(),
    "LOSS_WEIGHTS": Kind(
        "a dict of numbers",
        lambda x: isinstance(x, dict) and all(map(is_text, x)) and all(map(is_number, x.values())),
        at_least(0),
    ),
    "LOSS_MEAN": _choice("positives", "sample"),
    "SMOOTH_L1_BETA": _number(at_least(0)),
    "MASK_LOSS": _choice("probabilities", "logits"),
    "USE_RPN_ROIS": _flag,
    "FREEZE_BACKBONE_BN": _flag,
    "SCALE_JITTER": _or_none(Kind("two numbers, the lower one first", _is_bounds, ABOVE_0, most=16)),
    "COPY_PASTE": _number(SHARE),
    "REPEAT_THRESHOLD": _number(SHARE),
    "EMA_MOMENTUM": _number(BELOW_1),
    "GRADIENT_ACCUMULATION": _whole(1, MOST_WIDE),
    "TRAIN_BN": Kind("True, False or None", lambda x: x is None or is_flag_or_bit(x), None, _or_none(_flag).convert),
    "GRADIENT_CLIP_NORM": _number(ABOVE_0),
    "PRECISION": _choice("float32", "bfloat16", "float16"),
}

# Numbers that functions take, by the names of their arguments; a name means the same in all of them.
ARGUMENTS: dict[str, Kind] = {
    "tile": _whole(1),
    "overlap": _number(BELOW_1),
    "scales": Kind("a sequence of numbers", lambda x: is_sequence_of(is_number)(x) and len(x) > 0, ABOVE_0, tuple, 64),
    "limit": _whole(),
    "max_detections": _whole(1),
    "iou": _number(SHARE),
    "every": _whole(1),
    "patience": _or_none(_whole(1)),
    "learning_rate": Kind("a number or a schedule of Keras", lambda x: is_number(x) or callable(x), at_least(0)),
    "epochs": _whole(),
    "workers": _whole(),
    "seed": _whole(high=2**31 - 1),
    "N": _whole(),
    "side": _whole(1),
    "cols": _whole(1),
    "figsize": Kind("two numbers", is_sequence_of(is_number, 2), ABOVE_0),
    "alpha": _number(SHARE),
    "threshold": _number(),
    "keypoint_threshold": _number(),
    "iou_threshold": _number(SHARE),
    "score_threshold": _number(),
}


def check_arguments(function: F) -> F:
    """A decorator: what `ARGUMENTS` names of a function's arguments is checked, and comes in one type.

    Raises:
        ValueError: by the function, in one line that names the argument and says what it must be.
    """
    signature = inspect.signature(function)
    names = [name for name in signature.parameters if name in ARGUMENTS]

    @functools.wraps(function)
    def checked(*args, **kwargs):
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError:  # which Python words better
            return function(*args, **kwargs)
        for name in filter(given.arguments.__contains__, names):
            value = given.arguments[name]
            if remedy := ARGUMENTS[name].remedy(value):
                raise ValueError(f"{name} is {short(value)}; {remedy}")
            given.arguments[name] = ARGUMENTS[name].convert(value)
        return function(*given.args, **given.kwargs)

    return checked  # type: ignore[return-value]
