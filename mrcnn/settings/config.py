"""Every setting of a model, its training and its data, as attributes of one class.

Subclass `Config`, override what differs, instantiate::

    class BalloonConfig(Config):
        NAME = "balloon"
        NUM_CLASSES = 1 + 1  # background, balloon

    config = BalloonConfig()
"""

from __future__ import annotations

import difflib
import json
import math
import numbers
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import Self  # in typing from Python 3.11 on

# What a setting of several numbers may be.
Numbers = Sequence[float] | np.ndarray

# The file in which settings lie beside weights.
CONFIG = "config.json"

# Settings that name one of a few ways, and these ways.
CHOICES = {
    "RESNET_STRIDE": ("1x1", "3x3"),
    "RESNET_PADDING": ("same", "symmetric"),
    "RPN_ANCHORS": ("exact", "rounded"),
    "RPN_SCORE": ("softmax", "sigmoid"),
    "PROPOSAL_NMS": ("joint", "level"),
    "PROPOSAL_WINDOW": ("padded", "image"),
    "BOX_NORMALIZATION": ("pixels", "edges"),
    "ROI_LEVEL": ("round", "floor"),
    "ROI_ALIGN": ("corners", "bins", "aligned"),
    "DETECTION_CLASSES": ("best", "all"),
    "DETECTION_NMS": ("class", "all", "none"),
    "MASK_PASTE": ("integer", "exact", "torchvision"),
    "KEYPOINT_DECODE": ("cells", "pixels"),
    "LOSS_MEAN": ("positives", "sample"),
    "MASK_LOSS": ("probabilities", "logits"),
    "WEIGHT_DECAY_BY": ("loss", "optimizer"),
    "LEARNING_RATE_SCHEDULE": ("constant", "step", "cosine"),
    "IMAGE_RESIZE_MODE": ("square", "rect", "shortest", "pad64", "crop", "none"),
    "IMAGE_PADDING": ("black", "mean"),
    "CHANNEL_ORDER": ("rgb", "bgr"),
    "OPTIMIZER": ("sgd", "adamw"),
    "PRECISION": ("float32", "bfloat16", "float16"),
}


