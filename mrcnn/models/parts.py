"""The parts of detectors as a `Config` asks for them. Here it is read; the parts take explicit arguments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from mrcnn.data.anchors import anchor_settings
from mrcnn.layers.backbones import build_backbone
from mrcnn.layers.batch_norm import BatchNorm
from mrcnn.layers.box_head import BoxHead
from mrcnn.layers.detections import DetectionLayer, image_window
from mrcnn.layers.fpn import build_fpn
from mrcnn.layers.group_norm import group_norm
from mrcnn.layers.keypoint_head import KeypointHead
from mrcnn.layers.mask_head import MaskHead
from mrcnn.layers.roi_head import RoiHead
from mrcnn.layers.rpn import Anchors, ProposalLayer, build_rpn_model
from mrcnn.layers.targets import DetectionTargetLayer
from mrcnn.ops import boxes
from mrcnn.ops.anchors import count_anchors
from mrcnn.ops.boxes import Tensor
from mrcnn.settings import Config
from mrcnn.settings.checks import MAP_STRIDES, ONE_STAGE

# Losses that weigh less by their papers: sizes are in cells; embeddings tell corners apart, whatever their units.
SMALLER = dict.fromkeys(("dense_size_loss", "dense_pull_loss", "dense_push_loss"), 0.1)


def image_shape(config: Config, mode: str) -> list[Any]:
    """(H, W, C) of the graph's input; sides are None where images come in many sizes, and for inference in two stages,
    as the config's sizes may change later.

    Raises:
        ValueError: training on images of many sizes.
    """
    shape: list[Any] = list(config.IMAGE_SHAPE)
    many = config.IMAGE_RESIZE_MODE in ("rect", "shortest", "pad64", "none")
    if mode == "inference" and (many or config.DETECTOR not in ONE_STAGE):
        shape[:2] = None, None
    elif None in shape:
        raise ValueError(
            f"IMAGE_RESIZE_MODE is {config.IMAGE_RESIZE_MODE!r} and IMAGE_MAX_DIM None; training needs images of one "
            "size: set IMAGE_MAX_DIM to their side."
        )
    return shape


def batch_size(config: Config, mode: str) -> int | None:
    """Images in a batch of the graph: one device trains on batches of one size; a batch that is split over several has
    another on each, and detection takes any."""
    return config.BATCH_SIZE if mode == "training" and config.GPU_COUNT == 1 else None


def image_inputs(config: Config, mode: str) -> tuple[Tensor, Tensor]:
    """The inputs input_image [B, H, W, C] and input_image_meta [B, 12 + K]."""
    batch = batch_size(config, mode)
    return (
        keras.Input(image_shape(config, mode), batch, name="input_image"),
        keras.Input((config.IMAGE_META_SIZE,), batch, name="input_image_meta"),
    )


def _inputs(config, shapes):
    """Inputs of a training graph by name, of {name: (shape, dtype)}."""
    batch = batch_size(config, "training")
    return {name: keras.Input(shape, batch, dtype=dtype, name=name) for name, (shape, dtype) in shapes.items()}


def rpn_inputs(config: Config) -> dict[str, Tensor]:
    """Inputs of what the RPN should say, by name."""
    anchors = count_anchors(**anchor_settings(config, image_shape(config, "training")))
    shapes = {
        "input_rpn_match": ((anchors, 1), "int32"),
        "input_rpn_bbox": ((config.RPN_TRAIN_ANCHORS_PER_IMAGE, 4), "float32"),
    }
    return _inputs(config, shapes)


def truth_inputs(config: Config) -> dict[str, Tensor]:
    """Inputs of the ground truth, by name, in the original's order. Boxes are in pixels."""
    limit = config.MAX_GT_INSTANCES
    mask_shape = config.MINI_MASK_SHAPE if config.USE_MINI_MASK else image_shape(config, "training")[:2]
    shapes: dict[str, tuple[Sequence[int], str]] = {
        "input_gt_class_ids": ((limit,), "int32"),
        "input_gt_boxes": ((limit, 4), "float32"),
    }
    if "segm" in config.finds:
        shapes["input_gt_masks"] = (*mask_shape, limit), "bool"
    if "keypoints" in config.finds:
        shapes["input_gt_keypoints"] = (limit, config.NUM_KEYPOINTS, 3), "float32"
    return _inputs(config, shapes)


