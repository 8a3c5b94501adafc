"""The outlines of an object, as formats of polygons want them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from mrcnn.data.annotations import Annotation, RunLengths
from mrcnn.data.coco_file import CocoFile, Image
from mrcnn.ops.masks import polygons_to_mask
from mrcnn.ops.polygons import keyhole, to_polygons


def pieces(annotation: Annotation, image: Image, tolerance: float = 0) -> list[list[np.ndarray]]:
    """Pieces of an object, each its outer ring [n, 2] of (x, y) in pixels, then its holes: polygons as the file has
    them, run lengths traced by `to_polygons`, and of an object without a mask the box."""
    if isinstance(annotation.segmentation, RunLengths):
        return to_polygons(annotation.mask(image.height, image.width), tolerance)
    if annotation.has_mask():
        return [[np.reshape(polygon, (-1, 2))] for polygon in annotation.segmentation]
    x, y, w, h = annotation.extent(image.height, image.width)
    return [[np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)])]]


def has_own_box(annotation: Annotation, image: Image) -> bool:
    """Whether an object with a mask has a box that is another than the mask's, by more than a pixel."""
    if annotation.box is None or not annotation.has_mask():
        return False
    masks_own = replace(annotation, box=None).extent(image.height, image.width)
    return bool(np.abs(np.subtract(annotation.box, masks_own)).max() > 1)


def says_more(annotation: Annotation) -> bool:
    """Whether it has an attribute; those that are False or 0, as tools write them of every object, say nothing."""
    return any((annotation.attributes or {}).values())


def count_classes(lost: Counter[str], files: dict[str, CocoFile]) -> None:
    """Count what a format cannot hold that names classes at their objects alone: they come back sorted."""
    names = list(dict.fromkeys(name for file in files.values() for name in file.classes.values()))
    every = [(file, a) for file in files.values() for objects in file.objects.values() for a in objects]
    lost["classes without objects"] += len(set(names) - {file.classes[a.category_id] for file, a in every})
    lost["order of classes"] += names != sorted(names)


def count_lost(
    lost: Counter[str], annotation: Annotation, image: Image, points: int = 0, attributes: bool = False
) -> None:
    """Count what a format cannot hold that has one mask or one box for each object, all of which count, and so many
    keypoints, and attributes or not."""
    lost["attributes"] += not attributes and says_more(annotation)
    lost["scores"] += annotation.score is not None
    lost["tracks"] += annotation.track_id is not None
    lost["crowds"] += annotation.crowd
    lost["keypoints"] += annotation.keypoints is not None and len(annotation.keypoints) != 3 * points
    lost["boxes that are not their masks'"] += has_own_box(annotation, image)


def one_ring(annotation: Annotation, image: Image) -> np.ndarray:
    """One ring [n, 2] that covers the pixels of the mask: lines of no width join its pieces and holes."""
    found = pieces(annotation, image)
    ring = keyhole([ring for piece in found for ring in piece])
    if len(found) > 1 and not isinstance(annotation.segmentation, RunLengths):
        mask = annotation.mask(image.height, image.width)
        # Polygons that overlap are united in a mask; as one polygon they would cancel out.
        if mask.any() and (polygons_to_mask([ring], *mask.shape) != mask).any():
            ring = keyhole([ring for piece in to_polygons(mask) for ring in piece])
    return ring
