"""Annotations as records: what they hold, what they cost, and that their number does not matter but for time."""

import json
import tracemalloc
from array import array

import numpy as np
import pytest
from PIL import Image
from real_data import real_data

from mrcnn.data.annotations import Annotation, RunLengths, read_annotation
from mrcnn.data.coco import CocoDataset, read_coco
from mrcnn.data.dataset import Dataset
from mrcnn.data.validate import validate
from mrcnn.evaluate import coco_metrics, ground_truth, own_results

ENTRY = {"id": 7, "image_id": "a", "category_id": 3, "segmentation": [[1, 1, 9, 1, 9, 5, 1, 5]], "bbox": [1, 1, 8, 4]}


def write(folder, name, annotations, images=2):
    """A set whose images and annotations are numbered from 0; images are 20 x 30."""
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / f"{name}2017").mkdir()
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 20, "width": 30} for i in range(images)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 0, "name": "dog"}],
        "annotations": annotations,
    }
    (folder / "annotations" / f"instances_{name}2017.json").write_text(json.dumps(content))
    for i in range(images):
        Image.new("RGB", (30, 20)).save(folder / f"{name}2017" / f"{i}.png")


def load(folder, *names):
    dataset = CocoDataset()
    for name in names:
        dataset.load_coco(folder, name)
    dataset.prepare()
    return dataset


def test_record():
    record = read_annotation({**ENTRY, "area": 32, "iscrowd": 1, "keypoints": [1, 2, 2, 0, 0, 0], "note": "own"})
    assert (record.id, record.image_id, record.category_id, record.crowd, record.area) == (7, "a", 3, True, 32.0)
    assert record.segmentation == (array("d", ENTRY["segmentation"][0]),) and record.box == array("d", [1, 1, 8, 4])
    mask = record.mask(20, 30)
    assert mask.shape == (20, 30) and mask[1:5, 1:9].all() and mask.sum() == 32
    # For code that reads COCO's dicts; other fields are not kept.
    expected = {**ENTRY, "area": 32, "iscrowd": 1, "keypoints": [1, 2, 2, 0, 0, 0], "num_keypoints": 1}
    assert dict(record) == expected and len(record) == 9 and "note" not in record
    bare = read_annotation({**ENTRY, "bbox": None})
    assert "bbox" not in bare and bare.get("area") is None and not bare["iscrowd"]
    with pytest.raises(KeyError):
        bare["bbox"]


@pytest.mark.parametrize("counts", [[21, 4, 575], "e04o1", b"e04o1"])
def test_run_lengths(counts):
    record = read_annotation({**ENTRY, "segmentation": {"size": [20, 30], "counts": counts}})
    assert isinstance(record.segmentation, RunLengths) and record.segmentation.size == (20, 30)
    mask = record.mask(20, 30)
    assert mask.sum() == (4 if isinstance(counts, list) else mask.sum()) and record.has_mask()
    assert json.loads(json.dumps(record["segmentation"]))["size"] == [20, 30]
    with pytest.raises(ValueError, match="The mask of annotation 7 is 20 x 30, but its image 30 x 20."):
        record.mask(30, 20)


@pytest.mark.parametrize(
    "change, field",
    [
        ({"segmentation": [1, 1, 9, 1, 9, 5]}, "segmentation"),
        ({"segmentation": [["1", 1, 9, 1, 9, 5]]}, "segmentation"),
        ({"segmentation": {"size": [20, 30]}}, "segmentation"),
        ({"segmentation": {"size": [20, 30], "counts": [1, -2]}}, "segmentation"),
        ({"segmentation": "none"}, "segmentation"),
        ({"bbox": [1, 2, 3]}, "bbox"),
        ({"bbox": "1 2 3 4"}, "bbox"),
        ({"keypoints": [None, 1, 2]}, "keypoints"),
        ({"area": "large"}, "area"),
    ],
)
def test_what_cannot_be_read_is_a_problem_and_the_rest_goes_on(tmp_path, change, field):
    with pytest.raises(ValueError, match=f"^annotation 7: its {field} is not as COCO has it$"):
        read_annotation({**ENTRY, **change})
    write(tmp_path, "val", [{**ENTRY, "image_id": 0, **change}, {**ENTRY, "id": 8, "image_id": 0}])
    dataset = load(tmp_path, "val")
    assert dataset.load_mask(0)[1].tolist() == [2]
    (problem,) = validate(dataset, verbose=0)
    assert problem.what == "annotation that cannot be read" and f"annotation 7: its {field}" in problem.details
    assert problem.path.endswith("instances_val2017.json")


