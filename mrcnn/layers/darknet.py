"""Darknet: the backbones of YOLO (Redmon and Farhadi 2017, 2018), their convolution, and networks of .cfg files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from mrcnn.layers.batch_norm import batch_norm
from mrcnn.layers.upsampling import Nearest
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.darknet import EPSILON, SLOPE, Network

# Stages C1 to C5. Of "darknet19" and "darknet_tiny" how many convolutions follow a pooling, of which every second one
# is 1x1 and half as wide; of "darknet53" how many residual blocks follow a convolution of stride 2.
BACKBONES = {
    "darknet19": (1, 3, 3, 5, 5),
    "darknet53": (1, 2, 8, 8, 4),
    "darknet_tiny": (1, 1, 1, 1, 1),
}


def darknet_conv(
    x: Tensor,
    channels: int,
    size: int,
    name: str,
    norm: str,
    train_bn: bool | None = True,
    step: int = 1,
    epsilon: float = EPSILON,
) -> Tensor:
    """A convolution padded alike on all sides, BatchNorm, leaky ReLU: what all of Darknet is made of.

    Args:
        x: [B, h, w, any], h and w divisible by `step`.
        channels, size, step: of the convolution; its sides are odd.
        name, norm: of the two layers.
        train_bn, epsilon: as of `batch_norm`.
    """
    x = padded_conv(x, channels, size, name, step, bias=False)
    return layers.LeakyReLU(negative_slope=SLOPE)(batch_norm(x, norm, train_bn, epsilon))


def padded_conv(x: Tensor, channels: int, size: int, name: str, step: int = 1, bias: bool = True) -> Tensor:
    """The convolution alone."""
    if step > 1 and size > 1:
        x = layers.ZeroPadding2D(size // 2)(x)
    padding = "same" if step == 1 else "valid"
    return layers.Conv2D(
        channels, size, strides=step, padding=padding, use_bias=bias, kernel_initializer="he_normal", name=name
    )(x)


def darknet_graph(
    input_image: Tensor,
    architecture: str = "darknet53",
    train_bn: bool | None = True,
    width: int = 64,
    epsilon: float = EPSILON,
) -> list[Tensor]:
    """Feature maps [C1, C2, C3, C4, C5] of strides 2, 4, 8, 16, 32.

    Layers are named res{stage}_{number}, their BatchNorm bn{stage}_{number}; the first conv1 and bn_conv1.

    Args:
        input_image: [B, H, W, C], sides divisible by 32.
        architecture: a name in `BACKBONES`.
        train_bn, epsilon: as of `batch_norm`.
        width: channels of C1; later stages double it, and the first convolution has half of it. "darknet_tiny" has
            half of all.
    """
    residual = architecture == "darknet53"
    width = max(2, width // 2) if architecture == "darknet_tiny" else width

    def convolve(x, channels, size, stage, number, step=1):
        names = f"res{stage}_{number}", f"bn{stage}_{number}"
        return darknet_conv(x, channels, size, *names, train_bn, step, epsilon)

    x, maps = darknet_conv(input_image, width // 2, 3, "conv1", "bn_conv1", train_bn, epsilon=epsilon), []
    for stage, count in enumerate(BACKBONES[architecture], start=1):
        channels = width * 2 ** (stage - 1)
        if residual:
            x = convolve(x, channels, 3, stage, 1, step=2)
            for i in range(count):
                inner = convolve(x, channels // 2, 1, stage, 2 * i + 2)
                x = layers.Add()([x, convolve(inner, channels, 3, stage, 2 * i + 3)])
        else:
            x = layers.MaxPooling2D(2, padding="same")(x)
            for i in range(count):
                whole = i % 2 == 0
                x = convolve(x, channels if whole else channels // 2, 3 if whole else 1, stage, i + 1)
        maps.append(x)
    return maps


@keras.saving.register_keras_serializable("mrcnn")
class Reorg(layers.Layer):
    """A map [B, h, w, C] at an s-th of its resolution, [B, h / s, w / s, s * s * C]: the passthrough of YOLO v2.

    Channels stand as Darknet orders them. It reads a map in memory, channel by channel, as one of C / s / s channels
    with sides s times as long, and takes every s-th value of that along both axes.

    Args:
        step: s.
    """

    def __init__(self, step: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step

    def call(self, inputs: Tensor) -> Tensor:
        s, channels = self.step, inputs.shape[-1]
        batch, h, w = ops.shape(inputs)[:3]
        x = ops.reshape(ops.transpose(inputs, (0, 3, 1, 2)), (batch, channels // s**2, h, s, w, s))
        x = ops.reshape(ops.transpose(x, (0, 3, 5, 1, 2, 4)), (batch, channels * s**2, h // s, w // s))
        return ops.transpose(x, (0, 2, 3, 1))

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple:
        batch, h, w, channels = input_shape
        s = self.step
        return (batch, h and h // s, w and w // s, channels * s**2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "step": self.step}


def network_maps(
    input_image: Tensor, network: Network, train_bn: bool | None = True, epsilon: float = EPSILON
) -> list[Tensor]:
    """The maps of a network of a .cfg file of which its last convolutions say what is there, finest first.

    Layers are named darknet_{number}_conv and darknet_{number}_bn, counted from 0 behind [net].

    Args:
        input_image: [B, H, W, 3], sides divisible by the largest stride.
        network: as read by `read_cfg`.
        train_bn, epsilon: as of `batch_norm`.
    """
    last = {network.layers[i].sources[0] for i in network.heads}  # these convolutions are the head's
    found: dict[int, Tensor] = {-1: input_image}
    for i, layer in enumerate(network.layers):
        x = [found.get(source) for source in layer.sources]
        if i in last or layer.kind in ("region", "yolo"):
            continue
        name = f"darknet_{i}_conv", f"darknet_{i}_bn"
        if layer.kind == "convolutional" and layer.norm and layer.leaky:
            x = darknet_conv(x[0], layer.channels, layer.size, *name, train_bn, layer.step, epsilon)
        else:
            x = _OTHERS[layer.kind](x, layer, *name, train_bn, epsilon)
            x = layers.LeakyReLU(negative_slope=SLOPE)(x) if layer.leaky else x
        found[i] = x
    return [found[network.layers[network.layers[i].sources[0]].sources[0]] for i in network.heads]


def _plain_convolution(x, layer, name, norm, train_bn, epsilon):
    x = padded_conv(x[0], layer.channels, layer.size, name, layer.step, bias=not layer.norm)
    return batch_norm(x, norm, train_bn, epsilon) if layer.norm else x


def _maxpool(x, layer, *_):
    if layer.size == layer.step or layer.step == 1:
        return layers.MaxPooling2D(layer.size, layer.step, padding="same")(x[0])
    # Elsewhere "same" pads more on the far sides. Behind a ReLU that leaks, zeros would count.
    x = ops.pad(x[0], [[0, 0], layer.padding, layer.padding, [0, 0]], constant_values=-1e4)
    return layers.MaxPooling2D(layer.size, layer.step)(x)


_OTHERS = {
    "convolutional": _plain_convolution,
    "maxpool": _maxpool,
    "route": lambda x, *_: layers.Concatenate()(x) if len(x) > 1 else x[0],
    "shortcut": lambda x, *_: layers.Add()(x),
    "upsample": lambda x, layer, *_: Nearest(layer.step)(x[0]),
    "reorg": lambda x, layer, *_: Reorg(layer.step)(x[0]),
}
