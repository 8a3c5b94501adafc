"""The two halves of U-Net (Ronneberger et al. 2015): down to coarse maps that know what, and up again to where."""

from __future__ import annotations

from keras import layers

from mrcnn.layers.batch_norm import BatchNorm
from mrcnn.layers.unpool import Unpool
from mrcnn.ops.boxes import Tensor

# Of BatchNorm's statistics: there are 18 layers behind each other, which a run of a few hundred steps should know.
MEMORY = 0.9


def _convolved(x, channels, name, norm, train_bn):
    """Two 3x3 convolutions, with BatchNorm or without."""
    for i in (1, 2):
        options = {"padding": "same", "kernel_initializer": "he_normal", "use_bias": not norm}
        x = layers.Conv2D(channels, 3, name=f"{name}_conv{i}", **options)(x)
        x = BatchNorm(frozen=train_bn is False, momentum=MEMORY, name=f"{name}_bn{i}")(x) if norm else x
        x = layers.Activation("relu")(x)
    return x


def _doubled(x, before, channels, name, unpool):
    """A map of twice the sides, with so many channels; `before` is the map of that size on the way down."""
    initial = {"activation": "relu", "kernel_initializer": "he_normal"}
    if unpool == "transposed":
        return layers.Conv2DTranspose(channels, 2, strides=2, name=f"{name}_unpool", **initial)(x)
    x = layers.Conv2D(channels, 1, name=f"{name}_unpool", **initial)(x)
    return Unpool(unpool)([x, before] if unpool == "maxima" else [x])


def unet(
    image: Tensor,
    width: int = 64,
    levels: int = 4,
    norm: bool = True,
    train_bn: bool | None = True,
    unpool: str = "transposed",
    dropout: float = 0.0,
) -> Tensor:
    """The last map [B, H, W, width] of a U-Net.

    Args:
        image: [B, H, W, C], sides divisible by 2 to the power of `levels`.
        width: channels at the image's own size; twice as many with every halving.
        levels: how often it is halved.
        norm, train_bn: whether there is BatchNorm, and whether its statistics are those of the batch.
        unpool: "transposed" for a transposed convolution, or what `Unpool` takes.
        dropout: share of the coarsest map's channels' values that training leaves out.
    """
    x, down = image, []
    for level in range(levels):
        x = _convolved(x, width * 2**level, f"unet_down{level + 1}", norm, train_bn)
        down.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = _convolved(x, width * 2**levels, "unet_bottom", norm, train_bn)
    x = layers.Dropout(dropout, name="unet_dropout")(x) if dropout else x
    for level in reversed(range(levels)):
        name, channels = f"semantic_up{level + 1}", width * 2**level
        x = layers.Concatenate()([down[level], _doubled(x, down[level], channels, name, unpool)])
        x = _convolved(x, channels, name, norm, train_bn)
    return x
