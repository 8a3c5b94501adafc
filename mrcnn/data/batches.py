"""From a Dataset to batches for training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from keras.utils import PyDataset

from mrcnn.data import augment as augmenting
from mrcnn.data.bad_images import BadImages
from mrcnn.data.dataset import Dataset
from mrcnn.data.encoders import Encoder, two_stage_encoders
from mrcnn.data.repeats import repeat_factors, repeated
from mrcnn.data.resizing import mold
from mrcnn.data.samples import load_sample, see
from mrcnn.settings.config import Config

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


class DataGenerator(PyDataset):
    """Batches of a Dataset for `MaskRCNN.train`.

    Every pass over the images has its own order, drawn from the seed; batch i is always batch i. The passes follow
    each other without a gap, whatever the number of steps in an epoch; with REPEAT_THRESHOLD images of rare classes
    come several times in each. Images without instances give background. An
    image that cannot be read is named once and replaced by the next one.

    Args:
        dataset: a prepared `Dataset`.
        config: a `Config`.
        shuffle: False keeps the order of the dataset.
        augment, augmentation: as in `load_image_gt`.
        no_augmentation_sources: sources of images that are not augmented, or the name of one.
        steps: batches per epoch; default is one pass over the images.
        epoch: epochs already done.
        seed: of order, crops, flips, augmentation and subsampling.
        encoders: of what a batch holds beside images and ground truth; default is what `MaskRCNN` asks for.
        part: (i, n) for the i-th of n equal parts of every batch, where n machines share the work.

    A batch is a dict of input names and arrays (see `INPUT_NAMES`, and input_rois).

    Raises:
        ValueError: there is no such augmentation.
        RuntimeError: more than a fifth of the images cannot be read, three in a row fail for the same reason (code of
            the user's own, rather than a file), or none is there.
        MemoryError, ImportError, NameError: as they come; no image is to blame for them.
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
        encoders: Sequence[Encoder] | None = None,
        part: tuple[int, int] = (0, 1),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.config = config
        self.shuffle = shuffle
        self.augment = augment
        self.augmentation = augmentation
        augmenting.check(augmentation)
        spared = no_augmentation_sources or ()
        self.no_augmentation_sources = {spared} if isinstance(spared, str) else set(spared)
        self.steps = steps
        self.epoch = epoch
        self.seed = seed
        self.encoders = two_stage_encoders(config) if encoders is None else encoders
        self.part = part
        self.bad = BadImages(dataset, "Skipping image {}", BAD_SHARE)
        self._order: tuple[int, np.ndarray] | None = None
        self._of_source: dict[str, list[int]] = {}
        for i in dataset.image_ids:
            self._of_source.setdefault(dataset.image_info[i]["source"], []).append(int(i))
        rare = config.REPEAT_THRESHOLD if shuffle else 0
        self._factors = repeat_factors(dataset, rare) if rare else np.ones(len(dataset.image_ids))
        self._pass = round(float(self._factors.sum()))  # images in one
        if not len(dataset.image_ids):
            raise RuntimeError("The data set has no images; call prepare() after adding them.")

    def __len__(self) -> int:
        return self.steps or -(-self._pass // self.config.BATCH_SIZE)

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def image_ids(self, index: int) -> list[int]:
        """Image ids of batch `index` of this epoch, before any is replaced."""
        size = self.config.BATCH_SIZE
        start = (self.epoch * len(self) + index) * size
        return [self._image_id(position) for position in range(start, start + size)]

    def _image_id(self, position):
        turn, place = divmod(position, self._pass)
        if not self.shuffle:
            return self.dataset.image_ids[place]
        if self._order is None or self._order[0] != turn:
            rng, ids = np.random.default_rng([self.seed, turn]), np.asarray(self.dataset.image_ids)
            if self.config.REPEAT_THRESHOLD:
                ids = ids[repeated(self._factors, rng)]
            self._order = (turn, rng.permutation(ids))
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
                sample = self._load(image_id, np.random.default_rng([self.seed, position, 1]))
            except Exception as error:
                self.bad.add(image_id, error)
            else:
                self.bad.good()
                return sample
        raise RuntimeError("No image of the data set can be used.")

    def _load(self, image_id, rng):
        config = self.config
        source = self.dataset.image_info[image_id]["source"]
        augmented = source not in self.no_augmentation_sources
        sample = load_sample(
            self.dataset,
            config,
            image_id,
            augment=self.augment and augmented,
            augmentation=self.augmentation if augmented else None,
            use_mini_mask=config.USE_MINI_MASK and not config.by_pixels,
            rng=rng,
            pasted=self._pasted(image_id, rng) if augmented else None,
        )
        self._check_shape(image_id, sample.image.shape)
        class_ids, boxes, masks, points = sample.class_ids, sample.boxes, sample.masks, sample.points
        encoded = [encoder(sample, rng) for encoder in self.encoders]
        limit = config.MAX_GT_INSTANCES
        if len(class_ids) > limit:
            chosen = rng.choice(len(class_ids), limit, replace=False)
            class_ids, boxes, masks, points = class_ids[chosen], boxes[chosen], masks[..., chosen], points[chosen]
        spare = limit - len(class_ids)
        arrays = {
            "input_image": mold(sample.image, config, inside=sample.inside),
            "input_image_meta": sample.meta,
            "input_gt_class_ids": np.pad(class_ids, (0, spare)).astype("int32"),
            "input_gt_boxes": np.pad(boxes, ((0, spare), (0, 0))).astype("float32"),
        }
        if "segm" in config.finds and not config.by_pixels:
            arrays["input_gt_masks"] = np.pad(masks, ((0, 0), (0, 0), (0, spare)))
        if "keypoints" in config.finds:
            arrays["input_gt_keypoints"] = np.pad(points, ((0, spare), (0, 0), (0, 0)))
        for more in encoded:
            arrays |= more
        return arrays

    def _check_shape(self, image_id, shape):
        wanted = tuple(map(int, self.config.IMAGE_SHAPE))
        if shape != wanted:
            path = self.dataset.image_info[image_id].get("path")
            raise ValueError(f"{path}: the image is {shape} after resizing; the model wants {wanted}")

    def _pasted(self, image_id, rng):
        """An image whose objects are pasted into another of the same source, or None."""
        config, info = self.config, self.dataset.image_info
        trains = self.augment or self.augmentation is not None
        if not config.COPY_PASTE or not trains or rng.random() >= config.COPY_PASTE:
            return None
        other = int(rng.choice(self._of_source[info[image_id]["source"]]))
        if other in self.bad:
            return None
        try:
            found = see(self.dataset, config, other, self.augment, self.augmentation, rng)
            self._check_shape(other, found.image.shape)
            return found
        except Exception as error:
            self.bad.add(other, error)
            return None


class SameBatches(DataGenerator):
    """As `DataGenerator`, with the same images in every epoch: for validation."""

    def on_epoch_end(self) -> None:
        """The epoch does not count on."""
