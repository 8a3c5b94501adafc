"""A table (CSV) of objects: their boxes. To be written, not to be read."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from mrcnn.data.coco_file import CocoFile
from mrcnn.data.formats.outlines import says_more
from mrcnn.ops.files import whole

COLUMNS = "image page part id class score x y width height area crowd track_id".split()


def write_file(files: dict[str, CocoFile], path: Path) -> Counter[str]:
    """Writes the objects of all parts, boxes and areas in pixels; what this format cannot hold, counted."""
    lost: Counter[str] = Counter()
    with whole(path) as new, open(new, "w", encoding="utf-8", errors="backslashreplace", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(COLUMNS)
        for part, file in files.items():
            for image_id, image in file.images.items():
                lost["images without objects"] += not file.objects.get(image_id)
                for a in file.objects.get(image_id, []):
                    lost["masks"] += a.has_mask()
                    lost["keypoints"] += a.keypoints is not None
                    lost["attributes"] += says_more(a)
                    box = [f"{value:.10g}" for value in a.extent(image.height, image.width)]
                    area = a.area
                    if area is None and a.has_mask():
                        area = float(a.mask(image.height, image.width).sum())
                    numbers = ["" if value is None else f"{value:.10g}" for value in (a.score, area)]
                    names = Path(image.path).name, "" if image.page is None else image.page, part, a.id
                    track = "" if a.track_id is None else a.track_id
                    rest = numbers[0], *box, numbers[1], int(a.crowd), track
                    rows.writerow([*names, file.classes[a.category_id], *rest])
    return lost
