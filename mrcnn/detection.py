"""From class probabilities and deltas of the RoIs to detections."""

import keras
from keras import layers, ops

from mrcnn import boxes, images


def refine_detections(rois, probs, deltas, window, max_instances, min_confidence, nms_threshold, std_dev):
    """The computation of `DetectionLayer`, with each image's window [B, 4] normalised in place of its meta."""
    rois, probs, deltas = (ops.cast(x, "float32") for x in (rois, probs, deltas))
    class_ids = ops.cast(ops.argmax(probs, axis=-1), "int32")
    scores = ops.max(probs, axis=-1)
    deltas = ops.take_along_axis(deltas, class_ids[..., None, None], axis=2)[:, :, 0]
    refined = boxes.decode(rois, deltas * ops.convert_to_tensor(std_dev, dtype="float32"))
    refined = boxes.clip(refined, window[:, None, :])

    # Rows of padding are no RoIs, whatever the head says of them.
    wanted = ops.logical_and(class_ids > 0, ops.any(ops.not_equal(rois, 0), axis=-1))
    wanted = ops.logical_and(wanted, scores >= min_confidence)
    ranks, order = ops.top_k(ops.where(wanted, scores, -1.0), ops.shape(scores)[1])
    rows = ops.concatenate([refined, ops.cast(class_ids, "float32")[..., None], scores[..., None]], axis=-1)
    rows = ops.take_along_axis(rows, order[..., None], axis=1)
    keep, valid = boxes.nms_indices(rows[..., :4], ranks >= 0, nms_threshold, max_instances, groups=rows[..., 4])
    return ops.take_along_axis(rows, keep[..., None], axis=1) * ops.cast(valid, "float32")[..., None]


@keras.saving.register_keras_serializable("mrcnn")
class DetectionLayer(layers.Layer):
    """Picks detections: best class of each RoI, its own deltas, clipped to the image's window, suppression by class.

    Args:
        max_instances: D, detections per image at most.
        min_confidence: lowest score of a detection.
        nms_threshold: IoU above which the lower scored of two detections of one class is dropped.
        std_dev: the four numbers by which the head's deltas are divided.

    Inputs: [rois [B, N, 4] normalised, probabilities [B, N, K], deltas [B, N, K, 4], image_meta [B, 12 + K]].
    Output: [B, D, 6] of (y1, x1, y2, x2 normalised, class id, score), highest score first, zero-padded.
    """

    def __init__(
        self, max_instances=100, min_confidence=0.7, nms_threshold=0.3, std_dev=(0.1, 0.1, 0.2, 0.2), **kwargs
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.max_instances = max_instances
        self.min_confidence = min_confidence
        self.nms_threshold = nms_threshold
        self.std_dev = tuple(std_dev)

    def call(self, inputs):
        rois, probs, deltas, image_meta = inputs
        return refine_detections(
            rois,
            probs,
            deltas,
            _window(image_meta),
            self.max_instances,
            self.min_confidence,
            self.nms_threshold,
            self.std_dev,
        )

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], self.max_instances, 6)

    def get_config(self):
        return {
            **super().get_config(),
            "max_instances": self.max_instances,
            "min_confidence": self.min_confidence,
            "nms_threshold": self.nms_threshold,
            "std_dev": self.std_dev,
        }


def _window(image_meta):
    """The part of each molded image that is image, [B, 4] normalised."""
    meta = images.parse_image_meta(image_meta)
    shape, window = ops.cast(meta["image_shape"], "float32"), ops.cast(meta["window"], "float32")
    scale = ops.concatenate([shape[:, :2], shape[:, :2]], axis=-1) - 1.0
    return (window - ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0])) / scale
