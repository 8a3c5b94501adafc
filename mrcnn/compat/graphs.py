"""Functions on tensors that the original's graphs were put together from, where ours have other arguments."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from mrcnn.layers.box_head import BoxHead
from mrcnn.layers.detections import refine_detections
from mrcnn.layers.mask_head import MaskHead
from mrcnn.layers.targets import DetectionTargetLayer
from mrcnn.losses import rpn_bbox_loss
from mrcnn.ops.boxes import Tensor
from mrcnn.settings import Config


def fpn_classifier_graph(
    rois: Tensor,
    feature_maps: Sequence[Tensor],
    image_meta: Tensor,
    pool_size: int,
    num_classes: int,
    train_bn: bool | None = True,
    fc_layers_size: int = 1024,
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [B, N, K], probabilities [B, N, K] and deltas [B, N, K, 4] of rois [B, N, 4]; see `BoxHead`."""
    outputs = BoxHead(pool_size, num_classes, train_bn, fc_layers_size)(rois, feature_maps, image_meta)
    return outputs["mrcnn_class_logits"], outputs["mrcnn_class"], outputs["mrcnn_bbox"]


def build_fpn_mask_graph(
    rois: Tensor,
    feature_maps: Sequence[Tensor],
    image_meta: Tensor,
    pool_size: int,
    num_classes: int,
    train_bn: bool | None = True,
) -> Tensor:
    """Mask probabilities [B, N, 2 pool_size, 2 pool_size, K] of rois [B, N, 4]; see `MaskHead`."""
    return MaskHead(pool_size, num_classes, train_bn)(rois, feature_maps, image_meta)["mrcnn_mask"]


def rpn_bbox_loss_graph(config: Any, target_bbox: Tensor, rpn_match: Tensor, rpn_bbox: Tensor) -> Tensor:
    """`mrcnn.losses.rpn_bbox_loss`; `config` is not used, old code passes it."""
    return rpn_bbox_loss(target_bbox, rpn_match, rpn_bbox)


def batch_pack_graph(x: Tensor, counts: Sequence[int] | Tensor, num_rows: int) -> Tensor:
    """The first counts[i] rows of each of x's num_rows items [B, N, ...], behind each other."""
    return ops.concatenate([x[i, : int(counts[i])] for i in range(num_rows)], axis=0)


def trim_zeros_graph(boxes: Tensor, name: str = "trim_zeros") -> tuple[Tensor, Tensor]:
    """Boxes [N, 4] without rows of zeros, and the mask [N] of those kept; not for compiled code."""
    kept = ops.any(ops.not_equal(boxes, 0), axis=1)
    return ops.take(boxes, ops.nonzero(kept)[0], axis=0), kept


def refine_detections_graph(rois: Tensor, probs: Tensor, deltas: Tensor, window: Tensor, config: Config) -> Tensor:
    """Detections [D, 6] of one image: rois [N, 4], probs [N, K], deltas [N, K, 4], window [4], boxes normalised."""
    rois, probs, deltas, window = (ops.convert_to_tensor(x)[None] for x in (rois, probs, deltas, window))
    return refine_detections(
        rois,
        probs,
        deltas,
        window,
        config.DETECTION_MAX_INSTANCES,
        config.DETECTION_MIN_CONFIDENCE,
        config.DETECTION_NMS_THRESHOLD,
        config.BBOX_STD_DEV,
    )[0]


def detection_targets_graph(
    proposals: Tensor, gt_class_ids: Tensor, gt_boxes: Tensor, gt_masks: Tensor, config: Config
) -> list[Tensor]:
    """Targets of one image; see `DetectionTargetLayer`, whose batch axis is left out here."""
    layer = DetectionTargetLayer(
        config.TRAIN_ROIS_PER_IMAGE,
        config.ROI_POSITIVE_RATIO,
        config.MASK_SHAPE,
        config.USE_MINI_MASK,
        config.BBOX_STD_DEV,
    )
    inputs = [ops.convert_to_tensor(x)[None] for x in (proposals, gt_class_ids, gt_boxes, gt_masks)]
    return [output[0] for output in layer(inputs)]
