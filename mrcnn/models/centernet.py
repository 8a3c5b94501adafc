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
from mrcnn.models import dense_parts
from mrcnn.models.detector import Found
from mrcnn.models.points import STRIDE, PointDetector
from mrcnn.ops import keypoints
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.heatmaps import cells_of
from mrcnn.ops.results import Place
from mrcnn.settings import Config


class CenterNet(PointDetector):
    """CenterNet: an object is the point at its centre. There are no anchors and no suppression.

    With NUM_KEYPOINTS it finds the joints [B, D, J, 3] of each as well.
    """

    name = "centernet"

    def _values(self, config):
        """The numbers that are said in every cell, by name."""
        joints = config.NUM_KEYPOINTS
        values = {"class": config.NUM_CLASSES - 1, "size": 2, "offset": 2}
        more = {"joint_class": joints, "joint_vector": 2 * joints, "joint_offset": 2}
        return {**values, **(more if joints else {})}

    def head(self, config: Config, image: Tensor) -> dict[str, Tensor]:
        """ "dense_class" [B, h, w, K - 1] logits of centres, "dense_size" and "dense_offset" [B, h, w, 2] in cells;
        with NUM_KEYPOINTS "dense_joint_class" [B, h, w, J] logits of joints, "dense_joint_vector" [B, h, w, 2 J] from
        the corner of a centre's cell and "dense_joint_offset" [B, h, w, 2]."""
        return dense_parts.point_maps(config, dense_parts.upsampled(config, image), self._values(config))

    def picked(self, config: Config, said: dict[str, Tensor], meta: Tensor) -> dict[str, Tensor]:
        order = list(said.values())
        found = dense_parts.peak_layer(config, STRIDE)([*order[:3], meta, *order[3:]])
        return {"detections": found[0], "joints": found[1]} if config.NUM_KEYPOINTS else {"detections": found}

    def heatmaps(self, config: Config) -> dict[str, int]:
        joints = {"input_joint_heatmap": config.NUM_KEYPOINTS} if config.NUM_KEYPOINTS else {}
        return {"input_heatmap": config.NUM_CLASSES - 1, **joints}

    def encoders(self, config: Config) -> list[Encoder]:
        shape = [side // STRIDE for side in config.IMAGE_SHAPE[:2]]
        counts = config.NUM_CLASSES - 1, config.NUM_KEYPOINTS
        return [HeatmapTargets(shape, STRIDE, *counts, config.HEATMAP_IOU, config.HEATMAP_RADIUS)]

    def criterion(self, config: Config) -> tuple[Any, list[str]]:
        return centernet_losses, [f"dense_{name}" for name in self._values(config)]

    def result(self, found: Found, place: Place, rle: bool = False) -> dict[str, Any]:
        kept, result = self.placed(found, place)
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
