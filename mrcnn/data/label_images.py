"""Images of labels: a number for every instance."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mrcnn.data.dataset import Dataset
from mrcnn.data.reading import image_files, image_size, read_labels
from mrcnn.ops.masks import stack_masks


class LabelImageDataset(Dataset):
    """Images with one image of labels each, `labels/NAME.png` to `images/NAME.*`: a number per instance, 0 for none."""

    def load_label_images(
        self,
        folder: Path | str,
        source: str = "labels",
        classes: Sequence[str] = ("object",),
        divisor: int | None = None,
    ) -> None:
        """Add the images of a folder.

        Args:
            folder: holds `images` and `labels`.
            source: name of the collection.
            classes: their names, in the order of their ids.
            divisor: a label is the class's id times this plus the number of the instance, as 1000 in Cityscapes; None
                makes every label an instance of the first class.

        Raises:
            FileNotFoundError: no image, or one without labels.
        """
        folder = Path(folder)
        for i, name in enumerate(classes, 1):
            self.add_class(source, i, name)
        found = image_files(folder / "images")
        if not found:
            raise FileNotFoundError(f"There are no images in {folder / 'images'}.")
        for path in found:
            labels = folder / "labels" / f"{path.stem}.png"
            if not labels.exists():
                raise FileNotFoundError(f"There are no labels {labels} for {path}.")
            height, width = image_size(path)
            self.add_image(source, path.stem, str(path), height=height, width=width, labels=labels, divisor=divisor)

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Masks [H, W, N] bool and class ids [N] int32; see `Dataset.load_mask`.

        Raises:
            ValueError: the labels are not of the image's size, or of a class that is not known.
        """
        info = self.image_info[image_id]
        if "labels" not in info:
            return super().load_mask(image_id)
        labels = read_labels(info["labels"], (info["height"], info["width"]))
        values = [value for value in np.unique(labels) if value]
        ids = {entry["id"]: i for i, entry in enumerate(self.class_info) if entry["source"] == info["source"]}
        own = [int(value // info["divisor"]) if info["divisor"] else 1 for value in values]
        for value, i in zip(values, own, strict=True):
            if i not in ids:
                raise ValueError(f"{info['labels']}: label {value} is of class {i}; there are {len(ids)} classes.")
        masks = stack_masks([labels == value for value in values], *labels.shape)
        return masks, np.array([ids[i] for i in own], "int32")
