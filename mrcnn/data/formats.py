"""Ready data sets beside COCO's format: the VGG Image Annotator's, folders of masks, images of labels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import skimage.draw
from PIL import Image

from mrcnn.data.dataset import Dataset, read_json
from mrcnn.ops.masks import stack_masks

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


class ViaDataset(Dataset):
    """Images annotated with the VGG Image Annotator (https://www.robots.ox.ac.uk/~vgg/software/via), 1.x or 2.x."""

    def load_via(
        self,
        folder: Path | str,
        annotations: str = "via_region_data.json",
        source: str = "via",
        attribute: str | None = None,
        classes: Sequence[str] | None = ("object",),
    ) -> None:
        """Add the images of a folder.

        Args:
            folder: where the images are.
            annotations: the annotator's JSON, exported or a whole project, in that folder.
            source: name of the collection.
            attribute: the region attribute whose value is the class; None makes all regions of the only class.
            classes: their names, in the order of their ids; with an attribute, None takes all values there are, sorted.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not the annotator's JSON, or a region of an unknown class.
        """
        path = Path(folder) / annotations
        entries = _read_via(path)
        regions = {entry["filename"]: _regions(entry) for entry in entries}
        if attribute and classes is None:
            classes = sorted({_value(r, attribute) for found in regions.values() for r in found} - {None})
        if classes is None or (not attribute and len(classes) != 1):
            raise ValueError("Without an attribute to tell them apart there is one class; name it in classes.")
        ids = {name: i for i, name in enumerate(classes, 1)}
        for name, i in ids.items():
            self.add_class(source, i, name)
        for file_name, found in regions.items():
            names = [_value(r, attribute) if attribute else classes[0] for r in found]
            for name in names:
                if name not in ids:
                    raise ValueError(
                        f"{path}: a region of {file_name} has {attribute} = {name!r}; classes are {', '.join(ids)}."
                    )
            height, width = image_size(Path(folder) / file_name)
            self.add_image(
                source,
                image_id=file_name,
                path=str(Path(folder) / file_name),
                height=height,
                width=width,
                polygons=[r["shape_attributes"] for r in found],  # the original's samples call it so
                names=names,
            )

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Masks [H, W, N] bool and class ids [N] int32; see `Dataset.load_mask`.

        Raises:
            ValueError: a shape without an area, such as a point.
        """
        info = self.image_info[image_id]
        if "polygons" not in info:
            return super().load_mask(image_id)
        size = info["height"], info["width"]
        masks = []
        for shape in info["polygons"]:
            masks.append(np.zeros(size, bool))
            try:
                masks[-1][_draw(shape, size)] = True
            except KeyError as error:
                raise ValueError(f"{info['path']}: a {shape.get('name')} without {error}.") from None
        names = {entry["name"]: i for i, entry in enumerate(self.class_info) if entry["source"] == info["source"]}
        return stack_masks(masks, *size), np.array([names[name] for name in info["names"]], "int32")


def _read_via(path):
    """Entries of images in the annotator's JSON."""
    content = read_json(path)
    if isinstance(content, dict):
        content = content.get("_via_img_metadata", content)
    entries = list(content.values()) if isinstance(content, dict) else None
    if not entries or not all(isinstance(entry, dict) and {"filename", "regions"} <= entry.keys() for entry in entries):
        raise ValueError(f"{path} is not the VGG Image Annotator's: entries have no filename and regions.")
    return entries


def _regions(entry):
    """Regions of an image: a dict in 1.x, a list in 2.x."""
    return list(entry["regions"].values() if isinstance(entry["regions"], dict) else entry["regions"])


def _value(region, attribute):
    """The class of a region: text, or of a checkbox the first name that is ticked."""
    value = region.get("region_attributes", {}).get(attribute)
    if isinstance(value, dict):
        return next((name for name, ticked in value.items() if ticked), None)
    return value


def _draw(shape, size):
    """Rows and columns of the pixels of a region inside an image of `size`."""
    kind = shape.get("name")
    if kind in ("polygon", "polyline"):
        return skimage.draw.polygon(shape["all_points_y"], shape["all_points_x"], size)
    if kind == "rect":
        start = shape["y"], shape["x"]
        rows, columns = skimage.draw.rectangle(start, extent=(shape["height"], shape["width"]), shape=size)
        return rows.astype(int), columns.astype(int)
    if kind == "circle":
        return skimage.draw.disk((shape["cy"], shape["cx"]), shape["r"], shape=size)
    if kind == "ellipse":
        # The annotator turns clockwise, scikit-image counter-clockwise.
        turn = -shape.get("theta", 0)
        return skimage.draw.ellipse(shape["cy"], shape["cx"], shape["ry"], shape["rx"], size, rotation=turn)
    raise KeyError("an area")


class MaskFolderDataset(Dataset):
    """Images with one mask file per instance, of any value above 0 where the instance is.

    Two layouts are known: `NAME/images/NAME.png` with `NAME/masks/*.png` (the Data Science Bowl's), and
    `images/NAME.png` with `masks/NAME/*.png`. Where the masks lie in folders one deeper, these are named after the
    classes.
    """

    def load_mask_folder(self, folder: Path | str, source: str = "masks", classes: Sequence[str] = ("object",)) -> None:
        """Add the images of a folder.

        Args:
            folder: in one of the layouts.
            source: name of the collection.
            classes: their names, in the order of their ids; the first is that of masks that lie in no class's folder.

        Raises:
            FileNotFoundError: no such folder, or no image in it.
        """
        folder = Path(folder)
        for i, name in enumerate(classes, 1):
            self.add_class(source, i, name)
        flat = _images(folder / "images")
        found = [(path, folder / "masks" / path.stem) for path in flat]
        if not flat and folder.is_dir():
            found = [(path, sub / "masks") for sub in sorted(folder.iterdir()) for path in _images(sub / "images")[:1]]
        if not found:
            raise FileNotFoundError(f"There are no images in {folder}/images, nor in {folder}/*/images.")
        for path, masks in found:
            height, width = image_size(path)
            self.add_image(source, path.stem, str(path), height=height, width=width, masks=masks, classes=classes)

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Masks [H, W, N] bool and class ids [N] int32; see `Dataset.load_mask`.

        Raises:
            ValueError: a mask is not of the image's size, or lies in a folder that is no class.
        """
        info = self.image_info[image_id]
        if "masks" not in info:
            return super().load_mask(image_id)
        names = {entry["name"]: i for i, entry in enumerate(self.class_info) if entry["source"] == info["source"]}
        paths = _images(info["masks"])
        class_ids = [names[info["classes"][0]]] * len(paths)
        for sub in sorted(x for x in info["masks"].glob("*") if x.is_dir()):
            if sub.name not in names:
                raise ValueError(f"{sub} is not named after a class; they are {', '.join(names)}.")
            inner = _images(sub)
            paths += inner
            class_ids += [names[sub.name]] * len(inner)
        size = info["height"], info["width"]
        return stack_masks([_read_labels(path, size) > 0 for path in paths], *size), np.array(class_ids, "int32")


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
        found = _images(folder / "images")
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
        labels = _read_labels(info["labels"], (info["height"], info["width"]))
        values = [value for value in np.unique(labels) if value]
        ids = {entry["id"]: i for i, entry in enumerate(self.class_info) if entry["source"] == info["source"]}
        own = [int(value // info["divisor"]) if info["divisor"] else 1 for value in values]
        for value, i in zip(values, own, strict=True):
            if i not in ids:
                raise ValueError(f"{info['labels']}: label {value} is of class {i}; there are {len(ids)} classes.")
        masks = stack_masks([labels == value for value in values], *labels.shape)
        return masks, np.array([ids[i] for i in own], "int32")


def _images(folder):
    return sorted(x for x in folder.glob("*") if x.suffix.lower() in IMAGE_ENDINGS)


def _read_labels(path, size):
    """Values [H, W] of a gray, 16-bit or palette image, of a colour image those of its first channel."""
    try:
        with Image.open(path) as file:
            values = np.asarray(file)
    except Exception as error:  # a broken file makes Pillow raise almost anything
        raise OSError(f"The mask {path} cannot be read: {error}") from error
    values = values if values.ndim == 2 else values[..., 0]
    if values.shape != tuple(size):
        raise ValueError(f"The mask {path} is {values.shape[1]}x{values.shape[0]}, its image {size[1]}x{size[0]}.")
    return values


def image_size(path: Path | str) -> tuple[int, int]:
    """(height, width) of an image file as `read_image` gives it, from its header.

    Raises:
        FileNotFoundError: no such file.
        OSError: not an image.
    """
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(0x0112, 1) >= 5  # EXIF orientation: lying on its side
            return image.size if turned else image.size[::-1]
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no image file {path}.") from None
    except Exception as error:
        raise OSError(f"The image file {path} cannot be read: {error}") from error
