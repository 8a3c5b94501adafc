"""Faster R-CNN (Ren et al. 2015) as in its figure: backbone, region proposals, RoI pooling, box head.

By default it stands on a pyramid (Lin et al. 2017); BACKBONE_STRIDES of one number makes it one map, as in the paper.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from mrcnn import losses
from mrcnn.data.encoders import Encoder, two_stage_encoders
from mrcnn.layers.roi_head import RoiHead
from mrcnn.models import parts
from mrcnn.models.detector import Detector, Found
from mrcnn.models.graph import Compiled, InferenceGraph, training_graph
from mrcnn.ops.boxes import Tensor, to_pixels
from mrcnn.ops.meta import parse_image_meta
from mrcnn.ops.results import Place, place_boxes, to_original
from mrcnn.settings import Config

# How many detections of an image further heads are run on: the next of these, so that few graphs are compiled.
DETECTION_BATCHES = (4, 16, 48)

# Outputs of the inference graph, those that there are, in the original's order.
OUTPUTS = ("detections", "mrcnn_class", "mrcnn_bbox", "mrcnn_mask", "rpn_rois", "rpn_class", "rpn_bbox")


class FasterRCNN(Detector):
    """Faster R-CNN, and what all detectors of two stages have in common.

    `keras_model` for inference takes [image, image_meta, anchors] and gives `OUTPUTS` without masks.

    Others override what is seen of an image (`maps`), how regions are proposed (`propose`), how they are classified
    (`find` and `learn`), which further heads look at them (`heads`), and the losses (`criterion`).
    """

    name = "faster_rcnn"

    def graphs(self, mode: str, config: Config) -> tuple[keras.Model | None, ...]:
        image, meta = parts.image_inputs(config, mode)
        maps = self.maps(config, image)
        build = self._detecting if mode == "inference" else self._training
        return build(config, image, meta, maps, parts.roi_maps(maps), self.heads(config, mode))

    def _detecting(self, config, image, meta, maps, levels, heads):
        """The graph of detection; for `predict` the part up to the detections, and the other heads for any boxes."""
        more, proposed, rois = self.propose(config, image, meta, maps, "inference")
        found = {**proposed, **self.find(config, rois, levels, meta)}
        boxes = found["detections"][..., :4]
        found |= {name: head(boxes, levels, meta)[name] for name, head in heads.items()}
        inputs = [image, meta, *more.values()]
        names = [*OUTPUTS, *(name for name in heads if name not in OUTPUTS)]
        whole = InferenceGraph(inputs, [found[name] for name in names if name in found], name=self.name)
        return whole, keras.Model(inputs, [found["detections"], *levels]), _on_boxes(heads, levels, meta)

    def _training(self, config, image, meta, maps, levels, heads):
        """The graph of training, whose outputs are predictions beside targets."""
        more, outputs, rois = self.propose(config, image, meta, maps, "training")
        truth = parts.truth_inputs(config)
        sampled = parts.sampled_rois(config, rois, truth)
        outputs |= self.learn(config, sampled, truth, levels, meta)
        outputs["active_class_ids"] = parse_image_meta(meta)["active_class_ids"]
        for (name, head), target in zip(heads.items(), sampled.shapes, strict=True):
            outputs |= {**head(sampled.positive, levels, meta), name.replace("mrcnn", "target"): target}
        last = [more.pop("input_rois")] if "input_rois" in more else []  # in the original's order
        graph = training_graph([image, meta, *more.values(), *truth.values(), *last], outputs, self.name)
        function, arguments, names = self.criterion(config)
        weights = parts.loss_weights(config, [*names, *heads])
        graph.set_losses(function, arguments, weights, parts.decay_in_loss(config))
        return (graph,)

    # What other detectors of two stages do in another way

    def maps(self, config: Config, image: Tensor) -> list[Tensor]:
        """What regions are proposed on and cut out of: the pyramid, or one map."""
        return parts.feature_maps(config, image)

    def propose(
        self, config: Config, image: Tensor, meta: Tensor, maps: list[Tensor], mode: str
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """Regions to look at: the RPN's.

        Returns:
            further inputs of the graph by name, outputs by name, and the regions [B, N, 4].
        """
        if mode == "inference":
            anchors = parts.input_anchors(config)
            rpn, rois = parts.region_proposals(config, maps, meta, anchors, config.POST_NMS_ROIS_INFERENCE)
            return {"input_anchors": anchors}, {**rpn, "rpn_rois": rois}, rois
        anchors, inputs = parts.constant_anchors(config, image), parts.rpn_inputs(config)
        rpn, rois = parts.region_proposals(config, maps, meta, anchors, config.POST_NMS_ROIS_TRAINING)
        targets = {name.replace("input", "target"): x for name, x in inputs.items()}
        outputs = {**rpn, "rpn_rois": rois, **targets}
        if not config.USE_RPN_ROIS:
            inputs["input_rois"] = parts.roi_input(config, mode)
            rois = parts.normalized(config, inputs["input_rois"])
        return inputs, outputs, rois

    def find(self, config: Config, rois: Tensor, levels: list[Tensor], meta: Tensor) -> dict[str, Tensor]:
        """Detections of the regions: "detections" [B, D, 6], "mrcnn_class" [B, N, K], "mrcnn_bbox" [B, N, K, 4]."""
        found = parts.box_head(config)(rois, levels, meta)
        detections = parts.detection_layer(config)([rois, found["mrcnn_class"], found["mrcnn_bbox"], meta])
        return {**found, "detections": detections}

    def learn(
        self,
        config: Config,
        sampled: parts.SampledRois,
        truth: dict[str, Tensor],
        levels: list[Tensor],
        meta: Tensor,
    ) -> dict[str, Tensor]:
        """Outputs of the training graph for the regions that were sampled: predictions beside targets."""
        return {**sampled.outputs(), **parts.box_head(config)(sampled.rois, levels, meta)}

    def heads(self, config: Config, mode: str) -> dict[str, RoiHead]:
        """Further heads, which look at detections, and in training at positive regions: name of the output -> head."""
        return {}

    def criterion(self, config: Config) -> tuple[Any, dict[str, Any], list[str]]:
        """The function of the losses, its arguments, and the outputs that have one, further heads aside."""
        return (
            faster_rcnn_losses,
            parts.box_loss_settings(config),
            ["rpn_class", "rpn_bbox", "mrcnn_class", "mrcnn_bbox"],
        )

    # From images to results

    def encoders(self, config: Config) -> list[Encoder]:
        return two_stage_encoders(config)

    def inputs(self, molded: np.ndarray, metas: np.ndarray, *given: np.ndarray) -> list[np.ndarray]:
        anchors = self.get_anchors(molded.shape[1:])
        return [molded, metas, np.broadcast_to(anchors, (len(molded), *anchors.shape))]

    def predict(self, molded: np.ndarray, metas: np.ndarray, *given: np.ndarray) -> Found:
        detector, heads = self.compiled
        # The maps stay on the device: the heads read them there.
        detections, *levels = detector(self.inputs(molded, metas, *given))
        rows = keras.ops.convert_to_numpy(detections)
        found = {"detections": rows}
        if heads is None:
            return found
        count = int((rows[..., 4] > 0).sum(axis=1).max())
        slots = min(n for n in (0, *DETECTION_BATCHES, rows.shape[1]) if n >= count)
        if not slots:
            empty = {name: np.zeros((len(rows), 0, *x.shape[2:]), "float32") for name, x in heads.graph.output.items()}
            return found | empty
        outputs = heads([detections[:, :slots, :4], metas, *levels])
        return found | {name: keras.ops.convert_to_numpy(x) for name, x in outputs.items()}

    def _forget_compiled(self):
        super()._forget_compiled()
        self.__dict__.pop("_proposer", None)

    @functools.cached_property
    def _proposer(self):
        """The graph as far as the proposals, compiled once for all images."""
        graph = self.keras_model
        return Compiled(keras.Model(graph.inputs, graph.get_layer("ROI").output))

    def regions(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What the RPN proposes in images: of each [n, 4] float32 in its pixels, the best first."""
        self._need("inference")
        results: list[Any] = [None] * len(images)
        for members, molded, metas, shapes, windows in self._molded(images):
            found = keras.ops.convert_to_numpy(self._proposer(self.inputs(molded, metas)))
            for i, rows, place in zip(members, found, self._places(molded, shapes, windows), strict=True):
                rows = to_original(rows[rows.any(axis=1)], place)
                results[i] = to_pixels(rows, place.original[:2], place.normalization).astype("float32")
        return results

    def boxes(self, found: Found, place: Place) -> tuple[dict[str, Any], np.ndarray]:
        """The boxes of `detect`'s result, and which of the detections [D, 6] these are, [n]."""
        kept, rois = place_boxes(found["detections"], place, whole=self.config.MASK_PASTE == "integer")
        rows = found["detections"][kept]
        return {"rois": rois, "class_ids": rows[:, 4].astype("int32"), "scores": rows[:, 5]}, kept

    def result(self, found: Found, place: Place, rle: bool = False) -> dict[str, Any]:
        return self.boxes(found, place)[0]


