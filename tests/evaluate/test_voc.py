"""PASCAL VOC's AP and LVIS's groups on cases worked out by hand; faster-coco-eval beside pycocotools."""

import copy
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mrcnn.data.coco import index
from mrcnn.evaluate import coco_metrics, format_groups, frequency_groups, ground_truth, image_counts
from mrcnn.evaluate.voc import average_precisions, voc_metrics


def truth(*objects):
    """Objects as (image, class, x, y, side, crowd)."""
    boxes = [
        {
            "id": k,
            "image_id": image,
            "category_id": category,
            "bbox": [x, y, side, side],
            "area": side * side,
            "iscrowd": crowd,
            "segmentation": [[x, y, x + side, y, x + side, y + side, x, y + side]],
        }
        for k, (image, category, x, y, side, crowd) in enumerate(objects, 1)
    ]
    images = [{"id": i, "height": 100, "width": 100} for i in (1, 2, 3)]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "none"}]
    return index({"info": {}, "images": images, "annotations": boxes, "categories": categories})


def found(*objects):
    """Detections as (image, class, x, y, side, score)."""
    keys = "image_id", "category_id", "bbox", "score"
    return [dict(zip(keys, (i, c, [x, y, s, s], score), strict=True)) for i, c, x, y, s, score in objects]


def test_eleven_points_and_the_area_by_hand():
    """Right, wrong, right, right of four objects: recalls 1/4, 1/4, 2/4, 3/4 with precisions 1, 1/2, 2/3, 3/4; the best
    at or beyond a recall is 1 up to 1/4 and 3/4 up to 3/4."""
    numbers = average_precisions([True, False, True, True], 4)
    assert numbers["AP"] == pytest.approx(1 / 4 + 3 / 4 * 2 / 4)
    assert numbers["AP11"] == pytest.approx((3 * 1 + 5 * 3 / 4 + 3 * 0) / 11)  # 0 .1 .2; .3 to .7; .8 .9 1
    assert average_precisions([], 3) == {"AP11": 0, "AP": 0}
    assert average_precisions([False], 0) == {"AP11": -1, "AP": -1}
    assert average_precisions([True] * 10, 10) == {"AP11": 1, "AP": pytest.approx(1)}  # .3 is a recall of 3 / 10


def test_doubles_are_wrong_and_difficult_ones_do_not_count():
    coco = truth((1, 1, 10, 10, 20, 0), (1, 1, 60, 60, 20, 1), (2, 1, 10, 10, 20, 0), (3, 2, 5, 5, 10, 0))
    results = found(
        (1, 1, 10, 10, 20, 0.9),  # right
        (1, 1, 60, 60, 20, 0.8),  # what is difficult
        (1, 1, 11, 10, 20, 0.7),  # the first once more: wrong
        (2, 1, 30, 30, 20, 0.6),  # beside: wrong
        (2, 1, 10, 14, 20, 0.5),  # IoU 16 / 24: right
        (3, 2, 50, 50, 10, 0.4),
    )
    numbers = voc_metrics(coco, results, [1, 2, 3])
    cat = numbers["per_class"]["cat"]
    assert cat["AP"] == pytest.approx(1 / 2 + 1 / 2 * 2 / 4)
    assert cat["AP11"] == pytest.approx((6 * 1 + 5 * 2 / 4) / 11)
    assert numbers["per_class"]["dog"]["AP"] == 0 and numbers["per_class"]["none"]["AP"] == -1
    assert numbers["AP"] == pytest.approx(cat["AP"] / 2)
    assert voc_metrics(coco, results, [1], iou=0.99)["per_class"]["cat"]["AP"] == 1


def test_classes_are_grouped_by_their_images():
    per_class = {name: {"AP": ap} for name, ap in zip("abcde", (0.1, 0.3, 0.5, -1, 0.9), strict=True)}
    numbers = frequency_groups(per_class, {"a": 1, "b": 10, "c": 11, "d": 100, "e": 101})
    assert numbers["APr"] == pytest.approx(0.2) and numbers["APc"] == 0.5 and numbers["APf"] == 0.9
    assert numbers["classes"] == {"APr": 2, "APc": 1, "APf": 1}
    assert frequency_groups(per_class, {})["APr"] == -1


