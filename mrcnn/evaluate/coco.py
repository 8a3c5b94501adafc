"""COCO's evaluation (https://cocodataset.org/#detection-eval) of a model on a `Dataset`, by pycocotools."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tqdm.auto import tqdm

from mrcnn import weights
from mrcnn.data.coco import index
from mrcnn.data.dataset import Dataset
from mrcnn.ops import keypoints
from mrcnn.ops.masks import encode_rle
from mrcnn.settings.config import Config

if TYPE_CHECKING:
    from mrcnn.models.mask_rcnn import MaskRCNN

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
KEYPOINT_METRICS = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
# What is evaluated: name in tables and logs -> pycocotools' name.
KINDS = {"box": "bbox", "mask": "segm", "keypoint": "keypoints"}


def to_coco_results(dataset: Dataset, image_id: int, result: dict[str, Any]) -> list[dict[str, Any]]:
    """What `detect()` found in one image, in COCO's results format.

    Args:
        dataset: a prepared `Dataset`.
        image_id: the image's index in it.
        result: dict with rois [n, 4] (y1, x1, y2, x2) in pixels, class_ids [n], scores [n], and where there are any
            masks ([h, w, n], or a list of n run lengths) and keypoints [n, J, 3] of (x, y, score).

    Returns:
        n dicts with image_id and category_id as their source has them, bbox [x, y, width, height], score, and
        segmentation (compressed run lengths) and keypoints [x1, y1, score1, x2, ...].
    """
    source_id = dataset.image_info[image_id]["id"]
    entries = [
        {
            "image_id": source_id,
            "category_id": dataset.class_info[class_id]["id"],
            "bbox": [float(x1), float(y1), float(x2) - float(x1), float(y2) - float(y1)],
            "score": float(score),
        }
        for (y1, x1, y2, x2), class_id, score in zip(result["rois"], result["class_ids"], result["scores"], strict=True)
    ]
    if "masks" in result:
        masks = result["masks"]
        codes = masks if isinstance(masks, list) else map(encode_rle, np.moveaxis(masks, -1, 0))
        for entry, code in zip(entries, codes, strict=True):
            entry["segmentation"] = code
    if "keypoints" in result:
        for entry, points in zip(entries, result["keypoints"], strict=True):
            if np.any(points):  # else it is of a class without keypoints
                entry["keypoints"] = np.ravel(points).astype(float).tolist()
    return entries


def ground_truth(dataset: Dataset, image_ids: Iterable[int] | None = None) -> COCO:
    """A pycocotools `COCO` object of a prepared `Dataset`.

    It is the data set's own where there is one (`CocoDataset.coco`, with all that its files hold), else made from
    `load_mask`, where negative class ids are crowds, and `load_keypoints`.

    Args:
        dataset: any `Dataset`.
        image_ids: indices of images to read where it is made from masks; default all.

    Raises:
        ValueError: two images, or two classes, have the same id in different sources.
    """
    coco = getattr(dataset, "coco", None)
    if coco is not None and all(info["source"] == "coco" for info in dataset.image_info):
        return coco
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i in dataset.image_ids if image_ids is None else image_ids:
        masks, class_ids = dataset.load_mask(i)
        source_id = dataset.image_info[i]["id"]
        images.append({"id": source_id, "height": masks.shape[0], "width": masks.shape[1]})
        points = dataset.load_keypoints(i)
        for k, (class_id, mask) in enumerate(zip(class_ids, np.moveaxis(masks, -1, 0), strict=True)):
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
            if points is not None:
                annotations[-1]["keypoints"] = np.ravel(points[k]).astype(float).tolist()
    categories = [{"id": info["id"], "name": info["name"]} for info in dataset.class_info[1:]]
    for kind, entries in [("images", images), ("classes", categories)]:
        if len({entry["id"] for entry in entries}) < len(entries):
            raise ValueError(f"Sources of the data set have {kind} of the same id; evaluate one source at a time.")
    return index({"info": {}, "images": images, "annotations": annotations, "categories": categories})


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


def evaluate(
    model: MaskRCNN,
    dataset: Dataset,
    image_ids: Iterable[int] | None = None,
    limit: int = 0,
    results_path: Path | str | None = None,
    verbose: int = 1,
    max_detections: int = 100,
) -> dict[str, dict[str, Any]]:
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
        {"bbox": ..., "segm": ..., "keypoints": ...}, each what `coco_metrics` returns, as far as the model has them.

    Raises:
        ValueError: no image to evaluate.
    """
    image_ids = [int(i) for i in (dataset.image_ids if image_ids is None else image_ids)][: limit or None]
    if not image_ids:
        raise ValueError("The data set has no images to evaluate.")
    found = _Found(results_path, model, dataset)
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
            for i, result in zip(read, model.detect(list(read.values()), rle=True), strict=True):
                found.add(i, to_coco_results(dataset, i, result))
            progress.update(len(batch))
    results = found.finish(image_ids)
    coco = ground_truth(dataset, image_ids)
    source_ids = [dataset.image_info[i]["id"] for i in image_ids]
    config = model.config
    metrics = {}
    for kind in ["bbox", *["segm"] * config.USE_MASK, *["keypoints"] * bool(config.NUM_KEYPOINTS)]:
        classes = dataset.class_info[1:]
        if kind == "keypoints" and config.KEYPOINT_CLASSES is not None:
            classes = [dataset.class_info[i] for i in config.KEYPOINT_CLASSES]
        cat_ids = [info["id"] for info in classes]
        metrics[kind] = coco_metrics(coco, results, source_ids, kind, cat_ids, max_detections, keypoints.sigmas(config))
    if "keypoints" in metrics:
        metrics["keypoints"].update(count_swaps(coco, results, source_ids, config))
    return metrics


