"""What is wrong with images, classes, keypoints and boxes of a COCO file, and what becomes of it."""

import json

import numpy as np
import PIL.Image
import pytest
import squares

from mrcnn.config import Config
from mrcnn.data.batches import DataGenerator
from mrcnn.data.coco import CocoDataset
from mrcnn.data.samples import load_image_gt
from mrcnn.data.validate import validate
from mrcnn.evaluate import evaluate, ground_truth, to_coco_results
from mrcnn.ops.masks import extract_bboxes

WIDTH, HEIGHT = 64, 48
SQUARE = [2, 3, 22, 3, 22, 23, 2, 23]


def content(**changes):
    """Images 5 and "b" with a cat each."""
    images = [{"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT} for i in (5, "b")]
    entries = [{"id": k, "image_id": i, "category_id": 0, "segmentation": [SQUARE]} for k, i in enumerate((5, "b"))]
    categories = [{"id": 0, "name": "cat"}, {"id": "x", "name": "dog"}]
    return {"images": images, "annotations": entries, "categories": categories} | changes


def load(folder, content, **options):
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "val2017").mkdir(exist_ok=True)
    for k, name in enumerate(("5.png", "b.png", "c.png")):
        PIL.Image.new("RGB", (WIDTH, HEIGHT), (k, k, k)).save(folder / "val2017" / name)
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    dataset = CocoDataset()
    dataset.load_coco(folder, "val", **options)
    dataset.prepare()
    return dataset


def kinds(dataset):
    return [problem.what for problem in validate(dataset, verbose=0)]


class Settings(Config):
    NUM_CLASSES = 3
    BACKBONE = "resnet18"
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    MAX_GT_INSTANCES = 4
    USE_MINI_MASK = False


def detector(dataset, answers, **settings):
    """That of these answers, for the classes of a set."""
    return squares.Model(answers, NUM_CLASSES=dataset.num_classes, **settings)


def perfect(dataset, boxes=False):
    """By the picture's first pixel, what `load_mask` gives as detections."""
    answers = {}
    for i in dataset.image_ids:
        masks, class_ids = (dataset.load_box_masks if boxes else dataset.load_mask)(i)
        masks, class_ids = masks[..., class_ids > 0], class_ids[class_ids > 0]
        found = {"rois": extract_bboxes(masks), "class_ids": class_ids, "scores": np.ones(len(class_ids))}
        answers[dataset.load_image(i)[0, 0, 0]] = found if boxes else found | {"masks": masks}
    return answers


def test_ids_are_numbers_or_text(tmp_path):
    dataset = load(tmp_path, content())
    assert [info["id"] for info in dataset.image_info] == [5, "b"] and kinds(dataset) == []
    assert [info["id"] for info in dataset.class_info] == [0, 0, "x"]
    path = tmp_path / "results.json"
    metrics = evaluate(detector(dataset, perfect(dataset)), dataset, results_path=path, verbose=0)
    assert [metrics[kind]["AP"] for kind in ("bbox", "segm")] == pytest.approx([1, 1])
    assert [(entry["image_id"], entry["category_id"]) for entry in json.loads(path.read_text())] == [(5, 0), ("b", 0)]


GOOD = content()["images"][0]
OTHER = content()["images"][1]


@pytest.mark.parametrize(
    "images, what, left",
    [
        ([None, GOOD], "image that cannot be used", [5]),
        ([{**OTHER, "id": [1]}, GOOD], "image that cannot be used", [5]),
        ([{**OTHER, "file_name": None}, GOOD], "image that cannot be used", [5]),
        ([{**OTHER, "file_name": "\ud800.png"}, GOOD], "image that cannot be used", [5]),
        ([{**OTHER, "file_name": "a\0.png"}, GOOD], "image that cannot be used", [5]),
        ([{**OTHER, "file_name": "b\n.png"}, GOOD], "image that cannot be used", [5]),
        ([{**OTHER, "file_name": "../../b.png"}, GOOD], "image outside the set's folder", [5]),
        ([{**OTHER, "file_name": "/b.png"}, GOOD], "image outside the set's folder", [5]),
        ([{**OTHER, "file_name": "nowhere.png", "width": 0}, GOOD], "image that cannot be used", [5]),
        ([GOOD, {**OTHER, "id": 7}, {**OTHER, "id": 7, "file_name": "c.png"}], "image id used twice in a file", [5]),
        ([GOOD, GOOD, OTHER], "image given twice", [5, "b"]),
        ([GOOD, {**OTHER, "file_name": "5.png"}], "file of two images", [5, "b"]),
    ],
)
def test_images(tmp_path, images, what, left):
    dataset = load(tmp_path, content(images=images))
    assert [info["id"] for info in dataset.image_info] == left
    passed = ("image not in the file", "image without a size")
    (problem,) = [problem for problem in dataset.problems if problem.what not in passed]
    assert problem.what == what and problem.path.endswith("instances_val2017.json") and problem.remedy
    assert all(dataset.load_mask(i)[1].tolist() == [1] for i in dataset.image_ids)


def test_the_set_may_lead_out_of_its_folder(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    PIL.Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "5.png")
    images = [{**GOOD, "file_name": "../../5.png"}, {**OTHER, "file_name": "../val2017/b.png"}]
    assert [info["id"] for info in load(folder, content(images=images)).image_info] == ["b"]
    assert kinds(load(folder, content(images=images), outside=True)) == []


@pytest.mark.parametrize(
    "size",
    [
        {},
        {"width": None},
        {"width": "64", "height": "48"},
        {"width": -64, "height": 48},
        {"width": 10**6, "height": 10**6},
        {"width": float("nan"), "height": 48},
    ],
)
def test_a_size_that_cannot_be_is_that_of_the_picture(tmp_path, size):
    dataset = load(tmp_path, content(images=[{"id": 5, "file_name": "5.png", **size}, OTHER]))
    assert kinds(dataset) == ["image without a size"]
    assert dataset.load_mask(0)[0].shape == (HEIGHT, WIDTH, 1)


def test_an_image_of_another_size_is_left_out(tmp_path, capsys):
    """Nobody knows where its objects are: it was trained on and evaluated as if they were where they are not."""
    dataset = load(tmp_path, content(images=[{**GOOD, "width": HEIGHT, "height": WIDTH}, OTHER]))
    assert kinds(dataset) == ["image of another size than annotated"]
    with pytest.raises(ValueError, match=r"5.png: the picture is 64x48, but annotated at 48x64"):
        load_image_gt(dataset, Settings(), 0)
    answers = perfect(load(tmp_path, content()))
    assert evaluate(detector(dataset, answers), dataset, verbose=0)["bbox"]["AR100"] == 0.5
    assert "Nothing is found in image 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    "categories, what, names",
    [
        ([{"id": 0, "name": 5}, {"id": "x", "name": 2.5}], None, ["5", "2.5"]),
        ([{"id": 0, "name": "cat, small"}, {"id": "x", "name": "cat, large"}], None, ["cat, small", "cat, large"]),
        ([{"id": 0, "name": "🐱"}], None, ["🐱"]),
        ([{"id": 0, "name": ""}], "class without a name", ["class 0"]),
        ([{"id": 0}], "class without a name", ["class 0"]),
        ([{"id": 0, "name": None}], "class without a name", ["class 0"]),
        ([{"id": 0, "name": "\ud800"}], "class without a name", ["class 0"]),
        ([{"id": 0, "name": "cat"}, {"name": "dog"}], "category that cannot be read", ["cat"]),
        ([{"id": 0, "name": "cat"}, 5], "category that cannot be read", ["cat"]),
        ([{"id": 0, "name": "cat"}, {"id": 0, "name": "cat"}], "category given twice", ["cat"]),
        ([{"id": 0, "name": "cat"}, {"id": 1, "name": "cat"}], "class name used twice", ["cat", "cat"]),
        ([{"id": 0, "name": "cat", "skeleton": [[1, 99]]}], "skeleton that does not fit", ["cat"]),
    ],
)
def test_classes(tmp_path, categories, what, names):
    dataset = load(tmp_path, content(categories=categories))
    assert dataset.class_names[1:] == names and kinds(dataset) == [what] * (what is not None)
    metrics = evaluate(detector(dataset, perfect(dataset)), dataset, verbose=0)
    per_class = metrics["segm"]["per_class"]
    assert len(per_class) == len(names) and list(per_class.values())[0]["AP"] == pytest.approx(1)


