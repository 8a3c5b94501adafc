"""COCO's numbers (https://cocodataset.org/#detection-eval) by pycocotools."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mrcnn.data.coco import index
from mrcnn.ops import keypoints

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
KEYPOINT_METRICS = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")


def coco_metrics(
    coco: COCO,
    results: Sequence[dict[str, Any]],
    image_ids: Sequence[int | str],
    iou_type: str,
    cat_ids: Iterable[int | str] | None = None,
    max_detections: int = 100,
    sigmas: Sequence[float] | np.ndarray = keypoints.COCO_SIGMAS,
) -> dict[str, Any]:
    """COCO's twelve numbers, or ten of keypoints, as pycocotools gives them for the same results.

    As there, results that have a bbox are small, medium or large by its area, for masks too.

    Args:
        coco: ground truth, a pycocotools `COCO` object; left as it is.
        results: list of dicts in COCO's results format, possibly empty; left as it is.
        image_ids: source ids of the images evaluated.
        iou_type: "bbox", "segm", or "keypoints", where the similarity OKS takes the place of the IoU, results without
            keypoints do not count, and an image has 20 detections at most.
        cat_ids: source ids of the classes evaluated; default all.
        max_detections: detections that count in an image; above COCO's 100 where images hold more objects.
        sigmas: [J] of the keypoints (https://cocodataset.org/#keypoints-eval); default those of COCO's persons.

    Returns:
        dict: AP (mean over IoU 0.5:0.95), AP50, AP75, APs, APm, APl (small, medium, large), AR1, AR10, AR100 (with so
        many detections an image, the last with max_detections), ARs, ARm, ARl, each in 0..1 or -1 where there is no
        such object (with keypoints `KEYPOINT_METRICS`); and "per_class", a dict from class name to AP, AP50 and AP75.
    """
    images = set(image_ids)
    # COCOeval turns segmentations into run lengths in place, and loadRes adds fields: give them copies.
    kept = [dict(annotation) for annotation in coco.dataset["annotations"] if annotation["image_id"] in images]
    if iou_type == "keypoints":
        for annotation in kept:
            points = annotation.get("keypoints") or [0] * (3 * len(sigmas))
            if len(points) != 3 * len(sigmas):
                raise ValueError(f"Annotation {annotation['id']} has {len(points) // 3} keypoints, not {len(sigmas)}.")
            annotation.update(keypoints=points, num_keypoints=sum(v > 0 for v in points[2::3]))
        # By its keypoints alone, as in the files that COCO's server takes, a result's size is that of their extent.
        wanted = ("image_id", "category_id", "keypoints", "score")
        results = [{key: r[key] for key in wanted} for r in results if "keypoints" in r]
    truth = index({**coco.dataset, "annotations": kept})
    with redirect_stdout(None):
        # loadRes cannot take an empty list
        found = truth.loadRes([dict(r) for r in results]) if results else index({**truth.dataset, "annotations": []})
        evaluation = COCOeval(truth, found, iou_type)
        evaluation.params.imgIds = list(image_ids)
        if cat_ids is not None:
            evaluation.params.catIds = list(cat_ids)
        if iou_type == "keypoints":
            evaluation.params.kpt_oks_sigmas = np.asarray(sigmas)
        else:
            evaluation.params.maxDets = [1, 10, max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    names = KEYPOINT_METRICS if iou_type == "keypoints" else METRICS
    metrics: dict[str, Any] = {name: float(value) for name, value in zip(names, evaluation.stats, strict=True)}
    precision = evaluation.eval["precision"][..., 0, -1]  # [IoUs, recalls, classes]: all areas, max_detections
    if evaluation.params.maxDets[-1] > 100:  # for which alone COCOeval gives this number
        metrics["AP"] = float(precision[precision > -1].mean()) if (precision > -1).any() else -1.0
    rows = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}
    metrics["per_class"] = {
        coco.cats[category]["name"]: {name: float(precision[ious, :, k].mean()) for name, ious in rows.items()}
        for k, category in enumerate(evaluation.params.catIds)
    }
    return metrics
