"""FCOS (Tian et al. 2019) as in its figure: pyramid P3 to P7, and at every place classes, a box and its centre-ness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from mrcnn import losses
from mrcnn.data.anchors import compute_backbone_shapes
from mrcnn.data.dense_targets import Matcher, by_place
from mrcnn.layers.dense_head import Predictor, prior_bias
from mrcnn.models import dense_parts
from mrcnn.models.dense import DenseDetector, Levels
from mrcnn.ops.boxes import Tensor
from mrcnn.settings import Config


class FCOS(DenseDetector):
    """FCOS: no anchors. A place says which classes are there, how far from it the four sides of the box are, and how
    near it is to the box's centre, as boxes seen from their edge are poor. Outputs of the head: dense_class_logits
    [B, A, K - 1], dense_bbox [B, A, 4] (top, left, bottom, right) in cells of the level, at least 0, dense_centerness
    [B, A, 1] logits.

    What stands as anchors in settings and graph are the cells: squares about the places.
    """

    name = "fcos"
    coding = "sides"

    def head(self, config: Config, maps: list[Tensor]) -> Levels:
        classes, boxes = (dense_parts.tower(config, name)(maps) for name in ("class", "bbox"))
        classify = Predictor("class", config.NUM_CLASSES - 1, bias=prior_bias())
        # From boxes of two cells on: a ReLU that begins at 0 would not learn everywhere.
        measure = Predictor("bbox", 4, bias=1.0, activation="relu")
        return {
            "dense_class_logits": classify(classes),
            "dense_bbox": measure(boxes),
            "dense_centerness": Predictor("centerness", 1)(boxes),
        }

    def scores(self, said: Levels) -> list[Tensor]:
        """The geometric mean of the probabilities of class and centre."""
        pairs = zip(said["dense_class_logits"], said["dense_centerness"], strict=True)
        return [ops.sqrt(ops.sigmoid(classes) * ops.sigmoid(centre)) for classes, centre in pairs]

    def matcher(self, config: Config, anchors: np.ndarray) -> Matcher:
        counts = compute_backbone_shapes(config, config.IMAGE_SHAPE).prod(axis=1).tolist()
        return by_place(anchors, counts, config.FCOS_RADIUS)

    def criterion(self, config: Config) -> tuple[Any, dict[str, Any], Sequence[str]]:
        return fcos_losses, dense_parts.focal_settings(config), ("dense_class", "dense_bbox", "dense_centerness")


@keras.saving.register_keras_serializable("mrcnn")
def fcos_losses(outputs: dict[str, Tensor], alpha: float | None = 0.25, gamma: float = 2.0) -> dict[str, Tensor]:
    """The losses (section 3 of the paper, GIoU in the place of IoU), of the outputs of the training graph.

    Args:
        outputs: predictions and targets by name.
        alpha, gamma: of the focal loss.
    """
    y, class_ids, cells = outputs, outputs["target_class_ids"], outputs["anchors"]
    return {
        "dense_class_loss": losses.dense_class_loss(
            class_ids, y["dense_class_logits"], y["active_class_ids"], alpha, gamma
        ),
        "dense_bbox_loss": losses.side_loss(class_ids, y["target_boxes"], cells, y["dense_bbox"]),
        "dense_centerness_loss": losses.centerness_loss(class_ids, y["target_boxes"], cells, y["dense_centerness"]),
    }
