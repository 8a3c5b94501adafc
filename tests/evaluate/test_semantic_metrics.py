"""IoU of classes of pixels by hand, and of a whole evaluation."""

import json

import numpy as np
import pytest
from squares import Model, Squares, found

from mrcnn.data.coco import CocoDataset
from mrcnn.data.regions import semantic_truth
from mrcnn.evaluate import confusion, evaluate, format_classes, format_table, semantic_metrics

TRUTH = np.array([[0, 0, 1, 1], [0, 2, 1, 1], [-1, -1, 2, 2]])
FOUND = np.array([[0, 1, 1, 1], [0, 2, 0, 1], [1, 2, 2, 1]])


def test_by_hand():
    counts = confusion(TRUTH, FOUND, 4)
    np.testing.assert_array_equal(counts, [[2, 1, 0, 0], [1, 3, 0, 0], [0, 1, 2, 0], [0, 0, 0, 0]])
    metrics = semantic_metrics(counts, ["BG", "a", "b", "c"])
    ious = {name: x["IoU"] for name, x in metrics["per_class"].items()}
    assert ious == pytest.approx({"BG": 2 / 4, "a": 3 / 6, "b": 2 / 3, "c": -1})
    assert metrics["mIoU"] == pytest.approx((2 / 4 + 3 / 6 + 2 / 3) / 3)
    assert metrics["accuracy"] == pytest.approx(7 / 10)


def test_nothing_known():
    metrics = semantic_metrics(confusion(np.full((2, 2), -1), np.zeros((2, 2), int), 2), ["BG", "a"])
    assert metrics["mIoU"] == metrics["accuracy"] == -1


class Painter(Model):
    """Finds whole images to be of a class, the left half of the first as well."""

    def __init__(self, **settings):
        super().__init__([], DETECTOR="unet", **settings)

    def detect(self, images, rle=False):
        return [{**found(), "semantic": np.full((100, 100), 1)} for _ in images]


def test_an_evaluation(tmp_path):
    """Image "a" has two squares of 40 pixels, "b" one of 20 and a crowd that does not count, "c" nothing."""
    metrics = evaluate(Painter(), Squares(), verbose=0, results_path=tmp_path / "found.json")
    assert list(metrics) == ["bbox", "segm", "semantic"]
    fives, known = 2 * 40**2, 3 * 100**2 - 60**2
    assert metrics["semantic"]["per_class"]["five"]["IoU"] == pytest.approx(fives / known)
    assert metrics["semantic"]["per_class"]["nine"]["IoU"] == 0
    assert metrics["semantic"]["accuracy"] == pytest.approx(fives / known)
    rows = format_table(metrics).splitlines()
    assert rows[-2].split() == ["mIoU", "accuracy"] and rows[-1].split() == ["pixels", "0.040", f"{fives / known:.3f}"]
    classes = [line.split() for line in format_classes(metrics).splitlines()]
    assert classes[0][-1] == "IoU" and classes[1] == ["BG", *"------", "0.000"] and classes[2][-1] == "0.121"


def test_it_goes_on_after_an_interruption(tmp_path):
    class Stopped(Painter):
        def detect(self, images, rle=False):
            if images[0][0, 0, 0] == 2:
                raise KeyboardInterrupt
            return super().detect(images, rle)

    class Last(Painter):
        def detect(self, images, rle=False):
            assert images[0][0, 0, 0] == 2
            return super().detect(images, rle)

    path, whole = tmp_path / "found.json", evaluate(Painter(batch_size=1), Squares(), verbose=0)
    with pytest.raises(KeyboardInterrupt):
        evaluate(Stopped(batch_size=1), Squares(), verbose=0, results_path=path)
    assert evaluate(Last(batch_size=1), Squares(), verbose=0, results_path=path)["semantic"] == whole["semantic"]


def test_an_object_without_a_mask_is_a_region_that_does_not_count(tmp_path):
    folder = tmp_path / "annotations"
    folder.mkdir()
    (tmp_path / "val2017").mkdir()
    square = [2, 2, 6, 2, 6, 6, 2, 6]
    fields = {"image_id": 1, "category_id": 3, "iscrowd": 0}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 10, "width": 12}],
        "categories": [{"id": 3, "name": "thing"}],
        "annotations": [
            {"id": 1, "bbox": [2, 2, 4, 4], "area": 16, "segmentation": [square], **fields},
            {"id": 2, "bbox": [7, 1, 4, 3], "area": 12, "segmentation": [], **fields},
        ],
    }
    (folder / "instances_val2017.json").write_text(json.dumps(content))
    dataset = CocoDataset()
    dataset.load_coco(tmp_path, "val")
    dataset.prepare()
    expected = np.zeros((10, 12), int)
    expected[2:6, 2:6], expected[1:4, 7:11] = 1, -1
    np.testing.assert_array_equal(semantic_truth(dataset, 0), expected)
