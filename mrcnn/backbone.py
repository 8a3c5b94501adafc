"""Backbones: an image becomes five feature maps C1..C5 of strides 2 or 4, 4, 8, 16, 32.

ResNets carry the layer names of the original, so that its weights (and ImageNet's) load by name.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops

from mrcnn.boxes import Tensor

if TYPE_CHECKING:
    from mrcnn.config import Config


@keras.saving.register_keras_serializable("mrcnn")
class BatchNorm(layers.BatchNormalization):
    """BatchNorm that can stay frozen: its statistics are then the stored ones in training too; gamma and beta train.

    Args:
        frozen: True for that. Building a graph with `BatchNorm(...)(x, training=False)`, as old code does, sets it: a
            Keras 3 model in training overrides the argument of the call.

    Attributes:
        folded: the layer adds beta at most, as its other numbers are in the convolution before it; see `fold`.
    """

    def __init__(self, frozen: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.frozen = frozen
        self.folded = False

    def __call__(self, inputs: Tensor, training: bool | None = None, **kwargs: Any) -> Tensor:
        if training is False and keras.backend.is_keras_tensor(inputs):
            self.frozen = True
        return super().__call__(inputs, training=training, **kwargs)

    def call(self, inputs: Tensor, training: bool | None = None, mask: Any = None) -> Tensor:
        if self.folded:
            return inputs if self._before().use_bias else inputs + ops.cast(self.beta, inputs.dtype)
        return super().call(inputs, training=False if self.frozen else training, mask=mask)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "frozen": self.frozen}

    def fold(self) -> bool:
        """Move the stored statistics, gamma and beta into the convolution before, for inference.

        That convolution must have no activation, and be followed by nothing else. If it has no bias, beta stays here
        as one. The weights can be saved and loaded as ever.

        Returns:
            whether that was done.
        """
        conv = self._before()
        if self.folded or not isinstance(conv, layers.Conv2D):
            return False
        if conv.activation is not keras.activations.linear or not (self.scale and self.center):
            return False
        if any(node.operation is not self for node in conv._outbound_nodes):
            return False  # others see the convolution's own output
        gamma, beta, mean, variance = (
            w.numpy() for w in (self.gamma, self.beta, self.moving_mean, self.moving_variance)
        )
        scale = gamma / np.sqrt(variance + self.epsilon)
        conv.kernel.assign(conv.kernel.numpy() * scale)
        if conv.use_bias:
            conv.bias.assign((conv.bias.numpy() - mean) * scale + beta)
            beta = np.zeros_like(beta)
        else:
            beta = beta - mean * scale
        self.gamma.assign(np.ones_like(gamma))
        self.beta.assign(beta)
        self.moving_mean.assign(np.zeros_like(mean))
        self.moving_variance.assign(np.full_like(variance, 1 - self.epsilon))
        self.folded = True
        return True

    def _before(self):
        return self._inbound_nodes[0].input_tensors[0]._keras_history.operation


def batch_norm(x: Tensor, name: str, train_bn: bool | None, epsilon: float = 0.001) -> Tensor:
    """BatchNorm with stored statistics if `train_bn` is False, else with those of the batch while training."""
    return BatchNorm(frozen=train_bn is False, epsilon=epsilon, name=name)(x)


@dataclass(frozen=True)
class Variant:
    """What ResNets of one depth differ in; the defaults are the original's. `Config` explains them."""

    train_bn: bool | None = True  # TRAIN_BN
    stride: str = "1x1"  # RESNET_STRIDE
    bias: bool = True  # RESNET_BIAS
    padding: str = "same"  # RESNET_PADDING
    epsilon: float = 0.001  # BATCH_NORM_EPSILON


def _conv_norm(x, filters, size, name, variant, strides=(1, 1), groups=1):
    """A convolution res{name} and a BatchNorm bn{name}."""
    pad = size // 2 if variant.padding == "symmetric" and max(strides) > 1 else 0
    if pad:
        x = layers.ZeroPadding2D(pad)(x)
    padding = "same" if size > 1 and not pad else "valid"
    x = layers.Conv2D(
        filters, size, strides=strides, padding=padding, groups=groups, use_bias=variant.bias, name="res" + name
    )(x)
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


def _bottleneck(inputs, kernel_size, filters, stage, block, shortcut_strides, variant, groups=1):
    """`shortcut_strides` None leaves the shortcut without a convolution; the k x k convolution may have groups."""
    first, second, third = filters
    name = f"{stage}{block}_branch"
    strides = [shortcut_strides or (1, 1), (1, 1)]
    if variant.stride == "3x3":
        strides.reverse()
    x = _relu(_conv_norm(inputs, first, 1, name + "2a", variant, strides[0]))
    x = _relu(_conv_norm(x, second, kernel_size, name + "2b", variant, strides[1], groups))
    x = _conv_norm(x, third, 1, name + "2c", variant)
    shortcut = inputs
    if shortcut_strides:
        shortcut = _conv_norm(inputs, third, 1, name + "1", variant, shortcut_strides)
    return layers.Activation("relu", name=f"res{stage}{block}_out")(layers.Add()([x, shortcut]))


