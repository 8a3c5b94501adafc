"""The class that every pixel should have, and what it weighs."""

from __future__ import annotations

import numpy as np

from mrcnn.data.samples import Sample
from mrcnn.ops.semantic import balanced, border_weights, classes_of, separate, topmost


class SemanticTargets:
    """Encoder of the class of every pixel: input_semantic [H, W] int32, 0 background; and input_semantic_weights [H, W]
    float32, 0 for crowds, padding and what augmentation brought in from outside.

    Args:
        border_weight, border_sigma: as of `border_weights`, for instances that touch each other, which then get a line
            of background between them; 0 for neither.
        balance: as of `balanced`.
    """

    def __init__(self, border_weight: float = 0.0, border_sigma: float = 5.0, balance: float = 0.0) -> None:
        self.border_weight, self.border_sigma, self.balance = border_weight, border_sigma, balance

    def __call__(self, sample: Sample, rng: np.random.Generator) -> dict[str, np.ndarray]:
        top = topmost(sample.masks, sample.class_ids)
        if self.border_weight:
            top = separate(top, sample.class_ids)
        classes = classes_of(top, sample.class_ids)
        counts = sample.inside & (classes >= 0)
        weights = balanced(np.where(counts, classes, -1), self.balance)
        if self.border_weight:
            weights += counts * border_weights(top, self.border_weight, self.border_sigma)
        return {"input_semantic": np.maximum(classes, 0), "input_semantic_weights": weights.astype("float32")}
