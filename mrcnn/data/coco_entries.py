"""Entries of COCO's format (https://cocodataset.org/#format-data), each by itself: ids, images, classes, objects.

What an entry cannot do without raises an error. Anything else that cannot be used is noted and taken as missing.
"""

from __future__ import annotations

import functools
import math
import operator
import os
import reprlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from pycocotools import mask as rle

from mrcnn.data.annotations import Annotation, RunLengths
from mrcnn.data.arrays import TIFF_ENDINGS
from mrcnn.data.reading import IMAGE_ENDINGS
from mrcnn.ops.masks import run_lengths

# Takes what is wrong, a key of `mrcnn.data.problems.REMEDIES`, and the details.
Note = Callable[[str, str], None]

# More pixels than an image may have: Pillow reads fewer, and pycocotools counts them with 32 bits.
MAX_PIXELS = 2**28

# Endings of files that have no pages.
PICTURES = tuple(x for x in IMAGE_ENDINGS if x not in TIFF_ENDINGS)

PLAIN, NUMBERS = {int, float}, (int, float, np.number)


def read_id(value: Any) -> int | str:
    """An id: a whole number or text.

    Raises:
        ValueError: it is neither.
    """
    if type(value) is int or (isinstance(value, str) and value):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, np.integer) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    raise ValueError(f"{short(value)} is neither a whole number nor text")


def read_image(entry: Any, note: Note) -> tuple[int | str, str, tuple[int, int] | None]:
    """Id, file name and size (height, width), or None, of an image.

    Raises:
        ValueError: it is no entry with an id and a file name.
    """
    number, name = _read_link(entry, "id"), entry.get("file_name")
    if not isinstance(name, str) or not name or min(name) < " " or not encodes(name):
        raise ValueError(f"its file_name is {short(name)}")
    try:
        return number, name, _read_size((entry.get("height"), entry.get("width")))
    except ValueError as error:
        note("image without a size", str(error))
        return number, name, None


def read_page(entry: Any) -> int | None:
    """Which page of a TIFF file, or frame of a video, an image is, from 0, as `formats.coco.write_file` has it; None of
    what is a picture by its name.

    Raises:
        ValueError: its page is no such number.
    """
    page = entry.get("page")
    if page is None or entry["file_name"].lower().endswith(PICTURES):
        return None
    if type(page) is not int or page < 0:
        raise ValueError(f"its page is {short(page)}, not a whole number from 0 on")
    return page


def read_class(entry: Any, note: Note) -> tuple[int | str, str]:
    """Id and name of a category; numbers are names too.

    Raises:
        ValueError: it is no entry with an id.
    """
    number, name = _read_link(entry, "id"), entry.get("name")
    if isinstance(name, (int, float)) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str) or not name.strip() or not encodes(name):
        note("class without a name", short(name))
        name = f"class {number}"
    return number, name


def read_annotation(entry: Any, note: Note = lambda what, details: None) -> Annotation:
    """The record of an object.

    Args:
        entry: fields as COCO names them; missing ones, and null, are none.
        note: told of each field that cannot be used and is taken as missing.

    Raises:
        ValueError: it is no entry, or says neither of which image and class it is nor whether it is a crowd.
    """
    image_id, category_id = _read_link(entry, "image_id"), _read_link(entry, "category_id")
    crowd = entry.get("iscrowd")
    if crowd not in (None, 0, 1):
        raise ValueError(f"its iscrowd is {short(crowd)}, not 0 or 1")
    if crowd and _is_exported(entry):
        crowd = 0
    try:
        number = read_id(entry.get("id"))
    except ValueError as error:
        note("annotation without an id", str(error))
        number = None
    values = {}
    for name, (read, empty) in READERS.items():
        try:
            values[name] = empty if entry.get(name) is None else read(entry[name])
        except ValueError as error:
            note(f"{name} that cannot be read", str(error))
            values[name] = empty
            crowd = crowd or name == "segmentation"  # see `check`
    points = values["keypoints"]
    said, count = entry.get("num_keypoints"), sum(v > 0 for v in points[2::3]) if points else 0
    if said not in (None, count):
        note("num_keypoints that is wrong", f"{short(said)}, not {count}")
    segmentation, box, area = values["segmentation"], values["bbox"], values["area"]
    attributes = dict(entry["attributes"]) if isinstance(entry.get("attributes"), Mapping) else {}
    if box is not None and not segmentation:
        box = _upright(box, attributes)
    more = {"score": values["score"], "track_id": values["track_id"], "attributes": attributes or None}
    return Annotation(number, image_id, category_id, segmentation, box, area, bool(crowd), points, **more)


def _is_exported(entry):
    """Whether CVAT wrote an entry: it gives every mask that was painted iscrowd 1, whatever it is, and says of a crowd
    so among its attributes."""
    attributes = entry.get("attributes")
    return isinstance(attributes, Mapping) and "occluded" in attributes and not attributes.get("is_crowd")


