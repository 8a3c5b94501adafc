"""What the RPN should say of every anchor of an image (Ren et al. 2015, section 3.1.2)."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mrcnn.ops import boxes
from mrcnn.ops.matching import CROWD_OVERLAP, AnchorBlocks, match_anchors
from mrcnn.ops.sampling import thin_out


def rpn_targets(
    anchors: AnchorBlocks,
    class_ids: ArrayLike,
    gt_boxes: ArrayLike,
    count: int,
    std_dev: ArrayLike,
    rng: Any,
    low: float = 0.3,
    high: float = 0.7,
    positive_share: float = 0.5,
    crowd_overlap: float = CROWD_OVERLAP,
) -> tuple[np.ndarray, np.ndarray]:
    """Match anchors with ground truth and leave a random choice of them.

    Positive are anchors with an IoU of at least `high` and, for every instance, those that overlap it most; negative
    are those below `low` and outside crowds.

    Args:
        anchors: A anchors in pixels.
        class_ids: [G] int; above 0 instances, below 0 crowds.
        gt_boxes: [G, 4] pixels.
        count: anchors to learn from, at most.
        std_dev: the four numbers by which deltas are divided.
        rng: `numpy.random.Generator`, or `numpy.random` for NumPy's global state.
        low, high: bounds of the IoU.
        positive_share: of `count`, at most.
        crowd_overlap: as in `match`.

    Returns:
        labels [A] int8: 1 positive, -1 negative, 0 neutral; and [count, 4] float64: deltas of the positive anchors in
        their order, zero-padded.
    """
    gt_boxes = np.asarray(gt_boxes)
    labels, best = match_anchors(anchors, np.asarray(class_ids), gt_boxes, low, high, True, crowd_overlap)
    labels = thin_out(labels, count, positive_share, rng)
    positive = np.flatnonzero(labels == 1)
    deltas = np.zeros((count, 4))
    if len(positive):
        rows = anchors.anchors.reshape(-1, 4)[positive]
        deltas[: len(positive)] = boxes.encode(rows, gt_boxes[best[positive]]) / np.asarray(std_dev)
    return labels, deltas
