"""The ways back from a pooled map to one of twice its sides: what is put into the four places of a cell."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import initializers, layers, ops

from mrcnn.ops.boxes import Tensor
from mrcnn.ops.gather import largest


def nearest(x: Tensor) -> Tensor:
    """The value itself in all four: [B, h, w, C] to [B, 2h, 2w, C]."""
    return ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2)


def bed_of_nails(x: Tensor) -> Tensor:
    """The value in the upper left one, 0 in the others: [B, h, w, C] to [B, 2h, 2w, C]."""
    return _placed(x, ops.zeros_like(x[..., None], dtype="int32"))


def at_maxima(x: Tensor, pooled: Tensor) -> Tensor:
    """The value where the maximum was when another map was pooled, 0 in the other places (Zeiler and Fergus 2014;
    SegNet, Badrinarayanan et al. 2017).

    Args:
        x: [B, h, w, C].
        pooled: [B, 2h, 2w, C], the map before its pooling; of equal maxima the first counts.
    """
    _, height, width, channels = ops.shape(x)
    cells = ops.transpose(ops.reshape(pooled, (-1, height, 2, width, 2, channels)), (0, 1, 3, 5, 2, 4))
    return _placed(x, largest(ops.reshape(cells, (-1, height, width, channels, 4)))[..., None])


def _placed(x, places):
    """Values [B, h, w, C] at places 0 to 3, row by row, [B, h, w, C, 1] of their cells of 2 x 2."""
    _, height, width, channels = ops.shape(x)
    chosen = ops.cast(ops.equal(ops.cast(places, "int32"), ops.arange(4, dtype="int32")), x.dtype) * x[..., None]
    cells = ops.reshape(chosen, (-1, height, width, channels, 2, 2))
    return ops.reshape(ops.transpose(cells, (0, 1, 4, 2, 5, 3)), (-1, 2 * height, 2 * width, channels))


@keras.saving.register_keras_serializable("mrcnn")
class Unpool(layers.Layer):
    """One of `nearest`, `bed_of_nails` and `at_maxima` as a layer, which takes [map] or [map, map before its pooling].

    Args:
        kind: "nearest", "nails" or "maxima".
    """

    functions: dict[str, Callable[..., Tensor]] = {
        "nearest": lambda x, pooled=None: nearest(x),
        "nails": lambda x, pooled=None: bed_of_nails(x),
        "maxima": at_maxima,
    }

    def __init__(self, kind: str, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.kind = kind

    def call(self, inputs: list[Tensor]) -> Tensor:
        return self.functions[self.kind](*inputs)

    def compute_output_shape(self, input_shape: list[tuple]) -> tuple:
        batch, height, width, channels = input_shape[0]
        return batch, height and 2 * height, width and 2 * width, channels

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "kind": self.kind}


@keras.saving.register_keras_serializable("mrcnn")
class Bilinear(initializers.Initializer):
    """Of the kernel [2s, 2s, K, K] of a transposed convolution with stride s: it interpolates each channel by itself
    (Long et al. 2015, section 3.3)."""

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Tensor:
        size = shape[0]
        line = 1 - ops.abs(ops.arange(size, dtype="float32") - (size - 1) / 2) / (size / 2)
        kernel = (line[:, None] * line)[..., None, None] * ops.eye(shape[2], shape[3])
        return ops.cast(kernel, dtype or "float32")

    def get_config(self) -> dict[str, object]:
        return {}


def upscore(x: Tensor, factor: int, name: str) -> Tensor:
    """A transposed convolution that enlarges a map [B, h, w, K] by `factor`, at first by bilinear interpolation."""
    return layers.Conv2DTranspose(
        x.shape[-1],
        2 * factor,
        strides=factor,
        padding="same",
        use_bias=False,
        kernel_initializer=Bilinear(),
        name=name,
    )(x)
