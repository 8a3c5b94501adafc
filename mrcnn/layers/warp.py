"""Regions of an image, each warped to one square with some of what is around it (Girshick et al. 2014, appendix A)."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from mrcnn.ops import boxes
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.roi_align import crop_and_resize


@keras.saving.register_keras_serializable("mrcnn")
class WarpRegions(layers.Layer):
    """Crops of an image: every region becomes a square, whatever its aspect ratio.

    The region itself fills the middle of the square, and `context` pixels on each side are what is around it. What lies
    outside of the image is 0, the mean pixel of a molded image.

    Args:
        size: side of the squares in pixels.
        context: of which so many on each side; twice that is less than `size`.
        normalization: of the regions, as `boxes.normalize` takes it.

    Inputs: [image [B, H, W, C], regions [B, N, 4] normalised]; or [image, regions [M, 4], index [M] int32 of the image
    of each].
    Output: [B * N, size, size, C] float32, the regions of all images behind each other; or [M, size, size, C].
    """

    def __init__(self, size: int = 227, context: int = 16, normalization: str = "edges", **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.size = size
        self.context = context
        self.normalization = normalization

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        image, regions, *index = inputs
        batch, height, width, channels = ops.shape(image)
        last = float(self.normalization == "pixels")
        sides = ops.cast(ops.stack([height, width, height, width]), "float32")
        regions = (regions * (sides - last) + ops.convert_to_tensor([0.0, 0.0, last, last])) / sides
        regions = boxes.expand(regions, self.size / (self.size - 2 * self.context))
        of = index[0] if index else ops.arange(batch, dtype="int32")[:, None]
        of = ops.reshape(of + ops.zeros_like(regions[..., 0], dtype="int32"), (1, -1))
        return crop_and_resize(
            ops.reshape(image, (1, -1, channels)),
            of * (height * width),
            ops.zeros_like(of) + height,
            ops.zeros_like(of) + width,
            ops.reshape(regions, (1, -1, 4)),
            (self.size, self.size),
            "centres",
        )[0]

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple:
        return (None, self.size, self.size, input_shape[0][-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "size": self.size,
            "context": self.context,
            "normalization": self.normalization,
        }
