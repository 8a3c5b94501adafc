"""The door of files in COCO's format: what is behind it has been checked, and is read from here alone."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mrcnn.data import coco_entries as entries
from mrcnn.data.annotations import Annotation
from mrcnn.data.dataset import read_json
from mrcnn.data.problems import Problem
from mrcnn.data.reading import find_file, image_size, leads_out

# The lists of a file, and the ids of their entries.
SECTIONS = {"images": ["id"], "annotations": ["id", "image_id", "category_id"], "categories": ["id"]}

Id = int | str


class Image(NamedTuple):
    """An image of a file: its path, its size in pixels, and which page of a TIFF file of several, or frame of a
    video, it is, from 0."""

    path: str
    height: int
    width: int
    page: int | None = None


@dataclass
class CocoFile:
    """What a file holds.

    Attributes:
        path: of the file.
        images: by their ids.
        classes: names by ids.
        objects: by the images' ids; `class_id` is not set.
        problems: what is left out, mended or doubtful.
        keypoints: {"keypoints": their names, "skeleton": pairs of their numbers from 1 on} by ids of classes with such.
        groups: COCO's supercategory by ids of classes that have one.
    """

    path: Path
    images: dict[Id, Image] = field(default_factory=dict)
    classes: dict[Id, str] = field(default_factory=dict)
    objects: dict[Id, list[Annotation]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    keypoints: dict[Id, dict[str, Any]] = field(default_factory=dict)
    groups: dict[Id, str] = field(default_factory=dict)

    def note(self, name: str, what: str, details: str = "") -> None:
        """Add a problem of the entry that is called so."""
        self.problems.append(Problem(what, str(self.path), f"{name}: {details}" if details else name))

    def note_names(self) -> None:
        """Add a problem for each name that several classes have."""
        for name, times in Counter(self.classes.values()).items():
            if times > 1:
                self.note(repr(name), "class name used twice")


class Read(NamedTuple):
    """An annotation for which there is something to tell: its id, the record if there is one, and what and details."""

    id: Any
    annotation: Annotation | None
    notes: list[tuple[str, str]]


def read_coco(path: Path | str, image_dir: Path | str, folder: Path | str | None = None) -> CocoFile:
    """Read and check a file of annotations.

    Entries that cannot be used are left out and among the problems.

    Args:
        path: of the file.
        image_dir: what its file names count from.
        folder: images must be in it; None is anywhere.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not JSON, not in COCO's format, or no image or no class can be used; one line that names the file.
    """
    content = _read_sections(path)
    file = CocoFile(Path(path))
    points = _read_classes(file, content["categories"])
    unused = _read_images(file, content["images"], Path(image_dir), folder)
    for section, found in (("images", file.images), ("categories", file.classes)):
        if not found:
            first = f": {file.problems[0].what}, {file.problems[0].details}" if file.problems else ""
            raise ValueError(f"{path} has no {section} that can be used{first}.")
    _read_objects(file, content["annotations"], unused)
    _check_keypoints(file, points)
    return file


def read_raw(path: Path | str) -> dict[str, Any]:
    """The file as it is, less the entries without ids, with which pycocotools does nothing."""
    content = read_json(path)
    for section, names in SECTIONS.items():
        content[section] = [entry for entry in content[section] if _has_ids(entry, names)]
    return content


def _has_ids(entry, names):
    try:
        return all(entries.read_id(entry[name]) is not None for name in names)
    except (ValueError, TypeError, KeyError):
        return False


def _read_sections(path):
    """The content, with the records of annotations in their place. They are made while the file is read, so that their
    lists of numbers are never all there at once."""
    content = read_json(path, lambda entry: _record(entry) if _is_annotation(entry) else entry)
    if isinstance(content, list):
        raise ValueError(
            f"{path} is not in COCO's format: it holds a list, as a file of detections does, not an object with "
            f"{', '.join(SECTIONS)}."
        )
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not in COCO's format: it holds {entries.short(content)}, not an object.")
    for section in SECTIONS:
        if not isinstance(content.get(section), list):
            raise ValueError(f"{path} is not in COCO's format: it has no list {section!r}.")
    return content


def _is_annotation(entry):
    """Whether a JSON object is one of the annotations, by itself; if it does not look so it is read later."""
    return "image_id" in entry and "category_id" in entry and "file_name" not in entry


def _record(entry):
    """The record of an annotation, or what there is to tell of it."""
    notes: list[tuple[str, str]] = []
    try:
        annotation = entries.read_annotation(entry, lambda *note: notes.append(note))
    except ValueError as error:
        annotation = None
        notes.append(("annotation that cannot be read", str(error)))
    return Read(entry.get("id") if isinstance(entry, dict) else None, annotation, notes) if notes else annotation


def _read_classes(file, categories):
    """Reads the categories; the numbers of keypoints that they name."""
    points = set()
    for k, entry in enumerate(categories):
        name = f"category at place {k}"
        try:
            number, text = entries.read_class(entry, functools.partial(file.note, name))
        except ValueError as error:
            file.note(name, "category that cannot be read", str(error))
            continue
        if number in file.classes and file.classes[number] == text:
            file.note(name, "category given twice")
        if file.classes.setdefault(number, text) != text:
            raise ValueError(
                f"{file.path}: the category id {number!r} is that of {file.classes[number]!r} and of {text!r}; give "
                "each its own."
            )
        group = entry.get("supercategory")
        if isinstance(group, str) and group:
            file.groups.setdefault(number, group)
        names, skeleton = entry.get("keypoints"), entry.get("skeleton")
        count = len(names) if isinstance(names, list) else 0
        points |= {count} - {0}
        if count:
            file.keypoints[number] = {"keypoints": names, "skeleton": skeleton if _is_skeleton(skeleton, count) else []}
        if skeleton is not None and not _is_skeleton(skeleton, count):
            file.note(name, "skeleton that does not fit", f"{entries.short(skeleton)} of {count} keypoints")
    file.note_names()
    return points


def _is_skeleton(skeleton, count):
    """Whether it is pairs of numbers of keypoints, from 1 on."""
    numbers = range(1, count + 1)
    pairs = skeleton if isinstance(skeleton, list) else [None]
    return all(isinstance(pair, list) and len(pair) == 2 and all(x in numbers for x in pair) for pair in pairs)


def _read_images(file, images, image_dir, folder):
    """Reads the images; the ids of those that cannot be used."""
    unused: set[Id] = set()
    files: dict[tuple[str, int | None], Id] = {}
    for k, entry in enumerate(images):
        name = f"image at place {k}"
        try:
            number, file_name, size = entries.read_image(entry, functools.partial(file.note, name))
            page = entries.read_page(entry)
        except ValueError as error:
            file.note(name, "image that cannot be used", str(error))
            continue
        name, path = f"image {number} ({file_name})", find_file(image_dir, file_name)
        if number in unused:
            file.note(name, "image id used twice in a file")
        elif number in file.images:
            if (file.images[number].path, file.images[number].page) == (path, page):
                file.note(name, "image given twice")
                continue
            file.note(f"{name} and {file.images.pop(number).path}", "image id used twice in a file")
            unused.add(number)
        elif folder is not None and leads_out(path, folder):
            file.note(name, "image outside the set's folder")
            unused.add(number)
        else:
            try:
                file.images[number] = Image(path, *(size or image_size(path)), page)
            except OSError as error:
                file.note(name, "image that cannot be used", str(error))
                unused.add(number)
        if files.setdefault((path, page), number) != number:
            file.note(name, "file of two images", f"that of image {files[path, page]} too")
    return unused


def _read_objects(file, annotations, unused):
    """Sorts the annotations by image; those that belong nowhere, or are nowhere, are left out."""
    seen: Counter[Id] = Counter()
    without: list[str] = []
    for k, entry in enumerate(annotations):
        read = entry if isinstance(entry, (Annotation, Read)) else _record(entry)
        name = entries.name_of(read.id, k)
        note = functools.partial(file.note, name)
        annotation, notes = read[1:] if isinstance(read, Read) else (read, [])
        for one in notes:
            note(*one)
        if annotation is None or annotation.image_id in unused or not _is_linked(annotation, file, note):
            continue
        if annotation.id is not None:
            seen[annotation.id] += 1
        if not annotation.segmentation and not notes:
            without.append(name)
        image = file.images[annotation.image_id]
        try:
            entries.check(annotation, (image.height, image.width), note)
        except ValueError as error:
            note("annotation that cannot be used", str(error))
        else:
            file.objects.setdefault(annotation.image_id, []).append(annotation)
    for number, times in seen.items():
        if times > 1:
            file.note(entries.name_of(number, 0), "annotation id used twice")
    # A set of boxes alone is as it should be.
    if any(annotation.has_mask() for objects in file.objects.values() for annotation in objects):
        for name in without:
            file.note(name, "object without a mask")


def _is_linked(annotation, file, note):
    """Whether the file has the annotation's image and class."""
    for name, what, known in (
        ("image_id", "image not in the file", file.images),
        ("category_id", "class not in the file", file.classes),
    ):
        number = getattr(annotation, name)
        if number not in known:
            note(what, f"{name} {number!r}{_alike(number, known)}")
            return False
    return True


def _alike(number, known):
    """A hint where an id is text that reads like a known number, or the other way round."""
    text = isinstance(number, str)
    other: Id = int(number) if text and number.isdecimal() and len(number) < 20 else str(number)
    return f"; the file has {other!r}" if other != number and other in known else ""


def _check_keypoints(file, points):
    """Takes off keypoints that are more or fewer than the category names, or, where it names none, than most are."""
    found = [a for objects in file.objects.values() for a in objects if a.keypoints is not None]
    counts = Counter(len(annotation.keypoints) // 3 for annotation in found)
    if not counts:
        return
    count = points.pop() if len(points) == 1 else counts.most_common(1)[0][0]
    for annotation in found:
        own = len(annotation.keypoints) // 3
        if own != count:
            file.note(f"annotation {annotation.id}", "keypoints of another number", f"{own}, not {count}")
            annotation.keypoints = None
