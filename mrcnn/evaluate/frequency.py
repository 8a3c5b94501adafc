"""AP of rare, common and frequent classes, as LVIS groups them (Gupta et al. 2019)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from mrcnn.data.bad_images import readable_objects
from mrcnn.data.dataset import Dataset
from mrcnn.evaluate.truth import class_labels

# Training images with the class, from and to: at most 10, at most 100, more.
GROUPS = {"APr": (1, 10), "APc": (11, 100), "APf": (101, np.inf)}


def image_counts(dataset: Dataset) -> dict[str, int]:
    """{class's name, as of `class_labels`: how many images of a prepared `Dataset` have an object of it}; images whose
    objects cannot be read have none."""
    every = (readable_objects(dataset, int(i)) for i in dataset.image_ids)
    counts = Counter(class_id for own in every for class_id in {a.class_id for a in own if not a.crowd})
    return {name: counts[class_id] for class_id, name in enumerate(class_labels(dataset), 1)}


def frequency_groups(per_class: Mapping[str, Mapping[str, float]], counts: Mapping[str, int]) -> dict[str, Any]:
    """The mean AP of each group's classes.

    Args:
        per_class: of what `coco_metrics` returns.
        counts: of `image_counts` of the training set.

    Returns:
        APr, APc, APf, each -1 where the group has no class that the images evaluated have; "classes": their numbers.
    """
    numbers: dict[str, Any] = {"classes": {}}
    for group, (low, high) in GROUPS.items():
        values = [row["AP"] for name, row in per_class.items() if low <= counts.get(name, 0) <= high and row["AP"] >= 0]
        numbers[group] = float(np.mean(values)) if values else -1.0
        numbers["classes"][group] = len(values)
    return numbers