def test_files_of_one_set_agree_about_classes(tmp_path):
    dataset = load(tmp_path, content())
    path = tmp_path / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps(content(categories=[{"id": 0, "name": "cow"}])))
    with pytest.raises(ValueError, match="the category id 0 is that of 'cow', but that of 'cat' in .*json; the files"):
        dataset.load_coco(tmp_path, "val")


@pytest.mark.parametrize(
    "name, there",
    [
        ("caf\u00e9.png", "cafe\u0301.png"),
        ("cafe\u0301.png", "caf\u00e9.png"),
        ("x\\caf\u00e9.png", "x/cafe\u0301.png"),
    ],
)
def test_accents_may_be_letters_of_their_own(tmp_path, name, there):
    """As a Mac has them in the names of files; also beside Windows' backslashes."""
    (tmp_path / "val2017" / there).parent.mkdir(parents=True)
    PIL.Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "val2017" / there)
    images = [{"id": 5, "file_name": name, "width": WIDTH, "height": HEIGHT}]
    assert kinds(load(tmp_path, content(images=images, annotations=content()["annotations"][:1]))) == []


def with_points(*points, names=None):
    """An object for each list of keypoints."""
    entry = content()["annotations"][0]
    categories = [{"id": 0, "name": "cat", **({} if names is None else {"keypoints": names})}]
    entries = [{**entry, "id": k, "keypoints": list(x)} for k, x in enumerate(points)]
    return content(annotations=entries, categories=categories)


