"""A file in COCO's format with any field replaced: all that is done with it ends with the right result or one line."""

import json

import numpy as np
import PIL.Image
import pytest
from fuzz import DELETED, files, places, use

from mrcnn.data.coco import CocoDataset
from mrcnn.ops.masks import encode_rle

WIDTH, HEIGHT = 40, 32


def mask(x1, y1, x2, y2):
    full = np.zeros((HEIGHT, WIDTH), bool)
    full[y1:y2, x1:x2] = True
    return full


def counts(full):
    changes = np.flatnonzero(np.diff(full.ravel(order="F"))) + 1
    return np.diff([0, *changes, full.size]).tolist()


POINTS = [5, 6, 2, 9, 9, 1]
GOOD = {
    "images": [{"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT} for i in (11, 12)],
    "categories": [
        {"id": 3, "name": "cat"},
        {"id": 7, "name": "dog", "keypoints": ["head", "tail"], "skeleton": [[1, 2]]},
    ],
    "annotations": [
        {
            "id": 101,
            "image_id": 11,
            "category_id": 3,
            "segmentation": [[2, 3, 12, 3, 12, 13, 2, 13], [12, 13, 20, 13, 20, 25, 12, 25]],
            "area": 196,
            "bbox": [2, 3, 18, 22],
            "iscrowd": 0,
        },
        {
            "id": 102,
            "image_id": 12,
            "category_id": 7,
            "segmentation": {"size": [HEIGHT, WIDTH], "counts": counts(mask(3, 4, 20, 20))},
            "area": 272,
            "bbox": [3, 4, 17, 16],
            "iscrowd": 0,
            "keypoints": POINTS,
            "num_keypoints": 2,
        },
        {
            "id": 103,
            "image_id": 12,
            "category_id": 3,
            "segmentation": {"size": [HEIGHT, WIDTH], "counts": encode_rle(mask(22, 2, 38, 30))["counts"]},
            "area": 448,
            "bbox": [22, 2, 16, 28],
            "iscrowd": 1,
        },
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco")
    (folder / "annotations").mkdir()
    (folder / "val2017").mkdir()
    for i in (11, 12):
        PIL.Image.new("RGB", (WIDTH, HEIGHT), (i, i, i)).save(folder / "val2017" / f"{i}.png")
    return folder


def used(folder, text, exact=True):
    path = folder / "annotations" / "instances_val2017.json"
    path.write_text(text)

    def load():
        dataset = CocoDataset()
        dataset.load_coco(folder, "val")
        dataset.prepare()
        return dataset

    return use(load, path.name, exact)


def belongs(path):
    """Pixels of the pictures whose objects a field is of; None is all."""
    if path[0] == "categories" or len(path) == 1:
        return None
    number = GOOD["images"][path[1]]["id"] if path[0] == "images" else GOOD["annotations"][path[1]]["image_id"]
    return [number]


def may_be(path, value):
    """Whether a value is as good as the one that was there, for all that one can know."""
    if path == ("annotations",):
        return value == []
    if value is DELETED:
        return isinstance(path[-1], int) or path[-1] in ("iscrowd", "keypoints", "skeleton", "num_keypoints")
    coordinate = isinstance(path[-1], int) and path[2:3] in (("segmentation",), ("bbox",), ("keypoints",))
    plausible = coordinate and "counts" not in path and "size" not in path and value in (-1, 0, 2.5)
    null = value is None and path[-1] in ("iscrowd", "area", "bbox", "keypoints", "num_keypoints", "skeleton")
    return plausible or null or path[-1] == "name" or (path[-1] == "iscrowd" and value in (0, True))


@pytest.mark.parametrize("path", list(places(GOOD)), ids=lambda path: ".".join(map(str, path)))
def test_any_field(folder, path):
    good, none = used(folder, json.dumps(GOOD))
    assert none == [] and {pixel: len(found) for pixel, found in good.items()} == {11: 1, 12: 2}
    for value, text in files(GOOD, path):
        found, problems = used(folder, text, not may_be(path, value))
        if problems is None:  # the file is refused: for what is no entry of a list
            assert len(path) == 1 or path[0] == "categories", (value, found)
            continue
        passed = belongs(path)
        assert passed is None or all(found[pixel] == good[pixel] for pixel in good if pixel not in passed), value
        assert found == good or problems or may_be(path, value), value
