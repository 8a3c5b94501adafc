"""What is wrong with a data set, before a training run finds out."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from mrcnn.data.coco_entries import check, raw_annotations, read_annotation
from mrcnn.data.problems import Problem
from mrcnn.data.reading import DarkImage
from mrcnn.ops.images import odd_values


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
        if info["path"] and not os.path.exists(path):
            problems.append(Problem("file missing", path))
        elif not quick:
            problems += [Problem(what, path, details) for what, details in _checked(dataset, i)]
    return problems


def _images_twice(image_info):
    """Ids that several images of a source have, with the last one's path."""
    keys = [(info["source"], info["id"]) for info in image_info]
    paths = {key: str(info["path"]) for key, info in zip(keys, image_info, strict=True)}
    twice = [key for key, count in Counter(keys).items() if count > 1]
    return [Problem("image id used twice", paths[key], f"{key[0]}.{key[1]}") for key in twice]


def _annotations(info):
    """What is wrong with the annotations of an image that are dicts in COCO's format."""
    size = info.get("height"), info.get("width")  # `add_image` does not ask for them
    found: list[tuple[str, str]] = []
    for entry, name in raw_annotations(info.get("annotations")):

        def note(what, details="", name=name):
            found.append((what, f"{name}: {details}"))

        try:
            check(read_annotation(entry, note), None if None in size else size, note)
        except ValueError as error:
            note("annotation that cannot be used", str(error))
    return found


def _checked(dataset, image_id):
    """As `_image`, whatever a user's own class gives."""
    found = []
    try:
        for problem in _image(dataset, image_id):
            found.append(problem)
    except Exception as error:
        found.append(("image that cannot be checked", f"{type(error).__name__}: {error}"))
    return found


def _image(dataset, image_id):
    """What is wrong with the pixels and masks of an image."""
    try:
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always", DarkImage)
            image = np.asarray(dataset.load_image(image_id))
    except Exception as error:  # whatever a user's class or a broken file raises is what we are looking for
        yield "image cannot be read", str(error)
        return
    dark = next((str(x.message) for x in given if x.category is DarkImage), None)
    if words := dark or (image.size and odd_values(image)):
        yield "image of another range of values", words
    info = dataset.image_info[image_id]
    said = info.get("height", image.shape[0]), info.get("width", image.shape[1])
    if said != image.shape[:2]:
        yield "image of another size than annotated", f"{image.shape[1]}x{image.shape[0]}, not {said[1]}x{said[0]}"
        if "annotations" in info:  # which are of that size: see `check_size`
            return
    try:
        masks, class_ids = map(np.asarray, dataset.load_mask(image_id))
    except Exception as error:
        yield "masks cannot be loaded", str(error)
        return
    yield from _masks(info, masks, class_ids, image.shape[:2], len(dataset.class_info))
    try:
        points = dataset.load_keypoints(image_id)
    except Exception as error:
        yield "keypoints cannot be loaded", str(error)
        return
    if points is not None:
        yield from _keypoints(np.asarray(points), len(class_ids), image.shape[:2])


def _masks(info, masks, class_ids, size, classes):
    if masks.shape[-1] != len(class_ids):
        yield "not one class id for each mask", f"{masks.shape[-1]} masks, {len(class_ids)} class ids"
    if masks.shape[-1] and masks.shape[:2] != size:
        yield "masks of another size than the image", f"{masks.shape[:2]}, not {size}"
    wrong = sorted({int(i) for i in class_ids if not 1 <= abs(i) < classes})
    if wrong:
        yield "class id out of range", f"{', '.join(map(str, wrong))} of {classes} classes"
    empty = np.flatnonzero(~masks.any(axis=(0, 1))) if masks.shape[-1] else np.zeros(0, int)
    if len(empty):
        yield "mask without a pixel", f"instances {', '.join(map(str, empty))}"
    if "kept" in info:  # by a `CocoDataset`, which leaves the others out
        kept = set(map(id, info["kept"]))
        for annotation in info["annotations"]:
            if annotation.has_mask() and id(annotation) not in kept:
                yield "mask without a pixel", f"annotation {annotation.id}"


def _keypoints(points, count, size):
    if points.ndim != 3 or points.shape[::2] != (count, 3):
        yield "keypoints of another shape", f"{points.shape}, not ({count}, keypoints, 3)"
        return
    x, y, known = points[..., 0], points[..., 1], points[..., 2] > 0
    outside = (x < -0.5) | (y < -0.5) | (x > size[1] - 0.5) | (y > size[0] - 0.5) | ~np.isfinite(x + y)
    if (outside & known).any():
        yield "keypoint outside the image", f"instances {', '.join(map(str, np.flatnonzero((outside & known).any(1))))}"
