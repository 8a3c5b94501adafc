"""A network for whole runs of a few compiled steps: five convolutions, narrow heads, small images."""

import tiny
from kites import KiteConfig


class QuickConfig(KiteConfig):
    NAME = "quick"
    BACKBONE = tiny.backbone
    COMPUTE_BACKBONE_SHAPE = tiny.backbone_shapes
    TOP_DOWN_PYRAMID_SIZE = 8
    RPN_CHANNELS = 8
    MASK_CHANNELS = 4
    FPN_CLASSIF_FC_LAYERS_SIZE = 8
    POST_NMS_ROIS_TRAINING = 20
    TRAIN_ROIS_PER_IMAGE = 8
    APPEND_GT_ROIS = True  # else first proposals, which are anchors, leave heads without objects
    DETECTION_MAX_INSTANCES = 4
    IMAGES_PER_GPU = 2
    STEPS_PER_EPOCH = 2
    NUM_KEYPOINTS = 0
    KEYPOINT_FLIP_PAIRS: list = []
