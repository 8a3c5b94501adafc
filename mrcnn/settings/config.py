"""Every setting of a model, its training and its data, as attributes of one class.

Subclass `Config`, override what differs, instantiate::

    class BalloonConfig(Config):
        NAME = "balloon"
        NUM_CLASSES = 1 + 1  # background, balloon

    config = BalloonConfig()
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mrcnn.settings.checks import LOSSES
from mrcnn.settings.lineage import LineageSettings, Numbers


class Config(LineageSettings):
    """Settings with the defaults of the 2017-2019 original; old weights rely on most of them. Those of detectors that
    have no regions are in `LineageSettings`.

    Raises:
        ValueError: a value is impossible; the message names the attribute and the remedy.
    """

    # Name of the experiment: the prefix of its log folder.
    NAME: str | None = None

    # What is built, trained and run: "mask_rcnn"; "cascade_rcnn", also with masks; "faster_rcnn", "fast_rcnn",
    # "rcnn", "retinanet", "fcos", "ssd", "yolo_v1", "yolo_v2", "yolo_v3" and "cornernet", which find boxes alone;
    # "centernet", also with keypoints; "fcn" and "unet", which give every pixel a class. In mrcnn/models is a file for
    # each; mrcnn.settings.detectors.practice has what one has by its paper.
    DETECTOR = "mask_rcnn"

    # Number of devices that share a batch, and images on each of them. A 12 GB GPU holds two images of 1024x1024;
    # the largest batch that fits gives the best use of the machine.
    GPU_COUNT = 1
    IMAGES_PER_GPU = 2

    # Training steps in an epoch. Checkpoints and TensorBoard records are written once an epoch, so it need not be the
    # size of the training set.
    STEPS_PER_EPOCH = 1000

    # Validation steps at the end of every epoch: more of them give steadier numbers and slower epochs. None: the whole
    # validation set.
    VALIDATION_STEPS: int | None = 50

    # Where the numbers of a training go, any of "tensorboard", "csv" (log.csv in the run's folder), "mlflow", "wandb".
    TRACKERS: Sequence[str] = ("tensorboard",)

    # "resnet50", "resnet101"; "resnet18", "resnet34" (basic blocks, light enough for a CPU); "resnext50_32x4d",
    # "resnext101_32x8d"; "vgg16"; "dla34"; "darknet19", "darknet53", and "darknet_tiny" for a CPU; the name of a
    # network in keras.applications, as "MobileNetV2"; "efficientnet_lite0", "efficientnet_lite1" and
    # "efficientnet_lite2", whose ImageNet weights come with pip; or a callable
    # backbone(input_image, stage5=True, train_bn=...) -> [C1, C2, C3, C4, C5].
    BACKBONE: str | Callable[..., Any] = "resnet101"

    # Variants of the ResNets: whether a bottleneck takes its stride in the first 1x1 convolution (He et al. 2015) or in
    # the 3x3 one, which sees every pixel (torchvision); whether convolutions have a bias, which BatchNorm makes
    # redundant; and whether layers of stride 2 pad as TensorFlow does ("same", more on the far side) or alike on both,
    # which is a setting of EfficientNet-Lite too.
    RESNET_STRIDE = "1x1"
    RESNET_BIAS = True
    RESNET_PADDING = "same"

    # Added to the variances of BatchNorm: a part of the weights, which were trained with it.
    BATCH_NORM_EPSILON = 0.001

    # Only with a callable BACKBONE and an RPN: function(image_shape) -> [5, 2] heights and widths of P2..P6.
    COMPUTE_BACKBONE_SHAPE: Callable[..., Any] | None = None

    # Width of the first stage of "resnet18", "resnet34", "dla34" and "vgg16"; later stages double it. Narrow networks
    # train in minutes on a CPU. Below 8 TensorFlow's oneDNN kernels (2.21, on where TF_ENABLE_ONEDNN_OPTS is 1) have
    # ended trainings by writing outside their memory on processors with AVX2; such a training is refused.
    BACKBONE_WIDTH = 64

    # Strides of P2..P6 against the image. One of them alone, as [16], stands for the backbone's map of that stride in
    # the place of a pyramid, as before Lin et al. 2017.
    BACKBONE_STRIDES: Numbers = [4, 8, 16, 32, 64]

    # Width of the first dense layers of the box head (convolutions over the whole pooled RoI).
    FPN_CLASSIF_FC_LAYERS_SIZE = 1024

    # Channels of every pyramid level.
    TOP_DOWN_PYRAMID_SIZE = 256

    # The box head's dense layers, and 3x3 convolutions before them with their width: 1, 4 and 256 in torchvision's v2
    # models (Wu and He 2018).
    BOX_DENSE_LAYERS = 2
    BOX_CONVOLUTIONS = 0
    BOX_CHANNELS = 256

    # Whether there is BatchNorm behind the convolutions of the pyramid, of the box head (its dense layers, where it has
    # none) and of the mask head. It needs larger batches of RoIs than of images, but published heads of other packages
    # have none, torchvision's v2 models aside.
    FPN_BN = False
    BOX_HEAD_BN = True
    MASK_HEAD_BN = True

    # What these are: "batch", or "group" for GroupNorm (Wu and He 2018), which has no statistics to learn and does the
    # same in training and detection: for batches of few images.
    HEAD_NORM = "batch"

    # Channels of the RPN's shared convolution, how many of these follow each other, and channels of the mask head's.
    RPN_CHANNELS = 512
    RPN_CONVOLUTIONS = 1
    MASK_CHANNELS = 256

    # Classes including the background, which is class 0.
    NUM_CLASSES = 1

    # Their names, the background's first, as `train` finds them in its data set, for what evaluates the weights later;
    # empty where they are not known.
    CLASS_NAMES: Sequence[str] = ()

    # Side of a square anchor in pixels, one for each pyramid level, or as many for each: [[128, 256, 512]] for the nine
    # anchors a place of Ren et al. 2015, on one map.
    RPN_ANCHOR_SCALES: Numbers = (32, 64, 128, 256, 512)

    # Width / height of the anchors in each cell.
    RPN_ANCHOR_RATIOS: Numbers = [0.5, 1, 2]

    # 1: anchors in every cell of the feature map, 2: in every second one, and so on.
    RPN_ANCHOR_STRIDE = 1

    # "rounded": sides of anchors come to whole half pixels, and strides are the image's sides divided by the map's and
    # rounded down, as torchvision's weights know them.
    RPN_ANCHORS = "exact"

    # "softmax" over background and object, or one "sigmoid": the same with half the outputs.
    RPN_SCORE = "softmax"

    # How boxes are normalised. "pixels": corners are centres of pixels, so lengths are one pixel short, relative to the
    # image's sides less one; old weights know their boxes by it. "edges": corners are edges of pixels, so that the
    # coordinates scale with the image without any shift.
    BOX_NORMALIZATION = "pixels"

    # Overlap (IoU) above which the weaker of two proposals is dropped; higher in training gives more proposals.
    RPN_NMS_THRESHOLD = 0.7

    # Anchors per image in the RPN's losses.
    RPN_TRAIN_ANCHORS_PER_IMAGE = 256

    # Proposals by score that enter the NMS.
    PRE_NMS_LIMIT = 6000

    # "joint": PRE_NMS_LIMIT and the suppression are for all pyramid levels together. "level": for each, so that small
    # objects do not compete with large ones (Lin et al. 2017).
    PROPOSAL_NMS = "joint"

    # Proposals are cut to the "padded" image, or to the part that is "image", and then those without area are dropped.
    PROPOSAL_WINDOW = "padded"

    # Proposals that leave it.
    POST_NMS_ROIS_TRAINING = 2000
    POST_NMS_ROIS_INFERENCE = 1000

    # Masks cut to their box and resized to MINI_MASK_SHAPE save memory where images are large.
    USE_MINI_MASK = True
    MINI_MASK_SHAPE: Sequence[int] = (56, 56)

    # How images come to one size (mrcnn.data.resizing.resize_image):
    # square: scale by IMAGE_MIN_DIM and IMAGE_MIN_SCALE, never above IMAGE_MAX_DIM, and pad to a square of that side.
    # rect:   the same scale, padded only to multiples of 64: less to compute for a photo. Not equal to the
    #         last bit, as a network that saw squares knows their padding. Training pads to the square.
    # shortest: as rect, but larger images are scaled down to IMAGE_MIN_DIM too (torchvision, Detectron2).
    # pad64:  scale by IMAGE_MIN_DIM and IMAGE_MIN_SCALE alone, pad the sides to multiples of 64.
    # crop:   the same scale, then a random square of side IMAGE_MIN_DIM; training only.
    # stretch: to a square of side IMAGE_MAX_DIM, whatever becomes of the aspect ratio (SSD).
    # none:   neither scale nor pad; the sides must be multiples of 64.
    IMAGE_RESIZE_MODE = "square"
    IMAGE_MIN_DIM: int | None = 800
    IMAGE_MAX_DIM: int | None = 1024
    IMAGE_MIN_SCALE: float | None = 0

    # Channels of the input: 3 for RGB, 1 for gray, 4 for RGB-D. MEAN_PIXEL has as many values, or one for all.
    IMAGE_CHANNEL_COUNT = 3
    MEAN_PIXEL: float | Numbers = np.array([123.7, 116.8, 103.9])

    # The network sees (pixel - MEAN_PIXEL) / PIXEL_STD, one number or one for each channel, and then the channels in
    # CHANNEL_ORDER: both are in RGB. For a network trained on 0..1 they are 255 times what it names.
    PIXEL_STD: float | Numbers = 1.0
    CHANNEL_ORDER = "rgb"

    # What is beside the image: "black", or the "mean" pixel, which the network sees as the zeros that its convolutions
    # pad with.
    IMAGE_PADDING = "black"

    # Resizing gives fractions of gray levels. "truncate": they are cut off, so that images are half a level darker, as
    # old weights know them. "nearest": they are rounded.
    IMAGE_ROUNDING = "truncate"

    # (low, high): in training, where it augments, images are larger or smaller by a random factor between these, and a
    # random part of what is larger is cut out: objects of all sizes out of few images. (0.1, 2.0) is the large-scale
    # jitter of Ghiasi et al. 2021; so wide a range is for long trainings.
    SCALE_JITTER: Sequence[float] | None = None

    # The chance that, in training that augments, half of another image's objects are pasted in front of an image's own
    # (Ghiasi et al. 2021): new surroundings and overlaps, for sets of few images.
    COPY_PASTE = 0.0

    # The share of images below which a class is rare: images of such classes come more often, by the root of how rare
    # their rarest class is (Gupta et al. 2019; 0.001 for LVIS). 0: every image once in each pass.
    REPEAT_THRESHOLD = 0.0

    # RoIs per image in the heads' losses, and the largest share of them that is positive. With too few positives,
    # lower RPN_NMS_THRESHOLD's effect by raising POST_NMS_ROIS_TRAINING.
    TRAIN_ROIS_PER_IMAGE = 200
    ROI_POSITIVE_RATIO = 0.33

    # True: the ground truth boxes are among the proposals, so that the heads have positives from the first step on.
    APPEND_GT_ROIS = False

    # DETECTOR "cascade_rcnn": the IoU from which on an RoI is positive in each stage behind the first, where it is 0.5.
    # The deltas of the second are divided by a half of BBOX_STD_DEV, of the third by a third, and so on.
    CASCADE_IOUS: Numbers = (0.6, 0.7)

    # The pyramid level of an RoI: 4 + log2(side / 224), "round"ed, or rounded down as in the paper ("floor").
    ROI_LEVEL = "round"

    # RoIAlign. "corners": one sample a cell, the outer ones on the box's edges, as tf.image.crop_and_resize. "bins":
    # the mean of 2 x 2 samples spread evenly in each cell, with pixels of the map at whole coordinates (torchvision).
    # "aligned": the same with pixels at halves, where they are (Detectron2's ROIAlignV2). "pool": no RoIAlign, but the
    # RoI pooling before it, the highest value of each cell in whole pixels of the map (Girshick 2015).
    ROI_ALIGN = "corners"

    # Side in cells of the RoIs that the box and the mask head see, and shape of the mask that comes out: twice
    # MASK_POOL_SIZE unless the mask head is changed.
    POOL_SIZE = 7
    MASK_POOL_SIZE = 14
    MASK_SHAPE: Sequence[int] = [28, 28]

    # False: no mask head; `detect` gives boxes, and keypoints where there are any. Data sets still give masks, as these
    # say where the boxes are.
    USE_MASK = True

    # Keypoints of an object; 0 for none. For those of a person mrcnn.ops.keypoints has all that follows.
    NUM_KEYPOINTS = 0

    # Their names; the (left, right) pairs of indices that a mirror exchanges; the (from, to) pairs of indices that are
    # limbs in pictures; and the standard deviations by which COCO's similarity (OKS) judges them, relative to the
    # object's size: empty for one of 0.07 for all of them.
    KEYPOINT_NAMES: Sequence[str] = ()
    KEYPOINT_FLIP_PAIRS: Sequence[Sequence[int]] = ()
    KEYPOINT_SKELETON: Sequence[Sequence[int]] = ()
    KEYPOINT_SIGMAS: Numbers = ()

    # Ids of the classes that have keypoints; None for all of them but the background.
    KEYPOINT_CLASSES: Sequence[int] | None = None

    # The keypoint head: cells of its RoI, number and width of its convolutions, and the heatmap that comes out, four
    # times KEYPOINT_POOL_SIZE (He et al. 2017, section 5).
    KEYPOINT_POOL_SIZE = 14
    KEYPOINT_CONVOLUTIONS = 8
    KEYPOINT_CHANNELS = 512
    KEYPOINT_MASK_SHAPE: Sequence[int] = (56, 56)

    # Where a keypoint is. "cells": every cell of the heatmap is divided (bicubic) into an odd number of parts, so that
    # a lone peak stays at its centre. "pixels": the map is resized (bicubic) to the box in whole pixels, as in
    # Detectron2 and torchvision.
    KEYPOINT_DECODE = "cells"

    # How many times as long as the box's the sides of the keypoint head's RoI are: with more of their surroundings,
    # left and right are told apart better (Degawa, Lu, Kimura 2019).
    KEYPOINT_ROI_EXPAND = 1.0

    # R-CNN: side in pixels of the square that every region is warped to, and how many of these pixels on each side are
    # what is around the region: 16 of 227 in the paper.
    RCNN_CROP_SIZE = 224
    RCNN_CONTEXT = 16

    # Ground-truth instances used per image; a random choice of them where there are more.
    MAX_GT_INSTANCES = 100

    # Box deltas are divided by these, so that the losses of their parts weigh alike.
    RPN_BBOX_STD_DEV: Numbers = np.array([0.1, 0.1, 0.2, 0.2])
    BBOX_STD_DEV: Numbers = np.array([0.1, 0.1, 0.2, 0.2])

    # Detections per image at most, the lowest score that counts, and the IoU above which the weaker of two
    # detections of one class is dropped.
    DETECTION_MAX_INSTANCES = 100
    DETECTION_MIN_CONFIDENCE = 0.7
    DETECTION_NMS_THRESHOLD = 0.3

    # "best": an RoI is at most one detection, of its best class. "all": one of each class whose score is high enough,
    # as COCO's AP rewards.
    DETECTION_CLASSES = "best"

    # Detections suppress those of their own "class", "all", or "none".
    DETECTION_NMS = "class"

    # "integer": boxes are rounded to pixels, and masks resized to them. Else boxes stay fractions, and `detect` gives
    # rois as float32. "exact": masks are read at the centres of pixels, falling to 0 over a cell around their edge.
    # "torchvision": as it does, a mask with its border is resized to whole pixels.
    MASK_PASTE = "integer"

    # "sgd" with momentum, as the original, or "adamw": it learns several times faster from random weights, and takes a
    # LEARNING_RATE around 0.001 and its WEIGHT_DECAY decoupled (Loshchilov and Hutter 2019).
    OPTIMIZER = "sgd"

    # For SGD. The paper's learning rate of 0.02 (with 16 images a step) made this implementation's weights explode;
    # smaller steps converge as well.
    LEARNING_RATE = 0.001
    LEARNING_MOMENTUM = 0.9
    WEIGHT_DECAY = 0.0001

    # "loss": the mean square of each weight times WEIGHT_DECAY is added to the loss. "optimizer": every step takes the
    # learning rate times WEIGHT_DECAY off each weight, but not off BatchNorm's and biases. AdamW always does that.
    WEIGHT_DECAY_BY = "loss"

    # What becomes of the learning rate that `train` is given, if a number: "constant", "step" (a tenth after 2/3 and a
    # hundredth after 8/9 of the steps, Detectron's schedule), or "cosine" down to 0 (Loshchilov and Hutter 2017). Over
    # the first WARMUP_STEPS it rises from a thousandth to the full rate (Goyal et al. 2017).
    LEARNING_RATE_SCHEDULE = "constant"
    WARMUP_STEPS = 0

    # Batches whose mean gradient makes one step: as large a batch as one likes in the memory of a small one. The
    # steps of an epoch count batches, WARMUP_STEPS steps of the optimizer. BatchNorm that trains sees each batch alone.
    GRADIENT_ACCUMULATION = 1

    # Above 0, what evaluates and is saved are averages of the weights over the batches, of which each keeps this share
    # of itself at every batch: steadier than the weights themselves (Polyak and Juditsky 1992). 0.999 looks back some
    # 1,000 batches, but never more than about a tenth of the training so far.
    EMA_MOMENTUM = 0.0

    # Weights of the losses; of those that are left out 1, but 0.1 of dense_size_loss, dense_pull_loss and
    # dense_push_loss.
    LOSS_WEIGHTS = dict.fromkeys(LOSSES, 1.0)

    # Box losses: the mean over the "positives", or the sum over them and the four coordinates, divided by the number of
    # all anchors or RoIs in the "sample", so that an image with few objects does not weigh them more (Girshick 2015).
    LOSS_MEAN = "positives"

    # The difference at which smooth L1 turns from quadratic to linear; 0 for L1.
    SMOOTH_L1_BETA = 1.0

    # What the mask loss is computed from: "logits" do not saturate.
    MASK_LOSS = "probabilities"

    # False: the heads train on proposals that come with the data (input_rois) and the RPN only on its own losses.
    USE_RPN_ROIS = True

    # False: BatchNorm layers use their stored statistics, right for small batches on top of pretrained weights.
    # None or True: they train, right from scratch.
    TRAIN_BN: bool | None = False

    # True: those of the backbone use their stored statistics whatever TRAIN_BN says. Right for a pretrained backbone
    # under new layers, which have no statistics yet.
    FREEZE_BACKBONE_BN = False

    # The global norm of the gradients is clipped to this.
    GRADIENT_CLIP_NORM = 5.0

    # What the convolutions compute in: "float32", or "bfloat16" or "float16" where the machine is faster at it (GPUs;
    # CPUs with AVX512_BF16 or AMX; others gain nothing). Weights, boxes, suppression, softmax and losses stay
    # in float32; with float16 the loss is scaled, so that small gradients survive (Micikevicius et al. 2018).
    PRECISION = "float32"
