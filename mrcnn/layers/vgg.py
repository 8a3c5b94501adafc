"""VGG-16 (Simonyan and Zisserman 2015): the backbone of the detectors before ResNets."""

from __future__ import annotations

from keras import layers

from mrcnn.ops.boxes import Tensor

# Convolutions in the blocks 1 to 5.
BACKBONES = {"vgg16": (2, 2, 3, 3, 3)}


def vgg_graph(input_image: Tensor, architecture: str = "vgg16", width: int = 64) -> list[Tensor]:
    """Feature maps [C1, C2, C3, C4, C5] of strides 2, 4, 8, 16, 32: of the blocks 2 to 5 before they are pooled, and of
    block 5 behind that.

    Layers have the names of keras.applications. Odd sides are rounded up where they are halved.

    Args:
        input_image: [B, H, W, C].
        architecture: a name in `BACKBONES`.
        width: channels of the first block; later blocks have 2, 4, 8 and 8 times as many.
    """
    x, maps = input_image, []
    for block, count in enumerate(BACKBONES[architecture], start=1):
        for i in range(1, count + 1):
            channels = width * min(2 ** (block - 1), 8)
            x = layers.Conv2D(
                channels,
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",  # without BatchNorm nothing else keeps its size
                name=f"block{block}_conv{i}",
            )(x)
        maps.append(x)
        x = layers.MaxPooling2D(2, padding="same", name=f"block{block}_pool")(x)
    return [*maps[1:], x]
