"""The backbone that a name stands for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from mrcnn.layers import applications
from mrcnn.layers.resnet import BACKBONES, resnet_graph
from mrcnn.ops.boxes import Tensor
from mrcnn.settings.config import Config


def _unknown(name):
    known = {other.lower(): other for other in (*applications.names(), *BACKBONES)}
    near = [known[other] for other in difflib.get_close_matches(str(name).lower(), known)]
    return ValueError(
        f"BACKBONE {name!r} is unknown{'; near it are ' + ', '.join(near) if near else ''}. Choose one of "
        f"{', '.join(BACKBONES)}, a network of keras.applications, or give a function."
    )


def build_backbone(config: Config, input_image: Tensor) -> Sequence[Tensor]:
    """Feature maps [C1..C5] of the network that BACKBONE names, or of a function `f(image, stage5=True, train_bn=...)`.

    Raises:
        ValueError: unknown name, a network that lacks a stride, or a function that does not return five maps.
    """
    # A function that is set as an attribute of a class is a method, and must not be given the config.
    backbone = getattr(config.BACKBONE, "__func__", config.BACKBONE)
    if callable(backbone):
        maps = backbone(input_image, stage5=True, train_bn=config.TRAIN_BN)
        if len(maps) != 5:
            raise ValueError(f"BACKBONE returned {len(maps)} feature maps; it must return five, [C1, C2, C3, C4, C5].")
        return maps
    if backbone in applications.names():
        return applications.applications_graph(input_image, backbone, config.TRAIN_BN)
    if backbone not in BACKBONES:
        raise _unknown(backbone)
    return resnet_graph(
        input_image,
        backbone,
        stage5=True,
        train_bn=config.TRAIN_BN,
        width=config.BACKBONE_WIDTH,
        stride=config.RESNET_STRIDE,
        bias=config.RESNET_BIAS,
        padding=config.RESNET_PADDING,
        epsilon=config.BATCH_NORM_EPSILON,
    )
