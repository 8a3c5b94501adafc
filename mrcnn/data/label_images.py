"""Images of labels: a number for every instance."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mrcnn.data.dataset import Dataset
from mrcnn.data.mask_files import read_labels
from mrcnn.data.problems import Problem
from mrcnn.data.reading import image_files
from mrcnn.ops.masks import stack_masks

# Of an image's masks together; more means that a picture lies in the place of its labels.
MASK_BYTES = 4 << 30


class LabelImageDataset(Dataset):
    """Images with one image of labels each, `labels/NAME.png` to `images/NAME.*`: a number per instance, 0 for none."""

    def load_label_images(
        self,
        folder: Path | str,
        source: str = "labels",
        classes: Sequence[str] = ("object",),
        divisor: int | None = None,
    ) -> None:
        """Add the images of a folder; those that have no labels, or cannot be read, are left out and among `problems`.

        Args:
            folder: holds `images` and `labels`.
            source: name of the collection.
            classes: their names, in the order of their ids.
            divisor: a label is the class's id times this plus the number of the instance, as 1000 in Cityscapes; None
                makes every label an instance of the first class.

        Raises:
            FileNotFoundError: no image, or none with labels.
            OSError: no image can be read.
            ValueError: `classes` are no names, or the divisor is below 2.
        """
        folder = Path(folder)
        if divisor is not None and (not isinstance(divisor, (int, np.integer)) or divisor < 2):
            raise ValueError(f"divisor is {divisor!r}; it must be a whole number above 1, or None.")
        self.add_classes(source, classes)
        found = image_files(folder / "images")
        if not found:
            raise FileNotFoundError(f"There are no images in {folder / 'images'}.")
        labels = {path: folder / "labels" / f"{path.stem}.png" for path in found}
        missing = {path for path in found if not labels[path].exists()}
        if len(missing) == len(found):
            raise FileNotFoundError(f"There are no labels {labels[found[0]]} for {found[0]}.")
        self.problems += [Problem("labels missing", str(path), str(labels[path])) for path in sorted(missing)]
        self.add_files(
            source,
            [
                {"image_id": path.stem, "path": str(path), "labels": labels[path], "divisor": divisor}
                for path in found
                if path not in missing
            ],
        )

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Masks [H, W, N] bool and class ids [N] int32; see `Dataset.load_mask`.

        Raises:
            OSError: the labels cannot be read.
            ValueError: they are not of the image's size, of a class that is not known, or too many.
        """
        info = self.image_info[image_id]
        if "labels" not in info:
            return super().load_mask(image_id)
        height, width = info["height"], info["width"]
        labels = read_labels(info["labels"], (height, width))
        values = [int(value) for value in np.unique(labels) if value]
        if len(values) * height * width > MASK_BYTES:
            raise ValueError(f"{info['labels']} has {len(values)} labels at {width}x{height}: an image, or to be cut.")
        ids = {entry["id"]: i for i, entry in enumerate(self.class_info) if entry["source"] == info["source"]}
        own = [value // info["divisor"] if info["divisor"] else 1 for value in values]
        for value, i in zip(values, own, strict=True):
            if i not in ids:
                raise ValueError(f"{info['labels']}: label {value} is of class {i}; there are {len(ids)} classes.")
        masks = stack_masks([labels == value for value in values], height, width)
        return masks, np.array([ids[i] for i in own], "int32")
