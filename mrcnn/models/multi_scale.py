"""Detection at several sizes of an image and in a mirror, and what was found put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mrcnn.ops import keypoints
from mrcnn.ops.boxes import overlaps
from mrcnn.ops.masks import decode_rle, encode_rle
from mrcnn.settings.checks import ONE_STAGE, check_arguments

# What a size is rounded to, which the pyramid wants.
STEP = 64


class MultiScale:
    """A detector that looks at each image at several sizes, and at each of these in a mirror too.

    Detections of one class whose boxes have an IoU above DETECTION_NMS_THRESHOLD with the best of them are of one
    object: the score is the best one's, the box and the keypoints are the mean of all, weighted by their scores (box
    voting, Gidaris and Komodakis 2015), and the mask is where the mean of the masks is above a half. With DETECTION_NMS
    "all" the best one's class wins: those of other classes go, without a vote.

    Args:
        detector: for inference; of two stages, as others know images of one size.
        scales: what IMAGE_MIN_DIM, IMAGE_MAX_DIM and IMAGE_MIN_SCALE are multiplied by; a side that the network has in
            multiples of 64 is rounded to these. Images are never made smaller than they are to reach IMAGE_MIN_DIM.
        flip: whether mirrored images are looked at too.

    Raises:
        ValueError: a detector of one stage, one for semantic segmentation, or one that takes images as they are; or
            impossible scales.

    Attributes:
        config, keras_model: of the detector.
    """

    @check_arguments
    def __init__(self, detector: Any, scales: Sequence[float] = (0.75, 1.0, 1.5), flip: bool = True) -> None:
        if detector.config.DETECTOR in ONE_STAGE or detector.config.by_pixels or detector.config.takes_proposals:
            raise ValueError(f"A {detector.config.DETECTOR} does not look at several sizes; those with an RPN do.")
        if detector.config.IMAGE_RESIZE_MODE == "none":
            raise ValueError("IMAGE_RESIZE_MODE is 'none', which knows images of their own size alone; set 'square'.")
        self.detector, self.scales, self.flips = detector, scales, (False, True) if flip else (False,)
        self.config, self.keras_model = detector.config, detector.keras_model

    def detect(
        self, images: Sequence[np.ndarray], verbose: int = 0, rle: bool = False, proposals: Any = None
    ) -> list[dict[str, Any]]:
        """As `Detector.detect`; proposals are not used."""
        views: list[list[dict[str, Any]]] = [[] for _ in images]
        for scale in self.scales:
            for flip in self.flips:
                given = [np.ascontiguousarray(np.fliplr(image)) if flip else image for image in images]
                with _sized(self.config, scale):
                    found = self.detector.detect(given, rle=True)
                for view, result, image in zip(views, found, images, strict=True):
                    view.append(_mirrored(result, image.shape[1], self.config) if flip else result)
        most, threshold = self.config.DETECTION_MAX_INSTANCES, self.config.DETECTION_NMS_THRESHOLD
        found = (together(view, threshold, most, self.config.DETECTION_NMS == "all") for view in views)
        return [_finished(own, image, rle) for own, image in zip(found, images, strict=True)]


@contextmanager
def _sized(config: Any, scale: float) -> Iterator[None]:
    """While it lasts, images come to another size."""
    own = {name: getattr(config, name) for name in ("IMAGE_MIN_DIM", "IMAGE_MAX_DIM", "IMAGE_MIN_SCALE")}
    steps = {"IMAGE_MIN_DIM": STEP if config.IMAGE_RESIZE_MODE == "pad64" else 1, "IMAGE_MAX_DIM": STEP}
    for name, value in own.items():
        step = steps.get(name)
        setattr(config, name, value and (max(step, step * round(value * scale / step)) if step else value * scale))
    try:
        yield
    finally:
        for name, value in own.items():
            setattr(config, name, value)


def _mirrored(result, width, config):
    """A result of a mirrored image as one of the image."""
    y1, x1, y2, x2 = np.moveaxis(result["rois"], -1, 0)
    found = {**result, "rois": np.stack([y1, width - x2, y2, width - x1], axis=-1)}
    if "masks" in result:
        found["masks"] = [encode_rle(np.fliplr(decode_rle(code))) for code in result["masks"]]
    if "keypoints" in result:
        points = keypoints.mirror(result["keypoints"], width, config.KEYPOINT_FLIP_PAIRS)
        found["keypoints"] = points * result["keypoints"].any(axis=(1, 2), keepdims=True)  # a class may have none
    return found


def together(views: Sequence[dict[str, Any]], threshold: float, most: int, across: bool = False) -> dict[str, Any]:
    """Results of one image put together, see `MultiScale`.

    Args:
        views: what `detect` gives, masks as run lengths.
        threshold: IoU from which on two detections are of one object.
        most: detections at most, the best ones.
        across: whether a detection leaves no place to those of other classes.

    Returns:
        the same; masks are arrays [h, w] bool in a list, rois float.
    """
    whole = {name: np.concatenate([view[name] for view in views]) for name in views[0] if name != "masks"}
    codes = [code for view in views for code in view.get("masks", [])]
    left, groups = np.argsort(-whole["scores"], kind="stable").tolist(), list[list[int]]()
    while left and len(groups) < most:
        best = left[0]
        iou = overlaps(whole["rois"][[best]].astype(float), whole["rois"][left].astype(float))[0]
        near = iou > threshold
        near[0] = True
        same = near & (whole["class_ids"][left] == whole["class_ids"][best])
        groups.append([i for i, own in zip(left, same, strict=True) if own])
        left = [i for i, gone in zip(left, near if across else same, strict=True) if not gone]
    weights = [whole["scores"][group] / whole["scores"][group].sum() for group in groups]
    best_ones = [group[0] for group in groups]
    found: dict[str, Any] = {name: value[best_ones] for name, value in whole.items()}
    for name in ("rois", "keypoints"):
        if name in whole and groups:
            pairs = zip(weights, groups, strict=True)
            found[name] = np.stack([np.tensordot(w, whole[name][group], 1) for w, group in pairs])
    if "masks" in views[0]:
        masks = ([decode_rle(codes[i]) for i in group] for group in groups)
        found["masks"] = [np.tensordot(w, np.stack(own), 1) > 0.5 for w, own in zip(weights, masks, strict=True)]
    return found


def _finished(found, image, rle):
    """A result in the form of `Detector.detect`."""
    if "masks" in found:
        stacked = np.stack(found["masks"], axis=-1) if found["masks"] else np.zeros((*image.shape[:2], 0), bool)
        found["masks"] = [encode_rle(mask) for mask in found["masks"]] if rle else stacked
    return found | {name: found[name].astype("float32") for name in ("rois", "keypoints") if name in found}
