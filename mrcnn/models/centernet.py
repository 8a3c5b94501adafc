"""CenterNet (Zhou et al. 2019) as in its figure: a map of stride 4, heatmaps of centres, a size and an offset at each;
and for poses joints as seen from the centre, and heatmaps of their own."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from mrcnn import losses
from mrcnn.data.encoders import Encoder
from mrcnn.data.heatmap_targets import HeatmapTargets
from mrcnn.layers.dense_head import point_map, prior_bias
from mrcnn.models import dense_parts, parts
from mrcnn.models.dense import DenseDetector
from mrcnn.models.detector import Detector, Found
from mrcnn.models.graph import InferenceGraph, TrainingGraph
from mrcnn.ops import keypoints
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.heatmaps import cells_of
from mrcnn.ops.meta import parse_image_meta
from mrcnn.ops.results import Place, place_boxes
from mrcnn.settings import Config

STRIDE = 4


class CenterNet(Detector):
    """CenterNet: an object is the point at its centre. There are no anchors and no suppression.

    `keras_model` for inference takes [image, image_meta] and gives the detections [B, D, 6], with NUM_KEYPOINTS their
    joints [B, D, J, 3], then what the head says by the order of `head`.
    """

    name = "centernet"
    layer_presets = DenseDetector.layer_presets

    def head(self, config: Config, image: Tensor) -> dict[str, Tensor]:
        """What is said in every cell of stride 4: "dense_class" [B, h, w, K - 1] logits of centres, "dense_size" and
        "dense_offset" [B, h, w, 2] in cells; with NUM_KEYPOINTS "dense_joint_class" [B, h, w, J] logits of joints,
        "dense_joint_vector" [B, h, w, 2 J] from the corner of a centre's cell and "dense_joint_offset" [B, h, w, 2].
        All pairs are (y, x)."""
        x = dense_parts.upsampled(config, image)
        joints = config.NUM_KEYPOINTS
        values = {"class": config.NUM_CLASSES - 1, "size": 2, "offset": 2}
        if joints:
            values |= {"joint_class": joints, "joint_vector": 2 * joints, "joint_offset": 2}
        said = {}
        for name, count in values.items():
            (own,) = dense_parts.tower(config, name)([x])
            said[f"dense_{name}"] = point_map(own, name, count, prior_bias(0.1) if "class" in name else 0.0)
        return said

    def graphs(self, mode: str, config: Config) -> tuple[keras.Model | None, ...]:
        image, meta = parts.image_inputs(config, mode)
        said = self.head(config, image)
        build = self._detecting if mode == "inference" else self._training
        return build(config, image, meta, said)

    def _detecting(self, config, image, meta, said):
        """The graph of detection with what the head says, and for `predict` without it."""
        order = list(said.values())
        found = dense_parts.peak_layer(config, STRIDE)([*order[:3], meta, *order[3:]])
        found = {"detections": found[0], "joints": found[1]} if config.NUM_KEYPOINTS else {"detections": found}
        whole = InferenceGraph([image, meta], [*found.values(), *order], name=self.name)
        return whole, keras.Model([image, meta], found)

    def _training(self, config, image, meta, said):
        """The graph of training, whose outputs are predictions beside targets."""
        truth = {**parts.truth_inputs(config), **dense_parts.heatmap_inputs(config, image, STRIDE)}
        outputs = {**said, **{name.replace("input_", "target_"): x for name, x in truth.items()}}
        outputs["active_class_ids"] = parse_image_meta(meta)["active_class_ids"]
        graph = TrainingGraph([image, meta, *truth.values()], outputs, name=self.name)
        arguments = {"alpha": config.FOCAL_GAMMA, "beta": config.HEATMAP_BETA}
        weights = parts.loss_weights(config, list(said))
        graph.set_losses(centernet_losses, arguments, weights, parts.decay_in_loss(config))
        return (graph,)

    def encoders(self, config: Config) -> list[Encoder]:
        shape = [side // STRIDE for side in config.IMAGE_SHAPE[:2]]
        counts = config.NUM_CLASSES - 1, config.NUM_KEYPOINTS
        return [HeatmapTargets(shape, STRIDE, *counts, config.HEATMAP_IOU, config.HEATMAP_RADIUS)]

    def predict(self, molded: np.ndarray, metas: np.ndarray, *given: np.ndarray) -> Found:
        (detector,) = self.compiled
        found = detector(self.inputs(molded, metas, *given))
        return {name: ops.convert_to_numpy(x) for name, x in found.items()}

    def result(self, found: Found, place: Place, rle: bool = False) -> dict[str, Any]:
        kept, rois = place_boxes(found["detections"], place, whole=self.config.MASK_PASTE == "integer")
        rows = found["detections"][kept]
        result = {"rois": rois, "class_ids": rows[:, 4].astype("int32"), "scores": rows[:, 5]}
        if "joints" in found:
            points = keypoints.restore(found["joints"][kept], place.original, place.window)
            if self.config.KEYPOINT_CLASSES is not None:
                points[~np.isin(result["class_ids"], self.config.KEYPOINT_CLASSES)] = 0
            result["keypoints"] = points
        return result


@keras.saving.register_keras_serializable("mrcnn")
def centernet_losses(outputs: dict[str, Tensor], alpha: float = 2.0, beta: float = 4.0) -> dict[str, Tensor]:
    """The losses (section 4 of the paper, and 4.2 of joints), of the outputs of the training graph.

    Args:
        outputs: predictions and targets by name.
        alpha, beta: see `heatmap_loss`.
    """
    y, present = outputs, outputs["target_gt_class_ids"] > 0
    boxes, shape = y["target_gt_boxes"] / STRIDE, y["dense_class"].shape[1:3]
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    cells, corners = cells_of(centres, shape)
    found = {
        "dense_class_loss": losses.heatmap_loss(
            y["target_heatmap"], y["dense_class"], y["active_class_ids"][:, 1:], alpha, beta
        ),
        "dense_size_loss": losses.point_loss(boxes[..., 2:] - boxes[..., :2], y["dense_size"], cells, present),
        "dense_offset_loss": losses.point_loss(centres - corners, y["dense_offset"], cells, present),
    }
    if "dense_joint_class" in y:
        found |= joint_losses(y, cells, corners, present, alpha, beta)
    return found


def joint_losses(
    y: dict[str, Tensor], cells: Tensor, corners: Tensor, present: Tensor, alpha: float, beta: float
) -> dict[str, Tensor]:
    """Those of joints; of the instances the cells [B, G] of their centres, the cells' corners [B, G, 2], and which
    there are [B, G]."""
    points, shape = y["target_gt_keypoints"], y["dense_class"].shape[1:3]
    _, slots, joints, _ = points.shape
    known = ops.logical_and(points[..., 2] > 0, present[..., None])
    places = (ops.stack([points[..., 1], points[..., 0]], axis=-1) + 0.5) / STRIDE  # pixel 0 reaches from 0 to 1
    vectors = ops.reshape(places - corners[:, :, None], (-1, slots, 2 * joints))
    each = ops.reshape(places, (-1, slots * joints, 2))
    joint_cells, joint_corners = cells_of(each, shape)
    both = ops.reshape(ops.repeat(known[..., None], 2, axis=-1), (-1, slots, 2 * joints))
    return {
        "dense_joint_class_loss": losses.heatmap_loss(
            y["target_joint_heatmap"], y["dense_joint_class"], None, alpha, beta
        ),
        "dense_joint_vector_loss": losses.point_loss(vectors, y["dense_joint_vector"], cells, both),
        "dense_joint_offset_loss": losses.point_loss(
            each - joint_corners, y["dense_joint_offset"], joint_cells, ops.reshape(known, (-1, slots * joints))
        ),
    }