def _on_boxes(heads, levels, meta):
    """A model of the heads alone, for any number of boxes [B, n, 4], or None."""
    rois = keras.Input((None, 4))
    maps = [keras.Input(x.shape[1:], dtype=x.dtype) for x in levels]
    outputs = {name: head(rois, maps, meta)[name] for name, head in heads.items()}
    return keras.Model([rois, meta, *maps], outputs) if outputs else None


@keras.saving.register_keras_serializable("mrcnn")
def faster_rcnn_losses(outputs: dict[str, Tensor], mean: str = "positives", beta: float = 1.0) -> dict[str, Tensor]:
    """The losses (equation 1 of the paper, and those of Fast R-CNN), of the outputs of the training graph.

    Args:
        outputs: predictions and targets by name.
        mean, beta: of the box losses, see LOSS_MEAN and SMOOTH_L1_BETA in `Config`.
    """
    y, rpn_match = outputs, outputs["target_rpn_match"]
    return {
        "rpn_class_loss": losses.rpn_class_loss(rpn_match, y["rpn_class_logits"]),
        "rpn_bbox_loss": losses.rpn_bbox_loss(y["target_rpn_bbox"], rpn_match, y["rpn_bbox"], mean, beta),
        **box_losses(y, mean, beta),
    }


def box_losses(
    outputs: dict[str, Tensor], mean: str = "positives", beta: float = 1.0, stage: int = 0
) -> dict[str, Tensor]:
    """The losses of the box head, of one stage of a cascade; arguments as of `faster_rcnn_losses`."""
    y, prefix = outputs, parts.stage_prefix(stage)
    target = prefix.replace("mrcnn", "target")
    class_ids = y[f"{target}_class_ids"]
    return {
        f"{prefix}_class_loss": losses.class_loss(class_ids, y[f"{prefix}_class_logits"], y["active_class_ids"]),
        f"{prefix}_bbox_loss": losses.bbox_loss(y[f"{target}_bbox"], class_ids, y[f"{prefix}_bbox"], mean, beta),
    }
