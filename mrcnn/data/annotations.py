"""Annotated objects in the one form that everything behind the door reads: masks, checks, evaluation.

COCO names an object's image and class by ids of its own, which may be anything. Here a class is the data set's own
class id, and an image the list that its records are in; the file's ids are kept to name things by and to give back.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as rle

from mrcnn.ops import masks


class RunLengths(NamedTuple):
    """A mask as COCO's run lengths: size (height, width), and counts, compressed to text or as whole numbers."""

    size: tuple[int, int]
    counts: str | array[int]


@dataclass(slots=True, eq=False)
class Annotation(Mapping[str, Any]):
    """One object. Also a mapping of COCO's fields, for code that reads `image_info[i]["annotations"]`; fields that COCO
    does not know are not kept.

    Attributes:
        id, image_id, category_id: as the file has them.
        segmentation: polygons, each x1, y1, x2, y2 ... in pixels, or `RunLengths`; () for none.
        box: x, y, width, height in pixels, or None where the file says nothing.
        area: of the mask in pixels, or None.
        crowd: whether it is a group of objects.
        keypoints: x1, y1, v1, x2 ..., or None.
        class_id: of the data set's classes; 0 before it is known.
        score: of a detection, 0..1; None for what somebody annotated.
        track_id: which object of a video it is, from 1 on; None where nobody followed it.
        attributes: what else somebody said of it by names of their own, such as {"occluded": True}; None for nothing.
    """

    id: Any
    image_id: Any
    category_id: Any
    segmentation: tuple[array[float], ...] | RunLengths
    box: array[float] | None = None
    area: float | None = None
    crowd: bool = False
    keypoints: array[float] | None = None
    class_id: int = 0
    score: float | None = None
    track_id: int | None = None
    attributes: dict[str, Any] | None = None

    def __getitem__(self, name: str) -> Any:
        value = FIELDS[name](self)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return (name for name, field in FIELDS.items() if field(self) is not None)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def has_mask(self) -> bool:
        """Whether there is a mask at all: run lengths, or a polygon of three points or more."""
        shapes = self.segmentation
        return isinstance(shapes, RunLengths) or any(len(polygon) >= 6 for polygon in shapes)

    def rle(self, height: int, width: int) -> dict[str, Any]:
        """The mask as COCO's run lengths, compressed; polygons are united.

        Raises:
            ValueError: run lengths for another size.
        """
        if not isinstance(self.segmentation, RunLengths):
            return masks.polygons_to_rle(self.segmentation, height, width)
        size, counts = self.segmentation
        if size != (height, width):
            said = " x ".join(map(str, size))
            raise ValueError(f"The mask of annotation {self.id} is {said}, but its image {height} x {width}.")
        if isinstance(counts, str):
            return {"size": [height, width], "counts": counts}
        return masks.compress_rle({"size": [height, width], "counts": counts.tolist()})

    def mask(self, height: int, width: int) -> np.ndarray:
        """The mask [height, width] bool.

        Raises:
            ValueError: run lengths for another size.
        """
        return masks.decode_rle(self.rle(height, width))

    def extent(self, height: int, width: int) -> tuple[float, float, float, float]:
        """The box x, y, width, height in pixels: as the file has it, or else of the mask; zeros without both."""
        if self.box is not None:
            x, y, w, h = self.box
            return x, y, w, h
        if not self.has_mask():
            return 0.0, 0.0, 0.0, 0.0
        if isinstance(self.segmentation, RunLengths):
            x, y, w, h = rle.toBbox(self.rle(height, width)).tolist()
            return x, y, w, h
        points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in self.segmentation])
        (x1, y1), (x2, y2) = np.clip([points.min(axis=0), points.max(axis=0)], 0, (width, height)).tolist()
        return float(x1), float(y1), float(x2 - x1), float(y2 - y1)

    def inside(self, height: int, width: int) -> tuple[float, float, float, float]:
        """The part of its extent that is in the image; of one outside of it, width or height is not above 0."""
        x, y, w, h = self.extent(height, width)
        left, top = max(0.0, x), max(0.0, y)
        return left, top, min(width, x + w) - left, min(height, y + h) - top

    def box_mask(self, height: int, width: int) -> np.ndarray:
        """The pixels [height, width] bool of its box, at least one where it is in the image; none without a box."""
        filled = np.zeros((height, width), bool)
        if self.box is not None:
            x, y, w, h = self.box
            left, top = max(0, round(x)), max(0, round(y))
            filled[top : max(top + 1, round(y + h)), left : max(left + 1, round(x + w))] = True
        return filled


def check_size(info: Mapping[str, Any], shape: Sequence[int]) -> None:
    """Refuse an image whose records are of another size than the picture has: nobody knows where its objects are.

    Args:
        info: of `image_info`.
        shape: (height, width, ...) of the picture.

    Raises:
        ValueError: they differ.
    """
    said = info.get("height"), info.get("width")
    if "annotations" in info and None not in said and said != tuple(shape[:2]):
        raise ValueError(f"{info['path']}: the picture is {shape[1]}x{shape[0]}, but annotated at {said[1]}x{said[0]}")


def _segmentation(annotation):
    shapes = annotation.segmentation
    if not isinstance(shapes, RunLengths):
        return [polygon.tolist() for polygon in shapes]
    return {"size": list(shapes.size), "counts": shapes.counts if isinstance(shapes.counts, str) else [*shapes.counts]}


# COCO's field -> its value, or None where the annotation has none.
FIELDS: dict[str, Callable[[Annotation], Any]] = {
    "id": lambda a: a.id,
    "image_id": lambda a: a.image_id,
    "category_id": lambda a: a.category_id,
    "segmentation": _segmentation,
    "area": lambda a: a.area,
    "bbox": lambda a: None if a.box is None else a.box.tolist(),
    "iscrowd": lambda a: int(a.crowd),
    "keypoints": lambda a: None if a.keypoints is None else a.keypoints.tolist(),
    "score": lambda a: a.score,
    "track_id": lambda a: a.track_id,
    "attributes": lambda a: a.attributes or None,
    "num_keypoints": lambda a: None if a.keypoints is None else sum(v > 0 for v in a.keypoints[2::3]),
}