def roi_input(config: Config, mode: str) -> Tensor:
    """The input of RoIs that come with an image: in training [B, N, 4] in pixels of it, else normalised."""
    if mode == "inference":
        return keras.Input((config.POST_NMS_ROIS_INFERENCE, 4), name="input_rois")
    return _inputs(config, {"input_rois": ((config.POST_NMS_ROIS_TRAINING, 4), "float32")})["input_rois"]


def semantic_inputs(config: Config) -> dict[str, Tensor]:
    """Inputs of the class of every pixel, by name, and of what each pixel weighs."""
    sides = tuple(image_shape(config, "training")[:2])
    return _inputs(config, {"input_semantic": (sides, "int32"), "input_semantic_weights": (sides, "float32")})


def backbone(config: Config, image: Tensor, **variant: Any) -> Sequence[Tensor]:
    """The maps C1..C5 of an image; `variant` as of `build_backbone`, where no setting has it."""
    return build_backbone(
        config.BACKBONE,
        image,
        False if config.FREEZE_BACKBONE_BN else config.TRAIN_BN,
        config.BACKBONE_WIDTH,
        stride=config.RESNET_STRIDE,
        bias=config.RESNET_BIAS,
        padding=config.RESNET_PADDING,
        epsilon=config.BATCH_NORM_EPSILON,
        **variant,
    )


def feature_maps(config: Config, image: Tensor) -> list[Tensor]:
    """What regions are proposed on, finest first: the pyramid [P2, P3, P4, P5, P6], or, where BACKBONE_STRIDES has one
    number, the backbone's map of that stride."""
    _, *maps = backbone(config, image)
    if len(config.BACKBONE_STRIDES) == 1:
        return [maps[MAP_STRIDES.index(config.BACKBONE_STRIDES[0])]]
    norm = _norm(config, config.FPN_BN)
    return build_fpn(maps, config.TOP_DOWN_PYRAMID_SIZE, norm=norm and partial(norm, frozen=config.TRAIN_BN is False))


def roi_maps(maps: Sequence[Tensor]) -> list[Tensor]:
    """What RoIs are cut out of: P6 of a pyramid serves the RPN alone."""
    return list(maps[:4])


def input_anchors(config: Config) -> Tensor:
    """The input of the inference graph for anchors, [B, A, 4] normalised, as they follow from the image's size."""
    return keras.Input((None, 4), name="input_anchors")


def constant_anchors(config: Config, image: Tensor) -> Tensor:
    """The anchors of images of one size as a constant of the graph, [B, A, 4] normalised."""
    shape = image_shape(config, "training")
    layer = Anchors(shape[:2], config.BOX_NORMALIZATION, **anchor_settings(config, shape), name="anchors")
    return layer(image)


def region_proposals(
    config: Config, maps: Sequence[Tensor], image_meta: Tensor, anchors: Tensor, count: int
) -> tuple[dict[str, Tensor], Tensor]:
    """The RPN on all maps, and the `count` best of its boxes.

    Returns:
        {"rpn_class_logits", "rpn_class", "rpn_bbox"}, each [B, A, ...] of all levels; and proposals [B, count, 4].
    """
    rpn = build_rpn_model(
        config.RPN_ANCHOR_STRIDE,
        np.size(config.RPN_ANCHOR_SCALES[0]) * len(config.RPN_ANCHOR_RATIOS),
        maps[0].shape[-1],
        config.RPN_CHANNELS,
        config.RPN_SCORE,
        config.RPN_CONVOLUTIONS,
    )
    logits, probs, deltas = zip(*(rpn(x) for x in maps), strict=True)
    levels = {"rpn_class_logits": list(logits), "rpn_class": list(probs), "rpn_bbox": list(deltas)}
    outputs = {name: layers.Concatenate(axis=1, name=name, dtype="float32")(x) for name, x in levels.items()}
    each = levels if config.PROPOSAL_NMS == "level" else outputs
    proposals = ProposalLayer(
        count, config.RPN_NMS_THRESHOLD, config.PRE_NMS_LIMIT, config.RPN_BBOX_STD_DEV, name="ROI"
    )([each["rpn_class"], each["rpn_bbox"], anchors, *proposal_windows(config, image_meta)])
    return outputs, proposals


