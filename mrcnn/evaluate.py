"""COCO's evaluation (https://cocodataset.org/#detection-eval) of a model on a `Dataset`, by pycocotools."""

import json
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from pycocotools import mask as rle
from pycocotools.cocoeval import COCOeval
from tqdm.auto import tqdm

from mrcnn.coco import index
from mrcnn.masks import encode_rle

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def to_coco_results(dataset, image_id, result):
    """What `detect()` found in one image, in COCO's results format.

    Args:
        dataset: a prepared `Dataset`.
        image_id: the image's index in it.
        result: dict with rois [n, 4] (y1, x1, y2, x2) in pixels, class_ids [n], scores [n] and masks [h, w, n].

    Returns:
        n dicts with image_id and category_id as their source has them, bbox [x, y, width, height], score and
        segmentation (compressed run lengths).
    """
    source_id = dataset.image_info[image_id]["id"]
    return [
        {
            "image_id": source_id,
            "category_id": dataset.class_info[class_id]["id"],
            "bbox": [float(x1), float(y1), float(x2) - float(x1), float(y2) - float(y1)],
            "score": float(score),
            "segmentation": encode_rle(mask),
        }
        for (y1, x1, y2, x2), class_id, score, mask in zip(
            result["rois"], result["class_ids"], result["scores"], np.moveaxis(result["masks"], -1, 0), strict=True
        )
    ]


def ground_truth(dataset, image_ids=None):
    """A pycocotools `COCO` object of a prepared `Dataset`.

    It is the data set's own where there is one (`CocoDataset.coco`, with all that its files hold), else made from
    `load_mask`, where negative class ids are crowds.

    Args:
        dataset: any `Dataset`.
        image_ids: indices of images to read where it is made from masks; default all.

    Raises:
        ValueError: two images, or two classes, have the same id in different sources.
    """
    coco = getattr(dataset, "coco", None)
    if coco is not None and all(info["source"] == "coco" for info in dataset.image_info):
        return coco
    images, annotations = [], []
    for i in dataset.image_ids if image_ids is None else image_ids:
        masks, class_ids = dataset.load_mask(i)
        source_id = dataset.image_info[i]["id"]
        images.append({"id": source_id, "height": masks.shape[0], "width": masks.shape[1]})
        for class_id, mask in zip(class_ids, np.moveaxis(masks, -1, 0), strict=True):
            code = encode_rle(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": source_id,
                    "category_id": dataset.class_info[abs(class_id)]["id"],
                    "segmentation": code,
                    "area": int(rle.area(code)),
                    "bbox": rle.toBbox(code).tolist(),
                    "iscrowd": int(class_id < 0),
                }
            )
    categories = [{"id": info["id"], "name": info["name"]} for info in dataset.class_info[1:]]
    for kind, entries in [("images", images), ("classes", categories)]:
        if len({entry["id"] for entry in entries}) < len(entries):
            raise ValueError(f"Sources of the data set have {kind} of the same id; evaluate one source at a time.")
    return index({"info": {}, "images": images, "annotations": annotations, "categories": categories})


