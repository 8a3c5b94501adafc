"""What networks for semantic segmentation have in common: a class for every pixel, and objects of connected pixels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from mrcnn import losses
from mrcnn.data.encoders import Encoder
from mrcnn.data.semantic_targets import SemanticTargets
from mrcnn.models import parts
from mrcnn.models.detector import Detector, Found
from mrcnn.models.graph import InferenceGraph, training_graph
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.meta import parse_image_meta
from mrcnn.ops.results import Place
from mrcnn.ops.semantic import place_components
from mrcnn.settings import Config


class SemanticNetwork(Detector):
    """A network for semantic segmentation.

    `keras_model` for inference takes [image] and gives the logits [B, H, W, K] of `logits`, in its order.
    What `detect` gives has "semantic" [h, w] int32 beside its instances: the class of every pixel, 0 background.

    A system is a subclass that gives `logits`.
    """

    layer_presets = {name: rf"{chosen}|(semantic\_.*)" for name, chosen in Detector.layer_presets.items()}

    def logits(self, config: Config, image: Tensor) -> dict[str, Tensor]:
        """Logits [B, H, W, K] of the image's pixels, by names that end in "_logits": "semantic_logits", which are
        what is found, and perhaps others, which only have a loss."""
        raise NotImplementedError

    # The graph

    def graphs(self, mode: str, config: Config) -> tuple[keras.Model | None, ...]:
        image, meta = parts.image_inputs(config, mode)
        said = {
            name: layers.Activation("linear", dtype="float32", name=name)(x)
            for name, x in self.logits(config, image).items()
        }
        if mode == "training":
            return (self._training(config, image, meta, said),)
        probabilities = ops.softmax(said["semantic_logits"], axis=-1)
        scores, classes = (x[..., 0] for x in ops.top_k(probabilities, 1))  # not argmax, see `largest`
        pick = keras.Model([image], {"classes": ops.cast(classes, "int32"), "scores": scores})
        return InferenceGraph([image], list(said.values()), name=self.name), pick

    def _training(self, config, image, meta, said):
        """The graph of training, whose outputs are predictions beside targets."""
        truth = parts.semantic_inputs(config)
        outputs = {
            **said,
            "target_semantic": truth["input_semantic"],
            "target_weights": truth["input_semantic_weights"],
            "active_class_ids": parse_image_meta(meta)["active_class_ids"],
        }
        graph = training_graph([image, meta, *truth.values()], outputs, self.name)
        weights = parts.loss_weights(config, [name.removesuffix("_logits") for name in said])
        graph.set_losses(semantic_losses, {}, weights, parts.decay_in_loss(config))
        return graph

    # From images to results

    def encoders(self, config: Config) -> list[Encoder]:
        return [SemanticTargets(config.BORDER_WEIGHT, config.BORDER_SIGMA, config.CLASS_BALANCE)]

    def inputs(self, molded: np.ndarray, metas: np.ndarray, *given: np.ndarray) -> list[np.ndarray]:
        return [molded]

    def predict(self, molded: np.ndarray, metas: np.ndarray, *given: np.ndarray) -> Found:
        """Outputs by name: "classes" [B, H, W] int, and the probabilities of these, "scores" [B, H, W]."""
        (pick,) = self.compiled
        return {name: ops.convert_to_numpy(x) for name, x in pick(self.inputs(molded, metas)).items()}

    def result(self, found: Found, place: Place, rle: bool = False) -> dict[str, Any]:
        """See `place_components`."""
        config, (y1, x1, y2, x2) = self.config, place.window
        classes, scores = (found[name][y1:y2, x1:x2] for name in ("classes", "scores"))
        limits = config.COMPONENT_AREA, config.DETECTION_MAX_INSTANCES, config.DETECTION_MIN_CONFIDENCE
        return place_components(classes, scores, place.original, *limits, rle)


@keras.saving.register_keras_serializable("mrcnn")
def semantic_losses(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The losses, of the outputs of the training graph: of all logits that there are, those of an earlier map by half
    (torchvision)."""
    y, truth = outputs, [outputs[name] for name in ("target_semantic", "target_weights", "active_class_ids")]
    shares = {"semantic_logits": 1.0, "semantic_aux_logits": 0.5}
    return {
        name.replace("_logits", "_loss"): share * losses.pixel_loss(y[name], *truth)
        for name, share in shares.items()
        if name in y
    }
