"""YOLO's format (https://docs.ultralytics.com/datasets): a text file for each image, a line for each object. It holds
the number of the class, from 0, and shares of the image's sides: the box's centre x, y, width, height; or a polygon
x1 y1 x2 y2 ... Names of classes are in data.yaml, classes.txt (as LabelImg writes it) or obj.names (Darknet, CVAT).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mrcnn.data.coco_entries import short
from mrcnn.data.coco_file import CocoFile
from mrcnn.data.formats.door import PARTS, Door, pictures_of
from mrcnn.data.formats.outlines import count_lost, one_ring
from mrcnn.data.formats.placing import Placer
from mrcnn.data.reading import image_files
from mrcnn.ops.files import whole

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
    return sorted([*folder.glob("[!.]*.yaml"), *folder.glob("[!.]*.yml")])


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
    names: Any = settings.get("names") or next(filter(None, (_lines(folder / name) for name in NAMES)), [])
    pairs = names.items() if isinstance(names, dict) else enumerate(names) if isinstance(names, list) else []
    for number, name in pairs:
        # Nothing nested: a few lines of YAML can stand for a list that fills the memory once it is written out.
        if not isinstance(number, int) or not isinstance(name, (str, int, float)) or not str(name).strip():
            raise ValueError(f"{folder}: the names of classes have {short(number)}: {short(name)}, no number and name.")
        door.classes[number] = str(name)
    if not door.classes:
        raise ValueError(f"{folder}: no names of classes; list them in classes.txt, or under names in data.yaml.")
    for part, paths in _parts(folder, settings).items():
        door.begin(part)
        for path in paths:
            image_id = door.add_image(path)
            if image_id is not None:
                _read_labels(door, _labels_of(path), image_id)


def _settings(path):
    """The content of data.yaml, if it has names."""
    try:
        content = yaml.safe_load(_head(path))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}.") from None
    return content if isinstance(content, dict) and "names" in content else None


def _lines(path):
    return [x.strip() for x in path.read_text("utf-8", "replace").splitlines() if x.strip()] if path.is_file() else []


def _parts(folder, settings):
    """Image files by the parts of the set."""
    found: dict[str, list[Path]] = {}
    for name, part in PARTS.items():
        given = settings.get(name)
        for entry in given if isinstance(given, list) else [given]:
            if isinstance(entry, str) and entry.strip():
                found.setdefault(part, []).extend(_listed(folder, settings.get("path"), entry))
    if any(found.values()):
        return found
    for homes in ([*(folder / "images").glob("*")], [*folder.glob("*")]):
        parts = {home: PARTS[home.name] for home in sorted(homes) if home.is_dir() and home.name in PARTS}
        if parts:
            return {part: pictures_of(home) for home, part in parts.items()}
    darknet = {"train": folder / "obj_train_data", "val": folder / "obj_valid_data"}
    if darknet["train"].is_dir():
        return {
            part: sorted(x for sub in (home, *home.glob("**/")) for x in image_files(sub))
            for part, home in darknet.items()
            if home.is_dir()
        }
    return {"": pictures_of(folder)}


def _listed(folder, base, entry):
    """Image files of an entry of data.yaml: a folder, or a text file of names. It counts from `path`, which may have
    been that of another computer, or from the folder; some exports begin it with ../ that is not meant."""
    within = entry.replace("\\", "/")
    while within.startswith("../"):
        within = within[3:]
    bases = [folder / base] if isinstance(base, str) else []
    for path in [x / entry for x in (*bases, folder)] + [x / within for x in (*bases, folder)]:
        if path.is_dir():
            return image_files(path) or image_files(path / "images")
        if path.is_file():
            return [path.parent / line for line in _lines(path)]
    raise ValueError(f"{folder}: data.yaml has images in {entry!r}, which is not there.")


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


def _read_labels(door, path, image_id):
    """The objects of an image; none where there is no file, which is an image of background."""
    if not path.is_file():
        return
    image = door.file.images[image_id]
    for k, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            number, *values = map(float, words)
            if number != int(number) or len(values) < 4 or (len(values) > 5 and len(values) % 2):
                raise ValueError
        except (ValueError, OverflowError):
            door.note(path, "annotation that cannot be read", f"line {k}: {short(line)}")
            continue
        fields: dict[str, Any]
        if len(values) <= 5:  # the fifth is the score of a detection
            x, y, w, h = np.array(values[:4]) * (image.width, image.height, image.width, image.height)
            fields = {"bbox": np.round([x - w / 2, y - h / 2, w, h], 9).tolist()}
        else:
            points = np.round(np.reshape(values, (-1, 2)) * (image.width, image.height), 9)  # as before the division
            fields = {"segmentation": [points.ravel().tolist()]}
        door.add_object(image_id, int(number), path, f"line {k}", **fields)


def write(files: dict[str, CocoFile], folder: Path, placer: Placer) -> Counter[str]:
    """Writes data.yaml, text files and images; what this format cannot hold, counted. Several polygons and holes become
    one polygon with lines of no width between them, which covers the same pixels."""
    lost: Counter[str] = Counter()
    names = list(dict.fromkeys(name for file in files.values() for name in file.classes.values()))
    content: dict[str, Any] = {"path": "."}
    for part, file in files.items():
        part = part or "train"
        content[part] = f"images/{part}"
        labels = folder / "labels" / part
        labels.mkdir(parents=True, exist_ok=True)
        for image_id, image in file.images.items():
            picture = placer.place(image, folder / "images" / part)
            lines = []
            for annotation in file.objects.get(image_id, []):
                count_lost(lost, annotation, image)
                if not annotation.crowd:
                    number = names.index(file.classes[annotation.category_id])
                    lines.append(" ".join([str(number), *(f"{x:.17g}" for x in _shares(annotation, image))]))
            with whole(labels / f"{picture.stem}.txt") as new:
                new.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    with whole(folder / "data.yaml") as new:
        text = yaml.safe_dump({**content, "names": dict(enumerate(names))}, allow_unicode=True, sort_keys=False)
        new.write_text(text, "utf-8")
    return lost


def _shares(annotation, image):
    """The numbers of a line."""
    sides = np.array([image.width, image.height], float)
    if not annotation.has_mask():
        x, y, w, h = annotation.box
        return [*((x + w / 2, y + h / 2) / sides), *((w, h) / sides)]
    return (one_ring(annotation, image) / sides).ravel()
