"""Annotated objects in the one form that everything behind the door reads: masks, checks, evaluation.

COCO names an object's image and class by ids of its own, which may be anything. Here a class is the data set's own
class id, and an image the list that its records are in; the file's ids are kept to name things by and to give back.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

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
    "num_keypoints": lambda a: None if a.keypoints is None else sum(v > 0 for v in a.keypoints[2::3]),
}


def read_annotation(entry: Mapping[str, Any]) -> Annotation:
    """The record of an object in COCO's format.

    Args:
        entry: fields as COCO names them; missing ones, and null, are none.

    Raises:
        ValueError: a field is not of COCO's kind; one line says which.
    """
    values = {}
    for name, read in READERS.items():
        try:
            values[name] = read(entry.get(name))
        except (TypeError, ValueError, OverflowError, KeyError):
            raise ValueError(f"annotation {entry.get('id')}: its {name} is not as COCO has it") from None
    return Annotation(
        entry.get("id"),
        entry.get("image_id"),
        entry.get("category_id"),
        values["segmentation"],
        values["bbox"],
        values["area"],
        bool(entry.get("iscrowd")),
        values["keypoints"],
    )


def _read_segmentation(shapes):
    if isinstance(shapes, Mapping):
        (height, width), counts = shapes["size"], shapes["counts"]
        counts = counts.decode("ascii") if isinstance(counts, bytes) else counts
        return RunLengths((int(height), int(width)), counts if isinstance(counts, str) else array("I", counts))
    return tuple(array("d", polygon) for polygon in shapes or ())


def _read_box(values):
    box = None if values is None else array("d", values)
    if box is not None and len(box) != 4:
        raise ValueError
    return box


# COCO's field -> its value in a record. Numbers take 8 bytes each, where a list takes 32; they are exact, as the pixels
# of a polygon depend on their last bit.
READERS: dict[str, Callable[[Any], Any]] = {
    "segmentation": _read_segmentation,
    "bbox": _read_box,
    "area": lambda value: None if value is None else float(value),
    "keypoints": lambda values: array("d", values) if values else None,
}


def records(entries: Any) -> Iterator[Annotation | str]:
    """What an image's `annotations` hold: records, those that are dicts in COCO's format read, and for each that cannot
    be read a line that says why. What is neither is somebody's own and passed over."""
    for entry in entries if isinstance(entries, (list, tuple)) else ():
        if isinstance(entry, Annotation):
            yield entry
        elif isinstance(entry, Mapping) and "segmentation" in entry:
            try:
                yield read_annotation(entry)
            except ValueError as error:
                yield str(error)
