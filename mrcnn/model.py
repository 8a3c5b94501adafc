"""The names of the 2017-2019 package's `mrcnn.model`. Each one lives in the room that it is about; look there.

Old scripts import imgaug after this module: importing it gives NumPy the names back that imgaug 0.4.0 reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from keras import ops
from keras.ops import log2 as log2_graph  # noqa: F401
from numpy.typing import ArrayLike

from mrcnn.data.anchors import compute_backbone_shapes  # noqa: F401
from mrcnn.data.batches import INPUT_NAMES, DataGenerator
from mrcnn.data.dataset import Dataset
from mrcnn.data.encoders import two_stage_encoders
from mrcnn.data.imgaug import restore_numpy_names
from mrcnn.data.random_rois import generate_random_rois
from mrcnn.data.rpn_targets import rpn_targets
from mrcnn.data.samples import load_image_gt  # noqa: F401
from mrcnn.layers.batch_norm import BatchNorm  # noqa: F401
from mrcnn.layers.box_head import BoxHead
from mrcnn.layers.detections import DetectionLayer, refine_detections  # noqa: F401
from mrcnn.layers.mask_head import MaskHead
from mrcnn.layers.resnet import conv_block, identity_block, resnet_graph  # noqa: F401
from mrcnn.layers.roi_align import PyramidROIAlign  # noqa: F401
from mrcnn.layers.rpn import ProposalLayer, build_rpn_model, rpn_graph  # noqa: F401
from mrcnn.layers.targets import DetectionTargetLayer
from mrcnn.losses import bbox_loss as mrcnn_bbox_loss_graph  # noqa: F401
from mrcnn.losses import class_loss as mrcnn_class_loss_graph  # noqa: F401
from mrcnn.losses import mask_loss as mrcnn_mask_loss_graph  # noqa: F401
from mrcnn.losses import rpn_bbox_loss, smooth_l1_loss  # noqa: F401
from mrcnn.losses import rpn_class_loss as rpn_class_loss_graph  # noqa: F401
from mrcnn.models.inspection import log  # noqa: F401
from mrcnn.models.mask_rcnn import MaskRCNN  # noqa: F401
from mrcnn.models.network import LAYER_PRESETS  # noqa: F401
from mrcnn.ops import boxes, images
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.boxes import clip as clip_boxes_graph  # noqa: F401
from mrcnn.ops.boxes import decode as apply_box_deltas_graph  # noqa: F401
from mrcnn.ops.boxes import denormalize as denorm_boxes_graph  # noqa: F401
from mrcnn.ops.boxes import normalize as norm_boxes_graph  # noqa: F401
from mrcnn.ops.boxes import overlaps as overlaps_graph  # noqa: F401
from mrcnn.ops.matching import AnchorBlocks
from mrcnn.ops.meta import compose_image_meta, parse_image_meta  # noqa: F401
from mrcnn.ops.meta import parse_image_meta as parse_image_meta_graph  # noqa: F401
from mrcnn.settings.config import Config

restore_numpy_names()


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


def mold_image(images: np.ndarray, config: Config) -> np.ndarray:
    """Images as the network reads them, float32; see `mrcnn.data.resizing.mold`."""
    from mrcnn.data.resizing import mold

    return mold(images, config)


def unmold_image(normalized_images: ArrayLike, config: Config) -> np.ndarray:
    """The inverse of `mold_image`, uint8."""
    from mrcnn.data.resizing import unmold

    return unmold(normalized_images, config)


def build_rpn_targets(
    image_shape: Any,
    anchors: np.ndarray,
    gt_class_ids: ArrayLike,
    gt_boxes: ArrayLike,
    config: Config,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """What the RPN should say of anchors [A, 4]; see `rpn_targets`. Without `rng` NumPy's global state draws;
    `image_shape` is not used."""
    count, std_dev = config.RPN_TRAIN_ANCHORS_PER_IMAGE, config.RPN_BBOX_STD_DEV
    random = np.random if rng is None else rng
    return rpn_targets(AnchorBlocks(anchors), gt_class_ids, gt_boxes, count, std_dev, random)


def build_detection_targets(
    rpn_rois: np.ndarray,
    gt_class_ids: np.ndarray,
    gt_boxes: np.ndarray,
    gt_masks: np.ndarray,
    config: Config,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Targets of the heads for the proposals of one image, in NumPy, as notebooks show them.

    Args:
        rpn_rois: [N, 4] pixels.
        gt_class_ids: [n]; crowds are left out.
        gt_boxes: [n, 4] pixels.
        gt_masks: [H, W, n], or [h, w, n] mini masks.
        config: a `Config`.
        rng: `numpy.random.Generator`; default is NumPy's global state.

    Returns:
        rois [T, 4] int32, class_ids [T] int32, deltas [T, K, 4] float32, masks [T, *MASK_SHAPE, K] float32; the last
        two are zero but for the channel of the class.
    """
    rng = np.random.default_rng(np.random.randint(2**31)) if rng is None else rng
    instances = np.asarray(gt_class_ids) > 0
    gt_class_ids, gt_boxes, gt_masks = gt_class_ids[instances], gt_boxes[instances], gt_masks[..., instances]
    total = config.TRAIN_ROIS_PER_IMAGE
    iou = boxes.overlaps(rpn_rois, gt_boxes)
    best = iou.argmax(axis=1) if len(gt_boxes) else np.zeros(len(rpn_rois), int)
    positive = iou.max(axis=1) >= 0.5 if len(gt_boxes) else np.zeros(len(rpn_rois), bool)

    def pick(candidates, count):
        return rng.choice(candidates, min(count, len(candidates)), replace=False)

    kept = pick(np.nonzero(positive)[0], int(total * config.ROI_POSITIVE_RATIO))
    background = pick(np.nonzero(~positive)[0], total - len(kept))
    keep = np.concatenate([kept, background]).astype(int)
    # Too few proposals: background is repeated, as every row must be a RoI.
    if len(keep) < total and len(background):
        keep = np.concatenate([keep, rng.choice(background, total - len(keep))])

    class_ids = np.where(positive[keep], gt_class_ids[best[keep]] if len(gt_boxes) else 0, 0).astype("int32")
    deltas = np.zeros((len(keep), config.NUM_CLASSES, 4), "float32")
    target_masks = np.zeros((len(keep), *config.MASK_SHAPE, config.NUM_CLASSES), "float32")
    for row in np.nonzero(class_ids > 0)[0]:
        roi, match = rpn_rois[keep[row]].astype(int), best[keep[row]]
        mask = gt_masks[..., match]
        if config.USE_MINI_MASK:
            full = np.zeros(config.IMAGE_SHAPE[:2])
            y1, x1, y2, x2 = gt_boxes[match].astype(int)
            full[y1:y2, x1:x2] = np.round(images.resize(mask.astype(float), (y2 - y1, x2 - x1)))
            mask = full
        inside = mask[roi[0] : roi[2], roi[1] : roi[3]].astype(float)
        target_masks[row, ..., class_ids[row]] = images.resize(inside, config.MASK_SHAPE)
        encoded = boxes.encode(rpn_rois[keep[row]].astype("float32"), gt_boxes[match].astype("float32"))
        deltas[row, class_ids[row]] = encoded / np.asarray(config.BBOX_STD_DEV)
    return rpn_rois[keep].astype("int32"), class_ids, deltas, target_masks


