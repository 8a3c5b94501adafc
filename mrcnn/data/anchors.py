"""The anchors that a config asks for."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mrcnn.ops import anchors
from mrcnn.settings.checks import ONE_STAGE
from mrcnn.settings.config import Config


def anchor_settings(config: Config, image_shape: Sequence[int]) -> dict[str, Any]:
    """What `generate_pyramid_anchors` takes, for an image of `image_shape`."""
    shapes, strides = compute_backbone_shapes(config, image_shape), np.asarray(config.BACKBONE_STRIDES)
    rounded = config.RPN_ANCHORS == "rounded"
    if rounded:
        strides = np.asarray(image_shape[:2]) // shapes
    return {
        "scales": config.RPN_ANCHOR_SCALES,
        "ratios": config.RPN_ANCHOR_RATIOS,
        "feature_shapes": shapes,
        "feature_strides": strides,
        "anchor_stride": config.RPN_ANCHOR_STRIDE,
        "rounded": rounded,
    }


def pyramid_anchors(config: Config, image_shape: Sequence[int]) -> np.ndarray:
    """Anchors [A, 4] in pixels of an image of `image_shape`."""
    return anchors.generate_pyramid_anchors(**anchor_settings(config, image_shape))


def compute_backbone_shapes(config: Config, image_shape: Sequence[int]) -> np.ndarray:
    """Heights and widths [levels, 2] of the maps that have anchors for an image of `image_shape`.

    Raises:
        ValueError: BACKBONE is a function and COMPUTE_BACKBONE_SHAPE is not.
    """
    if callable(config.BACKBONE) and config.DETECTOR not in ONE_STAGE:  # these halve a backbone's maps themselves
        if not callable(config.COMPUTE_BACKBONE_SHAPE):
            raise ValueError("BACKBONE is a function: set COMPUTE_BACKBONE_SHAPE to a function(image_shape) as well.")
        return np.asarray(plain_function(config.COMPUTE_BACKBONE_SHAPE)(image_shape))
    return anchors.backbone_shapes(image_shape, config.BACKBONE_STRIDES)


def plain_function(function: Callable) -> Callable:
    """The function behind a method: one set as an attribute of a Config class must not be given the config."""
    return getattr(function, "__func__", function)
