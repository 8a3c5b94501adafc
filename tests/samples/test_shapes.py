"""The generated data set: complete, true to its pixels, and the same bytes every time."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from real_data import ROOT
from scipy.ndimage import binary_dilation
from skimage.draw import polygon2mask

from mrcnn.data.coco import CocoDataset

sys.path.insert(0, str(ROOT / "samples"))
import shapes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return shapes.ensure(tmp_path_factory.mktemp("shapes") / "set", train=40, val=6)


@pytest.fixture(scope="module")
def scenes():
    return [shapes.scene(np.random.default_rng([0, 0, i])) for i in range(40)]


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path):
    first = content(shapes.generate(tmp_path / "a", train=3, val=2, size=64, seed=5))
    assert len(first) == 3 + 2 + 2
    assert first == content(shapes.generate(tmp_path / "b", train=3, val=2, size=64, seed=5))
    other = content(shapes.generate(tmp_path / "c", train=3, val=2, size=64, seed=6))
    assert all(first[path] != other[path] for path in first)


def test_images_do_not_depend_on_how_many_there_are(folder, tmp_path):
    few = shapes.generate(tmp_path, train=2, val=1)
    name = "train2017/000000000002.jpg"
    assert (few / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize("subset, count", [("train", 40), ("val", 6)])
def test_layout_is_cocos(folder, subset, count):
    found = json.loads((folder / "annotations" / f"instances_{subset}2017.json").read_text())
    assert found.keys() == {"info", "licenses", "images", "annotations", "categories"}
    assert [(c["id"], c["name"]) for c in found["categories"]] == [
        (1, "disk"),
        (2, "square"),
        (3, "triangle"),
        (5, "star"),
        (8, "cross"),
    ]
    assert len(found["images"]) == count == len(list((folder / f"{subset}2017").iterdir()))
    for image in found["images"]:
        with Image.open(folder / f"{subset}2017" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"]) == (128, 128) and picture.mode == "RGB"
    ids = [a["id"] for a in found["annotations"]]
    assert len(set(ids)) == len(ids) > count
    assert {a["image_id"] for a in found["annotations"]} <= {image["id"] for image in found["images"]}
    assert all(isinstance(a["segmentation"], dict) == bool(a["iscrowd"]) for a in found["annotations"])


def test_the_mix_that_version_1_draws(folder):
    """A change here means that images changed: raise shapes.VERSION, so that nobody trains on an old cache."""
    annotations = json.loads((folder / "annotations" / "instances_train2017.json").read_text())["annotations"]
    per_class = [sum(a["category_id"] == i for a in annotations) for i in shapes.CATEGORIES]
    assert shapes.VERSION == 1
    assert per_class == [19, 28, 15, 28, 27]
    assert sum(a["iscrowd"] for a in annotations) == 3
    assert 40 - len({a["image_id"] for a in annotations}) == 4
    assert sum(not a["iscrowd"] and len(a["segmentation"]) > 1 for a in annotations) == 1


def test_annotations_give_back_the_visible_pixels(folder, scenes):
    dataset = CocoDataset()
    dataset.load_coco(folder, "train")
    dataset.prepare()
    for i, (_, objects) in enumerate(scenes):
        masks, class_ids = dataset.load_mask(i)
        assert masks.shape == (128, 128, len(objects))
        assert masks.sum(-1).max(initial=0) <= 1  # what is covered is annotated once, as the thing on top
        for mask, class_id, thing, annotation in zip(
            np.moveaxis(masks, -1, 0), class_ids, objects, dataset.image_info[i]["annotations"], strict=True
        ):
            assert np.array_equal(mask, thing["visible"] > 0.5)
            assert dataset.class_info[abs(class_id)]["id"] == thing["category"] and (class_id < 0) == thing["crowd"]
            assert annotation["area"] == mask.sum()
            x, y, w, h = annotation["bbox"]
            assert np.allclose([x, y, x + w, y + h], shapes.box(mask), atol=0.75)


def test_objects_are_whole_enough(scenes):
    things = [thing for _, objects in scenes for thing in objects if not thing["crowd"]]
    assert len(things) > 100
    for thing in things:
        # drawn again by other code, on a sheet large enough for all of it
        corners = thing["outlines"][0][:, ::-1]
        whole = polygon2mask((256, 256), corners + 63.5)
        assert 18 <= 2 * np.linalg.norm(corners - corners.mean(0), axis=1).max() <= 70
        assert whole[64:192, 64:192].sum() >= 0.77 * whole.sum()
        mask = thing["visible"] > 0.5
        assert mask.sum() >= 0.6 * whole.sum()
        assert (mask & ~whole[64:192, 64:192]).sum() <= 0.1 * mask.sum()


def test_objects_stand_out_from_what_is_behind_them(scenes):
    contrasts = []
    for image, objects in scenes:
        for thing in objects:
            mask = thing["visible"] > 0.5
            around = binary_dilation(mask, iterations=3) & ~binary_dilation(mask)
            if not thing["crowd"]:
                contrasts.append(np.linalg.norm(image[mask].mean(0) - image[around].mean(0)))
    assert np.quantile(contrasts, 0.05) > 50


@pytest.mark.parametrize("name", shapes.CATEGORIES.values())
def test_shapes_are_what_they_are_called(name):
    vertices = shapes.outline(name, 2, np.zeros(2), 0.3)
    # of a disk of radius 1, of a square, ... inscribed in it
    expected = {
        "disk": np.pi,
        "square": 2,
        "triangle": 3 * np.sqrt(3) / 4,
        "star": 10 * 0.45 * np.sin(np.pi / 5) / 2,
        "cross": 4 * np.sin(2 * np.arctan(0.36)) - 4 * np.sin(np.arctan(0.36)) ** 2,
    }[name]
    assert shapes.area(vertices) == pytest.approx(expected, rel=0.01)
    assert np.linalg.norm(vertices, axis=1).max() == pytest.approx(1)


def test_ensure_makes_it_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MRCNN_CACHE", str(tmp_path / "cache"))
    folder = shapes.ensure(train=1, val=1)
    assert folder == shapes.default_folder() == tmp_path / "cache" / "shapes-v1"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert shapes.ensure(train=1, val=1) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_ensure_leaves_nothing_half_made(tmp_path, monkeypatch):
    def fail(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shapes, "annotate", fail)
        with pytest.raises(KeyboardInterrupt):
            shapes.ensure(tmp_path / "set", train=5, val=1)
    assert list(tmp_path.iterdir()) == []
    assert len(content(shapes.ensure(tmp_path / "set", train=1, val=1))) == 4


def test_two_at_once_agree(tmp_path):
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(shapes.ensure, tmp_path / "set", train=3, val=1) for _ in range(2)]
        assert [run.result() for run in runs] == [tmp_path / "set"] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert len(content(tmp_path / "set")) == 6


def test_ensure_does_not_touch_other_things(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds no shapes data set"):
        shapes.ensure(tmp_path, train=1, val=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
