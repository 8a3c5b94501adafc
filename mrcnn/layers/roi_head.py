"""What the heads of RoIs have in common: they read the pyramid, compute, and give outputs with names."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers, ops

from mrcnn.layers.roi_align import PyramidROIAlign
from mrcnn.ops.boxes import Tensor


@keras.saving.register_keras_serializable("mrcnn")
class Unflatten(layers.Layer):
    """Undoes the flattening of RoIs: [x [B * N, ...], rois [B, N, 4]] -> [B, N, ...]; N may be unknown in the graph."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        x, rois = inputs
        return ops.reshape(x, (-1, ops.shape(rois)[1], *x.shape[1:]))

    def compute_output_spec(self, inputs: Sequence[Tensor]) -> keras.KerasTensor:
        x, rois = inputs
        return keras.KerasTensor((*rois.shape[:2], *x.shape[1:]), x.dtype)


class RoiHead:
    """A head: `__call__` adds it to a graph. Its layers are made once; every call uses the same weights.

    A subclass makes its layers, with `prefix` before their names, and writes `outputs`.

    Args:
        prefix: beginning of the names of its layers and outputs. "mrcnn" are those of old weights; presets of
            `train(layers=...)` take all that begins with "mrcnn_" for heads.
        kind: what it computes, in the name of its RoIAlign layer.
        pool_size: cells per side of a pooled RoI.
        align: more arguments of `PyramidROIAlign`.
    """

    def __init__(self, prefix: str, kind: str, pool_size: int, **align: Any) -> None:
        self.prefix = prefix
        name = f"roi_align_{kind}" if prefix == "mrcnn" else f"{prefix}_roi_align_{kind}"
        self.align = PyramidROIAlign((pool_size, pool_size), name=name, **align)

    def region(self, rois: Tensor) -> Tensor:
        """The part of the image [B, N, 4] that the head sees of each RoI."""
        return rois

    def outputs(self, pooled: Tensor, rois: Tensor) -> dict[str, Tensor]:
        """Outputs by name, [B, N, ...] each.

        Args:
            pooled: RoIs of all images behind each other, [B * N, pool_size, pool_size, C].
            rois: [B, N, 4], by which `Unflatten` makes [B, N, ...] of [B * N, ...].
        """
        raise NotImplementedError

    def __call__(self, rois: Tensor, feature_maps: Sequence[Tensor], image_meta: Tensor) -> dict[str, Tensor]:
        """Outputs by name, [B, N, ...] each.

        Args:
            rois: [B, N, 4] normalised; N may be unknown in the graph.
            feature_maps: levels of the pyramid, finest first, each [B, h, w, C].
            image_meta: [B, 12 + K].
        """
        pooled = self.align([self.region(rois), image_meta, *feature_maps])
        flat = ops.reshape(pooled, (-1, *pooled.shape[2:]))
        return self.outputs(flat, rois)


def norm_layer(norm: Callable[..., Any] | None, name: str, train_bn: bool | None) -> layers.Layer:
    """The layer between a head's convolution and its ReLU: norm(frozen=..., name=...), or nothing."""
    return norm(frozen=train_bn is False, name=name) if norm else layers.Identity()
