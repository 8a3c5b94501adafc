"""The parts of one-stage detectors as a `Config` asks for them; those that others have too are in parts.py."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from mrcnn.layers.corners import CornerDetectionLayer, corner_pooling
from mrcnn.layers.dense_detections import DenseDetectionLayer
from mrcnn.layers.dense_head import Tower, point_map, prior_bias
from mrcnn.layers.fpn import CONVOLVED_TOPS, build_fpn
from mrcnn.layers.peaks import PeakDetectionLayer
from mrcnn.layers.upsampling import UPSAMPLINGS
from mrcnn.models.parts import backbone, batch_size
from mrcnn.ops.boxes import Tensor
from mrcnn.settings import Config


def pyramid(config: Config, image: Tensor) -> list[Tensor]:
    """The levels of BACKBONE_STRIDES: those above 32 by convolutions of stride 2."""
    first, maps = round(math.log2(config.BACKBONE_STRIDES[0])), backbone(config, image)
    levels = build_fpn(maps[first - 1 :], config.TOP_DOWN_PYRAMID_SIZE, first, CONVOLVED_TOPS[config.DENSE_TOP])
    return levels[: len(config.BACKBONE_STRIDES)]


def anchors_per_place(config: Config) -> int:
    """Anchors at every place of a level."""
    return np.size(config.RPN_ANCHOR_SCALES[0]) * len(config.RPN_ANCHOR_RATIOS)


def tower(config: Config, name: str) -> Tower:
    """The convolutions before what the head says of `name`."""
    return Tower(name, config.DENSE_CONVOLUTIONS, config.TOP_DOWN_PYRAMID_SIZE, config.DENSE_NORM == "group")


def target_inputs(config: Config, count: int, instances: bool = False) -> dict[str, Tensor]:
    """Inputs of a training graph of what `DenseTargets` gives, for `count` anchors, and, if `instances`, of all boxes
    of an image, by name. Boxes are in pixels."""
    shapes: dict[str, tuple[tuple[int, ...], str]] = {
        "input_dense_class_ids": ((count,), "int32"),
        "input_dense_boxes": ((count, 4), "float32"),
    }
    if instances:
        shapes["input_gt_boxes"] = (config.MAX_GT_INSTANCES, 4), "float32"
    batch = batch_size(config, "training")
    return {name: keras.Input(shape, batch, dtype=dtype, name=name) for name, (shape, dtype) in shapes.items()}


def detection_layer(config: Config, limit: str, coding: str) -> DenseDetectionLayer:
    """The layer that picks detections [B, D, 6] of what a head says."""
    return DenseDetectionLayer(
        config.DETECTION_MAX_INSTANCES,
        config.DETECTION_MIN_CONFIDENCE,
        config.DETECTION_NMS_THRESHOLD,
        config.DENSE_CANDIDATES,
        limit,
        coding,
        config.BBOX_STD_DEV,
        config.BOX_NORMALIZATION,
        name="dense_detection",
    )


def focal_settings(config: Config) -> dict[str, Any]:
    """Arguments of the focal loss."""
    return {"alpha": config.FOCAL_ALPHA, "gamma": config.FOCAL_GAMMA}


def box_loss_settings(config: Config) -> dict[str, Any]:
    """Arguments of the loss of the boxes that anchors become."""
    std_dev = [float(x) for x in config.BBOX_STD_DEV]
    return {"std_dev": std_dev, "kind": config.DENSE_BOX_LOSS, "beta": config.SMOOTH_L1_BETA}


def upsampled(config: Config, image: Tensor) -> Tensor:
    """The backbone's maps as one of stride 4."""
    _, *maps = backbone(config, image)
    up = UPSAMPLINGS[config.CENTERNET_UP]
    return up(maps, config.TOP_DOWN_PYRAMID_SIZE, config.TRAIN_BN, config.BATCH_NORM_EPSILON)


def point_maps(config: Config, x: Tensor, values: dict[str, int]) -> dict[str, Tensor]:
    """What is said in every cell of a map, "dense_{name}" [B, h, w, values[name]] of each name, behind convolutions of
    its own. What is called a class begins with a probability of 0.1."""
    said = {}
    for name, count in values.items():
        (own,) = tower(config, name)([x])
        said[f"dense_{name}"] = point_map(own, name, count, prior_bias(0.1) if name.endswith("class") else 0.0)
    return said


def corner_map(config: Config, x: Tensor, corner: str) -> Tensor:
    """The map that a corner is found on, of one of stride 4."""
    return corner_pooling(x, corner, config.TOP_DOWN_PYRAMID_SIZE, config.TRAIN_BN, config.BATCH_NORM_EPSILON)


def peak_layer(config: Config, stride: int) -> PeakDetectionLayer:
    """The layer that picks detections [B, D, 6], and joints where there are any, of heatmaps."""
    return PeakDetectionLayer(
        config.DETECTION_MAX_INSTANCES,
        config.DETECTION_MIN_CONFIDENCE,
        stride,
        config.BOX_NORMALIZATION,
        name="dense_detection",
    )


def corner_layer(config: Config, stride: int) -> CornerDetectionLayer:
    """The layer that picks detections [B, D, 6] of what is said of corners."""
    return CornerDetectionLayer(
        config.DETECTION_MAX_INSTANCES,
        config.DETECTION_MIN_CONFIDENCE,
        config.DETECTION_NMS_THRESHOLD,
        config.DENSE_CANDIDATES,
        stride,
        config.BOX_NORMALIZATION,
        name="dense_detection",
    )


def heatmap_inputs(config: Config, image: Tensor, stride: int, counts: dict[str, int]) -> dict[str, Tensor]:
    """Inputs of a training graph of heatmaps to learn, by name, with as many channels as `counts` has."""
    shape = [side // stride for side in image.shape[1:3]]
    batch = batch_size(config, "training")
    return {name: keras.Input((*shape, count), batch, name=name) for name, count in counts.items()}
