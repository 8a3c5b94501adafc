"""What readers of formats hand over, checked: an image or an object that cannot be used is noted and left out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mrcnn.data.arrays import page_size, page_sizes
from mrcnn.data.coco_entries import check, encodes, read_annotation, short
from mrcnn.data.coco_file import CocoFile, Id, Image
from mrcnn.data.problems import Problem
from mrcnn.data.reading import find_file, image_files, image_size, leads_out

# Folders of the parts of a set -> what the parts are called; "" is that of a set without parts.
PARTS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class Door:
    """Readers call `begin` for each part of a set, `add_image` for what is in it, and `add_object`.

    Attributes:
        folder: of the set.
        files: what was read so far, by parts; they have the same classes.
        classes: names by ids; a reader that knows their order fills it, to others a class's name is its id.
    """

    def __init__(self, folder: Path | str, outside: bool = False) -> None:
        self.folder, self.outside = Path(folder), outside
        self.files: dict[str, CocoFile] = {}
        self.classes: dict[Id, str] = {}
        self._seen: dict[tuple[str, int | None], Id] = {}
        self._again: set[tuple[str, int | None]] = set()
        self._order: list[str] = []
        self._count = 0
        self._pictures: dict[Path, list[Path]] = {}
        self._boxes: list[tuple[CocoFile, str, str]] = []

    def begin(self, part: str = "") -> None:
        """What follows is of this part."""
        self.file = self.files.setdefault(part, CocoFile(self.folder, classes=self.classes))
        self._seen = {}

    def parts(self) -> Iterator[Path]:
        """The folders of the parts that the set's folder has, each begun; itself if there are none."""
        for path, part in (part_folders(self.folder) or {self.folder: ""}).items():
            self.begin(part)
            yield path

    def note(self, path: Path | str, what: str, details: str = "") -> None:
        """Add a problem, see `mrcnn.data.problems.REMEDIES`, of a file."""
        self.file.problems.append(Problem(what, str(path), details))

    def add_image(self, path: Path | str, said: tuple[int, int] | None = None, page: int | None = None) -> Id | None:
        """An image's id; None for one that cannot be used.

        Args:
            path: of the file.
            said: (height, width) by the annotations; 0 is not known.
            page: of a TIFF file.
        """
        path = os.path.normpath(path)
        known = path, page
        if known in self._seen:
            self.note(path, "two entries for one file")
            self._again.add(known)
            return self._seen[known]
        if not self.outside and leads_out(path, self.folder):
            self.note(path, "image outside the set's folder")
            return None
        try:
            size = image_size(path) if page is None else page_size(path, page)
        except FileNotFoundError:
            self.note(path, "file missing")
            return None
        except OSError as error:
            self.note(path, "image cannot be read", str(error))
            return None
        if said is not None and all(said) and said != size:
            self.note(path, "image of another size than annotated", f"{size[1]}x{size[0]}, not {said[1]}x{said[0]}")
            return None
        number = self._seen[known] = len(self.file.images) + 1
        self.file.images[number] = Image(path, *size, page)
        return number

    def list_classes(self, names: Iterable[str]) -> None:
        """Take names of classes, with or without objects, in the order that they are to have."""
        for name in names:
            if name.strip() and name not in self._order:
                self._order.append(name)
                self.classes.setdefault(name, name)

    def add_pages(self, path: Path) -> list[Id]:
        """The ids of the images in a file: one, or those of the pages of a TIFF file."""
        pages = range(len(page_sizes(path))) or [None]
        numbers = [self.add_image(path, page=page) for page in pages]
        return [number for number in numbers if number is not None]

    def pictures(self, home: Path) -> list[Path]:
        """The image files in a folder, which is read once."""
        if home not in self._pictures:
            self._pictures[home] = image_files(home)
        return self._pictures[home]

    def add_object(self, image_id: Id, name: Any, path: Path | str, where: str, **fields: Any) -> None:
        """An object of an image.

        Args:
            image_id: as `add_image` gave it.
            name: the class's; or its id, where the classes are known.
            path, where: file and entry, for what is wrong.
            fields: as COCO names them: segmentation, bbox (x, y, width, height), iscrowd, keypoints, area; and
                attributes, see `Annotation`.
        """

        def note(what, details=""):
            self.note(path, what, f"{where}: {details}" if details else where)

        if isinstance(name, str) and name.strip() and encodes(name):
            self.classes.setdefault(name, name)
        if not isinstance(name, (int, str)) or name not in self.classes:
            note("class not in the file" if isinstance(name, int) else "class without a name", short(name))
            return
        self._count += 1
        entry = {"id": self._count, "image_id": image_id, "category_id": name, **fields}
        image = self.file.images[image_id]
        try:
            annotation = read_annotation(entry, note)
            annotation.crowd |= fields.get("iscrowd") == 1  # whatever else is said: it is not CVAT's COCO file
            check(annotation, (image.height, image.width), note)
        except ValueError as error:
            note("annotation that cannot be used", str(error))
            return
        objects = self.file.objects.setdefault(image_id, [])
        if (image.path, image.page) in self._again and any({**a, "id": 0} == {**annotation, "id": 0} for a in objects):
            return
        objects.append(annotation)
        if not annotation.has_mask() and not annotation.crowd:
            self._boxes.append((self.file, str(path), where))

    def finish(self) -> dict[str, CocoFile]:
        """What was read, by parts that have images.

        Raises:
            ValueError: no image, or no class, can be used; one line that names the folder.
        """
        problems = [problem for file in self.files.values() for problem in file.problems]
        first = ""
        if problems:
            what, path, details = problems[0].what, problems[0].path, problems[0].details
            said = details if path in details else f"{path} {details}"  # what is wrong with a whole file names it
            first = f": {what}, {said}".rstrip(" .")
        files = {part: file for part, file in self.files.items() if file.images}
        for file in self.files.values():
            if not file.images:  # what is wrong with a part of which nothing is left is said of the set
                next(iter(files.values()), file).problems[:0] = file.problems
        if not files or not self.classes:
            raise ValueError(f"{self.folder} has no {'objects' if files else 'images'} that can be used{first}.")
        if all(isinstance(i, str) for i in self.classes):  # then their order is that in which they were met
            for name in [*self._order, *sorted(set(map(str, self.classes)) - set(self._order))]:
                self.classes[name] = self.classes.pop(name)
        for file in files.values():
            if file.classes is self.classes:  # else `read_coco` has done it
                file.note_names()
                break
        every = [annotation for file in files.values() for objects in file.objects.values() for annotation in objects]
        if any(annotation.has_mask() for annotation in every):  # a set of boxes alone is as it should be
            for file, path, where in self._boxes:
                file.problems.append(Problem("object without a mask", path, where))
        return files