@pytest.mark.parametrize("names", [None, ["nose", "tail"]])
@pytest.mark.parametrize(
    "wrong, what",
    [
        ([5, 5, 2], "keypoints of another number"),
        ([5, 5, 2] * 3, "keypoints of another number"),
        ([5, 5, 2, 8, 8], "keypoints that cannot be read"),
        ([5, 5, 7, 8, 8, 2], "keypoints that cannot be read"),
        ([5, None, 2, 8, 8, 2], "keypoints that cannot be read"),
        ([5, float("nan"), 2, 8, 8, 2], "keypoints that cannot be read"),
        ([[5, 5, 2], [8, 8, 2]], "keypoints that cannot be read"),
        (["a"] * 6, "keypoints that cannot be read"),
    ],
)
def test_keypoints(tmp_path, names, wrong, what):
    good = [5, 5, 2, 8, 8, 1]
    dataset = load(tmp_path, with_points(good, wrong, good, names=names))
    assert kinds(dataset) == [what]
    points = dataset.load_keypoints(0)
    assert points.reshape(3, -1).tolist() == [good, [0] * 6, good]


def boxes(**fields):
    entries = [{key: x for key, x in entry.items() if key != "segmentation"} for entry in content()["annotations"]]
    return content(annotations=[{**entry, "bbox": [2, 3, 20, 10], **fields} for entry in entries])


