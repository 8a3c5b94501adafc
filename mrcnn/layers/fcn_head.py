"""From maps of a backbone to the class of every pixel: the skips of FCN (Long et al. 2015), and torchvision's head."""

from __future__ import annotations

from collections.abc import Sequence

from keras import layers

from mrcnn.layers.batch_norm import batch_norm
from mrcnn.layers.unpool import upscore
from mrcnn.ops.boxes import Tensor


def enlarged(x: Tensor, factor: int) -> Tensor:
    """A map of `factor` times the sides, by bilinear interpolation."""
    return layers.UpSampling2D(factor, interpolation="bilinear")(x)


def skip_scores(
    maps: Sequence[Tensor], classes: int, stride: int = 8, channels: int = 0, dropout: float = 0.0
) -> Tensor:
    """The classes [B, H, W, classes] of every pixel, by the scores of a coarse map with those of finer ones added.

    Args:
        maps: of the strides 8, 16 and 32.
        classes: how many.
        stride: of the finest map that counts: 32, 16 or 8, the paper's FCN-32s, FCN-16s and FCN-8s.
        channels: of the two convolutions on the coarsest map, which are VGG-16's dense layers; 0 for none of them.
        dropout: behind each of these.
    """
    *finer, x = maps
    for name, size in (("fc6", 7), ("fc7", 1)) if channels else ():
        options = {"activation": "relu", "kernel_initializer": "he_normal"}
        x = layers.Conv2D(channels, size, padding="same", name=f"semantic_{name}", **options)(x)
        x = layers.Dropout(dropout, name=f"semantic_{name}_dropout")(x) if dropout else x
    x = layers.Conv2D(classes, 1, name="semantic_class_32")(x)
    for now, before in zip((16, 8), reversed(finer), strict=True):
        if now < stride:
            break
        x = upscore(x, 2, f"semantic_upscore_{now}")
        # Zeros, so that the coarse scores are as they were when a finer map joins them.
        skip = layers.Conv2D(classes, 1, kernel_initializer="zeros", name=f"semantic_class_{now}")(before)
        x = layers.Add()([x, skip])
    return enlarged(x, stride)


def convolution_scores(
    x: Tensor,
    classes: int,
    prefix: str = "semantic",
    dropout: float = 0.1,
    train_bn: bool | None = True,
    epsilon: float = 0.001,
) -> Tensor:
    """The classes [B, h, w, classes] at every place of a map, by a 3x3 convolution and one more (torchvision)."""
    x = layers.Conv2D(x.shape[-1] // 4, 3, padding="same", use_bias=False, name=f"{prefix}_conv1")(x)
    x = layers.Activation("relu")(batch_norm(x, f"{prefix}_bn1", train_bn, epsilon))
    x = layers.Dropout(dropout, name=f"{prefix}_dropout")(x) if dropout else x
    return layers.Conv2D(classes, 1, name=f"{prefix}_class")(x)
