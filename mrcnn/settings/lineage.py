"""The settings of detectors that look at every place of a map instead of at regions, as attributes of one class."""

from collections.abc import Sequence

import numpy as np

from mrcnn.settings.base import Settings

# What a setting of several numbers may be.
Numbers = Sequence[float] | np.ndarray


class LineageSettings(Settings):
    """What `Config` has of these detectors."""

    # One-stage detectors: where their levels above C5 come from, of the pyramid's last "level" or the backbone's last
    # "map"; the convolutions before what their head says, and whether each has GroupNorm ("group") or "none".
    DENSE_TOP = "level"
    DENSE_CONVOLUTIONS = 4
    DENSE_NORM = "none"

    # An anchor stands for an instance with an IoU of at least the second of these, and for none with less than the
    # first.
    DENSE_IOU: Numbers = (0.4, 0.5)

    # "smooth_l1" of deltas, or "giou" of boxes (Rezatofighi et al. 2019).
    DENSE_BOX_LOSS = "smooth_l1"

    # Candidates by score of every level, or of every class for SSD, that enter the NMS; corners of either kind that
    # CornerNet pairs.
    DENSE_CANDIDATES = 1000

    # The focal loss (Lin et al. 2017): the weight of objects, None for 1, against one minus it of everything else, and
    # how little counts what is right already; 0 for cross-entropy.
    FOCAL_ALPHA: float | None = 0.25
    FOCAL_GAMMA = 2.0

    # FCOS: how near an instance's centre a place must be to stand for it, in cells of its level along both axes.
    FCOS_RADIUS = 1.5

    # SSD: sides of its square default boxes as shares of the image's, of each map of BACKBONE_STRIDES and one more; for
    # each map the ratios above 1 of the others; and the negatives for each positive in the loss of the classes.
    SSD_SCALES: Numbers = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)
    SSD_RATIOS: Sequence[Numbers] = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
    SSD_NEGATIVES = 3.0

    # CenterNet and CornerNet: how the backbone's maps become one of stride 4, by three "transposed" convolutions behind
    # the last or by the "aggregation" of all.
    CENTERNET_UP = "transposed"

    # The Gaussians about their centres, joints and corners: the radius is how far both corners of the box may be off
    # with an IoU of at least HEATMAP_IOU, "exact", or "published" with the mistake of the authors' code, about three
    # times as large. Near such a point a mistake weighs (1 - Gaussian) ** HEATMAP_BETA; FOCAL_GAMMA counts as well.
    HEATMAP_RADIUS = "exact"
    HEATMAP_IOU = 0.7
    HEATMAP_BETA = 4.0

    # FCN. "skips": scores of the maps of strides 32, 16 and 8 are added, down to FCN_STRIDE (Long et al. 2015), behind
    # two convolutions on the coarsest with FCN_CHANNELS, VGG-16's dense layers (4096); 0 for none. "dilated": one score
    # of a ResNet whose last maps keep a stride of 8 (torchvision). FCN_DROPOUT is of the layers before the scores.
    FCN_HEAD = "skips"
    FCN_STRIDE = 8
    FCN_CHANNELS = 0
    FCN_DROPOUT = 0.0

    # U-Net: how often the image is halved on the way down, whether there is BatchNorm, which the paper did not have and
    # which learns much faster, and how maps grow again: "transposed" convolutions, "nearest" values, a bed of "nails",
    # or values put where the "maxima" were on the way down. Channels at the image's own size are BACKBONE_WIDTH.
    UNET_LEVELS = 4
    UNET_BN = True
    UNET_UNPOOL = "transposed"
    UNET_DROPOUT = 0.0

    # Where each pixel has a class: what the background between two objects weighs more than other pixels, and how far
    # apart in pixels they may be for that; objects of one class that touch get a line of background between them. 0 for
    # neither. How much more rare classes weigh than frequent ones: their pixels by 1 / number to this power, 0 for not
    # at all. And the least pixels that are connected which `detect` reports as an object.
    BORDER_WEIGHT = 0.0
    BORDER_SIGMA = 5.0
    CLASS_BALANCE = 0.0
    COMPONENT_AREA = 10

    # YOLO v2 and v3: (width, height) in pixels of the anchors of each map of BACKBONE_STRIDES; the sizes of a data set
    # are found by `samples/coco.py anchors`. These are v3's for COCO at 416 pixels. The IoU with an object above which
    # a box that need not find it may do so; and that of shapes from which on anchors stand for an object beside the
    # best, 1 for none.
    YOLO_ANCHORS: Sequence[Sequence[Sequence[float]]] = (
        ((10, 13), (16, 30), (33, 23)),
        ((30, 61), (62, 45), (59, 119)),
        ((116, 90), (156, 198), (373, 326)),
    )
    YOLO_IGNORE = 0.5
    YOLO_ALIKE = 1.0

    # YOLO v1: boxes of a cell, outputs of the dense layer before what the cells say (0 for none, so that a cell sees
    # its surroundings alone), and the weight of boxes without an object in the loss of the confidences.
    YOLO_BOXES = 2
    YOLO_DENSE = 4096
    YOLO_NO_OBJECT = 0.5

    # YOLO v2 and v3: the text of a .cfg file of Darknet, whose network takes the place of backbone and maps.
    DARKNET: str | None = None