def test_what_belongs_nowhere_is_a_problem(tmp_path):
    places = [{"image_id": 0}, {"image_id": "0"}, {"image_id": 5}, {"image_id": 1, "category_id": 9}]
    write(tmp_path, "val", [{**ENTRY, "id": i, **place} for i, place in enumerate(places)])
    dataset = load(tmp_path, "val")
    assert [len(info["annotations"]) for info in dataset.image_info] == [1, 0]
    found = [(problem.what, problem.details) for problem in validate(dataset, verbose=0)]
    assert found == [
        ("image not in the file", "annotation 1"),
        ("image not in the file", "annotation 2"),
        ("class not in the file", "annotation 3"),
    ]


def test_a_byte_order_mark(tmp_path):
    write(tmp_path, "val", [{**ENTRY, "image_id": 0}])
    path = tmp_path / "annotations" / "instances_val2017.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_coco(path)["annotations"]) == 1


def test_two_sets_that_count_from_0(tmp_path):
    """Each keeps its own masks, and perfect detections score 1; ids of annotations need not differ between files."""
    left, right = [[0, 0, 9, 0, 9, 9, 0, 9]], [[20, 5, 29, 5, 29, 15, 20, 15]]
    for name, shape in (("train", left), ("val", right)):
        entries = [{"id": i, "image_id": i, "category_id": 3 * i, "segmentation": shape} for i in range(2)]
        write(tmp_path, name, entries)
    dataset = load(tmp_path, "train", "val")
    found = validate(dataset, verbose=0, quick=True)
    assert [(p.what, p.details) for p in found] == [("image id used twice", f"coco.{i}") for i in range(2)]
    results = []
    for i in dataset.image_ids:
        masks, class_ids = dataset.load_mask(i)
        assert masks[:, :15].any() == (i < 2) and masks.shape[-1] == 1
        y, x = np.nonzero(masks[..., 0])
        box = [[y.min(), x.min(), y.max() + 1, x.max() + 1]]
        results += own_results(i, {"rois": box, "class_ids": class_ids, "scores": [0.9], "masks": masks})
    for kind in ("bbox", "segm"):  # neither areas nor boxes are in the files
        metrics = coco_metrics(ground_truth(dataset), results, [1, 2, 3, 4], kind)
        assert metrics["AP"] == pytest.approx(1) and metrics["per_class"]["dog"]["AP"] == pytest.approx(1)


def test_an_object_without_a_mask_counts_as_a_box(tmp_path):
    """COCOeval dies of an empty segmentation."""
    write(tmp_path, "val", [{**ENTRY, "image_id": 0}, {**ENTRY, "image_id": 1, "id": 8, "segmentation": []}])
    dataset = load(tmp_path, "val")
    truth = ground_truth(dataset)
    box = {"rois": [[1, 1, 5, 9]], "class_ids": [2], "scores": [0.9], "masks": dataset.load_mask(0)[0]}
    results = own_results(0, box) + own_results(1, box)
    assert coco_metrics(truth, results[:1], [1, 2], "segm")["AR100"] == pytest.approx(1)
    assert coco_metrics(truth, results[:1], [1, 2], "bbox")["AR100"] == pytest.approx(0.5)
    assert coco_metrics(truth, results, [1, 2], "bbox")["AP"] == pytest.approx(1)


class Counted(int):
    """An id that counts how often one is compared or hashed."""

    uses = 0

    def __eq__(self, other):
        Counted.uses += 1
        return int(self) == int(other)

    def __hash__(self):
        Counted.uses += 1
        return hash(int(self))


@pytest.mark.parametrize("count", [500, 2000])
def test_checks_are_linear(count):
    """Every id twice: the check looked through all annotations for each of them."""
    Counted.uses = 0
    dataset = CocoDataset()
    dataset.add_class("coco", 1, "cat")
    for i in range(count):
        dataset.add_image("coco", Counted(i // 2), None, annotations=[])
    paths = {0: "a.png"}
    entries = [Annotation(Counted(i // 2), 0, 1, (array("d", [1, 1, 9, 1, 9, 5]),)) for i in range(count)]
    objects = dataset._sort(entries, paths, {1: "cat"}, "file.json")
    dataset.prepare()
    problems = dataset.validate(quick=True, verbose=0)
    assert len(objects[0]) == count and len(problems) == count  # half are images, half annotations
    assert Counted.uses < 20 * count


def test_memory_of_real_annotations():
    """COCO's: 43 numbers on average."""
    path = real_data("coco-mini") / "annotations" / "instances_train2017.json"
    tracemalloc.start()
    content = read_coco(path)
    records = content.pop("annotations")
    del content
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(records) == 739 and all(isinstance(record, Annotation) for record in records)
    assert held / len(records) < 1000


def test_pycocotools_object_on_demand(tmp_path, monkeypatch):
    write(tmp_path, "val", [{**ENTRY, "image_id": 0, "note": "own"}])
    dataset = load(tmp_path, "val")
    assert "coco" not in vars(dataset)
    assert dataset.coco.anns[7]["note"] == "own" and dataset.coco is dataset.coco
    assert Dataset().problems == [] and CocoDataset().coco is None
