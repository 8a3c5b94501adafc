"""GroupNorm (Wu and He 2018) in the place of BatchNorm."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers


@keras.saving.register_keras_serializable("mrcnn")
class GroupNorm(layers.GroupNormalization):
    """Values less the mean of their own object and group of channels, over the deviation: the same in training and in
    detection, whatever else is in the batch. There are 32 groups, or as many as the channels can be divided into."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.groups = math.gcd(32, int(input_shape[-1] or 32))
        super().build(input_shape)


def group_norm(name: str, frozen: bool = False, **options: Any) -> GroupNorm:
    """A `GroupNorm` where there would be a BatchNorm, under its name with gn in the place of bn; nothing of it is ever
    frozen."""
    return GroupNorm(epsilon=1e-5, name=name.replace("_bn", "_gn"), **options)
