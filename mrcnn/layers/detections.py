"""From class probabilities and deltas of the RoIs to detections."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
from keras import layers, ops
from numpy.typing import ArrayLike

from mrcnn.ops import boxes, meta
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.gather import gather
from mrcnn.ops.nms import nms_indices

# With DETECTION_CLASSES "all", pairs of an RoI and a class that enter the suppression, at most.
PAIRS = 5000


def _best_class(probs):
    """For each RoI its best class: RoIs [B, N], class ids, scores, those of background being no candidates (-1)."""
    # Not argmax, see `ops.gather.largest`.
    scores, class_ids = (x[..., 0] for x in ops.top_k(probs, 1))
    class_ids = ops.cast(class_ids, "int32")
    scores = ops.where(class_ids > 0, scores, -1.0)
    rois = ops.broadcast_to(ops.arange(probs.shape[1], dtype="int32"), ops.shape(class_ids))
    return rois, class_ids, scores


def _all_classes(probs):
    """The best `PAIRS` of an RoI and a class that is not background: RoIs [B, n], class ids, scores."""
    count, classes = probs.shape[1], probs.shape[2] - 1
    pairs = ops.reshape(probs[:, :, 1:], (-1, count * classes))
    scores, index = ops.top_k(pairs, min(PAIRS, count * classes))
    index = ops.cast(index, "int32")
    return index // classes, index % classes + 1, scores


# DETECTION_CLASSES -> function(probabilities [B, N, K]) that gives candidates.
CANDIDATES: dict[str, Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]] = {"best": _best_class, "all": _all_classes}


def refine_detections(
    rois: Tensor,
    probs: Tensor,
    deltas: Tensor,
    window: Tensor,
    max_instances: int,
    min_confidence: float,
    nms_threshold: float,
    std_dev: ArrayLike,
    classes: str = "best",
    suppression: str = "class",
) -> Tensor:
    """The computation of `DetectionLayer`, with each image's window [B, 4] normalised in place of its meta."""
    rois, probs, deltas = (ops.cast(x, "float32") for x in (rois, probs, deltas))
    # Rows of padding are no RoIs, whatever the head says of them.
    probs = ops.where(ops.any(ops.not_equal(rois, 0), axis=-1, keepdims=True), probs, -1.0)
    index, class_ids, scores = CANDIDATES[classes](probs)
    ranks, order = ops.top_k(ops.where(scores >= min_confidence, scores, -1.0), scores.shape[1])
    index, class_ids = (gather(x, order) for x in (index, class_ids))

    rois = gather(rois, index)
    flat = ops.reshape(deltas, (-1, deltas.shape[1] * deltas.shape[2], 4))
    own = class_ids if deltas.shape[2] > 1 else 0  # one box for all classes
    deltas = gather(flat, index * deltas.shape[2] + own)
    refined = boxes.decode(rois, deltas * ops.convert_to_tensor(std_dev, dtype="float32"))
    refined = boxes.clip(refined, window[:, None, :])

    valid = ops.logical_and(ranks >= 0, boxes.area(refined) > 0)
    groups = class_ids if suppression == "class" else None
    threshold = nms_threshold if suppression != "none" else 1.0  # no IoU is above that
    keep, valid = nms_indices(refined, valid, threshold, max_instances, groups)
    rows = ops.concatenate([refined, ops.cast(class_ids, "float32")[..., None], ranks[..., None]], axis=-1)
    return gather(rows, keep) * ops.cast(valid, "float32")[..., None]


@keras.saving.register_keras_serializable("mrcnn")
class DetectionLayer(layers.Layer):
    """Picks detections: a class of each RoI, its own deltas, clipped to the image's window, suppression.

    Args:
        max_instances: D, detections per image at most.
        min_confidence: lowest score of a detection.
        nms_threshold: IoU above which the lower scored of two detections is dropped.
        std_dev: the four numbers by which the head's deltas are divided.
        classes: "best" for the best class of each RoI, "all" for every one with a high enough score.
        suppression: among those of one "class", among "all", or "none".
        normalization: of the boxes, as `boxes.normalize` takes it.

    Inputs: [rois [B, N, 4] normalised, probabilities [B, N, K], deltas [B, N, K, 4], or [B, N, 1, 4] if they are the
    same for all classes, image_meta [B, 12 + K]].
    Output: [B, D, 6] of (y1, x1, y2, x2 normalised, class id, score), highest score first, zero-padded.
    """

    def __init__(
        self,
        max_instances: int = 100,
        min_confidence: float = 0.7,
        nms_threshold: float = 0.3,
        std_dev: Iterable[float] = (0.1, 0.1, 0.2, 0.2),
        classes: str = "best",
        suppression: str = "class",
        normalization: str = "pixels",
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.max_instances = max_instances
        self.min_confidence = min_confidence
        self.nms_threshold = nms_threshold
        self.std_dev = tuple(std_dev)
        self.classes = classes
        self.suppression = suppression
        self.normalization = normalization

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        rois, probs, deltas, image_meta = inputs
        return refine_detections(
            rois,
            probs,
            deltas,
            image_window(image_meta, self.normalization),
            self.max_instances,
            self.min_confidence,
            self.nms_threshold,
            self.std_dev,
            self.classes,
            self.suppression,
        )

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple:
        return (input_shape[0][0], self.max_instances, 6)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "max_instances": self.max_instances,
            "min_confidence": self.min_confidence,
            "nms_threshold": self.nms_threshold,
            "std_dev": self.std_dev,
            "classes": self.classes,
            "suppression": self.suppression,
            "normalization": self.normalization,
        }


def normalize_by_meta(pixels: Tensor, image_meta: Tensor, normalization: str = "pixels") -> Tensor:
    """Boxes [B, n, 4] in pixels of molded images, normalised as `boxes.normalize` does, by the sizes in their meta."""
    last = float(normalization == "pixels")
    shape = ops.cast(meta.parse_image_meta(image_meta)["image_shape"], "float32")
    scale = ops.concatenate([shape[:, None, :2], shape[:, None, :2]], axis=-1) - last
    return (pixels - ops.convert_to_tensor([0.0, 0.0, last, last])) / scale


def image_window(image_meta: Tensor, normalization: str = "pixels") -> Tensor:
    """The part of each molded image that is image, [B, 4] normalised as `boxes.normalize` does, from its meta."""
    window = ops.cast(meta.parse_image_meta(image_meta)["window"], "float32")
    return normalize_by_meta(window[:, None], image_meta, normalization)[:, 0]
