"""GeoJSON (RFC 7946): a feature for each object, its holes kept. To be written, not to be read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.data.coco_file import CocoFile
from mrcnn.data.formats.outlines import pieces
from mrcnn.ops.files import whole
from mrcnn.ops.polygons import signed_area

# Pixels as they are: x right, y down, from the corner of the first.
PIXELS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def write_file(
    files: dict[str, CocoFile], path: Path, transform: Sequence[float] = PIXELS, tolerance: float = 0
) -> Counter[str]:
    """Writes the objects of all parts; what this format cannot hold, counted.

    Args:
        files: by parts.
        path: of the file.
        transform: a, b, c, d, e, f of an affine map from pixels: a x + b y + c and d x + e y + f, as rasterio's
            `transform[:6]`.
        tolerance: pixels by which outlines of masks may miss them; see `to_polygons`.
    """
    lost: Counter[str] = Counter()
    a, b, c, d, e, f = transform
    features: list[dict[str, Any]] = []
    for part, file in files.items():
        for image_id, image in file.images.items():
            lost["images without objects"] += not file.objects.get(image_id)
            for annotation in file.objects.get(image_id, []):
                rings = [
                    [_closed(ring @ np.array([(a, d), (b, e)]) + (c, f), outer=not k) for k, ring in enumerate(piece)]
                    for piece in pieces(annotation, image, tolerance)
                ]
                one = len(rings) == 1
                properties = {
                    "image": Path(image.path).name,
                    "page": image.page,
                    "part": part or None,
                    "id": annotation.id,
                    "class": file.classes[annotation.category_id],
                    "score": annotation.score,
                    "track_id": annotation.track_id,
                    "crowd": annotation.crowd or None,
                    "keypoints": None if annotation.keypoints is None else annotation.keypoints.tolist(),
                    "mask": annotation.has_mask(),
                    "attributes": annotation.attributes,
                }
                geometry = {
                    "type": "Polygon" if one else "MultiPolygon",
                    "coordinates": rings[0] if one else rings,
                }
                kept = {name: value for name, value in properties.items() if value is not None}
                features.append({"type": "Feature", "properties": kept, "geometry": geometry})
    with whole(path) as new:
        content = {"type": "FeatureCollection", "features": features}
        new.write_text(json.dumps(content, ensure_ascii=False), "utf-8", "backslashreplace")  # as JSON has it
    return lost


def _closed(ring, outer):
    """Points of a ring, the first once more at the end; outer ones counter-clockwise where y counts up."""
    ring = ring if (signed_area(ring) > 0) == outer else ring[::-1]
    return np.round(np.concatenate([ring, ring[:1]]), 9).tolist()
