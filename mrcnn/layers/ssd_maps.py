"""The maps that SSD looks at: two of the backbone's, and ever coarser ones behind them (Liu et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from mrcnn.ops.boxes import Tensor


@keras.saving.register_keras_serializable("mrcnn")
class L2Scale(layers.Layer):
    """A map [B, h, w, C] with the values of every place brought to a length of 1 and multiplied by a weight for each
    channel (Liu, Rabinovich and Berg 2016): early maps have larger values than late ones.

    Args:
        start: of the weights.
    """

    def __init__(self, start: float = 20.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start = start

    def build(self, input_shape: Sequence[int]) -> None:
        self.scale = self.add_weight(
            name="scale", shape=(input_shape[-1],), initializer=keras.initializers.Constant(self.start)
        )

    def call(self, inputs: Tensor) -> Tensor:
        x = ops.cast(inputs, "float32")  # float16 has no number as large as one over the length may be
        square = ops.sum(ops.square(x), axis=-1, keepdims=True)
        return ops.cast(x * ops.rsqrt(ops.maximum(square, 1e-24)) * ops.cast(self.scale, "float32"), inputs.dtype)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "start": self.start}


def _convolved(x, channels, size, name, **options):
    return layers.Conv2D(
        channels, size, activation="relu", kernel_initializer="he_normal", name=f"dense_{name}", **options
    )(x)


def ssd_maps(fine: Tensor, coarse: Tensor, sides: Sequence[Sequence[int]], width: int = 64) -> list[Tensor]:
    """The maps, finest first.

    Args:
        fine, coarse: two maps of a backbone, in SSD300 those of strides 8 and 16.
        sides: (height, width) of all maps. From the third on each is made of the one before by a 3x3 convolution:
            without padding where that makes it as small as wanted, else with a stride of 2.
        width: VGG-16's; the maps behind the backbone have 16, 8, 4, 4, ... times as many channels.

    Raises:
        ValueError: a map cannot be that small behind the one before.
    """
    # The 5th pooling and the first dense layer of VGG-16, with a stride of 1 and, in turn, holes (dilation).
    x = layers.MaxPooling2D(3, strides=1, padding="same", name="dense_pool5")(coarse)
    x = _convolved(x, 16 * width, 3, "fc6", padding="same", dilation_rate=6)
    x = _convolved(x, 16 * width, 1, "fc7")
    maps = [L2Scale(name="dense_l2scale")(fine), x]
    for i, wanted in enumerate(sides[2:], start=8):
        channels = (8 if i == 8 else 4) * width
        x = _convolved(x, channels // 2, 1, f"conv{i}_1")
        before, wanted = tuple(x.shape[1:3]), tuple(wanted)
        if wanted == tuple(n - 2 for n in before):
            x = _convolved(x, channels, 3, f"conv{i}_2")
        elif wanted == tuple(-(-n // 2) for n in before):
            x = _convolved(layers.ZeroPadding2D(1)(x), channels, 3, f"conv{i}_2", strides=2)
        else:
            raise ValueError(f"SSD cannot make a map of {wanted} of one of {before}; change BACKBONE_STRIDES.")
        maps.append(x)
    return maps