def test_images_of_a_class_are_counted_once_and_crowds_not():
    """Nor are those of an image that cannot be read. Two classes of one name are two, and a name may have a comma, by
    the names that `evaluate` gives them."""
    objects = [[(1, 0), (1, 0), (2, 1), (4, 0)], [(1, 0), (3, 0)], [], None]
    names = [(1, "cat"), (2, "dog"), (3, "cat"), (4, "bun, roll")]
    dataset = SimpleNamespace(
        class_info=[{}, *({"source": "a", "id": i, "name": name} for i, name in names)],
        class_names=["BG", "cat", "dog", "cat", "bun"],
        image_ids=np.arange(4),
        image_info=[],
        load_annotations=lambda i: [SimpleNamespace(class_id=c, crowd=bool(crowd)) for c, crowd in objects[i]],
    )
    counts = image_counts(dataset)
    assert counts == {"a.cat (1)": 2, "dog": 0, "a.cat (3)": 1, "bun, roll": 1}
    assert list(counts) == [category["name"] for category in ground_truth(dataset, []).dataset["categories"]]


def test_a_table_of_both():
    frequency = {"APr": 0.25, "APc": -1.0, "APf": 0.5}
    metrics = {"bbox": {"voc": {"AP11": 0.5, "AP": 0.125}, "frequency": frequency}}
    assert format_groups(metrics).split() == "AP11 AP VOC 0.500 0.125 APr APc APf box 0.250 - 0.500".split()
    assert format_groups({"bbox": {}}) == ""


def case(seed, images=12):
    """Random objects, crowds among them, and detections near them and elsewhere."""
    rng = np.random.default_rng(seed)
    objects, detections = [], []
    for image in range(1, 4):
        for _ in range(images):
            category, (x, y), side = int(rng.integers(1, 3)), rng.uniform(0, 60, 2).tolist(), float(rng.uniform(4, 40))
            objects.append((image, category, x, y, side, int(rng.random() < 0.1)))
            near = [v + float(rng.normal(0, side / 8)) for v in (x, y)]
            detections.append((image, category, *near, side, float(rng.random())))
            detections.append((image, int(rng.integers(1, 3)), *rng.uniform(0, 60, 2).tolist(), side, 0.5))
    return truth(*objects), found(*detections)


@pytest.mark.parametrize("kind", ["bbox", "segm", "keypoints"])
@pytest.mark.parametrize("seed", [0, 1])
def test_faster_coco_eval_is_equal_to_the_last_digit(seed, kind):
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")
    coco, results = case(seed)
    within = np.random.default_rng(seed).random((17, 2))
    for entry in [*coco.dataset["annotations"], *results] if kind != "bbox" else []:
        x, y, side, _ = entry["bbox"]
        points = np.concatenate([(x, y) + side * within, np.full((17, 1), 2)], axis=1)
        entry["segmentation"] = [[x, y, x + side, y, x + side, y + side]]
        entry["keypoints"], entry["num_keypoints"] = points.ravel().tolist(), 17
    for given, image_ids, limit in ((results, [1, 2, 3], 100), (results[:9], [1, 3], 2), ([], [1, 2], 100)):
        given = [entry for entry in given if entry["image_id"] in image_ids]
        own, other = (
            coco_metrics(copy.deepcopy(coco), given, image_ids, kind, max_detections=limit, engine=engine)
            for engine in ("pycocotools", "faster-coco-eval")
        )
        assert list(own["per_class"]) == list(other["per_class"])
        for ours, theirs in ((own, other), *((own["per_class"][x], other["per_class"][x]) for x in own["per_class"])):
            names = [name for name in ours if name != "per_class"]
            # pycocotools divides by the count of detections plus 2.2e-16.
            np.testing.assert_allclose([ours[x] for x in names], [theirs[x] for x in names], rtol=0, atol=1e-12)
        assert not given or own["AR1" if kind != "keypoints" else "AR"] > 0


def test_an_engine_that_is_not_there_is_named(monkeypatch):
    coco, results = case(0)
    with pytest.raises(ValueError, match="engine is 'fast'; it must be pycocotools or faster-coco-eval"):
        coco_metrics(coco, results, [1], "bbox", engine="fast")
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(ImportError, match="pip install faster-coco-eval"):
        coco_metrics(coco, results, [1], "bbox", engine="faster-coco-eval")
