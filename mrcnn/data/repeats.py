"""Images of rare classes more often in training (repeat-factor sampling, Gupta et al. 2019, section 4.1)."""

from __future__ import annotations

from collections import Counter

import numpy as np

from mrcnn.data.bad_images import readable_objects
from mrcnn.data.dataset import Dataset


def repeat_factors(dataset: Dataset, threshold: float) -> np.ndarray:
    """How often each image of a prepared set shall come in a pass, 1 or more: max(1, sqrt(threshold / f)) of its rarest
    class, where f is the share of images that have the class; crowds do not count, nor
    do images whose objects cannot be read.

    Args:
        dataset: prepared; its objects are read once.
        threshold: the share below which a class is rare.
    """
    classes = [{x.class_id for x in readable_objects(dataset, i) if not x.crowd} for i in dataset.image_ids]
    counts = Counter(class_id for own in classes for class_id in own)
    share = {class_id: count / len(classes) for class_id, count in counts.items()}
    return np.array([max([1.0, *(np.sqrt(threshold / share[i]) for i in own)]) for own in classes])


def repeated(factors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Indices of the images of one pass, each as often as its factor, or once more or less by chance, in that
    proportion; as many in every pass: the sum of all factors, rounded."""
    count = round(float(factors.sum()))
    ends = np.floor(np.cumsum(factors) * (count / factors.sum()) + rng.random() + 1e-9).astype(int)
    times = np.diff(ends, prepend=ends[-1] - count)
    return np.repeat(np.arange(len(factors)), times)
