"""SSD (Liu et al. 2016) as in its figure: a backbone, ever coarser maps behind it, convolutions on each of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from mrcnn import losses
from mrcnn.data.anchors import compute_backbone_shapes
from mrcnn.data.dense_targets import Matcher, by_overlap
from mrcnn.layers.dense_head import Predictor
from mrcnn.layers.ssd_maps import ssd_maps
from mrcnn.models import dense_parts, parts
from mrcnn.models.dense import DenseDetector, Levels
from mrcnn.ops.anchors import default_boxes
from mrcnn.ops.boxes import Tensor
from mrcnn.settings import Config


class SSD(DenseDetector):
    """SSD: default boxes of several shapes at every place; classes, background included, by a softmax. Outputs of the
    head: dense_class_logits [B, A, K], dense_bbox [B, A, 4] in units of BBOX_STD_DEV.

    Images have one size, IMAGE_MAX_DIM squared: 300 and BACKBONE "vgg16" are SSD300 of the paper.
    """

    name = "ssd"
    limit = "class"

    def maps(self, config: Config, image: Tensor) -> list[Tensor]:
        maps, first = parts.backbone(config, image), round(math.log2(config.BACKBONE_STRIDES[0])) - 1
        sides = compute_backbone_shapes(config, config.IMAGE_SHAPE).tolist()
        return ssd_maps(maps[first], maps[first + 1], sides, config.BACKBONE_WIDTH)

    def head(self, config: Config, maps: list[Tensor]) -> Levels:
        classes, boxes = [], []
        for i, (x, ratios) in enumerate(zip(maps, config.SSD_RATIOS, strict=True), start=1):
            each = 2 + 2 * len(ratios)
            classes += Predictor("class", config.NUM_CLASSES, each, number=i)([x])
            boxes += Predictor("bbox", 4, each, number=i)([x])
        # One softmax and one limit for all maps.
        said = {"dense_class_logits": classes, "dense_bbox": boxes}
        return {name: [ops.concatenate(x, axis=1)] for name, x in said.items()}

    def scores(self, said: Levels) -> list[Tensor]:
        return [ops.softmax(x, axis=-1)[..., 1:] for x in said["dense_class_logits"]]

    def pixel_anchors(self, config: Config, image_shape: Sequence[int]) -> np.ndarray:
        shapes = compute_backbone_shapes(config, image_shape)
        return default_boxes(image_shape, shapes, config.BACKBONE_STRIDES, config.SSD_SCALES, config.SSD_RATIOS)

    def matcher(self, config: Config, anchors: np.ndarray) -> Matcher:
        return by_overlap(anchors, *config.DENSE_IOU)

    def criterion(self, config: Config) -> tuple[Any, dict[str, Any], Sequence[str]]:
        arguments = {**dense_parts.box_loss_settings(config), "negatives": config.SSD_NEGATIVES}
        return ssd_losses, arguments, ("dense_class", "dense_bbox")


@keras.saving.register_keras_serializable("mrcnn")
def ssd_losses(
    outputs: dict[str, Tensor],
    std_dev: Sequence[float],
    kind: str = "smooth_l1",
    beta: float = 1.0,
    negatives: float = 3.0,
) -> dict[str, Tensor]:
    """The losses (section 2.2 of the paper), of the outputs of the training graph.

    Args:
        outputs: predictions and targets by name.
        std_dev, kind, beta: of the boxes' loss; see `dense_bbox_loss`.
        negatives: for each positive; see `mined_class_loss`.
    """
    y, class_ids = outputs, outputs["target_class_ids"]
    return {
        "dense_class_loss": losses.mined_class_loss(
            class_ids, y["dense_class_logits"], y["active_class_ids"], negatives
        ),
        "dense_bbox_loss": losses.dense_bbox_loss(
            class_ids, y["target_boxes"], y["anchors"], y["dense_bbox"], std_dev, kind, beta
        ),
    }
