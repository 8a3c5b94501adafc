"""Every detection and every object that was not found, sorted by what went wrong (TIDE, Bolya et al. 2020).

Detections are matched to objects as COCO matches them at one IoU, so that the AP here is COCO's AP50. One that found
no object of its own is, by the first of these that holds, with IoU 0.5 for "enough" and 0.1 for "at all":

- localisation: it overlaps an object of its class, but not enough;
- class: it overlaps an object of another class enough;
- duplicate: it overlaps an object of its class enough, which a better detection has found;
- background: it overlaps no object at all;
- both: the rest, such as the wrong class at the wrong place.

An object that no detection found is missed, unless a mistake of the first two kinds would find it if it were mended.
Other than in the paper's program a detection in a crowd is no mistake, and classes without objects have no AP.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as rle
from pycocotools.coco import COCO

from mrcnn.evaluate.curves import precision_recall
from mrcnn.ops.masks import polygons_to_rle

KINDS = ("localisation", "class", "both", "duplicate", "background", "missed")
CORRECT = "correct"

ENOUGH, AT_ALL = 0.5, 0.1


@dataclass
class Judgement:
    """What became of n detections and of the objects of a set.

    Attributes:
        found: the n detections, in COCO's results format, by image and then by score.
        kinds: [n] str, "correct" or one of `KINDS`.
        mends: [n] class id of the object that the detection would find if its mistake were mended, 0 where there is
            none, or where a better detection finds it.
        unfound: the objects that no detection found, annotations of the ground truth.
        missed: those of them that no mended mistake finds.
        positives: class id -> number of objects, of classes that have any.
    """

    found: list[dict[str, Any]]
    kinds: np.ndarray
    mends: np.ndarray
    unfound: list[dict[str, Any]]
    missed: list[dict[str, Any]]
    positives: dict[int, int]

    @property
    def class_ids(self) -> np.ndarray:
        """[n] of the detections."""
        return np.array([entry["category_id"] for entry in self.found], int)

    @property
    def scores(self) -> np.ndarray:
        """[n] of the detections."""
        return np.array([entry["score"] for entry in self.found], float)

    @property
    def correct(self) -> np.ndarray:
        """[n] bool: which detections are correct."""
        return self.kinds == CORRECT

    def counts(self) -> dict[str, int]:
        """How often there is each of `KINDS`."""
        return {kind: len(self.missed) if kind == "missed" else int((self.kinds == kind).sum()) for kind in KINDS}


def judge(
    coco: COCO,
    results: Iterable[dict[str, Any]],
    image_ids: Iterable[int],
    iou_type: str,
    max_detections: int = 100,
    enough: float = ENOUGH,
) -> Judgement:
    """Sort the mistakes of a set of results.

    Args:
        coco: ground truth, as of `ground_truth`.
        results: of `own_results`, with the ids of `coco`; left as they are.
        image_ids: ids of the images.
        iou_type: "bbox" or "segm".
        max_detections: as many count of a class in an image.
        enough: the IoU from which an object is found.
    """
    by_image: dict[int, list[dict[str, Any]]] = {}
    for entry in results:
        by_image.setdefault(entry["image_id"], []).append(entry)
    found, unfound, missed = [], [], []
    kinds, mends = [np.zeros(0, "<U12")], [np.zeros(0, int)]
    positives: dict[int, int] = {}
    for image_id in sorted(set(image_ids)):
        truths, crowds = _truths(coco, image_id, iou_type)
        for truth in truths:
            positives[truth["category_id"]] = positives.get(truth["category_id"], 0) + 1
        kept = _kept(by_image.get(image_id, []), max_detections)
        kind, mend, open_truths, lost = _judge_image(kept, truths, crowds, iou_type, enough)
        counts = kind != ""  # not those in crowds
        found += [entry for entry, one in zip(kept, counts, strict=True) if one]
        kinds.append(kind[counts])
        mends.append(mend[counts])
        unfound += [truths[i] for i in open_truths]
        missed += [truths[i] for i in lost]
    return Judgement(found, np.concatenate(kinds), np.concatenate(mends), unfound, missed, positives)


def _truths(coco, image_id, iou_type):
    """The objects of an image, and its crowds; to masks, an object of which the box alone is known is one."""
    truths: list[dict[str, Any]] = []
    crowds: list[dict[str, Any]] = []
    size = coco.imgs[image_id]["height"], coco.imgs[image_id]["width"]
    for annotation in coco.imgToAnns.get(image_id, []):
        if iou_type == "segm" and not annotation.get("segmentation"):
            x, y, w, h = annotation["bbox"]
            code = polygons_to_rle([[x, y, x + w, y, x + w, y + h, x, y + h]], *size)
            annotation = {**annotation, "iscrowd": 1, "segmentation": code}
        (crowds if annotation["iscrowd"] else truths).append(annotation)
    return truths, crowds


def _kept(entries, most):
    """By score, at most so many of a class."""
    times: dict[int, int] = {}
    kept = []
    for entry in sorted(entries, key=lambda entry: -entry["score"]):
        times[entry["category_id"]] = times.get(entry["category_id"], 0) + 1
        if times[entry["category_id"]] <= most:
            kept.append(entry)
    return kept


def _overlaps(found, truths, iou_type, crowd):
    """IoU [n, g] of detections and objects; of crowds the share of the detection that lies in them."""
    if not found or not truths:
        return np.zeros((len(found), len(truths)))
    field = "bbox" if iou_type == "bbox" else "segmentation"
    return np.asarray(rle.iou([x[field] for x in found], [x[field] for x in truths], [crowd] * len(truths)))


def _judge_image(found, truths, crowds, iou_type, enough):
    """Kinds [n], "" for what lies in a crowd, and mends [n]; the indices of objects not found, and of those missed."""
    ids = np.array([x["category_id"] for x in found], int)
    true_ids = np.array([x["category_id"] for x in truths], int)
    iou, same = _overlaps(found, truths, iou_type, False), ids[:, None] == true_ids
    matched = _match(np.where(same, iou, 0), enough)
    free = np.ones(len(truths), bool)
    free[matched[matched >= 0]] = False
    crowd_ids = np.array([x["category_id"] for x in crowds], int)
    inside = (_overlaps(found, crowds, iou_type, True) >= enough) & (ids[:, None] == crowd_ids)
    kinds = np.where(matched >= 0, CORRECT, np.where(inside.any(axis=1), "", "open")).astype("<U12")
    mends, mended = np.zeros(len(found), int), np.zeros(len(truths), bool)
    for i in np.flatnonzero(kinds == "open"):
        kinds[i], truth = _mistake(iou[i], same[i], enough)
        if truth is not None and free[truth] and not mended[truth]:
            mends[i], mended[truth] = true_ids[truth], True
    return kinds, mends, np.flatnonzero(free), np.flatnonzero(free & ~mended)


def _match(iou, enough):
    """For each detection [n], by score, the object that it finds, of those left that which it overlaps most; or -1."""
    left, matched = iou.copy(), np.full(len(iou), -1)
    for i in range(len(left) if left.size else 0):
        best = left[i].argmax()
        if left[i, best] >= enough:
            matched[i] = best
            left[:, best] = 0
    return matched


def _mistake(iou, same, enough):
    """The kind of one detection, by its IoU [g] with all objects and which of these are of its class; for a mistake
    that could be mended also the index of the object that it is about, else None."""
    own, others = iou * same, iou * ~same
    best, best_other = own.max(initial=0), others.max(initial=0)
    if AT_ALL <= best < enough:
        return "localisation", int(own.argmax())
    if best_other >= enough:
        return "class", int(others.argmax())
    if best >= enough:
        return "duplicate", None
    return ("background" if max(best, best_other) <= AT_ALL else "both"), None


def class_curves(judgement: Judgement) -> dict[int, np.ndarray]:
    """Class id -> precision [101] as of `precision_recall`, of classes that have objects."""
    return _curves(judgement.class_ids, judgement.scores, judgement.correct, judgement.positives)


def _curves(class_ids, scores, correct, positives):
    curves = {}
    for k, count in sorted(positives.items()):
        of_class = class_ids == k
        if count:
            curves[k] = precision_recall(scores[of_class], correct[of_class], count)
        elif of_class.any():
            curves[k] = np.zeros(101)  # nothing is left to find, and something is found
    return curves


def gains(judgement: Judgement) -> dict[str, float]:
    """How much AP50 would rise if all mistakes of one kind were mended, for each of `KINDS`; 0..1.

    A mistake of localisation or class becomes correct if it is the first about an object that nothing found, and is
    left out otherwise; the other kinds are left out; missed objects are not looked for.
    """
    class_ids, scores, correct = judgement.class_ids, judgement.scores, judgement.correct

    def mean(*arguments):
        curves = _curves(*arguments)
        return float(np.mean([curve.mean() for curve in curves.values()])) if curves else 0.0

    before, rises = mean(class_ids, scores, correct, judgement.positives), {}
    for kind in KINDS:
        chosen = judgement.kinds == kind
        mended = chosen & (judgement.mends > 0)
        kept, positives = ~chosen | mended, dict(judgement.positives)
        if kind == "missed":
            for truth in judgement.missed:
                positives[truth["category_id"]] -= 1
        ids = np.where(mended, judgement.mends, class_ids)
        after = mean(ids[kept], scores[kept], (correct | mended)[kept], positives)
        rises[kind] = max(after - before, 0.0)
    return rises


def confusion(judgement: Judgement, classes: int) -> np.ndarray:
    """Counts [classes, classes] by the true class, from above, and the detected one, from the left, of a judgement of
    results that are sure enough to show.

    Row 0, the background, has detections that found no object of any class, duplicates among them; column 0 has
    objects that nothing found.
    """
    table, ids = np.zeros((classes, classes), int), judgement.class_ids
    of_class = (judgement.kinds == "class") & (judgement.mends > 0)
    true = np.where(judgement.correct, ids, np.where(of_class, judgement.mends, 0))
    np.add.at(table, (true, ids), 1)
    np.add.at(table, (_ids(judgement.unfound), 0), 1)
    np.add.at(table, (judgement.mends[of_class], 0), -1)  # these were found as another class
    return table


def _ids(truths):
    return np.array([truth["category_id"] for truth in truths], int)
