"""What a detector other than Mask R-CNN has by its paper, as settings on top of any config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mrcnn.settings.config import Config

# P3 to P7.
DENSE_STRIDES = [8, 16, 32, 64, 128]


def _strides(settings):
    """P3 to P7, or P2 to P6 where objects may be smaller than 32 pixels: an object of a side less than four times the
    stride of the finest level has too few places there, or none."""
    finest = np.min(settings["RPN_ANCHOR_SCALES"])
    return DENSE_STRIDES if finest >= 32 else [stride // 2 for stride in DENSE_STRIDES]


def _retinanet(settings):
    """Three anchors an octave (Lin et al. 2017, section 4), from four times the stride of each level on, and the
    authors' weights of the box loss."""
    strides = _strides(settings)
    scales = [[4.0 * stride * 2 ** (i / 3) for i in range(3)] for stride in strides]
    boxes = {"BBOX_STD_DEV": (1.0, 1.0, 1.0, 1.0), "SMOOTH_L1_BETA": 0.11}
    return {**_DENSE, **boxes, "BACKBONE_STRIDES": strides, "RPN_ANCHOR_SCALES": scales}


def _fcos(settings):
    """Cells in the place of anchors, and the authors' later version: GroupNorm, sampling near centres."""
    strides = _strides(settings)
    cells = {"BACKBONE_STRIDES": strides, "RPN_ANCHOR_SCALES": strides, "RPN_ANCHOR_RATIOS": [1]}
    return {**_DENSE, **cells, "DENSE_NORM": "group", "DETECTION_NMS_THRESHOLD": 0.6}


