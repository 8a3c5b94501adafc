"""The names of the 2017-2019 package's `mrcnn.utils`. Each one lives in the room that it is about; look there."""

import numpy as np
from keras import ops

from mrcnn import boxes as _boxes
from mrcnn.anchors import generate_anchors, generate_pyramid_anchors
from mrcnn.dataset import Dataset
from mrcnn.images import resize, resize_image
from mrcnn.masks import expand_mask, extract_bboxes, minimize_mask, resize_mask, unmold_mask
from mrcnn.metrics import (
    compute_ap,
    compute_ap_range,
    compute_matches,
    compute_overlaps_masks,
    compute_recall,
    trim_zeros,
)

__all__ = [
    "Dataset",
    "apply_box_deltas",
    "batch_slice",
    "box_refinement",
    "box_refinement_graph",
    "compute_ap",
    "compute_ap_range",
    "compute_iou",
    "compute_matches",
    "compute_overlaps",
    "compute_overlaps_masks",
    "compute_recall",
    "denorm_boxes",
    "download_trained_weights",
    "expand_mask",
    "extract_bboxes",
    "generate_anchors",
    "generate_pyramid_anchors",
    "minimize_mask",
    "mold_mask",
    "non_max_suppression",
    "norm_boxes",
    "resize",
    "resize_image",
    "resize_mask",
    "trim_zeros",
    "unmold_mask",
]

# ---- old names of things that have a better name today ----

compute_overlaps = _boxes.overlaps
non_max_suppression = _boxes.nms
norm_boxes = _boxes.normalize
denorm_boxes = _boxes.denormalize


def compute_iou(box, boxes, box_area, boxes_area):
    """IoU [N] of one box [4] with boxes [N, 4]. The areas, once given to save time, follow from the boxes."""
    return _boxes.overlaps(np.asarray(box)[None], np.asarray(boxes))[0]


def apply_box_deltas(boxes, deltas):
    """`boxes.decode` of NumPy arrays [N, 4], float32."""
    return _boxes.decode(np.asarray(boxes, dtype="float32"), np.asarray(deltas)).astype("float32")


def box_refinement(box, gt_box):
    """`boxes.encode` of NumPy arrays [N, 4], float32."""
    return _boxes.encode(np.asarray(box, dtype="float32"), np.asarray(gt_box, dtype="float32")).astype("float32")


def box_refinement_graph(box, gt_box):
    """`boxes.encode` of backend tensors [N, 4], float32."""
    return _boxes.encode(ops.cast(box, "float32"), ops.cast(gt_box, "float32"))


def mold_mask(mask, config):
    """Masks [H, W] or [H, W, N] resized to config.MASK_SHAPE, bool. In the original the function was empty."""
    return resize(np.asarray(mask) != 0, config.MASK_SHAPE) >= 0.5


def batch_slice(inputs, graph_fn, batch_size, names=None):
    """Run a function written for one image on every image of a batch. Layers here take whole batches and need it not.

    Args:
        inputs: a tensor [B, ...] or a list of them.
        graph_fn: takes one slice [...] of each input; returns a tensor or a sequence of tensors.
        batch_size: B.
        names: not used; they named TensorFlow graph nodes.

    Returns:
        A list of tensors [B, ...], or the only one.
    """
    inputs = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    results = [graph_fn(*[x[i] for x in inputs]) for i in range(batch_size)]
    results = [result if isinstance(result, (list, tuple)) else [result] for result in results]
    stacked = [ops.stack(parts, axis=0) for parts in zip(*results, strict=True)]
    return stacked if len(stacked) > 1 else stacked[0]


def download_trained_weights(coco_model_path, verbose=1):
    """Download the weights trained on COCO to the file `coco_model_path`."""
    from mrcnn import weights  # it needs Keras models; this module must stay light

    if verbose > 0:
        print(f"Downloading pretrained model to {coco_model_path} ...")
    weights.download("coco", coco_model_path, verbose)
    if verbose > 0:
        print("... done downloading pretrained model!")
