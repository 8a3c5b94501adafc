"""One image of a Dataset with its ground truth, as the network sees it."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from mrcnn.data.augment import augment as apply_augmentation
from mrcnn.data.dataset import Dataset
from mrcnn.ops import images, keypoints, masks
from mrcnn.settings.config import Config


def load_image_gt(
    dataset: Dataset,
    config: Config,
    image_id: int,
    augment: bool = False,
    augmentation: Any = None,
    use_mini_mask: bool = False,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, ...]:
    """Image and ground truth of one image, resized to the model's input.

    Args:
        dataset: a prepared `Dataset`.
        config: resize settings, IMAGE_CHANNEL_COUNT and MINI_MASK_SHAPE are read.
        image_id: index into the dataset.
        augment: flip left and right with a chance of one half.
        augmentation: as `mrcnn.data.augment.augment` takes it.
        use_mini_mask: masks cut to their boxes and resized to MINI_MASK_SHAPE.
        rng: `numpy.random.Generator` for crop, flip and augmentation; default is NumPy's global state.

    Returns:
        image uint8 [H, W, C]; image_meta float32 [12 + K]; class_ids int32 [n], crowds negative; boxes int32 [n, 4]
        pixels; masks bool [H, W, n] or [h, w, n]; and with NUM_KEYPOINTS keypoints float32 [n, J, 3] of (x, y, v),
        zero where there is none. Instances without any pixel left are dropped.

    Raises:
        ValueError: the masks are of another size than the image, or masks, class ids and keypoints not as many.
    """
    rng = np.random.default_rng(np.random.randint(2**31)) if rng is None else rng
    image = images.convert_channels(dataset.load_image(image_id), config.IMAGE_CHANNEL_COUNT)
    mask, class_ids = dataset.load_mask(image_id)
    mask, original_shape = np.asarray(mask, bool), image.shape
    if not mask.size and not len(class_ids):
        mask = np.zeros((*original_shape[:2], 0), bool)
    if mask.shape != (*original_shape[:2], len(class_ids)):
        raise ValueError(
            f"{dataset.image_info[image_id].get('path')}: the image is {original_shape[0]} x {original_shape[1]} "
            f"(height x width) with {len(class_ids)} class ids, but its masks are {' x '.join(map(str, mask.shape))}."
        )
    points = _load_keypoints(dataset, config, image_id, len(class_ids))
    image, window, scale, padding, crop = images.resize_image(
        image,
        min_dim=config.IMAGE_MIN_DIM,
        min_scale=config.IMAGE_MIN_SCALE,
        max_dim=config.IMAGE_MAX_DIM,
        mode=config.IMAGE_RESIZE_MODE,
        square=True,  # one shape for a batch
        rng=random.Random(rng.random()),
    )
    mask = masks.resize_mask(mask, scale, padding, crop)
    points = keypoints.resize(points, original_shape, scale, padding, crop)
    if augment and rng.random() < 0.5:
        image, mask = np.fliplr(image), np.fliplr(mask)
        points = keypoints.mirror(points, image.shape[1], config.KEYPOINT_FLIP_PAIRS)
    if augmentation is not None and config.NUM_KEYPOINTS:
        pairs = config.KEYPOINT_FLIP_PAIRS
        image, mask, points = apply_augmentation(image, mask, augmentation, rng, points, pairs)
    elif augmentation is not None:
        image, mask = apply_augmentation(image, mask, augmentation, rng)

    present = mask.any(axis=(0, 1))
    mask, class_ids = mask[..., present], np.asarray(class_ids, "int32")[present]
    points = keypoints.drop_outside(points[present], image.shape)
    bbox = masks.extract_bboxes(mask)
    # Only the classes of the image's own data set count in the class loss.
    active = np.zeros(dataset.num_classes, "int32")
    active[dataset.source_class_ids[dataset.image_info[image_id]["source"]]] = 1
    if use_mini_mask:
        mask = masks.minimize_mask(bbox, mask, config.MINI_MASK_SHAPE)
    meta = images.compose_image_meta(image_id, original_shape, image.shape, window, scale, active)
    return (image, meta, class_ids, bbox, mask, points)[: 6 if config.NUM_KEYPOINTS else 5]


def _load_keypoints(dataset, config, image_id, instances):
    """The image's keypoints [instances, NUM_KEYPOINTS, 3] float32; zeros where the data set has none."""
    shape = (instances, config.NUM_KEYPOINTS, 3)
    points = dataset.load_keypoints(image_id) if config.NUM_KEYPOINTS else None
    if points is None:
        return np.zeros(shape, "float32")
    if np.shape(points) != shape:
        raise ValueError(
            f"{dataset.image_info[image_id].get('path')}: its keypoints are {np.shape(points)}; for {instances} "
            f"instances and NUM_KEYPOINTS = {config.NUM_KEYPOINTS} they must be {shape}."
        )
    return np.asarray(points, "float32")
