"""Backbones: an image becomes five feature maps C1..C5 of strides 2 or 4, 4, 8, 16, 32.

ResNet-50 and -101 carry the layer names of the original, so that its weights (and ImageNet's) load by name.
"""

from functools import partial

import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable("mrcnn")
class BatchNorm(layers.BatchNormalization):
    """BatchNorm that can stay frozen: its statistics are then the stored ones in training too; gamma and beta train.

    Args:
        frozen: True for that. Building a graph with `BatchNorm(...)(x, training=False)`, as old code does, sets it: a
            Keras 3 model in training overrides the argument of the call.

    Attributes:
        folded: the layer adds beta at most, as its other numbers are in the convolution before it; see `fold`.
    """

    def __init__(self, frozen=False, **kwargs):
        super().__init__(**kwargs)
        self.frozen = frozen
        self.folded = False

    def __call__(self, inputs, training=None, **kwargs):
        if training is False and keras.backend.is_keras_tensor(inputs):
            self.frozen = True
        return super().__call__(inputs, training=training, **kwargs)

    def call(self, inputs, training=None, mask=None):
        if self.folded:
            return inputs if self._before().use_bias else inputs + ops.cast(self.beta, inputs.dtype)
        return super().call(inputs, training=False if self.frozen else training, mask=mask)

    def get_config(self):
        return {**super().get_config(), "frozen": self.frozen}

    def fold(self):
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


def batch_norm(x, name, train_bn):
    """BatchNorm with stored statistics if `train_bn` is False, else with those of the batch while training."""
    return BatchNorm(frozen=train_bn is False, name=name)(x)


def identity_block(input_tensor, kernel_size, filters, stage, block, use_bias=True, train_bn=True):
    """Bottleneck block (1x1, k x k, 1x1) that adds its input; `filters` are the three widths."""
    return _bottleneck(input_tensor, kernel_size, filters, stage, block, None, use_bias, train_bn)


def conv_block(input_tensor, kernel_size, filters, stage, block, strides=(2, 2), use_bias=True, train_bn=True):
    """Bottleneck block whose shortcut is a 1x1 convolution; the stride is in the first 1x1 convolution."""
    return _bottleneck(input_tensor, kernel_size, filters, stage, block, strides, use_bias, train_bn)


def _bottleneck(inputs, kernel_size, filters, stage, block, shortcut_strides, use_bias, train_bn):
    conv, norm = f"res{stage}{block}_branch", f"bn{stage}{block}_branch"
    first, second, third = filters
    x = layers.Conv2D(first, 1, strides=shortcut_strides or 1, name=conv + "2a", use_bias=use_bias)(inputs)
    x = layers.Activation("relu")(batch_norm(x, norm + "2a", train_bn))
    x = layers.Conv2D(second, kernel_size, padding="same", name=conv + "2b", use_bias=use_bias)(x)
    x = layers.Activation("relu")(batch_norm(x, norm + "2b", train_bn))
    x = layers.Conv2D(third, 1, name=conv + "2c", use_bias=use_bias)(x)
    x = batch_norm(x, norm + "2c", train_bn)
    shortcut = inputs
    if shortcut_strides:
        shortcut = layers.Conv2D(third, 1, strides=shortcut_strides, name=conv + "1", use_bias=use_bias)(inputs)
        shortcut = batch_norm(shortcut, norm + "1", train_bn)
    return layers.Activation("relu", name=f"res{stage}{block}_out")(layers.Add()([x, shortcut]))


