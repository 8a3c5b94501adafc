"""Matching: which ground truth each candidate box (an anchor, a proposal) stands for, or that it stands for none.

One rule for the RPN (0.3 and 0.7, forced), RetinaNet (0.4 and 0.5, forced), SSD (0.5 and 0.5, forced) and the stages of
a cascade (0.5 and 0.5, 0.6 and 0.6, ...), in two forms: `match` for arrays and tensors, `match_anchors` for hundreds of
thousands of anchors. FCOS has no anchors, and another rule: `match_points`; YOLO looks at centres: `match_cells`.
"""

import numpy as np
from numpy.typing import ArrayLike

from mrcnn.ops.anchors import size_ious
from mrcnn.ops.boxes import Tensor, area, intersections, namespace, overlaps

# A candidate with this share of its own area inside a crowd is neither object nor background (Detectron's
# CROWD_FILTER_THRESH).
CROWD_OVERLAP = 0.7

# Bounds are held against values that come from other sums: they are taken as so much larger.
ROUNDING = 1 + 1e-9


def match(
    candidates: Tensor,
    class_ids: Tensor,
    gt_boxes: Tensor,
    low: float,
    high: float,
    forced: bool = False,
    crowd_overlap: float = CROWD_OVERLAP,
) -> tuple[Tensor, Tensor]:
    """Match every candidate with the ground truth, by comparing all with all.

    A candidate is positive with an IoU of at least `high` with an instance, negative with less than `low` with all of
    them; in between it is neither. Nor is one negative that lies in a crowd.

    Args:
        candidates: [..., N, 4].
        class_ids: [..., G] int; above 0 instances, below 0 crowds, 0 padding.
        gt_boxes: [..., G, 4] in the candidates' unit.
        low, high: bounds of the IoU, low <= high.
        forced: whether the candidates that overlap an instance most, all of them, are positive whatever their IoU. An
            instance that none overlaps makes none positive.
        crowd_overlap: share of a candidate's area inside one crowd from which on it lies in it.

    Returns:
        labels [..., N] int: 1 positive, -1 negative, 0 neither; and the index [..., N] int into G of the instance that
        the candidate overlaps most, the first of equals, 0 if there is none.
    """
    xp = namespace(candidates, class_ids, gt_boxes)
    if not gt_boxes.shape[-2]:  # none has no maximum; padding has
        class_ids, gt_boxes = xp.zeros((*class_ids.shape[:-1], 1)), xp.zeros((*gt_boxes.shape[:-2], 1, 4))
    iou = xp.where((class_ids > 0)[..., None, :], overlaps(candidates, gt_boxes), 0.0)
    inside = xp.where((class_ids < 0)[..., None, :], overlaps(candidates, gt_boxes, over="first"), 0.0)
    best_iou = xp.max(iou, axis=-1)
    positive = best_iou >= high
    if forced:
        most = xp.max(iou, axis=-2, keepdims=True)
        positive = xp.logical_or(positive, xp.any(xp.logical_and(iou == most, most > 0), axis=-1))
    negative = xp.logical_and(best_iou < low, xp.max(inside, axis=-1) < crowd_overlap)
    return xp.where(positive, 1, xp.where(negative, -1, 0)), xp.argmax(iou, axis=-1)


