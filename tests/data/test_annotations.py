"""Annotations as records: what they hold, what they cost, and that their number does not matter but for time."""

import json
import re
import tracemalloc
from array import array

import numpy as np
import PIL.Image
import pytest
from real_data import real_data

from mrcnn.data.annotations import Annotation, RunLengths
from mrcnn.data.coco import CocoDataset
from mrcnn.data.coco_entries import check, read_annotation
from mrcnn.data.coco_file import CocoFile, Image, _read_objects, read_coco
from mrcnn.data.dataset import Dataset
from mrcnn.data.validate import validate
from mrcnn.evaluate import coco_metrics, ground_truth, own_results
from mrcnn.ops import masks

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
        PIL.Image.new("RGB", (30, 20)).save(folder / f"{name}2017" / f"{i}.png")


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


def notes_of(entry, size=(20, 30)):
    """The record, or the error, of an entry; and what is noted."""
    notes = []

    def note(what, details):
        notes.append(what)

    try:
        record = read_annotation({**ENTRY, **entry}, note)
        check(record, size, note)
    except ValueError as error:
        record = str(error)
    return record, notes


@pytest.mark.parametrize("counts", [[21, 4, 575], [21.0, 4.0, 575.0], "compressed"])
def test_run_lengths(counts):
    counts = counts if isinstance(counts, list) else masks.encode_rle(np.eye(20, 30))["counts"]
    record = read_annotation({**ENTRY, "segmentation": {"size": [20, 30], "counts": counts}})
    assert isinstance(record.segmentation, RunLengths) and record.segmentation.size == (20, 30)
    assert record.mask(20, 30).sum() == (4 if isinstance(counts, list) else 20) and record.has_mask()
    assert json.loads(json.dumps(record["segmentation"]))["size"] == [20, 30]
    with pytest.raises(ValueError, match="The mask of annotation 7 is 20 x 30, but its image 30 x 20."):
        record.mask(30, 20)


NAN, INF = float("nan"), float("inf")
SQUARE = [1, 1, 9, 1, 9, 5, 1, 5]
CODE = masks.encode_rle(np.eye(20, 30))["counts"]


@pytest.mark.parametrize(
    "segmentation",
    [
        SQUARE,
        "none",
        {},
        [["1", *SQUARE[1:]]],
        [[*SQUARE[:6], None, 5]],
        [[True, *SQUARE[1:]]],
        [SQUARE[:7]],
        [SQUARE, [NAN] * 6],
        [[INF, *SQUARE[1:]]],
        [[10**400, *SQUARE[1:]]],
        [[[1, 1], [9, 1], [9, 5]]],
        {"size": [20, 30]},
        {"size": [20, 30], "counts": [1, -2]},
        {"size": [20, 30], "counts": [21, 4, 574]},
        {"size": [20, 30], "counts": [21.5, 4, 574.5]},
        {"size": [20, 30], "counts": [2**32] * 3},
        {"size": [20, 30], "counts": []},
        {"size": [20, 30], "counts": ""},
        {"size": [20, 30], "counts": CODE[:-1]},
        {"size": [20, 30], "counts": CODE + "o"},
        {"size": [20, 30], "counts": CODE.replace(CODE[3], "é")},
        {"size": [20, 30], "counts": CODE + "\0"},
        {"size": [20, 30], "counts": "oooooooooooo0"},
        {"size": [10**6, 10**6], "counts": [10**12]},
        {"size": [20], "counts": [600]},
        {"size": ["20", "30"], "counts": [600]},
    ],
)
def test_a_mask_that_cannot_be_read_leaves_a_region_that_does_not_count(segmentation):
    record, notes = notes_of({"segmentation": segmentation})
    assert notes == ["segmentation that cannot be read"]
    assert record.crowd and not record.has_mask() and record.box.tolist() == ENTRY["bbox"]
    assert notes_of({"segmentation": segmentation, "bbox": None})[0] == "it has neither a mask nor a box"


