"""RetinaNet (Lin et al. 2017) as in its figure: backbone, pyramid P3 to P7, two small networks on all its levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from mrcnn import losses
from mrcnn.data.dense_targets import Matcher, by_overlap
from mrcnn.layers.dense_head import Predictor, prior_bias
from mrcnn.models import dense_parts
from mrcnn.models.dense import DenseDetector, Levels
from mrcnn.ops.boxes import Tensor
from mrcnn.settings import Config


class RetinaNet(DenseDetector):
    """RetinaNet: one network says for each of the anchors at every place which classes are there, one how the anchor
    becomes their box. Outputs of the head: dense_class_logits [B, A, K - 1], dense_bbox [B, A, 4] in units of
    BBOX_STD_DEV.

    torchvision's v2 is DENSE_TOP "map", DENSE_NORM "group", DENSE_BOX_LOSS "giou".
    """

    name = "retinanet"

    def head(self, config: Config, maps: list[Tensor]) -> Levels:
        each = dense_parts.anchors_per_place(config)
        classify = Predictor("class", config.NUM_CLASSES - 1, each, prior_bias())
        refine = Predictor("bbox", 4, each)
        return {
            "dense_class_logits": classify(dense_parts.tower(config, "class")(maps)),
            "dense_bbox": refine(dense_parts.tower(config, "bbox")(maps)),
        }

    def matcher(self, config: Config, anchors: np.ndarray) -> Matcher:
        return by_overlap(anchors, *config.DENSE_IOU)

    def criterion(self, config: Config) -> tuple[Any, dict[str, Any], Sequence[str]]:
        arguments = {**dense_parts.focal_settings(config), **dense_parts.box_loss_settings(config)}
        return retinanet_losses, arguments, ("dense_class", "dense_bbox")


@keras.saving.register_keras_serializable("mrcnn")
def retinanet_losses(
    outputs: dict[str, Tensor],
    std_dev: Sequence[float],
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    kind: str = "smooth_l1",
    beta: float = 1.0,
) -> dict[str, Tensor]:
    """The losses (section 4 of the paper), of the outputs of the training graph.

    Args:
        outputs: predictions and targets by name.
        alpha, gamma: of the focal loss.
        std_dev, kind, beta: of the boxes' loss; see `dense_bbox_loss`.
    """
    y, class_ids = outputs, outputs["target_class_ids"]
    return {
        "dense_class_loss": losses.dense_class_loss(
            class_ids, y["dense_class_logits"], y["active_class_ids"], alpha, gamma
        ),
        "dense_bbox_loss": losses.dense_bbox_loss(
            class_ids, y["target_boxes"], y["anchors"], y["dense_bbox"], std_dev, kind, beta
        ),
    }
