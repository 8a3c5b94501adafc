"""YOLO's format (https://docs.ultralytics.com/datasets): a text file for each image, a line for each object. It holds
the number of the class, from 0, and shares of the image's sides: the box's centre x, y, width, height; or a polygon
x1 y1 x2 y2 ... Names of classes are in data.yaml, classes.txt (as LabelImg writes it) or obj.names (Darknet, CVAT).
Where data.yaml has a kpt_shape, the keypoints of an object follow its box, and no object is a polygon.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mrcnn.data.coco_entries import encodes, short
from mrcnn.data.coco_file import CocoFile
from mrcnn.data.formats.door import PARTS, Door, lines_of, part_folders, pictures_of
from mrcnn.data.formats.outlines import count_lost, one_ring
from mrcnn.data.formats.placing import Placer
from mrcnn.data.reading import image_files, leads_out
from mrcnn.ops.files import whole

# Brackets within each other in data.yaml, and keypoints of an object, at most.
DEEPEST, MOST_POINTS = 50, 1000

NAMES = ("classes.txt", "obj.names", "labels/classes.txt")


def recognises(folder: Path, keys: set[str]) -> bool:
    """Whether a folder is in this format."""
    if not folder.is_dir():
        return False
    if any("names" in _head(path) for path in _yamls(folder)):
        return True
    if not any((folder / name).is_file() for name in NAMES):
        return False
    homes = [folder, folder / "labels", *folder.glob("labels/*"), *folder.glob("obj_*"), *folder.glob("*/labels")]
    return any(path.name not in NAMES for home in homes for path in home.glob("[!.]*.txt"))


def _yamls(folder):
    return sorted(x for x in [*folder.glob("[!.]*.yaml"), *folder.glob("[!.]*.yml")] if x.is_file())


def _head(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(1 << 16)


def read(door: Door) -> None:
    """Reads the folder of the door.

    Raises:
        ValueError: data.yaml or its names cannot be used.
    """
    folder = door.folder
    settings: dict[str, Any] = next(filter(None, map(_settings, _yamls(folder))), {})
    names: Any = settings.get("names") or next(filter(None, (_listed_names(folder / name) for name in NAMES)), [])
    pairs = names.items() if isinstance(names, dict) else enumerate(names) if isinstance(names, list) else []
    for key, name in pairs:
        number = int(key) if isinstance(key, str) and key.isdecimal() and len(key) < 20 else key
        # Nothing nested: a few lines of YAML can stand for a list that fills the memory once it is written out.
        text = str(name) if type(name) in (str, int, float) else ""
        if type(number) is not int or not text.strip() or not encodes(text):
            raise ValueError(
                f"{folder}: the names of classes have {short(number)}: {short(name)}, no number and name; put a name "
                "that YAML takes for something else, such as no, in quotes."
            )
        door.classes[number] = text
    if not door.classes:
        raise ValueError(f"{folder}: no names of classes; list them in classes.txt, or under names in data.yaml.")
    shape = _keypoint_shape(folder, settings.get("kpt_shape"))
    for part, paths in _parts(door, settings).items():
        door.begin(part)
        if shape:
            for number in door.classes:
                points = _point_names(settings.get("kpt_names"), number, shape[0])
                door.file.keypoints[number] = {"keypoints": points, "skeleton": []}
        for path in paths:
            image_id = door.add_image(path)
            if image_id is not None:
                _read_labels(door, _labels_of(path), image_id, shape)


def _settings(path):
    """The content of data.yaml, if it has names."""
    if "names" not in _head(path):
        return None
    try:
        text = path.read_text("utf-8-sig")
        if max(accumulate((x in "[{") - (x in "]}") for x in text)) > DEEPEST:  # it would take hours
            raise ValueError("its brackets are nested too deep")
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # the last of what is no text, or no date
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}.") from None
    return content if isinstance(content, dict) and "names" in content else None


def _listed_names(path):
    """{number: name} of a file with a name in each line; those of empty lines stay free."""
    return {k: name for k, name in enumerate(lines_of(path)) if name} if path.is_file() else {}


def _keypoint_shape(folder, shape):
    """How many keypoints an object has and how many numbers each: x, y, and whether it is visible if there are three.

    Raises:
        ValueError: neither that nor None.
    """
    pair = isinstance(shape, list) and len(shape) == 2 and all(type(x) is int for x in shape)
    if shape is None or (pair and 1 <= shape[0] <= MOST_POINTS and shape[1] in (2, 3)):
        return shape
    raise ValueError(f"{folder}: kpt_shape in data.yaml is {short(shape)}, not [keypoints, 2 or 3].")


def _point_names(names, number, count):
    """Those that data.yaml has for the keypoints of a class, or else numbers."""
    found = names.get(number) if isinstance(names, dict) else None
    if isinstance(found, list) and len(found) == count and all(isinstance(x, str) and encodes(x) for x in found):
        return found
    return [f"point {k}" for k in range(1, count + 1)]


def _parts(door, settings):
    """Image files by the parts of the set; what data.yaml names and is not there is noted."""
    folder = door.folder
    found: dict[str, list[Path]] = {}
    lists = {str(key).lower(): value for key, value in settings.items()}  # CVAT calls parts Train
    for name, part in PARTS.items():
        given = lists.get(name)
        for entry in given if isinstance(given, list) else [given]:
            if isinstance(entry, str) and entry.strip():
                paths = _listed(door, settings.get("path"), entry)
                if paths is None:
                    door.begin(part)
                    door.note(folder, "file missing", f"data.yaml has {name} in {short(entry)}")
                else:
                    found.setdefault(part, []).extend(paths)
    if any(found.values()):
        return found
    parts = part_folders(folder / "images") or part_folders(folder)
    if parts:
        return {part: _pictures(home) for home, part in parts.items()}
    for home in sorted(folder.glob("obj_*_data")):
        found.setdefault(PARTS.get(home.name[4:-5].lower(), ""), []).extend(_pictures(home))
    return found or {"": _pictures(folder / "images") or pictures_of(folder)}


def _pictures(home):
    """The pictures in a folder, or in its `images`, and in the folders within."""
    home = home / "images" if (home / "images").is_dir() else home
    return sorted({path for sub in (home, *home.glob("**/")) for path in image_files(sub)})


def _listed(door, base, entry):
    """Image files of an entry of data.yaml: a folder, or a text file of names; None if it is not there. It counts from
    `path`, which may have been that of another computer, or from the folder; some exports begin it with ../ that is not
    meant, or are of Windows. Nothing outside the set's folder is gone through, unless that was asked for."""
    folder, outside = door.folder, []
    base, entry = (x.replace("\\", "/") if isinstance(x, str) else None for x in (base, entry))
    within = entry
    while within.startswith("../"):
        within = within[3:]
    bases = [folder / base] if base else []
    for path in [x / entry for x in (*bases, folder)] + [x / within for x in (*bases, folder)]:
        if not door.outside and leads_out(path, folder):
            outside += [path] * os.path.exists(path)
        elif os.path.isdir(path):
            return _pictures(path)
        elif os.path.isfile(path):
            return [_named(path.parent, line.replace("\\", "/")) for line in lines_of(path) if line]
    return outside[:1] or None  # which the door says of it


