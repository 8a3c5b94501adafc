"""Label images: `labels/NAME.png` (or `masks/NAME.png`) to `images/NAME.*`, with one number or one colour for each
object, 0 or black for none.

classes.txt names the classes; with more than one a number is 1000 times the class's, from 1, plus the object's (as
Cityscapes has it). Of a TIFF file of several pages each is an image with the labels of the same page; where the image
has one page, the labels of all are its objects.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from mrcnn.data.arrays import is_array, page_sizes, read_array, read_page
from mrcnn.data.coco_file import CocoFile
from mrcnn.data.formats.door import Door, lines_of, part_folders
from mrcnn.data.formats.outlines import count_lost
from mrcnn.data.formats.placing import Placer, plain
from mrcnn.data.label_images import MASK_BYTES
from mrcnn.data.mask_files import check_specks, read_labels
from mrcnn.data.reading import image_files, write_image
from mrcnn.ops.files import whole
from mrcnn.ops.masks import encode_rle

DIVISOR = 1000

OBJECT = "object"


def recognises(folder: Path, keys: set[str]) -> bool:
    """Whether a folder is in this format."""
    homes = [folder, *part_folders(folder)]
    return any(image_files(home / "images") and _labels(home) for home in homes)


def _labels(home):
    """{name without ending: file} of label images."""
    return {path.stem: path for sub in ("labels", "masks") for path in image_files(home / sub)}


def read(door: Door) -> None:
    """Reads the folder of the door."""
    for home in door.parts():
        listed = next((x for x in (home / "classes.txt", door.folder / "classes.txt") if x.is_file()), None)
        names = [name for name in lines_of(listed) if name] if listed else []
        for k, name in enumerate(names or [OBJECT], 1):
            door.classes.setdefault(k, name)
        labels = _labels(home)
        for path in image_files(home / "images"):
            if path.stem not in labels:
                door.note(path, "labels missing", str(home / "labels" / path.stem))
                continue
            for image_id in door.add_pages(path):
                _read_objects(door, labels[path.stem], image_id)


def _read_objects(door, path, image_id):
    image, classes = door.file.images[image_id], len(door.classes)
    size = image.height, image.width
    try:
        for page in _pages(path, image.page):
            numbers = _read_numbers(path, page, size)
            values = [int(value) for value in np.unique(numbers) if value]
            if values and values[0] < 0:
                raise ValueError(f"it has the label {values[0]}, below 0")
            if len(values) * numbers.size > MASK_BYTES:
                raise ValueError(f"it has {len(values)} labels at {size[1]}x{size[0]}: an image, or to be cut")
            for value in values:
                where = f"label {value}" if page is None else f"page {page}, label {value}"
                number = value // DIVISOR if classes > 1 else 1
                door.add_object(image_id, number, path, where, segmentation=encode_rle(numbers == value))
    except (OSError, ValueError) as error:
        door.note(path, "labels that cannot be used", str(error))


def _pages(path, page):
    """The pages of a label file that belong to an image, or to a page of one; None is a file of one page."""
    count = len(page_sizes(path))
    if page is None:
        return range(count) or [None]
    if not page < count:
        raise ValueError(f"it has {max(count, 1)} pages; page {page} of the image has none")
    return [page]


def _read_numbers(path, page, size):
    """[H, W] of whole numbers."""
    if page is None and not is_array(path):
        return read_labels(path, size)
    values = read_array(path, labels=True) if page is None else read_page(path, page, labels=True)
    if values.shape != (*size, 1):
        shape = " x ".join(map(str, values.shape))
        raise ValueError(f"its labels are {shape}, its image {size[0]} x {size[1]}")
    check_specks(path, values[..., 0])
    return values[..., 0]


def write(files: dict[str, CocoFile], folder: Path, placer: Placer) -> Counter[str]:
    """Writes images, label images and classes.txt; what this format cannot hold, counted."""
    lost: Counter[str] = Counter()
    names = list(dict.fromkeys(name for file in files.values() for name in file.classes.values()))
    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / "classes.txt") as new:
        new.write_text("".join(f"{plain(name, lost)}\n" for name in names), "utf-8")
    for part, file in files.items():
        for image_id, image in file.images.items():
            picture = placer.place(image, folder / part / "images")
            numbers = np.zeros((image.height, image.width), "uint32")
            counts: Counter[int] = Counter()
            found = [(a, a.mask(image.height, image.width)) for a in file.objects.get(image_id, [])]
            for annotation, mask in sorted(found, key=lambda pair: -pair[1].sum()):  # small ones lie on large ones
                count_lost(lost, annotation, image)
                lost["boxes without a mask"] += not annotation.has_mask() and not annotation.crowd
                if annotation.crowd or not annotation.has_mask():
                    continue
                lost["overlaps of masks"] += bool(numbers[mask].any())
                lost["masks without a pixel"] += not mask.any()
                number = names.index(file.classes[annotation.category_id]) + 1
                counts[number if len(names) > 1 else 1] += 1
                lost["objects above 999 of a class in an image"] += len(names) > 1 and counts[number] >= DIVISOR
                if len(names) == 1:
                    numbers[mask] = counts[1]
                elif counts[number] < DIVISOR:
                    numbers[mask] = DIVISOR * number + counts[number]
            (folder / part / "labels").mkdir(parents=True, exist_ok=True)
            write_image(folder / part / "labels" / f"{picture.stem}.png", _picture(numbers))
    return lost


def _picture(numbers):
    """Gray of 16 bits, or colours where that is too few."""
    if numbers.max(initial=0) < 1 << 16:
        return numbers.astype("uint16")
    return np.stack([numbers >> 8 * k & 255 for k in range(3)], axis=-1).astype("uint8")
