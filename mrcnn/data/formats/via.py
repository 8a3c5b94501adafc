"""The VGG Image Annotator's format (https://www.robots.ox.ac.uk/~vgg/software/via), 1.x or 2.x: one JSON file beside
the images. The class is the region attribute that most regions have; without one all are of one class."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.data.coco_file import CocoFile
from mrcnn.data.dataset import read_json
from mrcnn.data.formats.door import Door, find_image
from mrcnn.data.formats.outlines import count_classes, count_lost, one_ring
from mrcnn.data.formats.placing import Placer
from mrcnn.data.via_regions import outline, read_region
from mrcnn.ops.files import whole

ATTRIBUTE, OBJECT = "class", "object"


def recognises(folder: Path, keys: set[str]) -> bool:
    """Whether a folder is in this format; `keys` are those of its first JSON files and of their first entries."""
    return "_via_img_metadata" in keys or "regions" in keys


def read(door: Door) -> None:
    """Reads the folder of the door."""
    found = []
    for home in door.parts():
        for path in sorted([*home.glob("[!.]*.json"), *home.glob("images/[!.]*.json")]):
            found += _read_file(door, path)
    counts = Counter(name for *_, region in found for name in region.attributes if region.value(name))
    attribute = counts.most_common(1)[0][0] if counts else None
    for file, image_id, path, where, region in found:
        door.file = file
        name = region.value(attribute) if attribute else OBJECT
        # The annotator's points are drawn from centres of pixels, see `via_regions.draw`, its rectangles from edges.
        ring = np.array(outline(region.shape)) + (region.shape["name"] != "rect") / 2
        more = {key: value for key, value in region.attributes.items() if key != attribute and value != ""}
        door.add_object(image_id, name, path, where, segmentation=[ring.tolist()], attributes=more)


def _read_file(door, path):
    """The regions of a file, each with where it is."""
    try:
        content = read_json(path)
    except ValueError as error:
        door.note(path, "annotation file that cannot be used", str(error))
        return
    content = content.get("_via_img_metadata", content) if isinstance(content, dict) else {}
    for key, entry in content.items():
        if not isinstance(entry, dict) or not {"filename", "regions"} <= entry.keys():
            door.note(path, "entry without filename and regions", f"entry {key!r:.60}")
            continue
        picture = find_image(door, path, entry["filename"])
        image_id = None if picture is None else door.add_image(picture)
        regions = entry["regions"] or []
        if not isinstance(regions, (dict, list)):
            door.note(path, "regions that are no list", f"entry {key!r:.60}")
            continue
        for k, region in regions.items() if isinstance(regions, dict) else enumerate(regions):
            where = f"entry {key!r:.60}, region {k}"
            try:
                if image_id is not None:
                    yield door.file, image_id, path, where, read_region(region)
            except ValueError as error:
                door.note(path, "region that cannot be used", f"{where}: {error}")


def write(files: dict[str, CocoFile], folder: Path, placer: Placer) -> Counter[str]:
    """Writes one JSON file a part and images; what this format cannot hold, counted. Holes and pieces become one
    polygon with lines of no width between them."""
    lost: Counter[str] = Counter()
    count_classes(lost, files)
    for part, file in files.items():
        content: dict[str, Any] = {}
        for image_id, image in file.images.items():
            picture = placer.place(image, folder / part)
            regions = []
            for annotation in file.objects.get(image_id, []):
                count_lost(lost, annotation, image, attributes=True)
                lost["boxes without a mask"] += not annotation.has_mask() and not annotation.crowd
                if annotation.crowd or not annotation.has_mask():
                    continue
                x, y = (one_ring(annotation, image) - 0.5).T.tolist()
                shape = {"name": "polygon", "all_points_x": x, "all_points_y": y}
                attributes = {**(annotation.attributes or {}), ATTRIBUTE: file.classes[annotation.category_id]}
                regions.append({"shape_attributes": shape, "region_attributes": attributes})
            size = picture.stat().st_size
            entry = {"filename": picture.name, "size": size, "regions": regions, "file_attributes": {}}
            content[f"{picture.name}{size}"] = entry
        with whole(folder / part / "via_region_data.json") as new:
            new.write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    return lost