class Config:
    """Settings with the defaults of the 2017-2019 original; old weights rely on most of them.

    Raises:
        ValueError: a value is impossible; the message names the attribute and the remedy.
    """

    # Name of the experiment: the prefix of its log folder.
    NAME: str | None = None

    # Number of devices that share a batch, and images on each of them. A 12 GB GPU holds two images of 1024x1024;
    # the largest batch that fits gives the best use of the machine.
    GPU_COUNT = 1
    IMAGES_PER_GPU = 2

    # Training steps in an epoch. Checkpoints and TensorBoard records are written once an epoch, so it need not be the
    # size of the training set.
    STEPS_PER_EPOCH = 1000

    # Validation steps at the end of every epoch: more of them give steadier numbers and slower epochs.
    VALIDATION_STEPS = 50

    # "resnet50", "resnet101"; "resnet18", "resnet34" (basic blocks, light enough for a CPU); "resnext50_32x4d",
    # "resnext101_32x8d"; the name of a network in keras.applications, as "MobileNetV2"; or a callable
    # backbone(input_image, stage5=True, train_bn=...) -> [C1, C2, C3, C4, C5].
    BACKBONE: str | Callable[..., Any] = "resnet101"

    # Variants of the ResNets: whether a bottleneck takes its stride in the first 1x1 convolution (He et al. 2015) or in
    # the 3x3 one, which sees every pixel (torchvision); whether convolutions have a bias, which BatchNorm makes
    # redundant; and whether layers of stride 2 pad as TensorFlow does ("same", more on the far side) or alike on both.
    RESNET_STRIDE = "1x1"
    RESNET_BIAS = True
    RESNET_PADDING = "same"

    # Added to the variances of BatchNorm: a part of the weights, which were trained with it.
    BATCH_NORM_EPSILON = 0.001

    # Only with a callable BACKBONE: function(image_shape) -> [5, 2] heights and widths of P2..P6.
    COMPUTE_BACKBONE_SHAPE: Callable[..., Any] | None = None

    # Width of the first stage of "resnet18" and "resnet34"; later stages double it. Narrow networks train in minutes on
    # a CPU.
    BACKBONE_WIDTH = 64

    # Strides of P2..P6 against the image.
    BACKBONE_STRIDES: Numbers = [4, 8, 16, 32, 64]

    # Width of the first dense layers of the box head (convolutions over the whole pooled RoI).
    FPN_CLASSIF_FC_LAYERS_SIZE = 1024

    # Channels of every pyramid level.
    TOP_DOWN_PYRAMID_SIZE = 256

    # Whether the box head's dense layers and the mask head's convolutions have BatchNorm behind them. It needs larger
    # batches of RoIs than of images, but published heads of other packages have none.
    BOX_HEAD_BN = True
    MASK_HEAD_BN = True

    # Channels of the RPN's shared convolution and of the mask head's convolutions.
    RPN_CHANNELS = 512
    MASK_CHANNELS = 256

    # Classes including the background, which is class 0.
    NUM_CLASSES = 1

    # Side of a square anchor in pixels, one for each pyramid level.
    RPN_ANCHOR_SCALES: Numbers = (32, 64, 128, 256, 512)

    # Width / height of the anchors in each cell.
    RPN_ANCHOR_RATIOS: Numbers = [0.5, 1, 2]

    # 1: anchors in every cell of the feature map, 2: in every second one, and so on.
    RPN_ANCHOR_STRIDE = 1

    # "rounded": sides of anchors come to whole half pixels, and strides are the image's sides divided by the map's and
    # rounded down, as torchvision's weights know them.
    RPN_ANCHORS = "exact"

    # "softmax" over background and object, or one "sigmoid": the same with half the outputs.
    RPN_SCORE = "softmax"

    # How boxes are normalised. "pixels": corners are centres of pixels, so lengths are one pixel short, relative to the
    # image's sides less one; old weights know their boxes by it. "edges": corners are edges of pixels, so that the
    # coordinates scale with the image without any shift.
    BOX_NORMALIZATION = "pixels"

    # Overlap (IoU) above which the weaker of two proposals is dropped; higher in training gives more proposals.
    RPN_NMS_THRESHOLD = 0.7

    # Anchors per image in the RPN's losses.
    RPN_TRAIN_ANCHORS_PER_IMAGE = 256

    # Proposals by score that enter the NMS.
    PRE_NMS_LIMIT = 6000

    # "joint": PRE_NMS_LIMIT and the suppression are for all pyramid levels together. "level": for each, so that small
    # objects do not compete with large ones (Lin et al. 2017).
    PROPOSAL_NMS = "joint"

    # Proposals are cut to the "padded" image, or to the part that is "image", and then those without area are dropped.
    PROPOSAL_WINDOW = "padded"

    # Proposals that leave it.
    POST_NMS_ROIS_TRAINING = 2000
    POST_NMS_ROIS_INFERENCE = 1000

    # Masks cut to their box and resized to MINI_MASK_SHAPE save memory where images are large.
    USE_MINI_MASK = True
    MINI_MASK_SHAPE: Sequence[int] = (56, 56)

    # How images come to one size (mrcnn.ops.images.resize_image):
    # square: scale by IMAGE_MIN_DIM and IMAGE_MIN_SCALE, never above IMAGE_MAX_DIM, and pad to a square of that side.
    # rect:   the same scale, padded only to multiples of 64: less to compute for a photo. Not equal to the
    #         last bit, as a network that saw squares knows their padding. Training pads to the square.
    # shortest: as rect, but larger images are scaled down to IMAGE_MIN_DIM too (torchvision, Detectron2).
    # pad64:  scale by IMAGE_MIN_DIM and IMAGE_MIN_SCALE alone, pad the sides to multiples of 64.
    # crop:   the same scale, then a random square of side IMAGE_MIN_DIM; training only.
    # none:   neither scale nor pad; the sides must be multiples of 64.
    IMAGE_RESIZE_MODE = "square"
    IMAGE_MIN_DIM: int | None = 800
    IMAGE_MAX_DIM: int | None = 1024
    IMAGE_MIN_SCALE: float | None = 0

    # Channels of the input: 3 for RGB, 1 for gray, 4 for RGB-D. MEAN_PIXEL has as many values.
    IMAGE_CHANNEL_COUNT = 3
    MEAN_PIXEL: Numbers = (123.7, 116.8, 103.9)

    # The network sees (pixel - MEAN_PIXEL) / PIXEL_STD, one number or one for each channel, and then the channels in
    # CHANNEL_ORDER: both are in RGB. For a network trained on 0..1 they are 255 times what it names.
    PIXEL_STD: float | Numbers = 1.0
    CHANNEL_ORDER = "rgb"

    # What is beside the image: "black", or the "mean" pixel, which the network sees as the zeros that its convolutions
    # pad with.
    IMAGE_PADDING = "black"

    # RoIs per image in the heads' losses, and the largest share of them that is positive. With too few positives,
    # lower RPN_NMS_THRESHOLD's effect by raising POST_NMS_ROIS_TRAINING.
    TRAIN_ROIS_PER_IMAGE = 200
    ROI_POSITIVE_RATIO = 0.33

    # True: the ground truth boxes are among the proposals, so that the heads have positives from the first step on.
    APPEND_GT_ROIS = False

    # The pyramid level of an RoI: 4 + log2(side / 224), "round"ed, or rounded down as in the paper ("floor").
    ROI_LEVEL = "round"

    # RoIAlign. "corners": one sample a cell, the outer ones on the box's edges, as tf.image.crop_and_resize. "bins":
    # the mean of 2 x 2 samples spread evenly in each cell, with pixels of the map at whole coordinates (torchvision).
    # "aligned": the same with pixels at halves, where they are (Detectron2's ROIAlignV2).
    ROI_ALIGN = "corners"

    # Side in cells of the RoIs that the box and the mask head see, and shape of the mask that comes out: twice
    # MASK_POOL_SIZE unless the mask head is changed.
    POOL_SIZE = 7
    MASK_POOL_SIZE = 14
    MASK_SHAPE: Sequence[int] = (28, 28)

    # False: no mask head; `detect` gives boxes, and keypoints where there are any. Data sets still give masks, as these
    # say where the boxes are.
    USE_MASK = True

    # Keypoints of an object; 0 for none. For those of a person mrcnn.ops.keypoints has all that follows.
    NUM_KEYPOINTS = 0

    # Their names; the (left, right) pairs of indices that a mirror exchanges; the (from, to) pairs of indices that are
    # limbs in pictures; and the standard deviations by which COCO's similarity (OKS) judges them, relative to the
    # object's size: empty for one of 0.07 for all of them.
    KEYPOINT_NAMES: Sequence[str] = ()
    KEYPOINT_FLIP_PAIRS: Sequence[Sequence[int]] = ()
    KEYPOINT_SKELETON: Sequence[Sequence[int]] = ()
    KEYPOINT_SIGMAS: Numbers = ()

    # Ids of the classes that have keypoints; None for all of them but the background.
    KEYPOINT_CLASSES: Sequence[int] | None = None

    # The keypoint head: cells of its RoI, number and width of its convolutions, and the heatmap that comes out, four
    # times KEYPOINT_POOL_SIZE (He et al. 2017, section 5).
    KEYPOINT_POOL_SIZE = 14
    KEYPOINT_CONVOLUTIONS = 8
    KEYPOINT_CHANNELS = 512
    KEYPOINT_MASK_SHAPE: Sequence[int] = (56, 56)

    # Where a keypoint is. "cells": every cell of the heatmap is divided (bicubic) into an odd number of parts, so that
    # a lone peak stays at its centre. "pixels": the map is resized (bicubic) to the box in whole pixels, as in
    # Detectron2 and torchvision.
    KEYPOINT_DECODE = "cells"

    # How many times as long as the box's the sides of the keypoint head's RoI are: with more of their surroundings,
    # left and right are told apart better (Degawa, Lu, Kimura 2019).
    KEYPOINT_ROI_EXPAND = 1.0

    # Ground-truth instances used per image; a random choice of them where there are more.
    MAX_GT_INSTANCES = 100

    # Box deltas are divided by these, so that the losses of their parts weigh alike.
    RPN_BBOX_STD_DEV: Numbers = (0.1, 0.1, 0.2, 0.2)
    BBOX_STD_DEV: Numbers = (0.1, 0.1, 0.2, 0.2)

    # Detections per image at most, the lowest score that counts, and the IoU above which the weaker of two
    # detections of one class is dropped.
    DETECTION_MAX_INSTANCES = 100
    DETECTION_MIN_CONFIDENCE = 0.7
    DETECTION_NMS_THRESHOLD = 0.3

    # "best": an RoI is at most one detection, of its best class. "all": one of each class whose score is high enough,
    # as COCO's AP rewards.
    DETECTION_CLASSES = "best"

    # Detections suppress those of their own "class", "all", or "none".
    DETECTION_NMS = "class"

    # "integer": boxes are rounded to pixels, and masks resized to them. Else boxes stay fractions, and `detect` gives
    # rois as float32. "exact": masks are read at the centres of pixels, falling to 0 over a cell around their edge.
    # "torchvision": as it does, a mask with its border is resized to whole pixels.
    MASK_PASTE = "integer"

    # "sgd" with momentum, as the original, or "adamw": it learns several times faster from random weights, and takes a
    # LEARNING_RATE around 0.001 and its WEIGHT_DECAY decoupled (Loshchilov and Hutter 2019).
    OPTIMIZER = "sgd"

    # For SGD. The paper's learning rate of 0.02 (with 16 images a step) made this implementation's weights explode;
    # smaller steps converge as well.
    LEARNING_RATE = 0.001
    LEARNING_MOMENTUM = 0.9
    WEIGHT_DECAY = 0.0001

    # "loss": the mean square of each weight times WEIGHT_DECAY is added to the loss. "optimizer": every step takes the
    # learning rate times WEIGHT_DECAY off each weight, but not off BatchNorm's and biases. AdamW always does that.
    WEIGHT_DECAY_BY = "loss"

    # What becomes of the learning rate that `train` is given, if a number: "constant", "step" (a tenth after 2/3 and a
    # hundredth after 8/9 of the steps, Detectron's schedule), or "cosine" down to 0 (Loshchilov and Hutter 2017). Over
    # the first WARMUP_STEPS it rises from a thousandth to the full rate (Goyal et al. 2017).
    LEARNING_RATE_SCHEDULE = "constant"
    WARMUP_STEPS = 0

    # Weights of the losses.
    LOSS_WEIGHTS = {
        "rpn_class_loss": 1.0,
        "rpn_bbox_loss": 1.0,
        "mrcnn_class_loss": 1.0,
        "mrcnn_bbox_loss": 1.0,
        "mrcnn_mask_loss": 1.0,
        "mrcnn_keypoint_loss": 1.0,
    }

    # Box losses: the mean over the "positives", or the sum over them and the four coordinates, divided by the number of
    # all anchors or RoIs in the "sample", so that an image with few objects does not weigh them more (Girshick 2015).
    LOSS_MEAN = "positives"

    # The difference at which smooth L1 turns from quadratic to linear; 0 for L1.
    SMOOTH_L1_BETA = 1.0

    # What the mask loss is computed from: "logits" do not saturate.
    MASK_LOSS = "probabilities"

    # False: the heads train on proposals that come with the data (input_rois) and the RPN only on its own losses.
    USE_RPN_ROIS = True

    # False: BatchNorm layers use their stored statistics, right for small batches on top of pretrained weights.
    # None or True: they train, right from scratch.
    TRAIN_BN: bool | None = False

    # The global norm of the gradients is clipped to this.
    GRADIENT_CLIP_NORM = 5.0

    # What the convolutions compute in: "float32", or "bfloat16" or "float16" where the machine is faster at it (GPUs;
    # CPUs with AVX512_BF16 or AMX; others gain nothing). Weights, boxes, suppression, softmax and losses stay
    # in float32; with float16 the loss is scaled, so that small gradients survive (Micikevicius et al. 2018).
    PRECISION = "float32"

    def __init__(self) -> None:
        for name in settings(self):
            if not hasattr(Config, name) and name not in DERIVED:
                close = difflib.get_close_matches(name, settings(), n=1, cutoff=0.85)
                if close:
                    warnings.warn(
                        f"{type(self).__name__}.{name} is not a setting; did you mean {close[0]}?", stacklevel=2
                    )
        self._derive()

    def _derive(self) -> None:
        """Check the values and compute those that follow from others."""
        self.validate()
        for name in settings():
            if isinstance(getattr(self, name), float) and type(getattr(Config, name)) is int and name not in TYPES:
                setattr(self, name, int(getattr(self, name)))  # as of len(images) / 2
        self.BATCH_SIZE = self.IMAGES_PER_GPU * self.GPU_COUNT
        side = self.IMAGE_MIN_DIM if self.IMAGE_RESIZE_MODE == "crop" else self.IMAGE_MAX_DIM
        self.IMAGE_SHAPE: list[Any] = [side, side, self.IMAGE_CHANNEL_COUNT]  # None where IMAGE_MAX_DIM is
        # image id, original shape, shape, window, scale, active classes
        self.IMAGE_META_SIZE = 1 + 3 + 3 + 4 + 1 + self.NUM_CLASSES

    def validate(self) -> None:
        """Raise ValueError with one sentence if a setting is impossible."""

        def require(condition, message):
            if not condition:
                raise ValueError(f"{type(self).__name__}: {message}")

        for name in settings():
            wanted = _type_error(getattr(self, name), getattr(Config, name), name)
            require(not wanted, f"{name} is {getattr(self, name)!r}; it must be {wanted}.")
        require(
            self.NUM_CLASSES >= 2,
            f"NUM_CLASSES is {self.NUM_CLASSES}; set it to 1 (the background) plus the number of your classes.",
        )
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            require(value in choices, f"{name} is {value!r}; choose one of {', '.join(choices)}.")
        for name in {
            "square": ["IMAGE_MAX_DIM"],
            "rect": ["IMAGE_MAX_DIM"],
            "shortest": ["IMAGE_MAX_DIM"],
            "crop": ["IMAGE_MIN_DIM"],
            "pad64": ["IMAGE_MIN_DIM"],
        }.get(self.IMAGE_RESIZE_MODE, []):
            side = getattr(self, name)
            require(
                bool(side) and side % 64 == 0,
                f"{name} is {side}; it must be a multiple of 64 in mode {self.IMAGE_RESIZE_MODE!r}, "
                f"for instance {64 * max(1, math.ceil((side or 64) / 64))}.",
            )
        for name in POSITIVE:
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1.")
        for name in NOT_NEGATIVE:
            require(getattr(self, name) >= 0, f"{name} is {getattr(self, name)}; it must be at least 0.")
        for name in SHARES:
            require(0 <= getattr(self, name) <= 1, f"{name} is {getattr(self, name)}; it must be between 0 and 1.")
        unknown = sorted(set(self.LOSS_WEIGHTS) - set(Config.LOSS_WEIGHTS))
        require(
            not unknown,
            f"LOSS_WEIGHTS has {', '.join(unknown)}; the losses are {', '.join(Config.LOSS_WEIGHTS)}.",
        )
        require(
            len(self.RPN_ANCHOR_SCALES) == len(self.BACKBONE_STRIDES),
            f"RPN_ANCHOR_SCALES has {len(self.RPN_ANCHOR_SCALES)} values for {len(self.BACKBONE_STRIDES)} pyramid "
            "levels; give one scale for each entry of BACKBONE_STRIDES.",
        )
        for name in ("MEAN_PIXEL", "PIXEL_STD"):
            value = getattr(self, name)
            require(
                name == "PIXEL_STD" and _is_number(value) or len(value) == self.IMAGE_CHANNEL_COUNT,
                f"{name} has {np.size(value)} values for IMAGE_CHANNEL_COUNT = {self.IMAGE_CHANNEL_COUNT}; "
                "give one value for each channel.",
            )
        require(np.all(np.asarray(self.PIXEL_STD) > 0), f"PIXEL_STD is {self.PIXEL_STD}; it must be above 0.")
        require(
            tuple(self.MASK_SHAPE) == (2 * self.MASK_POOL_SIZE, 2 * self.MASK_POOL_SIZE),
            f"MASK_SHAPE is {tuple(self.MASK_SHAPE)}; the mask head doubles MASK_POOL_SIZE = {self.MASK_POOL_SIZE}, "
            f"so it must be {(2 * self.MASK_POOL_SIZE, 2 * self.MASK_POOL_SIZE)}.",
        )
        self._validate_keypoints(require)
        require(
            0 < self.ROI_POSITIVE_RATIO <= 1 and self.TRAIN_ROIS_PER_IMAGE * self.ROI_POSITIVE_RATIO >= 1,
            f"TRAIN_ROIS_PER_IMAGE = {self.TRAIN_ROIS_PER_IMAGE} with ROI_POSITIVE_RATIO = {self.ROI_POSITIVE_RATIO} "
            "leaves no room for a positive RoI; raise one of them.",
        )

    def _validate_keypoints(self, require):
        count = self.NUM_KEYPOINTS
        require(count >= 0, f"NUM_KEYPOINTS is {count}; it must be at least 0.")
        for name in ("KEYPOINT_NAMES", "KEYPOINT_SIGMAS"):
            given = len(getattr(self, name))
            require(
                given in (0, count), f"{name} has {given} entries for NUM_KEYPOINTS = {count}; give {count} or none."
            )
        for name in ("KEYPOINT_FLIP_PAIRS", "KEYPOINT_SKELETON"):
            wrong = [pair for pair in getattr(self, name) if not all(0 <= i < count for i in pair)]
            require(not wrong, f"{name} has {wrong}; the indices of {count} keypoints are 0 to {count - 1}.")
        if self.KEYPOINT_CLASSES is not None:
            wrong = [i for i in self.KEYPOINT_CLASSES if not 0 < i < self.NUM_CLASSES]
            require(not wrong, f"KEYPOINT_CLASSES has {wrong}; the ids of the classes are 1 to {self.NUM_CLASSES - 1}.")
            require(len(self.KEYPOINT_CLASSES) > 0, "KEYPOINT_CLASSES is empty; None stands for all classes.")
        shape = (4 * self.KEYPOINT_POOL_SIZE,) * 2
        require(
            tuple(self.KEYPOINT_MASK_SHAPE) == shape,
            f"KEYPOINT_MASK_SHAPE is {tuple(self.KEYPOINT_MASK_SHAPE)}; it is four times KEYPOINT_POOL_SIZE = "
            f"{self.KEYPOINT_POOL_SIZE}, so it must be {shape}.",
        )
        require(
            self.KEYPOINT_ROI_EXPAND >= 1,
            f"KEYPOINT_ROI_EXPAND is {self.KEYPOINT_ROI_EXPAND}; it must be at least 1, or points leave their RoI.",
        )

    def update(self, **values: Any) -> Self:
        """Set attributes by name on this instance, check them, recompute what depends on them.

        Raises:
            ValueError: unknown name (the message holds the nearest known one), or an impossible value.
        """
        known = settings(self)
        for name in values:
            if name not in known:
                close = difflib.get_close_matches(name.upper(), known, n=1)
                raise ValueError(
                    f"{name} is not a setting of Config" + (f"; did you mean {close[0]}?" if close else ".")
                )
        for name, value in values.items():
            setattr(self, name, value)
        self._derive()
        return self

    def to_dict(self) -> dict[str, Any]:
        """All settings, own attributes and derived values as a dict of plain Python values; sequences as lists."""
        return {name: _plain(getattr(self, name)) for name in settings(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """An instance with these settings; what is left out has the class's value, derived values are computed anew.

        Raises:
            ValueError: an impossible value.
        """
        config = cls.__new__(cls)
        for name, value in values.items():
            if name not in DERIVED:
                setattr(config, name, value)
        cls.__init__(config)
        return config

    def to_json(self, path: Path | str) -> None:
        """Write `to_dict` to a file, without functions, which JSON cannot hold."""
        values = {name: value for name, value in self.to_dict().items() if not callable(value)}
        with open(path, "w", encoding="utf8") as file:
            json.dump(values, file, indent=1)
            file.write("\n")

    @classmethod
    def from_json(cls, path: Path | str) -> Self:
        """An instance with the settings of a file of `to_json`.

        Raises:
            ValueError: not such a file, or an impossible value in it; the message names it.
        """
        with open(path, encoding="utf8") as file:
            try:
                return cls.from_dict(json.load(file))
            except (ValueError, AttributeError) as error:
                raise ValueError(f"{path} is no config that can be used: {error}") from error

    def display(self) -> None:
        """Print every setting, one a line."""
        print("\nConfigurations:")
        for name, value in self.to_dict().items():
            print(f"{name:30} {value}")
        print("\n")


class ModernConfig(Config):
    """Today's practice in place of the original's: every setting that has such a choice.

    The numbers are those of Detectron2 and torchvision, on which the weights of `mrcnn.weights.convert` build. On top of the
    original's weights these settings detect nothing sensible. `TRAIN_BN` stays: True from random weights, else False.
    So does `RPN_BBOX_STD_DEV`: those files have 1 in its place, with which the RPN's boxes weigh a tenth as much in the
    loss and are learnt slowly from random weights.
    """

    RESNET_STRIDE = "3x3"
    RESNET_BIAS = False
    RESNET_PADDING = "symmetric"
    BATCH_NORM_EPSILON = 1e-5
    MEAN_PIXEL: Numbers = (123.675, 116.28, 103.53)
    PIXEL_STD: float | Numbers = (58.395, 57.12, 57.375)
    IMAGE_PADDING = "mean"
    BOX_HEAD_BN = False
    MASK_HEAD_BN = False
    BOX_NORMALIZATION = "edges"

    RPN_CHANNELS = 256
    RPN_ANCHORS = "rounded"
    RPN_SCORE = "sigmoid"
    PROPOSAL_NMS = "level"
    PROPOSAL_WINDOW = "image"
    PRE_NMS_LIMIT = 1000

    TRAIN_ROIS_PER_IMAGE = 512
    ROI_POSITIVE_RATIO = 0.25
    APPEND_GT_ROIS = True
    ROI_LEVEL = "floor"
    ROI_ALIGN = "aligned"

    DETECTION_CLASSES = "all"
    DETECTION_MIN_CONFIDENCE = 0.05
    DETECTION_NMS_THRESHOLD = 0.5
    MASK_PASTE = "exact"
    KEYPOINT_DECODE = "pixels"

    LOSS_MEAN = "sample"
    SMOOTH_L1_BETA = 1 / 9
    MASK_LOSS = "logits"
    WEIGHT_DECAY_BY = "optimizer"
    LEARNING_RATE_SCHEDULE = "cosine"
    WARMUP_STEPS = 500


# Computed in `Config.__init__`; old code reads them as attributes.
DERIVED = ("BATCH_SIZE", "IMAGE_SHAPE", "IMAGE_META_SIZE")


# Counts and sizes, and values between 0 and 1.
POSITIVE = """GPU_COUNT IMAGES_PER_GPU STEPS_PER_EPOCH BACKBONE_WIDTH FPN_CLASSIF_FC_LAYERS_SIZE TOP_DOWN_PYRAMID_SIZE
    RPN_CHANNELS MASK_CHANNELS RPN_ANCHOR_STRIDE RPN_TRAIN_ANCHORS_PER_IMAGE PRE_NMS_LIMIT POST_NMS_ROIS_TRAINING
    POST_NMS_ROIS_INFERENCE IMAGE_CHANNEL_COUNT TRAIN_ROIS_PER_IMAGE POOL_SIZE MASK_POOL_SIZE MAX_GT_INSTANCES
    DETECTION_MAX_INSTANCES KEYPOINT_POOL_SIZE KEYPOINT_CONVOLUTIONS KEYPOINT_CHANNELS""".split()
NOT_NEGATIVE = ("BATCH_NORM_EPSILON", "SMOOTH_L1_BETA", "WARMUP_STEPS")
SHARES = """RPN_NMS_THRESHOLD ROI_POSITIVE_RATIO DETECTION_MIN_CONFIDENCE DETECTION_NMS_THRESHOLD
    LEARNING_MOMENTUM""".split()
# Settings whose type cannot be seen from the default: what they may be, in words and as a test.
TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "NAME": ("text or None", lambda x: x is None or isinstance(x, str)),
    "BACKBONE": ("the name of a backbone or a function", lambda x: isinstance(x, str) or _is_function(x)),
    "COMPUTE_BACKBONE_SHAPE": ("a function or None", lambda x: x is None or _is_function(x)),
    "TRAIN_BN": ("True, False or None", lambda x: x is None or _is_flag(x)),
    "PIXEL_STD": ("a number or a sequence of numbers", lambda x: _is_number(x) or _is_numbers(x)),
    "IMAGE_MIN_DIM": ("a whole number or None", lambda x: x is None or _is_whole(x)),
    "IMAGE_MAX_DIM": ("a whole number or None", lambda x: x is None or _is_whole(x)),
    "IMAGE_MIN_SCALE": ("a number or None", lambda x: x is None or _is_number(x)),
    "KEYPOINT_NAMES": ("a sequence of texts", lambda x: _is_sequence(x) and all(isinstance(name, str) for name in x)),
    "KEYPOINT_FLIP_PAIRS": ("a sequence of pairs of indices", lambda x: _is_pairs(x)),
    "KEYPOINT_SKELETON": ("a sequence of pairs of indices", lambda x: _is_pairs(x)),
    "KEYPOINT_CLASSES": ("a sequence of class ids or None", lambda x: x is None or _is_numbers(x)),
}


def _is_function(x):
    return callable(x) or isinstance(x, staticmethod)


def _is_flag(x):
    return isinstance(x, bool) or type(x).__name__ in ("bool_", "bool")  # NumPy's


def _is_number(x):
    return isinstance(x, numbers.Real) and not _is_flag(x)


def _is_whole(x):
    return _is_number(x) and float(x).is_integer()


def _is_sequence(x):
    return hasattr(x, "__len__") and not isinstance(x, (str, dict))


def _is_numbers(x):
    return _is_sequence(x) and all(_is_number(value) for value in x)


def _is_pairs(x):
    return _is_sequence(x) and all(_is_numbers(pair) and len(pair) == 2 and all(map(_is_whole, pair)) for pair in x)


def _type_error(value, default, name):
    """What a setting must be, in words, or None where its value is that."""
    if name in TYPES:
        words, fits = TYPES[name]
    elif isinstance(default, bool):
        words, fits = "True or False", _is_flag
    elif isinstance(default, int):
        words, fits = "a whole number", _is_whole
    elif isinstance(default, float):
        words, fits = "a number", _is_number
    elif isinstance(default, str):
        words, fits = "text", lambda x: isinstance(x, str)
    elif isinstance(default, dict):
        words, fits = "a dict of numbers", lambda x: isinstance(x, dict) and _is_numbers(list(x.values()))
    else:
        words, fits = "a sequence of numbers", _is_numbers
    return None if fits(value) else words


def _plain(value):
    """A setting without NumPy's types and tuples."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return [_plain(x) for x in value] if isinstance(value, (list, tuple)) else value


def settings(config: Config | type[Config] = Config) -> list[str]:
    """Names of the settings that a config, or a class of configs, has: all in upper case."""
    return [name for name in dir(config) if name.isupper()]
