"""What `validate` finds in sets with one mistake each, and in real ones."""

import json

import numpy as np
import pytest
from PIL import Image
from real_data import real_data

from mrcnn.data.coco import CocoDataset
from mrcnn.data.dataset import Dataset
from mrcnn.data.problems import Problem, format_problems
from mrcnn.data.validate import validate

GOOD = {"id": 1, "image_id": 1, "category_id": 3, "segmentation": [[1, 1, 9, 1, 9, 5, 1, 5]], "bbox": [1, 1, 8, 4]}


def coco(folder, *annotations, images=1):
    (folder / "annotations").mkdir(parents=True)
    (folder / "val2017").mkdir()
    content = {
        "images": [{"id": 1, "file_name": "a b.png", "height": 20, "width": 30}] * images,
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": list(annotations),
    }
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    Image.new("RGB", (30, 20)).save(folder / "val2017" / "a b.png")
    dataset = CocoDataset()
    dataset.load_coco(folder, "val")
    dataset.prepare()
    return dataset


def found(dataset, **options):
    return [problem.what for problem in validate(dataset, verbose=0, **options)]


def test_nothing_wrong(tmp_path, capsys):
    dataset = coco(tmp_path, GOOD)
    assert dataset.validate() == []
    assert "1 images, nothing wrong." in capsys.readouterr().out


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"segmentation": []}, []),  # a set of boxes alone
        ({"segmentation": [[1, 1, 5, 5]]}, ["polygon of fewer than three points"]),
        ({"segmentation": {"size": [9, 9], "counts": [0, 81]}}, ["mask of another size than the image"]),
        ({"bbox": [1, 1, 0, 4]}, ["box without area"]),
        ({"bbox": [1, 1, float("nan"), 4]}, ["bbox that cannot be read"]),
        ({"bbox": [15, 1, 8, 4]}, ["box beside its mask"]),
        ({"bbox": [25, 1, 8, 4], "segmentation": []}, ["box outside the image"]),
        ({"bbox": [3, 1, 28, 4], "segmentation": [[3, 1, 30, 1, 30, 5, 3, 5]]}, ["box outside the image"]),
        ({"bbox": [22.4, 1, 8, 4], "segmentation": []}, []),  # rounding
        ({"area": 1000}, ["area that cannot be"]),
        ({"area": -1}, ["area that cannot be"]),
        ({"area": 32, "num_keypoints": 1}, ["num_keypoints that is wrong"]),
    ],
)
def test_annotations(tmp_path, change, expected):
    assert found(coco(tmp_path, {**GOOD, **change})) == expected


def test_ids_used_twice(tmp_path):
    dataset = coco(tmp_path, GOOD, GOOD)
    assert found(dataset) == ["annotation id used twice"]
    dataset.image_info *= 2
    assert found(dataset)[0] == "image id used twice"


def test_files(tmp_path):
    dataset = coco(tmp_path, GOOD)
    path = tmp_path / "val2017" / "a b.png"
    Image.new("RGB", (20, 30)).save(path)
    assert found(dataset) == ["image of another size than annotated"]
    assert found(dataset, quick=True) == []
    path.write_bytes(path.read_bytes()[:40])
    assert found(dataset) == ["image cannot be read"]
    path.unlink()
    assert found(dataset) == found(dataset, quick=True) == ["file missing"]
    (problem,) = validate(dataset, verbose=0)
    assert problem.path == str(path)


class Own(Dataset):
    """One image in memory with the masks and class ids that a test gives it."""

    def load_image(self, image_id):
        return np.zeros((20, 30, 3), "uint8")

    def load_mask(self, image_id):
        return self.given

    def load_keypoints(self, image_id):
        return self.points

    points = None


