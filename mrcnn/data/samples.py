"""One image of a Dataset with its ground truth, as the network sees it."""

from __future__ import annotations

import random
import warnings
from typing import Any, NamedTuple

import numpy as np

from mrcnn.data.annotations import check_size
from mrcnn.data.augment import augment as apply_augmentation
from mrcnn.data.copy_paste import Seen, paste
from mrcnn.data.dataset import Dataset
from mrcnn.data.proposals import as_points, from_points, load_proposals
from mrcnn.data.regions import load_regions
from mrcnn.data.resizing import resize_image
from mrcnn.ops import images, keypoints, masks
from mrcnn.ops.meta import compose_image_meta
from mrcnn.settings.config import Config


class Sample(NamedTuple):
    """One image with its ground truth, n instances.

    Attributes:
        image: [H, W, C], uint8 where the file is.
        meta: [12 + K] float32, see `mrcnn.ops.meta.compose_image_meta`; its window is the smallest box around `inside`.
        class_ids: [n] int32, crowds negative.
        boxes: [n, 4] int32 pixels.
        masks: [H, W, n] bool, or [h, w, n] mini masks.
        points: [n, NUM_KEYPOINTS, 3] float32 of (x, y, v), zero where there is none.
        inside: [H, W] bool, where the image is image: neither padding nor what augmentation brought in from outside.
        proposals: [m, 4] float32 pixels, where the detector takes some; else m is 0.
    """

    image: np.ndarray
    meta: np.ndarray
    class_ids: np.ndarray
    boxes: np.ndarray
    masks: np.ndarray
    points: np.ndarray
    inside: np.ndarray
    proposals: np.ndarray


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
    sample = load_sample(dataset, config, image_id, augment, augmentation, use_mini_mask, rng)
    return sample[: 6 if config.NUM_KEYPOINTS else 5]


def load_sample(
    dataset: Dataset,
    config: Config,
    image_id: int,
    augment: bool = False,
    augmentation: Any = None,
    use_mini_mask: bool = False,
    rng: np.random.Generator | None = None,
    pasted: Seen | None = None,
) -> Sample:
    """As `load_image_gt`, with all that is known of the image; objects of `pasted` come into it if it is
    of the same shape, see `copy_paste`."""
    rng = np.random.default_rng(np.random.randint(2**31)) if rng is None else rng
    seen = see(dataset, config, image_id, augment, augmentation, rng)
    if pasted is not None and pasted.image.shape == seen.image.shape:
        seen = paste(seen, pasted, rng)
    image, mask, class_ids, points, inside, corners, original_shape, scale = seen
    present = mask.any(axis=(0, 1))
    if not present.all():
        mask, class_ids, points = mask[..., present], class_ids[present], points[present]
    points = keypoints.drop_outside(points, image.shape)
    boxes = masks.extract_bboxes(mask)
    if use_mini_mask:
        mask = masks.minimize_mask(boxes, mask, config.MINI_MASK_SHAPE)
    (window,) = masks.extract_bboxes(inside[..., None])
    active = _active_classes(dataset, image_id)
    meta = compose_image_meta(image_id, original_shape, image.shape, window, scale, active)
    return Sample(image, meta, class_ids, boxes, mask, points, inside, from_points(corners, image.shape))


def see(
    dataset: Dataset, config: Config, image_id: int, augment: bool, augmentation: Any, rng: np.random.Generator
) -> Seen:
    """An image with its ground truth, resized and augmented; arguments as of `load_image_gt`."""
    image, mask, class_ids, points, proposals = _load(dataset, config, image_id)
    original_shape, corners = image.shape, as_points(proposals)
    span = config.SCALE_JITTER if augment or augmentation is not None else None
    image, (y1, x1, y2, x2), scale, padding, crop = resize_image(
        image,
        min_dim=config.IMAGE_MIN_DIM,
        min_scale=config.IMAGE_MIN_SCALE,
        max_dim=config.IMAGE_MAX_DIM,
        mode=config.IMAGE_RESIZE_MODE,
        square=True,  # one shape for a batch
        rng=random.Random(rng.random()),
        rounding=config.IMAGE_ROUNDING,
        jitter=rng.uniform(span[0], span[1]) if span else None,
    )
    mask = masks.resize_mask(mask, scale, padding, crop)
    points, corners = (keypoints.resize(x, original_shape, scale, padding, crop) for x in (points, corners))
    inside = np.zeros(image.shape[:2], bool)
    inside[y1:y2, x1:x2] = True
    if config.IMAGE_PADDING == "mean" and not inside.all():
        image[~inside] = np.rint(config.MEAN_PIXEL)  # so that augmentation blends edges with nothing darker
    if augment and rng.random() < 0.5:
        image, mask, inside = np.fliplr(image), np.fliplr(mask), np.fliplr(inside)
        points = keypoints.mirror(points, image.shape[1], config.KEYPOINT_FLIP_PAIRS)
        corners = keypoints.mirror(corners, image.shape[1], ())
    if augmentation is not None:
        # What is image moves as the masks do.
        planes = np.concatenate([np.moveaxis(mask, -1, 0), inside[None]])
        given = image, np.moveaxis(planes, 0, -1), augmentation, rng
        moving = points if config.NUM_KEYPOINTS else None, config.KEYPOINT_FLIP_PAIRS, corners if len(corners) else None
        image, mask, *moved = apply_augmentation(*given, *moving)
        points = moved.pop(0) if config.NUM_KEYPOINTS else points
        corners = moved.pop() if moved else corners
        mask, inside = mask[..., :-1], mask[..., -1]
    return Seen(image, mask, class_ids, points, inside, corners, original_shape, scale)


def _load(dataset, config, image_id):
    """Image [H, W, C], masks [H, W, n], class ids [n], keypoints and proposals as the data set gives them, checked."""
    given = np.asarray(dataset.load_image(image_id))
    if given.size and (words := images.odd_values(given)):
        warnings.warn(f"{dataset.image_info[image_id].get('path')}: {words}", stacklevel=3)
    image = images.convert_channels(given, config.IMAGE_CHANNEL_COUNT)
    check_size(dataset.image_info[image_id], image.shape)
    load = dataset.load_mask if "segm" in config.finds else dataset.load_box_masks
    mask, class_ids = load_regions(dataset, image_id) if config.by_pixels else load(image_id)
    mask, size = np.asarray(mask, bool), image.shape[:2]
    if not mask.size and not len(class_ids):
        mask = np.zeros((*size, 0), bool)
    if mask.shape != (*size, len(class_ids)):
        raise ValueError(
            f"{dataset.image_info[image_id].get('path')}: the image is {size[0]} x {size[1]} "
            f"(height x width) with {len(class_ids)} class ids, but its masks are {' x '.join(map(str, mask.shape))}."
        )
    points = _load_keypoints(dataset, config, image_id, len(class_ids))
    # Of the image as it was given, which is what is searched in detection, too.
    proposals = load_proposals(dataset, image_id, given) if config.takes_proposals else np.zeros((0, 4))
    return image, mask, np.asarray(class_ids, "int32"), points, proposals


def _active_classes(dataset, image_id):
    """[K] 1 for the classes of the image's own source, which alone count in the class loss: of one that has none the
    background."""
    active = np.zeros(dataset.num_classes, "int32")
    active[dataset.source_class_ids.get(dataset.image_info[image_id]["source"], [0])] = 1
    return active


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
