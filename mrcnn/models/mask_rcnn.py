"""Mask R-CNN (He et al. 2017): Faster R-CNN with RoIAlign and, beside the box head, heads of masks and keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from mrcnn import losses
from mrcnn.layers.roi_head import RoiHead
from mrcnn.models import parts
from mrcnn.models.detector import Found
from mrcnn.models.faster_rcnn import FasterRCNN, faster_rcnn_losses
from mrcnn.models.results import Place, paste_masks, place_keypoints
from mrcnn.ops.boxes import Tensor
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

    # Under the original's names

    def unmold_detections(
        self,
        detections: np.ndarray,
        mrcnn_mask: np.ndarray | None,
        original_image_shape: Sequence[int],
        image_shape: Sequence[int],
        window: Sequence[int] | np.ndarray,
        rle: bool = False,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, Any]:
        """Detections [D, 6] of one molded image, and masks [at least n, h, w, K] or None, in terms of the original one.

        Returns:
            boxes [n, 4] pixels, int32, or float32 unless MASK_PASTE is "integer"; class_ids [n] int32, scores [n]
            float32, masks [H, W, n] bool, or a list of n run lengths, or None.
        """
        place = Place(original_image_shape, image_shape, window, self.config.BOX_NORMALIZATION)
        masks = {} if mrcnn_mask is None else {"mrcnn_mask": mrcnn_mask}
        result = self.result({"detections": detections, **masks}, place, rle)
        return result["rois"], result["class_ids"], result["scores"], result.get("masks")

    def unmold_keypoints(
        self,
        detections: np.ndarray,
        heatmaps: np.ndarray,
        original_image_shape: Sequence[int],
        image_shape: Sequence[int],
        window: Sequence[int] | np.ndarray,
    ) -> np.ndarray:
        """Keypoints [n, J, 3] float32 of (x, y, score), in pixels of the original image, of the boxes that
        `unmold_detections` gives; heatmaps are [at least n, J, h, w] logits."""
        place = Place(original_image_shape, image_shape, window, self.config.BOX_NORMALIZATION)
        return self.result({"detections": detections, "mrcnn_keypoint": heatmaps}, place)["keypoints"]


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
