"""The class of every pixel of an image as any `Dataset` has it, by the masks of its objects."""

from __future__ import annotations

import numpy as np

from mrcnn.data.dataset import Dataset
from mrcnn.ops.semantic import paint


def semantic_truth(dataset: Dataset, image_id: int) -> np.ndarray:
    """The class of every pixel [H, W] int32 of an image as the data set has it: 0 background, -1 where it is not
    known."""
    masks, class_ids = load_regions(dataset, image_id)
    if not len(class_ids):  # of a set without any masks the masks have no size
        info = dataset.image_info[image_id]
        return np.zeros((info.get("height", 0), info.get("width", 0)) if not masks.size else masks.shape[:2], "int32")
    return paint(np.asarray(masks, bool), class_ids)


def load_regions(dataset: Dataset, image_id: int) -> tuple[np.ndarray, np.ndarray]:
    """As `Dataset.load_mask`; an object of which the box alone is known comes as a crowd, as some pixels in the box are
    its own and others are not."""
    masks, class_ids = dataset.load_mask(image_id)
    if type(dataset).load_box_masks is not Dataset.load_box_masks:
        bare = [x for x in dataset.load_annotations(image_id) if not x.has_mask() and x.box is not None]
        if bare:
            boxes = np.stack([x.box_mask(*masks.shape[:2]) for x in bare], axis=-1)
            masks = np.concatenate([masks, boxes], axis=-1)
            class_ids = np.concatenate([class_ids, [-x.class_id for x in bare]]).astype("int32")
    return masks, class_ids