def _basic_block(inputs, filters, stage, block, strides, train_bn):
    """Two 3x3 convolutions without bias; the shortcut is convolved where the shape changes."""
    conv, norm = f"res{stage}{block}_branch", f"bn{stage}{block}_branch"
    x = layers.Conv2D(filters, 3, strides=strides, padding="same", name=conv + "2a", use_bias=False)(inputs)
    x = layers.Activation("relu")(batch_norm(x, norm + "2a", train_bn))
    x = layers.Conv2D(filters, 3, padding="same", name=conv + "2b", use_bias=False)(x)
    x = batch_norm(x, norm + "2b", train_bn)
    shortcut = inputs
    if strides != 1 or inputs.shape[-1] != filters:
        shortcut = layers.Conv2D(filters, 1, strides=strides, name=conv + "1", use_bias=False)(inputs)
        shortcut = batch_norm(shortcut, norm + "1", train_bn)
    return layers.Activation("relu", name=f"res{stage}{block}_out")(layers.Add()([x, shortcut]))


def _stem(input_image, width, train_bn):
    x = layers.ZeroPadding2D((3, 3))(input_image)
    x = layers.Conv2D(width, 7, strides=2, name="conv1")(x)
    x = layers.Activation("relu")(batch_norm(x, "bn_conv1", train_bn))
    return layers.MaxPooling2D(3, strides=2, padding="same")(x)


def _bottleneck_resnet(input_image, blocks, stage5=True, train_bn=True):
    x = _stem(input_image, 64, train_bn)
    maps = [x]
    for stage, count in zip((2, 3, 4, 5) if stage5 else (2, 3, 4), blocks, strict=False):
        width = 64 * 2 ** (stage - 2)
        filters = [width, width, 4 * width]
        x = conv_block(x, 3, filters, stage, "a", strides=(1, 1) if stage == 2 else (2, 2), train_bn=train_bn)
        for block in range(1, count):
            x = identity_block(x, 3, filters, stage, chr(ord("a") + block), train_bn=train_bn)
        maps.append(x)
    return maps if stage5 else [*maps, None]


def _basic_resnet(input_image, blocks, stage5=True, train_bn=True, width=64):
    x = _stem(input_image, width, train_bn)
    maps = [x]
    for stage, count in zip((2, 3, 4, 5) if stage5 else (2, 3, 4), blocks, strict=False):
        for block in range(count):
            strides = 2 if block == 0 and stage > 2 else 1
            x = _basic_block(x, width * 2 ** (stage - 2), stage, chr(ord("a") + block), strides, train_bn)
        maps.append(x)
    return maps if stage5 else [*maps, None]


# name -> function(input_image, stage5, train_bn), and `width` where the network has one
BACKBONES = {
    "resnet18": partial(_basic_resnet, blocks=(2, 2, 2, 2)),
    "resnet50": partial(_bottleneck_resnet, blocks=(3, 4, 6, 3)),
    "resnet101": partial(_bottleneck_resnet, blocks=(3, 4, 23, 3)),
}


def resnet_graph(input_image, architecture, stage5=False, train_bn=True):
    """Feature maps [C1, C2, C3, C4, C5] of a ResNet (He et al. 2015); C5 is None unless `stage5`.

    Args:
        input_image: [B, H, W, C], sides divisible by 32.
        architecture: a name in `BACKBONES`.

    Raises:
        ValueError: unknown architecture.
    """
    return _named(architecture)(input_image, stage5=stage5, train_bn=train_bn)


def _named(name):
    if name not in BACKBONES:
        raise ValueError(f"BACKBONE {name!r} is unknown; choose one of {', '.join(BACKBONES)}, or give a function.")
    return BACKBONES[name]


def build_backbone(backbone, input_image, train_bn, width):
    """Feature maps [C1..C5] of a named backbone or of a callable `f(input_image, stage5=True, train_bn=...)`.

    `width` is the first stage's width of "resnet18"; the others have theirs fixed.

    Raises:
        ValueError: unknown name, or a callable that does not return five maps.
    """
    if callable(backbone):
        maps = backbone(input_image, stage5=True, train_bn=train_bn)
        if len(maps) != 5:
            raise ValueError(f"BACKBONE returned {len(maps)} feature maps; it must return five, [C1, C2, C3, C4, C5].")
        return maps
    build = _named(backbone)
    if build.func is _basic_resnet:
        build = partial(build, width=width)
    return build(input_image, stage5=True, train_bn=train_bn)
