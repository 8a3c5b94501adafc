"""What a model cannot learn of a data set though nothing in it is wrong, in a line each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from pycocotools import mask as rle

from mrcnn.data.annotations import Annotation, RunLengths
from mrcnn.data.resizing import plan
from mrcnn.settings.config import Config

# Pixels of a side: below, an object has one or two cells of the finest map of the pyramid.
SMALL = 8


def remarks(dataset: Any, config: Config) -> Iterator[str]:
    """What to know before training.

    Args:
        dataset: a prepared `Dataset`; nothing is said of one whose images do not all have records in `image_info`.
        config: of the model.
    """
    found = [info.get("annotations") for info in dataset.image_info]
    if not found or any(objects is None for objects in found):
        return
    every = [annotation for objects in found for annotation in objects]
    if not all(isinstance(annotation, Annotation) for annotation in every):
        return
    objects = [annotation for annotation in every if not annotation.crowd]
    if not objects:
        what = "has only crowds" if every else "has no object"
        yield f"The set {what} in its {len(found)} images: there is nothing to learn."
        return
    seen = {annotation.class_id for annotation in objects}
    unseen = [str(info["name"]) for i, info in enumerate(dataset.class_info) if i and i not in seen]
    if unseen:
        yield f"Of {len(unseen)} classes there is no object: {_listed(unseen)}."
    bare = sum(not annotation.has_mask() for annotation in objects)
    if bare and "segm" in config.finds:
        yield f"{bare} of {len(objects)} objects have no mask and are left out; USE_MASK = False trains on their boxes."
    most = max(map(len, found))
    if most > config.MAX_GT_INSTANCES:
        count = sum(len(objects) > config.MAX_GT_INSTANCES for objects in found)
        yield (
            f"{count} images have more objects than MAX_GT_INSTANCES = {config.MAX_GT_INSTANCES}, of which a random "
            f"choice is used; the most is {most}."
        )
    small = 0
    for info, its in zip(dataset.image_info, found, strict=True):
        side = SMALL / _scale(info, config)
        small += sum(_side(annotation) < side for annotation in its)
    if small:
        yield (
            f"{small} of {len(every)} objects are under {SMALL} pixels where the network sees them, at IMAGE_MAX_DIM = "
            f"{config.IMAGE_MAX_DIM}, and are hardly found; larger images help."
        )


def _listed(names):
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _side(annotation):
    """The side of a square of the object's size, in pixels."""
    if annotation.box is not None:
        return math.sqrt(annotation.box[2] * annotation.box[3])
    if isinstance(annotation.segmentation, RunLengths):
        return math.sqrt(annotation.area or rle.area(annotation.rle(*annotation.segmentation.size)))
    x, y = (np.concatenate([polygon[k::2] for polygon in annotation.segmentation]) for k in (0, 1))
    return math.sqrt(np.ptp(x) * np.ptp(y))


def _scale(info, config):
    """By what an image grows before the network sees it; where its sides do otherwise, the mean of both."""
    sides = config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM, config.IMAGE_MIN_SCALE
    scale = plan(info["height"], info["width"], *sides, config.IMAGE_RESIZE_MODE).scale
    return math.sqrt(np.prod(np.broadcast_to(scale, 2)))