def _named(home, name):
    """An image of a text file of names; Datumaro puts data/ before each, where no such folder is."""
    return home / (name if (home / name).exists() else name.removeprefix("data/"))


def _labels_of(path):
    """The text file of an image: in the last folder `images` of its path read as `labels`, or else beside it."""
    parts = list(path.parts)
    if "images" in parts[:-1]:
        k = len(parts) - 2 - parts[-2::-1].index("images")
        there = Path(*parts[:k], "labels", *parts[k + 1 :]).with_suffix(".txt")
        if there.is_file():
            return there
    beside = path.with_suffix(".txt")
    flat = path.parent / "labels" / beside.name
    return beside if beside.is_file() or not flat.is_file() else flat


def _read_labels(door, path, image_id, shape):
    """The objects of an image; none where there is no file, which is an image of background."""
    if not os.path.isfile(path):
        return
    image = door.file.images[image_id]
    try:
        lines = lines_of(path)
    except ValueError as error:
        door.note(path, "annotation file that cannot be used", str(error))
        return
    for k, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            number, *values = map(float, line.split())
            if number != int(number):
                raise ValueError
            with np.errstate(over="ignore"):  # what is infinite is refused later
                fields = _fields(values, np.array([image.width, image.height]), shape)
        except (ValueError, OverflowError):
            door.note(path, "annotation that cannot be read", f"line {k}: {short(line)}")
            continue
        door.add_object(image_id, int(number), path, f"line {k}", **fields)