def _basic_block(inputs, filters, stage, block, strides, variant):
    """Two 3x3 convolutions; the shortcut is convolved where the shape changes."""
    name = f"{stage}{block}_branch"
    x = _relu(_conv_norm(inputs, filters, 3, name + "2a", variant, strides))
    x = _conv_norm(x, filters, 3, name + "2b", variant)
    shortcut = inputs
    if max(strides) > 1 or inputs.shape[-1] != filters:
        shortcut = _conv_norm(inputs, filters, 1, name + "1", variant, strides)
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
        raise _unknown(architecture)
    resnet, chosen = BACKBONES[architecture], Variant(train_bn, **variant)
    width = 64 if resnet.bottleneck else width
    x = _stem(input_image, width, chosen)
    maps = [x]
    for stage, count in enumerate(resnet.blocks if stage5 else resnet.blocks[:3], start=2):
        filters = width * 2 ** (stage - 2)
        for index in range(count):
            block = chr(ord("a") + index)
            strides = (2, 2) if index == 0 and stage > 2 else (1, 1)
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
                )
            else:
                x = _basic_block(x, filters, stage, block, strides, replace(chosen, bias=False))
        maps.append(x)
    return maps if stage5 else [*maps, None]


# Of the maps of an image of 128 x 128, by their strides.
_SIZES = [(128 // stride, 128 // stride) for stride in (2, 4, 8, 16, 32)]


def applications_graph(input_image: Tensor, architecture: str, train_bn: bool | None = True) -> list[Tensor]:
    """Feature maps [C1, C2, C3, C4, C5] of a network of `keras.applications`, with random weights.

    They are the last outputs of stride 2 (4 where there is none), 4, 8, 16 and 32. The network's layers get its name
    before theirs. It sees pixels as they come, less MEAN_PIXEL and over PIXEL_STD: what scaling it begins with is left
    out. BatchNorm has the network's own epsilon.

    Args:
        input_image: [B, H, W, C], sides divisible by 32.
        architecture: a name in `keras.applications`, as "MobileNetV2".
        train_bn: False uses stored BatchNorm statistics.

    Raises:
        ValueError: unknown architecture, or one that has not all of these strides.
    """
    if architecture not in _applications():
        raise _unknown(architecture)
    channels = input_image.shape[-1]
    try:
        network = getattr(keras.applications, architecture)(
            include_top=False, weights=None, input_shape=(None, None, channels)
        )
        tensors = [operation.output for operation in network.operations]
        sizes = keras.Model(network.input, tensors).compute_output_shape((1, 128, 128, channels))
    except ValueError as error:
        raise ValueError(f"BACKBONE {architecture!r} is not built for images of any size: {error}") from error
    last = {128 // size[1]: x for size, x in zip(sizes, tensors, strict=True) if size[1:3] in _SIZES}
    lacking = [stride for stride in (4, 8, 16, 32) if stride not in last]
    if lacking:
        raise ValueError(
            f"BACKBONE {architecture!r} has no feature map of stride {' or '.join(map(str, lacking))}, which the "
            "pyramid is built on; choose another network."
        )
    maps = [last.get(2, last[4]), *(last[stride] for stride in (4, 8, 16, 32))]
    counts: Counter[str] = Counter()

    def clone(layer):
        name = layer.name
        kind = re.sub(r"_\d+$", "", name)
        if kind.replace("_", "") == type(layer).__name__.lower():
            # Keras numbers layers without a name through the whole session, and weights are stored by names.
            counts[kind] += 1
            name = f"{kind}_{counts[kind]}"
        config = {**layer.get_config(), "name": f"{architecture.lower()}_{name}"}
        if isinstance(layer, layers.BatchNormalization):
            return BatchNorm.from_config({**config, "frozen": train_bn is False})
        if isinstance(layer, (layers.Rescaling, layers.Normalization)):
            return layers.Activation("linear", name=config["name"])
        return type(layer).from_config(config)

    cloned = keras.models.clone_model(
        keras.Model(network.input, maps), input_tensors=input_image, clone_function=clone, recursive=True
    )
    return cloned.outputs


def _applications():
    return [name for name, network in vars(keras.applications).items() if callable(network)]


def _unknown(name):
    known = {other.lower(): other for other in (*_applications(), *BACKBONES)}
    near = [known[other] for other in difflib.get_close_matches(str(name).lower(), known)]
    return ValueError(
        f"BACKBONE {name!r} is unknown{'; near it are ' + ', '.join(near) if near else ''}. Choose one of "
        f"{', '.join(BACKBONES)}, a network of keras.applications, or give a function."
    )


def build_backbone(config: Config, input_image: Tensor) -> Sequence[Tensor]:
    """Feature maps [C1..C5] of the network that BACKBONE names, or of a function `f(image, stage5=True, train_bn=...)`.

    Raises:
        ValueError: unknown name, a network that lacks a stride, or a function that does not return five maps.
    """
    # A function that is set as an attribute of a class is a method, and must not be given the config.
    backbone = getattr(config.BACKBONE, "__func__", config.BACKBONE)
    if callable(backbone):
        maps = backbone(input_image, stage5=True, train_bn=config.TRAIN_BN)
        if len(maps) != 5:
            raise ValueError(f"BACKBONE returned {len(maps)} feature maps; it must return five, [C1, C2, C3, C4, C5].")
        return maps
    if backbone not in BACKBONES:
        return applications_graph(input_image, backbone, config.TRAIN_BN)
    return resnet_graph(
        input_image,
        backbone,
        stage5=True,
        train_bn=config.TRAIN_BN,
        width=config.BACKBONE_WIDTH,
        stride=config.RESNET_STRIDE,
        bias=config.RESNET_BIAS,
        padding=config.RESNET_PADDING,
        epsilon=config.BATCH_NORM_EPSILON,
    )
