"""Feature Pyramid Network (Lin et al. 2017): maps of a backbone become levels that all have as many channels."""

from collections.abc import Callable, Sequence
from typing import Any

from keras import layers

from mrcnn.layers.upsampling import Nearest
from mrcnn.ops.boxes import Tensor


def pooled_top(last: int, top_map: Tensor, top_level: Tensor, channels: int) -> list[Tensor]:
    """One level above the last: that one at every second cell (P6 of Lin et al. 2017, which serves the RPN alone)."""
    return [layers.MaxPooling2D(1, strides=2, name=f"fpn_p{last + 1}")(top_level)]


def _convolved(last, x, channels):
    # Padded alike on all sides, as the published weights know it; TensorFlow's "same" pads more on the far ones.
    first = layers.Conv2D(channels, 3, strides=2, name=f"fpn_p{last + 1}")(layers.ZeroPadding2D(1)(x))
    padded = layers.ZeroPadding2D(1)(layers.Activation("relu")(first))
    return [first, layers.Conv2D(channels, 3, strides=2, name=f"fpn_p{last + 2}")(padded)]


def convolved_map_top(last: int, top_map: Tensor, top_level: Tensor, channels: int) -> list[Tensor]:
    """Two levels by 3x3 convolutions of stride 2 on the backbone's last map (P6, P7 of RetinaNet, Lin et al. 2017)."""
    return _convolved(last, top_map, channels)


def convolved_level_top(last: int, top_map: Tensor, top_level: Tensor, channels: int) -> list[Tensor]:
    """As `convolved_map_top`, on the pyramid's last level (FCOS, Tian et al. 2019; torchvision's RetinaNet)."""
    return _convolved(last, top_level, channels)


# DENSE_TOP -> how levels above the last come about.
CONVOLVED_TOPS = {"level": convolved_level_top, "map": convolved_map_top}

TopBlock = Callable[[int, Tensor, Tensor, int], list[Tensor]]


def build_fpn(
    feature_maps: Sequence[Tensor],
    channels: int,
    first: int = 2,
    top: TopBlock | None = pooled_top,
    norm: Callable[..., Any] | None = None,
) -> list[Tensor]:
    """Top-down pyramid with lateral connections, and a top block of still coarser levels.

    Args:
        feature_maps: a backbone's maps, finest first, each of half the size of the one before, [B, h, w, any].
        channels: of every level.
        first: number of the finest map: 2 for [C2, C3, C4, C5], 3 for [C3, C4, C5].
        top: function(last, top_map, top_level, channels) that gives the levels above the last, from the backbone's last
            map and the level made of it; None for none.
        norm: the layer behind each convolution, made with `name`, as in torchvision's v2 models; None for nothing.

    Returns:
        the levels, finest first: by default [P2, P3, P4, P5, P6]. Layers are named fpn_c{level}p{level} (lateral) and
        fpn_p{level}, norms as what they follow with _bn behind.
    """

    def convolve(x, size, name):
        x = layers.Conv2D(channels, size, padding="same", use_bias=norm is None, name=name)(x)
        return norm(name=f"{name}_bn")(x) if norm else x

    last = first + len(feature_maps) - 1
    merged = convolve(feature_maps[-1], 1, f"fpn_c{last}p{last}")
    pyramid = [merged]
    for level in range(last - 1, first - 1, -1):
        up = Nearest(2, name=f"fpn_p{level + 1}upsampled")(merged)
        lateral = convolve(feature_maps[level - first], 1, f"fpn_c{level}p{level}")
        merged = layers.Add(name=f"fpn_p{level}add")([up, lateral])
        pyramid.insert(0, merged)
    # A 3x3 convolution takes the aliasing of the upsampling away.
    levels = [convolve(x, 3, f"fpn_p{level}") for level, x in enumerate(pyramid, first)]
    return levels + (top(last, feature_maps[-1], levels[-1], channels) if top else [])
