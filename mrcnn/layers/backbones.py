"""The backbone that a name stands for."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

from mrcnn.layers import applications, darknet, dla, efficientnet_lite, resnet, vgg
from mrcnn.layers.resnet import resnet_graph
from mrcnn.ops.boxes import Tensor

BACKBONES = (*resnet.BACKBONES, *dla.BACKBONES, *vgg.BACKBONES, *darknet.BACKBONES, *efficientnet_lite.BACKBONES)


def _unknown(name):
    known = {other.lower(): other for other in (*applications.names(), *BACKBONES)}
    near = [known[other] for other in difflib.get_close_matches(str(name).lower(), known)]
    return ValueError(
        f"BACKBONE {name!r} is unknown{'; near it are ' + ', '.join(near) if near else ''}. Choose one of "
        f"{', '.join(BACKBONES)}, a network of keras.applications, or give a function."
    )


def build_backbone(
    backbone: str | Callable[..., Any],
    input_image: Tensor,
    train_bn: bool | None = True,
    width: int = 64,
    **variant: Any,
) -> Sequence[Tensor]:
    """Feature maps [C1..C5] of strides 2 or 4, 4, 8, 16, 32.

    Args:
        backbone: a name in `BACKBONES`, a network of keras.applications, or a function
            `f(image, stage5=True, train_bn=...)` that gives the five maps.
        input_image: [B, H, W, C], sides divisible by 32.
        train_bn: False uses stored BatchNorm statistics.
        width, variant: as of `resnet_graph`; VGG has the width alone, DLA and Darknet also the epsilon,
            EfficientNet-Lite the padding and the epsilon.

    Raises:
        ValueError: unknown name, a network that lacks a stride, or a function that does not return five maps.
    """
    # A function that is set as an attribute of a class is a method, and must not be given its object.
    backbone = getattr(backbone, "__func__", backbone)
    if callable(backbone):
        maps = backbone(input_image, stage5=True, train_bn=train_bn)
        if len(maps) != 5:
            raise ValueError(f"BACKBONE returned {len(maps)} feature maps; it must return five, [C1, C2, C3, C4, C5].")
        return maps
    if backbone in applications.names():
        return applications.applications_graph(input_image, backbone, train_bn)
    if backbone in vgg.BACKBONES:
        return vgg.vgg_graph(input_image, backbone, width)
    if backbone in dla.BACKBONES:
        return dla.dla_graph(input_image, backbone, train_bn, width, variant.get("epsilon", 0.001))
    if backbone in darknet.BACKBONES:
        epsilon = variant.get("epsilon", darknet.EPSILON)
        return darknet.darknet_graph(input_image, backbone, train_bn, width, epsilon)
    if backbone in efficientnet_lite.BACKBONES:
        own = {key: variant[key] for key in ("padding", "epsilon") if key in variant}
        return efficientnet_lite.efficientnet_lite_graph(input_image, backbone, train_bn, **own)
    if backbone not in BACKBONES:
        raise _unknown(backbone)
    return resnet_graph(input_image, backbone, stage5=True, train_bn=train_bn, width=width, **variant)