def count_swaps(
    coco: COCO, results: Iterable[dict[str, Any]], image_ids: Iterable[int | str], config: Config
) -> dict[str, float]:
    """How often left and right keypoints are mixed up.

    An instance is matched with the surest detection of its class whose box has an IoU of at least 0.5 with its own. The
    two are mixed up if the detection fits it better, by COCO's OKS, with left and right exchanged.

    Args: as of `coco_metrics`; config has KEYPOINT_FLIP_PAIRS and KEYPOINT_SIGMAS.

    Returns:
        {"swapped": share of the matched instances, nan if there is none, "matched": their number}; of instances with
        both points of a pair.
    """
    sigmas = keypoints.sigmas(config)
    pairs = config.KEYPOINT_FLIP_PAIRS
    found: dict[tuple, list[dict[str, Any]]] = {}
    swapped = []
    for entry in sorted((r for r in results if "keypoints" in r), key=lambda r: -r["score"]):
        found.setdefault((entry["image_id"], entry["category_id"]), []).append(entry)
    for annotation in coco.loadAnns(coco.getAnnIds(imgIds=list(image_ids), iscrowd=False)):
        points = np.reshape(annotation.get("keypoints") or np.zeros((len(sigmas), 3)), (-1, 3))
        if not any(points[left, 2] > 0 and points[right, 2] > 0 for left, right in pairs):
            continue
        for entry in found.get((annotation["image_id"], annotation["category_id"]), []):
            if rle.iou([entry["bbox"]], [annotation["bbox"]], [0])[0, 0] >= 0.5:
                guess = np.reshape(entry["keypoints"], (-1, 3))
                plain, mirrored = (
                    keypoints.similarity(points, x, annotation["area"], sigmas)
                    for x in (guess, keypoints.swap(guess, pairs))
                )
                swapped.append(mirrored > plain)
                break
    return {"swapped": float(np.mean(swapped)) if swapped else float("nan"), "matched": len(swapped)}


class _Found:
    """Results by image, kept in a file as they come: a line for the model, then one an image."""

    def __init__(self, path: Path | str | None, model: MaskRCNN, dataset: Dataset) -> None:
        self.path = Path(path) if path is not None else None
        self.results: dict[int, list[dict[str, Any]]] = {}
        if self.path is None:
            return
        self.part = self.path.with_name(self.path.name + ".part")
        head = json.dumps(_fingerprint(model, dataset))
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


