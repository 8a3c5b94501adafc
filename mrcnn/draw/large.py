"""A small picture of a large image and what was found in it, without all of its pixels or masks in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mrcnn.data.windows import Windows
from mrcnn.draw.instances import SCORE_THRESHOLD, draw_instances, instance_colors, rgb
from mrcnn.ops.masks import crop_rle
from mrcnn.settings.checks import check_arguments

# Masks that are drawn, and rows of the picture that are read, at a time.
TOGETHER, ROWS = 50, 64


@check_arguments
def draw_large(
    image: Windows,
    result: dict[str, Any],
    class_names: Sequence[str] | None = None,
    side: int = 2048,
    threshold: float = SCORE_THRESHOLD,
) -> np.ndarray:
    """Draw what `detect_tiled` found into a copy of an image that is at most `side` pixels wide and high.

    Args:
        image: as of `mrcnn.data.windows.windows`.
        result: with masks as run lengths; keypoints are not drawn.
        class_names, threshold: as of `draw_instances`.
        side: the image is made smaller in whole steps.

    Returns:
        uint8 [H, W, 3].
    """
    height, width = image.shape
    step = max(1, math.ceil(max(height, width) / side))
    rows = range(0, height, ROWS * step)
    bands = [image.read(y, 0, min(y + ROWS * step, height), width)[::step, ::step] for y in rows]
    picture, count = rgb(np.concatenate(bands)), len(result["scores"])
    colors = instance_colors(None, count)
    for start in range(0, count, TOGETHER):
        part = slice(start, start + TOGETHER)
        some = {name: result[name][part] for name in ("rois", "class_ids", "scores")}
        some["rois"] = some["rois"] / step
        if "masks" in result:
            codes = result["masks"][part]
            some["masks"] = np.stack([crop_rle(code, (0, 0, height, width))[::step, ::step] for code in codes], -1)
        picture = draw_instances(picture, some, class_names, threshold, colors[part])
    return picture
