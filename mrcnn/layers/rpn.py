"""Region Proposal Network (Ren et al. 2015): its head, and the layer that turns scores and deltas into proposals."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from keras.initializers import RandomNormal
from numpy.typing import ArrayLike

from mrcnn.ops import boxes
from mrcnn.ops.anchors import generate_pyramid_anchors
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.gather import gather
from mrcnn.ops.nms import nms_indices


def rpn_graph(
    feature_map: Tensor,
    anchors_per_location: int,
    anchor_stride: int,
    channels: int = 512,
    score: str = "softmax",
    convolutions: int = 1,
) -> list[Tensor]:
    """RPN head on one level.

    Args:
        feature_map: [B, h, w, depth].
        anchors_per_location: anchors in each cell.
        anchor_stride: 1 for anchors in every cell, 2 for every second one.
        channels: width of the shared 3x3 convolutions.
        score: "softmax" for two values an anchor, background and foreground; "sigmoid" for foreground alone.
        convolutions: how many of these there are.

    Returns:
        logits [B, a, 2 or 1], probabilities alike and deltas [B, a, 4], with
        a = h * w * anchors_per_location / anchor_stride ** 2.
    """
    shared = layers.Conv2D(
        channels, 3, padding="same", activation="relu", strides=anchor_stride, name="rpn_conv_shared"
    )(feature_map)
    for i in range(2, convolutions + 1):
        shared = layers.Conv2D(channels, 3, padding="same", activation="relu", name=f"rpn_conv_shared{i}")(shared)
    small = partial(RandomNormal, stddev=0.01)  # so the first proposals are the anchors
    values = {"softmax": 2, "sigmoid": 1}[score]
    x = layers.Conv2D(values * anchors_per_location, 1, kernel_initializer=small(), name="rpn_class_raw")(shared)
    logits = layers.Reshape((-1, values))(x)
    probs = layers.Activation(score, name="rpn_class_xxx", dtype="float32")(logits)
    x = layers.Conv2D(4 * anchors_per_location, 1, kernel_initializer=small(), name="rpn_bbox_pred")(shared)
    return [logits, probs, layers.Reshape((-1, 4))(x)]


def build_rpn_model(
    anchor_stride: int,
    anchors_per_location: int,
    depth: int,
    channels: int = 512,
    score: str = "softmax",
    convolutions: int = 1,
) -> keras.Model:
    """The RPN head as a model of its own, so that all levels share its weights. See `rpn_graph`."""
    feature_map = keras.Input((None, None, depth), name="input_rpn_feature_map")
    outputs = rpn_graph(feature_map, anchors_per_location, anchor_stride, channels, score, convolutions)
    return keras.Model(feature_map, outputs, name="rpn_model")


@keras.saving.register_keras_serializable("mrcnn")
class ProposalLayer(layers.Layer):
    """Picks the best boxes of the RPN: top scores, deltas applied, clipped, non-maximum suppression.

    Args:
        proposal_count: N, proposals per image.
        nms_threshold: IoU above which the lower scored box is dropped.
        pre_nms_limit: boxes by score that enter the suppression.
        std_dev: the four numbers by which the RPN's deltas are divided.

    Inputs: [probabilities [B, A, 2 or 1], the last of foreground, deltas [B, A, 4], anchors [B, A, 4] normalised], and
    perhaps windows [B, 4], normalised, to which the boxes are cut, and those without area dropped; else they are cut to
    0..1. Where probabilities and deltas are lists, an item for each level, the limit and the suppression are for each
    level, not for all together.
    Output: [B, N, 4] normalised boxes, highest score first, zero-padded. No gradient flows through it.
    """

    def __init__(
        self,
        proposal_count: int,
        nms_threshold: float,
        pre_nms_limit: int = 6000,
        std_dev: Iterable[float] = (0.1, 0.1, 0.2, 0.2),
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.proposal_count = proposal_count
        self.nms_threshold = nms_threshold
        self.pre_nms_limit = pre_nms_limit
        self.std_dev = tuple(std_dev)

    def call(self, inputs: Sequence[Any]) -> Tensor:
        return self.stages(inputs)["proposals"]

    def stages(self, inputs: Sequence[Any]) -> dict[str, Tensor]:
        """What is computed on the way, for a look inside; boxes are normalised.

        Returns:
            The boxes that enter the suppression, by score: "pre_nms_anchors", "refined_anchors" (with deltas) and
            "refined_anchors_clipped", [B, n, 4] each; "rpn_non_max_suppression" [N] int32, which of these are kept of
            the batch's first image (the last is repeated where there are fewer); "proposals" [B, N, 4].
        """
        probs, deltas, anchors, *window = keras.tree.map_structure(ops.stop_gradient, inputs)
        levels = zip(probs, deltas, strict=True) if isinstance(probs, list) else [(probs, deltas)]
        start = 0
        found: list[tuple[Tensor, ...]] = []
        for level, (level_probs, level_deltas) in enumerate(levels):
            batch, count = ops.shape(level_deltas)[:2]
            part = ops.slice(anchors, (0, start, 0), (batch, count, 4))
            best = self._best(level_probs[:, :, -1], level_deltas, part)
            found.append((*best, ops.full_like(best[0], level)))
            start = start + count
        scores, anchors, refined, groups = (ops.concatenate(values, axis=1) for values in zip(*found, strict=True))
        if len(found) > 1:
            scores, order = ops.top_k(scores, scores.shape[1])
            anchors, refined = (gather(x, order) for x in (anchors, refined))
            groups = gather(groups, order)
        clipped = boxes.clip(refined, window[0][:, None] if window else [0.0, 0.0, 1.0, 1.0])
        valid = scores >= 0
        if window:
            valid = ops.logical_and(valid, boxes.area(clipped) > 0)
        keep, valid = nms_indices(clipped, valid, self.nms_threshold, self.proposal_count, groups)
        proposals = gather(clipped, keep)
        last = ops.sum(ops.cast(valid[0], "int32")) - 1
        return {
            "pre_nms_anchors": anchors,
            "refined_anchors": refined,
            "refined_anchors_clipped": clipped,
            "rpn_non_max_suppression": ops.where(valid[0], keep[0], ops.take(keep[0], ops.maximum(last, 0))),
            "proposals": proposals * ops.cast(valid, proposals.dtype)[..., None],
        }

    def _best(self, scores, deltas, anchors):
        """The highest scores [B, n], -1 where there are no more, their anchors and boxes [B, n, 4]; n is at most the
        limit."""
        limit = self.pre_nms_limit
        if deltas.shape[1] is None:
            # The image size is only known at run time: enough rows for any.
            scores = ops.pad(scores, [[0, 0], [0, limit]], constant_values=-1.0)
            deltas, anchors = (ops.pad(x, [[0, 0], [0, limit], [0, 0]]) for x in (deltas, anchors))
        else:
            limit = min(limit, deltas.shape[1])
        scores, best = ops.top_k(scores, limit)
        deltas, anchors = (gather(x, best) for x in (deltas, anchors))
        return scores, anchors, boxes.decode(anchors, deltas * ops.convert_to_tensor(self.std_dev, dtype=deltas.dtype))

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple:
        return (input_shape[2][0], self.proposal_count, 4)

    def get_config(self) -> dict[str, Any]:
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
        image_shape: (H, W) in pixels.
        normalization: as `boxes.normalize` takes it.
        scales, ratios, feature_shapes, feature_strides, anchor_stride, rounded: see `generate_pyramid_anchors`.

    Input: any tensor with batch as first axis.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        normalization: str,
        scales: ArrayLike,
        ratios: ArrayLike,
        feature_shapes: ArrayLike,
        feature_strides: ArrayLike,
        anchor_stride: int = 1,
        rounded: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.settings = {
            "scales": np.asarray(scales).tolist(),
            "ratios": np.asarray(ratios).tolist(),
            "feature_shapes": np.asarray(feature_shapes).tolist(),
            "feature_strides": np.asarray(feature_strides).tolist(),
            "anchor_stride": int(anchor_stride),
            "rounded": bool(rounded),
        }
        self.image_shape, self.normalization = [int(side) for side in image_shape], normalization
        pixels = generate_pyramid_anchors(**self.settings)
        self.anchors = boxes.normalize(pixels, self.image_shape, normalization)

    def call(self, inputs: Tensor) -> Tensor:
        anchors = ops.convert_to_tensor(self.anchors, dtype="float32")
        return ops.broadcast_to(anchors[None], (ops.shape(inputs)[0], *self.anchors.shape))

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple:
        return (input_shape[0], *self.anchors.shape)

    def get_config(self) -> dict[str, Any]:
        own = {"image_shape": self.image_shape, "normalization": self.normalization, **self.settings}
        return {**super().get_config(), **own}
