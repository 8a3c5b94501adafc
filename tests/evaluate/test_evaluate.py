"""COCO's numbers: from results known by heart, from real ground truth, and as pycocotools gives them."""

import copy
import json

import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.cocoeval import COCOeval
from real_data import real_data
from squares import PERFECT, Model, Squares, SquaresConfig, found  # noqa: F401

from mrcnn.data.coco import CocoDataset, index
from mrcnn.evaluate import (
    METRICS,
    coco_metrics,
    evaluate,
    format_classes,
    format_table,
    ground_truth,
    own_results,
    to_coco_results,
)


def test_results_have_cocos_fields():
    dataset = Squares()
    (result,) = to_coco_results(dataset, 1, found((70, 60, 90, 95, 2, 0.5)))
    code = result.pop("segmentation")
    assert result == {"image_id": "b", "category_id": 9, "bbox": [60.0, 70.0, 35.0, 20.0], "score": 0.5}
    mask = rle.decode(json.loads(json.dumps(code)))
    assert mask.shape == (100, 100) and mask.sum() == 20 * 35 == mask[70:90, 60:95].sum()
    assert to_coco_results(dataset, 1, found()) == []


def test_perfect_detections():
    model = Model(PERFECT)
    metrics = evaluate(model, Squares(), verbose=0)
    assert model.batches == [2, 1]
    for kind in ("bbox", "segm"):
        assert [metrics[kind][name] for name in ("AP", "APs", "APm", "AR100")] == pytest.approx([1] * 4)
        assert metrics[kind]["APl"] == -1
        # class 5 has two objects in one image, of which one detection finds one
        assert metrics[kind]["AR1"] == pytest.approx((0.5 + 1) / 2)
        assert metrics[kind]["per_class"]["five"] == pytest.approx({"AP": 1, "AP50": 1, "AP75": 1})


def test_known_average_precision():
    """Class five: a hit, a miss, then a hit of IoU 32/40 = 0.8. Class nine: nothing found."""
    answers = [found((0, 0, 40, 40, 1, 0.9), (0, 50, 40, 90, 1, 0.8), (50, 50, 82, 90, 1, 0.7)), found(), found()]
    metrics = evaluate(Model(answers), Squares(), verbose=0)
    for kind in ("bbox", "segm"):
        five = metrics[kind]["per_class"]["five"]
        # precision 1 up to recall 0.5 (51 of 101 points), then 2/3 where the threshold accepts 0.8
        accepted, refused = (51 + 50 * 2 / 3) / 101, 51 / 101
        assert five["AP50"] == five["AP75"] == pytest.approx(accepted)
        assert five["AP"] == pytest.approx((7 * accepted + 3 * refused) / 10)
        assert metrics[kind]["per_class"]["nine"]["AP50"] == 0
        assert metrics[kind]["AP50"] == pytest.approx(accepted / 2)


def test_detections_in_a_crowd_are_no_errors():
    answers = [*PERFECT]
    answers[1] = found((70, 70, 90, 90, 2, 0.7), (10, 10, 30, 30, 1, 0.99), (0, 30, 20, 60, 1, 0.98))
    assert evaluate(Model(answers), Squares(), verbose=0)["segm"]["AP"] == pytest.approx(1)
    answers[1] = found((70, 70, 90, 90, 2, 0.7), (10, 70, 30, 90, 1, 0.99))  # outside of it
    assert evaluate(Model(answers), Squares(), verbose=0)["segm"]["per_class"]["five"]["AP50"] < 0.7


def test_nothing_found():
    metrics = evaluate(Model([found()] * 3), Squares(), verbose=0)
    for kind in ("bbox", "segm"):
        assert [metrics[kind][name] for name in METRICS] == [0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0, -1]
        assert metrics[kind]["per_class"]["nine"] == {"AP": 0, "AP50": 0, "AP75": 0}


