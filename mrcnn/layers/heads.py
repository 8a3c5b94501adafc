"""Heads: what is computed for each RoI. Class and box from 7x7 cells, a mask and keypoints from 14x14."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers, ops

from mrcnn.layers.batch_norm import BatchNorm
from mrcnn.layers.roi_align import PyramidROIAlign
from mrcnn.ops.boxes import Tensor, expand


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


def _flatten(pooled):
    """Pooled RoIs [B, N, h, w, C] of all images as one batch, [B * N, h, w, C]."""
    return ops.reshape(pooled, (-1, *pooled.shape[2:]))


def _norm(norm, name, train_bn):
    """The layer behind a head's convolution."""
    return norm(frozen=train_bn is False, name=name) if norm else layers.Identity()


def fpn_classifier_graph(
    rois: Tensor,
    feature_maps: Sequence[Tensor],
    image_meta: Tensor,
    pool_size: int,
    num_classes: int,
    train_bn: bool | None = True,
    fc_layers_size: int = 1024,
    norm: Callable[..., Any] | None = BatchNorm,
    **align: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """Class and box head.

    Args:
        rois: [B, N, 4] normalised.
        feature_maps: [P2, P3, P4, P5].
        image_meta: [B, 12 + K].
        pool_size: cells per side of a pooled RoI.
        num_classes: K, with background.
        train_bn: False uses stored BatchNorm statistics.
        fc_layers_size: width of the two dense layers (written as convolutions, as old weights hold them).
        norm: the layer between a dense layer and its ReLU, made with `frozen` and `name`; None for nothing.
        align: more arguments of `PyramidROIAlign`.

    Returns:
        logits [B, N, K], probabilities [B, N, K], deltas [B, N, K, 4] in units of BBOX_STD_DEV.
    """
    pool = PyramidROIAlign((pool_size, pool_size), name="roi_align_classifier", **align)
    x = _flatten(pool([rois, image_meta, *feature_maps]))
    x = WholeConv2D(fc_layers_size, pool_size, name="mrcnn_class_conv1")(x)
    x = layers.Activation("relu")(_norm(norm, "mrcnn_class_bn1", train_bn)(x))
    x = WholeConv2D(fc_layers_size, 1, name="mrcnn_class_conv2")(x)
    x = layers.Activation("relu")(_norm(norm, "mrcnn_class_bn2", train_bn)(x))
    shared = layers.Reshape((fc_layers_size,), name="pool_squeeze")(x)
    count = rois.shape[1]
    logits = layers.Dense(num_classes, name="mrcnn_class_logits")(shared)
    logits = layers.Activation("linear", dtype="float32")(ops.reshape(logits, (-1, count, num_classes)))
    probs = layers.Activation("softmax", name="mrcnn_class", dtype="float32")(logits)
    deltas = layers.Dense(4 * num_classes, name="mrcnn_bbox_fc")(shared)
    deltas = ops.reshape(deltas, (-1, count, num_classes, 4))
    return logits, probs, layers.Activation("linear", name="mrcnn_bbox", dtype="float32")(deltas)


class MaskHead:
    """Mask head: four 3x3 convolutions, one transposed 2x2 convolution, one sigmoid for each class.

    Its layers are made once; every call adds them to a graph with the same weights.

    Args:
        pool_size: cells per side of a pooled RoI; masks have twice as many.
        num_classes: K, with background.
        train_bn: False uses stored BatchNorm statistics.
        channels: width of the convolutions.
        norm: the layer between a convolution and its ReLU, made with `frozen` and `name`; None for nothing.
        logits: True for the values before the sigmoid.
        align: more arguments of `PyramidROIAlign`.
    """

    def __init__(
        self,
        pool_size: int,
        num_classes: int,
        train_bn: bool | None = True,
        channels: int = 256,
        norm: Callable[..., Any] | None = BatchNorm,
        logits: bool = False,
        **align: Any,
    ) -> None:
        self.align = PyramidROIAlign((pool_size, pool_size), name="roi_align_mask", **align)
        self.blocks = [
            (
                layers.Conv2D(channels, 3, padding="same", name=f"mrcnn_mask_conv{i}"),
                _norm(norm, f"mrcnn_mask_bn{i}", train_bn),
                layers.Activation("relu"),
            )
            for i in range(1, 5)
        ]
        self.upsample = layers.Conv2DTranspose(channels, 2, strides=2, activation="relu", name="mrcnn_mask_deconv")
        self.classify = layers.Conv2D(num_classes, 1, name="mrcnn_mask")
        self.activate = layers.Activation("linear" if logits else "sigmoid", dtype="float32")

    def flat(self, rois: Tensor, feature_maps: Sequence[Tensor], image_meta: Tensor) -> Tensor:
        """Masks of all RoIs of all images behind each other, [B * N, h, w, K]; N may be unknown in the graph."""
        x = _flatten(self.align([rois, image_meta, *feature_maps]))
        for conv, norm, relu in self.blocks:
            x = relu(norm(conv(x)))
        return self.activate(self.classify(self.upsample(x)))

    def __call__(self, rois: Tensor, feature_maps: Sequence[Tensor], image_meta: Tensor) -> Tensor:
        """Masks [B, N, h, w, K] of rois [B, N, 4] normalised."""
        x = self.flat(rois, feature_maps, image_meta)
        return ops.reshape(x, (-1, rois.shape[1], *x.shape[1:]))


def build_fpn_mask_graph(
    rois: Tensor,
    feature_maps: Sequence[Tensor],
    image_meta: Tensor,
    pool_size: int,
    num_classes: int,
    train_bn: bool | None = True,
    channels: int = 256,
) -> Tensor:
    """Mask probabilities [B, N, 2 pool_size, 2 pool_size, K] of rois [B, N, 4]; see `MaskHead`."""
    return MaskHead(pool_size, num_classes, train_bn, channels)(rois, feature_maps, image_meta)


class KeypointHead:
    """Keypoint head (He et al. 2017, section 5): 3x3 convolutions, a transposed 4x4 convolution, bilinear x 2.

    Its layers are made once; every call adds them to a graph with the same weights. There is no BatchNorm.

    Args:
        pool_size: cells per side of a pooled RoI; heatmaps have four times as many.
        num_keypoints: J.
        convolutions, channels: number and width of the 3x3 convolutions.
        roi_expand: how many times as long as the box's the sides of the RoI are.
        align: more arguments of `PyramidROIAlign`.
    """

    def __init__(
        self,
        pool_size: int,
        num_keypoints: int,
        convolutions: int = 8,
        channels: int = 512,
        roi_expand: float = 1.0,
        **align: Any,
    ) -> None:
        self.roi_expand = roi_expand
        self.align = PyramidROIAlign((pool_size, pool_size), name="roi_align_keypoint", **align)
        self.convolutions = [
            layers.Conv2D(
                channels,
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                name=f"mrcnn_keypoint_conv{i}",
            )
            for i in range(1, convolutions + 1)
        ]
        self.deconv = layers.Conv2DTranspose(num_keypoints, 4, strides=2, padding="same", name="mrcnn_keypoint_deconv")
        self.upsample = layers.UpSampling2D(2, interpolation="bilinear", name="mrcnn_keypoint_upsample")
        self.transpose = layers.Permute((3, 1, 2), name="mrcnn_keypoint", dtype="float32")

    def flat(self, rois: Tensor, feature_maps: Sequence[Tensor], image_meta: Tensor) -> Tensor:
        """Logits of all RoIs of all images behind each other, [B * N, J, h, w]; N may be unknown in the graph."""
        x = _flatten(self.align([expand(rois, self.roi_expand), image_meta, *feature_maps]))
        for conv in self.convolutions:
            x = conv(x)
        return self.transpose(self.upsample(self.deconv(x)))

    def __call__(self, rois: Tensor, feature_maps: Sequence[Tensor], image_meta: Tensor) -> Tensor:
        """Logits [B, N, J, h, w] of rois [B, N, 4] normalised, one softmax for each keypoint over its h * w cells."""
        x = self.flat(rois, feature_maps, image_meta)
        return ops.reshape(x, (-1, rois.shape[1], *x.shape[1:]))
