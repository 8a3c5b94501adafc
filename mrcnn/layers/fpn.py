"""Feature Pyramid Network (Lin et al. 2017): C2..C5 become P2..P6, all with the same number of channels."""

from collections.abc import Sequence

from keras import layers

from mrcnn.ops.boxes import Tensor


def build_fpn(feature_maps: Sequence[Tensor], channels: int) -> list[Tensor]:
    """Top-down pyramid with lateral connections.

    Args:
        feature_maps: [C2, C3, C4, C5], each [B, H / stride, W / stride, any].
        channels: channels of every level.

    Returns:
        [P2, P3, P4, P5, P6]; P6 is P5 at every second cell and serves the RPN alone.
    """
    c2, c3, c4, c5 = feature_maps
    top = layers.Conv2D(channels, 1, name="fpn_c5p5")(c5)
    pyramid = [top]
    for level, lateral in ((4, c4), (3, c3), (2, c2)):
        up = layers.UpSampling2D(2, name=f"fpn_p{level + 1}upsampled")(top)
        lateral = layers.Conv2D(channels, 1, name=f"fpn_c{level}p{level}")(lateral)
        top = layers.Add(name=f"fpn_p{level}add")([up, lateral])
        pyramid.insert(0, top)
    # A 3x3 convolution takes the aliasing of the upsampling away.
    p2, p3, p4, p5 = (
        layers.Conv2D(channels, 3, padding="same", name=f"fpn_p{level}")(x) for level, x in enumerate(pyramid, start=2)
    )
    p6 = layers.MaxPooling2D(1, strides=2, name="fpn_p6")(p5)
    return [p2, p3, p4, p5, p6]
