"""Mistakes whose kind is known, what each costs, and curves of scores."""

import numpy as np
import pytest

from mrcnn.data.coco import index
from mrcnn.evaluate import coco_metrics
from mrcnn.evaluate.curves import best_cut, calibration, precision_recall
from mrcnn.evaluate.mistakes import class_curves, confusion, gains, judge
from mrcnn.ops.masks import encode_rle

A, B = 1, 2


def box_mask(x, y, w, h):
    mask = np.zeros((100, 100), bool)
    mask[y : y + h, x : x + w] = True
    return encode_rle(mask)


def case(truths, detections):
    """(coco, results) of objects (class, x, y, w, h[, crowd]) and detections (class, x, y, w, h, score) an image."""
    annotations, results = [], []
    for image_id, objects in enumerate(truths, 1):
        for k, x, y, w, h, *crowd in objects:
            entry = {"image_id": image_id, "category_id": k, "bbox": [x, y, w, h], "segmentation": box_mask(x, y, w, h)}
            annotations.append({**entry, "area": w * h, "iscrowd": int(bool(crowd)), "id": len(annotations) + 1})
    for image_id, found in enumerate(detections, 1):
        for k, x, y, w, h, score in found:
            entry = {"image_id": image_id, "category_id": k, "bbox": [x, y, w, h], "segmentation": box_mask(x, y, w, h)}
            results.append({**entry, "score": score})
    images = [{"id": i, "height": 100, "width": 100} for i in range(1, len(truths) + 1)]
    categories = [{"id": A, "name": "a"}, {"id": B, "name": "b"}]
    return index({"info": {}, "images": images, "annotations": annotations, "categories": categories}), results


def judged(truths, detections, kind="bbox", **options):
    coco, results = case(truths, detections)
    return judge(coco, results, list(coco.imgs), kind, **options)


