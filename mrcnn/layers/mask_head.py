"""The mask head (He et al. 2017): a small mask of each RoI, from 14x14 cells."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers, ops
from keras.initializers import RandomNormal

from mrcnn.layers.batch_norm import BatchNorm
from mrcnn.layers.roi_head import RoiHead, norm_layer
from mrcnn.ops.boxes import Tensor


@keras.saving.register_keras_serializable("mrcnn")
class RoiConv2D(layers.Conv2D):
    """A 1x1 convolution of the maps of RoIs, activation included.

    Inputs: [maps [B * N, h, w, C], rois [B, N, 4]]. Output: [B, N, h, w, filters] float32. (To compute on [B, N, ...]
    would put two reshapes between the layers, which keep other runtimes from computing them as one.)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.input_spec = None  # that of Conv2D knows one input

    def build(self, input_shape: Sequence[Any]) -> None:
        super().build(input_shape[0])
        self.input_spec = None

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        x, rois = inputs
        x = self.activation(ops.cast(self.convolution_op(x, self.kernel) + self.bias, "float32"))
        return ops.reshape(x, (-1, ops.shape(rois)[1], *x.shape[1:]))

    def compute_output_spec(self, inputs: Sequence[Tensor]) -> keras.KerasTensor:
        maps, rois = inputs
        return keras.KerasTensor((*rois.shape[:2], *maps.shape[1:-1], self.filters), "float32")


class MaskHead(RoiHead):
    """Four 3x3 convolutions, one transposed 2x2 convolution, one sigmoid for each class.

    Output: `{prefix}_mask` [B, N, 2 pool_size, 2 pool_size, K] probabilities, or the values before the sigmoid.

    Args:
        pool_size: cells per side of a pooled RoI; masks have twice as many.
        num_classes: K, with background.
        train_bn: False uses stored BatchNorm statistics.
        channels: width of the convolutions.
        norm: the layer between a convolution and its ReLU, made with `frozen` and `name`; None for nothing.
        logits: True for the values before the sigmoid.
        prefix, align: see `RoiHead`.
    """

    def __init__(
        self,
        pool_size: int,
        num_classes: int,
        train_bn: bool | None = True,
        channels: int = 256,
        norm: Callable[..., Any] | None = BatchNorm,
        logits: bool = False,
        prefix: str = "mrcnn",
        **align: Any,
    ) -> None:
        super().__init__(prefix, "mask", pool_size, **align)
        self.blocks = [
            (
                layers.Conv2D(channels, 3, padding="same", name=f"{prefix}_mask_conv{i}"),
                norm_layer(norm, f"{prefix}_mask_bn{i}", train_bn),
                layers.Activation("relu"),
            )
            for i in range(1, 5)
        ]
        self.upsample = layers.Conv2DTranspose(channels, 2, strides=2, activation="relu", name=f"{prefix}_mask_deconv")
        last = {
            "activation": None if logits else "sigmoid",
            "kernel_initializer": RandomNormal(stddev=0.001),  # so that all begin at one half
        }
        self.classify = RoiConv2D(num_classes, 1, name=f"{prefix}_mask", **last)

    def outputs(self, pooled: Tensor, rois: Tensor) -> dict[str, Tensor]:
        x = pooled
        for conv, norm, relu in self.blocks:
            x = relu(norm(conv(x)))
        return {f"{self.prefix}_mask": self.classify([self.upsample(x), rois])}
