"""labelme's format (https://github.com/wkentaro/labelme): a JSON file beside each image.

Polygons, circles, masks and rectangles that are turned are masks; a rectangle is a box without a mask. Shapes of one
label and group_id are one object. A shape with the flag "crowd" is a region that does not count. Its other flags are
attributes, as are its "attributes", which X-AnyLabeling writes and labelme keeps.
"""

from __future__ import annotations

import base64
import io
import json
import math
from array import array
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from mrcnn.data.annotations import Annotation
from mrcnn.data.coco_entries import numbers_of, short
from mrcnn.data.coco_file import CocoFile, Image
from mrcnn.data.dataset import read_json
from mrcnn.data.formats.door import Door, find_image, lines_of
from mrcnn.data.formats.outlines import has_own_box, pieces
from mrcnn.data.formats.placing import Placer, plain
from mrcnn.data.reading import opened
from mrcnn.ops.files import whole
from mrcnn.ops.masks import encode_rle

# The file of names of classes that labelme's --labels takes, and what stands in it that is none.
LABELS, NO_CLASSES = "labels.txt", ("", "__ignore__", "_background_")

# Rectangles by their four corners: labelme's, and that of X-AnyLabeling.
TURNED = ("oriented_rectangle", "rotation")


def recognises(folder: Path, keys: set[str]) -> bool:
    """Whether a folder is in this format; `keys` are those of its first JSON file."""
    return {"shapes", "imagePath"} <= keys


def read(door: Door) -> None:
    """Reads the folder of the door."""
    if (door.folder / LABELS).is_file():
        door.list_classes(name for name in lines_of(door.folder / LABELS) if name not in NO_CLASSES)
    for home in door.parts():
        for path in sorted(home.rglob("[!.]*.json")):
            try:
                content = read_json(path)
                if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
                    raise ValueError(f"it has no list of shapes, but {short(content)}")
            except ValueError as error:
                door.note(path, "annotation file that cannot be used", str(error))
                continue
            _read_file(door, path, content)


def _read_file(door, path, content):
    picture = find_image(door, path, content.get("imagePath"))
    if picture is None:
        return
    sides = content.get("imageHeight"), content.get("imageWidth")
    said = sides if all(isinstance(side, int) for side in sides) else None
    image_id = door.add_image(picture, said)
    if image_id is None:
        return
    image = door.file.images[image_id]
    groups: dict[Any, list[tuple[int, dict[str, Any]]]] = {}
    for k, shape in enumerate(content["shapes"]):
        group = shape.get("group_id") if isinstance(shape, dict) else None
        key = (str(shape.get("label")), str(group)) if group is not None else k
        groups.setdefault(key, []).append((k, shape))
    for shapes in groups.values():
        where = ", ".join(f"shape {k}" for k, _ in shapes)
        try:
            fields = _joined([_read_shape(shape, image) for _, shape in shapes], image)
        except ValueError as error:
            door.note(path, "region that cannot be used", f"{where}: {error}")
            continue
        first = shapes[0][1]
        flags, label = first.get("flags"), first.get("label")
        label = str(label) if type(label) in (int, float) else label
        more = [part for part in (first.get("attributes"), flags) if isinstance(part, dict)]
        attributes = {name: value for part in more for name, value in part.items()}
        crowd = attributes.pop("crowd", False) is True
        door.add_object(image_id, label, path, where, iscrowd=int(crowd), attributes=attributes, **fields)


