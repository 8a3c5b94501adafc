"""The ground truth of a `Dataset` for pycocotools."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from pycocotools import mask as rle
from pycocotools.coco import COCO

from mrcnn.data.coco import index
from mrcnn.data.dataset import Dataset
from mrcnn.ops.masks import encode_rle


def ground_truth(dataset: Dataset, image_ids: Iterable[int] | None = None) -> COCO:
    """A pycocotools `COCO` object of a prepared `Dataset`.

    It is the data set's own where there is one (`CocoDataset.coco`, with all that its files hold), else made from
    `load_mask`, where negative class ids are crowds, and `load_keypoints`.

    Args:
        dataset: any `Dataset`.
        image_ids: indices of images to read where it is made from masks; default all.

    Raises:
        ValueError: two images, or two classes, have the same id in different sources.
    """
    coco = getattr(dataset, "coco", None)
    if coco is not None and all(info["source"] == "coco" for info in dataset.image_info):
        return coco
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i in dataset.image_ids if image_ids is None else image_ids:
        masks, class_ids = dataset.load_mask(i)
        source_id = dataset.image_info[i]["id"]
        images.append({"id": source_id, "height": masks.shape[0], "width": masks.shape[1]})
        points = dataset.load_keypoints(i)
        for k, (class_id, mask) in enumerate(zip(class_ids, np.moveaxis(masks, -1, 0), strict=True)):
            code = encode_rle(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": source_id,
                    "category_id": dataset.class_info[abs(class_id)]["id"],
                    "segmentation": code,
                    "area": int(rle.area(code)),
                    "bbox": rle.toBbox(code).tolist(),
                    "iscrowd": int(class_id < 0),
                }
            )
            if points is not None:
                annotations[-1]["keypoints"] = np.ravel(points[k]).astype(float).tolist()
    categories = [{"id": info["id"], "name": info["name"]} for info in dataset.class_info[1:]]
    for kind, entries in [("images", images), ("classes", categories)]:
        if len({entry["id"] for entry in entries}) < len(entries):
            raise ValueError(f"Sources of the data set have {kind} of the same id; evaluate one source at a time.")
    return index({"info": {}, "images": images, "annotations": annotations, "categories": categories})
