"""The losses, each a mean over what it concerns; 0 where it concerns nothing. They take and return backend tensors."""

from mrcnn.losses.boxes import bbox_loss, rpn_bbox_loss, smooth_l1_loss
from mrcnn.losses.classes import class_loss, cross_entropy, rpn_class_loss
from mrcnn.losses.keypoints import keypoint_loss
from mrcnn.losses.masks import mask_loss
from mrcnn.losses.means import masked_mean, of_class
from mrcnn.ops.boxes import Tensor

__all__ = [
    "bbox_loss",
    "class_loss",
    "cross_entropy",
    "keypoint_loss",
    "mask_loss",
    "masked_mean",
    "of_class",
    "rpn_bbox_loss",
    "rpn_class_loss",
    "smooth_l1_loss",
]

# The original's names.
rpn_class_loss_graph = rpn_class_loss
mrcnn_class_loss_graph = class_loss
mrcnn_bbox_loss_graph = bbox_loss
mrcnn_mask_loss_graph = mask_loss
mrcnn_keypoint_loss_graph = keypoint_loss


def rpn_bbox_loss_graph(
    config: object, target_bbox: Tensor, rpn_match: Tensor, rpn_bbox: Tensor, mean: str = "positives", beta: float = 1
) -> Tensor:
    """`rpn_bbox_loss`; `config` is not used, old code passes it."""
    return rpn_bbox_loss(target_bbox, rpn_match, rpn_bbox, mean, beta)
