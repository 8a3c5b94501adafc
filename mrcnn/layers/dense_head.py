"""The head of one-stage detectors: towers of convolutions that say something at every place of every level."""

from __future__ import annotations

import math
from collections.abc import Sequence

from keras import initializers, layers

from mrcnn.ops.boxes import Tensor

# How probable an object is at any place before the head has learnt anything (Lin et al. 2017, section 4.1): else the
# many places without one would drown all else in the first steps.
PRIOR = 0.01


def prior_bias(probability: float = PRIOR) -> float:
    """The bias with which a sigmoid gives this probability."""
    return -math.log((1 - probability) / probability)


class Tower:
    """Convolutions 3x3, each with a ReLU behind, the same for all levels.

    Args:
        name: beginning of the names of its layers, `dense_{name}_conv1` and so on.
        depth: convolutions.
        channels: of each.
        group_norm: whether each has GroupNorm (Wu and He 2018) before its ReLU, of 32 groups, or as many as `channels`
            can be divided into.
    """

    def __init__(self, name: str, depth: int, channels: int, group_norm: bool = False) -> None:
        self.layers: list[layers.Layer] = []
        for i in range(1, depth + 1):
            # Narrow towers would let nothing through with the deviation of 0.01 of the papers, which have 256 channels.
            convolution = layers.Conv2D(
                channels, 3, padding="same", kernel_initializer="he_normal", name=f"dense_{name}_conv{i}"
            )
            self.layers.append(convolution)
            if group_norm:
                groups = math.gcd(32, channels)
                self.layers.append(layers.GroupNormalization(groups, epsilon=1e-5, name=f"dense_{name}_gn{i}"))
            self.layers.append(layers.Activation("relu"))

    def __call__(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps of all levels [B, h, w, channels]."""
        for layer in self.layers:
            maps = [layer(x) for x in maps]
        return list(maps)


class Predictor:
    """A convolution that gives `values` numbers for each of `anchors` at every place, the same for all levels.

    Args:
        name: of the layer, `dense_{name}_raw`.
        values, anchors: as above.
        bias: that the convolution begins with.
        activation: behind it; None for none.
        number: behind the layer's name, where every map has a layer of its own.
        size: sides of the convolution.
    """

    def __init__(
        self,
        name: str,
        values: int,
        anchors: int = 1,
        bias: float = 0.0,
        activation: str | None = None,
        number: int | None = None,
        size: int = 3,
    ) -> None:
        self.layer = layers.Conv2D(
            values * anchors,
            size,
            padding="same",
            activation=activation,
            kernel_initializer=initializers.RandomNormal(stddev=0.01),
            bias_initializer=initializers.Constant(bias),
            name=f"dense_{name}_raw" + (f"_{number}" if number else ""),
        )
        # Not computed in lower precision from here on.
        self.flatten = layers.Reshape((-1, values), dtype="float32")

    def __call__(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Numbers of all levels [B, h * w * anchors, values] float32."""
        return [self.flatten(self.layer(x)) for x in maps]


def joined(levels: Sequence[Tensor], name: str) -> Tensor:
    """All levels behind each other, [B, A, values]."""
    return layers.Concatenate(axis=1, name=name, dtype="float32")(list(levels))


def point_map(x: Tensor, name: str, values: int, bias: float = 0.0) -> Tensor:
    """A map [B, h, w, values] float32 by a convolution 1x1 `dense_{name}_raw`, which begins with `bias`."""
    x = layers.Conv2D(
        values,
        1,
        kernel_initializer=initializers.RandomNormal(stddev=0.01),
        bias_initializer=initializers.Constant(bias),
        name=f"dense_{name}_raw",
    )(x)
    return layers.Activation("linear", dtype="float32", name=f"dense_{name}")(x)
