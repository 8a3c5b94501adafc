"""From heatmaps to detections: peaks in the place of suppression, and joints that snap to theirs (Zhou et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import keras
from keras import layers, ops

from mrcnn.layers.dense_detections import best_pairs
from mrcnn.layers.detections import image_window, normalize_by_meta
from mrcnn.ops import boxes
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.gather import gather, largest
from mrcnn.ops.heatmaps import cells_of


def peaks(scores: Tensor) -> Tensor:
    """Scores [B, h, w, C] of the cells that no neighbour exceeds, 0 elsewhere: a 3x3 maximum."""
    highest = ops.max_pool(scores, 3, strides=1, padding="same", data_format="channels_last")
    return ops.where(ops.equal(scores, highest), scores, 0.0)


def map_rows(x: Tensor) -> Tensor:
    """A map [B, h, w, n] as [B, h * w, n]."""
    _, h, w, n = x.shape
    return ops.reshape(x, (-1, h * w if h and w else ops.shape(x)[1] * ops.shape(x)[2], n))


def map_shape(x: Tensor) -> tuple[Any, Any]:
    """(rows, columns) of a map, tensors where the graph does not know them."""
    rows, columns = (x.shape[i] or ops.shape(x)[i] for i in (1, 2))
    return rows, columns


def _best_of_each(rows, limit):
    """The best `limit` of [B, A, n] for each of n: values [B, n, limit] and places [B, n, limit] int32; 0 and the first
    place where there are no more."""
    count = rows.shape[1]
    spare = limit if count is None else max(0, limit - count)
    values, places = ops.top_k(ops.transpose(ops.pad(rows, [[0, 0], [0, spare], [0, 0]]), (0, 2, 1)), limit)
    return values, ops.where(values > 0, ops.cast(places, "int32"), 0)


def cell_starts(places: Tensor, columns: Any) -> Tensor:
    """Upper left corners [..., 2] in cells of places [...]."""
    return ops.cast(ops.stack([places // columns, places % columns], axis=-1), "float32")


@keras.saving.register_keras_serializable("mrcnn")
class PeakDetectionLayer(layers.Layer):
    """Picks detections of the highest peaks of heatmaps.

    Args:
        max_instances: D, detections per image.
        min_confidence: lowest score of a detection.
        stride: pixels of a cell's side.
        normalization: of the boxes, as `boxes.normalize` takes it.
        least_joint: score from which on a peak of a joint counts.
        reach: how far from where a detection's centre says it is a joint's peak may be, as a share of the box's longer
            side. It must be in the box, too.

    Inputs: [heatmap logits [B, h, w, K - 1], sizes [B, h, w, 2] in cells, offsets [B, h, w, 2] of centres in their
    cells, image_meta [B, 12 + K]]; with joints also [joint logits [B, h, w, J], vectors [B, h, w, 2 J] from the corner
    of a centre's cell to its joints, in cells, offsets [B, h, w, 2] of joints in their cells]. All pairs are (y, x).
    Output: [B, D, 6] of (y1, x1, y2, x2 normalised, class id, score), highest score first, zero-padded; with joints
    also [B, D, J, 3] of (x, y, score), in pixels of the molded image.
    """

    def __init__(
        self,
        max_instances: int = 100,
        min_confidence: float = 0.01,
        stride: int = 4,
        normalization: str = "edges",
        least_joint: float = 0.1,
        reach: float = 0.3,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.max_instances = max_instances
        self.min_confidence = min_confidence
        self.stride = stride
        self.normalization = normalization
        self.least_joint = least_joint
        self.reach = reach

    def call(self, inputs: Sequence[Any]) -> Any:
        logits, sizes, offsets, image_meta, *joints = keras.tree.map_structure(ops.stop_gradient, list(inputs))
        _, columns = map_shape(logits)
        scores, places, classes = best_pairs(map_rows(peaks(ops.sigmoid(logits))), self.max_instances)
        corners = cell_starts(places, columns)
        centres, half = corners + gather(map_rows(offsets), places), gather(map_rows(sizes), places) / 2
        pixels = ops.concatenate([centres - half, centres + half], axis=-1) * self.stride
        found = normalize_by_meta(pixels, image_meta, self.normalization)
        found = boxes.clip(found, image_window(image_meta, self.normalization)[:, None])
        valid = ops.logical_and(scores >= self.min_confidence, boxes.area(found) > 0)
        detections = ops.concatenate([found, ops.cast(classes + 1, "float32")[..., None], scores[..., None]], axis=-1)
        # Those that are none go behind the others.
        _, order = ops.top_k(ops.where(valid, scores, -1.0), scores.shape[1])
        detections = self._padded(gather(detections * ops.cast(valid, "float32")[..., None], order))
        if not joints:
            return detections
        points = self._joints(pixels / self.stride, corners, places, *joints)
        points = gather(ops.reshape(points, (-1, points.shape[1], 3 * points.shape[2])), order)
        return detections, ops.reshape(self._padded(points), (-1, self.max_instances, joints[0].shape[3], 3))

    def _padded(self, x):
        """[B, D, n] of [B, n or fewer, n]."""
        return ops.pad(x, [[0, 0], [0, self.max_instances - x.shape[1]], [0, 0]])

    def _joints(self, found, corners, places, logits, vectors, offsets):
        """[B, D, J, 3] of the boxes [B, D, 4] in cells: where the centre says, or the nearest peak about there."""
        count, shape = logits.shape[3], map_shape(logits)
        heat = ops.sigmoid(logits)
        said = ops.reshape(gather(map_rows(vectors), places), (-1, places.shape[1], count, 2)) + corners[:, :, None]
        said = ops.transpose(said, (0, 2, 1, 3))  # [B, J, D, 2]
        best, at = _best_of_each(map_rows(peaks(heat)), self.max_instances)  # [B, J, k]
        limit = best.shape[2]
        offset = gather(map_rows(offsets), ops.reshape(at, (-1, count * limit)))
        peak = cell_starts(at, shape[1]) + ops.reshape(offset, (-1, count, limit, 2))
        distance = ops.sqrt(ops.sum(ops.square(said[:, :, :, None] - peak[:, :, None]), axis=-1))  # [B, J, D, k]
        y1, x1, y2, x2 = (found[:, None, :, None, i] for i in range(4))
        y, x, score = peak[:, :, None, :, 0], peak[:, :, None, :, 1], best[:, :, None]
        reach = self.reach * ops.maximum(y2 - y1, x2 - x1)
        conditions = y >= y1, y <= y2, x >= x1, x <= x2, score >= self.least_joint, distance <= reach
        near = reduce(ops.logical_and, conditions)
        nearest = largest(ops.where(near, -distance, -1e9))
        snaps = ops.any(near, axis=-1)
        cells, _ = cells_of(said, shape)
        own = ops.take_along_axis(ops.transpose(map_rows(heat), (0, 2, 1)), cells, axis=2)
        y, x = (
            self.stride * ops.where(snaps, ops.take_along_axis(peak[..., i], nearest, axis=2), said[..., i]) - 0.5
            for i in (0, 1)
        )
        points = ops.stack([x, y, ops.where(snaps, ops.take_along_axis(best, nearest, axis=2), own)], axis=-1)
        return ops.transpose(points, (0, 2, 1, 3))

    def compute_output_shape(self, input_shape: Sequence[Any]) -> Any:
        batch = input_shape[0][0]
        detections = batch, self.max_instances, 6
        return [detections, (batch, self.max_instances, input_shape[4][3], 3)] if len(input_shape) > 4 else detections

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "max_instances": self.max_instances,
            "min_confidence": self.min_confidence,
            "stride": self.stride,
            "normalization": self.normalization,
            "least_joint": self.least_joint,
            "reach": self.reach,
        }
