"""YOLO v2 (Redmon and Farhadi 2017): anchors of sizes found in the data, one map, with a finer one folded into it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from mrcnn import losses
from mrcnn.layers.yolo_head import passthrough_map
from mrcnn.models import parts
from mrcnn.models.dense import Levels
from mrcnn.models.yolo import CellDetector, convolution, decoded
from mrcnn.ops.boxes import Tensor
from mrcnn.settings import Config
from mrcnn.settings.checks import MAP_STRIDES


class YOLOv2(CellDetector):
    """YOLO v2: each anchor of a cell says where in it an object's centre is, how large it is, how sure that is, and by
    a softmax which class; see `CellDetector`."""

    name = "yolo_v2"

    def own_maps(self, config: Config, image: Tensor) -> list[Tensor]:
        level = 1 + MAP_STRIDES.index(config.BACKBONE_STRIDES[0])
        fine, coarse = parts.backbone(config, image)[level - 1 : level + 1]
        return [passthrough_map(fine, coarse, convolution(config), 4 * config.TOP_DOWN_PYRAMID_SIZE)]

    def scores(self, said: Levels) -> list[Tensor]:
        pairs = zip(said["dense_class_logits"], said["dense_object"], strict=True)
        return [_softmax(classes) * ops.sigmoid(there) for classes, there in pairs]

    def criterion(self, config: Config) -> tuple[Any, dict[str, Any], Sequence[str]]:
        return yolo_v2_losses, self.loss_settings(config), ("dense_class", "dense_object", "dense_bbox")


def _softmax(x):
    """Of one class it is 1, which Keras takes for a mistake."""
    return ops.softmax(x, axis=-1) if x.shape[-1] > 1 else ops.ones_like(x)


@keras.saving.register_keras_serializable("mrcnn")
def yolo_v2_losses(
    outputs: dict[str, Tensor], cells: Sequence[Any], ignore: float = 0.6, weight: float = 5.0
) -> dict[str, Tensor]:
    """The losses (of the authors' code; the paper has none), of the outputs of the training graph.

    Args:
        outputs: predictions and targets by name.
        cells: as of `CellDetector.loss_settings`.
        ignore: see `cell_object_loss`.
        weight: of the objectness of what is there.
    """
    y, class_ids, found = outputs, outputs["target_class_ids"], outputs["target_boxes"]
    ratios, predicted = decoded(y, cells)
    return {
        "dense_class_loss": losses.softmax_class_loss(class_ids, y["dense_class_logits"], y["active_class_ids"]),
        "dense_object_loss": losses.cell_object_loss(
            class_ids, y["dense_object"], predicted, found, y["gt_boxes"], ignore, logistic=False, weight=weight
        ),
        "dense_bbox_loss": losses.cell_box_loss(
            class_ids, found, y["anchors"], y["dense_bbox"], ratios, logistic=False
        ),
    }
