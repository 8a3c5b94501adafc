"""The losses, each a mean over what it concerns; 0 where it concerns nothing. They take and return backend tensors."""

from mrcnn.losses.boxes import (
    bbox_loss,
    centerness_loss,
    dense_bbox_loss,
    giou_loss,
    rpn_bbox_loss,
    side_loss,
    smooth_l1_loss,
)
from mrcnn.losses.classes import class_loss, cross_entropy, rpn_class_loss
from mrcnn.losses.focal import binary_cross_entropy, dense_class_loss, focal_loss, mined_class_loss, per_positive
from mrcnn.losses.heatmaps import at_cells, embedding_losses, heatmap_loss, point_loss
from mrcnn.losses.keypoints import keypoint_loss
from mrcnn.losses.masks import mask_loss
from mrcnn.losses.means import masked_mean, of_class
from mrcnn.losses.semantic import pixel_loss
from mrcnn.losses.yolo import (
    cell_box_loss,
    cell_object_loss,
    grid_box_loss,
    grid_class_loss,
    grid_object_loss,
    logistic_class_loss,
    responsible,
    softmax_class_loss,
)

__all__ = [
    "at_cells",
    "bbox_loss",
    "binary_cross_entropy",
    "cell_box_loss",
    "cell_object_loss",
    "centerness_loss",
    "class_loss",
    "cross_entropy",
    "dense_bbox_loss",
    "dense_class_loss",
    "embedding_losses",
    "focal_loss",
    "giou_loss",
    "grid_box_loss",
    "grid_class_loss",
    "grid_object_loss",
    "heatmap_loss",
    "keypoint_loss",
    "logistic_class_loss",
    "mask_loss",
    "masked_mean",
    "mined_class_loss",
    "of_class",
    "per_positive",
    "pixel_loss",
    "responsible",
    "point_loss",
    "rpn_bbox_loss",
    "rpn_class_loss",
    "side_loss",
    "smooth_l1_loss",
    "softmax_class_loss",
]
