"""How good detections are: overlaps of masks, matches with the ground truth, average precision, recall.

The original's figures are for one image at a time, with every detection of every class in one list;
`compute_ap_per_class` is over a set of images, as COCO has it. For all of COCO's numbers see mrcnn.evaluate.coco.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from mrcnn.ops.boxes import overlaps as box_overlaps


def compute_overlaps_masks(masks1: np.ndarray, masks2: np.ndarray) -> np.ndarray:
    """IoU of every mask of [H, W, N] with every one of [H, W, M], binarised at 0.5.

    Returns:
        [N, M] float32 in 0..1; 0 where both are empty. One side may have no masks, then of any H and W.
    """
    count1, count2 = masks1.shape[-1], masks2.shape[-1]
    if count1 == 0 or count2 == 0:
        return np.zeros((count1, count2), dtype="float32")
    masks1 = (masks1.reshape(-1, count1) > 0.5).astype("float32")
    masks2 = (masks2.reshape(-1, count2) > 0.5).astype("float32")
    intersection = masks1.T @ masks2
    union = masks1.sum(axis=0)[:, None] + masks2.sum(axis=0) - intersection
    return intersection / np.maximum(union, 1)


def trim_zeros(x: ArrayLike) -> np.ndarray:
    """The rows of x [rows, columns] that are not all zero: padded arrays without their padding."""
    x = np.asarray(x)
    return x[np.any(x != 0, axis=1)]


def _rows(boxes):
    """Indices of the boxes [N, 4] that are not padding; an empty array of any shape has none."""
    return np.flatnonzero(np.any(np.reshape(boxes, (-1, 4)) != 0, axis=1))


def compute_matches(
    gt_boxes: np.ndarray,
    gt_class_ids: np.ndarray,
    gt_masks: np.ndarray,
    pred_boxes: np.ndarray,
    pred_class_ids: np.ndarray,
    pred_scores: np.ndarray,
    pred_masks: np.ndarray,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Match predictions, best score first, with ground-truth instances of the same class by the IoU of their masks.

    A prediction takes the instance it overlaps most among those that are still free; an instance is taken once.
    Rows of zeros in the boxes are padding and are left out everywhere. Either side may be empty.

    Args:
        gt_boxes: [G, 4].
        gt_class_ids: [G].
        gt_masks: [H, W, G].
        pred_boxes: [N, 4].
        pred_class_ids: [N].
        pred_scores: [N].
        pred_masks: [H, W, N].
        iou_threshold: the least IoU of a match, 0..1.
        score_threshold: predictions with lower scores match nothing.

    Returns:
        gt_match: [G] float, index of the matched prediction (in order of falling score), or -1.
        pred_match: [N] float, index of the matched instance for each prediction in order of falling score, or -1.
        overlaps: [N, G] float32 IoU of masks, predictions in order of falling score.
    """
    rows = _rows(gt_boxes)
    gt_class_ids, gt_masks = np.asarray(gt_class_ids)[rows], np.asarray(gt_masks)[..., rows]
    rows = _rows(pred_boxes)
    rows = rows[np.argsort(np.asarray(pred_scores)[rows], kind="stable")[::-1]]
    pred_class_ids, pred_masks = np.asarray(pred_class_ids)[rows], np.asarray(pred_masks)[..., rows]
    pred_scores = np.asarray(pred_scores)[rows]

    overlaps = compute_overlaps_masks(pred_masks, gt_masks)
    gt_match, pred_match = np.full(len(gt_class_ids), -1.0), np.full(len(pred_class_ids), -1.0)
    for i in np.flatnonzero(pred_scores >= score_threshold):
        free = np.flatnonzero((gt_match < 0) & (gt_class_ids == pred_class_ids[i]) & (overlaps[i] >= iou_threshold))
        if len(free):
            best = free[overlaps[i, free].argmax()]
            gt_match[best], pred_match[i] = i, best
    return gt_match, pred_match, overlaps


def compute_ap(
    gt_boxes: np.ndarray,
    gt_class_ids: np.ndarray,
    gt_masks: np.ndarray,
    pred_boxes: np.ndarray,
    pred_class_ids: np.ndarray,
    pred_scores: np.ndarray,
    pred_masks: np.ndarray,
    iou_threshold: float = 0.5,
) -> tuple[np.floating, np.ndarray, np.ndarray, np.ndarray]:
    """Average precision of one image at one IoU threshold (Pascal VOC 2010: area under the precision's envelope).

    Args: as of `compute_matches`.

    Returns:
        mAP: 0..1; 0 without predictions. Without ground truth precision against recall is undefined: nan. Average over
            images with `np.nanmean`.
        precisions: [N + 2] envelope of the precision after each prediction, with an end at both sides.
        recalls: [N + 2] recall after each prediction; nan without ground truth.
        overlaps: [N, G] IoU of masks.
    """
    gt_match, pred_match, overlaps = compute_matches(
        gt_boxes, gt_class_ids, gt_masks, pred_boxes, pred_class_ids, pred_scores, pred_masks, iou_threshold
    )
    found = np.cumsum(pred_match > -1)
    precisions = np.concatenate([[0], found / np.arange(1, len(found) + 1), [0]])
    precisions = np.maximum.accumulate(precisions[::-1])[::-1]
    recalls = np.concatenate([[0], found / (len(gt_match) or np.nan), [1]])
    mean_precision = np.sum(np.diff(recalls) * precisions[1:]) if len(gt_match) else np.float64(np.nan)
    return mean_precision, precisions, recalls, overlaps