@pytest.mark.parametrize(
    "shift, what",
    [
        ((40, 0), "mask outside the image"),
        ((0, 10**9), "mask outside the image"),
        ((-(10**6), 0), "mask outside the image"),
        ((28, 0), None),  # partly
    ],
)
def test_where_a_polygon_may_be(shift, what):
    polygon = (np.reshape(SQUARE, (-1, 2)) + np.array(shift, float)).ravel().tolist()
    record, notes = notes_of({"segmentation": [polygon], "bbox": None if what is None else ENTRY["bbox"]})
    assert notes == [what] * (what is not None) and record.has_mask() == (what is None)
    assert what is None or record.crowd


def test_some_polygons_are_good():
    record, notes = notes_of({"segmentation": [SQUARE, [2, 3, 4, 5]]})
    assert notes == ["polygon of fewer than three points"]
    assert record.segmentation == (array("d", SQUARE),) and not record.crowd


@pytest.mark.parametrize("bbox", [[1, 2, 3], "1 2 3 4", [NAN, 1, 8, 4], [1, 1, None, 4], [1, 1, -8, 4], [20, 1, 8, 4]])
@pytest.mark.parametrize("area", [0, -5, NAN, "large", 1e11, [32]])
def test_a_box_or_an_area_that_cannot_be_is_that_of_the_mask(tmp_path, bbox, area):
    record, notes = notes_of({"bbox": bbox, "area": area, "id": 0})
    assert record.box is None and record.area is None
    assert record.has_mask() and len(notes) == 2
    write(tmp_path, "val", [{**ENTRY, "image_id": 1, "bbox": bbox, "area": area, "id": 0}])
    (entry,) = ground_truth(load(tmp_path, "val")).dataset["annotations"]
    assert entry["bbox"] == ENTRY["bbox"] and entry["area"] == 32


def test_keypoints_far_from_the_image_are_none(tmp_path):
    """They overflowed on their way into the network's numbers."""
    points = [1e300, 5, 2, 5, -1e300, 0, 9, 59, 1, 9, 9, 2]
    write(tmp_path, "val", [{**ENTRY, "image_id": 0, "keypoints": points}])
    dataset = load(tmp_path, "val")
    with np.errstate(all="raise"):
        assert dataset.load_keypoints(0).tolist() == [[[0, 0, 0], [0, 0, 0], [0, 0, 0], [9, 9, 2]]]
    assert [(x.what, x.details) for x in dataset.problems] == [
        ("keypoint far from the image", "annotation 7: [1e+300, 5] of 30x20"),
        ("keypoint far from the image", "annotation 7: [9, 59] of 30x20"),
    ]


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"image_id": None}, "its image_id is missing"),
        ({"image_id": [1]}, r"its image_id \[1\] is neither a whole number nor text"),
        ({"image_id": True}, "its image_id True is neither"),
        ({"category_id": {}}, r"its category_id {} is neither"),
        ({"category_id": 1.5}, "its category_id 1.5 is neither"),
        ({"iscrowd": "yes"}, "its iscrowd is 'yes', not 0 or 1"),
        ({"iscrowd": [0]}, r"its iscrowd is \[0\], not 0 or 1"),
    ],
)
def test_what_cannot_be_read_is_a_problem_and_the_rest_goes_on(tmp_path, change, reason):
    with pytest.raises(ValueError, match=f"^{reason}"):
        read_annotation({**ENTRY, **change})
    write(tmp_path, "val", [{**ENTRY, "image_id": 0, **change}, {**ENTRY, "id": 8, "image_id": 0}])
    dataset = load(tmp_path, "val")
    assert dataset.load_mask(0)[1].tolist() == [2]
    (problem,) = validate(dataset, verbose=0)
    assert problem.what == "annotation that cannot be read" and re.match(f"annotation 7: {reason}", problem.details)
    assert problem.path.endswith("instances_val2017.json")


