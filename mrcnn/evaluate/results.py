"""Detections in COCO's results format, kept in a file as they come."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.data.dataset import Dataset
from mrcnn.ops.files import named, whole
from mrcnn.ops.masks import encode_rle

# Of the lines that `Detections` keeps: a change of theirs makes older ones worthless.
FORMAT = 3


def to_coco_results(dataset: Dataset, image_id: int, result: dict[str, Any]) -> list[dict[str, Any]]:
    """What `detect()` found in one image, in COCO's results format.

    Args:
        dataset: a prepared `Dataset`.
        image_id: the image's index in it.
        result: dict with rois [n, 4] (y1, x1, y2, x2) in pixels, class_ids [n], scores [n], and where there are any
            masks ([h, w, n], or a list of n run lengths) and keypoints [n, J, 3] of (x, y, score).

    Returns:
        n dicts with image_id and category_id as their source has them, bbox [x, y, width, height], score, and
        segmentation (compressed run lengths) and keypoints [x1, y1, score1, x2, ...].
    """
    return [with_source_ids(dataset, entry) for entry in own_results(image_id, result)]


def own_results(image_id: int, result: dict[str, Any]) -> list[dict[str, Any]]:
    """As `to_coco_results`, with the ids of `ground_truth`: 1 + the image's index, and our class ids."""
    entries = [
        {
            "image_id": int(image_id) + 1,
            "category_id": int(class_id),
            "bbox": [float(x1), float(y1), float(x2) - float(x1), float(y2) - float(y1)],
            "score": float(score),
        }
        for (y1, x1, y2, x2), class_id, score in zip(result["rois"], result["class_ids"], result["scores"], strict=True)
    ]
    if "masks" in result:
        masks = result["masks"]
        codes = masks if isinstance(masks, list) else map(encode_rle, np.moveaxis(masks, -1, 0))
        for entry, code in zip(entries, codes, strict=True):
            entry["segmentation"] = code
    if "keypoints" in result:
        for entry, points in zip(entries, result["keypoints"], strict=True):
            if np.any(points):  # else it is of a class without keypoints
                entry["keypoints"] = np.ravel(points).astype(float).tolist()
    return entries


def with_source_ids(dataset: Dataset, entry: dict[str, Any]) -> dict[str, Any]:
    """One of `own_results` with the image's and the class's ids in their source."""
    image = dataset.image_info[entry["image_id"] - 1]
    return {**entry, "image_id": image["id"], "category_id": dataset.class_info[entry["category_id"]]["id"]}


class Detections:
    """Results by image (those of `own_results`), kept in a file as they come: a line for the model, then one an image;
    and of a model that gives pixels classes, `pixels`, how many of each class were found to be of each.

    The file that `finish` writes has the sources' ids.
    """

    def __init__(self, path: Path | str | None, model: Any, dataset: Dataset) -> None:
        self.path, self.dataset = Path(path) if path is not None else None, dataset
        self.results: dict[int, list[dict[str, Any]]] = {}
        self.pixels: dict[int, list[list[int]] | None] = {}
        if self.path is None:
            return
        check_results(self.path)
        self.part = self.path.with_name(self.path.name + ".part")
        images = [(info["source"], info["id"], info["path"]) for info in dataset.image_info]
        head = json.dumps(digest_of(model, [FORMAT, images]))
        lines = self.part.read_text().splitlines() if self.part.exists() else []
        if lines[:1] == [head]:
            for line in lines[1:]:
                try:
                    image_id, results, pixels = json.loads(line)
                except ValueError:
                    break  # the line that was being written
                self.results[image_id], self.pixels[image_id] = results, pixels
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Written anew, so that no half line is in the way.
        with whole(self.part) as new:
            known = (json.dumps([i, results, self.pixels[i]]) for i, results in self.results.items())
            new.write_text("\n".join([head, *known]) + "\n")

    def add(self, image_id: int, results: list[dict[str, Any]], pixels: list[list[int]] | None = None) -> None:
        self.results[image_id], self.pixels[image_id] = results, pixels
        if self.path is not None:
            with named(self.part), open(self.part, "a") as file:
                file.write(json.dumps([image_id, results, pixels]) + "\n")

    def finish(self, image_ids: list[int]) -> list[dict[str, Any]]:
        """All results, in the order of the images; the file is written whole and the part removed."""
        results = [result for i in image_ids for result in self.results[i]]
        if self.path is not None:
            entries = [with_source_ids(self.dataset, result) for result in results]
            with whole(self.path) as new:
                new.write_text(json.dumps(entries, default=int))  # ids may be NumPy integers
            self.part.unlink()
        return results


def check_results(path: Path | str) -> None:
    """Raise ValueError where something is that does not look like results, such as annotations: it is not replaced."""
    if Path(path).is_file():
        with open(path, "rb") as file:
            beginning = file.read(80).strip()
        if beginning and not beginning.startswith(b"["):
            raise ValueError(f"{path} is there already and holds no results; give the output another name.")


def digest_of(model: Any, images: Any) -> str:
    """What tells results of one model on some images from others: a digest of weights, settings and what JSON says of
    the images."""
    settings = json.dumps([model.config.to_dict(), images], default=lambda x: getattr(x, "__name__", str(x)))
    digest = hashlib.sha1(settings.encode())
    if hasattr(model, "fingerprint"):  # it was exported
        digest.update(model.fingerprint())
    else:
        for weight in model.keras_model.weights:
            digest.update(np.ascontiguousarray(weight.numpy()).data)
    return digest.hexdigest()