def test_images_and_limit():
    model = Model(PERFECT, batch_size=1)
    metrics = evaluate(model, Squares(), image_ids=[1, 2], limit=np.int64(1), verbose=0)
    assert model.batches == [1]
    # the crowd alone is nothing to find
    assert metrics["segm"]["per_class"]["five"] == {"AP": -1, "AP50": -1, "AP75": -1}
    assert metrics["segm"]["per_class"]["nine"] == pytest.approx({"AP": 1, "AP50": 1, "AP75": 1})
    with pytest.raises(ValueError, match="no images"):
        evaluate(model, Squares(), image_ids=[])


def with_source_ids(truth, dataset):
    """A ground truth whose images and classes have the ids of their source, as the results file."""
    content = copy.deepcopy(truth.dataset)
    for image in content["images"]:
        image["id"] = dataset.image_info[image["id"] - 1]["id"]
    for category in content["categories"]:
        category["id"] = dataset.class_info[category["id"]]["id"]
    for annotation in content["annotations"]:
        annotation["image_id"] = dataset.image_info[annotation["image_id"] - 1]["id"]
        annotation["category_id"] = dataset.class_info[annotation["category_id"]]["id"]
    return index(content)


def test_numbers_are_pycocotools_own(tmp_path):
    """On the results file and the ground truth written out, with noisy detections."""
    random = np.random.default_rng(0)
    answers = []
    for boxes in Squares.BOXES:
        moved = [(*np.clip(np.add(box[:4], random.integers(-4, 5, 4)), 0, 100), abs(box[4])) for box in boxes * 3]
        answers.append(found(*[(*box, score) for box, score in zip(moved, random.random(len(moved)), strict=True)]))
    dataset = Squares()
    metrics = evaluate(Model(answers), dataset, results_path=tmp_path / "results.json", verbose=0)
    truth = with_source_ids(ground_truth(dataset), dataset)
    for kind in ("bbox", "segm"):
        reference = COCOeval(truth, truth.loadRes(str(tmp_path / "results.json")), kind)
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
        assert [metrics[kind][name] for name in METRICS] == reference.stats.tolist()
        assert 0 < metrics[kind]["AP"] < 1


def test_quiet_and_without_side_effects(capsys):
    dataset = Squares()
    truth, results = ground_truth(dataset), own_results(0, PERFECT[0])
    before = copy.deepcopy((truth.dataset, results))
    coco_metrics(truth, results, [1], "segm")
    assert (truth.dataset, results) == before
    assert capsys.readouterr().out == ""


def test_sources_that_share_ids(tmp_path):
    """Images and classes are told apart though two sources number them alike; the file has the sources' own ids."""

    class Two(Squares):
        BOXES = [*Squares.BOXES, [(10, 10, 50, 50, 3)]]

        def __init__(self):
            super().__init__()
            self.add_class("more", 5, "five")
            self.add_image("more", "a", "a.png")
            self.prepare()

    answers = [*PERFECT, found((10, 10, 50, 50, 3, 0.9))]
    path = tmp_path / "results.json"
    metrics = evaluate(Model(answers, NUM_CLASSES=4), Two(), results_path=path, verbose=0)
    per_class = {name: values["AP"] for name, values in metrics["segm"]["per_class"].items()}
    assert per_class == pytest.approx({"squares.five": 1, "nine": 1, "more.five": 1})
    written = [(entry["image_id"], entry["category_id"]) for entry in json.loads(path.read_text())]
    assert written == [("a", 5), ("a", 5), ("b", 9), ("a", 5)]


def test_tables():
    metrics = evaluate(Model(PERFECT), Squares(), verbose=0)
    header, box, mask = format_table(metrics).splitlines()
    assert header.split() == ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
    assert box.split() == ["box", *["1.000"] * 5, "-", "0.750", *["1.000"] * 4, "-"]
    assert mask.split()[0] == "mask" and len(header) == len(box) == len(mask)
    header, five, nine = format_classes(metrics).splitlines()
    assert header.split() == ["box", "AP", "box", "AP50", "box", "AP75", "mask", "AP", "mask", "AP50", "mask", "AP75"]
    assert five.split() == ["five", *["1.000"] * 6] and len(nine) == len(header)


