"""Corners of boxes (Law and Deng 2018): pooling that sees them from afar, and pairs of them as detections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from mrcnn.layers.batch_norm import BatchNorm
from mrcnn.layers.dense_detections import best_pairs
from mrcnn.layers.detections import image_window, normalize_by_meta
from mrcnn.layers.peaks import cell_starts, map_rows, map_shape, peaks
from mrcnn.ops import boxes
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.gather import gather
from mrcnn.ops.nms import nms_indices

CORNERS = ("top_left", "bottom_right")

# Cells that a maximum reaches over where the graph does not know how many there are: 4096 pixels at a stride of 4.
LONGEST = 1024


def running_maximum(x: Tensor, axis: int, reverse: bool = False) -> Tensor:
    """The highest value along an axis up to every place, or with `reverse` from there on; of the shape of `x`.

    Windows of 1, 2, 4, ... places: one of twice the length is the higher of two. Keras's associative scan needs sizes
    that the graph knows.
    """

    def part(first, last):
        return x[(*[slice(None)] * axis, slice(first, last))]

    length, step = x.shape[axis] or LONGEST, 1
    while step < length:
        higher = ops.maximum(part(step, None), part(None, -step))
        x = ops.concatenate([higher, part(-step, None)] if reverse else [part(None, step), higher], axis=axis)
        step *= 2
    return x


@keras.saving.register_keras_serializable("mrcnn")
class RunningMaximum(layers.Layer):
    """`running_maximum` of maps [B, h, w, C]."""

    def __init__(self, axis: int, reverse: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis, self.reverse = axis, reverse

    def call(self, x: Tensor) -> Tensor:
        return running_maximum(x, self.axis, self.reverse)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis, "reverse": self.reverse}


def corner_pooling(
    x: Tensor, corner: str, channels: int, train_bn: bool | None = True, epsilon: float = 0.001
) -> Tensor:
    """The module before what is said of a corner (section 3.4, figure 7): the sum of two maps, one with its maximum
    along columns and one along rows, beside the input. All convolutions have BatchNorm.

    At a corner there is nothing of the object. The top left one sees below itself how far left the object reaches, and
    to its right how far up; the bottom right one above itself and to its left.

    Args:
        x: [B, h, w, C].
        corner: of `CORNERS`.
        channels: of the result, twice those that are pooled.
        train_bn, epsilon: of BatchNorm.
    """

    def conv(x, filters, size, name):
        name = f"dense_{corner}_{name}"
        x = layers.Conv2D(
            filters, size, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
        )(x)
        return BatchNorm(frozen=train_bn is False, epsilon=epsilon, momentum=0.9, name=f"{name}_bn")(x)

    def relu(x):
        return layers.Activation("relu")(x)

    pooled = [
        RunningMaximum(axis, reverse=corner == "top_left")(relu(conv(x, max(1, channels // 2), 3, name)))
        for axis, name in ((1, "columns"), (2, "rows"))
    ]
    both = conv(layers.Add()(pooled), channels, 3, "pooled")
    return relu(conv(relu(layers.Add()([both, conv(x, channels, 1, "beside")])), channels, 3, "last"))


@keras.saving.register_keras_serializable("mrcnn")
class CornerDetectionLayer(layers.Layer):
    """Picks detections of pairs of corners (section 4.2): the highest peaks of both kinds, all pairs of one class whose
    embeddings are alike and of which the second corner lies below and to the right of the first.

    Args:
        max_instances: D, detections per image at most.
        min_confidence: lowest score of a detection, the mean of its corners'.
        nms_threshold: IoU above which the lower scored of two detections of a class is dropped.
        corners: of each kind that are paired, by score.
        stride: pixels of a cell's side.
        normalization: of the boxes, as `boxes.normalize` takes it.
        distance: between the embeddings of a pair, at most.
        pairs: that enter the suppression, at most.

    Inputs: [heatmap logits [B, h, w, K - 1], embeddings [B, h, w, 1], offsets [B, h, w, 2] (y, x) of corners in their
    cells, of top left corners; the same three of bottom right ones; image_meta [B, 12 + K]].
    Output: [B, D, 6] of (y1, x1, y2, x2 normalised, class id, score), highest score first, zero-padded.
    """

    def __init__(
        self,
        max_instances: int = 100,
        min_confidence: float = 0.01,
        nms_threshold: float = 0.5,
        corners: int = 100,
        stride: int = 4,
        normalization: str = "edges",
        distance: float = 0.5,
        pairs: int = 1000,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.max_instances = max_instances
        self.min_confidence = min_confidence
        self.nms_threshold = nms_threshold
        self.corners = corners
        self.stride = stride
        self.normalization = normalization
        self.distance = distance
        self.pairs = pairs

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        *maps, image_meta = keras.tree.map_structure(ops.stop_gradient, list(inputs))
        first, second = self._best(*maps[:3]), self._best(*maps[3:])
        scores, order = ops.top_k(*self._paired(first, second))
        order = ops.cast(order, "int32")
        rows, columns = order // second[0].shape[1], order % second[0].shape[1]
        pixels = ops.concatenate([gather(first[3], rows), gather(second[3], columns)], axis=-1) * self.stride
        found = normalize_by_meta(pixels, image_meta, self.normalization)
        found = boxes.clip(found, image_window(image_meta, self.normalization)[:, None])
        classes = gather(first[1], rows) + 1
        valid = ops.logical_and(ops.logical_and(scores > 0, scores >= self.min_confidence), boxes.area(found) > 0)
        keep, valid = nms_indices(found, valid, self.nms_threshold, self.max_instances, classes)
        rows = ops.concatenate([found, ops.cast(classes, "float32")[..., None], scores[..., None]], axis=-1)
        return gather(rows, keep) * ops.cast(valid, "float32")[..., None]

    def _best(self, logits, embeddings, offsets):
        """Of the highest peaks scores [B, n], classes [B, n] from 0 on, embeddings [B, n] and places [B, n, 2] in
        cells."""
        scores, cells, classes = best_pairs(map_rows(peaks(ops.sigmoid(logits))), self.corners)
        places = cell_starts(cells, map_shape(logits)[1]) + gather(map_rows(offsets), cells)
        return scores, classes, gather(map_rows(embeddings), cells)[..., 0], places

    def _paired(self, first, second):
        """Scores [B, n * m] of all pairs, 0 of those that are none, and how many of them go on."""
        (score, kind, embedding, place), (score2, kind2, embedding2, place2) = (
            [ops.expand_dims(x, axis) for x in corners] for corners, axis in ((first, 2), (second, 1))
        )
        fits = ops.logical_and(ops.equal(kind, kind2), ops.abs(embedding - embedding2) <= self.distance)
        fits = ops.logical_and(fits, ops.all(place < place2, axis=-1))
        fits = ops.logical_and(fits, ops.logical_and(score > 0, score2 > 0))  # where there are fewer peaks than asked
        count = first[0].shape[1] * second[0].shape[1]
        return ops.reshape(ops.where(fits, (score + score2) / 2, 0.0), (-1, count)), min(self.pairs, count)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple:
        return (input_shape[0][0], self.max_instances, 6)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "max_instances": self.max_instances,
            "min_confidence": self.min_confidence,
            "nms_threshold": self.nms_threshold,
            "corners": self.corners,
            "stride": self.stride,
            "normalization": self.normalization,
            "distance": self.distance,
            "pairs": self.pairs,
        }