def _upright(box, attributes):
    """The box about one that CVAT says is turned about its centre, by degrees among its attributes, from which they
    are taken out."""
    try:
        (turn,) = numbers_of([attributes["rotation"]])
    except (KeyError, ValueError):  # the last is an attribute of somebody else
        return box
    del attributes["rotation"]
    (x, y, width, height), (cos, sin) = box, (abs(f(math.radians(turn))) for f in (math.cos, math.sin))
    across, down = width * cos + height * sin, width * sin + height * cos
    return array(box.typecode, (x + (width - across) / 2, y + (height - down) / 2, across, down))


def check(annotation: Annotation, size: tuple[int, int] | None, note: Note) -> None:
    """Hold a record against its image: parts of it that cannot be used are noted and taken off.

    What loses its mask becomes a crowd: an object is there, but nobody knows its shape, so that its box is neither
    something to find nor background.

    Args:
        size: (height, width) of the image, or None where nobody knows it.

    Raises:
        ValueError: neither a mask nor a box is left.
    """
    masked = bool(annotation.segmentation)
    extent = _check_mask(annotation, size, note)
    annotation.crowd |= masked and not annotation.segmentation
    _check_box(annotation, size, extent, note)
    _check_keypoints(annotation, size, note)
    area, box = annotation.area, annotation.box
    if box is None and extent is not None:
        box = array("d", [*extent[:2], extent[2] - extent[0], extent[3] - extent[1]])
    if area is not None and (area <= 0 or (box is not None and area > 1.01 * (box[2] + 1) * (box[3] + 1))):
        note("area that cannot be", f"{area:g} in a box of {box[2] * box[3]:g}" if box else f"{area:g}")
        annotation.area = None
    if annotation.box is None and not annotation.has_mask():
        raise ValueError("it has neither a mask nor a box")


def _check_mask(annotation, size, note):
    """Checks the mask; its extent (x1, y1, x2, y2), or None where it is not known."""
    shapes = annotation.segmentation
    if isinstance(shapes, RunLengths):
        if size is not None and shapes.size != size:
            note("mask of another size than the image", f"{list(shapes.size)}, not {list(size)}")
            annotation.segmentation = ()
            return None
        x, y, w, h = rle.toBbox(annotation.rle(*shapes.size))
        if w and h:
            return x, y, x + w, y + h
        note("mask without area", f"none of {shapes.size[1]}x{shapes.size[0]} pixels")
        annotation.segmentation = ()
        return None
    if shapes and min(map(len, shapes)) < 6:
        annotation.segmentation = whole = tuple(polygon for polygon in shapes if len(polygon) >= 6)
        note("polygon of fewer than three points", f"{len(shapes) - len(whole)} of {len(shapes)}")
        shapes = whole
    if not shapes:
        return None
    numbers = functools.reduce(operator.add, shapes)
    x, y = numbers[::2], numbers[1::2]
    extent = x1, y1, x2, y2 = min(x), min(y), max(x), max(y)
    if x1 == x2 or y1 == y2:
        note("mask without area", _shown(extent))
    elif size is not None and not _inside(extent, size):
        # Far outside, pycocotools follows the edges through billions of pixels.
        note("mask outside the image", f"{_shown(extent)} in {size[1]}x{size[0]}")
    else:
        return extent
    annotation.segmentation = ()
    return None


def _inside(extent, size):
    """Whether some of an extent is in an image, and none further outside than the image is large."""
    (x1, y1, x2, y2), (height, width) = extent, size
    near = -width <= x1 and x2 <= 2 * width and -height <= y1 and y2 <= 2 * height
    return near and x1 < width and y1 < height and x2 > 0 and y2 > 0


def _check_box(annotation, size, extent, note):
    if annotation.box is None:
        return
    x, y, w, h = annotation.box
    edges = x, y, x + w, y + h
    if w <= 0 or h <= 0:
        note("box without area", _shown(annotation.box))
        annotation.box = None
    elif extent is not None and _differ(edges, extent):
        note("box beside its mask", f"from x, y to x, y {_shown(edges)}, the mask {_shown(extent)}")
        annotation.box = None
    # Half a pixel of rounding is common.
    elif size is not None and (min(x, y) < -0.5 or x + w > size[1] + 0.5 or y + h > size[0] + 0.5):
        note("box outside the image", f"{_shown(annotation.box)} in {size[1]}x{size[0]}")
        if annotation.segmentation or not _inside(edges, size):
            annotation.box = None


def _check_keypoints(annotation, size, note):
    """Takes off the points that are further outside than the image is large. Where v is 0, x and y mean nothing."""
    points = annotation.keypoints
    for k in range(0, len(points or ()) if size else 0, 3):
        x, y, known = points[k : k + 3]
        if not (-size[1] <= x <= 2 * size[1] and -size[0] <= y <= 2 * size[0]):
            if known:
                note("keypoint far from the image", f"{_shown([x, y])} of {size[1]}x{size[0]}")
            points[k : k + 3] = array("d", [0, 0, 0])


def _shown(numbers):
    return f"[{', '.join(f'{x:g}' for x in numbers)}]"


