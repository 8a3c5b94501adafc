"""COCO's format (https://cocodataset.org/#format-data), wherever tools put its files: COCO itself, CVAT, Label Studio,
Roboflow."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

from mrcnn.data.coco_file import SECTIONS, CocoFile, read_coco
from mrcnn.data.dataset import read_json
from mrcnn.data.formats.door import PARTS, Door
from mrcnn.data.formats.placing import Placer
from mrcnn.data.reading import find_file
from mrcnn.ops.files import whole

# How many file names say where a file's images are.
TRIED = 50
NAME = re.compile(rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")')


def recognises(folder: Path, keys: set[str]) -> bool:
    """Whether a folder is in this format; `keys` are those of its first JSON files."""
    return set(SECTIONS) <= keys


def json_files(folder: Path) -> list[Path]:
    """Where annotation files may be; those of `annotations` are COCO's instances, if there are any."""
    own = sorted((folder / "annotations").glob("[!.]*.json"))
    own = [path for path in own if path.name.startswith("instances")] or own
    return own or [*sorted(folder.glob("[!.]*.json")), *sorted(folder.glob("[!.]*/[!.]*.json"))]


def read(door: Door, path: Path | None = None) -> None:
    """Reads the folder of the door, or one file in it.

    Raises:
        ValueError: a file cannot be used, or two are of the same part of the set.
    """
    found: dict[str, Path] = {}
    for file in [path] if path else json_files(door.folder):
        if path is None and not set(SECTIONS) <= keys_of(file):
            continue
        part = _part(file, door.folder)
        if part in found:
            raise ValueError(f"{file} and {found[part]} are both of the {part or 'whole'} set; name the file to read.")
        found[part] = file
        home = _image_folder(door.folder, file, part, _names(file))
        door.files[part] = read_coco(file, home, None if door.outside else door.folder)
    door.classes.update({i: name for file in door.files.values() for i, name in file.classes.items()})


def keys_of(path: Path) -> set[str]:
    """Names at the top of a JSON file, and among the first of its entries; of a large one those in its beginning and
    its end; none if it cannot be read."""
    try:
        if path.stat().st_size > 1 << 24:
            with open(path, "rb") as file:
                text = file.read(1 << 16)
                file.seek(-(1 << 16), os.SEEK_END)
                text += file.read()
            known = re.findall(rb'"(\w+)"\s*:\s*[\[{]', text)
            return {name.decode() for name in known} | (set(SECTIONS) if b'"file_name"' in text else set())
        content = read_json(path)
    except (OSError, ValueError):
        return set()
    if not isinstance(content, dict):
        return set()
    inner = next((value for value in content.values() if isinstance(value, dict)), {})
    return set(content) | {"regions"} & set(inner)


def _names(file):
    """The first file names of images, of a large file those in its beginning if there are any."""
    with open(file, "rb") as text:
        found = NAME.findall(text.read(1 << 20))
    if found:
        with contextlib.suppress(ValueError):  # whoever reads the whole file says what is wrong with it
            return [json.loads(name.decode("utf-8", "replace"), strict=False) for name in found[:TRIED]]
    content = read_json(file)
    images = content.get("images") if isinstance(content, dict) else None
    entries = [entry for entry in images if isinstance(entry, dict)] if isinstance(images, list) else []
    return [str(entry.get("file_name")) for entry in entries[:TRIED]]


def _part(file, folder):
    words = re.split(r"[^a-z]+", str(file.relative_to(folder)).lower())
    return next((PARTS[word] for word in reversed(words) if word in PARTS), "")


def _image_folder(folder, file, part, names):
    """The folder from which most of the files are there; the annotation file's own if there are none."""
    words = file.stem.split("_")  # person_keypoints_train2017
    subs = [name for name in (*("_".join(words[k:]) for k in range(1, len(words))), part, "default") if name]
    homes = [file.parent, *(folder / name for name in subs), *(folder / "images" / name for name in subs)]
    homes += [folder / "images", folder, file.parent / "images"]
    there = [sum(os.path.isfile(find_file(home, x)) for x in names) for home in homes]
    return homes[there.index(max(there))]


def write(files: dict[str, CocoFile], folder: Path, placer: Placer) -> Counter[str]:
    """Writes annotations/instances_PART.json and images in PART, "all" for a set without parts; nothing is lost."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for part, file in files.items():
        name = part or "all"
        places = {i: placer.place(image, folder / name).name for i, image in file.images.items()}
        write_file({part: file}, folder / "annotations" / f"instances_{name}.json", places)
    return Counter()


def write_file(files: dict[str, CocoFile], path: Path, names: dict[Any, str] | None = None) -> None:
    """Writes one JSON file of all parts. Whole numbers above 0 that are ids stay so, if no two parts share one. A page
    of a TIFF file has its number, from 0, as "page", which other programs do not know.

    Args:
        files: by parts.
        path: of the JSON file.
        names: of the images' files by their ids, for a set of one part; by default their paths from the JSON file on.
    """
    content: dict[str, list[dict[str, Any]]] = {name: [] for name in ("images", "annotations", "categories")}
    classes = list(dict.fromkeys(pair for file in files.values() for pair in file.classes.items()))
    class_ids = _numbered([i for i, _ in classes])
    numbers = dict(zip(classes, class_ids, strict=True))
    points = {i: more for file in files.values() for i, more in file.keypoints.items()}
    groups = {i: {"supercategory": group} for file in files.values() for i, group in file.groups.items()}
    content["categories"] = [
        {"id": i, "name": name, **groups.get(own, {}), **points.get(own, {})} for (own, name), i in numbers.items()
    ]
    image_ids = iter(_numbered([i for file in files.values() for i in file.images]))
    found = [a.id for file in files.values() for i in file.images for a in file.objects.get(i, [])]
    own_ids = iter(_numbered(found))
    for file in files.values():
        for i, image in file.images.items():
            number = next(image_ids)
            name = names[i] if names else _relative(image.path, path.parent)
            page = {} if names or image.page is None else {"page": image.page}
            size = {"height": image.height, "width": image.width}
            content["images"].append({"id": number, "file_name": name, **size, **page})
            for annotation in file.objects.get(i, []):
                category = numbers[annotation.category_id, file.classes[annotation.category_id]]
                x, y, w, h = annotation.extent(image.height, image.width)
                area = annotation.area
                if area is None:
                    area = float(annotation.mask(image.height, image.width).sum()) if annotation.has_mask() else w * h
                entry = {**annotation, "id": next(own_ids), "image_id": number, "category_id": category}
                if annotation.crowd and annotation.attributes:  # else it reads as a mask of CVAT's
                    entry["attributes"] = {**annotation.attributes, "is_crowd": True}
                content["annotations"].append({**entry, "bbox": [x, y, w, h], "area": area})
    with whole(path) as new:
        new.write_text(json.dumps(content, ensure_ascii=False), "utf-8", "backslashreplace")  # as JSON has it


def _numbered(ids):
    """The ids if all are different whole numbers above 0, else 1, 2, ..."""
    plain = all(type(i) is int and i > 0 for i in ids) and len(set(ids)) == len(ids)
    return ids if plain else list(range(1, len(ids) + 1))


def _relative(path, folder):
    """The path from a folder on, where it is in it."""
    try:
        return Path(path).absolute().relative_to(Path(folder).absolute()).as_posix()
    except ValueError:
        return str(path)
