"""What is wrong with a data set, before a training run finds out."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from mrcnn.data.annotations import RunLengths, records
from mrcnn.data.problems import Problem


def validate(dataset: Any, quick: bool = False, verbose: int = 1) -> list[Problem]:
    """Look for what is wrong in a prepared `Dataset`.

    Args:
        dataset: any `Dataset`; annotations of a `CocoDataset`, or others in COCO's format, are looked at one by one.
        quick: only what can be seen without reading images and masks.
        verbose: 0 for no progress bar.

    Returns:
        list of `Problem`, those of `dataset.problems` among them.
    """
    problems = _images_twice(dataset.image_info) + dataset.problems
    for i in tqdm(range(len(dataset.image_info)), desc="Checking", unit="image", disable=quick or not verbose):
        info = dataset.image_info[i]
        path = str(info["path"])
        problems += [Problem(what, path, details) for what, details in _annotations(info)]
        if info["path"] and not Path(path).exists():
            problems.append(Problem("file missing", path))
        elif not quick:
            problems += [Problem(what, path, details) for what, details in _image(dataset, i)]
    return problems


def _images_twice(image_info):
    """Ids that several images of a source have, with the last one's path."""
    keys = [(info["source"], info["id"]) for info in image_info]
    paths = {key: str(info["path"]) for key, info in zip(keys, image_info, strict=True)}
    twice = [key for key, count in Counter(keys).items() if count > 1]
    return [Problem("image id used twice", paths[key], f"{key[0]}.{key[1]}") for key in twice]


def _annotations(info):
    """What is wrong with the annotations of an image."""
    height, width = info.get("height"), info.get("width")
    sized = height is not None and width is not None  # `add_image` does not ask for them
    for annotation in records(info.get("annotations")):
        if isinstance(annotation, str):
            yield "annotation that cannot be read", annotation
            continue
        name, shapes = f"annotation {annotation.id}", annotation.segmentation
        if not shapes:
            yield "mask empty", name
        elif not annotation.has_mask():
            yield "polygon of fewer than three points", name
        elif sized and isinstance(shapes, RunLengths) and shapes.size != (height, width):
            yield "mask of another size than the image", f"{name}: {list(shapes.size)}, not {[height, width]}"
        if annotation.box is None:
            continue
        x, y, w, h = annotation.box
        box = f"[{x:g}, {y:g}, {w:g}, {h:g}]"
        if not all(map(math.isfinite, annotation.box)):
            yield "box not finite", f"{name}: {box}"
        elif w <= 0 or h <= 0:
            yield "box without area", f"{name}: {box}"
        # Half a pixel of rounding is common.
        elif sized and (x < -0.5 or y < -0.5 or x + w > width + 0.5 or y + h > height + 0.5):
            yield "box outside the image", f"{name}: {box} in {width}x{height}"


def _image(dataset, image_id):
    """What is wrong with the pixels and masks of an image."""
    try:
        image = dataset.load_image(image_id)
    except Exception as error:  # whatever a user's class or a broken file raises is what we are looking for
        yield "image cannot be read", str(error)
        return
    info = dataset.image_info[image_id]
    said = info.get("height", image.shape[0]), info.get("width", image.shape[1])
    if said != image.shape[:2]:
        yield "image of another size than annotated", f"{image.shape[1]}x{image.shape[0]}, not {said[1]}x{said[0]}"
    try:
        masks, class_ids = dataset.load_mask(image_id)
    except Exception as error:
        yield "masks cannot be loaded", str(error)
        return
    masks, class_ids = np.asarray(masks), np.asarray(class_ids)
    if masks.shape[-1] != len(class_ids):
        yield "not one class id for each mask", f"{masks.shape[-1]} masks, {len(class_ids)} class ids"
    if masks.shape[-1] and masks.shape[:2] != image.shape[:2]:
        yield "masks of another size than the image", f"{masks.shape[:2]}, not {image.shape[:2]}"
    wrong = sorted({int(i) for i in class_ids if not 1 <= abs(i) < len(dataset.class_info)})
    if wrong:
        yield "class id out of range", f"{', '.join(map(str, wrong))} of {len(dataset.class_info)} classes"
    empty = np.flatnonzero(~masks.any(axis=(0, 1))) if masks.shape[-1] else np.zeros(0, int)
    if len(empty):
        yield "mask without a pixel", f"instances {', '.join(map(str, empty))}"
    try:
        points = dataset.load_keypoints(image_id)
    except Exception as error:
        yield "keypoints cannot be loaded", str(error)
        return
    if points is None:
        return
    points = np.asarray(points)
    if points.ndim != 3 or points.shape[::2] != (len(class_ids), 3):
        yield "keypoints of another shape", f"{points.shape}, not ({len(class_ids)}, keypoints, 3)"
        return
    x, y, known = points[..., 0], points[..., 1], points[..., 2] > 0
    outside = (x < -0.5) | (y < -0.5) | (x > image.shape[1] - 0.5) | (y > image.shape[0] - 0.5) | ~np.isfinite(x + y)
    if (outside & known).any():
        yield "keypoint outside the image", f"instances {', '.join(map(str, np.flatnonzero((outside & known).any(1))))}"
