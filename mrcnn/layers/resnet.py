"""Backbones: an image becomes five feature maps C1..C5 of strides 2 or 4, 4, 8, 16, 32.

ResNets carry the layer names of the original, so that its weights (and ImageNet's) load by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from keras import layers

from mrcnn.layers.batch_norm import batch_norm
from mrcnn.ops.boxes import Tensor

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Variant:
    """What ResNets of one depth differ in; the defaults are the original's. `Config` explains them."""

    train_bn: bool | None = True  # TRAIN_BN
    stride: str = "1x1"  # RESNET_STRIDE
    bias: bool = True  # RESNET_BIAS
    padding: str = "same"  # RESNET_PADDING
    epsilon: float = 0.001  # BATCH_NORM_EPSILON
    output_stride: int = 32  # of C5: below 32 the last stages have holes in their 3x3 convolutions in place of strides


# Channels below which oneDNN in TensorFlow 2.21 writes outside its memory in the gradient of a 1x1 convolution with
# strides, on processors with AVX-512.
NARROW = 16


def conv_norm(
    x: Tensor,
    filters: int,
    size: int,
    name: str,
    variant: Variant,
    strides: tuple[int, int] = (1, 1),
    groups: int = 1,
    dilation: int = 1,
) -> Tensor:
    """A convolution res{name} and a BatchNorm bn{name}."""
    pad = size // 2 if variant.padding == "symmetric" and max(strides) > 1 else 0
    if pad:
        x = layers.ZeroPadding2D(pad)(x)
    padding = "same" if size > 1 and not pad else "valid"
    if size == 1 and max(strides) > 1 and x.shape[-1] < NARROW:
        x, strides = layers.MaxPooling2D(1, strides)(x), (1, 1)  # the same pixels
    options = {"groups": groups, "dilation_rate": dilation, "use_bias": variant.bias}
    x = layers.Conv2D(filters, size, strides=strides, padding=padding, name="res" + name, **options)(x)
    return batch_norm(x, "bn" + name, variant.train_bn, variant.epsilon)


def _relu(x):
    return layers.Activation("relu")(x)


def identity_block(
    input_tensor: Tensor,
    kernel_size: int,
    filters: Sequence[int],
    stage: int,
    block: str,
    use_bias: bool = True,
    train_bn: bool | None = True,
) -> Tensor:
    """Bottleneck block (1x1, k x k, 1x1) that adds its input; `filters` are the three widths."""
    return _bottleneck(input_tensor, kernel_size, filters, stage, block, None, Variant(train_bn, bias=use_bias))


def conv_block(
    input_tensor: Tensor,
    kernel_size: int,
    filters: Sequence[int],
    stage: int,
    block: str,
    strides: tuple[int, int] = (2, 2),
    use_bias: bool = True,
    train_bn: bool | None = True,
) -> Tensor:
    """Bottleneck block whose shortcut is a 1x1 convolution; the stride is in the first 1x1 convolution."""
    return _bottleneck(input_tensor, kernel_size, filters, stage, block, strides, Variant(train_bn, bias=use_bias))


def _bottleneck(inputs, kernel_size, filters, stage, block, shortcut_strides, variant, groups=1, dilation=1):
    """`shortcut_strides` None leaves the shortcut without a convolution; the k x k convolution may have groups."""
    first, second, third = filters
    name = f"{stage}{block}_branch"
    strides = [shortcut_strides or (1, 1), (1, 1)]
    if variant.stride == "3x3":
        strides.reverse()
    x = _relu(conv_norm(inputs, first, 1, name + "2a", variant, strides[0]))
    x = _relu(conv_norm(x, second, kernel_size, name + "2b", variant, strides[1], groups, dilation))
    x = conv_norm(x, third, 1, name + "2c", variant)
    shortcut = inputs
    if shortcut_strides:
        shortcut = conv_norm(inputs, third, 1, name + "1", variant, shortcut_strides)
    return layers.Activation("relu", name=f"res{stage}{block}_out")(layers.Add()([x, shortcut]))