class AnchorBlocks:
    """Anchors in blocks of neighbours, of which `match_anchors` can tell at once that an instance is too far or of too
    different a size.

    Args:
        anchors: [A, 4], in an order in which neighbours tend to be alike, as that of `generate_pyramid_anchors`.
        size: anchors in a block.
    """

    def __init__(self, anchors: ArrayLike, size: int = 256) -> None:
        anchors = np.asarray(anchors, "float64")
        self.count, self.size = len(anchors), size
        self.anchors = np.pad(anchors, ((0, -self.count % size), (0, 0)), "edge").reshape(-1, size, 4)
        self.outlines = np.concatenate([self.anchors[..., :2].min(axis=1), self.anchors[..., 2:].max(axis=1)], axis=-1)
        areas = area(self.anchors)
        self.smallest, self.largest = areas.min(axis=1), areas.max(axis=1)

    def where(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The anchors of the blocks that are True in `chosen` [blocks]: their indices [n] and boxes [n, 4]."""
        blocks = np.flatnonzero(chosen)
        rows = blocks[:, None] * self.size + np.arange(self.size)
        return rows.ravel(), self.anchors[blocks].reshape(-1, 4)

    def highest_iou(self, box: np.ndarray) -> np.ndarray:
        """[blocks] that no anchor of a block exceeds in its IoU with a box [1, 4].

        An anchor shares no more with a box than the outline of its block does, nor more than its own area. At a given
        share the IoU falls with the anchor's area; while the anchor lies wholly inside, it grows.
        """
        shared = intersections(self.outlines, box)[:, 0]
        own = np.clip(shared, self.smallest, self.largest)
        shared = np.minimum(shared, own)
        union = own + area(box) - shared
        return ROUNDING * shared / np.where(union > 0, union, 1)

    def highest_share(self, box: np.ndarray) -> np.ndarray:
        """[blocks] that no anchor of a block exceeds in the share of its area inside a box [1, 4]."""
        return ROUNDING * intersections(self.outlines, box)[:, 0] / np.where(self.smallest > 0, self.smallest, 1)


def match_anchors(
    blocks: AnchorBlocks,
    class_ids: np.ndarray,
    gt_boxes: np.ndarray,
    low: float,
    high: float,
    forced: bool = False,
    crowd_overlap: float = CROWD_OVERLAP,
) -> tuple[np.ndarray, np.ndarray]:
    """As `match` for the anchors of `blocks`, without comparing what cannot matter.

    Returns:
        labels [A] int8 and the index [A] int64; where a label is -1, the index means nothing.
    """
    gt_boxes = np.asarray(gt_boxes, "float64").reshape(-1, 1, 4)
    instances, crowds = np.flatnonzero(class_ids > 0), np.flatnonzero(class_ids < 0)
    anchors = blocks.anchors.reshape(-1, 4)
    best_iou, best, chosen = np.zeros(len(anchors)), np.zeros(len(anchors), int), np.zeros(len(anchors), bool)

    def note(i, rows, iou):
        better = iou > best_iou[rows]
        best_iou[rows[better]], best[rows[better]] = iou[better], i

    for i in instances:
        bound = blocks.highest_iou(gt_boxes[i])
        # With small instances no bound reaches `low`: then the most promising blocks say how low the others may lie.
        least = min(low, bound.max())
        while True:
            rows, near = blocks.where((bound >= least) & (bound > 0))
            iou = overlaps(near, gt_boxes[i])[:, 0]
            most = iou.max(initial=0)
            if not forced or most >= least:
                break
            least = most
        matched = np.flatnonzero(iou >= low)
        note(i, rows[matched], iou[matched])
        if forced and most > 0:
            chosen[rows[iou == most]] = True

    labels = np.where(best_iou >= high, 1, np.where(best_iou < low, -1, 0)).astype("int8")
    for i in crowds:
        rows, near = blocks.where(blocks.highest_share(gt_boxes[i]) >= crowd_overlap)
        rows = rows[overlaps(near, gt_boxes[i], over="first")[:, 0] >= crowd_overlap]
        labels[rows] = np.maximum(labels[rows], 0)
    # What was chosen at an IoU below `low` may overlap another instance more.
    rows = np.flatnonzero(chosen & (best_iou < low))
    for i in instances:
        note(i, rows, overlaps(anchors[rows], gt_boxes[i])[:, 0])
    labels[chosen] = 1
    return labels[: blocks.count], best[: blocks.count]


def match_points(
    places: np.ndarray,
    radius: float,
    bounds: np.ndarray,
    class_ids: np.ndarray,
    gt_boxes: np.ndarray,
    crowd_overlap: float = CROWD_OVERLAP,
) -> tuple[np.ndarray, np.ndarray]:
    """Match places without looking at overlaps (Tian et al. 2019, section 3): a place is positive that lies inside an
    instance, near its centre, on the level for its size; of several such instances the smallest counts.

    Args:
        places: [A, 4], squares about the places, as large as a cell of their level.
        radius: how near, in sides of the square along both axes.
        bounds: [A, 2]; the farthest side of the instance is farther away than the first and no farther than the second.
        class_ids: [G] int; above 0 instances, below 0 crowds.
        gt_boxes: [G, 4] in the places' unit.
        crowd_overlap: share of a square's area inside a crowd from which on it lies in it.

    Returns:
        labels [A] int8, 1 positive, -1 negative, 0 in a crowd; and the index [A] int64 into G of the instance.
    """
    places, gt_boxes = np.asarray(places, "float64"), np.asarray(gt_boxes, "float64").reshape(-1, 4)
    centres, side = (places[:, :2] + places[:, 2:]) / 2, places[:, 3] - places[:, 1]
    smallest, best = np.full(len(places), np.inf), np.zeros(len(places), int)
    labels = np.full(len(places), -1, "int8")
    for i in np.flatnonzero(class_ids > 0):
        box, size = gt_boxes[i], area(gt_boxes[i])
        distances = np.concatenate([centres - box[:2], box[2:] - centres], axis=-1)
        farthest, off = distances.max(axis=1), np.abs(centres - (box[:2] + box[2:]) / 2).max(axis=1)
        fits = (distances.min(axis=1) > 0) & (off < radius * side) & (size < smallest)
        fits &= (farthest > bounds[:, 0]) & (farthest <= bounds[:, 1])
        labels[fits], best[fits], smallest[fits] = 1, i, size
    for i in np.flatnonzero(class_ids < 0):
        inside = overlaps(places, gt_boxes[i : i + 1], over="first")[:, 0] >= crowd_overlap
        labels[inside & (labels < 0)] = 0
    return labels, best


def match_cells(
    anchors: np.ndarray,
    cells: np.ndarray,
    class_ids: np.ndarray,
    gt_boxes: np.ndarray,
    alike: float = 1.0,
    crowd_overlap: float = CROWD_OVERLAP,
) -> tuple[np.ndarray, np.ndarray]:
    """Match anchors by cells (Redmon et al. 2016, section 2; Redmon and Farhadi 2018, section 2.1): of the anchors in
    whose cell the centre of an instance lies, those are positive whose shape is most like the instance's: whose IoU
    with it were highest if their centres were one. Of several such instances the smallest counts.

    Args:
        anchors, cells: [A, 4] each, cells without a gap between them on each map.
        class_ids: [G] int; above 0 instances, below 0 crowds.
        gt_boxes: [G, 4] in the anchors' unit.
        alike: that IoU from which on the others are positive too; 1 for the best alone.
        crowd_overlap: share of an anchor's area inside a crowd from which on it lies in it.

    Returns:
        labels [A] int8, 1 positive, -1 negative, 0 in a crowd; and the index [A] int64 into G of the instance.
    """
    gt_boxes = np.asarray(gt_boxes, "float64").reshape(-1, 4)
    sides = anchors[:, 2:] - anchors[:, :2]
    smallest, best = np.full(len(anchors), np.inf), np.zeros(len(anchors), int)
    labels = np.full(len(anchors), -1, "int8")
    for i in np.flatnonzero(class_ids > 0):
        centre, size = (gt_boxes[i, :2] + gt_boxes[i, 2:]) / 2, gt_boxes[i, 2:] - gt_boxes[i, :2]
        rows = np.flatnonzero(((cells[:, :2] <= centre) & (centre < cells[:, 2:])).all(axis=1))
        iou = size_ious(sides[rows], size[None])[:, 0]
        rows = rows[iou * ROUNDING >= min(alike, iou.max(initial=0))]
        rows = rows[size.prod() < smallest[rows]]
        labels[rows], best[rows], smallest[rows] = 1, i, size.prod()
    for i in np.flatnonzero(class_ids < 0):
        inside = overlaps(anchors, gt_boxes[i : i + 1], over="first")[:, 0] >= crowd_overlap
        labels[inside & (labels < 0)] = 0
    return labels, best
