"""From the scores and boxes of every place to detections."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import keras
from keras import layers, ops

from mrcnn.layers.detections import image_window
from mrcnn.ops import boxes
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.gather import gather
from mrcnn.ops.nms import nms_indices

# CODING -> function(anchors, numbers) that gives boxes: deltas of anchors; the same of any size and in units of 1, as
# YOLO's are; or distances of sides from places.
CODINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "deltas": boxes.decode,
    "cells": partial(boxes.decode, limit=20.0),
    "sides": boxes.decode_sides,
}


def best_pairs(scores: Tensor, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best `limit` pairs of a place and a class of scores [B, A, C], or fewer if there are no more: scores [B, n],
    places [B, n] int32 and classes [B, n] int32. A may be unknown in the graph; -1 then fills what is missing."""
    count, classes = scores.shape[1:]
    flat = ops.reshape(scores, (-1, ops.shape(scores)[1] * classes))
    if count is None:
        flat = ops.pad(flat, [[0, 0], [0, limit]], constant_values=-1.0)
    values, index = ops.top_k(flat, limit if count is None else min(limit, count * classes))
    index = ops.where(values >= 0, ops.cast(index, "int32"), 0)
    return values, index // classes, index % classes


def best_of_each_class(scores: Tensor, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """As `best_pairs`, with the limit for each class."""
    count, classes = scores.shape[1:]
    values, places = ops.top_k(ops.transpose(scores, (0, 2, 1)), min(limit, count))
    ids = ops.broadcast_to(ops.arange(classes, dtype="int32")[None, :, None], ops.shape(values))
    return tuple(ops.reshape(x, (-1, classes * values.shape[2])) for x in (values, ops.cast(places, "int32"), ids))


# What a limit of candidates is for.
LIMITS = {"level": best_pairs, "class": best_of_each_class}


@keras.saving.register_keras_serializable("mrcnn")
class DenseDetectionLayer(layers.Layer):
    """Picks detections of what a dense head says of every place: best scores, boxes clipped to the image, suppression.

    Args:
        max_instances: D, detections per image at most.
        min_confidence: lowest score of a detection.
        nms_threshold: IoU above which the lower scored of two detections of a class is dropped.
        candidates: pairs of a place and a class, by score, of each level or each class, that go on.
        limit: what `candidates` is for, a key of `LIMITS`.
        coding: what the head says of boxes, a key of `CODINGS`.
        std_dev: the four numbers by which "deltas" are divided.
        normalization: of the boxes, as `boxes.normalize` takes it.
        pairs: candidates of all levels or classes that enter the suppression, at most.

    Inputs: [scores, a list of [B, a, K - 1] without the background, an item for each level; what is said of the boxes,
    a list of [B, a, 4]; anchors [B, A, 4] normalised, levels behind each other; image_meta [B, 12 + K]].
    Output: [B, D, 6] of (y1, x1, y2, x2 normalised, class id, score), highest score first, zero-padded.
    """

    def __init__(
        self,
        max_instances: int = 100,
        min_confidence: float = 0.05,
        nms_threshold: float = 0.5,
        candidates: int = 1000,
        limit: str = "level",
        coding: str = "deltas",
        std_dev: Iterable[float] = (1.0, 1.0, 1.0, 1.0),
        normalization: str = "edges",
        pairs: int = 5000,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.max_instances = max_instances
        self.min_confidence = min_confidence
        self.nms_threshold = nms_threshold
        self.candidates = candidates
        self.limit = limit
        self.coding = coding
        self.std_dev = tuple(float(x) for x in std_dev)
        self.normalization = normalization
        self.pairs = pairs

    def call(self, inputs: Sequence[Any]) -> Tensor:
        scores, numbers, anchors, image_meta = keras.tree.map_structure(ops.stop_gradient, inputs)
        start: Any = 0
        found = []
        for level_scores, level_numbers in zip(scores, numbers, strict=True):
            found.append(self._best(level_scores, level_numbers, anchors, start))
            start = start + ops.shape(level_scores)[1]
        ranks, class_ids, decoded = (ops.concatenate(values, axis=1) for values in zip(*found, strict=True))
        ranks, order = ops.top_k(ranks, min(self.pairs, ranks.shape[1]))
        class_ids = gather(class_ids, order)
        decoded = gather(decoded, order)
        decoded = boxes.clip(decoded, image_window(image_meta, self.normalization)[:, None])
        valid = ops.logical_and(ranks >= self.min_confidence, boxes.area(decoded) > 0)
        keep, valid = nms_indices(decoded, valid, self.nms_threshold, self.max_instances, class_ids)
        rows = ops.concatenate([decoded, ops.cast(class_ids, "float32")[..., None], ranks[..., None]], axis=-1)
        return gather(rows, keep) * ops.cast(valid, "float32")[..., None]

    def _best(self, scores, numbers, anchors, start):
        """Scores [B, n], class ids [B, n] and boxes [B, n, 4] of a level's best candidates."""
        ranks, places, classes = LIMITS[self.limit](scores, self.candidates)
        numbers = gather(numbers, places)
        anchors = gather(anchors, start + places)
        if self.coding == "deltas":
            numbers = numbers * ops.convert_to_tensor(self.std_dev, dtype="float32")
        return ranks, classes + 1, CODINGS[self.coding](anchors, numbers)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple:
        return (input_shape[2][0], self.max_instances, 6)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "max_instances": self.max_instances,
            "min_confidence": self.min_confidence,
            "nms_threshold": self.nms_threshold,
            "candidates": self.candidates,
            "limit": self.limit,
            "coding": self.coding,
            "std_dev": self.std_dev,
            "normalization": self.normalization,
            "pairs": self.pairs,
        }
