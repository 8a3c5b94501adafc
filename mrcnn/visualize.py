"""The names of the 2017-2019 package's `mrcnn.visualize`. Each one lives in the room that it is about; look there."""

import importlib
from typing import Any

from mrcnn.draw.figures import (
    display_differences,
    display_images,
    display_instances,
    display_keypoints,
    display_top_masks,
    draw_boxes,
    draw_rois,
)
from mrcnn.draw.instances import apply_mask, draw_box, draw_instances, random_colors
from mrcnn.draw.plots import plot_overlaps, plot_precision_recall
from mrcnn.draw.tables import display_table, display_weight_stats, weight_stats

# What old scripts took from here although it is of other packages; imported when it is asked for.
_OTHERS = {
    "np": "numpy",
    "patches": "matplotlib.patches",
    "lines": "matplotlib.lines",
    "plt": "matplotlib.pyplot",
    "utils": "mrcnn.utils",
    "Polygon": "matplotlib.patches:Polygon",
    "find_contours": "skimage.measure:find_contours",
}

__all__ = [
    "apply_mask",
    "display_differences",
    "display_images",
    "display_instances",
    "display_keypoints",
    "display_table",
    "display_top_masks",
    "display_weight_stats",
    "draw_box",
    "draw_boxes",
    "draw_instances",
    "draw_rois",
    "plot_overlaps",
    "plot_precision_recall",
    "random_colors",
    "weight_stats",
    *_OTHERS,
]


def __getattr__(name: str) -> Any:
    if name not in _OTHERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, part = _OTHERS[name].partition(":")
    found = importlib.import_module(module)
    return getattr(found, part) if part else found