@pytest.mark.parametrize("limit, expected", [(100, 100 / 120), (200, 1)])
def test_more_objects_than_coco_counts(limit, expected):
    """120 squares of a class in one image: of the precision at 101 recalls, that up to 100 / 120 is 1."""

    class Many(Squares):
        BOXES = [[(y, x, y + 6, x + 6, 1) for y in range(0, 100, 8) for x in range(0, 80, 8)][:120], [], []]

    answers = [found(*[(*box[:4], 1, 0.9) for box in Many.BOXES[0]]), found(), found()]
    metrics = evaluate(Model(answers), Many(), verbose=0, max_detections=limit)
    assert metrics["segm"]["AR100"] == pytest.approx(expected)
    for name in ("AP", "AP50", "AP75"):
        assert metrics["segm"][name] == pytest.approx(np.floor(expected * 100 + 1) / 101, abs=1e-9)


class Interrupted(Model):
    """Ctrl-C comes with its second batch."""

    def detect(self, images, verbose=0, rle=False):
        if len(self.batches) == 1:
            raise KeyboardInterrupt
        return super().detect(images)


@pytest.mark.parametrize("tail", ["", '[1, [{"image_'])
def test_an_interrupted_evaluation_goes_on(tmp_path, tail):
    path, dataset = tmp_path / "new folder" / "results.json", Squares()
    with pytest.raises(KeyboardInterrupt):
        evaluate(Interrupted(PERFECT, batch_size=1), dataset, results_path=path, verbose=0)
    part = path.with_name("results.json.part")
    assert not path.exists() and len(part.read_text().splitlines()) == 2
    with open(part, "a") as file:
        file.write(tail)  # the line that was being written when the power went
    model = Model(PERFECT, batch_size=1)
    metrics = evaluate(model, dataset, results_path=path, verbose=0)
    assert model.batches == [1, 1] and not part.exists()
    assert metrics == evaluate(Model(PERFECT), dataset, verbose=0)
    assert len(json.loads(path.read_text())) == 3


def test_another_model_begins_anew(tmp_path):
    path, dataset = tmp_path / "results.json", Squares()
    with pytest.raises(KeyboardInterrupt):
        evaluate(Interrupted(PERFECT, batch_size=1), dataset, results_path=path, verbose=0)
    other = Model(PERFECT, batch_size=1)
    other.config.to_dict = lambda: {"DETECTION_MIN_CONFIDENCE": 0.1}
    evaluate(other, dataset, results_path=path, verbose=0)
    assert other.batches == [1, 1, 1]


def test_an_image_that_cannot_be_read_counts_as_nothing_found(capsys):
    class Broken(Squares):
        def load_image(self, image_id):
            if image_id == 0:
                raise OSError("a.png is cut off")
            return super().load_image(image_id)

    metrics = evaluate(Model(PERFECT), Broken(), verbose=0)
    assert "Nothing is found in image 0 (a.png): OSError: a.png is cut off" in capsys.readouterr().out
    per_class = metrics["segm"]["per_class"]
    assert (per_class["five"]["AP"], per_class["nine"]["AP"]) == (0, pytest.approx(1))


def test_an_error_of_ones_own_code_ends_it():
    class Wrong(Squares):
        def load_image(self, image_id):
            return {}["shape"]

    with pytest.raises(RuntimeError, match="3 images in a row failed alike, .*: KeyError: 'shape'"):
        evaluate(Model(PERFECT), Wrong(), verbose=0)


def test_mean_of_the_classes_is_ap50():
    metrics = evaluate(Model([*PERFECT[:1], found(), found()]), Squares(), verbose=0)
    for kind in ("bbox", "segm"):
        per_class = [values["AP50"] for values in metrics[kind]["per_class"].values()]
        assert per_class == pytest.approx([1, 0]) and metrics[kind]["AP50"] == pytest.approx(0.5)


