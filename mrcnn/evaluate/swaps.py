"""How often left and right keypoints are mixed up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as rle
from pycocotools.coco import COCO

from mrcnn.ops import keypoints


def count_swaps(
    coco: COCO,
    results: Iterable[dict[str, Any]],
    image_ids: Iterable[int | str],
    pairs: Sequence[Sequence[int]],
    sigmas: Sequence[float] | np.ndarray,
) -> dict[str, float]:
    """How often left and right keypoints are mixed up.

    An instance is matched with the surest detection of its class whose box has an IoU of at least 0.5 with its own. The
    two are mixed up if the detection fits it better, by COCO's OKS, with left and right exchanged.

    Args:
        coco, results, image_ids, sigmas: as of `coco_metrics`.
        pairs: (left, right) indices of keypoints that a mirror exchanges.

    Returns:
        {"swapped": share of the matched instances, nan if there is none, "matched": their number}; of instances with
        both points of a pair.
    """
    found: dict[tuple, list[dict[str, Any]]] = {}
    swapped = []
    for entry in sorted((r for r in results if "keypoints" in r), key=lambda r: -r["score"]):
        found.setdefault((entry["image_id"], entry["category_id"]), []).append(entry)
    for annotation in coco.loadAnns(coco.getAnnIds(imgIds=list(image_ids), iscrowd=False)):
        points = np.reshape(annotation.get("keypoints") or np.zeros((len(sigmas), 3)), (-1, 3))
        if not any(points[left, 2] > 0 and points[right, 2] > 0 for left, right in pairs):
            continue
        for entry in found.get((annotation["image_id"], annotation["category_id"]), []):
            if rle.iou([entry["bbox"]], [annotation["bbox"]], [0])[0, 0] >= 0.5:
                guess = np.reshape(entry["keypoints"], (-1, 3))
                plain, mirrored = (
                    keypoints.similarity(points, x, annotation["area"], sigmas)
                    for x in (guess, keypoints.swap(guess, pairs))
                )
                swapped.append(mirrored > plain)
                break
    return {"swapped": float(np.mean(swapped)) if swapped else float("nan"), "matched": len(swapped)}