def _fields(values, sides, shape):
    """What the numbers of a line say, with sides (width, height), in pixels as they were before the division.

    Raises:
        ValueError: there are too many of them, or too few.
    """
    points = np.prod(shape) if shape else 0
    if len(values) in (4, 5) or (points and len(values) - points in (4, 5)):  # the last is the score of a detection
        size = np.array(values[2:4])
        box = np.concatenate([values[:2] - size / 2, size]) * (*sides, *sides)
        fields = {"bbox": np.round(box, 9).tolist()}
        if len(values) > 5:
            x, y, *seen = np.reshape(values[4 : 4 + points], shape).T
            known = seen[0] if seen else 2 * ((x > 0) | (y > 0))
            xyv = np.stack([x * sides[0], y * sides[1], known], axis=1) * (known != 0)[:, None]
            if known.any():  # all 0 is an object of which no point is known
                fields["keypoints"] = np.round(xyv, 9).ravel().tolist()
        return fields
    if shape or len(values) < 6 or len(values) % 2:
        raise ValueError
    return {"segmentation": [np.round(np.reshape(values, (-1, 2)) * sides, 9).ravel().tolist()]}


def write(files: dict[str, CocoFile], folder: Path, placer: Placer) -> Counter[str]:
    """Writes data.yaml, text files and images; what this format cannot hold, counted. Names in data.yaml count from its
    folder, as Ultralytics takes them where there is no `path`. Several polygons and holes become
    one polygon with lines of no width between them, which covers the same pixels. Where objects have keypoints all are
    boxes, as this format has either polygons or keypoints."""
    lost: Counter[str] = Counter()
    names = list(dict.fromkeys(name for file in files.values() for name in file.classes.values()))
    points = _most_points(files)
    content: dict[str, Any] = {}
    for part, file in files.items():
        part = part or "train"
        content[part] = f"images/{part}"
        labels = folder / "labels" / part
        labels.mkdir(parents=True, exist_ok=True)
        for image_id, image in file.images.items():
            picture = placer.place(image, folder / "images" / part)
            lines = []
            for annotation in file.objects.get(image_id, []):
                if points:
                    lost["masks"] += annotation.has_mask()
                    box = array("d", annotation.extent(image.height, image.width))
                    annotation = replace(annotation, segmentation=(), box=box)
                count_lost(lost, annotation, image, points)
                if not annotation.crowd:
                    number = names.index(file.classes[annotation.category_id])
                    lines.append(" ".join([str(number), *(f"{x:.17g}" for x in _shares(annotation, image, points))]))
            with whole(labels / f"{picture.stem}.txt") as new:
                new.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    if points:
        content |= {"kpt_shape": [points, 3], "kpt_names": _all_point_names(files, names, points)}
    with whole(folder / "data.yaml") as new:
        text = yaml.safe_dump({**content, "names": dict(enumerate(names))}, allow_unicode=True, sort_keys=False)
        new.write_text(text, "utf-8")
    return lost


def _most_points(files):
    """How many keypoints most objects have that have some, which are those of all here; 0 where none has."""
    every = (a for file in files.values() for objects in file.objects.values() for a in objects)
    counts = Counter(len(a.keypoints) // 3 for a in every if a.keypoints is not None)
    return counts.most_common(1)[0][0] if counts else 0


def _all_point_names(files, names, count):
    """{number of a class: the names of its keypoints}, of the classes that have such."""
    found = {}
    for file in files.values():
        for own, more in file.keypoints.items():
            if own in file.classes and len(more["keypoints"]) == count:
                found[names.index(file.classes[own])] = list(map(str, more["keypoints"]))
    return found


def _shares(annotation, image, points=0):
    """The numbers of a line."""
    sides = np.array([image.width, image.height], float)
    if annotation.has_mask():
        return (one_ring(annotation, image) / sides).ravel()
    x, y, w, h = annotation.box
    known = annotation.keypoints or ()
    xyv = np.reshape(known if len(known) == 3 * points else np.zeros(3 * points), (points, 3))
    xyv = xyv * (xyv[:, 2:] > 0)
    return [*((x + w / 2, y + h / 2) / sides), *((w, h) / sides), *(xyv / (*sides, 1)).ravel()]
