"""Folders with a mask file for each object: `images/NAME.png` with `masks/NAME/*.png` or `masks/NAME/CLASS/*.png`, or
`NAME/images/NAME.png` with `NAME/masks/*.png` (the Data Science Bowl's)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from mrcnn.data.coco_file import CocoFile
from mrcnn.data.formats.door import Door, part_folders
from mrcnn.data.formats.outlines import count_classes, count_lost
from mrcnn.data.formats.placing import Placer
from mrcnn.data.mask_files import read_mask
from mrcnn.data.reading import image_files, write_image
from mrcnn.ops.masks import encode_rle

# The class of masks that lie in no class's folder.
OBJECT = "object"


def recognises(folder: Path, keys: set[str]) -> bool:
    """Whether a folder is in this format."""
    homes = [folder, *part_folders(folder)]
    homes += [sub for home in homes for sub in sorted(x for x in home.glob("[!.]*") if x.is_dir())[:3]]
    return any((home / "images").is_dir() and _holds(home / "masks") for home in homes)


def _holds(masks):
    """Whether a folder holds folders, or lies in an image's own."""
    inner = next((path for path in masks.glob("[!.]*")), None)
    own = {path.stem for path in image_files(masks.parent / "images")[:2]}
    return inner is not None and (inner.is_dir() or own == {masks.parent.name})


def read(door: Door) -> None:
    """Reads the folder of the door."""
    for home in door.parts():
        found = [(path, home / "masks" / path.stem) for path in image_files(home / "images")]
        if not found:
            subs = sorted(sub for sub in home.iterdir() if sub.is_dir())
            found = [(path, sub / "masks") for sub in subs for path in image_files(sub / "images")[:1]]
        for path, masks in found:
            image_id = door.add_image(path)
            if image_id is not None:
                for sub in (masks, *sorted(x for x in masks.glob("[!.]*") if x.is_dir())):
                    _read_masks(door, sub, OBJECT if sub == masks else sub.name, image_id)


def _read_masks(door, folder, name, image_id):
    image = door.file.images[image_id]
    for path in image_files(folder):
        try:
            mask = read_mask(path, (image.height, image.width))
        except (OSError, ValueError) as error:
            door.note(path, "labels that cannot be used", str(error))
            continue
        if mask.any():
            door.add_object(image_id, name, path, path.name, segmentation=encode_rle(mask))
        else:
            door.note(path, "mask without a pixel")


def write(files: dict[str, CocoFile], folder: Path, placer: Placer) -> Counter[str]:
    """Writes images and mask files; what this format cannot hold, counted."""
    lost: Counter[str] = Counter()
    count_classes(lost, files)
    for part, file in files.items():
        for image_id, image in file.images.items():
            picture = placer.place(image, folder / part / "images")
            home = folder / part / "masks" / picture.stem
            home.mkdir(parents=True, exist_ok=True)
            for k, annotation in enumerate(file.objects.get(image_id, []), 1):
                count_lost(lost, annotation, image)
                lost["boxes without a mask"] += not annotation.has_mask() and not annotation.crowd
                if annotation.crowd or not annotation.has_mask():
                    continue
                mask = annotation.mask(image.height, image.width)
                lost["masks without a pixel"] += not mask.any()
                if not mask.any():
                    continue
                name = file.classes[annotation.category_id]
                sub = home if set(file.classes.values()) == {OBJECT} else home / folder_name(name)
                lost["names of classes that cannot be those of folders"] += sub.name not in (name, home.name)
                sub.mkdir(exist_ok=True)
                write_image(sub / f"{k:04d}.png", mask.astype(np.uint8) * 255)
    return lost


def folder_name(name: str) -> str:
    """A class's name as that of a folder, without what leads elsewhere or some systems refuse."""
    clean = "".join("_" if x in '/\\:*?"<>|' or x < " " else x for x in name).strip(". ")
    return clean or "_"