def _fingerprint(model, dataset):
    """What tells results of one model on one data set from others: a digest of weights, settings and images."""
    images = [(info["source"], info["id"], info["path"]) for info in dataset.image_info]
    settings = json.dumps([model.config.to_dict(), images], default=lambda x: getattr(x, "__name__", str(x)))
    digest = hashlib.sha1(settings.encode())
    for weight in model.keras_model.weights:
        digest.update(np.ascontiguousarray(weight.numpy()).data)
    return digest.hexdigest()


class Evaluation(keras.callbacks.Callback):
    """Evaluates during training; pass it in `custom_callbacks`.

    Adds box_AP, box_AP50, mask_AP and mask_AP50 (and keypoint_AP and keypoint_AP50) to the logs, so that the progress
    bar and TensorBoard show them, and keeps the weights of the best AP, that of the last of these that the model has,
    beside the checkpoints as mask_rcnn_<name>_best.h5.

    Args:
        model: the `MaskRCNN` that trains.
        dataset: a prepared `Dataset` to evaluate on.
        every: epochs between evaluations.
        limit: only so many of its images; 0 for all.
        patience: training ends after so many evaluations without a better AP; None never ends it.
    """

    adds_logs = True  # `train` runs it before what records the logs

    def __init__(
        self, model: MaskRCNN, dataset: Dataset, every: int = 1, limit: int = 0, patience: int | None = None
    ) -> None:
        super().__init__()
        self.rcnn, self.dataset, self.every, self.limit, self.patience = model, dataset, every, limit, patience
        self.best, self.worse = -1.0, 0
        self.detector: MaskRCNN | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
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
            if logs is not None:
                logs.update({f"{name}_{key}": metrics[kind][key] for key in ("AP", "AP50")})
        found = {name: metrics[kind]["AP"] for name, kind in _kinds(metrics).items()}
        score = list(found.values())[-1]
        line = ", ".join(f"{name} AP {value:.3f}" for name, value in found.items())
        print(f"\n{line} (best so far {max(self.best, score):.3f})")
        if score > self.best:
            self.best, self.worse = score, 0
            path = Path(self.rcnn.checkpoint_path)
            self.rcnn.save_weights(path.with_name(path.name.replace("{epoch:04d}", "best")))
            return
        self.worse += 1
        if self.patience and self.worse >= self.patience:
            print(f"No better AP in {self.worse} evaluations: training ends.")
            self.model.stop_training = True


def format_table(metrics: dict[str, dict[str, Any]]) -> str:
    """What `evaluate` returns as a table: a row for boxes and one for masks, and keypoints in a table of their own; "-"
    where there is nothing to measure."""
    tables = []
    for names, kinds in ((METRICS, ("box", "mask")), (KEYPOINT_METRICS, ("keypoint",))):
        rows = {row: [metrics[kind][name] for name in names] for row, kind in _kinds(metrics).items() if row in kinds}
        if rows:
            tables.append(_table(names, rows))
    return "\n".join(tables)


def format_classes(metrics: dict[str, dict[str, Any]]) -> str:
    """What `evaluate` returns for every class as a table: AP, AP50 and AP75 of boxes, masks and keypoints."""
    kinds = _kinds(metrics)
    rows: dict[str, list[float]] = {name: [] for name in metrics[next(iter(kinds.values()))]["per_class"]}
    for kind in kinds.values():
        for name, row in rows.items():
            row.extend(metrics[kind]["per_class"].get(name, dict.fromkeys(("AP", "AP50", "AP75"), -1)).values())
    return _table([f"{kind} {name}" for kind in kinds for name in ("AP", "AP50", "AP75")], rows)


def _kinds(metrics):
    return {name: kind for name, kind in KINDS.items() if kind in metrics}


def _table(titles, rows):
    first, width = max(map(len, rows)), max(map(len, titles)) + 2
    lines = [" " * first + "".join(f"{title:>{width}}" for title in titles)]
    for name, values in rows.items():
        lines.append(
            f"{name:<{first}}" + "".join(f"{'-' if value < 0 else f'{value:.3f}':>{width}}" for value in values)
        )
    return "\n".join(lines)
