"""PASCAL VOC's average precision (Everingham et al. 2010), of 11 points as until 2009 and continuous as since then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as rle
from pycocotools.coco import COCO

from mrcnn.settings.checks import check_arguments

# Recalls at which the precision is read.
POINTS = np.arange(11) / 10


@check_arguments
def voc_metrics(
    coco: COCO,
    results: Sequence[dict[str, Any]],
    image_ids: Iterable[int | str],
    cat_ids: Iterable[int | str] | None = None,
    iou: float = 0.5,
) -> dict[str, Any]:
    """VOC's numbers of boxes.

    A detection is held against the object of its class that it overlaps most. It is right if the overlap is `iou` or
    more and no detection with a higher score has that object; a crowd ("difficult" in VOC) makes it count neither way.
    VOC's own program adds a pixel to each side of a box, as its boxes name the last pixel; here boxes end at edges.

    Args:
        coco: ground truth, as of `ground_truth`.
        results: in COCO's results format with the ids of `coco`.
        image_ids: of the images evaluated.
        cat_ids: of the classes evaluated; default all.
        iou: least overlap.

    Returns:
        AP11 and AP, the means over the classes that have objects, -1 if none has any; "per_class": {name: the two}.
    """
    images = set(image_ids)
    rows: dict[str, dict[str, float]] = {}
    for category in sorted(coco.cats) if cat_ids is None else cat_ids:
        truth, found = (
            [x for x in every if x["image_id"] in images and x["category_id"] == category]
            for every in (coco.dataset["annotations"], results)
        )
        hits, count = _judged(truth, found, iou)
        rows[coco.cats[category]["name"]] = average_precisions(hits, count)
    known = [row for row in rows.values() if row["AP"] >= 0]
    means = {name: float(np.mean([row[name] for row in known])) if known else -1.0 for name in ("AP11", "AP")}
    return {**means, "per_class": rows}


def average_precisions(hits: Sequence[bool], count: int) -> dict[str, float]:
    """AP11 and AP of detections in the order of their scores, highest first; -1 if there is no object.

    Args:
        hits: whether each detection is right.
        count: of objects.
    """
    if not count:
        return {"AP11": -1.0, "AP": -1.0}
    right = np.cumsum(np.asarray(hits, float))
    recall, precision = right / count, right / np.arange(1, len(right) + 1)
    # The best precision at a recall or beyond it.
    best = np.maximum.accumulate(precision[::-1])[::-1]
    eleven = [best[recall >= point - 1e-12].max(initial=0) for point in POINTS]
    steps = np.diff(recall, prepend=0)
    return {"AP11": float(np.mean(eleven)), "AP": float(steps @ best)}


def _judged(truth, found, iou):
    """Whether each detection of a class that counts is right, highest score first, and the count of objects."""
    objects: dict[Any, list[dict[str, Any]]] = {}
    for entry in truth:
        objects.setdefault(entry["image_id"], []).append(entry)
    taken: set[tuple[Any, int]] = set()
    hits = []
    for entry in sorted(found, key=lambda entry: -entry["score"]):
        own = objects.get(entry["image_id"], [])
        overlaps = rle.iou([entry["bbox"]], [x["bbox"] for x in own], [0] * len(own))[0] if own else np.zeros(1)
        best = int(np.argmax(overlaps))
        if overlaps[best] < iou:
            hits.append(False)
        elif not own[best].get("iscrowd"):
            hits.append((entry["image_id"], best) not in taken)
            taken.add((entry["image_id"], best))
    return hits, sum(not entry.get("iscrowd") for entry in truth)
