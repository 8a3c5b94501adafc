"""What the stages of a cascade have between them: the boxes of one are the regions of the next, and all read the same
maps."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
from keras import layers, ops

from mrcnn.ops import boxes
from mrcnn.ops.boxes import Tensor


@keras.saving.register_keras_serializable("mrcnn")
class RefineBoxes(layers.Layer):
    """Applies a stage's deltas to its regions (Cai and Vasconcelos 2018, section 4).

    Args:
        std_dev: the four numbers by which the stage's deltas are divided.

    Inputs: [regions [B, N, 4] normalised, deltas [B, N, 1, 4]], and perhaps windows [B, 4], normalised, to which the
    boxes are cut; else they are cut to 0..1.
    Output: [B, N, 4], zero where the region was padding or nothing is left. No gradient flows through it.
    """

    def __init__(self, std_dev: Iterable[float], **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.std_dev = tuple(std_dev)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        regions, deltas, *window = (ops.stop_gradient(x) for x in inputs)
        refined = boxes.decode(regions, deltas[:, :, 0] * ops.convert_to_tensor(self.std_dev, dtype="float32"))
        refined = boxes.clip(refined, window[0][:, None] if window else [0.0, 0.0, 1.0, 1.0])
        return ops.where((boxes.area(refined) > 0)[..., None], refined, 0.0)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple:
        return tuple(input_shape[0])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "std_dev": self.std_dev}


@keras.saving.register_keras_serializable("mrcnn")
class ScaledGradient(layers.Layer):
    """The identity, whose gradient is multiplied by a number: by one over the number of the heads that read a map, it
    learns as much from all of them as from one (Detectron2's cascade).

    Args:
        scale: the number.

    Input and output: a tensor of any shape.
    """

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, x: Tensor) -> Tensor:
        constant = ops.stop_gradient(x)
        return constant + self.scale * (x - constant)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}