def proposal_windows(config: Config, image_meta: Tensor) -> list[Tensor]:
    """What regions are cut to, [B, 4] in a list, or nothing where that is the padded image."""
    return [image_window(image_meta, config.BOX_NORMALIZATION)] if config.PROPOSAL_WINDOW == "image" else []


def normalized(config: Config, pixels: Tensor) -> Tensor:
    """Boxes [..., 4] of pixels of the training images, normalised. Zero rows are padding and stay zero."""
    padding = ops.all(ops.equal(pixels, 0), axis=-1, keepdims=True)
    return ops.where(padding, 0.0, boxes.normalize(pixels, image_shape(config, "training"), config.BOX_NORMALIZATION))


class SampledRois(NamedTuple):
    """RoIs to learn from with what the box head should say of them; see `DetectionTargetLayer`.

    Attributes:
        rois, class_ids, deltas: [B, T, 4], [B, T], [B, T, 4].
        positive: [B, P, 4], the first of them, which alone have a mask and keypoints.
        shapes: what the further heads should say of these, in their order.
    """

    rois: Tensor
    class_ids: Tensor
    deltas: Tensor
    positive: Tensor
    shapes: list[Tensor]

    def outputs(self, stage: int = 0) -> dict[str, Tensor]:
        """The RoIs and their targets by name; `stage` counts those of a cascade."""
        names = (f"output{_number(stage)}_rois", f"target{_number(stage)}_class_ids", f"target{_number(stage)}_bbox")
        return dict(zip(names, (self.rois, self.class_ids, self.deltas), strict=True))


def sampled_rois(config: Config, candidates: Tensor, truth: dict[str, Tensor]) -> SampledRois:
    """RoIs sampled from the candidates [B, N, 4], normalised, by the ground truth of `truth_inputs`."""
    shape_of = {"input_gt_masks": "MASK_SHAPE", "input_gt_keypoints": "KEYPOINT_MASK_SHAPE"}
    given = {name: tuple(getattr(config, setting)) for name, setting in shape_of.items() if name in truth}
    sampler = DetectionTargetLayer(
        config.TRAIN_ROIS_PER_IMAGE,
        config.ROI_POSITIVE_RATIO,
        given.get("input_gt_masks"),
        config.USE_MINI_MASK,
        config.BBOX_STD_DEV,
        keypoint_shape=given.get("input_gt_keypoints"),
        image_shape=image_shape(config, "training"),
        keypoint_classes=config.KEYPOINT_CLASSES,
        roi_expand=config.KEYPOINT_ROI_EXPAND,
        append_gt=config.APPEND_GT_ROIS,
        sampling="aligned" if config.ROI_ALIGN == "pool" else config.ROI_ALIGN,  # masks cannot be pooled
        normalization=config.BOX_NORMALIZATION,
        name="proposal_targets",
    )
    gt_boxes = normalized(config, truth["input_gt_boxes"])
    rois, class_ids, deltas, *shapes = sampler(
        [candidates, truth["input_gt_class_ids"], gt_boxes, *(truth[name] for name in given)]
    )
    return SampledRois(rois, class_ids, deltas, rois[:, : sampler.positive_slots], shapes)


def _number(stage):
    """What the names of a stage's layers and outputs have behind "mrcnn"."""
    return f"_{stage + 1}" if stage else ""


def stage_prefix(stage: int) -> str:
    """The beginning of the names of a stage's layers and outputs: mrcnn, mrcnn_2, ..."""
    return f"mrcnn{_number(stage)}"


def stage_std_dev(config: Config, stage: int) -> np.ndarray:
    """The four numbers by which a stage's deltas are divided: those of later stages are smaller, as their regions are
    better."""
    return np.asarray(config.BBOX_STD_DEV) / (stage + 1)