def compute_ap_range(
    gt_box: np.ndarray,
    gt_class_id: np.ndarray,
    gt_mask: np.ndarray,
    pred_box: np.ndarray,
    pred_class_id: np.ndarray,
    pred_score: np.ndarray,
    pred_mask: np.ndarray,
    iou_thresholds: ArrayLike | None = None,
    verbose: int = 1,
) -> np.floating:
    """Mean of `compute_ap` over IoU thresholds, by default COCO's 0.50, 0.55 ... 0.95.

    Args:
        gt_box, gt_class_id, gt_mask, pred_box, pred_class_id, pred_score, pred_mask: as of `compute_matches`.
        iou_thresholds: any sequence of numbers, arrays included.
        verbose: 1 prints every threshold's value.

    Returns:
        0..1, or nan without ground truth.
    """
    thresholds = np.arange(0.5, 1.0, 0.05) if iou_thresholds is None else np.asarray(iou_thresholds)
    values = []
    for threshold in thresholds:
        values.append(
            compute_ap(gt_box, gt_class_id, gt_mask, pred_box, pred_class_id, pred_score, pred_mask, threshold)[0]
        )
        if verbose:
            print(f"AP @{threshold:.2f}:\t {values[-1]:.3f}")
    mean = np.mean(values)
    if verbose:
        print(f"AP @{thresholds[0]:.2f}-{thresholds[-1]:.2f}:\t {mean:.3f}")
    return mean


def compute_ap_per_class(
    images: Iterable[Sequence[np.ndarray]], iou_threshold: float = 0.5, max_detections: int = 100
) -> dict[int, float]:
    """Average precision of every class over a set of images, as COCO's evaluation has it.

    The detections of all images are put in one order by their scores, and the envelope of the precision is averaged at
    the recalls 0, 0.01 ... 1 (https://cocodataset.org/#detection-eval).

    Args:
        images: any iterable with, for each image, a tuple of the first seven arguments of `compute_matches`. Instances
            with negative class ids are crowds: a detection that matches nothing and lies in one does not count.
        iou_threshold: the least IoU of a match, 0..1.
        max_detections: the best so many detections of a class count in an image.

    Returns:
        dict from class id to 0..1, nan for a class that was detected and has no instance. Average with `np.nanmean`.
    """
    scores, hits = defaultdict(list), defaultdict(list)
    instances: dict[int, int] = defaultdict(int)
    for gt_boxes, gt_class_ids, gt_masks, pred_boxes, pred_class_ids, pred_scores, pred_masks in images:
        gt_rows, pred_rows = _rows(gt_boxes), _rows(pred_boxes)
        gt_ids, pred_ids = np.asarray(gt_class_ids)[gt_rows], np.asarray(pred_class_ids)[pred_rows]
        for class_id in {*gt_ids[gt_ids > 0].tolist(), *pred_ids.tolist()}:
            gt, crowds = gt_rows[gt_ids == class_id], gt_rows[gt_ids == -class_id]
            pred = pred_rows[pred_ids == class_id]
            pred = pred[np.argsort(-np.asarray(pred_scores)[pred], kind="stable")][:max_detections]
            found = pred_masks[..., pred] > 0.5
            matches = compute_matches(
                *(gt_boxes[gt], gt_class_ids[gt], gt_masks[..., gt]),
                *(pred_boxes[pred], pred_class_ids[pred], -np.arange(len(pred)), found),
                iou_threshold,
                score_threshold=-np.inf,
            )[1]
            inside = _share_inside(found, gt_masks[..., crowds]).max(axis=1, initial=0) >= iou_threshold
            counted = (matches > -1) | ~inside
            scores[class_id].append(np.asarray(pred_scores)[pred][counted])
            hits[class_id].append(matches[counted] > -1)
            instances[class_id] += len(gt)
    return {
        class_id: _interpolated_ap(np.concatenate(scores[class_id]), np.concatenate(hits[class_id]), count)
        for class_id, count in sorted(instances.items())
    }


def _share_inside(masks, crowds):
    """[N, C] share of each of the masks [H, W, N] that lies in each of the crowds [H, W, C]."""
    if not masks.size or not crowds.size:
        return np.zeros((masks.shape[-1], crowds.shape[-1]))
    flat = masks.reshape(-1, masks.shape[-1]).astype("float32")
    return flat.T @ (crowds.reshape(-1, crowds.shape[-1]) > 0.5) / np.maximum(1, flat.sum(axis=0))[:, None]


def _interpolated_ap(scores, hits, instances):
    """Mean over 101 recalls of the precision's envelope; scores [N], hits [N] bool."""
    if not instances:
        return float("nan")
    found = np.cumsum(hits[np.argsort(-scores, kind="stable")])
    precisions = np.maximum.accumulate((found / np.arange(1, len(found) + 1))[::-1])[::-1]
    reached = np.searchsorted(found / instances, np.linspace(0, 1, 101))
    return float(np.append(precisions, 0)[reached].mean())


def compute_recall(pred_boxes: ArrayLike, gt_boxes: np.ndarray, iou: float) -> tuple[float, np.ndarray]:
    """Share of the ground-truth boxes [G, 4] that are the best match of a predicted box [N, 4] with at least this IoU.

    Returns:
        recall: 0..1, nan without ground truth.
        positive_ids: indices of the predicted boxes that reach the IoU.
    """
    pred_boxes, gt_boxes = np.reshape(pred_boxes, (-1, 4)), np.reshape(gt_boxes, (-1, 4))
    if not len(gt_boxes):
        return float("nan"), np.zeros(0, dtype=int)
    overlaps = box_overlaps(pred_boxes, gt_boxes)
    positive_ids = np.flatnonzero(overlaps.max(axis=1) >= iou)
    return len(set(overlaps.argmax(axis=1)[positive_ids])) / len(gt_boxes), positive_ids
