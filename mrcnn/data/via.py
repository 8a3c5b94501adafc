"""Images annotated with the VGG Image Annotator."""

from collections.abc import Iterator, Sequence
from os.path import normpath
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.data.annotations import Annotation
from mrcnn.data.dataset import Dataset, read_json
from mrcnn.data.problems import Problem
from mrcnn.data.reading import path_within
from mrcnn.data.via_regions import Region, draw, outline, read_region


class ViaDataset(Dataset):
    """Images annotated with the VGG Image Annotator (https://www.robots.ox.ac.uk/~vgg/software/via), 1.x or 2.x.

    An image's regions are in its `image_info`: "polygons" as the annotator has them, from which masks are drawn, and
    "annotations", records with their outlines.
    """

    def load_via(
        self,
        folder: Path | str,
        annotations: str = "via_region_data.json",
        source: str = "via",
        attribute: str | None = None,
        classes: Sequence[str] | None = ("object",),
        outside: bool = False,
    ) -> None:
        """Add the images of a folder. Entries and regions that cannot be used are left out and among `problems`.

        Args:
            folder: where the images are.
            annotations: the annotator's JSON, exported or a whole project, in that folder.
            source: name of the collection.
            attribute: the region attribute whose value is the class; None makes all regions of the only class.
            classes: their names, in the order of their ids; with an attribute, None takes all values there are, sorted.
            outside: read images, too, that the file places outside the folder.

        Raises:
            FileNotFoundError: no such file.
            OSError: no image can be read.
            ValueError: not the annotator's JSON, `classes` are no names, or no region is of one of them.
        """
        file = Path(folder) / annotations
        found = self._read(file, folder, outside)
        regions = [region for _, own in found.values() for region in own]
        if attribute and classes is None:
            classes = sorted({name for region in regions if (name := region.value(attribute))})
            if not classes:
                raise ValueError(f"{file}: no region has an attribute {attribute!r}.")
        if classes is None or (not attribute and len(classes) != 1):
            raise ValueError("Without an attribute to tell them apart there is one class; name it in classes.")
        self.add_classes(source, classes)
        if attribute and regions and not any(region.value(attribute) in classes for region in regions):
            values = sorted({str(region.value(attribute)) for region in regions})
            raise ValueError(
                f"{file}: no region has {attribute} = {' or '.join(classes)}; they have {', '.join(values)}."
            )
        ids = {entry["name"]: i for i, entry in enumerate(self.class_info) if entry["source"] == source}
        images = []
        for path, (name, own) in found.items():
            names = [region.value(attribute) if attribute else classes[0] for region in own]
            wrong = [value for value in names if value not in classes]
            self.problems += [Problem("class not among the classes", path, f"{attribute} = {x!r:.40}") for x in wrong]
            kept = [(region, value) for region, value in zip(own, names, strict=True) if value in classes]
            images.append(
                {
                    "image_id": name,
                    "path": path,
                    "polygons": [region.shape for region, _ in kept],  # the original's samples call it so
                    "names": [value for _, value in kept],
                    "annotations": [
                        Annotation(k, name, value, (outline(region.shape),), class_id=ids[value])
                        for k, (region, value) in enumerate(kept, 1)
                    ],
                }
            )
        self.add_files(source, images)

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Masks [H, W, N] bool and class ids [N] int32; see `Dataset.load_mask`."""
        info = self.image_info[image_id]
        if "polygons" not in info:
            return super().load_mask(image_id)
        size = info["height"], info["width"]
        masks = np.zeros((len(info["polygons"]), *size), bool)
        for mask, shape in zip(masks, info["polygons"], strict=True):
            mask[draw(shape, size)] = True
        names = {entry["name"]: i for i, entry in enumerate(self.class_info) if entry["source"] == info["source"]}
        return np.moveaxis(masks, 0, -1), np.array([names[name] for name in info["names"]], "int32")

    def _read(self, file, folder, outside):
        """{path: (file name, regions)} of the images in the annotator's JSON; what is wrong goes into `problems`."""
        found: dict[str, tuple[str, list[Region]]] = {}
        for key, entry in _entries(file):
            where = f"entry {key!r:.60}"
            if not isinstance(entry, dict) or not {"filename", "regions"} <= entry.keys():
                self.problems.append(Problem("entry without filename and regions", str(file), where))
                continue
            try:
                path = normpath(path_within(folder, entry["filename"], outside))
            except ValueError as error:
                self.problems.append(Problem("file name that cannot be used", str(file), f"{where}: {error}"))
                continue
            regions = self._regions(entry["regions"], path)
            if regions is None:
                continue
            if path in found:
                self.problems.append(Problem("two entries for one file", str(file), where))
                regions = [region for region in regions if region not in found[path][1]]
            found.setdefault(path, (entry["filename"], []))[1].extend(regions)
        if not found:
            raise ValueError(f"{file}: no entry can be used; {self.problems[-1].details}.")
        return found

    def _regions(self, entries, path):
        """Regions of an image: a dict in 1.x, a list in 2.x; None if it is neither."""
        entries = [] if entries is None else entries
        if not isinstance(entries, (dict, list)):
            self.problems.append(Problem("regions that are no list", path))
            return None
        regions = []
        for key, entry in entries.items() if isinstance(entries, dict) else enumerate(entries):
            try:
                regions.append(read_region(entry))
            except ValueError as error:
                self.problems.append(Problem("region that cannot be used", path, f"region {key}: {error}"))
        return regions


def _entries(path: Path) -> Iterator[tuple[Any, Any]]:
    """Keys and entries of images in the annotator's JSON.

    Raises:
        FileNotFoundError, ValueError: see above.
    """
    content = read_json(path)
    if isinstance(content, dict):
        content = content.get("_via_img_metadata", content)
    entries = list(content.items()) if isinstance(content, dict) else []
    if not any(isinstance(entry, dict) and "filename" in entry for _, entry in entries):
        raise ValueError(f"{path} is not of the VGG Image Annotator 1 or 2: entries have no filename and regions.")
    yield from entries
