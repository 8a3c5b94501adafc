"""The losses, each a mean over what it concerns; 0 where it concerns nothing. They take and return backend tensors."""

from mrcnn.losses.boxes import bbox_loss, rpn_bbox_loss, smooth_l1_loss
from mrcnn.losses.classes import class_loss, cross_entropy, rpn_class_loss
from mrcnn.losses.keypoints import keypoint_loss
from mrcnn.losses.masks import mask_loss
from mrcnn.losses.means import masked_mean, of_class

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
