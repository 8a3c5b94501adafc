"""Mask R-CNN (He et al. 2017) as in its figure: backbone, pyramid, proposals, RoIAlign and three heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from mrcnn import losses
from mrcnn.data.encoders import Encoder, two_stage_encoders
from mrcnn.layers.fpn import build_fpn
from mrcnn.models import parts
from mrcnn.models.detector import Detector, Found
from mrcnn.models.graph import InferenceGraph, TrainingGraph
from mrcnn.models.results import Place, paste_masks, place_boxes, place_keypoints
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.meta import parse_image_meta
from mrcnn.settings import Config

# How many detections of an image the mask and keypoint heads are run on: the next of these, so that few graphs are
# compiled.
DETECTION_BATCHES = (4, 16, 48)


class MaskRCNN(Detector):
    """Mask R-CNN; with USE_MASK False it is Faster R-CNN, with NUM_KEYPOINTS it finds poses too.

    `keras_model` for inference takes [image, image_meta, anchors] and gives [detections, mrcnn_class, mrcnn_bbox,
    mrcnn_mask, rpn_rois, rpn_class, rpn_bbox], then mrcnn_keypoint if there are keypoints; with USE_MASK False there is
    no mrcnn_mask.
    """

    def graphs(self, mode: str, config: Config) -> tuple[keras.Model | None, ...]:
        image, meta = parts.image_inputs(config, mode)
        _, c2, c3, c4, c5 = parts.backbone(config, image)
        pyramid = build_fpn([c2, c3, c4, c5], config.TOP_DOWN_PYRAMID_SIZE)
        box_head, heads = parts.box_head(config), parts.instance_heads(config, mode)
        rest = _detecting if mode == "inference" else _training
        return rest(config, image, meta, pyramid, box_head, heads)

    def encoders(self, config: Config) -> list[Encoder]:
        return two_stage_encoders(config)

    def inputs(self, molded: np.ndarray, metas: np.ndarray) -> list[np.ndarray]:
        anchors = self.normalized_anchors(molded.shape[1:])
        return [molded, metas, np.broadcast_to(anchors, (len(molded), *anchors.shape))]

    def predict(self, molded: np.ndarray, metas: np.ndarray) -> Found:
        detector, heads = self.compiled
        # The maps stay on the device: the heads read them there.
        detections, *levels = detector(self.inputs(molded, metas))
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

    def result(self, found: Found, place: Place, rle: bool = False) -> dict[str, Any]:
        config, detections = self.config, found["detections"]
        kept, rois = place_boxes(detections, place, whole=config.MASK_PASTE == "integer")
        detections = detections[kept]
        class_ids = detections[:, 4].astype("int32")
        result = {"rois": rois, "class_ids": class_ids, "scores": detections[:, 5]}
        if "mrcnn_mask" in found:
            own = found["mrcnn_mask"][kept, :, :, class_ids]
            result["masks"] = paste_masks(own, rois, place.original, config.MASK_PASTE, rle)
        if "mrcnn_keypoint" in found:
            result["keypoints"] = place_keypoints(
                found["mrcnn_keypoint"][kept],
                detections,
                place,
                config.KEYPOINT_ROI_EXPAND,
                config.KEYPOINT_CLASSES,
                config.KEYPOINT_DECODE,
            )
        return result

    # Under the original's names

    def unmold_detections(
        self,
        detections: np.ndarray,
        mrcnn_mask: np.ndarray | None,
        original_image_shape: Sequence[int],
        image_shape: Sequence[int],
        window: Sequence[int] | np.ndarray,
        rle: bool = False,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, Any]:
        """Detections [D, 6] of one molded image, and masks [at least n, h, w, K] or None, in terms of the original one.

        Returns:
            boxes [n, 4] pixels, int32, or float32 unless MASK_PASTE is "integer"; class_ids [n] int32, scores [n]
            float32, masks [H, W, n] bool, or a list of n run lengths, or None.
        """
        place = Place(original_image_shape, image_shape, window, self.config.BOX_NORMALIZATION)
        masks = {} if mrcnn_mask is None else {"mrcnn_mask": mrcnn_mask}
        result = self.result({"detections": detections, **masks}, place, rle)
        return result["rois"], result["class_ids"], result["scores"], result.get("masks")

    def unmold_keypoints(
        self,
        detections: np.ndarray,
        heatmaps: np.ndarray,
        original_image_shape: Sequence[int],
        image_shape: Sequence[int],
        window: Sequence[int] | np.ndarray,
    ) -> np.ndarray:
        """Keypoints [n, J, 3] float32 of (x, y, score), in pixels of the original image, of the boxes that
        `unmold_detections` gives; heatmaps are [at least n, J, h, w] logits."""
        place = Place(original_image_shape, image_shape, window, self.config.BOX_NORMALIZATION)
        return self.result({"detections": detections, "mrcnn_keypoint": heatmaps}, place)["keypoints"]


def _detecting(config, image, meta, pyramid, box_head, heads):
    """The graph of detection; for `predict` the part up to the detections, and the other heads for any boxes."""
    levels = pyramid[:4]  # P6 serves the RPN alone
    anchors = parts.input_anchors(config)
    rpn, rois = parts.region_proposals(config, pyramid, meta, anchors, config.POST_NMS_ROIS_INFERENCE)
    classified = box_head(rois, levels, meta)
    probs, deltas = classified["mrcnn_class"], classified["mrcnn_bbox"]
    detections = parts.detection_layer(config)([rois, probs, deltas, meta])
    found = {name: head(detections[..., :4], levels, meta)[name] for name, head in heads.items()}
    outputs = [detections, probs, deltas, found.pop("mrcnn_mask", None), rois, rpn["rpn_class"], rpn["rpn_bbox"]]
    inputs = [image, meta, anchors]
    whole = InferenceGraph(inputs, [x for x in (*outputs, *found.values()) if x is not None], name="mask_rcnn")
    return whole, keras.Model(inputs, [detections, *levels]), _on_boxes(heads, levels, meta)


def _on_boxes(heads, levels, meta):
    """A model of the heads alone, for any number of boxes [B, n, 4], or None."""
    rois = keras.Input((None, 4))
    maps = [keras.Input(x.shape[1:], dtype=x.dtype) for x in levels]
    outputs = {name: head(rois, maps, meta)[name] for name, head in heads.items()}
    return keras.Model([rois, meta, *maps], outputs) if outputs else None


def _training(config, image, meta, pyramid, box_head, heads):
    """The graph of training, whose outputs are predictions beside targets."""
    levels = pyramid[:4]
    anchors = parts.constant_anchors(config, image)
    rpn, proposals = parts.region_proposals(config, pyramid, meta, anchors, config.POST_NMS_ROIS_TRAINING)
    truth = parts.truth_inputs(config)
    candidates = proposals if config.USE_RPN_ROIS else parts.normalized(config, truth["input_rois"])
    gt_boxes = parts.normalized(config, truth["input_gt_boxes"])
    sampler = parts.roi_sampler(config)
    shapes = [truth[name] for name in ("input_gt_masks", "input_gt_keypoints") if name in truth]
    rois, class_ids, bbox, *targets = sampler([candidates, truth["input_gt_class_ids"], gt_boxes, *shapes])
    outputs = {
        **rpn,
        "rpn_rois": proposals,
        "output_rois": rois,
        **box_head(rois, levels, meta),
        "target_rpn_match": truth["input_rpn_match"],
        "target_rpn_bbox": truth["input_rpn_bbox"],
        "target_class_ids": class_ids,
        "target_bbox": bbox,
        "active_class_ids": parse_image_meta(meta)["active_class_ids"],
    }
    # Only the first slots can be positive, and only positive ones have a mask and keypoints.
    positive = rois[:, : sampler.positive_slots]
    for (name, head), target in zip(heads.items(), targets, strict=True):
        outputs |= {**head(positive, levels, meta), name.replace("mrcnn", "target"): target}
    graph = TrainingGraph([image, meta, *truth.values()], outputs, name="mask_rcnn")
    graph.set_losses(
        mask_rcnn_losses,
        {"mean": config.LOSS_MEAN, "beta": config.SMOOTH_L1_BETA, "mask_logits": config.MASK_LOSS == "logits"},
        parts.loss_weights(config, ["rpn_class", "rpn_bbox", "mrcnn_class", "mrcnn_bbox", *heads]),
        parts.decay_in_loss(config),
    )
    return (graph,)


@keras.saving.register_keras_serializable("mrcnn")
def mask_rcnn_losses(
    outputs: dict[str, Tensor], mean: str = "positives", beta: float = 1.0, mask_logits: bool = False
) -> dict[str, Tensor]:
    """The losses (section 3 of the paper), of the outputs of the training graph.

    Args:
        outputs: predictions and targets by name.
        mean, beta: of the box losses, see LOSS_MEAN and SMOOTH_L1_BETA in `Config`.
        mask_logits: whether the masks are logits.
    """
    y = outputs
    rpn_match, class_ids = y["target_rpn_match"], y["target_class_ids"]
    found = {
        "rpn_class_loss": losses.rpn_class_loss(rpn_match, y["rpn_class_logits"]),
        "rpn_bbox_loss": losses.rpn_bbox_loss(y["target_rpn_bbox"], rpn_match, y["rpn_bbox"], mean, beta),
        "mrcnn_class_loss": losses.class_loss(class_ids, y["mrcnn_class_logits"], y["active_class_ids"]),
        "mrcnn_bbox_loss": losses.bbox_loss(y["target_bbox"], class_ids, y["mrcnn_bbox"], mean, beta),
    }
    if "mrcnn_mask" in y:
        slots = y["target_mask"].shape[1]
        found["mrcnn_mask_loss"] = losses.mask_loss(
            y["target_mask"], class_ids[:, :slots], y["mrcnn_mask"], mask_logits
        )
    if "mrcnn_keypoint" in y:
        found["mrcnn_keypoint_loss"] = losses.keypoint_loss(y["target_keypoint"], y["mrcnn_keypoint"])
    return found