@pytest.mark.parametrize(
    "fields", [{}, {"segmentation": None}, {"segmentation": []}, {"keypoints": [5, 5, 2, 9, 9, 1]}]
)
def test_boxes_without_masks_train_and_evaluate(tmp_path, fields):
    dataset = load(tmp_path, boxes(**fields))
    assert kinds(dataset) == []
    points = 2 if "keypoints" in fields else 0
    config = Settings().update(USE_MASK=False, NUM_KEYPOINTS=points, KEYPOINT_FLIP_PAIRS=[], IMAGES_PER_GPU=2)
    batch = DataGenerator(dataset, config, shuffle=False)[0][0]
    assert batch["input_gt_class_ids"].tolist() == [[1, 0, 0, 0]] * 2
    assert batch["input_gt_boxes"][:, 0].tolist() == [[3 + 8, 2, 13 + 8, 22]] * 2  # padded to a square
    if points:
        assert batch["input_gt_keypoints"][0, 0].tolist() == [[5, 13, 2], [9, 17, 1]]
    metrics = evaluate(detector(dataset, perfect(dataset, boxes=True), USE_MASK=False), dataset, verbose=0)
    assert list(metrics) == ["bbox"] and metrics["bbox"]["AP"] == pytest.approx(1)
    # With masks there is nothing to train on, and nothing that counts.
    assert dataset.load_mask(0)[0].shape == (HEIGHT, WIDTH, 0)
    assert evaluate(detector(dataset, perfect(dataset)), dataset, verbose=0)["segm"]["AP"] == -1


def test_an_object_without_a_mask_is_no_mistake_where_masks_count(tmp_path):
    entries = content()["annotations"]
    entries[1] = {**entries[1], "segmentation": [], "bbox": [2, 3, 20, 20]}
    dataset = load(tmp_path, content(annotations=entries))
    assert kinds(dataset) == ["object without a mask"]
    metrics = evaluate(detector(dataset, perfect(load(tmp_path, content()))), dataset, verbose=0)
    assert [metrics[kind]["AP"] for kind in ("bbox", "segm")] == pytest.approx([1, 1])
    assert load_image_gt(dataset, Settings(), 1)[2].tolist() == []
    assert load_image_gt(dataset, Settings().update(USE_MASK=False), 1)[3].tolist() == [[11, 2, 31, 22]]


@pytest.mark.parametrize(
    "segmentation", [SQUARE, [[2, 3, 22, 23]], [[float("nan")] * 6], {"size": [9, 9], "counts": [81]}]
)
def test_what_has_lost_its_mask_is_neither_found_nor_missed(tmp_path, segmentation):
    entries = content()["annotations"]
    entries[1] = {**entries[1], "segmentation": segmentation, "bbox": [2, 3, 20, 20]}
    dataset = load(tmp_path, content(annotations=entries))
    assert len(kinds(dataset)) == 1
    all_found, whole = perfect(load(tmp_path, content())), perfect(dataset)
    for answers in (all_found, whole):
        metrics = evaluate(detector(dataset, answers), dataset, verbose=0)
        assert [metrics[kind]["AP"] for kind in ("bbox", "segm")] == pytest.approx([1, 1])
    # Training does not take it for background either.
    assert load_image_gt(dataset, Settings().update(USE_MASK=False), 1)[2].tolist() == [-1]


def test_pycocotools_own_object_of_a_file_with_mistakes(tmp_path):
    entries = [*content()["annotations"], {"id": [1]}, None, {"id": 9, "image_id": {}}]
    images = [*content()["images"], 5]
    dataset = load(tmp_path, content(annotations=entries, images=images))
    assert list(dataset.coco.anns) == [0, 1] and list(dataset.coco.imgs) == [5, "b"]


def test_results_and_truth_of_a_mask_without_a_pixel(tmp_path):
    """Between the centres of pixels: nothing to find where masks count."""
    entries = content()["annotations"]
    entries[1]["segmentation"] = [[2.1, 3.1, 2.2, 3.1, 2.2, 3.2, 2.1, 3.2]]
    dataset = load(tmp_path, content(annotations=entries))
    assert kinds(dataset) == ["mask without a pixel"] and len(ground_truth(dataset).anns) == 1
    (result,) = to_coco_results(dataset, 0, perfect(dataset)[0])
    assert (result["image_id"], result["category_id"]) == (5, 0)
