"""The evaluation of a model on a `Dataset`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools.coco import COCO
from tqdm.auto import tqdm

from mrcnn.data.agreement import check_names, check_set
from mrcnn.data.annotations import check_size
from mrcnn.data.bad_images import BadImages
from mrcnn.data.dataset import Dataset
from mrcnn.data.proposals import load_proposals
from mrcnn.data.regions import semantic_truth
from mrcnn.evaluate.coco import check_engine, coco_metrics
from mrcnn.evaluate.frequency import frequency_groups, image_counts
from mrcnn.evaluate.results import Detections, own_results
from mrcnn.evaluate.semantic import confusion, semantic_metrics
from mrcnn.evaluate.swaps import count_swaps
from mrcnn.evaluate.truth import class_labels, ground_truth
from mrcnn.evaluate.voc import voc_metrics
from mrcnn.ops import keypoints
from mrcnn.settings.checks import check_arguments

LEFT_OUT = "what it calls left out does not count"


class Evaluated(NamedTuple):
    """An evaluation with what it is of.

    Attributes:
        metrics: as `evaluate` returns them.
        truth: as of `ground_truth`.
        results: detections as of `own_results`, in the order of the images.
        image_ids: of the images, in `truth`.
        max_detections: as of `evaluate`.
    """

    metrics: dict[str, dict[str, Any]]
    truth: COCO
    results: list[dict[str, Any]]
    image_ids: list[int]
    max_detections: int


def evaluate(
    model: Any,
    dataset: Dataset,
    image_ids: Iterable[int] | None = None,
    limit: int = 0,
    results_path: Path | str | None = None,
    verbose: int = 1,
    max_detections: int = 100,
    engine: str = "pycocotools",
    voc: bool = False,
    train_set: Dataset | None = None,
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
        max_detections: detections that count in an image, at least 1; where keypoints are evaluated no more than 20.
        engine: one of `mrcnn.evaluate.coco.ENGINES`.
        voc: whether to count PASCAL VOC's AP of boxes, too.
        train_set: a prepared `Dataset` of the same classes, for the AP of those that are rare, common, frequent in it.

    Returns:
        {"bbox": ..., "segm": ..., "keypoints": ...}, each what `coco_metrics` returns, as far as the model has them; in
        bbox "voc", what `voc_metrics` returns, and in each "frequency", what `frequency_groups` returns. Of a model
        that gives pixels classes "semantic", too: what `semantic_metrics` returns.

    Raises:
        ImportError: the engine is not installed.
        ValueError: no image to evaluate, no such engine, other classes or keypoints than the model's or in another
            order, or an impossible limit or max_detections.
        RuntimeError: three images in a row cannot be read for the same reason: code of the user's own, not a file.
    """
    options = verbose, max_detections, engine, voc, train_set
    return evaluate_in_full(model, dataset, image_ids, limit, results_path, *options).metrics


@check_arguments
def evaluate_in_full(
    model: Any,
    dataset: Dataset,
    image_ids: Iterable[int] | None = None,
    limit: int = 0,
    results_path: Path | str | None = None,
    verbose: int = 1,
    max_detections: int = 100,
    engine: str = "pycocotools",
    voc: bool = False,
    train_set: Dataset | None = None,
) -> Evaluated:
    """As `evaluate`, with the ground truth and the detections, from which `mrcnn.draw.report` makes a page."""
    check_engine(engine)
    image_ids = [int(i) for i in (dataset.image_ids if image_ids is None else image_ids)][: limit or None]
    if not image_ids:
        raise ValueError("The data set has no images to evaluate.")
    check_set(dataset, model.config)
    check_names(dataset, model.config)
    if verbose and dataset.problems:
        print(f"{len(dataset.problems)} problems in the annotations, which dataset.validate() lists; {LEFT_OUT}.")
    found, bad = Detections(results_path, model, dataset), BadImages(dataset, "Nothing is found in image {}")
    coco = ground_truth(dataset, image_ids)  # first, so that mistakes in it do not show after hours
    counts = {} if train_set is None else image_counts(train_set)
    _detect(model, dataset, image_ids, found, bad, verbose)
    results = found.finish(image_ids)
    own_ids = [i + 1 for i in image_ids]
    metrics = _metrics(model.config, dataset, coco, results, image_ids, max_detections, engine)
    if voc and "bbox" in metrics:
        metrics["bbox"]["voc"] = voc_metrics(coco, results, own_ids)
    for numbers in metrics.values() if counts else ():
        numbers["frequency"] = frequency_groups(numbers["per_class"], counts)
    if model.config.by_pixels:
        pixels = np.stack([np.array(found.pixels[i]) for i in image_ids])
        metrics["semantic"] = semantic_metrics(pixels.sum(axis=0), [dataset.class_names[0], *class_labels(dataset)])
    return Evaluated(metrics, coco, results, own_ids, max_detections)


def _detect(model, dataset, image_ids, found, bad, verbose):
    """Adds what is found in the images of which nothing is known yet."""
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
            read: dict[int, Any] = {}
            for i in batch:
                try:
                    read[i] = _given(model, dataset, i)
                except Exception as error:  # whatever a broken file or a user's class raises, the other images count
                    bad.add(i, error)
                    found.add(i, [], _pixels(model, dataset, i, None))
                else:
                    bad.good()
            for i, result in zip(read, _results(model, read.values()), strict=True):
                found.add(i, own_results(i, result), _pixels(model, dataset, i, result))
            progress.update(len(batch))


def _given(model, dataset, image_id):
    """An image, and proposals for a detector that takes some."""
    image = dataset.load_image(image_id)
    check_size(dataset.image_info[image_id], image.shape)
    return image, load_proposals(dataset, image_id, image) if model.config.takes_proposals else None


def _results(model, given):
    images, proposals = [image for image, _ in given], [boxes for _, boxes in given]
    options = {"proposals": proposals} if model.config.takes_proposals else {}
    return model.detect(images, rle=True, **options)


def _pixels(model, dataset, image_id, result):
    """How many pixels of each class were found to be of each, for a model that gives pixels classes; the background
    where there is no result."""
    if not model.config.by_pixels:
        return None
    truth = semantic_truth(dataset, image_id)
    found = np.zeros_like(truth) if result is None else result["semantic"]
    if not truth.size:  # an image without objects in a set that does not say how large its images are
        truth = np.zeros_like(found)
    return confusion(truth, found, dataset.num_classes).tolist()


def _metrics(config, dataset, coco, results, image_ids, max_detections, engine):
    """The numbers of each kind that the model finds."""
    own_ids = [i + 1 for i in image_ids]
    sigmas, metrics = keypoints.sigmas(config.KEYPOINT_SIGMAS, config.NUM_KEYPOINTS), {}
    for kind in (kind for kind in config.finds if kind != "semantic"):
        classes = range(1, dataset.num_classes)
        if kind == "keypoints" and config.KEYPOINT_CLASSES is not None:
            classes = config.KEYPOINT_CLASSES
        metrics[kind] = coco_metrics(coco, results, own_ids, kind, classes, max_detections, sigmas, engine)
    if "keypoints" in metrics:
        metrics["keypoints"].update(count_swaps(coco, results, own_ids, config.KEYPOINT_FLIP_PAIRS, sigmas))
    return metrics
