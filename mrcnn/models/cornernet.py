"""CornerNet (Law and Deng 2018) as in its figure: a map of stride 4, for each of two corners a module that pools
towards it, heatmaps, an embedding and an offset; corners with embeddings that are alike are a box."""

from __future__ import annotations

from typing import Any

import keras

from mrcnn import losses
from mrcnn.data.encoders import Encoder
from mrcnn.data.heatmap_targets import CornerTargets
from mrcnn.layers.corners import CORNERS
from mrcnn.models import dense_parts
from mrcnn.models.points import STRIDE, PointDetector
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.heatmaps import cells_of
from mrcnn.settings import Config


class CornerNet(PointDetector):
    """CornerNet: an object is a pair of points, the top left and the bottom right corner of its box."""

    name = "cornernet"

    def head(self, config: Config, image: Tensor) -> dict[str, Tensor]:
        """Of each corner "dense_{corner}_class" [B, h, w, K - 1] logits, "dense_{corner}_embedding" [B, h, w, 1] and
        "dense_{corner}_offset" [B, h, w, 2], where in its cell it is."""
        x = dense_parts.upsampled(config, image)
        said: dict[str, Tensor] = {}
        for corner in CORNERS:
            values = {f"{corner}_class": config.NUM_CLASSES - 1, f"{corner}_embedding": 1, f"{corner}_offset": 2}
            said |= dense_parts.point_maps(config, dense_parts.corner_map(config, x, corner), values)
        return said

    def picked(self, config: Config, said: dict[str, Tensor], meta: Tensor) -> dict[str, Tensor]:
        return {"detections": dense_parts.corner_layer(config, STRIDE)([*said.values(), meta])}

    def heatmaps(self, config: Config) -> dict[str, int]:
        return {f"input_{corner}_heatmap": config.NUM_CLASSES - 1 for corner in CORNERS}

    def encoders(self, config: Config) -> list[Encoder]:
        shape, classes = [side // STRIDE for side in config.IMAGE_SHAPE[:2]], config.NUM_CLASSES - 1
        return [CornerTargets(shape, STRIDE, classes, overlap=config.HEATMAP_IOU, radius=config.HEATMAP_RADIUS)]

    def criterion(self, config: Config) -> tuple[Any, list[str]]:
        return cornernet_losses, ["dense_class", "dense_pull", "dense_push", "dense_offset"]


@keras.saving.register_keras_serializable("mrcnn")
def cornernet_losses(outputs: dict[str, Tensor], alpha: float = 2.0, beta: float = 4.0) -> dict[str, Tensor]:
    """The losses (sections 3.2 and 3.3 of the paper), of the outputs of the training graph.

    Args:
        outputs: predictions and targets by name.
        alpha, beta: see `heatmap_loss`.
    """
    y, present = outputs, outputs["target_gt_class_ids"] > 0
    class_losses, offset_losses, embeddings = [], [], {}
    for corner, sides in zip(CORNERS, (slice(0, 2), slice(2, 4)), strict=True):
        logits = y[f"dense_{corner}_class"]
        places = y["target_gt_boxes"][..., sides] / STRIDE
        cells, starts = cells_of(places, logits.shape[1:3])
        active = y["active_class_ids"][:, 1:]
        class_losses.append(losses.heatmap_loss(y[f"target_{corner}_heatmap"], logits, active, alpha, beta))
        said = y[f"dense_{corner}_offset"]
        offset_losses.append(losses.point_loss(places - starts, said, cells, present, smooth=1.0))
        embeddings[corner] = losses.at_cells(y[f"dense_{corner}_embedding"], cells)[..., 0]
    pull, push = losses.embedding_losses(embeddings["top_left"], embeddings["bottom_right"], present)
    return {
        "dense_class_loss": sum(class_losses),
        "dense_pull_loss": pull,
        "dense_push_loss": push,
        "dense_offset_loss": sum(offset_losses),
    }
