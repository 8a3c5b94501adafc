"""From the coarse maps of a backbone to one of stride 4: transposed convolutions, or iterative deep aggregation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from mrcnn.layers.batch_norm import BatchNorm
from mrcnn.ops.boxes import Tensor


@keras.saving.register_keras_serializable("mrcnn")
class Nearest(layers.UpSampling2D):
    """Each value of a map [B, H, W, C] repeated over factor x factor places, as `UpSampling2D` does it.

    TensorFlow has an operation for this. Keras composes it of others, which take twice as long there, and of which the
    runtimes of exported files do not see that it is one. In training it stays composed: XLA, with which GPUs train, has
    no gradient of the operation.
    """

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if training or keras.backend.backend() != "tensorflow":
            return super().call(inputs)
        import tensorflow as tf

        sides = ops.stack([side * factor for side, factor in zip(ops.shape(inputs)[1:3], self.size, strict=True)])
        # ops.image.resize refuses sides that are not known yet, and has half pixels, which ONNX Runtime warns of.
        return tf.raw_ops.ResizeNearestNeighbor(images=inputs, size=sides)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), inputs.dtype)


def transposed(maps: Sequence[Tensor], channels: int, train_bn: bool | None = True, epsilon: float = 0.001) -> Tensor:
    """Three transposed convolutions behind the last map (Xiao, Wu and Wei 2018), each with BatchNorm and a ReLU.

    Args:
        maps: C2..C5.
        channels: of each.
        train_bn, epsilon: of BatchNorm.
    """
    x = maps[-1]
    for i in range(1, 4):
        x = layers.Conv2DTranspose(
            channels, 4, strides=2, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"dense_up{i}"
        )(x)
        x = _normed(x, f"dense_up{i}_bn", train_bn, epsilon)
    return x


def aggregated(maps: Sequence[Tensor], channels: int, train_bn: bool | None = True, epsilon: float = 0.001) -> Tensor:
    """Aggregation of all maps (Yu et al. 2018, section 3.2), as CenterNet has it behind DLA-34: each map has those that
    are coarser added one by one, from the coarsest on; the three finest results are added likewise. Every addition is
    between 3x3 convolutions with BatchNorm and a ReLU.

    Args:
        maps: C2..C5. The results have their channels.
        channels: not used; the result has those of C2.
        train_bn, epsilon: of BatchNorm.
    """

    def conv(x, filters, name):
        x = layers.Conv2D(
            filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"dense_{name}"
        )(x)
        return _normed(x, f"dense_{name}_bn", train_bn, epsilon)

    def add(fine, others, name):
        """The finest of the maps with each of the others added, as a list."""
        found, filters = [fine], fine.shape[-1]
        for i, (x, factor) in enumerate(others, start=1):
            x = conv(x, filters, f"{name}_{i}_in")
            x = Nearest(factor)(x) if factor > 1 else x
            found.append(conv(layers.Add()([found[-1], x]), filters, f"{name}_{i}_out"))
        return found

    below: list[Tensor] = [maps[-1]]
    results: list[Tensor] = []
    for i in range(len(maps) - 2, -1, -1):
        # All of those below have one stride: they were brought to that of the map before.
        below = add(maps[i], [(x, 2) for x in below], f"up{i + 2}")
        results.insert(0, below[-1])
    return add(results[0], [(x, 2**i) for i, x in enumerate(results[1:], start=1)], "up")[-1]


def _normed(x, name, train_bn, epsilon):
    """BatchNorm with the authors' momentum, and a ReLU."""
    x = BatchNorm(frozen=train_bn is False, epsilon=epsilon, momentum=0.9, name=name)(x)
    return layers.Activation("relu")(x)


# CENTERNET_UP -> function(maps C2..C5, channels, train_bn, epsilon) that gives the map of stride 4.
UPSAMPLINGS = {"transposed": transposed, "aggregation": aggregated}
