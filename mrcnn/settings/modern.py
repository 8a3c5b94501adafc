"""Today's practice as settings: `ModernConfig`."""

import numpy as np

from mrcnn.settings.config import Config, Numbers


class ModernConfig(Config):
    """Today's practice in place of the original's: every setting that has such a choice.

    The numbers are those of Detectron2 and torchvision, on which the weights of `mrcnn.weights.convert` build. On top
    of the original's weights these settings detect nothing sensible. `TRAIN_BN` stays: True from random weights, else
    False. So does `RPN_BBOX_STD_DEV`: those files have 1 in its place, with which the RPN's boxes weigh a tenth as much
    in the loss and are learnt slowly from random weights.
    """

    RESNET_STRIDE = "3x3"
    RESNET_BIAS = False
    RESNET_PADDING = "symmetric"
    BATCH_NORM_EPSILON = 1e-5
    MEAN_PIXEL: Numbers = np.array([123.675, 116.28, 103.53])
    PIXEL_STD: float | Numbers = (58.395, 57.12, 57.375)
    IMAGE_PADDING = "mean"
    IMAGE_ROUNDING = "nearest"
    BOX_HEAD_BN = False
    MASK_HEAD_BN = False
    BOX_NORMALIZATION = "edges"

    RPN_CHANNELS = 256
    RPN_ANCHORS = "rounded"
    RPN_SCORE = "sigmoid"
    PROPOSAL_NMS = "level"
    PROPOSAL_WINDOW = "image"
    PRE_NMS_LIMIT = 1000

    TRAIN_ROIS_PER_IMAGE = 512
    ROI_POSITIVE_RATIO = 0.25
    APPEND_GT_ROIS = True
    ROI_LEVEL = "floor"
    ROI_ALIGN = "aligned"

    DETECTION_CLASSES = "all"
    DETECTION_MIN_CONFIDENCE = 0.05
    DETECTION_NMS_THRESHOLD = 0.5
    MASK_PASTE = "exact"
    KEYPOINT_DECODE = "pixels"

    LOSS_MEAN = "sample"
    SMOOTH_L1_BETA = 1 / 9
    MASK_LOSS = "logits"
    WEIGHT_DECAY_BY = "optimizer"
    LEARNING_RATE_SCHEDULE = "cosine"
    WARMUP_STEPS = 500
