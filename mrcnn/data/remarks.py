"""What a model cannot learn of a data set though nothing in it is wrong, in a line each."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from mrcnn.data.annotations import Annotation
from mrcnn.data.clusters import scales
from mrcnn.settings.config import Config

# Images of a set without records that are looked at, as their masks have to be read.
LOOKED_AT = 10

# Pixels of a side: below, an object has one or two cells of the finest map of the pyramid.
SMALL = 8


def remarks(dataset: Any, config: Config) -> Iterator[str]:
    """What to know before training.

    Args:
        dataset: a prepared `Dataset`; where its images do not all have records in `image_info`, some are looked at.
        config: of the model.
    """
    found = _records(dataset)
    whole = len(found) == len(dataset.image_info)
    classes = [str(info["name"]) for info in dataset.class_info] if whole else []
    for remark in _remarks(found, classes, config) if found else ():
        yield remark if whole else f"Of {len(found)} images looked at: {remark}"


def emptiness(dataset: Any) -> str | None:
    """That a data set has nothing to learn, in a line; None where it has, or where only some images were looked at."""
    found = _records(dataset)
    return _emptiness(found) if found and len(found) == len(dataset.image_info) else None


def _emptiness(found):
    every = [annotation for _, own in found for annotation in own]
    if all(annotation.crowd for annotation in every):
        what = "only crowds" if every else "no object"
        return f"The set has {what} in its {len(found)} images: there is nothing to learn."
    return None


def _remarks(found, classes, config):
    every = [annotation for _, own in found for annotation in own]
    objects = [annotation for annotation in every if not annotation.crowd]
    if empty := _emptiness(found):
        yield empty
        return
    seen = {annotation.class_id for annotation in objects}
    unseen = [name for i, name in enumerate(classes) if i and i not in seen]
    if unseen:
        yield f"Of {len(unseen)} classes there is no object: {_listed(unseen)}."
    bare = sum(not annotation.has_mask() for annotation in objects)
    if bare and config.by_pixels:
        yield f"{bare} of {len(objects)} objects have no mask: the pixels of their boxes count for nothing."
    elif bare and "segm" in config.finds:
        yield f"{bare} of {len(objects)} objects have no mask and are left out; USE_MASK = False trains on their boxes."
    most = max(len(own) for _, own in found)
    if most > config.MAX_GT_INSTANCES and not config.by_pixels:
        count = sum(len(own) > config.MAX_GT_INSTANCES for _, own in found)
        yield (
            f"{count} images have more objects than MAX_GT_INSTANCES = {config.MAX_GT_INSTANCES}, of which a random "
            f"choice is used; the most is {most}."
        )
    small = 0
    for (height, width), own in found:
        if own:
            # Where the sides grow by different factors, by the mean of both.
            area = SMALL**2 / scales(height, width, config).prod()
            small += sum(math.prod(annotation.extent(height, width)[2:]) < area for annotation in own)
    if small:
        yield (
            f"{small} of {len(every)} objects are under {SMALL} pixels where the network sees them, at IMAGE_MAX_DIM = "
            f"{config.IMAGE_MAX_DIM}, and are hardly found; larger images help."
        )


def _listed(names):
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _records(dataset):
    """(height, width) and records of each image; without records in `image_info` of some images, all over the set."""
    found = [((info.get("height"), info.get("width")), info.get("annotations")) for info in dataset.image_info]
    if all(isinstance(own, list) and all(isinstance(x, Annotation) for x in own) for _, own in found) and not any(
        None in size for size, _ in found
    ):
        return found
    images, found = np.linspace(0, len(found) - 1, min(LOOKED_AT, len(found))).astype(int).tolist(), []
    for image_id in images:
        with contextlib.suppress(Exception):  # an image that cannot be read is named where it is used
            own = dataset.load_annotations(image_id)
            found.append((own[0].segmentation.size if own else (0, 0), own))
    return found