def ssd_settings(side: int) -> dict[str, Any]:
    """SSD for images of `side` pixels: maps down to a single cell, and the scales of the paper for as many (Liu et al.
    2016, section 2.2): a smaller one for the first, then in equal steps. In small images the first map is the stride
    4's, so that there are six maps too, and not too few places for the small boxes."""
    first = 8 if side >= 256 else 4
    cells = -(-side // (2 * first))
    strides = [float(first), 2.0 * first]
    while cells > 1:
        cells, stride = (cells - 2, None) if 3 <= cells <= 5 else (-(-cells // 2), 2 * strides[-1])
        strides.append(stride or side / cells)
    count = len(strides)
    return {
        "BACKBONE_STRIDES": strides,
        "RPN_ANCHOR_SCALES": strides,  # not used; one for each level
        "SSD_SCALES": [0.07, *np.linspace(0.15, 1.05, count).round(3).tolist()],
        "SSD_RATIOS": [[2], *[[2, 3]] * (count - 3), [2], [2]],
        "IMAGE_RESIZE_MODE": "stretch",
        "BOX_NORMALIZATION": "edges",
        "DENSE_IOU": (0.5, 0.5),
        "DENSE_CANDIDATES": 400,
        "DETECTION_MIN_CONFIDENCE": 0.01,
        "DETECTION_NMS_THRESHOLD": 0.45,
    }


# The side of the images that YOLO's authors found anchors for on COCO, and those of v2, in cells of 32 pixels; v3's are
# the default of YOLO_ANCHORS.
YOLO_SIDE = 416
V2_CELLS = ((0.57273, 0.677385), (1.87446, 2.06253), (3.33843, 5.47434), (7.88282, 3.52778), (9.77052, 9.16828))


def _small(settings):
    """Whether objects may be smaller than 32 pixels: maps of finer strides then, as with `_strides`."""
    return np.min(settings["RPN_ANCHOR_SCALES"]) < 32


def _yolo(strides, **more):
    # The scales are not used; there is one for each map.
    return {**_DENSE, "BACKBONE_STRIDES": strides, "RPN_ANCHOR_SCALES": strides, **more}


def _yolo_v1(settings):
    """7 x 7 cells in images of 448 pixels (Redmon et al. 2016, section 2). In small images cells are of 16 pixels,
    without the dense layer, which learns too little from few images."""
    small = _small(settings)
    return _yolo([16 if small else 64], IMAGE_RESIZE_MODE="stretch", YOLO_DENSE=0 if small else 4096)


def _grown(anchors, settings):
    """Anchors of each map, larger or smaller with the images."""
    side = settings["IMAGE_MAX_DIM"] or YOLO_SIDE
    return (np.asarray(anchors) * side / YOLO_SIDE).round(1).tolist()


def _yolo_v2(settings):
    anchors = _grown([32 * np.array(V2_CELLS)], settings)
    return _yolo([8 if _small(settings) else 32], YOLO_ANCHORS=anchors, YOLO_IGNORE=0.6)


def _yolo_v3(settings):
    """In small images from stride 4 on, where what is small still has a shape. Trainings on them are short, and one
    anchor of nine for each object gives each of them little to learn from: all that are alike count."""
    anchors, small = _grown(Config.YOLO_ANCHORS, settings), _small(settings)
    return _yolo([4, 8, 16] if small else [8, 16, 32], YOLO_ANCHORS=anchors, YOLO_ALIKE=0.5 if small else 1.0)


def _fast_rcnn(settings):
    """About 2000 proposals, of which the best do not come first (Girshick 2015, section 5.5); in small images fewer."""
    regions = min(2000, 2 * (settings["IMAGE_MAX_DIM"] or 1024))
    return {"POST_NMS_ROIS_TRAINING": regions, "POST_NMS_ROIS_INFERENCE": regions}


def _rcnn(settings):
    """Girshick et al. 2014: 128 regions a step, here on each device, a quarter of them objects, and 16 of 227 pixels of
    context. In small images regions are smaller."""
    size = min(224, max(32, 3 * (settings["IMAGE_MAX_DIM"] or 1024) // 8))
    return {
        **_fast_rcnn(settings),
        "RCNN_CROP_SIZE": size,
        "RCNN_CONTEXT": round(size * 16 / 227),
        "TRAIN_ROIS_PER_IMAGE": max(8, 128 // settings["IMAGES_PER_GPU"]),
        "ROI_POSITIVE_RATIO": 0.25,
        "APPEND_GT_ROIS": True,
        "IMAGE_PADDING": "mean",
        "BOX_NORMALIZATION": "edges",
        "DETECTION_CLASSES": "all",
        "DETECTION_NMS_THRESHOLD": 0.3,
        "DETECTION_MIN_CONFIDENCE": 0.05,
    }


def _centernet(settings):
    """Zhou et al. 2019: one convolution before what is said, no suppression, and DLA-34 with its own way up. Where
    objects are small C5 cannot say where they are, and Gaussians of an IoU of 0.7 end within a cell: there all maps are
    used, with CornerNet's IoU of 0.3."""
    return {
        "BOX_NORMALIZATION": "edges",
        "DETECTION_MIN_CONFIDENCE": 0.01,
        "DENSE_CONVOLUTIONS": 1,
        "CENTERNET_UP": "aggregation" if _small(settings) or settings["BACKBONE"] == "dla34" else "transposed",
        "HEATMAP_IOU": 0.3 if _small(settings) else 0.7,
    }


def _cornernet(settings):
    """Law and Deng 2018, sections 3.2 and 4.2: wide Gaussians in all images, the 100 best corners of each kind. The
    backbone is one of CenterNet's, not the paper's hourglass."""
    return {**_centernet(settings), "HEATMAP_IOU": 0.3, "DENSE_CANDIDATES": 100, "DETECTION_NMS_THRESHOLD": 0.5}


def _fcn(settings):
    """On VGG-16 the dense layers and the dropout of Long et al. 2015; elsewhere scores of the maps themselves."""
    if settings["BACKBONE"] != "vgg16":
        return {}
    return {"FCN_CHANNELS": 64 * settings["BACKBONE_WIDTH"], "FCN_DROPOUT": 0.5}


def _unet(settings):
    """The paper's weights of classes and borders (Ronneberger et al. 2015, section 3); nothing of it comes from
    ImageNet."""
    return {"BORDER_WEIGHT": 10.0, "BORDER_SIGMA": 5.0, "CLASS_BALANCE": 0.5, "TRAIN_BN": True}


_DENSE = {
    "BOX_NORMALIZATION": "edges",  # a box one pixel wide has a side
    "DETECTION_MIN_CONFIDENCE": 0.05,
    "DETECTION_NMS_THRESHOLD": 0.5,
}

PRACTICE: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "rcnn": _rcnn,
    "fast_rcnn": _fast_rcnn,
    "retinanet": _retinanet,
    "fcos": _fcos,
    "fcn": _fcn,
    "unet": _unet,
    "cornernet": _cornernet,
    "centernet": _centernet,
    "ssd": lambda settings: ssd_settings(int(settings["IMAGE_MAX_DIM"] or 300)),
    "yolo_v1": _yolo_v1,
    "yolo_v2": _yolo_v2,
    "yolo_v3": _yolo_v3,
}


def practice(name: str, settings: Mapping[str, Any], plain: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Settings that make a config, one for Mask R-CNN, one for another detector:
    `config.update(**practice("retinanet", config.to_dict()))`.

    Args:
        name: of the detector, as DETECTOR has it.
        settings: of the config; the size of its images and its scales of anchors count.
        plain: settings that take the place of those which the practice of the config's own detector has changed;
            default those of `Config`.
    """
    plain = Config().to_dict() if plain is None else plain
    changed = {key: plain[key] for key in PRACTICE.get(settings.get("DETECTOR", name), _nothing)(settings)}
    return {**changed, "DETECTOR": name, **PRACTICE.get(name, _nothing)({**settings, **changed})}


def _nothing(settings):
    return {}
