"""COCO's evaluation (https://cocodataset.org/#detection-eval) of a model on a `Dataset`, by pycocotools."""

import hashlib
import json
from contextlib import redirect_stdout
from pathlib import Path

import keras
import numpy as np
from pycocotools import mask as rle
from pycocotools.cocoeval import COCOeval
from tqdm.auto import tqdm

from mrcnn import weights
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


def coco_metrics(coco, results, image_ids, iou_type, cat_ids=None, max_detections=100):
    """COCO's twelve numbers, as pycocotools gives them for the same results.

    As there, results that have a bbox are small, medium or large by its area, for masks too.

    Args:
        coco: ground truth, a pycocotools `COCO` object; left as it is.
        results: list of dicts in COCO's results format, possibly empty; left as it is.
        image_ids: source ids of the images evaluated.
        iou_type: "bbox" or "segm".
        cat_ids: source ids of the classes evaluated; default all.
        max_detections: detections that count in an image; above COCO's 100 where images hold more objects.

    Returns:
        dict: AP (mean over IoU 0.5:0.95), AP50, AP75, APs, APm, APl (small, medium, large), AR1, AR10, AR100 (with so
        many detections an image, the last with max_detections), ARs, ARm, ARl, each in 0..1 or -1 where there is no
        such object; and "per_class", a dict from class name to AP, AP50 and AP75.
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
        evaluation.params.maxDets = [1, 10, max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    metrics = {name: float(value) for name, value in zip(METRICS, evaluation.stats, strict=True)}
    precision = evaluation.eval["precision"][..., 0, -1]  # [IoUs, recalls, classes]: all areas, max_detections
    if max_detections != 100:  # for which alone COCOeval gives this number
        metrics["AP"] = float(precision[precision > -1].mean()) if (precision > -1).any() else -1.0
    rows = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}
    metrics["per_class"] = {
        coco.cats[category]["name"]: {name: float(precision[ious, :, k].mean()) for name, ious in rows.items()}
        for k, category in enumerate(evaluation.params.catIds)
    }
    return metrics


def evaluate(model, dataset, image_ids=None, limit=0, results_path=None, verbose=1, max_detections=100):
    """Detect objects in the images of a data set and compare them with its annotations.

    Images in which nothing is found count. An image that cannot be read is named and counts as one without detections.

    Args:
        model: a `MaskRCNN` in inference mode.
        dataset: a prepared `Dataset`.
        image_ids: indices of its images; default all.
        limit: only the first so many images; 0 for all.
        results_path: a JSON file to write the detections to, in COCO's results format. What is found is kept beside it
            (".part") as it comes: after an interruption the same call, with the same weights and settings, goes on.
        verbose: 0 for no progress bar.
        max_detections: detections that count in an image.

    Returns:
        {"bbox": ..., "segm": ...}, each what `coco_metrics` returns.

    Raises:
        ValueError: no image to evaluate.
    """
    image_ids = [int(i) for i in (dataset.image_ids if image_ids is None else image_ids)][: limit or None]
    if not image_ids:
        raise ValueError("The data set has no images to evaluate.")
    found = _Found(results_path, model)
    waiting = [i for i in image_ids if i not in found.results]
    with tqdm(
        total=len(image_ids),
        initial=len(image_ids) - len(waiting),
        desc="Evaluating",
        unit="image",
        disable=not verbose,
    ) as progress:
        for start in range(0, len(waiting), model.config.BATCH_SIZE):
            batch = waiting[start : start + model.config.BATCH_SIZE]
            read = {}
            for i in batch:
                try:
                    read[i] = dataset.load_image(i)
                except Exception as error:  # whatever a broken file or a user's class raises, the other images count
                    print(f"\nNothing is found in image {i} ({dataset.image_info[i].get('path')}): {error}")
                    found.add(i, [])
            for i, result in zip(read, model.detect(list(read.values())), strict=True):
                found.add(i, to_coco_results(dataset, i, result))
            progress.update(len(batch))
    results = found.finish(image_ids)
    coco = ground_truth(dataset, image_ids)
    source_ids = [dataset.image_info[i]["id"] for i in image_ids]
    cat_ids = [info["id"] for info in dataset.class_info[1:]]
    return {kind: coco_metrics(coco, results, source_ids, kind, cat_ids, max_detections) for kind in ("bbox", "segm")}


class _Found:
    """Results by image, kept in a file as they come: a line for the model, then one an image."""

    def __init__(self, path, model):
        self.path = Path(path) if path is not None else None
        self.results = {}
        if self.path is None:
            return
        self.part = self.path.with_name(self.path.name + ".part")
        head = json.dumps(_fingerprint(model))
        lines = self.part.read_text().splitlines() if self.part.exists() else []
        if lines[:1] == [head]:
            for line in lines[1:]:
                try:
                    image_id, results = json.loads(line)
                except ValueError:
                    break  # the line that was being written
                self.results[image_id] = results
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Written anew, so that no half line is in the way.
        self.part.write_text("\n".join([head, *(json.dumps(entry) for entry in self.results.items())]) + "\n")

    def add(self, image_id, results):
        self.results[image_id] = results
        if self.path is not None:
            with open(self.part, "a") as file:
                file.write(json.dumps([image_id, results], default=int) + "\n")  # ids may be NumPy integers

    def finish(self, image_ids):
        """All results, in the order of the images; the file is written whole and the part removed."""
        results = [result for i in image_ids for result in self.results[i]]
        if self.path is not None:
            self.path.write_text(json.dumps(results, default=int))
            self.part.unlink()
        return results


def _fingerprint(model):
    """What tells one model's results from another's: a digest of its weights and settings."""
    digest = hashlib.sha1(json.dumps(model.config.to_dict(), default=str).encode())
    for weight in model.keras_model.weights:
        digest.update(np.ascontiguousarray(weight.numpy()))
    return digest.hexdigest()


class Evaluation(keras.callbacks.Callback):
    """Evaluates during training; pass it in `custom_callbacks`.

    Adds box_AP, box_AP50, mask_AP and mask_AP50 to the logs, so that the progress bar and TensorBoard show them, and
    keeps the weights of the best mask AP beside the checkpoints as mask_rcnn_<name>_best.h5.

    Args:
        model: the `MaskRCNN` that trains.
        dataset: a prepared `Dataset` to evaluate on.
        every: epochs between evaluations.
        limit: only so many of its images; 0 for all.
        patience: training ends after so many evaluations without a better mask AP; None never ends it.
    """

    adds_logs = True  # `train` runs it before what records the logs

    def __init__(self, model, dataset, every=1, limit=0, patience=None):
        super().__init__()
        self.rcnn, self.dataset, self.every, self.limit, self.patience = model, dataset, every, limit, patience
        self.best, self.worse, self.detector = -1.0, 0, None

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every:
            return
        if self.detector is None:
            values = {**self.rcnn.config.to_dict(), "GPU_COUNT": 1, "DETECTION_MIN_CONFIDENCE": 0.05}
            if values["IMAGE_RESIZE_MODE"] == "crop":  # whole images, at the scale that the crops have
                values.update(IMAGE_RESIZE_MODE="pad64", IMAGES_PER_GPU=1)
            config = type(self.rcnn.config).from_dict(values)
            self.detector = type(self.rcnn)("inference", config, self.rcnn.model_dir)
        weights.copy(self.model, self.detector.keras_model)
        metrics = evaluate(self.detector, self.dataset, limit=self.limit, verbose=0)
        for name, kind in _kinds(metrics).items():
            logs.update({f"{name}_{key}": metrics[kind][key] for key in ("AP", "AP50")})
        score = metrics["segm"]["AP"]
        print(f"\nbox AP {logs['box_AP']:.3f}, mask AP {score:.3f} (best so far {max(self.best, score):.3f})")
        if score > self.best:
            self.best, self.worse = score, 0
            path = Path(self.rcnn.checkpoint_path)
            self.rcnn.save_weights(path.with_name(path.name.replace("{epoch:04d}", "best")))
            return
        self.worse += 1
        if self.patience and self.worse >= self.patience:
            print(f"No better mask AP in {self.worse} evaluations: training ends.")
            self.model.stop_training = True


def format_table(metrics):
    """What `evaluate` returns as a table: a row for boxes and one for masks; "-" where there is nothing to measure."""
    return _table(METRICS, {row: [metrics[kind][name] for name in METRICS] for row, kind in _kinds(metrics).items()})


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
