"""What YOLO puts behind a backbone, and what its heads say: the maps of v1, v2 and v3, boxes in cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from mrcnn.layers.darknet import SLOPE, Reorg
from mrcnn.layers.dense_head import Predictor, prior_bias
from mrcnn.layers.upsampling import Nearest
from mrcnn.ops import boxes
from mrcnn.ops.boxes import Tensor

# Function of a map, channels, size and name, perhaps with `step`, that convolves it: `darknet_conv` with its settings.
Convolve = Callable[..., Tensor]


def grid_map(x: Tensor, convolve: Convolve, channels: int, halve: bool, dense: int = 0) -> Tensor:
    """The map of v1, a place for each cell (Redmon et al. 2016, figure 3), of a backbone's last.

    Args:
        x: [B, h, w, any].
        convolve: see `Convolve`.
        channels: of the four convolutions.
        halve: whether cells are twice as wide as places of the backbone's map.
        dense: outputs of the dense layer behind them, through which each cell sees the whole image; 0 for none. They
            are one place.
    """
    for i in range(1, 5):
        x = convolve(x, channels, 3, f"grid{i}", step=2 if halve and i == 2 else 1)
    if dense:
        x = layers.Dense(dense, kernel_initializer="he_normal", name="dense_fc")(layers.Flatten()(x))
        x = layers.Dropout(0.5)(layers.LeakyReLU(negative_slope=SLOPE)(x))
        x = layers.Reshape((1, 1, dense))(x)
    return x


def passthrough_map(fine: Tensor, coarse: Tensor, convolve: Convolve, channels: int) -> Tensor:
    """The map of v2 (Redmon and Farhadi 2017, section 2): the coarse one of a backbone, with the one before it,
    which is twice as large, folded into its channels.

    Args:
        fine, coarse: [B, 2 h, 2 w, any] and [B, h, w, any].
        convolve: see `Convolve`.
        channels: of the convolutions; in the paper 1024, and 64 before the fold.
    """
    for i in (1, 2):
        coarse = convolve(coarse, channels, 3, f"conv{i}")
    folded = Reorg(2, name="dense_reorg")(convolve(fine, max(4, channels // 16 // 4 * 4), 1, "passthrough"))
    return convolve(layers.Concatenate()([folded, coarse]), channels, 3, "conv3")


def scale_maps(maps: Sequence[Tensor], convolve: Convolve, channels: int) -> list[Tensor]:
    """The maps of v3 (Redmon and Farhadi 2018, section 2.3): six convolutions on the coarsest of a backbone's; their
    fifth goes, twice as large, into those of the next.

    Args:
        maps: finest first, each half as large as the one before.
        convolve: see `Convolve`.
        channels: of the 3x3 convolutions on the finest map, twice as many on each coarser one; those of 1x1 between
            have half.
    """
    found: list[Tensor] = []
    below = None
    for level in range(len(maps), 0, -1):
        x, width = maps[level - 1], channels * 2 ** (level - 1)
        if below is not None:
            up = Nearest(2)(convolve(below, width // 2, 1, f"scale{level}_up"))
            x = layers.Concatenate()([up, x])
        for i in range(1, 6):
            x = convolve(x, width // 2 if i % 2 else width, 1 if i % 2 else 3, f"scale{level}_conv{i}")
        below = x
        found.insert(0, convolve(x, width, 3, f"scale{level}_conv6"))
    return found


def predict_cells(maps: Sequence[Tensor], classes: int, each: int) -> dict[str, list[Tensor]]:
    """What v2 and v3 say of `each` anchors at every place of each map, by 1x1 convolutions.

    Returns:
        of each map dense_class_logits [B, a, classes], dense_object [B, a, 1] logits, dense_bbox [B, a, 4]: y, x before
        the sigmoid that keeps them in the cell, log h, log w.
    """
    kinds = {"dense_class_logits": ("class", classes), "dense_object": ("object", 1), "dense_bbox": ("bbox", 4)}
    said: dict[str, list[Tensor]] = {name: [] for name in kinds}
    for number, x in enumerate(maps, start=1):
        for name, (layer, values) in kinds.items():
            bias = prior_bias() if name == "dense_object" else 0.0
            said[name] += Predictor(layer, values, each, bias, number=number, size=1)([x])
    return said


@keras.saving.register_keras_serializable("mrcnn")
class CellDeltas(layers.Layer):
    """What v2 and v3 say of boxes [B, h * w * n, 4], y, x before the sigmoid, log h, log w, as deltas of the anchors at
    the middle of every cell.

    Args:
        stride: sides of a cell in pixels.
        sizes: of the n anchors, (width, height) in pixels.
    """

    def __init__(self, stride: float, sizes: Sequence[Sequence[float]], **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.stride = stride
        self.sizes = [[float(x) for x in size] for size in sizes]

    def call(self, inputs: Tensor) -> Tensor:
        cells = ops.convert_to_tensor(self.stride / np.array(self.sizes)[:, ::-1], dtype="float32")
        batch, count = ops.shape(inputs)[:2]
        each = ops.reshape(inputs, (batch, count // len(self.sizes), len(self.sizes), 4))
        return ops.reshape(boxes.in_cell_to_deltas(sigmoid_offsets(each), cells), (batch, count, 4))

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stride": self.stride, "sizes": self.sizes}


def sigmoid_offsets(numbers: Tensor) -> Tensor:
    """Numbers [..., 4] with their first two through a sigmoid."""
    return ops.concatenate([ops.sigmoid(numbers[..., :2]), numbers[..., 2:]], axis=-1)


def root_deltas(numbers: Tensor, grid: Sequence[int]) -> Tensor:
    """What v1 says of boxes, as deltas of the cells.

    Args:
        numbers: [..., 4], y and x in the cell, square roots of height and width as shares of the image.
        grid: cells (down, across).
    """
    roots = ops.maximum(numbers[..., 2:], 1e-3)  # what is negative says nothing
    # Of NumPy: a tensor that was there before the graph is one more input of it where it is exported to ONNX.
    sides = ops.add(2 * ops.log(roots), np.log(grid).astype("float32"))
    return ops.concatenate([numbers[..., :2] - 0.5, sides], axis=-1)