@pytest.mark.parametrize("names", [None, ["person", "dog"]])
def test_real_ground_truth_scores_one(names):
    """The annotations of COCO's own images through our writer: every number that exists is 1."""
    dataset = CocoDataset()
    dataset.load_coco(real_data("coco-mini"), "val", class_names=names)
    dataset.prepare()
    results, given, count = [], [], 0
    random = np.random.default_rng(0)
    for i in dataset.image_ids:
        masks, class_ids = dataset.load_mask(i)
        annotations = dataset.image_info[i]["annotations"]
        assert len(annotations) == len(class_ids)
        boxes = np.array([a["bbox"] for a in annotations])[class_ids > 0]
        rois = np.concatenate([boxes[:, 1::-1], boxes[:, 1::-1] + boxes[:, :1:-1]], axis=1)
        count += len(rois)
        answer = {"rois": rois, "class_ids": class_ids[class_ids > 0], "masks": masks[..., class_ids > 0]}
        results += own_results(i, answer | {"scores": np.ones(len(rois))})
        # Moved by some pixels, with other scores: numbers that are neither 0 nor 1.
        moved = {**answer, "rois": rois + random.normal(0, 3, rois.shape), "masks": np.roll(answer["masks"], 2, axis=0)}
        given.append((i, moved | {"scores": random.random(len(rois))}))
    assert len(results) == count == (585 if names is None else 115)
    own_ids = [i + 1 for i in dataset.image_ids]
    source_ids = [info["id"] for info in dataset.image_info]
    cat_ids = [info["id"] for info in dataset.class_info[1:]]
    truth = ground_truth(dataset)
    for kind in ("bbox", "segm"):
        metrics = coco_metrics(truth, results, own_ids, kind)
        assert [metrics[name] for name in ("AP", "AP50", "AP75", "APs", "AR100")] == pytest.approx([1] * 5)
        assert len(metrics["per_class"]) == (80 if names is None else 2)
        # The records and our ids give pycocotools' numbers of the raw file and its ids, to the last bit.
        metrics = coco_metrics(truth, [r for i, x in given for r in own_results(i, x)], own_ids, kind)
        entries = [r for i, x in given for r in to_coco_results(dataset, i, x)]
        assert metrics == coco_metrics(dataset.coco, entries, source_ids, kind, cat_ids)
        raw = COCOeval(dataset.coco, dataset.coco.loadRes(copy.deepcopy(entries)), kind)
        raw.params.imgIds, raw.params.catIds = source_ids, cat_ids
        raw.evaluate()
        raw.accumulate()
        raw.summarize()
        assert [metrics[name] for name in METRICS] == raw.stats.tolist() and 0.1 < metrics["AP"] < 0.9


@pytest.mark.parametrize("limit, recall", [(1, 0.75), (5, 1.0), (100, 1.0)])
def test_fewer_detections_than_coco_counts(limit, recall):
    """AP was -1 beside an AP50 of 1. With one detection an image, one of the two objects of class five is found."""
    metrics = evaluate(Model(PERFECT), Squares(), max_detections=limit, verbose=0)
    for kind in ("bbox", "segm"):
        five = 1 if limit > 1 else 51 / 101  # the precision is 1 up to a recall of one half
        assert metrics[kind]["AP"] == pytest.approx((five + 1) / 2)
        assert metrics[kind]["AP"] == pytest.approx(metrics[kind]["AP50"])
        assert [metrics[kind][name] for name in ("AR1", "AR10", "AR100")] == pytest.approx([0.75, recall, recall])


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"max_detections": 0}, "max_detections is 0; it must be at least 1."),
        ({"max_detections": "5"}, "max_detections is '5'; it must be a whole number."),
        ({"limit": -1}, "limit is -1; it must be at least 0."),
        ({"limit": 1.5}, "limit is 1.5; it must be a whole number."),
    ],
)
def test_numbers_that_cannot_be(wrong, words):
    """The last image was left out for a limit of -1."""
    with pytest.raises(ValueError, match=f"^{words}$"):
        evaluate(Model(PERFECT), Squares(), verbose=0, **wrong)


def test_boxes_alone():
    answers = [{name: answer[name] for name in ("rois", "class_ids", "scores")} for answer in PERFECT]
    metrics = evaluate(Model(answers, USE_MASK=False), Squares(), verbose=0)
    assert list(metrics) == ["bbox"] and metrics["bbox"]["AP"] == pytest.approx(1)
    assert "segmentation" not in to_coco_results(Squares(), 0, answers[0])[0]