def part_folders(folder: Path) -> dict[Path, str]:
    """The folders in a folder that are of parts of a set, and which."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path: PARTS[path.name.lower()] for path in found if path.name.lower() in PARTS and path.is_dir()}


def lines_of(path: Path) -> list[str]:
    """The lines of a text file, without spaces around.

    Raises:
        ValueError: it is not in UTF-8; the message names it.
    """
    try:
        return [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: {error.reason} at byte {error.start}.") from None


def find_image(door: Door, annotations: Path, name: object = None) -> Path | None:
    """The picture that an annotation file names, or else the one of the file's own name, beside it or in a folder
    `images`, `Images` or `JPEGImages` beside its own, or in the folder within that its own is in; None, and a note,
    where there is none."""
    candidates = []
    if isinstance(name, str) and name.strip() and "\0" not in name:
        said = Path(find_file(annotations.parent, name.replace("\\", "/")))
        candidates = [said, annotations.parent / said.name]
    homes, home = [annotations.parent], annotations.parent
    for up in home.parents:
        homes += [Path(up, sub, *home.relative_to(up).parts[1:]) for sub in ("images", "Images", "JPEGImages")]
        if door.folder in (up, home):
            break
    candidates += [home / path.name for home in homes[1:] for path in candidates[:1]]
    for path in candidates:
        if os.path.isfile(path) and (door.outside or not leads_out(path, door.folder)):
            return path
    for home in homes:
        found = [path for path in door.pictures(home) if path.stem == annotations.stem]
        if found:
            return found[0]
    door.note(annotations, "file missing", f"the picture {short(name)}")
    return None


def pictures_of(home: Path) -> list[Path]:
    """The pictures in a folder, or in its `images` or `JPEGImages`."""
    return next((found for sub in ("images", "JPEGImages", ".") if (found := image_files(home / sub))), [])
