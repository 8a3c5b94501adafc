"""Whether data sets fit a config and each other: found out at once, not after an epoch."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from itertools import islice

import numpy as np

from mrcnn.data.dataset import Dataset
from mrcnn.settings.config import Config

# Images that are looked through for keypoints.
LOOKED_AT = 50


def check_set(dataset: Dataset, config: Config, name: str = "data set") -> None:
    """Raise ValueError if a prepared `Dataset` has other classes or keypoints than a config says.

    Args:
        dataset: its `load_keypoints` is called if there are keypoints in the config.
        config: NUM_CLASSES and NUM_KEYPOINTS are read.
        name: what the message calls the set.
    """
    count = dataset.num_classes
    if count != config.NUM_CLASSES:
        raise ValueError(
            f"NUM_CLASSES is {config.NUM_CLASSES}, but the {name} has {count} classes, the background among them: "
            f"{', '.join(dataset.class_names[:6])}{' ...' if count > 6 else ''}. Build the model with {count}."
        )
    points = _keypoints(dataset) if config.NUM_KEYPOINTS else None
    if points is not None and points != config.NUM_KEYPOINTS:
        raise ValueError(
            f"NUM_KEYPOINTS is {config.NUM_KEYPOINTS}, but the objects of the {name} have {points} keypoints. Build "
            f"the model with {points}."
        )


def check_names(dataset: Dataset, config: Config) -> None:
    """Raise ValueError if a prepared `Dataset` has the classes of a config's CLASS_NAMES in another order; warn if it
    has others."""
    known, names = list(config.CLASS_NAMES), list(dataset.class_names)
    other = [i for i, (a, b) in enumerate(zip(known, names, strict=False)) if a != b]
    if len(known) != len(names) or not other:
        return
    i = other[0]
    if sorted(known) == sorted(names):
        raise ValueError(
            f"Class {i} of the model is {known[i]!r}, of the data set {names[i]!r}: give the set's classes in the "
            f"model's order, {', '.join(known[1:])}."
        )
    warnings.warn(
        f"Class {i} of the model is {known[i]!r}; it is compared with {names[i]!r} of the data set.", stacklevel=2
    )


def check_training(config: Config, train: Dataset, held_out: Iterable[Dataset]) -> None:
    """Raise ValueError if a set does not fit the config, or one that is held out numbers other classes than the first.

    Args:
        config: as for `check_set`.
        train: the set to learn from.
        held_out: sets to validate or evaluate with.
    """
    check_set(train, config, "training set")
    for dataset in held_out:
        for i, (name, other) in enumerate(zip(train.class_names, dataset.class_names, strict=False)):
            if name != other:
                raise ValueError(
                    f"Class {i} is {name!r} in the training set and {other!r} in the validation set; give both the "
                    "same classes in the same order."
                )
        check_set(dataset, config, "validation set")


def _keypoints(dataset):
    """How many keypoints an object has, by the first image that has any; None where none is found soon."""
    for image_id in islice(dataset.image_ids, LOOKED_AT):
        try:
            points = dataset.load_keypoints(image_id)
        except Exception:  # an image that cannot be read is named where it is used
            continue
        if points is not None and np.ndim(points) == 3 and len(points):
            return np.shape(points)[1]
    return None