def _differ(box, other):
    """Whether two extents have less than half of their union in common, by more than rounding."""
    if max(map(abs, map(operator.sub, box, other))) <= 2:
        return False
    (x1, y1, x2, y2), (u1, v1, u2, v2) = box, other
    common = max(0, min(x2, u2) - max(x1, u1)) * max(0, min(y2, v2) - max(y1, v1))
    return common < 0.5 * ((x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - common)


def raw_annotations(entries: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Of what an image's `annotations` hold those that are dicts in COCO's format, each with a name; what is neither is
    somebody's own, and records have been checked."""
    for k, entry in enumerate(entries if isinstance(entries, (list, tuple)) else ()):
        if isinstance(entry, Mapping) and not isinstance(entry, Annotation) and "segmentation" in entry:
            yield {"image_id": 0, "category_id": 0, **entry}, name_of(entry.get("id"), k)


def name_of(number: Any, position: int) -> str:
    """What to call an annotation: by its id, or by its place in the list, from 0."""
    if isinstance(number, (int, str)):
        return f"annotation {number if isinstance(number, int) else short(number)}"
    return f"annotation at place {position}"


def short(value: Any) -> str:
    """A value from a file for a message, on one short line."""
    return reprlib.repr(value)


def _read_link(entry, name):
    if not isinstance(entry, Mapping):
        raise ValueError(f"it is {short(entry)}, not an object")
    try:
        return read_id(entry.get(name))
    except ValueError as error:
        raise ValueError(f"its {name} is missing" if entry.get(name) is None else f"its {name} {error}") from None


def encodes(name: str) -> bool:
    """Whether text can be written; that of JSON can hold one half of a character."""
    try:
        return os.fsencode(name) is not None
    except UnicodeEncodeError:
        return False


def numbers_of(values: Any) -> array[float]:
    """Finite numbers as an array.

    Raises:
        ValueError: they are something else.
    """
    if isinstance(values, np.ndarray):
        values = values.tolist()
    kinds = set(map(type, values)) if isinstance(values, (list, tuple, array)) else {dict}
    if not kinds <= PLAIN and not all(issubclass(kind, NUMBERS) and kind is not bool for kind in kinds):
        raise ValueError(f"{short(values)} is not a list of numbers")
    try:
        numbers = array("d", values)
    except OverflowError:
        numbers = array("d", [math.inf])
    if not math.isfinite(sum(numbers)):
        raise ValueError(f"{short(values)} has numbers that are not finite")
    return numbers


def _read_size(values):
    numbers = numbers_of(list(values) if isinstance(values, (list, tuple)) else values)
    if len(numbers) != 2 or not all(x.is_integer() and x > 0 for x in numbers) or math.prod(numbers) >= MAX_PIXELS:
        raise ValueError(f"height and width are {short(values)}")
    return int(numbers[0]), int(numbers[1])


def _read_segmentation(shapes):
    if not isinstance(shapes, Mapping):
        if not isinstance(shapes, (list, tuple)):
            raise ValueError(f"it is {short(shapes)}, neither polygons nor run lengths")
        if shapes and isinstance(shapes[0], (int, float)):
            raise ValueError("it is one flat list, not a list of polygons: [[x1, y1, x2, ...]]")
        polygons = tuple(polygon for polygon in map(numbers_of, shapes) if polygon)  # [[]] is none, as [] is
        if any(len(polygon) % 2 for polygon in polygons):
            raise ValueError("a polygon has an odd count of numbers")
        return polygons
    size, counts = _read_size(shapes.get("size")), shapes.get("counts")
    if isinstance(counts, bytes):
        counts = counts.decode("ascii", "replace")
    lengths = run_lengths(counts) if isinstance(counts, str) else numbers_of(counts)
    if not all(x >= 0 and x == int(x) for x in lengths):
        raise ValueError("its run lengths are not whole numbers from 0 on")
    if sum(lengths) != math.prod(size):
        raise ValueError(f"its run lengths add up to {sum(lengths):g} pixels, not {math.prod(size)}")
    return RunLengths(size, counts if isinstance(counts, str) else array("I", map(int, lengths)))


def _read_area(value):
    try:
        return numbers_of([value])[0]
    except ValueError:
        raise ValueError(f"{short(value)} is not a finite number") from None


def _read_box(values):
    box = numbers_of(values)
    if len(box) != 4:
        raise ValueError(f"{short(values)} is not x, y, width, height")
    return box


def _read_keypoints(values):
    points = numbers_of(values)
    if len(points) % 3 or not set(points[2::3]) <= {0, 1, 2}:
        raise ValueError(f"{short(values)} is not x, y and 0, 1 or 2 for each point")
    return points or None


def _read_score(value):
    try:
        return numbers_of([value])[0]
    except ValueError:  # of somebody else
        return None


def _read_track(value):
    return value if type(value) is int and value > 0 else None


# COCO's field -> its value in a record, and what stands for none. Numbers take 8 bytes each, where a list takes 32;
# they are exact, as the pixels of a polygon depend on their last bit.
READERS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "segmentation": (_read_segmentation, ()),
    "bbox": (_read_box, None),
    "area": (_read_area, None),
    "keypoints": (_read_keypoints, None),
    "score": (_read_score, None),
    "track_id": (_read_track, None),
}
