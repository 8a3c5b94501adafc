"""COCO's numbers of keypoints: by hand, from real ground truth, and as pycocotools gives them."""

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval
from real_data import real_data
from squares import PERFECT, Model, Squares, found

from mrcnn.data.coco import CocoDataset, index
from mrcnn.evaluate import KEYPOINT_METRICS, coco_metrics, evaluate, format_classes, format_table, to_coco_results
from mrcnn.ops.keypoints import COCO_NAMES, COCO_SIGMAS, similarity


class Corners(Squares):
    """Every object has its four corners as keypoints; the lower right one of the first is not annotated."""

    def load_keypoints(self, image_id):
        boxes = self.BOXES[image_id]
        points = [[(x1, y1, 2), (x2, y1, 1), (x2, y2, 2), (x1, y2, 2)] for y1, x1, y2, x2, _ in boxes]
        points = np.array(points, "float32").reshape(-1, 4, 3)
        if image_id == 0:
            points[0, 2] = 0
        return points


FOUR = {"NUM_KEYPOINTS": 4, "KEYPOINT_FLIP_PAIRS": [(0, 1), (3, 2)], "KEYPOINT_SIGMAS": [0.1, 0.1, 0.1, 0.1]}


def with_points(answers, change=lambda points: points):
    """The answers with the corners of `Corners`, changed."""
    dataset = Corners()
    points = [dataset.load_keypoints(0), dataset.load_keypoints(1)[1:], dataset.load_keypoints(2)]
    return [
        {**answer, "keypoints": change(x[: len(answer["rois"])])} for answer, x in zip(answers, points, strict=True)
    ]


def test_right_keypoints():
    metrics = evaluate(Model(with_points(PERFECT), **FOUR), Corners(), verbose=0)
    assert list(metrics) == ["bbox", "segm", "keypoints"]
    result = metrics["keypoints"]
    assert [result[name] for name in KEYPOINT_METRICS if result[name] >= 0] == pytest.approx([1] * 8)
    assert result["ARl"] == result["APl"] == -1  # no object is larger than 96 x 96
    assert [result["per_class"][name]["AP"] for name in ("five", "nine")] == pytest.approx([1, 1])
    assert result["swapped"] == 0 and result["matched"] == 3
    table = format_table(metrics).splitlines()
    assert table[3].split() == list(KEYPOINT_METRICS) and table[4].split()[:2] == ["keypoint", "1.000"]


def test_oks_by_hand():
    """Moved by (3, 4) pixels: exp(-25 / (2 * 0.2^2 * area)), which is .82 for 40 x 40 pixels and .46 for 20 x 20."""
    moved = with_points(PERFECT, lambda points: points + (3, 4, 0))
    assert np.exp(-25 / (2 * 0.04 * 1600)) == pytest.approx(0.8226, abs=1e-4)
    truth = Corners().load_keypoints(0)[0]
    assert similarity(truth, truth + (3, 4, 0), 1600, [0.1] * 4) == pytest.approx(0.8226, abs=1e-4)
    metrics = evaluate(Model(moved, **FOUR), Corners(), verbose=0)["keypoints"]
    classes = metrics["per_class"]
    # .82 is above .5, .55 ... .80, which are seven of the ten thresholds.
    assert classes["five"]["AP"] == pytest.approx(0.7) and classes["five"]["AP75"] == pytest.approx(1)
    assert classes["nine"]["AP50"] == 0


def test_left_and_right_exchanged():
    def exchange(points):
        return points[:, [1, 0, 3, 2]]

    answers = with_points(PERFECT)
    answers[0] = with_points(PERFECT, exchange)[0]
    metrics = evaluate(Model(answers, **FOUR), Corners(), verbose=0)["keypoints"]
    assert metrics["matched"] == 3 and metrics["swapped"] == pytest.approx(2 / 3)
    nothing = evaluate(Model(with_points([found()] * 3), **FOUR), Corners(), verbose=0)["keypoints"]
    assert nothing["matched"] == 0 and np.isnan(nothing["swapped"]) and nothing["AP"] == 0


def test_only_the_classes_that_have_keypoints_count():
    answers = with_points(PERFECT)
    answers[0]["keypoints"] = answers[0]["keypoints"] * 0
    model = Model(answers, KEYPOINT_CLASSES=[2], **FOUR)
    metrics = evaluate(model, Corners(), verbose=0)
    assert metrics["keypoints"]["AP"] == pytest.approx(1) and list(metrics["keypoints"]["per_class"]) == ["nine"]
    assert "keypoints" not in to_coco_results(Corners(), 0, answers[0])[0]
    assert format_classes(metrics).splitlines()[1].split()[-3:] == ["-", "-", "-"]


def test_real_keypoints_score_one():
    """COCO's own people through our writer, and pycocotools' numbers for the same file."""
    dataset = CocoDataset()
    dataset.load_coco(real_data("coco-mini"), "val", keypoints=True)
    dataset.prepare()
    results, people = [], 0
    for i in dataset.image_ids:
        masks, class_ids = dataset.load_mask(i)
        points = dataset.load_keypoints(i)
        assert points is None or points.shape == (len(class_ids), len(COCO_NAMES), 3)
        if points is not None:
            people += int((points[class_ids > 0, :, 2] > 0).any(axis=1).sum())
            kept = np.flatnonzero(class_ids > 0)
            answer = {"rois": np.zeros((len(kept), 4)), "class_ids": class_ids[kept], "scores": np.ones(len(kept))}
            results += to_coco_results(dataset, i, answer | {"keypoints": points[kept]})
    annotations = dataset.coco.dataset["annotations"]
    assert people == sum(a["num_keypoints"] > 0 and not a["iscrowd"] for a in annotations) > 0
    source_ids = [info["id"] for info in dataset.image_info]
    metrics = coco_metrics(dataset.coco, results, source_ids, "keypoints", sigmas=COCO_SIGMAS)
    assert [metrics[name] for name in KEYPOINT_METRICS] == pytest.approx([1] * 10)
    own = COCOeval(dataset.coco, dataset.coco.loadRes([r for r in results if "keypoints" in r]), "keypoints")
    own.evaluate()
    own.accumulate()
    own.summarize()
    assert [metrics[name] for name in KEYPOINT_METRICS] == pytest.approx(own.stats.tolist())


def test_without_sigmas_keypoints_are_those_of_persons():
    points = np.tile([5, 5, 2], (len(COCO_NAMES), 1))
    instance = {"image_id": 1, "category_id": 1, "area": 200}
    truth = index(
        {
            "images": [{"id": 1}],
            "annotations": [
                {**instance, "id": 1, "bbox": [0, 0, 10, 20], "iscrowd": 0, "keypoints": points.ravel().tolist()}
            ],
            "categories": [{"id": 1, "name": "person"}],
        }
    )
    results = [{**instance, "score": 0.9, "keypoints": (points + [2, 0, 0]).ravel().tolist()}]
    metrics = coco_metrics(truth, results, [1], "keypoints")
    assert metrics == coco_metrics(truth, results, [1], "keypoints", sigmas=COCO_SIGMAS)
    assert metrics["AP"] < coco_metrics(truth, results, [1], "keypoints", sigmas=[0.2] * 17)["AP"]
