"""The names of the 2017-2019 package's `mrcnn.utils`. Each one lives in the room that it is about; look there."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from mrcnn.compat.names import lend
from mrcnn.data.dataset import Dataset
from mrcnn.data.resizing import resize_image
from mrcnn.evaluate.metrics import (
    compute_ap,
    compute_ap_range,
    compute_matches,
    compute_overlaps_masks,
    compute_recall,
    trim_zeros,
)
from mrcnn.ops import boxes as _boxes
from mrcnn.ops.anchors import generate_anchors, generate_pyramid_anchors
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.images import resize
from mrcnn.ops.masks import expand_mask, extract_bboxes, minimize_mask, resize_mask, unmold_mask
from mrcnn.ops.nms import nms as _nms
from mrcnn.settings.config import Config
from mrcnn.weights.releases import PRETRAINED

__getattr__, _LENT = lend(
    __name__, "LooseVersion logging math np os random scipy shutil skimage sys tf urllib warnings"
)

__all__ = [
    "COCO_MODEL_URL",
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
    *_LENT,
]

COCO_MODEL_URL = PRETRAINED["coco"].url

compute_overlaps = _boxes.overlaps
non_max_suppression = _nms
norm_boxes = _boxes.normalize
denorm_boxes = _boxes.denormalize


def compute_iou(box: ArrayLike, boxes: ArrayLike, box_area: ArrayLike, boxes_area: ArrayLike) -> np.ndarray:
    """IoU [N] of one box [4] with boxes [N, 4]. The areas, once given to save time, follow from the boxes."""
    return _boxes.overlaps(np.asarray(box)[None], np.asarray(boxes))[0]


def apply_box_deltas(boxes: ArrayLike, deltas: ArrayLike) -> np.ndarray:
    """`boxes.decode` of NumPy arrays [N, 4], float32."""
    return _boxes.decode(np.asarray(boxes, dtype="float32"), np.asarray(deltas)).astype("float32")


def box_refinement(box: ArrayLike, gt_box: ArrayLike) -> np.ndarray:
    """`boxes.encode` of NumPy arrays [N, 4], float32."""
    return _boxes.encode(np.asarray(box, dtype="float32"), np.asarray(gt_box, dtype="float32")).astype("float32")


def box_refinement_graph(box: Tensor, gt_box: Tensor) -> Tensor:
    """`boxes.encode` of backend tensors [N, 4], float32."""
    return _boxes.encode(ops.cast(box, "float32"), ops.cast(gt_box, "float32"))


def mold_mask(mask: ArrayLike, config: Config) -> np.ndarray:
    """Masks [H, W] or [H, W, N] resized to config.MASK_SHAPE, bool. In the original the function was empty."""
    return resize(np.asarray(mask) != 0, config.MASK_SHAPE) >= 0.5


def batch_slice(
    inputs: Tensor | Sequence[Tensor], graph_fn: Callable, batch_size: int, names: Any = None
) -> Tensor | list[Tensor]:
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


def download_trained_weights(coco_model_path: Path | str, verbose: int = 1) -> None:
    """Download the weights trained on COCO to the file `coco_model_path`."""
    from mrcnn import weights  # it needs Keras models; this module must stay light

    if verbose > 0:
        print(f"Downloading pretrained model to {coco_model_path} ...")
    weights.download("coco", coco_model_path, verbose)
    if verbose > 0:
        print("... done downloading pretrained model!")