def _basic_block(inputs, filters, stage, block, strides, variant, dilation=1):
    """Two 3x3 convolutions; the shortcut is convolved where the shape changes."""
    name = f"{stage}{block}_branch"
    x = _relu(conv_norm(inputs, filters, 3, name + "2a", variant, strides, dilation=dilation))
    x = conv_norm(x, filters, 3, name + "2b", variant, dilation=dilation)
    shortcut = inputs
    if max(strides) > 1 or inputs.shape[-1] != filters:
        shortcut = conv_norm(inputs, filters, 1, name + "1", variant, strides)
    return layers.Activation("relu", name=f"res{stage}{block}_out")(layers.Add()([x, shortcut]))


def _stem(input_image, width, variant):
    x = layers.ZeroPadding2D((3, 3))(input_image)
    x = layers.Conv2D(width, 7, strides=2, use_bias=variant.bias, name="conv1")(x)
    x = _relu(batch_norm(x, "bn_conv1", variant.train_bn, variant.epsilon))
    if variant.padding == "same":
        return layers.MaxPooling2D(3, strides=2, padding="same")(x)
    return layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(x))  # behind a ReLU zeros are no maximum


@dataclass(frozen=True)
class ResNet:
    """Blocks in the stages 2 to 5, and of bottlenecks the groups of the 3x3 convolution and their width in stage 2."""

    blocks: tuple[int, ...]
    bottleneck: bool = True
    groups: int = 1
    group_width: int = 64


BACKBONES = {
    "resnet18": ResNet((2, 2, 2, 2), bottleneck=False),
    "resnet34": ResNet((3, 4, 6, 3), bottleneck=False),
    "resnet50": ResNet((3, 4, 6, 3)),
    "resnet101": ResNet((3, 4, 23, 3)),
    "resnext50_32x4d": ResNet((3, 4, 6, 3), groups=32, group_width=4),
    "resnext101_32x8d": ResNet((3, 4, 23, 3), groups=32, group_width=8),
}


def resnet_graph(
    input_image: Tensor,
    architecture: str,
    stage5: bool = False,
    train_bn: bool | None = True,
    width: int = 64,
    **variant: Any,
) -> list[Tensor]:
    """Feature maps [C1, C2, C3, C4, C5] of a ResNet (He et al. 2015) or ResNeXt (Xie et al. 2017).

    TensorFlow computes the gradient of a ResNeXt's grouped convolutions through XLA, which takes seconds on a CPU:
    detect with them there, and train on a GPU.

    Args:
        input_image: [B, H, W, C], sides divisible by 32.
        architecture: a name in `BACKBONES`.
        stage5: False leaves the last stage away; C5 is None then.
        train_bn: False uses stored BatchNorm statistics.
        width: channels of the first stage of networks of basic blocks; bottlenecks have 64.
        variant: other fields of `Variant`.

    Raises:
        ValueError: unknown architecture.
    """
    if architecture not in BACKBONES:
        raise ValueError(f"There is no ResNet {architecture!r}; there are {', '.join(BACKBONES)}.")
    resnet, chosen = BACKBONES[architecture], Variant(train_bn, **variant)
    width = 64 if resnet.bottleneck else width
    x = _stem(input_image, width, chosen)
    maps, stride, dilation = [x], 4, 1
    for stage, count in enumerate(resnet.blocks if stage5 else resnet.blocks[:3], start=2):
        filters = width * 2 ** (stage - 2)
        halved = stage > 2 and stride < chosen.output_stride
        stride, before = stride * 2 if halved else stride, dilation
        dilation = dilation if halved or stage == 2 else 2 * dilation
        for index in range(count):
            block = chr(ord("a") + index)
            strides = (2, 2) if index == 0 and halved else (1, 1)
            holes = before if index == 0 else dilation  # as its input's, where the stride was
            if resnet.bottleneck:
                inner = filters * resnet.group_width * resnet.groups // 64
                x = _bottleneck(
                    x,
                    3,
                    [inner, inner, 4 * filters],
                    stage,
                    block,
                    strides if index == 0 else None,
                    chosen,
                    resnet.groups,
                    holes,
                )
            else:
                x = _basic_block(x, filters, stage, block, strides, replace(chosen, bias=False), holes)
        maps.append(x)
    return maps if stage5 else [*maps, None]
