"""What detectors of points have in common: a map of stride 4, heatmaps on it, and what is said at their peaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from mrcnn.models import dense_parts, parts
from mrcnn.models.dense import DenseDetector
from mrcnn.models.detector import Detector, Found
from mrcnn.models.graph import InferenceGraph, training_graph
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.meta import parse_image_meta
from mrcnn.ops.results import Place, place_boxes
from mrcnn.settings import Config

STRIDE = 4


class PointDetector(Detector):
    """A detector of points.

    `keras_model` for inference takes [image, image_meta] and gives what `picked` does, first the detections [B, D, 6],
    then what the head says by the order of `head`.

    A system is a subclass that gives `head`, `picked`, `criterion`, and with `encoders` the `heatmaps` to learn.
    """

    layer_presets = DenseDetector.layer_presets

    # What a system gives

    def head(self, config: Config, image: Tensor) -> dict[str, Tensor]:
        """What is said in every cell of stride 4 by name, maps [B, h, w, n]. All pairs are (y, x)."""
        raise NotImplementedError

    def picked(self, config: Config, said: dict[str, Tensor], meta: Tensor) -> dict[str, Tensor]:
        """What is found in what the head says: "detections" [B, D, 6], and what else there is of each."""
        raise NotImplementedError

    def heatmaps(self, config: Config) -> dict[str, int]:
        """The heatmaps that `encoders` give, and the channels of each."""
        raise NotImplementedError

    def criterion(self, config: Config) -> tuple[Any, Sequence[str]]:
        """The function of the losses, which takes the exponents `alpha` and `beta` of the heatmaps', and the names of
        the losses without "_loss"."""
        raise NotImplementedError

    # The graph

    def graphs(self, mode: str, config: Config) -> tuple[keras.Model | None, ...]:
        image, meta = parts.image_inputs(config, mode)
        said = self.head(config, image)
        build = self._detecting if mode == "inference" else self._training
        return build(config, image, meta, said)

    def _detecting(self, config, image, meta, said):
        """The graph of detection with what the head says, and for `predict` without it."""
        found = self.picked(config, said, meta)
        whole = InferenceGraph([image, meta], [*found.values(), *said.values()], name=self.name)
        return whole, keras.Model([image, meta], found)

    def _training(self, config, image, meta, said):
        """The graph of training, whose outputs are predictions beside targets."""
        heatmaps = dense_parts.heatmap_inputs(config, image, STRIDE, self.heatmaps(config))
        truth = {**parts.truth_inputs(config), **heatmaps}
        outputs = {**said, **{name.replace("input_", "target_"): x for name, x in truth.items()}}
        outputs["active_class_ids"] = parse_image_meta(meta)["active_class_ids"]
        graph = training_graph([image, meta, *truth.values()], outputs, self.name)
        function, names = self.criterion(config)
        arguments = {"alpha": config.FOCAL_GAMMA, "beta": config.HEATMAP_BETA}
        graph.set_losses(function, arguments, parts.loss_weights(config, names), parts.decay_in_loss(config))
        return (graph,)

    # From images to results

    def predict(self, molded: np.ndarray, metas: np.ndarray, *given: np.ndarray) -> Found:
        (detector,) = self.compiled
        found = detector(self.inputs(molded, metas, *given))
        return {name: ops.convert_to_numpy(x) for name, x in found.items()}

    def placed(self, found: Found, place: Place) -> tuple[np.ndarray, dict[str, Any]]:
        """The rows that are kept of what was found in an image, and their result."""
        kept, rois = place_boxes(found["detections"], place, whole=self.config.MASK_PASTE == "integer")
        rows = found["detections"][kept]
        return kept, {"rois": rois, "class_ids": rows[:, 4].astype("int32"), "scores": rows[:, 5]}

    def result(self, found: Found, place: Place, rle: bool = False) -> dict[str, Any]:
        return self.placed(found, place)[1]
