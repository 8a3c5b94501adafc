"""An image twice: with its true objects, and with what was found, coloured by what went wrong."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from PIL import Image

from mrcnn.draw.fonts import readable
from mrcnn.draw.instances import draw_instances, rgb
from mrcnn.ops.masks import decode_rle

# What a detection or an object is -> (r, g, b) in 0..1.
COLORS = {
    "correct": (0.2, 0.75, 0.3),
    "localisation": (1.0, 0.75, 0.0),
    "class": (0.65, 0.35, 1.0),
    "both": (1.0, 0.45, 0.85),
    "duplicate": (0.2, 0.65, 1.0),
    "background": (1.0, 0.3, 0.2),
    "missed": (1.0, 0.3, 0.2),
}

# Larger pictures are made smaller, much smaller ones larger, in whole steps, so that labels can be read.
SIDE = 800

# Pixels of all masks of an image, from which on boxes alone are drawn.
MANY = 10**9


def draw_pair(
    image: np.ndarray,
    truths: Sequence[dict[str, Any]],
    unfound: Collection[int],
    found: Sequence[dict[str, Any]],
    kinds: Sequence[str],
    names: Sequence[str],
    masks: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the true objects of an image and its detections.

    Args:
        image: [h, w, C] of 0..255.
        truths: its objects, in COCO's format; no crowds.
        unfound: ids of those that nothing found.
        found: detections in COCO's results format.
        kinds: what each of them is, a key of `COLORS`.
        names: by class id.
        masks: whether masks are drawn where there are some.

    Returns:
        two images uint8 [H, W, 3] of the same size.
    """
    image = rgb(image)
    names = [readable(name, f"class {i}") for i, name in enumerate(names)]
    true_colors = [COLORS["missed" if truth["id"] in unfound else "correct"] for truth in truths]
    labels = [
        f"{names[entry['category_id']]} {entry['score']:.2f}{'' if kind == 'correct' else ' ' + kind}"
        for entry, kind in zip(found, kinds, strict=True)
    ]
    return (
        _draw(image, truths, [names[truth["category_id"]] for truth in truths], true_colors, masks),
        _draw(image, found, labels, [COLORS[kind] for kind in kinds], masks),
    )


def _draw(image, entries, labels, colors, masks):
    height, width = image.shape[:2]
    down = math.ceil(max(height, width) / SIDE)
    up = max(1, SIDE // 2 // max(height, width))
    picture = np.asarray(Image.fromarray(image).reduce(down)).repeat(up, axis=0).repeat(up, axis=1)
    corners = np.array([entry["bbox"] for entry in entries], float).reshape(-1, 4)[:, [1, 0, 3, 2]]
    corners[:, 2:] += corners[:, :2]
    result = {"rois": corners * up / down, "class_ids": np.arange(len(entries))}
    if masks and len(entries) * height * width <= MANY and all(entry.get("segmentation") for entry in entries):
        small = np.zeros((*picture.shape[:2], len(entries)), bool)
        for i, entry in enumerate(entries):
            mask = decode_rle(entry["segmentation"])[::down, ::down]
            small[..., i] = mask.repeat(up, axis=0).repeat(up, axis=1)
        result["masks"] = small
    return draw_instances(picture, result, labels or None, colors=colors, alpha=0.35)
