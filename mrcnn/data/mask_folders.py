"""Folders with a mask file for every instance."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mrcnn.data.dataset import Dataset
from mrcnn.data.mask_files import read_mask
from mrcnn.data.reading import image_files
from mrcnn.ops.masks import stack_masks


class MaskFolderDataset(Dataset):
    """Images with one mask file per instance, of any colour but black where the instance is; see `read_mask`.

    Two layouts are known: `NAME/images/NAME.png` with `NAME/masks/*.png` (the Data Science Bowl's), and
    `images/NAME.png` with `masks/NAME/*.png`. Where the masks lie in folders one deeper, these are named after the
    classes.
    """

    def load_mask_folder(
        self,
        folder: Path | str,
        source: str = "masks",
        classes: Sequence[str] = ("object",),
        required: bool = True,
    ) -> None:
        """Add the images of a folder; those that cannot be read are left out and among `problems`.

        Args:
            folder: in one of the layouts.
            source: name of the collection.
            classes: their names, in the order of their ids; the first is that of masks that lie in no class's folder.
            required: whether masks must be there. An image without them has no object; if no image has any, a folder is
                missing or called otherwise. False takes images to detect in.

        Raises:
            FileNotFoundError: no such folder, no image in it, or no folder of masks for any of them.
            OSError: no image can be read.
            ValueError: `classes` are no names.
        """
        folder = Path(folder)
        self.add_classes(source, classes)
        flat = image_files(folder / "images")
        found = [(path, folder / "masks" / path.stem) for path in flat]
        if not flat and folder.is_dir():
            subs = sorted(folder.iterdir())
            found = [(path, sub / "masks") for sub in subs for path in image_files(sub / "images")[:1]]
        if not found:
            raise FileNotFoundError(f"There are no images in {folder}/images, nor in {folder}/*/images.")
        if required and not any(masks.is_dir() for _, masks in found):
            raise FileNotFoundError(
                f"No image of {folder} has a folder of masks; that of {found[0][0].name} would be {found[0][1]}."
            )
        self.add_files(
            source,
            [
                {"image_id": path.stem, "path": str(path), "masks": masks, "classes": list(classes)}
                for path, masks in found
            ],
        )

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Masks [H, W, N] bool and class ids [N] int32; see `Dataset.load_mask`.

        Raises:
            OSError: a mask cannot be read.
            ValueError: a mask is not of the image's size, or lies in a folder that is no class.
        """
        info = self.image_info[image_id]
        if "masks" not in info:
            return super().load_mask(image_id)
        names = {entry["name"]: i for i, entry in enumerate(self.class_info) if entry["source"] == info["source"]}
        paths = image_files(info["masks"])
        class_ids = [names[info["classes"][0]]] * len(paths)
        for sub in sorted(x for x in info["masks"].glob("*") if x.is_dir()):
            if sub.name not in names:
                raise ValueError(f"{sub} is not named after a class; they are {', '.join(names)}.")
            inner = image_files(sub)
            paths += inner
            class_ids += [names[sub.name]] * len(inner)
        size = info["height"], info["width"]
        return stack_masks([read_mask(path, size) for path in paths], *size), np.array(class_ids, "int32")