@pytest.mark.parametrize("entry", [None, 5, "text", [1], {}])
def test_entries_of_another_kind(tmp_path, entry):
    write(tmp_path, "val", [entry, {**ENTRY, "image_id": 0}])
    dataset = load(tmp_path, "val")
    (problem,) = dataset.problems
    assert problem.what == "annotation that cannot be read" and problem.details.startswith("annotation at place 0: ")
    assert len(dataset.load_annotations(0)) == 1


def test_what_belongs_nowhere_is_a_problem(tmp_path):
    places = [{"image_id": 0}, {"image_id": "0"}, {"image_id": 5}, {"image_id": 1, "category_id": 9}]
    write(tmp_path, "val", [{**ENTRY, "id": i, **place} for i, place in enumerate(places)])
    dataset = load(tmp_path, "val")
    assert [len(info["annotations"]) for info in dataset.image_info] == [1, 0]
    found = [(problem.what, problem.details) for problem in validate(dataset, verbose=0)]
    assert found == [
        ("image not in the file", "annotation 1: image_id '0'; the file has 0"),
        ("image not in the file", "annotation 2: image_id 5"),
        ("class not in the file", "annotation 3: category_id 9"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_encodings(tmp_path, encoding):
    write(tmp_path, "val", [{**ENTRY, "image_id": 0}])
    path = tmp_path / "annotations" / "instances_val2017.json"
    path.write_text(path.read_text().replace('"cat"', '"Катя"'), encoding=encoding)
    dataset = load(tmp_path, "val")
    assert len(dataset.load_annotations(0)) == 1 and "Катя" in dataset.class_names


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
    file = CocoFile("file.json", {0: Image("a.png", 20, 30)}, {1: "cat"})
    entries = [Annotation(Counted(i // 2), 0, 1, (array("d", [1, 1, 9, 1, 9, 5]),)) for i in range(count)]
    _read_objects(file, entries, set())
    dataset.problems = file.problems
    dataset.prepare()
    problems = dataset.validate(quick=True, verbose=0)
    assert len(file.objects[0]) == count and len(problems) == count  # half are images, half annotations
    assert Counted.uses < 20 * count


def test_memory_of_real_annotations():
    """COCO's: 43 numbers on average."""
    folder = real_data("coco-mini")
    tracemalloc.start()
    objects = read_coco(folder / "annotations" / "instances_train2017.json", folder / "train2017").objects
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    count = sum(map(len, objects.values()))
    assert count == 739 and held / count < 1000


def test_pycocotools_object_on_demand(tmp_path, monkeypatch):
    write(tmp_path, "val", [{**ENTRY, "image_id": 0, "note": "own"}])
    dataset = load(tmp_path, "val")
    assert "coco" not in vars(dataset)
    assert dataset.coco.anns[7]["note"] == "own" and dataset.coco is dataset.coco
    assert Dataset().problems == [] and CocoDataset().coco is None


@pytest.mark.parametrize(
    "turn, box",
    [
        (90, (15, 5, 10, 30)),
        (0, (5, 15, 30, 10)),
        (None, (5, 15, 30, 10)),
        ("x", (5, 15, 30, 10)),
        (10**400, (5, 15, 30, 10)),
        ([9], (5, 15, 30, 10)),
    ],
)
def test_a_box_that_cvat_turned(turn, box):
    """The upright box about it; 45 degrees widen it to the sum of its sides over the root of two."""
    entry = {"image_id": 1, "category_id": 1, "bbox": [5, 15, 30, 10], "attributes": {"rotation": turn}}
    np.testing.assert_allclose(read_annotation(entry).box, box, atol=1e-9)
    entry["attributes"]["rotation"] = 45.0
    np.testing.assert_allclose(read_annotation(entry).box[2:], [40 / 2**0.5] * 2)
