"""From a Dataset to batches for training."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from keras.utils import PyDataset
from numpy.typing import ArrayLike

from mrcnn import anchors, boxes, images, keypoints, masks
from mrcnn.augment import augment as apply_augmentation
from mrcnn.config import Config
from mrcnn.targets import build_rpn_targets

if TYPE_CHECKING:
    from mrcnn.dataset import Dataset

INPUT_NAMES = (
    "input_image",
    "input_image_meta",
    "input_rpn_match",
    "input_rpn_bbox",
    "input_gt_class_ids",
    "input_gt_boxes",
    "input_gt_masks",
)

# The share of images that may be unreadable before training stops.
BAD_SHARE = 0.2


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
        augmentation: as `mrcnn.augment.augment` takes it.
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


class DataGenerator(PyDataset):
    """Batches of a Dataset for `MaskRCNN.train`.

    Every pass over the images has its own order, drawn from the seed; batch i is always batch i. The passes follow
    each other without a gap, whatever the number of steps in an epoch. Images without instances give background. An
    image that cannot be read is named once and replaced by the next one.

    Args:
        dataset: a prepared `Dataset`.
        config: a `Config`.
        shuffle: False keeps the order of the dataset.
        augment, augmentation: as in `load_image_gt`.
        no_augmentation_sources: sources of images that are not augmented.
        steps: batches per epoch; default is one pass over the images.
        epoch: epochs already done.
        seed: of order, crops, flips, augmentation and subsampling.
        random_rois: with USE_RPN_ROIS False, number of RoIs given as input for each image.
        part: (i, n) for the i-th of n equal parts of every batch, where n machines share the work.

    A batch is a dict of input names and arrays (see `INPUT_NAMES`, and input_rois).

    Raises:
        RuntimeError: more than a fifth of the images cannot be read, or none is there.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: Config,
        shuffle: bool = True,
        augment: bool = False,
        augmentation: Any = None,
        no_augmentation_sources: Iterable[str] | None = None,
        steps: int | None = None,
        epoch: int = 0,
        seed: int = 0,
        random_rois: int | None = None,
        part: tuple[int, int] = (0, 1),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.config = config
        self.shuffle = shuffle
        self.augment = augment
        self.augmentation = augmentation
        self.no_augmentation_sources = set(no_augmentation_sources or ())
        self.steps = steps
        self.epoch = epoch
        self.seed = seed
        self.random_rois = config.POST_NMS_ROIS_TRAINING if random_rois is None else random_rois
        self.part = part
        self.bad: dict[int, Exception] = {}
        self._order: tuple[int, np.ndarray] | None = None
        self.anchors = pyramid_anchors(config, config.IMAGE_SHAPE)
        if not len(dataset.image_ids):
            raise RuntimeError("The data set has no images; call prepare() after adding them.")

    def __len__(self) -> int:
        return self.steps or -(-len(self.dataset.image_ids) // self.config.BATCH_SIZE)

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def image_ids(self, index: int) -> list[int]:
        """Image ids of batch `index` of this epoch, before any is replaced."""
        size = self.config.BATCH_SIZE
        start = (self.epoch * len(self) + index) * size
        return [self._image_id(position) for position in range(start, start + size)]

    def _image_id(self, position):
        turn, place = divmod(position, len(self.dataset.image_ids))
        if not self.shuffle:
            return self.dataset.image_ids[place]
        if self._order is None or self._order[0] != turn:
            self._order = (turn, np.random.default_rng([self.seed, turn]).permutation(self.dataset.image_ids))
        known, order = self._order
        return order[place] if known == turn else self._image_id(position)

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray]]:
        part, parts = self.part
        size = self.config.BATCH_SIZE
        start = (self.epoch * len(self) + index) * size
        samples = [self._sample(start + k) for k in range(part * size // parts, (part + 1) * size // parts)]
        batch = {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
        return (batch,)

    def _sample(self, position):
        """The arrays of one image; one that fails is recorded, and the next takes its place."""
        count = len(self.dataset.image_ids)
        for k in range(count):
            image_id = self._image_id(position + k)
            if image_id in self.bad:
                continue
            try:
                return self._load(image_id, np.random.default_rng([self.seed, position, 1]))
            except Exception as error:
                self.bad[image_id] = error
                path = self.dataset.image_info[image_id].get("path")
                print(f"\nSkipping image {image_id} ({path}): {type(error).__name__}: {error}")
                if len(self.bad) > BAD_SHARE * count:
                    raise RuntimeError(
                        f"{len(self.bad)} of {count} images cannot be used, the last one {path}: {error}"
                    ) from error
        raise RuntimeError("No image of the data set can be used.")

    def _load(self, image_id, rng):
        config = self.config
        source = self.dataset.image_info[image_id]["source"]
        augmented = source not in self.no_augmentation_sources
        image, meta, class_ids, gt_boxes, gt_masks, *points = load_image_gt(
            self.dataset,
            config,
            image_id,
            augment=self.augment and augmented,
            augmentation=self.augmentation if augmented else None,
            use_mini_mask=config.USE_MINI_MASK,
            rng=rng,
        )
        if list(image.shape) != list(config.IMAGE_SHAPE):
            raise ValueError(f"the image is {image.shape} after resizing; the model wants {tuple(config.IMAGE_SHAPE)}")
        rpn_match, rpn_bbox = build_rpn_targets(image.shape, self.anchors, class_ids, gt_boxes, config, rng)
        limit = config.MAX_GT_INSTANCES
        if len(class_ids) > limit:
            chosen = rng.choice(len(class_ids), limit, replace=False)
            class_ids, gt_boxes, gt_masks = class_ids[chosen], gt_boxes[chosen], gt_masks[..., chosen]
            points = [x[chosen] for x in points]
        spare = limit - len(class_ids)
        sample = {
            "input_image": images.mold(image, config, meta[images.META["window"]]),
            "input_image_meta": meta,
            "input_rpn_match": rpn_match[:, None].astype("int32"),
            "input_rpn_bbox": rpn_bbox.astype("float32"),
            "input_gt_class_ids": np.pad(class_ids, (0, spare)).astype("int32"),
            "input_gt_boxes": np.pad(gt_boxes, ((0, spare), (0, 0))).astype("float32"),
        }
        if config.USE_MASK:
            sample["input_gt_masks"] = np.pad(gt_masks, ((0, 0), (0, 0), (0, spare)))
        if config.NUM_KEYPOINTS:
            sample["input_gt_keypoints"] = np.pad(points[0], ((0, spare), (0, 0), (0, 0)))
        if not config.USE_RPN_ROIS:
            rois = generate_random_rois(image.shape, self.random_rois, class_ids, gt_boxes, rng)
            sample["input_rois"] = rois.astype("float32")
        return sample


def pyramid_anchors(config: Config, image_shape: Sequence[int]) -> np.ndarray:
    """Anchors [A, 4] in pixels of an image of `image_shape`."""
    shapes, strides = compute_backbone_shapes(config, image_shape), config.BACKBONE_STRIDES
    rounded = config.RPN_ANCHORS == "rounded"
    if rounded:
        strides = np.asarray(image_shape[:2]) // shapes
    return anchors.generate_pyramid_anchors(
        config.RPN_ANCHOR_SCALES, config.RPN_ANCHOR_RATIOS, shapes, strides, config.RPN_ANCHOR_STRIDE, rounded
    )


def compute_backbone_shapes(config: Config, image_shape: Sequence[int]) -> np.ndarray:
    """Heights and widths [levels, 2] of the pyramid's maps for an image of `image_shape`.

    Raises:
        ValueError: BACKBONE is a function and COMPUTE_BACKBONE_SHAPE is not.
    """
    if callable(config.BACKBONE):
        if not callable(config.COMPUTE_BACKBONE_SHAPE):
            raise ValueError("BACKBONE is a function: set COMPUTE_BACKBONE_SHAPE to a function(image_shape) as well.")
        return np.asarray(plain_function(config.COMPUTE_BACKBONE_SHAPE)(image_shape))
    return anchors.backbone_shapes(image_shape, config.BACKBONE_STRIDES)


def plain_function(function: Callable) -> Callable:
    """The function behind a method: one set as an attribute of a Config class must not be given the config."""
    return getattr(function, "__func__", function)


def generate_random_rois(
    image_shape: Sequence[int],
    count: int,
    gt_class_ids: ArrayLike,
    gt_boxes: np.ndarray,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """RoIs to train the heads without an RPN: 90 % near the instances, the rest anywhere.

    Args:
        image_shape: (H, W, ...) pixels.
        count: RoIs to return.
        gt_class_ids: [n].
        gt_boxes: [n, 4] pixels.
        rng: `numpy.random.Generator`; default is NumPy's global state.

    Returns:
        [count, 4] int32 pixels, every side at least one pixel.
    """
    rng = np.random.default_rng(np.random.randint(2**31)) if rng is None else rng
    height, width = image_shape[:2]
    per_box = int(0.9 * count / max(1, len(gt_boxes)))
    regions = [
        (max(2 * y1 - y2, 0), max(2 * x1 - x2, 0), min(2 * y2 - y1, height), min(2 * x2 - x1, width), per_box)
        for y1, x1, y2, x2 in np.asarray(gt_boxes, int)
    ]
    regions.append((0, 0, height, width, count - per_box * len(gt_boxes)))
    rois = []
    for y1, x1, y2, x2, amount in regions:
        rows = np.sort(_two_apart(rng, y1, y2, amount), axis=1)
        columns = np.sort(_two_apart(rng, x1, x2, amount), axis=1)
        rois.append(np.stack([rows[:, 0], columns[:, 0], rows[:, 1], columns[:, 1]], axis=1))
    return np.concatenate(rois).astype("int32")


def _two_apart(rng, low, high, amount):
    """[amount, 2] integers in low..high inclusive, different within a row."""
    first = rng.integers(low, high + 1, amount)
    other = rng.integers(low, high, amount)
    return np.stack([first, other + (other >= first)], axis=1)


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
        random_rois=random_rois or None,
    )
    while True:
        for index in range(len(generator)):
            (batch,) = generator[index]
            inputs, outputs = [batch[name] for name in INPUT_NAMES], []
            if random_rois:
                shape = config.IMAGE_SHAPE
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