def data_generator(
    dataset: Dataset,
    config: Config,
    shuffle: bool = True,
    augment: bool = False,
    augmentation: Any = None,
    random_rois: int = 0,
    batch_size: int = 1,
    detection_targets: bool = False,
    no_augmentation_sources: Iterable[str] | None = None,
) -> Iterator[tuple[list[np.ndarray], list[np.ndarray]]]:
    """Endless batches as lists, (inputs, outputs) as the original's generator yields them.

    inputs: [images, image_meta, rpn_match, rpn_bbox, gt_class_ids, gt_boxes, gt_masks], with random_rois > 0 also
    [rois], and with detection_targets [.., rois sampled] while outputs are [class ids, deltas, masks].
    """
    generator = DataGenerator(
        dataset,
        _with_batch(config, batch_size),
        shuffle,
        augment,
        augmentation,
        no_augmentation_sources,
        encoders=two_stage_encoders(config, random_rois or None),
    )
    while True:
        for index in range(len(generator)):
            (batch,) = generator[index]
            inputs, outputs = [batch[name] for name in INPUT_NAMES], []
            if random_rois:
                shape = list(config.IMAGE_SHAPE)
                found = []
                rois = []
                for k in range(batch_size):
                    ids, gt = batch["input_gt_class_ids"][k], batch["input_gt_boxes"][k]
                    rois.append(generate_random_rois(shape, random_rois, ids[ids != 0], gt[ids != 0]))
                    if detection_targets:
                        found.append(build_detection_targets(rois[-1], ids, gt, batch["input_gt_masks"][k], config))
                inputs.append(np.stack(rois))
                if detection_targets:
                    sampled, *outputs = (np.stack(values) for values in zip(*found, strict=True))
                    inputs.append(sampled)
                    outputs[0] = outputs[0][..., None]
            yield inputs, outputs
        generator.on_epoch_end()


def _with_batch(config, batch_size):
    """The same config with another batch size."""
    copy = object.__new__(type(config))
    copy.__dict__.update(config.__dict__, BATCH_SIZE=batch_size)
    return copy
