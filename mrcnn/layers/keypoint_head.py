"""The keypoint head (He et al. 2017, section 5): a heatmap of each keypoint of each RoI, from 14x14 cells."""

from typing import Any

from keras import layers

from mrcnn.layers.roi_head import RoiHead, Unflatten
from mrcnn.ops.boxes import Tensor, expand


class KeypointHead(RoiHead):
    """3x3 convolutions, a transposed 4x4 convolution, bilinear x 2. There is no BatchNorm.

    Output: `{prefix}_keypoint` [B, N, J, 4 pool_size, 4 pool_size] logits, for each keypoint one softmax over its cell

    Args:
        pool_size: cells per side of a pooled RoI; heatmaps have four times as many.
        num_keypoints: J.
        convolutions, channels: number and width of the 3x3 convolutions.
        roi_expand: how many times as long as the box's the sides of the RoI are.
        prefix, align: see `RoiHead`.
    """

    def __init__(
        self,
        pool_size: int,
        num_keypoints: int,
        convolutions: int = 8,
        channels: int = 512,
        roi_expand: float = 1.0,
        prefix: str = "mrcnn",
        **align: Any,
    ) -> None:
        super().__init__(prefix, "keypoint", pool_size, **align)
        self.roi_expand = roi_expand
        self.convolutions = [
            layers.Conv2D(
                channels,
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                name=f"{prefix}_keypoint_conv{i}",
            )
            for i in range(1, convolutions + 1)
        ]
        self.deconv = layers.Conv2DTranspose(
            num_keypoints, 4, strides=2, padding="same", name=f"{prefix}_keypoint_deconv"
        )
        self.upsample = layers.UpSampling2D(2, interpolation="bilinear", name=f"{prefix}_keypoint_upsample")
        self.transpose = layers.Permute((3, 1, 2), name=f"{prefix}_keypoint", dtype="float32")

    def region(self, rois: Tensor) -> Tensor:
        return expand(rois, self.roi_expand)

    def outputs(self, pooled: Tensor, rois: Tensor) -> dict[str, Tensor]:
        x = pooled
        for conv in self.convolutions:
            x = conv(x)
        maps = self.transpose(self.upsample(self.deconv(x)))
        return {f"{self.prefix}_keypoint": Unflatten()([maps, rois])}
