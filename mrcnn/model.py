"""The names of the 2017-2019 package's `mrcnn.model`. Each one lives in the module that it is about; look there."""

from keras.ops import log2 as log2_graph

from mrcnn.compat.batches import build_detection_targets, build_rpn_targets, data_generator, mold_image, unmold_image
from mrcnn.compat.graphs import (
    batch_pack_graph,
    build_fpn_mask_graph,
    detection_targets_graph,
    fpn_classifier_graph,
    refine_detections_graph,
    rpn_bbox_loss_graph,
    trim_zeros_graph,
)
from mrcnn.compat.mask_rcnn import MaskRCNN
from mrcnn.compat.names import lend
from mrcnn.data.anchors import compute_backbone_shapes
from mrcnn.data.batches import DataGenerator
from mrcnn.data.random_rois import generate_random_rois
from mrcnn.data.samples import load_image_gt
from mrcnn.layers.batch_norm import BatchNorm
from mrcnn.layers.detections import DetectionLayer
from mrcnn.layers.resnet import conv_block, identity_block, resnet_graph
from mrcnn.layers.roi_align import PyramidROIAlign
from mrcnn.layers.rpn import ProposalLayer, build_rpn_model, rpn_graph
from mrcnn.layers.targets import DetectionTargetLayer
from mrcnn.losses import bbox_loss as mrcnn_bbox_loss_graph
from mrcnn.losses import class_loss as mrcnn_class_loss_graph
from mrcnn.losses import mask_loss as mrcnn_mask_loss_graph
from mrcnn.losses import rpn_class_loss as rpn_class_loss_graph
from mrcnn.losses import smooth_l1_loss
from mrcnn.models.inspection import log
from mrcnn.models.network import LAYER_PRESETS
from mrcnn.ops.boxes import clip as clip_boxes_graph
from mrcnn.ops.boxes import decode as apply_box_deltas_graph
from mrcnn.ops.boxes import denormalize as denorm_boxes_graph
from mrcnn.ops.boxes import normalize as norm_boxes_graph
from mrcnn.ops.boxes import overlaps as overlaps_graph
from mrcnn.ops.meta import compose_image_meta, parse_image_meta
from mrcnn.ops.meta import parse_image_meta as parse_image_meta_graph

__getattr__, _LENT = lend(
    __name__, "K KE KL KM LooseVersion OrderedDict datetime keras logging math multiprocessing np os random re tf utils"
)

__all__ = [
    "LAYER_PRESETS",
    "BatchNorm",
    "DataGenerator",
    "DetectionLayer",
    "DetectionTargetLayer",
    "MaskRCNN",
    "ProposalLayer",
    "PyramidROIAlign",
    "apply_box_deltas_graph",
    "batch_pack_graph",
    "build_detection_targets",
    "build_fpn_mask_graph",
    "build_rpn_model",
    "build_rpn_targets",
    "clip_boxes_graph",
    "compose_image_meta",
    "compute_backbone_shapes",
    "conv_block",
    "data_generator",
    "denorm_boxes_graph",
    "detection_targets_graph",
    "fpn_classifier_graph",
    "generate_random_rois",
    "identity_block",
    "load_image_gt",
    "log",
    "log2_graph",
    "mold_image",
    "mrcnn_bbox_loss_graph",
    "mrcnn_class_loss_graph",
    "mrcnn_mask_loss_graph",
    "norm_boxes_graph",
    "overlaps_graph",
    "parse_image_meta",
    "parse_image_meta_graph",
    "refine_detections_graph",
    "resnet_graph",
    "rpn_bbox_loss_graph",
    "rpn_class_loss_graph",
    "rpn_graph",
    "smooth_l1_loss",
    "trim_zeros_graph",
    "unmold_image",
    *_LENT,
]
