"""Mask R-CNN (He et al. 2017): Faster R-CNN with RoIAlign and, beside the box head, heads of masks and keypoints."""

from __future__ import annotations

from typing import Any

import keras

from mrcnn import losses
from mrcnn.layers.roi_head import RoiHead
from mrcnn.models import parts
from mrcnn.models.detector import Found
from mrcnn.models.faster_rcnn import FasterRCNN, faster_rcnn_losses
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.results import Place, paste_masks, place_keypoints
from mrcnn.settings import Config


class MaskRCNN(FasterRCNN):
    """Mask R-CNN; with USE_MASK False it is Faster R-CNN, with NUM_KEYPOINTS it finds poses too.

    `keras_model` for inference takes [image, image_meta, anchors] and gives [detections, mrcnn_class, mrcnn_bbox,
    mrcnn_mask, rpn_rois, rpn_class, rpn_bbox], then mrcnn_keypoint if there are keypoints; with USE_MASK False there is
    no mrcnn_mask.
    """

    name = "mask_rcnn"

    def heads(self, config: Config, mode: str) -> dict[str, RoiHead]:
        return parts.instance_heads(config, mode)

    def criterion(self, config: Config) -> tuple[Any, dict[str, Any], list[str]]:
        _, arguments, names = super().criterion(config)
        return mask_rcnn_losses, {**arguments, "mask_logits": config.MASK_LOSS == "logits"}, names

    def result(self, found: Found, place: Place, rle: bool = False) -> dict[str, Any]:
        config = self.config
        result, kept = self.boxes(found, place)
        rois, class_ids = result["rois"], result["class_ids"]
        if "mrcnn_mask" in found:
            own = found["mrcnn_mask"][kept, :, :, class_ids]
            result["masks"] = paste_masks(own, rois, place.original, config.MASK_PASTE, rle)
        if "mrcnn_keypoint" in found:
            result["keypoints"] = place_keypoints(
                found["mrcnn_keypoint"][kept],
                found["detections"][kept],
                place,
                config.KEYPOINT_ROI_EXPAND,
                config.KEYPOINT_CLASSES,
                config.KEYPOINT_DECODE,
            )
        return result


@keras.saving.register_keras_serializable("mrcnn")
def mask_rcnn_losses(
    outputs: dict[str, Tensor], mean: str = "positives", beta: float = 1.0, mask_logits: bool = False
) -> dict[str, Tensor]:
    """The losses (section 3 of the paper), of the outputs of the training graph.

    Args:
        outputs: predictions and targets by name.
        mean, beta: of the box losses, see LOSS_MEAN and SMOOTH_L1_BETA in `Config`.
        mask_logits: whether the masks are logits.
    """
    return faster_rcnn_losses(outputs, mean, beta) | instance_losses(outputs, mask_logits)


def instance_losses(outputs: dict[str, Tensor], mask_logits: bool = False) -> dict[str, Tensor]:
    """The losses of the mask and the keypoint head, where there is one."""
    y, found = outputs, {}
    if "mrcnn_mask" in y:
        class_ids = y["target_class_ids"][:, : y["target_mask"].shape[1]]
        found["mrcnn_mask_loss"] = losses.mask_loss(y["target_mask"], class_ids, y["mrcnn_mask"], mask_logits)
    if "mrcnn_keypoint" in y:
        found["mrcnn_keypoint_loss"] = losses.keypoint_loss(y["target_keypoint"], y["mrcnn_keypoint"])
    return found
