"""The rules that hold between settings, and what is wrong with a config."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from mrcnn.ops.darknet import read_cfg
from mrcnn.settings.checks import CELLS, MAP_STRIDES, ONE_SIZE, ONE_STAGE, PYRAMIDS, SETTINGS
from mrcnn.settings.kinds import short

# Each yields a sentence for what is wrong. They see values of the right type alone.


def _classes(c):
    if c.NUM_CLASSES < 2:
        yield f"NUM_CLASSES is {c.NUM_CLASSES}; set it to 1 (the background) plus the number of your classes."


def _sides(c):
    if c.IMAGE_RESIZE_MODE == "none":
        return
    if c.IMAGE_RESIZE_MODE == "shortest" and not c.IMAGE_MIN_DIM:
        yield f"IMAGE_MIN_DIM is {c.IMAGE_MIN_DIM}; mode 'shortest' scales the shorter side to it, for instance 800."
    name = "IMAGE_MIN_DIM" if c.IMAGE_RESIZE_MODE in ("crop", "pad64") else "IMAGE_MAX_DIM"
    side = getattr(c, name)
    if c.DETECTOR == "ssd" and c.IMAGE_RESIZE_MODE == "stretch" and side:
        return
    cells = c.DETECTOR in CELLS and name == "IMAGE_MAX_DIM"
    step = int(max(32, *c.BACKBONE_STRIDES)) if cells else 64
    if not side or side % step:
        near = step * max(1, math.ceil((side or step) / step))
        yield f"{name} is {side}; it must be a multiple of {step} in mode {c.IMAGE_RESIZE_MODE!r}, for instance {near}."


def _levels(c):
    scales, levels, strides = len(c.RPN_ANCHOR_SCALES), len(c.BACKBONE_STRIDES), list(c.BACKBONE_STRIDES)
    if scales != levels:
        yield (
            f"RPN_ANCHOR_SCALES has {scales} values for {levels} pyramid levels; give one scale for each entry of "
            "BACKBONE_STRIDES."
        )
    known = (*MAP_STRIDES, 64) if c.DETECTOR == "yolo_v1" else MAP_STRIDES
    if levels == 1 and c.BACKBONE_STRIDES[0] not in known and not c.DARKNET:
        yield (
            f"BACKBONE_STRIDES is {list(c.BACKBONE_STRIDES)}; a backbone's single map has a stride of "
            f"{', '.join(map(str, known))}."
        )
    if sorted(c.BACKBONE_STRIDES) != list(c.BACKBONE_STRIDES):
        yield f"BACKBONE_STRIDES is {short(c.BACKBONE_STRIDES)}; they go from the finest map to the coarsest."
    elif levels > 1 and c.DETECTOR not in ONE_STAGE and not callable(c.BACKBONE) and strides != [4, 8, 16, 32, 64]:
        yield (
            f"BACKBONE_STRIDES is {short(c.BACKBONE_STRIDES)}; the pyramid of {c.DETECTOR} has the strides 4, 8, 16, "
            "32 and 64."
        )
    if not len(c.RPN_ANCHOR_RATIOS):
        yield "RPN_ANCHOR_RATIOS is empty; give at least one."


def _dense_levels(c):
    strides = [float(x) for x in c.BACKBONE_STRIDES]
    if c.DETECTOR in PYRAMIDS and not (
        strides[0] in (4, 8)
        and strides[-1] in (32, 64, 128)
        and all(b == 2 * a for a, b in zip(strides, strides[1:], strict=False))
    ):
        yield (
            f"BACKBONE_STRIDES is {list(c.BACKBONE_STRIDES)}; the levels of {c.DETECTOR} double from 4 or 8 on up to "
            "32, 64 or 128, for instance [8, 16, 32, 64, 128]."
        )


def _cells(c):
    strides, scales = list(c.BACKBONE_STRIDES), [np.ravel(x).tolist() for x in c.RPN_ANCHOR_SCALES]
    if c.DETECTOR in PYRAMIDS and c.RPN_ANCHOR_STRIDE != 1:
        yield f"RPN_ANCHOR_STRIDE is {c.RPN_ANCHOR_STRIDE}; {c.DETECTOR} looks at every place: 1."
    if c.DETECTOR == "fcos" and (list(c.RPN_ANCHOR_RATIOS) != [1] or scales != [[x] for x in strides]):
        yield (
            "FCOS has cells in the place of anchors: RPN_ANCHOR_RATIOS [1], and RPN_ANCHOR_SCALES as BACKBONE_STRIDES; "
            "mrcnn.settings.detectors.practice has what it needs."
        )


def _ssd(c):
    levels = len(c.BACKBONE_STRIDES)
    if c.DETECTOR in ONE_SIZE and c.IMAGE_RESIZE_MODE not in ("square", "stretch"):
        system = "SSD" if c.DETECTOR == "ssd" else c.DETECTOR
        yield f"IMAGE_RESIZE_MODE is {c.IMAGE_RESIZE_MODE!r}; {system} takes images of one size: stretch or square."
    if c.DETECTOR != "ssd":
        return
    for name, wanted in (("SSD_SCALES", levels + 1), ("SSD_RATIOS", levels)):
        if len(getattr(c, name)) != wanted:
            yield f"{name} has {len(getattr(c, name))} entries; the {levels} maps of BACKBONE_STRIDES need {wanted}."


def _fcn(c):
    ours = isinstance(c.BACKBONE, str) and c.BACKBONE.startswith("res")
    if c.DETECTOR == "fcn" and c.FCN_HEAD == "dilated" and not ours:
        yield f"BACKBONE is {short(c.BACKBONE)}; FCN_HEAD 'dilated' needs a ResNet, for instance 'resnet50'."


def _yolo(c):
    strides = [float(x) for x in c.BACKBONE_STRIDES]
    if c.DETECTOR in ("yolo_v1", "yolo_v2") and len(strides) != 1 and not c.DARKNET:
        yield f"BACKBONE_STRIDES is {short(c.BACKBONE_STRIDES)}; {c.DETECTOR} has one map, for instance of stride [32]."
    if c.DETECTOR not in CELLS:
        return
    if c.DETECTOR == "yolo_v2" and strides[0] == MAP_STRIDES[0] and not c.DARKNET:
        yield f"BACKBONE_STRIDES is {short(c.BACKBONE_STRIDES)}; yolo_v2 needs a finer map beside it: 8, 16 or 32."
    if c.DETECTOR == "yolo_v3" and not c.DARKNET:
        first = MAP_STRIDES.index(strides[0]) if strides[0] in MAP_STRIDES else 0
        if tuple(strides) != MAP_STRIDES[first : first + len(strides)]:
            known = ", ".join(map(str, MAP_STRIDES))
            yield f"BACKBONE_STRIDES is {short(c.BACKBONE_STRIDES)}; yolo_v3 has some of {known} in their order."
    if len(c.YOLO_ANCHORS) != len(strides):
        yield (
            f"YOLO_ANCHORS has {len(c.YOLO_ANCHORS)} entries; give one, of several (width, height), for each of the "
            f"{len(strides)} maps of BACKBONE_STRIDES."
        )


def _darknet(c):
    if not c.DARKNET:
        return
    try:
        network = read_cfg(c.DARKNET)
    except ValueError as error:
        yield f"DARKNET cannot be used: {error}"
        return
    heads = [network.layers[i] for i in network.heads]
    if f"yolo_v{network.version}" != c.DETECTOR:
        yield f"DARKNET is a network of yolo_v{network.version}; DETECTOR is {c.DETECTOR}."
    elif list(c.BACKBONE_STRIDES) != [x.stride for x in heads] or any(
        len(sizes) != len(x.anchors) for sizes, x in zip(c.YOLO_ANCHORS, heads, strict=False)
    ):
        yield "BACKBONE_STRIDES and YOLO_ANCHORS are not of the maps of DARKNET."


def _crops(c):
    if 2 * c.RCNN_CONTEXT >= c.RCNN_CROP_SIZE:
        yield (
            f"RCNN_CONTEXT is {c.RCNN_CONTEXT}, on each side of RCNN_CROP_SIZE = {c.RCNN_CROP_SIZE}; leave some to "
            f"the region, for instance {c.RCNN_CROP_SIZE // 14}."
        )


def _channels(c):
    for name in ("MEAN_PIXEL", "PIXEL_STD"):
        given, wanted = np.size(getattr(c, name)), c.IMAGE_CHANNEL_COUNT
        if given != wanted and np.ndim(getattr(c, name)):
            yield f"{name} has {given} values for IMAGE_CHANNEL_COUNT = {wanted}; give one value for each channel."


def _mask_shape(c):
    shape = (2 * c.MASK_POOL_SIZE,) * 2
    if tuple(c.MASK_SHAPE) != shape:
        yield (
            f"MASK_SHAPE is {tuple(c.MASK_SHAPE)}; the mask head doubles MASK_POOL_SIZE = {c.MASK_POOL_SIZE}, so it "
            f"must be {shape}."
        )


def _norms(c):
    if c.HEAD_NORM == "group" and not (c.FPN_BN or c.BOX_HEAD_BN or c.MASK_HEAD_BN):
        yield "HEAD_NORM is 'group', of norms that are all off; set BOX_HEAD_BN, MASK_HEAD_BN or FPN_BN to True."


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


RULES = (
    *(_sides, _levels, _dense_levels, _cells, _ssd, _yolo, _darknet, _fcn, _crops, _channels),
    *(_mask_shape, _norms, _positives, _keypoints),
)


def problems(config: Any, model: bool = True) -> Iterator[str]:
    """A sentence for each impossible value of a config; rules between settings count where every type is right.

    Args:
        config: a `Config`.
        model: whether a model shall be made of it. Data can do without the number of classes.
    """
    values = {name: getattr(config, name) for name in SETTINGS}
    found = [
        f"{name} is {short(values[name])}; {remedy}"
        for name, kind in SETTINGS.items()
        if (remedy := kind.remedy(values[name]))
    ]
    yield from found
    if not found:
        for rule in (*[_classes] * model, *RULES):
            yield from rule(config)