def coco_metrics(coco, results, image_ids, iou_type, cat_ids=None):
    """COCO's twelve numbers, as pycocotools gives them for the same results.

    As there, results that have a bbox are small, medium or large by its area, for masks too.

    Args:
        coco: ground truth, a pycocotools `COCO` object; left as it is.
        results: list of dicts in COCO's results format, possibly empty; left as it is.
        image_ids: source ids of the images evaluated.
        iou_type: "bbox" or "segm".
        cat_ids: source ids of the classes evaluated; default all.

    Returns:
        dict: AP (mean over IoU 0.5:0.95), AP50, AP75, APs, APm, APl (small, medium, large), AR1, AR10, AR100 (with so
        many detections an image), ARs, ARm, ARl, each in 0..1 or -1 where there is no such object; and "per_class", a
        dict from class name to AP, AP50 and AP75.
    """
    images = set(image_ids)
    # COCOeval turns segmentations into run lengths in place, and loadRes adds fields: give them copies.
    kept = [dict(annotation) for annotation in coco.dataset["annotations"] if annotation["image_id"] in images]
    truth = index({**coco.dataset, "annotations": kept})
    with redirect_stdout(None):
        # loadRes cannot take an empty list
        found = truth.loadRes([dict(r) for r in results]) if results else index({**truth.dataset, "annotations": []})
        evaluation = COCOeval(truth, found, iou_type)
        evaluation.params.imgIds = list(image_ids)
        if cat_ids is not None:
            evaluation.params.catIds = list(cat_ids)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    metrics = {name: float(value) for name, value in zip(METRICS, evaluation.stats, strict=True)}
    precision = evaluation.eval["precision"][..., 0, -1]  # [IoUs, recalls, classes]: all areas, 100 detections
    rows = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}
    metrics["per_class"] = {
        coco.cats[category]["name"]: {name: float(precision[ious, :, k].mean()) for name, ious in rows.items()}
        for k, category in enumerate(evaluation.params.catIds)
    }
    return metrics


def evaluate(model, dataset, image_ids=None, limit=0, results_path=None, verbose=1):
    """Detect objects in the images of a data set and compare them with its annotations.

    Args:
        model: a `MaskRCNN` in inference mode.
        dataset: a prepared `Dataset`.
        image_ids: indices of its images; default all.
        limit: only the first so many images; 0 for all.
        results_path: a JSON file to write the detections to, in COCO's results format.
        verbose: 0 for no progress bar.

    Returns:
        {"bbox": ..., "segm": ...}, each what `coco_metrics` returns.

    Raises:
        ValueError: no image to evaluate.
    """
    image_ids = [int(i) for i in (dataset.image_ids if image_ids is None else image_ids)][: limit or None]
    if not image_ids:
        raise ValueError("The data set has no images to evaluate.")
    results = []
    with tqdm(total=len(image_ids), desc="Evaluating", unit="image", disable=not verbose) as progress:
        for start in range(0, len(image_ids), model.config.BATCH_SIZE):
            batch = image_ids[start : start + model.config.BATCH_SIZE]
            for i, result in zip(batch, model.detect([dataset.load_image(i) for i in batch]), strict=True):
                results += to_coco_results(dataset, i, result)
            progress.update(len(batch))
    if results_path is not None:
        Path(results_path).write_text(json.dumps(results, default=int))  # ids may be NumPy integers
    coco = ground_truth(dataset, image_ids)
    source_ids = [dataset.image_info[i]["id"] for i in image_ids]
    cat_ids = [info["id"] for info in dataset.class_info[1:]]
    return {kind: coco_metrics(coco, results, source_ids, kind, cat_ids) for kind in ("bbox", "segm")}


def format_table(metrics):
    """What `evaluate` returns as a table: a row for boxes and one for masks; "-" where there is nothing to measure."""
    titles = ["AP", "AP50", "AP75", "small", "medium", "large", "AR1", "AR10", "AR100"]
    return _table(titles, {row: [metrics[kind][name] for name in METRICS[:9]] for row, kind in _kinds(metrics).items()})


def format_classes(metrics):
    """What `evaluate` returns for every class as a table: AP, AP50 and AP75 of boxes and of masks."""
    kinds = _kinds(metrics)
    rows = {}
    for kind in kinds.values():
        for name, values in metrics[kind]["per_class"].items():
            rows.setdefault(name, []).extend(values.values())
    return _table([f"{kind} {name}" for kind in kinds for name in ("AP", "AP50", "AP75")], rows)


def _kinds(metrics):
    return {name: kind for name, kind in (("box", "bbox"), ("mask", "segm")) if kind in metrics}


def _table(titles, rows):
    first, width = max(map(len, rows)), max(map(len, titles)) + 2
    lines = [" " * first + "".join(f"{title:>{width}}" for title in titles)]
    for name, values in rows.items():
        lines.append(
            f"{name:<{first}}" + "".join(f"{'-' if value < 0 else f'{value:.3f}':>{width}}" for value in values)
        )
    return "\n".join(lines)
