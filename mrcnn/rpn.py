"""Region Proposal Network (Ren et al. 2015): its head, and the layer that turns scores and deltas into proposals."""

import keras
import numpy as np
from keras import layers, ops

from mrcnn import boxes


def rpn_graph(feature_map, anchors_per_location, anchor_stride, channels=512):
    """RPN head on one level.

    Args:
        feature_map: [B, h, w, depth].
        anchors_per_location: anchors in each cell.
        anchor_stride: 1 for anchors in every cell, 2 for every second one.
        channels: width of the shared 3x3 convolution.

    Returns:
        logits [B, a, 2], probabilities [B, a, 2] (background, foreground) and deltas [B, a, 4], with
        a = h * w * anchors_per_location / anchor_stride ** 2.
    """
    shared = layers.Conv2D(
        channels, 3, padding="same", activation="relu", strides=anchor_stride, name="rpn_conv_shared"
    )(feature_map)
    x = layers.Conv2D(2 * anchors_per_location, 1, name="rpn_class_raw")(shared)
    logits = layers.Reshape((-1, 2))(x)
    probs = layers.Activation("softmax", name="rpn_class_xxx", dtype="float32")(logits)
    x = layers.Conv2D(4 * anchors_per_location, 1, name="rpn_bbox_pred")(shared)
    return [logits, probs, layers.Reshape((-1, 4))(x)]


def build_rpn_model(anchor_stride, anchors_per_location, depth, channels=512):
    """The RPN head as a model of its own, so that all levels share its weights. See `rpn_graph`."""
    feature_map = keras.Input((None, None, depth), name="input_rpn_feature_map")
    outputs = rpn_graph(feature_map, anchors_per_location, anchor_stride, channels)
    return keras.Model(feature_map, outputs, name="rpn_model")


@keras.saving.register_keras_serializable("mrcnn")
class ProposalLayer(layers.Layer):
    """Picks the best boxes of the RPN: top scores, deltas applied, clipped, non-maximum suppression.

    Args:
        proposal_count: N, proposals per image.
        nms_threshold: IoU above which the lower scored box is dropped.
        pre_nms_limit: boxes by score that enter the suppression, over all levels together.
        std_dev: the four numbers by which the RPN's deltas are divided.

    Inputs: [probabilities [B, A, 2], deltas [B, A, 4], anchors [B, A, 4] normalised].
    Output: [B, N, 4] normalised boxes, zero-padded. No gradient flows through it.
    """

    def __init__(self, proposal_count, nms_threshold, pre_nms_limit=6000, std_dev=(0.1, 0.1, 0.2, 0.2), **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.proposal_count = proposal_count
        self.nms_threshold = nms_threshold
        self.pre_nms_limit = pre_nms_limit
        self.std_dev = tuple(std_dev)

    def call(self, inputs):
        probs, deltas, anchors = (ops.stop_gradient(x) for x in inputs)
        scores = probs[:, :, 1]
        limit = self.pre_nms_limit
        if anchors.shape[1] is None:
            # The image size is only known at run time: enough rows for any.
            scores = ops.pad(scores, [[0, 0], [0, limit]], constant_values=-1.0)
            deltas, anchors = (ops.pad(x, [[0, 0], [0, limit], [0, 0]]) for x in (deltas, anchors))
        else:
            limit = min(limit, anchors.shape[1])
        scores, best = ops.top_k(scores, limit)
        deltas, anchors = (ops.take_along_axis(x, best[..., None], axis=1) for x in (deltas, anchors))
        candidates = boxes.decode(anchors, deltas * ops.convert_to_tensor(self.std_dev, dtype=deltas.dtype))
        candidates = boxes.clip(candidates, [0.0, 0.0, 1.0, 1.0])
        keep, valid = boxes.nms_indices(candidates, scores >= 0, self.nms_threshold, self.proposal_count)
        proposals = ops.take_along_axis(candidates, keep[..., None], axis=1)
        return proposals * ops.cast(valid, proposals.dtype)[..., None]

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], self.proposal_count, 4)

    def get_config(self):
        return {
            **super().get_config(),
            "proposal_count": self.proposal_count,
            "nms_threshold": self.nms_threshold,
            "pre_nms_limit": self.pre_nms_limit,
            "std_dev": self.std_dev,
        }


@keras.saving.register_keras_serializable("mrcnn")
class Anchors(layers.Layer):
    """The anchors of a fixed image size as a constant [B, A, 4], normalised, one copy for each image.

    Args:
        anchors: [A, 4] normalised.

    Input: any tensor with batch as first axis.
    """

    def __init__(self, anchors, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.anchors = np.asarray(anchors, "float32")

    def call(self, inputs):
        anchors = ops.convert_to_tensor(self.anchors, dtype="float32")
        return ops.broadcast_to(anchors[None], (ops.shape(inputs)[0], *self.anchors.shape))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self.anchors.shape)

    def get_config(self):
        return {**super().get_config(), "anchors": self.anchors.tolist()}
