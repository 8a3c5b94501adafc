"""What a one-stage detector should say at every place of every map."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mrcnn.data.samples import Sample
from mrcnn.ops.matching import AnchorBlocks, match_anchors, match_cells, match_points

# Function of class ids [G] and boxes [G, 4] in pixels: labels [A], 1 positive, -1 negative, 0 neither, and the index
# [A] of the instance that a positive place stands for.
Matcher = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class DenseTargets:
    """Encoder of the instance that every place stands for: input_dense_class_ids [A] int32, 0 background, -1 neither;
    input_dense_boxes [A, 4] float32, its box in pixels, zeros where there is none; and input_anchors [A, 4] float32.

    Args:
        matcher: `by_overlap`, `by_place` or `by_cell`.
        anchors: [A, 4] as the graph wants them.
    """

    def __init__(self, matcher: Matcher, anchors: np.ndarray) -> None:
        self.matcher, self.anchors = matcher, anchors

    def __call__(self, sample: Sample, rng: np.random.Generator) -> dict[str, np.ndarray]:
        labels, best = self.matcher(sample.class_ids, sample.boxes)
        class_ids, boxes = np.where(labels < 0, 0, -1).astype("int32"), np.zeros((len(labels), 4), "float32")
        positive = np.flatnonzero(labels == 1)
        class_ids[positive], boxes[positive] = sample.class_ids[best[positive]], sample.boxes[best[positive]]
        return {"input_dense_class_ids": class_ids, "input_dense_boxes": boxes, "input_anchors": self.anchors}


def by_overlap(anchors: np.ndarray, low: float, high: float) -> Matcher:
    """The matcher of anchors [A, 4] in pixels by their IoU with instances; see `match_anchors`."""
    blocks = AnchorBlocks(anchors)
    return lambda class_ids, boxes: match_anchors(blocks, class_ids, boxes, low, high, forced=True)


def by_place(places: np.ndarray, counts: Sequence[int], radius: float) -> Matcher:
    """The matcher of squares [A, 4] in pixels by where instances lie; see `match_points`.

    The sides of a level's instances are at most 8 and at least 4 squares away from their places; without the latter on
    the first level, and without the former on the last.

    Args:
        places: levels behind each other.
        counts: places of each level.
        radius: as of `match_points`.
    """
    bounds = (places[:, 3] - places[:, 1])[:, None] * np.array([4.0, 8.0])
    bounds[: counts[0], 0], bounds[len(places) - counts[-1] :, 1] = 0, np.inf
    return lambda class_ids, boxes: match_points(places, radius, bounds, class_ids, boxes)


def by_cell(anchors: np.ndarray, cells: np.ndarray, alike: float = 1.0) -> Matcher:
    """The matcher of anchors [A, 4] in pixels by the cells [A, 4] that they are in; see `match_cells`."""
    return lambda class_ids, boxes: match_cells(anchors, cells, class_ids, boxes, alike)