def _read_shape(shape, image):
    """("bbox", x, y, width, height), ("polygon", [x1, y1, ...]) or ("mask", [H, W] bool).

    Raises:
        ValueError: it is none of these.
    """
    if not isinstance(shape, dict):
        raise ValueError(f"it is {short(shape)}, not an object")
    kind, points = shape.get("shape_type", "polygon"), shape.get("points")
    if not (isinstance(points, list) and points and all(isinstance(p, list) and len(p) == 2 for p in points)):
        raise ValueError(f"its points are {short(points)}")
    flat = numbers_of([value for point in points for value in point]).tolist()
    xs, ys = flat[::2], flat[1::2]
    if kind == "polygon" or (kind in TURNED and len(points) == 4):
        return "polygon", flat
    if kind == "rectangle":
        return "bbox", [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    if kind == "circle" and len(points) == 2:
        angle, radius = np.arange(48) * np.pi / 24, math.dist(*points)
        with np.errstate(over="ignore"):  # what is infinite is refused later
            ring = np.stack([xs[0] + radius * np.cos(angle), ys[0] + radius * np.sin(angle)], axis=1)
        return "polygon", ring.ravel().tolist()
    if kind == "mask" and len(points) == 2:
        return "mask", _read_mask(shape.get("mask"), (min(xs), min(ys)), image)
    raise ValueError(f"a {short(kind)} of {len(points)} points has no area")


def _read_mask(text, corner, image):
    """[H, W] bool of a picture in base64 that begins at a corner (x, y)."""
    try:
        with opened(io.BytesIO(base64.b64decode(text)), "PNG", "of its mask") as file:
            if file.size[0] > image.width or file.size[1] > image.height:
                raise ValueError(f"{file.size[0]}x{file.size[1]} in an image {image.width}x{image.height}")
            part = np.asarray(file.convert("L")) > 0
    except (TypeError, ValueError) as error:  # binascii's among them
        raise ValueError(f"its mask is no PNG in base64: {error}") from None
    except OSError as error:
        raise ValueError(str(error)) from None
    mask = np.zeros((image.height, image.width), bool)
    x, y = map(round, corner)
    if not (0 <= x < image.width and 0 <= y < image.height):
        raise ValueError(f"its mask begins at {x}, {y}, outside the image {image.width}x{image.height}")
    target = mask[y : y + part.shape[0], x : x + part.shape[1]]
    target[:] = part[: target.shape[0], : target.shape[1]]
    return mask


def _joined(parts, image):
    """Fields of an object of several shapes."""
    of = {kind: [value for own, value in parts if own == kind] for kind in ("polygon", "mask", "bbox")}
    if len(of["bbox"]) > 1:
        raise ValueError(f"{len(of['bbox'])} rectangles are one group; give each its own group_id")
    fields: dict[str, Any] = {"bbox": of["bbox"][0]} if of["bbox"] else {}
    if of["mask"]:
        drawn = Annotation(0, 0, 0, tuple(array("d", polygon) for polygon in of["polygon"]))
        every = [*of["mask"], drawn.mask(image.height, image.width)]
        return {**fields, "segmentation": encode_rle(np.logical_or.reduce(every))}
    return {**fields, "segmentation": of["polygon"]}


def write(files: dict[str, CocoFile], folder: Path, placer: Placer, tolerance: float = 0) -> Counter[str]:
    """Writes JSON files and images; what this format cannot hold, counted.

    Args:
        tolerance: pixels by which outlines of masks may miss them; see `to_polygons`.
    """
    lost: Counter[str] = Counter()
    folder.mkdir(parents=True, exist_ok=True)
    names = dict.fromkeys(name for file in files.values() for name in file.classes.values())
    with whole(folder / LABELS) as new:
        new.write_text("".join(f"{name}\n" for name in names if name == plain(name, Counter())), "utf-8")
    for part, file in files.items():
        for image_id, image in file.images.items():
            picture = placer.place(image, folder / part)
            shapes: list[dict[str, Any]] = []
            for k, annotation in enumerate(file.objects.get(image_id, []), 1):
                shapes += _shapes(annotation, file.classes[annotation.category_id], k, image, tolerance)
                lost["keypoints"] += annotation.keypoints is not None
                lost["tracks"] += annotation.track_id is not None
            content: dict[str, Any] = {
                "version": "5.5.0",
                "flags": {},
                "shapes": shapes,
                "imagePath": picture.name,
                "imageData": None,
                "imageHeight": image.height,
                "imageWidth": image.width,
            }
            with whole(picture.with_suffix(".json")) as new:
                new.write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")
    return lost


def _shapes(annotation: Annotation, label: str, number: int, image: Image, tolerance: float) -> list[dict[str, Any]]:
    """The shapes of an object; several have its number as their group_id."""
    shapes = pieces(annotation, image, tolerance)
    if not annotation.has_mask():
        found = [{"points": shapes[0][0][::2].tolist(), "shape_type": "rectangle"}]
    elif any(len(rings) > 1 for rings in shapes):  # polygons have no holes
        found = [_mask_shape(annotation.mask(image.height, image.width))]
    else:
        found = [{"points": rings[0].tolist(), "shape_type": "polygon"} for rings in shapes]
    if annotation.score is None and has_own_box(annotation, image):
        x, y, w, h = annotation.extent(image.height, image.width)
        found.append({"points": [[x, y], [x + w, y + h]], "shape_type": "rectangle"})
    group = number if len(found) > 1 else None
    said = annotation.attributes or {}
    flags = {name: value for name, value in said.items() if isinstance(value, bool)}
    flags |= {"crowd": True} if annotation.crowd else {}
    more = {name: value for name, value in said.items() if not isinstance(value, bool)}
    words = "" if annotation.score is None else f"score {annotation.score:.4f}"
    return [
        {"label": label, "group_id": group, "description": words, "flags": flags, "mask": None, **shape}
        | ({"attributes": more} if more else {})
        for shape in found
    ]


def _mask_shape(mask):
    """The extent of a mask, its last pixel included, and what is in it as a PNG."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    (y1, y2), (x1, x2) = rows[[0, -1]].tolist(), columns[[0, -1]].tolist()
    png = io.BytesIO()
    Picture.fromarray(mask[y1 : y2 + 1, x1 : x2 + 1].astype("uint8")).save(png, "PNG")
    text = base64.b64encode(png.getvalue()).decode("ascii")
    return {"points": [[x1, y1], [x2, y2]], "shape_type": "mask", "mask": text}
