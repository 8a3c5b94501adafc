"""The box head: classes and box deltas of RoIs, from 7x7 cells (Girshick 2015, Lin et al. 2017)."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops
from keras.initializers import RandomNormal

from mrcnn.layers.batch_norm import BatchNorm
from mrcnn.layers.roi_head import RoiHead, Unflatten, norm_layer
from mrcnn.ops.boxes import Tensor


@keras.saving.register_keras_serializable("mrcnn")
class WholeConv2D(layers.Conv2D):
    """A convolution whose kernel covers its whole input, [B, s, s, C] -> [B, 1, 1, filters].

    It is computed as the matrix product that it is: ten times faster to train on a CPU than as a convolution. The
    weights are those of `Conv2D`, as old files hold them.
    """

    def call(self, inputs: Tensor) -> Tensor:
        x = ops.reshape(inputs, (-1, self.kernel_size[0] * self.kernel_size[1] * inputs.shape[-1]))
        x = ops.matmul(x, ops.reshape(self.kernel, (-1, self.filters))) + self.bias
        return ops.reshape(x, (-1, 1, 1, self.filters))


class BoxHead(RoiHead):
    """Two dense layers (written as convolutions, as old weights hold them), then classes and deltas; or, as in
    torchvision's v2 models, some 3x3 convolutions and one dense layer before these.

    Outputs, with K classes, background included: `{prefix}_class_logits` [B, N, K], `{prefix}_class` [B, N, K]
    probabilities, `{prefix}_bbox` [B, N, K, 4] deltas in units of BBOX_STD_DEV, or [B, N, 1, 4] if they are the same
    for all classes.

    Args:
        pool_size: cells per side of a pooled RoI.
        num_classes: K.
        train_bn: False uses stored BatchNorm statistics.
        channels: width of the dense layers.
        norm: the layer between a convolution, or a dense layer where there are no convolutions, and its ReLU, made with
            `frozen` and `name`; None for nothing.
        class_agnostic: one box for all classes (Cai and Vasconcelos 2018), not one for each.
        prefix, align: see `RoiHead`.
        dense: number of dense layers.
        convolutions, conv_channels: number and width of the convolutions.
    """

    def __init__(
        self,
        pool_size: int,
        num_classes: int,
        train_bn: bool | None = True,
        channels: int = 1024,
        norm: Callable[..., Any] | None = BatchNorm,
        class_agnostic: bool = False,
        prefix: str = "mrcnn",
        dense: int = 2,
        convolutions: int = 0,
        conv_channels: int = 256,
        **align: Any,
    ) -> None:
        super().__init__(prefix, "classifier", pool_size, **align)
        self.blocks = [
            (
                layers.Conv2D(conv_channels, 3, padding="same", use_bias=norm is None, name=f"{prefix}_box_conv{i}"),
                norm_layer(norm, f"{prefix}_box_bn{i}", train_bn),
                layers.Activation("relu"),
            )
            for i in range(1, convolutions + 1)
        ]
        self.blocks += [
            (
                WholeConv2D(channels, pool_size if i == 1 else 1, name=f"{prefix}_class_conv{i}"),
                norm_layer(None if convolutions else norm, f"{prefix}_class_bn{i}", train_bn),
                layers.Activation("relu"),
            )
            for i in range(1, dense + 1)
        ]
        self.squeeze = layers.Reshape((channels,), name="pool_squeeze" if prefix == "mrcnn" else f"{prefix}_squeeze")
        self.boxes = 1 if class_agnostic else num_classes
        # Small at first, as in Fast R-CNN: no class is preferred, and boxes are their RoIs.
        small = RandomNormal(stddev=0.01)
        self.classify = layers.Dense(num_classes, kernel_initializer=small, name=f"{prefix}_class_logits")
        small = RandomNormal(stddev=0.001)
        self.refine = layers.Dense(4 * self.boxes, kernel_initializer=small, name=f"{prefix}_bbox_fc")
        self.softmax = layers.Activation("softmax", name=f"{prefix}_class", dtype="float32")
        # Not computed in lower precision from here on.
        self.logits = layers.Activation("linear", dtype="float32")
        self.deltas = layers.Activation("linear", name=f"{prefix}_bbox", dtype="float32")

    def outputs(self, pooled: Tensor, rois: Tensor) -> dict[str, Tensor]:
        x = pooled
        for convolution, norm, relu in self.blocks:
            x = relu(norm(convolution(x)))
        shared = self.squeeze(x)
        logits = self.logits(Unflatten()([self.classify(shared), rois]))
        deltas = layers.Reshape((self.boxes, 4))(self.refine(shared))
        return {
            f"{self.prefix}_class_logits": logits,
            f"{self.prefix}_class": self.softmax(logits),
            f"{self.prefix}_bbox": self.deltas(Unflatten()([deltas, rois])),
        }