ONE = [[(A, 0, 0, 40, 40)]]
CASES = {
    "correct": (ONE, (A, 0, 0, 40, 40)),
    "correct at IoU 0.5": (ONE, (A, 0, 0, 40, 20)),
    "localisation": (ONE, (A, 0, 0, 40, 18)),
    "localisation at IoU 0.1": (ONE, (A, 0, 0, 40, 4)),
    "class": (ONE, (B, 0, 0, 40, 30)),
    "both": (ONE, (B, 0, 0, 40, 18)),
    "background": (ONE, (A, 60, 60, 20, 20)),
    "background of another class at IoU 0.1": (ONE, (B, 0, 0, 40, 4)),
    "background without objects": ([[]], (A, 0, 0, 40, 40)),
    # first by the order of the paper: badly placed on its own class comes before the wrong class in place
    "localisation before class": ([[(A, 0, 0, 40, 40), (B, 0, 0, 40, 16)]], (A, 0, 0, 40, 16)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_kinds(name, kind):
    truths, detection = CASES[name]
    found = judged(truths, [[(*detection, 0.9)]], kind)
    assert found.kinds.tolist() == [name.split()[0]]
    mended = name.split()[0] in ("correct", "localisation", "class")
    assert len(found.missed) == len(truths[0]) - mended
    assert len(found.unfound) == len(truths[0]) - (name.split()[0] == "correct")


def test_duplicate():
    found = judged(ONE, [[(A, 0, 0, 40, 30, 0.5), (A, 0, 0, 40, 22, 0.9), (A, 0, 0, 40, 18, 0.4)]])
    # the best score finds the object, however well it fits; the third would not find it, were it not taken
    assert found.scores.tolist() == [0.9, 0.5, 0.4]
    assert found.kinds.tolist() == ["correct", "duplicate", "localisation"]
    assert not found.mends.any() and not found.missed


def test_an_object_is_mended_once():
    found = judged(ONE, [[(B, 0, 0, 40, 30, 0.6), (A, 0, 0, 40, 18, 0.8), (A, 0, 0, 18, 40, 0.7)]])
    assert found.kinds.tolist() == ["localisation", "localisation", "class"]
    assert found.mends.tolist() == [A, 0, 0]
    assert len(found.unfound) == 1 and not found.missed


def test_crowds():
    """What lies in a crowd of its class is no mistake; to masks, an object of which the box alone is known is one."""
    found = judged([[(A, 0, 0, 60, 60, True)]], [[(A, 10, 10, 20, 20, 0.9), (B, 10, 10, 20, 20, 0.8)]])
    assert found.kinds.tolist() == ["background"] and found.scores.tolist() == [0.8]
    assert found.positives == {}
    coco, results = case(ONE, [[(A, 10, 10, 20, 20, 0.9)]])
    del coco.dataset["annotations"][0]["segmentation"]
    assert judge(coco, results, [1], "segm").found == []
    assert judge(coco, results, [1], "bbox").kinds.tolist() == ["localisation"]


def test_limit_of_a_class_in_an_image():
    found = judged(ONE, [[(A, 0, 0, 40, 40, 0.5), (A, 50, 50, 9, 9, 0.9), (B, 60, 60, 9, 9, 0.1)]], max_detections=1)
    assert found.scores.tolist() == [0.9, 0.1] and len(found.missed) == 1


def test_gains_by_hand():
    """Two objects of class a. One is found, the other badly placed; a false alarm lies between them."""
    truths = [[(A, 0, 0, 40, 40), (A, 50, 50, 40, 40)]]
    found = judged(truths, [[(A, 0, 0, 40, 40, 0.9), (A, 0, 80, 9, 9, 0.8), (A, 50, 50, 40, 15, 0.7)]])
    before = 51 / 101  # recall 0.5 at precision 1
    assert class_curves(found)[A].mean() == pytest.approx(before)
    rises = gains(found)
    assert rises.pop("localisation") == pytest.approx((51 + 50 * 2 / 3) / 101 - before)
    assert rises == {"class": 0, "both": 0, "duplicate": 0, "background": 0, "missed": 0}
    assert found.counts() == {**dict.fromkeys(rises, 0), "localisation": 1, "background": 1}


def test_gains_of_missed_and_class():
    truths = [[(A, 0, 0, 40, 40), (A, 50, 50, 40, 40)], [(B, 0, 0, 40, 40)]]
    found = judged(truths, [[(A, 0, 0, 40, 40, 0.9)], [(A, 0, 0, 40, 40, 0.95)]])
    # class a: precision 1/2 up to recall 1/2; class b: nothing
    assert np.mean([curve.mean() for curve in class_curves(found).values()]) == pytest.approx(51 / 101 / 4)
    before, rises = 51 / 101 / 4, gains(found)
    assert rises["class"] == pytest.approx((51 / 101 + 1) / 2 - before)
    assert rises["missed"] == pytest.approx((0.5 + 0) / 2 - before)
    assert rises["background"] == rises["localisation"] == 0


def test_confusion():
    truths = [[(A, 0, 0, 40, 40), (B, 50, 50, 40, 40)], [(B, 0, 0, 40, 40), (B, 60, 60, 30, 30)]]
    detections = [
        [(A, 0, 0, 40, 40, 0.9), (A, 0, 0, 40, 38, 0.8), (A, 50, 50, 40, 40, 0.7)],
        [(B, 0, 0, 40, 10, 0.9)],
    ]
    table = confusion(judged(truths, detections), 3)
    #                   not found  as a  as b
    assert table.tolist() == [[0, 1, 1], [0, 1, 0], [2, 1, 0]]


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_ap_is_cocos(kind):
    random = np.random.default_rng(0)
    truths, detections = [], []
    for _ in range(12):
        objects = [(int(random.integers(1, 3)), *map(int, random.integers(12, 45, 4))) for _ in range(5)]
        truths.append([(*objects[0], True), *objects[1:]])  # the first is a crowd
        moved = [(k, *np.maximum(1, np.add(box, random.integers(-3, 4, 4))).tolist()) for k, *box in objects * 2]
        detections.append([(*entry, float(random.random())) for entry in moved])
    coco, results = case(truths, detections)
    found = judge(coco, results, list(coco.imgs), kind)
    expected = coco_metrics(coco, results, list(coco.imgs), kind)
    assert np.mean([curve.mean() for curve in class_curves(found).values()]) == pytest.approx(expected["AP50"])
    strict = judge(coco, results, list(coco.imgs), kind, enough=0.75)
    assert np.mean([curve.mean() for curve in class_curves(strict).values()]) == pytest.approx(expected["AP75"])
    assert 0.2 < expected["AP75"] < expected["AP50"] < 0.95
    table = confusion(found, 3)
    assert table[1:].sum() == sum(found.positives.values()) and table[:, 1:].sum() == len(found.found)


def test_precision_recall():
    curve = precision_recall([0.7, 0.9, 0.8], [True, True, False], 4)
    np.testing.assert_allclose(curve, [1] * 26 + [2 / 3] * 25 + [0] * 50)
    assert not precision_recall([], [], 2).any()


def test_best_cut():
    # F1 2/5, 4/6, 4/7: the best is to keep the first two
    assert best_cut([0.9, 0.8, 0.7], [True, True, False], 4) == pytest.approx((0.8, 2 / 3))
    # equal scores stay together
    assert best_cut([0.9, 0.8, 0.8], [True, True, False], 2) == pytest.approx((0.8, 0.8))
    assert best_cut([0.5], [False], 3) == best_cut([], [], 3) == (0, 0)


def test_calibration():
    mean, share, error = calibration([0.1, 0.3, 0.9, 1.0], [False, True, True, True], bins=2)
    assert mean.tolist() == pytest.approx([0.2, 0.95]) and share.tolist() == [0.5, 1]
    assert error == pytest.approx((2 * 0.3 + 2 * 0.05) / 4)
    assert np.isnan(calibration([0.1], [True], bins=2)[0][1]) and calibration([], [])[2] == 0
