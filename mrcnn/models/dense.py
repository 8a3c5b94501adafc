"""What one-stage detectors have in common: a head says at every place of every map what is there, and that is all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from mrcnn.data.dense_targets import DenseTargets, Matcher
from mrcnn.data.encoders import Encoder
from mrcnn.layers.dense_head import joined
from mrcnn.models import dense_parts, parts
from mrcnn.models.detector import Detector, Found
from mrcnn.models.graph import InferenceGraph, training_graph
from mrcnn.ops import boxes
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.meta import parse_image_meta
from mrcnn.ops.results import Place, place_boxes
from mrcnn.settings import Config

# What a head says by name, an item [B, a, values] for each level.
Levels = dict[str, list[Tensor]]


class DenseDetector(Detector):
    """A one-stage detector.

    `keras_model` for inference takes [image, image_meta, anchors] and gives the detections [B, D, 6], then what the
    head says [B, A, values] by the order of `head`.

    A system is a subclass that gives `maps`, `head`, `matcher` and `criterion`, perhaps `scores` and `numbers`.
    """

    # What the head says of boxes, and what its candidates are limited by: see `DenseDetectionLayer`.
    coding = "deltas"
    limit = "level"

    # Whether its losses look at all instances of an image beside that of each place.
    sees_instances = False

    layer_presets = {name: rf"{layers}|(dense\_.*)" for name, layers in Detector.layer_presets.items()}

    # What a system gives

    def maps(self, config: Config, image: Tensor) -> list[Tensor]:
        """The maps that the head looks at, finest first; here the levels of a pyramid."""
        return dense_parts.pyramid(config, image)

    def head(self, config: Config, maps: list[Tensor]) -> Levels:
        """What is said at every place: "dense_class_logits" of [B, a, K - 1 or K], "dense_bbox" of [B, a, 4]; and what
        else the system has."""
        raise NotImplementedError

    def scores(self, said: Levels) -> list[Tensor]:
        """The scores [B, a, K - 1] of what the head says; here the classes' sigmoids."""
        return [ops.sigmoid(x) for x in said["dense_class_logits"]]

    def numbers(self, config: Config, said: Levels) -> list[Tensor]:
        """What detections are decoded from, [B, a, 4], of what the head says; here its "dense_bbox" as it is."""
        return said["dense_bbox"]

    def matcher(self, config: Config, anchors: np.ndarray) -> Matcher:
        """Which of the anchors [A, 4] in pixels stands for which instance."""
        raise NotImplementedError

    def criterion(self, config: Config) -> tuple[Any, dict[str, Any], Sequence[str]]:
        """The function of the losses, its arguments, and the outputs of the head that have one."""
        raise NotImplementedError

    # The graph

    def graphs(self, mode: str, config: Config) -> tuple[keras.Model | None, ...]:
        image, meta = parts.image_inputs(config, mode)
        said = self.head(config, self.maps(config, image))
        build = self._detecting if mode == "inference" else self._training
        return build(config, image, meta, said)

    def _detecting(self, config, image, meta, said):
        """The graph of detection with what the head says, and for `predict` without it."""
        anchors = self._anchors_input(config, "inference")
        pick = dense_parts.detection_layer(config, self.limit, self.coding)
        detections = pick([self.scores(said), self.numbers(config, said), anchors, meta])
        inputs = [image, meta, anchors]
        whole = InferenceGraph(inputs, [detections, *(joined(x, name) for name, x in said.items())], name=self.name)
        return whole, keras.Model(inputs, detections)

    def _training(self, config, image, meta, said):
        """The graph of training, whose outputs are predictions beside targets."""
        anchors = self._anchors_input(config, "training")
        truth = dense_parts.target_inputs(config, anchors.shape[1], self.sees_instances)
        outputs = {
            **{name: joined(x, name) for name, x in said.items()},
            "anchors": anchors,
            "target_class_ids": truth["input_dense_class_ids"],
            "target_boxes": parts.normalized(config, truth["input_dense_boxes"]),
            "active_class_ids": parse_image_meta(meta)["active_class_ids"],
        }
        if self.sees_instances:
            outputs["gt_boxes"] = parts.normalized(config, truth["input_gt_boxes"])
        graph = training_graph([image, meta, anchors, *truth.values()], outputs, self.name)
        function, arguments, names = self.criterion(config)
        graph.set_losses(function, arguments, parts.loss_weights(config, names), parts.decay_in_loss(config))
        return (graph,)

    def _anchors_input(self, config, mode):
        """The input for anchors, [B, A, 4] normalised, as they follow from the image's size."""
        shape = parts.image_shape(config, mode)
        count = None if None in shape else len(self.pixel_anchors(config, shape))
        return keras.Input((count, 4), parts.batch_size(config, mode), name="input_anchors")

    # From images to results

    def encoders(self, config: Config) -> list[Encoder]:
        pixels = self.pixel_anchors(config, config.IMAGE_SHAPE)
        normalized = boxes.normalize(pixels, config.IMAGE_SHAPE[:2], config.BOX_NORMALIZATION)
        return [DenseTargets(self.matcher(config, pixels), normalized)]

    def inputs(self, molded: np.ndarray, metas: np.ndarray, *given: np.ndarray) -> list[np.ndarray]:
        anchors = self.get_anchors(molded.shape[1:])
        return [molded, metas, np.broadcast_to(anchors, (len(molded), *anchors.shape))]

    def predict(self, molded: np.ndarray, metas: np.ndarray, *given: np.ndarray) -> Found:
        (detector,) = self.compiled
        return {"detections": ops.convert_to_numpy(detector(self.inputs(molded, metas, *given)))}

    def result(self, found: Found, place: Place, rle: bool = False) -> dict[str, Any]:
        kept, rois = place_boxes(found["detections"], place, whole=self.config.MASK_PASTE == "integer")
        rows = found["detections"][kept]
        return {"rois": rois, "class_ids": rows[:, 4].astype("int32"), "scores": rows[:, 5]}
