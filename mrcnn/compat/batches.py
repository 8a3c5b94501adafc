"""Images, targets and batches in NumPy as the original's functions give them to notebooks and old training loops."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mrcnn.data.batches import INPUT_NAMES, DataGenerator
from mrcnn.data.dataset import Dataset
from mrcnn.data.encoders import two_stage_encoders
from mrcnn.data.random_rois import generate_random_rois
from mrcnn.data.resizing import mold, unmold
from mrcnn.data.rpn_targets import rpn_targets
from mrcnn.ops import boxes, images
from mrcnn.ops.matching import AnchorBlocks
from mrcnn.settings import Config


def mold_image(images: np.ndarray, config: Config) -> np.ndarray:
    """Images as the network reads them, float32; see `mrcnn.data.resizing.mold`."""
    return mold(images, config)


def unmold_image(normalized_images: ArrayLike, config: Config) -> np.ndarray:
    """The inverse of `mold_image`, uint8."""
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
    match, deltas = rpn_targets(AnchorBlocks(anchors), gt_class_ids, gt_boxes, count, std_dev, random)
    return match.astype("int32"), deltas


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
            batch["input_gt_boxes"] = batch["input_gt_boxes"].astype("int32")
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
