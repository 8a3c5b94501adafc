"""RoIAlign, or RoI pooling, over the pyramid: a fixed grid of values from the level that suits each box."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
from keras import layers, ops

from mrcnn.ops.boxes import Tensor
from mrcnn.ops.meta import parse_image_meta
from mrcnn.ops.roi_align import crop_and_resize, pyramid_level
from mrcnn.ops.roi_pool import roi_pool


@keras.saving.register_keras_serializable("mrcnn")
class PyramidROIAlign(layers.Layer):
    """RoIAlign (bilinear samples), or RoI pooling (the highest values), on all levels of the pyramid at once.

    Args:
        pool_shape: (rows, columns) of cells per box.
        sampling: where in the cells the maps are read, a key of `SAMPLINGS`, or "pool" for RoI pooling.
        rounding: how levels become whole, a key of `ROUNDINGS`.
        first_level: number of the finest of the maps.

    Inputs: [boxes [B, N, 4] normalised, image_meta [B, 12 + K], P2, P3, P4, P5], or as many levels as there are.
    Output: [B, N, rows, columns, channels]; no gradient flows into the boxes.
    """

    def __init__(
        self,
        pool_shape: Iterable[int],
        sampling: str = "corners",
        rounding: str = "round",
        first_level: int = 2,
        **kwargs: Any,
    ) -> None:
        # Boxes and image sizes need float32 in a network of lower precision too.
        super().__init__(autocast=False, **kwargs)
        self.pool_shape = tuple(pool_shape)
        self.sampling = sampling
        self.rounding = rounding
        self.first_level = first_level

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        boxes, image_meta, *maps = inputs
        boxes = ops.stop_gradient(boxes)
        image_shape = ops.cast(parse_image_meta(image_meta)["image_shape"], "float32")
        area, first = image_shape[:, 0:1] * image_shape[:, 1:2], self.first_level
        level = pyramid_level(boxes, area, self.rounding, first, first + len(maps) - 1) - first
        if self.sampling == "pool":
            return roi_pool(maps, level, boxes, self.pool_shape)
        sizes = [ops.shape(x)[1:3] for x in maps]
        starts = [0]
        for height, width in sizes[:-1]:
            starts.append(starts[-1] + height * width)
        offsets, heights, widths = (
            ops.take(ops.cast(ops.stack(values), "int32"), level, axis=0)
            for values in (starts, [h for h, _ in sizes], [w for _, w in sizes])
        )
        flat = ops.concatenate([ops.reshape(x, (ops.shape(x)[0], -1, x.shape[-1])) for x in maps], axis=1)
        return crop_and_resize(flat, offsets, heights, widths, boxes, self.pool_shape, self.sampling)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple:
        return (*input_shape[0][:2], *self.pool_shape, input_shape[2][-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pool_shape": self.pool_shape,
            "sampling": self.sampling,
            "rounding": self.rounding,
            "first_level": self.first_level,
        }
