"""Images annotated with the VGG Image Annotator."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import skimage.draw

from mrcnn.data.dataset import Dataset, read_json
from mrcnn.data.reading import image_size
from mrcnn.ops.masks import stack_masks


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
