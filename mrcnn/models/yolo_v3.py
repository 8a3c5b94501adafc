"""YOLO v3 (Redmon and Farhadi 2018): anchors on maps of three scales, classes that do not exclude each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from mrcnn import losses
from mrcnn.layers.yolo_head import scale_maps
from mrcnn.models import parts
from mrcnn.models.dense import Levels
from mrcnn.models.yolo import CellDetector, convolution, decoded
from mrcnn.ops.boxes import Tensor
from mrcnn.settings import Config


class YOLOv3(CellDetector):
    """YOLO v3: as v2 on maps of several scales, with a sigmoid for each class; see `CellDetector`."""

    name = "yolo_v3"

    def own_maps(self, config: Config, image: Tensor) -> list[Tensor]:
        first, count = round(math.log2(config.BACKBONE_STRIDES[0])) - 1, len(config.BACKBONE_STRIDES)
        maps = parts.backbone(config, image)[first : first + count]
        return scale_maps(maps, convolution(config), config.TOP_DOWN_PYRAMID_SIZE)

    def scores(self, said: Levels) -> list[Tensor]:
        pairs = zip(said["dense_class_logits"], said["dense_object"], strict=True)
        return [ops.sigmoid(classes) * ops.sigmoid(there) for classes, there in pairs]

    def criterion(self, config: Config) -> tuple[Any, dict[str, Any], Sequence[str]]:
        return yolo_v3_losses, self.loss_settings(config), ("dense_class", "dense_object", "dense_bbox")


@keras.saving.register_keras_serializable("mrcnn")
def yolo_v3_losses(outputs: dict[str, Tensor], cells: Sequence[Any], ignore: float = 0.5) -> dict[str, Tensor]:
    """The losses (section 2 of the paper, and the authors' code), of the outputs of the training graph.

    Args:
        outputs: predictions and targets by name.
        cells: as of `CellDetector.loss_settings`.
        ignore: see `cell_object_loss`.
    """
    y, class_ids, found = outputs, outputs["target_class_ids"], outputs["target_boxes"]
    ratios, predicted = decoded(y, cells)
    return {
        "dense_class_loss": losses.logistic_class_loss(class_ids, y["dense_class_logits"], y["active_class_ids"]),
        "dense_object_loss": losses.cell_object_loss(
            class_ids, y["dense_object"], predicted, found, y["gt_boxes"], ignore, logistic=True
        ),
        "dense_bbox_loss": losses.cell_box_loss(class_ids, found, y["anchors"], y["dense_bbox"], ratios, logistic=True),
    }
