"""Folders of annotations in any format, as a data set."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mrcnn.data.coco import CocoDataset, categories
from mrcnn.data.formats.known import read

# Images that are tried for their channels.
LOOKED_AT = 10


class FolderDataset(CocoDataset):
    """Images and objects of a folder in any of `mrcnn.data.formats.known.FORMATS`. Their source is called "coco", as
    their records are in its form."""

    def load_folder(
        self,
        folder: Path | str,
        part: str | None = None,
        name: str | None = None,
        class_names: Sequence[str] | None = None,
        outside: bool = False,
    ) -> None:
        """Add the images of a folder. What cannot be used is left out and among `problems`.

        Args:
            folder: of the set.
            part: "train", "val" or "test"; None is all of them. "train" is all of a set that has no parts.
            name: of the format; by default it is found by what is in the folder.
            class_names: names of classes to keep, and images with objects of them; by default all.
            outside: read images, too, that the annotations place outside the folder.

        Raises:
            FileNotFoundError: no such folder, or the set has no such part.
            ValueError: no known format, or several; a class that is not there; nothing that can be used.
        """
        files = read(folder, name, outside)
        chosen = [file for key, file in files.items() if part in (None, key) or (part == "train" and not key)]
        if not chosen:
            raise FileNotFoundError(f"{folder} has no part {part!r}; it has {', '.join(map(repr, files))}.")
        for file in chosen:
            kept = categories(file.classes, None, class_names, folder)
            self._add_classes(file, kept)
            self._add_images(file, None if class_names is None else set(kept))
            self.problems += file.problems

    @property
    def channels(self) -> int:
        """How many channels the first image has that can be read; 3 where none of the first few can."""
        for image_id in range(min(len(self.image_info), LOOKED_AT)):
            with contextlib.suppress(OSError, ValueError):
                return np.shape(self.load_image(image_id))[-1]
        return 3

    def image_reference(self, image_id: int) -> str:
        """The image's file."""
        return str(self.image_info[image_id]["path"])