def relabelled_rois(config: Config, stage: int, rois: Tensor, truth: dict[str, Tensor]) -> SampledRois:
    """All of the RoIs [B, T, 4] with what a later stage of a cascade should say of them, positives first."""
    layer = DetectionTargetLayer(
        config.TRAIN_ROIS_PER_IMAGE,
        positive_ratio=1.0,
        mask_shape=None,
        std_dev=stage_std_dev(config, stage),
        normalization=config.BOX_NORMALIZATION,
        iou_threshold=config.CASCADE_IOUS[stage - 1],
        name=f"{stage_prefix(stage)}_targets",
    )
    gt_boxes = normalized(config, truth["input_gt_boxes"])
    rois, class_ids, deltas = layer([rois, truth["input_gt_class_ids"], gt_boxes])
    return SampledRois(rois, class_ids, deltas, rois, [])


def _norm(config, wanted):
    batch_norm = partial(BatchNorm, epsilon=config.BATCH_NORM_EPSILON)
    return {"batch": batch_norm, "group": group_norm}[config.HEAD_NORM] if wanted else None


def _align(config):
    return {"sampling": config.ROI_ALIGN, "rounding": config.ROI_LEVEL}


def box_head(config: Config, stage: int = 0, class_agnostic: bool = False) -> BoxHead:
    """The head that every RoI goes through; `stage` counts those of a cascade."""
    return BoxHead(
        config.POOL_SIZE,
        config.NUM_CLASSES,
        config.TRAIN_BN,
        config.FPN_CLASSIF_FC_LAYERS_SIZE,
        _norm(config, config.BOX_HEAD_BN),
        class_agnostic=class_agnostic,
        prefix=stage_prefix(stage),
        dense=config.BOX_DENSE_LAYERS,
        convolutions=config.BOX_CONVOLUTIONS,
        conv_channels=config.BOX_CHANNELS,
        **_align(config),
    )


def instance_heads(config: Config, mode: str) -> dict[str, RoiHead]:
    """The heads that look at detections, and in training at positive RoIs: name of the output -> head."""
    heads: dict[str, RoiHead] = {}
    if "segm" in config.finds:
        heads["mrcnn_mask"] = MaskHead(
            config.MASK_POOL_SIZE,
            config.NUM_CLASSES,
            config.TRAIN_BN,
            config.MASK_CHANNELS,
            _norm(config, config.MASK_HEAD_BN),
            logits=mode == "training" and config.MASK_LOSS == "logits",
            **_align(config),
        )
    if "keypoints" in config.finds:
        heads["mrcnn_keypoint"] = KeypointHead(
            config.KEYPOINT_POOL_SIZE,
            config.NUM_KEYPOINTS,
            config.KEYPOINT_CONVOLUTIONS,
            config.KEYPOINT_CHANNELS,
            config.KEYPOINT_ROI_EXPAND,
            **_align(config),
        )
    return heads


def detection_layer(config: Config, stage: int = 0) -> DetectionLayer:
    """The layer that picks detections [B, D, 6] of RoIs that a stage has classified."""
    return DetectionLayer(
        config.DETECTION_MAX_INSTANCES,
        config.DETECTION_MIN_CONFIDENCE,
        config.DETECTION_NMS_THRESHOLD,
        stage_std_dev(config, stage),
        config.DETECTION_CLASSES,
        config.DETECTION_NMS,
        config.BOX_NORMALIZATION,
        name="mrcnn_detection",
    )


def box_loss_settings(config: Config) -> dict[str, Any]:
    """Arguments of the losses of boxes."""
    return {"mean": config.LOSS_MEAN, "beta": config.SMOOTH_L1_BETA}


def loss_weights(config: Config, names: Sequence[str]) -> dict[str, float]:
    """{loss: factor} for outputs by name; 1 where LOSS_WEIGHTS leaves one out, but for those of `SMALLER`."""
    weights = {**SMALLER, **config.LOSS_WEIGHTS}
    return {f"{name}_loss": weights.get(f"{name}_loss", 1.0) for name in names}


def decay_in_loss(config: Config) -> float:
    """The factor of the L2 term in the loss; 0 where the optimizer decays the weights itself."""
    return config.WEIGHT_DECAY if config.OPTIMIZER == "sgd" and config.WEIGHT_DECAY_BY == "loss" else 0.0
