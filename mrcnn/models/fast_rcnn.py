"""Fast R-CNN (Girshick 2015) as in its figure 1: an image with its proposals, one backbone for all, a box head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from mrcnn.data import proposals
from mrcnn.data.dataset import Dataset
from mrcnn.data.encoders import Encoder, GivenRois
from mrcnn.models import parts
from mrcnn.models.faster_rcnn import FasterRCNN, box_losses
from mrcnn.ops.boxes import Tensor
from mrcnn.settings import Config


class FastRCNN(FasterRCNN):
    """Fast R-CNN: regions come with the images, of `Dataset.load_proposals` or a selective search.

    `keras_model` for inference takes [image, image_meta, rois [B, N, 4] normalised] and gives [detections, mrcnn_class,
    mrcnn_bbox]. The paper has RoI pooling (ROI_ALIGN "pool") on one map (BACKBONE_STRIDES [16]).
    """

    name = "fast_rcnn"

    def propose(
        self, config: Config, image: Tensor, meta: Tensor, maps: list[Tensor], mode: str
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        given = parts.roi_input(config, mode)
        return {"input_rois": given}, {}, parts.normalized(config, given) if mode == "training" else given

    def criterion(self, config: Config) -> tuple[Any, dict[str, Any], list[str]]:
        return fast_rcnn_losses, parts.box_loss_settings(config), ["mrcnn_class", "mrcnn_bbox"]

    def encoders(self, config: Config) -> list[Encoder]:
        return [GivenRois(config.POST_NMS_ROIS_TRAINING)]

    def inputs(self, molded: np.ndarray, metas: np.ndarray, *given: np.ndarray) -> list[np.ndarray]:
        if not given:
            raise ValueError(f"A {self.config.DETECTOR} looks at proposals: give those of each image as `proposals`.")
        return [molded, metas, *given]

    def regions(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Refused with a ValueError, as no region is proposed here."""
        raise ValueError(f"A {self.config.DETECTOR} proposes no regions: they come with the images.")

    def train(self, train_dataset: Dataset, val_dataset: Dataset | None, *args: Any, **kwargs: Any) -> None:
        proposals.prepare(train_dataset)
        if val_dataset is not None and self.config.VALIDATION_STEPS:
            proposals.prepare(val_dataset)
        super().train(train_dataset, val_dataset, *args, **kwargs)


@keras.saving.register_keras_serializable("mrcnn")
def fast_rcnn_losses(outputs: dict[str, Tensor], mean: str = "positives", beta: float = 1.0) -> dict[str, Tensor]:
    """The losses (equation 1 of the paper), of the outputs of the training graph.

    Args:
        outputs: predictions and targets by name.
        mean, beta: of the box loss, see LOSS_MEAN and SMOOTH_L1_BETA in `Config`.
    """
    return box_losses(outputs, mean, beta)
