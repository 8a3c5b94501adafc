"""The sizes of a data set's boxes, and those that anchors should have for it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mrcnn.data.annotations import Annotation, RunLengths
from mrcnn.data.bad_images import readable_objects
from mrcnn.data.coco_entries import MAX_PIXELS
from mrcnn.data.dataset import Dataset
from mrcnn.data.resizing import plan
from mrcnn.ops.anchors import cluster_sizes
from mrcnn.settings.config import Config

# Boxes that are looked at, of a larger set a random choice; and how often k-means begins, of which the best counts.
MOST, TIMES = 100_000, 5


def box_sizes(dataset: Dataset, config: Config) -> np.ndarray:
    """Width and height [n, 2] of a set's instances in pixels, where the network sees them; crowds are none.

    Raises:
        ValueError: there is no instance.
    """
    found = [
        size * scale
        for i in dataset.image_ids
        for scale in [scales(*_image_size(dataset, i), config)]
        for size in _sizes(dataset, i)
    ]
    if not found:
        count = len(dataset.image_info)
        raise ValueError(f"The set has no objects in its {count} images, so no sizes of anchors; see validate.")
    return np.array(found)


def anchor_sizes(dataset: Dataset, config: Config, count: int, seed: int = 0) -> tuple[np.ndarray, float]:
    """The `count` sizes [count, 2] (width, height) in pixels that boxes of a set are most like, by area, and the mean
    IoU of a box with the nearest; see `cluster_sizes`.

    Raises:
        ValueError: there are fewer sizes.
    """
    rng, sizes = np.random.default_rng(seed), box_sizes(dataset, config)
    if len(sizes) > MOST:
        sizes = rng.choice(sizes, MOST, replace=False)
    found = max((cluster_sizes(sizes, count, rng) for _ in range(TIMES)), key=lambda x: x[1])
    if len(found[0]) < count:
        raise ValueError(f"The set has objects of {len(found[0])} sizes alone; ask for no more than that.")
    return found


def yolo_anchors(dataset: Dataset, config: Config) -> list[list[list[float]]]:
    """YOLO_ANCHORS for a set, as many as the config has, the smallest on the finest map; the config's own where the
    set's objects are of fewer sizes."""
    levels, each = len(config.YOLO_ANCHORS), len(config.YOLO_ANCHORS[0])
    try:
        sizes, _ = anchor_sizes(dataset, config, levels * each)
    except ValueError:
        return np.asarray(config.YOLO_ANCHORS).tolist()
    return sizes.round(1).reshape(levels, each, 2).tolist()


def scales(height: int, width: int, config: Config) -> np.ndarray:
    """By what an image grows before the network sees it, (across, down); one of unknown size, which is 0, does not."""
    if not height or not width:
        return np.ones(2)
    sides = config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM, config.IMAGE_MIN_SCALE
    return np.broadcast_to(plan(height, width, *sides, config.IMAGE_RESIZE_MODE).scale, 2)[::-1]


def _image_size(dataset: Dataset, image_id: int) -> tuple[int, int]:
    """(height, width); 0 where it is not known."""
    info = dataset.image_info[image_id]
    return info.get("height") or 0, info.get("width") or 0


def _sizes(dataset: Dataset, image_id: int) -> Iterator[np.ndarray]:
    objects = dataset.image_info[image_id].get("annotations")
    if objects is None or not all(isinstance(x, Annotation) for x in objects):
        objects = readable_objects(dataset, image_id)
    for annotation in objects:
        shapes, known = annotation.segmentation, _image_size(dataset, image_id)
        shape = shapes.size if isinstance(shapes, RunLengths) else [side or MAX_PIXELS for side in known]
        size = np.array(annotation.inside(*shape)[2:])
        if not annotation.crowd and (size > 0).all():
            yield size
