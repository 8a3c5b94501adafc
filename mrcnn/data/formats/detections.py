"""Detections as a set of annotations: to be corrected by hand, or read by other programs."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.data.annotations import Annotation, RunLengths
from mrcnn.data.coco_file import CocoFile, Image
from mrcnn.ops.masks import encode_rle


def as_file(class_names: Sequence[str]) -> CocoFile:
    """A set without images, whose classes have our ids; 0, the background, is none."""
    return CocoFile(Path("detections"), classes=dict(enumerate(map(str, class_names[1:]), 1)))


def add_detections(
    file: CocoFile, path: Path | str, size: tuple[int, int], result: Mapping[str, Any], page: int | None = None
) -> None:
    """Add an image and what was found in it.

    Args:
        file: of `as_file`.
        path: of the image.
        size: its (height, width).
        result: as `detect` returns it: rois [n, 4] (y1, x1, y2, x2), class_ids [n], scores [n], and where there are any
            masks ([H, W, n], or n run lengths), keypoints [n, J, 3] of (x, y, score) and track_ids [n], 0 for none.
        page: of a TIFF file, or the frame of a video.
    """
    number = len(file.images) + 1
    file.images[number] = Image(str(path), *size, page)
    found = file.objects[number] = []
    masks, points, tracks = (result.get(name) for name in ("masks", "keypoints", "track_ids"))
    first = sum(map(len, file.objects.values())) + 1
    for k, (class_id, score) in enumerate(zip(result["class_ids"], result["scores"], strict=True)):
        y1, x1, y2, x2 = map(float, result["rois"][k])
        annotation = Annotation(
            first + k, number, int(class_id), (), array("d", [x1, y1, x2 - x1, y2 - y1]), score=float(score)
        )
        annotation.class_id = int(class_id)
        if tracks is not None and tracks[k]:
            annotation.track_id = int(tracks[k])
        if masks is not None:
            code = masks[k] if isinstance(masks, list) else encode_rle(masks[..., k])
            if isinstance(masks, list) or masks[..., k].any():
                annotation.segmentation = RunLengths(size, code["counts"])
        if points is not None and np.any(points[k]):
            xyv = np.array(points[k], float)
            xyv[:, 2] = 2 * (xyv[:, 2] > 0)
            annotation.keypoints = array("d", xyv.ravel().tolist())
        found.append(annotation)
