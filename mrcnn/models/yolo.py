"""What YOLO v2 and v3 have in common: anchors in cells, of sizes that were found in the data; networks of Darknet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from mrcnn.data.anchors import compute_backbone_shapes
from mrcnn.data.dense_targets import Matcher, by_cell
from mrcnn.layers.darknet import darknet_conv, network_maps
from mrcnn.layers.yolo_head import CellDeltas, Convolve, predict_cells, sigmoid_offsets
from mrcnn.models import parts
from mrcnn.models.dense import DenseDetector, Levels
from mrcnn.ops import boxes
from mrcnn.ops.anchors import cell_anchors
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.darknet import read_cfg
from mrcnn.settings import Config


def convolution(config: Config) -> Convolve:
    """The convolution of YOLO's own layers, which are named dense_{name}."""

    def convolve(x, channels, size, name, step=1):
        names = f"dense_{name}", f"dense_{name}_bn"
        return darknet_conv(x, channels, size, *names, config.TRAIN_BN, step, config.BATCH_NORM_EPSILON)

    return convolve


def grid_cells(config: Config, image_shape: Sequence[int], sizes: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Anchors [A, 4] in pixels of `sizes`, (width, height) for each map, and the cells [A, 4] that they are in."""
    shapes, strides = compute_backbone_shapes(config, image_shape), list(config.BACKBONE_STRIDES)
    squares = [[(stride, stride)] * len(each) for stride, each in zip(strides, sizes, strict=True)]
    return cell_anchors(shapes, strides, sizes), cell_anchors(shapes, strides, squares)


class CellDetector(DenseDetector):
    """A YOLO of version 2 or 3. Outputs of the head: dense_class_logits [B, A, K - 1], dense_object [B, A, 1] logits,
    dense_bbox [B, A, 4]: y and x before the sigmoid that keeps them in the cell, log h and log w.

    A system gives `own_maps`, `scores` and `criterion`. With DARKNET the network is that of a .cfg file.
    """

    coding = "cells"
    sees_instances = True

    def own_maps(self, config: Config, image: Tensor) -> list[Tensor]:
        """The maps of the paper's network on any backbone, finest first."""
        raise NotImplementedError

    def maps(self, config: Config, image: Tensor) -> list[Tensor]:
        if not config.DARKNET:
            return self.own_maps(config, image)
        return network_maps(image, read_cfg(config.DARKNET), config.TRAIN_BN, config.BATCH_NORM_EPSILON)

    def head(self, config: Config, maps: list[Tensor]) -> Levels:
        return predict_cells(maps, config.NUM_CLASSES - 1, len(config.YOLO_ANCHORS[0]))

    def numbers(self, config: Config, said: Levels) -> list[Tensor]:
        levels = zip(said["dense_bbox"], config.BACKBONE_STRIDES, config.YOLO_ANCHORS, strict=True)
        return [CellDeltas(stride, sizes)(x) for x, stride, sizes in levels]

    def pixel_anchors(self, config: Config, image_shape: Sequence[int]) -> np.ndarray:
        return grid_cells(config, image_shape, config.YOLO_ANCHORS)[0]

    def matcher(self, config: Config, anchors: np.ndarray) -> Matcher:
        return by_cell(*grid_cells(config, config.IMAGE_SHAPE, config.YOLO_ANCHORS), config.YOLO_ALIKE)

    def loss_settings(self, config: Config) -> dict[str, Any]:
        """What the losses of both versions take: the anchors of each map as [places, sides of a cell over theirs]."""
        counts = compute_backbone_shapes(config, parts.image_shape(config, "training")).prod(axis=1).tolist()
        levels = zip(counts, config.BACKBONE_STRIDES, config.YOLO_ANCHORS, strict=True)
        cells = [[int(n), (stride / np.array(sizes)[:, ::-1]).tolist()] for n, stride, sizes in levels]
        return {"cells": cells, "ignore": config.YOLO_IGNORE}


def decoded(outputs: dict[str, Tensor], cells: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """The sides [A, 2] of the cells over those of the anchors, of what `loss_settings` gives, and the boxes [B, A, 4]
    that a training graph's outputs lead to."""
    ratios = np.concatenate([np.tile(np.array(sides, "float32"), (count, 1)) for count, sides in cells])
    ratios = ops.convert_to_tensor(ratios)
    deltas = boxes.in_cell_to_deltas(sigmoid_offsets(outputs["dense_bbox"]), ratios)
    return ratios, boxes.decode(outputs["anchors"], deltas)
