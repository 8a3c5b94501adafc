"""COCO's numbers (https://cocodataset.org/#detection-eval) by pycocotools."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mrcnn.data.coco import index
from mrcnn.ops import keypoints
from mrcnn.settings.checks import check_arguments

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
KEYPOINT_METRICS = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")

# What computes the numbers; the second does so in C++.
ENGINES = ("pycocotools", "faster-coco-eval")

# COCO's IoU thresholds are .50, .55 ... .95: those of AP50 and AR50, AP75 and AR75.
AT = {"50": slice(0, 1), "75": slice(5, 6)}
SIZES = {"s": "small", "m": "medium", "l": "large"}


@check_arguments
def coco_metrics(
    coco: COCO,
    results: Sequence[dict[str, Any]],
    image_ids: Sequence[int | str],
    iou_type: str,
    cat_ids: Iterable[int | str] | None = None,
    max_detections: int = 100,
    sigmas: Sequence[float] | np.ndarray = keypoints.COCO_SIGMAS,
    engine: str = "pycocotools",
) -> dict[str, Any]:
    """COCO's twelve numbers, or ten of keypoints, as pycocotools gives them for the same results.

    As there, results that have a bbox are small, medium or large by its area, for masks too.

    Args:
        coco: ground truth, a pycocotools `COCO` object; left as it is.
        results: list of dicts in COCO's results format with the ids of `coco`, possibly empty; left as it is.
        image_ids: ids of the images evaluated.
        iou_type: "bbox"; "segm", to which objects without a mask are crowds; or "keypoints", by the similarity OKS in
            place of the IoU, without results that have no keypoints, and with 20 detections an image at most.
        cat_ids: ids of the classes evaluated; default all.
        max_detections: detections that count in an image, at least 1; above COCO's 100 where images hold more objects.
        sigmas: [J] of the keypoints (https://cocodataset.org/#keypoints-eval); default those of COCO's persons.
        engine: one of `ENGINES`; they give the same numbers, but for the machine epsilon that pycocotools adds to a
            count of detections.

    Returns:
        dict: AP (mean over IoU 0.5:0.95), AP50, AP75, APs, APm, APl (small, medium, large); AR1, AR10 and AR100, the
        recall with 1, 10 and max_detections detections an image, but never more than max_detections; ARs, ARm, ARl:
        each in 0..1 or -1 where there is no such object (with keypoints `KEYPOINT_METRICS`); and "per_class", a dict
        from class name to AP, AP50 and AP75.

    Raises:
        ValueError: max_detections is below 1, or an annotation has other keypoints than sigmas.
        ImportError: the engine is not installed.
    """
    check_engine(engine)
    images = set(image_ids)
    # COCOeval writes into its annotations, and takes one with the id 0 for none: give it copies with ids from 1 on.
    kept = [annotation for annotation in coco.dataset["annotations"] if annotation["image_id"] in images]
    kept = [{**a, **_ignored(a, iou_type), "id": k} for k, a in enumerate(kept, 1)]
    limits = [1, 10, max_detections]
    if iou_type == "keypoints":
        limits = [20]
        kept = [{**annotation, **_keypoints(annotation, len(sigmas))} for annotation in kept]
        # By its keypoints alone, as in the files that COCO's server takes, a result's size is that of their extent.
        wanted = ("image_id", "category_id", "keypoints", "score")
        results = [{key: r[key] for key in wanted} for r in results if "keypoints" in r]
    evaluation = _prepared({**coco.dataset, "annotations": kept}, results, iou_type, engine)
    params = evaluation.params
    params.imgIds, params.catIds = list(image_ids), sorted(coco.cats) if cat_ids is None else list(cat_ids)
    params.kpt_oks_sigmas = np.asarray(sigmas)
    params.maxDets = [min(limit, max_detections) for limit in limits]
    with redirect_stdout(None):
        evaluation.evaluate()
        evaluation.accumulate()
    metrics: dict[str, Any] = _numbers(evaluation)
    metrics["per_class"] = _of_classes(evaluation, coco)
    return metrics


def check_engine(engine: str) -> None:
    """Raise ValueError for what is no engine, and ImportError for one that is not installed."""
    if engine not in ENGINES:
        raise ValueError(f"engine is {engine!r}; it must be {' or '.join(ENGINES)}.")
    if engine != "pycocotools" and importlib.util.find_spec("faster_coco_eval") is None:
        raise ImportError("faster-coco-eval is not installed; pip install faster-coco-eval.")


def _prepared(content, results, iou_type, engine):
    """A COCOeval of copies of the results; `content` is the ground truth."""
    make: Any = index
    evaluation: Any = COCOeval
    if engine != "pycocotools":
        import faster_coco_eval

        make, evaluation = faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster
    with redirect_stdout(None):
        truth = make(content)
        # loadRes adds fields, and cannot take an empty list
        found = truth.loadRes([dict(r) for r in results]) if results else make({**content, "annotations": []})
        return evaluation(truth, found, iou_type)


def _ignored(annotation, iou_type):
    """Where masks are evaluated, what makes an object of which the box alone is known a region that does not count, as
    a crowd: found there is neither right nor wrong."""
    if iou_type != "segm" or annotation.get("segmentation"):
        return {}
    x, y, w, h = annotation["bbox"]
    return {"iscrowd": 1, "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]]}


def _keypoints(annotation, count):
    """The keypoints of a ground truth, zeros where it has none, and how many are known."""
    points = annotation.get("keypoints") or [0] * (3 * count)
    if len(points) != 3 * count:
        raise ValueError(f"Annotation {annotation['id']} has {len(points) // 3} keypoints, not {count}.")
    return {"keypoints": points, "num_keypoints": sum(v > 0 for v in points[2::3])}


def _of_classes(evaluation, coco):
    """{name: AP, AP50, AP75} of all sizes with the highest count of detections."""
    precision = evaluation.eval["precision"][..., 0, -1]  # [IoUs, recalls, classes]
    rows = {"AP": slice(None), "AP50": AT["50"], "AP75": AT["75"]}
    return {
        coco.cats[category]["name"]: {name: float(precision[ious, :, k].mean()) for name, ious in rows.items()}
        for k, category in enumerate(evaluation.params.catIds)
    }


def _numbers(evaluation):
    """What COCOeval prints: it has its AP for 100 detections alone."""
    params, metrics = evaluation.params, {}
    for name in KEYPOINT_METRICS if params.iouType == "keypoints" else METRICS:
        kind, of = name[:2], name[2:]
        ious = AT.get(of, slice(None))
        area = params.areaRngLbl.index(SIZES.get(of, "all"))
        limit = ("1", "10").index(of) if of in ("1", "10") else -1
        table = evaluation.eval["precision" if kind == "AP" else "recall"]  # [IoUs, recalls, classes, areas, limits]
        values = table[ious, ..., area, limit]
        values = values[values > -1]
        metrics[name] = float(np.mean(values)) if values.size else -1.0
    return metrics
