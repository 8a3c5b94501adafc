"""The names of the 2017-2019 package's `mrcnn.visualize`. Each one lives in the module that it is about; look there."""

from mrcnn.compat.names import lend
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

__getattr__, _LENT = lend(
    __name__, "IPython Polygon colorsys find_contours itertools lines np os patches plt random sys utils"
)

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
    *_LENT,
]
