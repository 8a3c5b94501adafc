"""The images of a set that is written: copies under names of their own."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np

from mrcnn.data.arrays import read_page
from mrcnn.data.coco_file import Image
from mrcnn.data.reading import write_image
from mrcnn.ops.files import whole


def plain(name: str, lost: Counter[str], what: str = "names of classes") -> str:
    """A class's name, or what else it is, on one line, without the characters that files of lines and XML cannot hold,
    which are counted."""
    clean = " ".join("".join(x if x.isprintable() else " " for x in name).split()) or "_"
    lost[f"spaces and control characters in {what}"] += clean != name
    return clean


class Placer:
    """Gives each image of a folder a name, different from others without its ending, and copies it there.

    A page of a TIFF file becomes a picture of its own; one of other than 1, 3 or 4 channels or of 16 bits an array.
    """

    def __init__(self) -> None:
        self._names: dict[Path, set[str]] = {}

    def place(self, image: Image, folder: Path) -> Path:
        """The path in `folder` where the image is now."""
        source = Path(image.path)
        # Without what no text holds, as bytes of a name that are no UTF-8, and no list of lines.
        stem = "".join(x if x.isprintable() else "_" for x in source.stem).strip() or "_"
        ending = source.suffix
        pixels = None
        if image.page is not None:
            pixels = read_page(source, image.page)
            is_picture = pixels.dtype == "uint8" and pixels.shape[2] in (1, 3, 4)
            stem, ending = f"{stem}_{image.page:04d}", ".png" if is_picture else ".npy"
        target = folder / (self._free(stem, folder) + ending)
        folder.mkdir(parents=True, exist_ok=True)
        if ending == ".png" and pixels is not None:
            write_image(target, pixels)
            return target
        with whole(target) as new:
            if pixels is None:
                shutil.copyfile(source, new)
            else:
                np.save(new, pixels)
        return target

    def _free(self, stem, folder):
        """The stem, or it with a number behind, that no other image of the folder has; some file systems take a and A
        for one."""
        taken, name, k = self._names.setdefault(folder, set()), stem, 1
        while os.path.normcase(name).lower() in taken:
            k += 1
            name = f"{stem}_{k}"
        taken.add(os.path.normcase(name).lower())
        return name
