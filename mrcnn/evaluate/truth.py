"""The ground truth of a `Dataset` for pycocotools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from pycocotools import mask as rle
from pycocotools.coco import COCO

from mrcnn.data.coco import index
from mrcnn.data.dataset import Dataset


def ground_truth(dataset: Dataset, image_ids: Iterable[int] | None = None) -> COCO:
    """A pycocotools `COCO` object of a prepared `Dataset`, from what its `load_annotations` gives.

    Its ids are our own, whatever those of the sources are: 1 + an image's index, a class's id, and annotations from 1
    on. (pycocotools takes an annotation 0 for none, and ids that two sources share for one.) An area or a box that is
    not given is that of the mask; an object without a mask counts where boxes are evaluated.

    Args:
        dataset: any `Dataset`.
        image_ids: indices of its images; default all.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i in map(int, dataset.image_ids if image_ids is None else image_ids):
        info = dataset.image_info[i]
        size = info.get("height", 0), info.get("width", 0)
        images.append({"id": i + 1, "height": size[0], "width": size[1]})
        entries = (_entry(annotation, i + 1, size) for annotation in dataset.load_annotations(i))
        annotations += [entry for entry in entries if "bbox" in entry]
    for k, entry in enumerate(annotations, 1):
        entry["id"] = k
    categories = [{"id": i, "name": name} for i, name in enumerate(class_labels(dataset), 1)]
    return index({"info": {}, "images": images, "annotations": annotations, "categories": categories})


def _entry(annotation, image_id, size):
    """A record in COCO's format, without an id; without a box where nothing says where the object is."""
    entry = {"image_id": image_id, "category_id": annotation.class_id, "iscrowd": int(annotation.crowd)}
    area, box = annotation.area, annotation.box
    # Run lengths know their size, which need not have been given to `add_image`.
    code = annotation.rle(*getattr(annotation.segmentation, "size", size)) if annotation.has_mask() else None
    if code is not None and (pixels := rle.area(code)):
        entry["segmentation"] = code
        area = pixels if area is None else area
        box = rle.toBbox(code) if box is None else box
    if box is not None:
        entry |= {"bbox": list(map(float, box)), "area": float(box[2] * box[3] if area is None else area)}
    if annotation.keypoints is not None:
        entry["keypoints"] = annotation.keypoints.tolist()
    return entry


def class_labels(dataset: Dataset) -> list[str]:
    """Names of a data set's classes without the background, each another: those of one name have the source before it,
    and if need be their id behind it."""
    names = [str(info["name"]) for info in dataset.class_info[1:]]
    sources = [f"{info['source']}.{info['name']}" for info in dataset.class_info[1:]]
    ids = [f"{info['source']}.{info['name']} ({info['id']})" for info in dataset.class_info[1:]]
    return _distinct(_distinct(names, sources), ids)


def _distinct(names, longer):
    """Names, each that is not the only one of its kind replaced by a longer one."""
    times = Counter(names)
    return [name if times[name] == 1 else more for name, more in zip(names, longer, strict=True)]
