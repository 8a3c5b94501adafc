"""Which formats there are, and which of them a folder is in."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

from mrcnn.data.coco_file import CocoFile
from mrcnn.data.formats import coco, geojson, labelme, labels, masks, tables, via, voc, yolo
from mrcnn.data.formats.door import Door
from mrcnn.data.formats.placing import Placer
from mrcnn.data.formats.xml_files import read_annotation

# Name -> its file, which has `recognises`, `read` and `write`.
FORMATS: dict[str, ModuleType] = {
    "coco": coco,
    "labelme": labelme,
    "voc": voc,
    "yolo": yolo,
    "via": via,
    "masks": masks,
    "labels": labels,
}

# Ending of a file -> what writes all of a set into it.
FILES = {".json": coco.write_file, ".geojson": geojson.write_file, ".csv": tables.write_file}


def find(folder: Path | str) -> str:
    """The format that a folder is in, or a JSON file of annotations.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is in none, or in several; or a file of another kind.
    """
    folder = Path(folder)
    if folder.is_file() and folder.suffix.lower() == ".json":
        return "coco"
    if folder.is_file():
        if folder.suffix.lower() == ".xml":
            read_annotation(folder)
        raise ValueError(f"{folder} is a file, which can be in the format coco alone; name the folder of the set.")
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no data set folder {folder}.")
    keys: set[str] = set()
    for path in coco.json_files(folder)[:5]:
        keys |= coco.keys_of(path)
    found = [name for name, module in FORMATS.items() if module.recognises(folder, keys)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{folder} may be in the formats {', '.join(found)}; name one with --format.")
    raise ValueError(
        f"{folder} is in none of the formats {', '.join(FORMATS)}; docs/formats.md shows what lies where in each, and "
        "--format names one."
    )


def read(folder: Path | str, name: str | None = None, outside: bool = False) -> dict[str, CocoFile]:
    """What a folder holds, checked.

    Args:
        folder: of the set, or the JSON file of one in COCO's format.
        name: of the format; by default what `find` finds.
        outside: read images, too, that the annotations place outside the folder.

    Returns:
        {part of the set ("train", "val", "test"; "" for all of one without parts): what is in it}; their `problems` say
        what was left out.

    Raises:
        FileNotFoundError, ValueError: see `find`; or nothing in it can be used.
    """
    folder = Path(folder)
    module = FORMATS[name or find(folder)]
    if folder.is_file():
        if module is not coco:
            raise ValueError(f"{folder} is a file, which can be in the format coco alone; name the folder of the set.")
        door = Door(folder.parent, outside)
        coco.read(door, folder)
    else:
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no data set folder {folder}.")
        door = Door(folder, outside)
        module.read(door)
    return door.finish()


def write(files: dict[str, CocoFile], target: Path | str, name: str | None = None, **options: Any) -> Counter[str]:
    """Write a set in another format.

    Args:
        files: as of `read`.
        target: a folder, or a file with one of the endings of `FILES`.
        name: of the folder's format.
        options: of the format's `write` or `write_file`, such as `tolerance`.

    Returns:
        What the format cannot hold, counted.

    Raises:
        OSError: an image cannot be read (`leave_out` takes such out of a set), or a file not be written.
    """
    target = Path(target)
    if target.suffix.lower() in FILES and name is None:
        target.parent.mkdir(parents=True, exist_ok=True)
        into_file: Any = FILES[target.suffix.lower()]
        lost = into_file(files, target, **options) or Counter()
    else:
        lost = FORMATS[name or "coco"].write(files, target, Placer(), **options)
    return +lost  # without zeros
