"""YOLO (Redmon et al. 2016) as in its figure: one map of cells, each of which says what is in it, and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from mrcnn import losses
from mrcnn.data.anchors import compute_backbone_shapes
from mrcnn.data.dense_targets import Matcher, by_cell
from mrcnn.layers.dense_head import Predictor
from mrcnn.layers.yolo_head import grid_map, root_deltas
from mrcnn.models import parts
from mrcnn.models.dense import DenseDetector, Levels
from mrcnn.models.yolo import convolution, grid_cells
from mrcnn.ops import boxes
from mrcnn.ops.boxes import Tensor
from mrcnn.settings import Config
from mrcnn.settings.checks import MAP_STRIDES


class YOLOv1(DenseDetector):
    """YOLO, version 1: S x S cells say for each of YOLO_BOXES boxes where it is and how sure that is, and once for all
    of them which class is there. Outputs of the head: dense_classes [B, A, K - 1], dense_object [B, A, 1], and
    dense_bbox [B, A, 4]: y and x in the cell, square roots of height and width as shares of the image. All are sums,
    without a sigmoid or a softmax.

    Images have one size. What stands as anchors in the graph are the cells, each as often as it has boxes.
    """

    name = "yolo_v1"
    coding = "cells"

    def maps(self, config: Config, image: Tensor) -> list[Tensor]:
        stride, found = config.BACKBONE_STRIDES[0], parts.backbone(config, image)
        halve = stride not in MAP_STRIDES
        last = found[-1] if halve else found[1 + MAP_STRIDES.index(stride)]
        return [grid_map(last, convolution(config), 4 * config.TOP_DOWN_PYRAMID_SIZE, halve, config.YOLO_DENSE)]

    def head(self, config: Config, maps: list[Tensor]) -> Levels:
        # A dense layer's outputs are one place, which speaks for all cells.
        cells = int(np.prod(self._grid(config))) if config.YOLO_DENSE else 1
        each = cells * config.YOLO_BOXES
        classes = Predictor("class", config.NUM_CLASSES - 1, cells, size=1)(maps)
        return {
            "dense_classes": [ops.repeat(x, config.YOLO_BOXES, axis=1) for x in classes],
            "dense_object": Predictor("object", 1, each, size=1)(maps),
            "dense_bbox": Predictor("bbox", 4, each, bias=0.4, size=1)(maps),
        }

    def scores(self, said: Levels) -> list[Tensor]:
        pairs = zip(said["dense_classes"], said["dense_object"], strict=True)
        return [ops.clip(classes, 0, 1) * ops.clip(confidence, 0, 1) for classes, confidence in pairs]

    def numbers(self, config: Config, said: Levels) -> list[Tensor]:
        return [root_deltas(x, self._grid(config)) for x in said["dense_bbox"]]

    def pixel_anchors(self, config: Config, image_shape: Sequence[int]) -> np.ndarray:
        return grid_cells(config, image_shape, self._sizes(config))[0]

    def matcher(self, config: Config, anchors: np.ndarray) -> Matcher:
        return by_cell(anchors, anchors)

    def criterion(self, config: Config) -> tuple[Any, dict[str, Any], Sequence[str]]:
        arguments = {"grid": self._grid(config), "each": config.YOLO_BOXES, "no_object": config.YOLO_NO_OBJECT}
        return yolo_v1_losses, arguments, ("dense_class", "dense_object", "dense_bbox")

    def _grid(self, config):
        """Cells (down, across)."""
        return compute_backbone_shapes(config, config.IMAGE_SHAPE)[0].tolist()

    def _sizes(self, config):
        return [[(config.BACKBONE_STRIDES[0],) * 2] * config.YOLO_BOXES]


@keras.saving.register_keras_serializable("mrcnn")
def yolo_v1_losses(
    outputs: dict[str, Tensor], grid: Sequence[int], each: int = 2, no_object: float = 0.5, box: float = 5.0
) -> dict[str, Tensor]:
    """The losses (equation 3 of the paper), of the outputs of the training graph.

    Args:
        outputs: predictions and targets by name.
        grid: cells (down, across).
        each: boxes of a cell.
        no_object: weight of the confidences of boxes that stand for nothing.
        box: weight of places and sizes.
    """
    y, class_ids, numbers = outputs, outputs["target_class_ids"], outputs["dense_bbox"]
    cells, found = y["anchors"], y["target_boxes"]
    predicted = boxes.decode(cells, root_deltas(numbers, grid))
    chosen, iou = losses.responsible(class_ids, found, predicted, each)
    centres = boxes.encode_in_cell(cells, ops.where((class_ids > 0)[..., None], found, cells), ops.ones(2))[..., :2]
    targets = ops.concatenate([centres, ops.sqrt(ops.maximum(found[..., 2:] - found[..., :2], 0))], axis=-1)
    return {
        "dense_class_loss": losses.grid_class_loss(chosen, class_ids, y["dense_classes"], y["active_class_ids"]),
        "dense_object_loss": losses.grid_object_loss(chosen, class_ids, iou, y["dense_object"][..., 0], no_object),
        "dense_bbox_loss": box * losses.grid_box_loss(chosen, targets, numbers),
    }