@pytest.mark.parametrize(
    "masks, class_ids, expected",
    [
        (np.ones((20, 30, 2)), [1, -1], []),
        (np.ones((20, 30, 2)), [1], ["not one class id for each mask"]),
        (np.ones((10, 30, 1)), [1], ["masks of another size than the image"]),
        (np.ones((20, 30, 2)), [1, 2], ["class id out of range"]),
        (np.ones((20, 30, 1)), [0], ["class id out of range"]),
        (np.zeros((20, 30, 1)), [1], ["mask without a pixel"]),
        (np.zeros((20, 30, 0)), [], []),
    ],
)
def test_masks(masks, class_ids, expected):
    dataset = Own()
    dataset.add_class("own", 1, "cat")
    dataset.add_image("own", 0, None)
    dataset.prepare()
    dataset.given = masks, np.array(class_ids, "int32")
    assert found(dataset) == expected


def test_annotations_of_an_image_whose_size_is_not_given():
    dataset = Own()
    dataset.add_class("own", 1, "cat")
    outside = {**GOOD, "bbox": [99, 1, 8, 4]}
    other = {**GOOD, "id": 2, "segmentation": {"size": [9, 9], "counts": [0, 81]}, "bbox": [1, 1, 0, 4]}
    dataset.add_image("own", 0, None, annotations=[outside, other])
    dataset.prepare()
    assert found(dataset, quick=True) == ["box beside its mask", "box without area"]


@pytest.mark.parametrize(
    "points, expected",
    [
        (np.ones((1, 5, 3)), []),
        ([[[29, 19, 2], [99, 99, 0]]], []),
        ([[[30, 19, 2]]], ["keypoint outside the image"]),
        ([[[float("nan"), 19, 1]]], ["keypoint outside the image"]),
        (np.ones((2, 5, 3)), ["keypoints of another shape"]),
        (np.ones((1, 15)), ["keypoints of another shape"]),
    ],
)
def test_keypoints(points, expected):
    dataset = Own()
    dataset.add_class("own", 1, "cat")
    dataset.add_image("own", 0, None)
    dataset.prepare()
    dataset.given, dataset.points = (np.ones((20, 30, 1)), np.array([1])), points
    assert found(dataset) == expected


@pytest.mark.parametrize("kind", ["12 bits of 16", "0..1 of a class of one's own"])
def test_values_of_another_range(tmp_path, monkeypatch, kind):
    dataset = coco(tmp_path, GOOD)
    assert found(dataset) == []
    if kind.startswith("12"):
        Image.fromarray(np.full((20, 30), 4000, "uint16")).save(tmp_path / "val2017" / "a b.png")
    else:
        monkeypatch.setattr(dataset, "load_image", lambda i: np.linspace(0, 1, 1800).reshape(20, 30, 3))
    assert found(dataset) == ["image of another range of values"]


def test_table(tmp_path):
    dataset = coco(tmp_path, *[{**GOOD, "id": i, "segmentation": [1, 2]} for i in (1, 2)], {**GOOD, "image_id": 5})
    path = tmp_path / "annotations" / "instances_val2017.json"
    problems = [*validate(dataset, verbose=0), Problem("own", "\ud83d.png", "two\nlines")]
    lines = format_problems(problems, 1).splitlines()
    assert lines[0] == f"segmentation that cannot be read: 2. {problems[0].remedy}" and problems[0].remedy
    assert lines[1].startswith(f"    {path}  annotation 1: ") and lines[2].startswith(f"    {path}  annotation 2: ")
    assert lines[-3:] == ["own: 1.", "    \\ud83d.png  two lines", "1 images, 4 problems."]
    first = format_problems(problems, 1, each=1).splitlines()
    assert first[:3] == [*lines[:2], "    and 1 more"] and first[-1] == lines[-1] and len(first) == 8


def test_real_sets():
    for keypoints in (False, True):
        dataset = CocoDataset()
        dataset.load_coco(real_data("coco-mini"), "val", keypoints=keypoints)
        dataset.prepare()
        assert found(dataset) == []
