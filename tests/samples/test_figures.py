"""The generated data set of figures: complete, points where they belong, and the same bytes every time."""

import json
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from real_data import ROOT
from scipy.ndimage import distance_transform_edt

sys.path.insert(0, str(ROOT / "samples"))
import bodies
import figures
import shapes

from mrcnn.ops.keypoints import COCO_NAMES, COCO_SKELETON

NOSE, LEFT_EYE, RIGHT_EYE, LEFT_SHOULDER, RIGHT_SHOULDER = (
    COCO_NAMES.index(name) for name in ["nose", "left_eye", "right_eye", "left_shoulder", "right_shoulder"]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return figures.ensure(tmp_path_factory.mktemp("figures") / "set", train=40, val=6)


@pytest.fixture(scope="module")
def scenes():
    return [figures.scene(np.random.default_rng([0, 0, i])) for i in range(40)]


@pytest.fixture(scope="module")
def people(scenes):
    return [thing for _, things in scenes for thing in things]


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def read(folder, subset="train"):
    return json.loads((folder / "annotations" / f"person_keypoints_{subset}2017.json").read_text())


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path):
    first = content(figures.generate(tmp_path / "a", train=3, val=2, size=64, seed=5))
    assert len(first) == 3 + 2 + 2
    assert first == content(figures.generate(tmp_path / "b", train=3, val=2, size=64, seed=5))
    other = content(figures.generate(tmp_path / "c", train=3, val=2, size=64, seed=6))
    assert all(first[path] != other[path] for path in first)


def test_images_do_not_depend_on_how_many_there_are(folder, tmp_path):
    few = figures.generate(tmp_path, train=2, val=1)
    name = "train2017/000000000002.jpg"
    assert (few / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize("subset, count", [("train", 40), ("val", 6)])
def test_layout_is_cocos(folder, subset, count):
    found = read(folder, subset)
    assert found.keys() == {"info", "licenses", "images", "annotations", "categories"}
    (category,) = found["categories"]
    assert (category["id"], category["name"], category["keypoints"]) == (1, "person", COCO_NAMES)
    assert category["skeleton"] == [[a + 1, b + 1] for a, b in COCO_SKELETON]
    assert len(found["images"]) == count == len(list((folder / f"{subset}2017").iterdir()))
    for image in found["images"]:
        with Image.open(folder / f"{subset}2017" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"]) == (128, 128) and picture.mode == "RGB"
    ids = [a["id"] for a in found["annotations"]]
    assert len(set(ids)) == len(ids) > count
    assert {a["image_id"] for a in found["annotations"]} <= {image["id"] for image in found["images"]}
    for annotation in found["annotations"]:
        assert (annotation["category_id"], annotation["iscrowd"]) == (1, 0)
        points = np.reshape(annotation["keypoints"], (17, 3))
        assert annotation["num_keypoints"] == (points[:, 2] > 0).sum() >= figures.MIN_POINTS
        assert set(points[:, 2]) <= {0, 1, 2}
        assert not points[points[:, 2] == 0].any()
        assert points.min() >= 0 and points.max() <= 127


def test_the_mix_that_version_2_draws(folder):
    """A change here means that images changed: raise figures.VERSION, so that nobody trains on an old cache."""
    annotations = read(folder)["annotations"]
    per_image = Counter(Counter(a["image_id"] for a in annotations).values())
    assert figures.VERSION == 2
    assert per_image == {1: 12, 2: 13, 3: 12}
    assert Counter(v for a in annotations for v in a["keypoints"][2::3]) == {0: 195, 1: 183, 2: 880}


def test_annotations_give_back_the_visible_pixels(folder, scenes):
    coco = COCO(folder / "annotations" / "person_keypoints_train2017.json")
    for i, (_, things) in enumerate(scenes):
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[i + 1]))
        for annotation, thing in zip(annotations, things, strict=True):
            mask = thing["visible"] > 0.5
            assert np.array_equal(coco.annToMask(annotation), mask)
            assert annotation["area"] == mask.sum()
            x, y, w, h = annotation["bbox"]
            assert np.allclose([x, y, x + w, y + h], shapes.box(mask), atol=0.75)
            assert np.allclose(np.reshape(annotation["keypoints"], (17, 3)), thing["points"], atol=0.01)


def test_visible_points_lie_on_their_figure_and_hidden_ones_under_something(people):
    hidden = 0
    for thing in people:
        away = distance_transform_edt(thing["visible"] <= 0.5)
        x, y, v = thing["points"].T
        assert away[y.round().astype(int), x.round().astype(int)][v == 2].max() <= 2
        hidden += (away[y.round().astype(int), x.round().astype(int)][v == 1] > 2).sum()
    assert hidden > 20  # by other figures and obstacles; a figure's own body hides the others


def test_a_cover_hides_points_and_too_much_of_it_is_refused(people):
    thing = max(people, key=lambda thing: (thing["points"][:, 2] == 2).sum())
    cover = np.zeros((128, 128))
    x, y, _ = thing["points"][LEFT_SHOULDER].round().astype(int)
    cover[y, x] = 1
    (change,) = figures.covered([thing], cover)
    assert change["points"][LEFT_SHOULDER, 2] == 1 and thing["points"][LEFT_SHOULDER, 2] == 2
    assert not change["visible"][y, x]
    assert figures.covered([thing], np.ones((128, 128))) is None


def test_figures_are_whole_enough_and_apart(scenes):
    for _, things in scenes:
        boxes = [np.array(shapes.box(thing["visible"] > 0.5)) for thing in things]
        for i, thing in enumerate(things):
            assert (thing["visible"] > 0.5).sum() >= figures.MIN_VISIBLE * thing["area"]
            assert all(shapes.box_iou(boxes[i], other) <= figures.MAX_IOU for other in boxes[:i])


def test_left_is_right_of_right_unless_seen_from_behind(people):
    for thing in people:
        points = thing["points"]
        if points[[LEFT_SHOULDER, RIGHT_SHOULDER], 2].all():
            assert (points[LEFT_SHOULDER, 0] > points[RIGHT_SHOULDER, 0]) == thing["facing"]
        if not thing["facing"]:
            assert points[[NOSE, LEFT_EYE, RIGHT_EYE], 2].max() < 2
    assert 0.1 < np.mean([not thing["facing"] for thing in people]) < 0.4


def test_they_are_the_same_in_a_mirror():
    """Colours do not tell left from right, which a mirror would turn round; what is seen from the front does."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        colours = dict(zip(bodies.PARTS, figures.palette(rng, np.full((1, 3), 90.0)).tolist(), strict=False))
        assert all(colour == colours[part.replace("left", "right")] for part, colour in colours.items())
        thing = bodies.figure(rng, 128)
        assert not thing["facing"] or bodies.SLOT["tie"] in thing["sheet"] % bodies.LINE
        assert thing["facing"] or bodies.SLOT["tie"] not in thing["sheet"] % bodies.LINE


def test_a_limb_is_a_trapezium_between_two_half_disks():
    sheet, corner = bodies.render([[("left_thigh", np.array([[10.0, 20, 3], [30, 20, 2]]))]], 1)
    assert corner.tolist() == [6, 16] and sheet.shape == (8 * shapes.SUPERSAMPLING, 27 * shapes.SUPERSAMPLING)
    inside = sheet == bodies.SLOT["left_thigh"]
    expected = 20 * (3 + 2) + np.pi * (3**2 + 2**2) / 2
    assert inside.sum() / shapes.SUPERSAMPLING**2 == pytest.approx(expected, rel=0.02)
    assert set(np.unique(sheet)) == {0, bodies.SLOT["left_thigh"], bodies.SLOT["left_thigh"] + bodies.LINE}


def test_ensure_makes_it_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MRCNN_CACHE", str(tmp_path / "cache"))
    folder = figures.ensure(train=1, val=1)
    assert folder == figures.default_folder() == tmp_path / "cache" / "figures-v2"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert figures.ensure(train=1, val=1) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_ensure_leaves_nothing_half_made(tmp_path, monkeypatch):
    def fail(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(figures, "annotate", fail)
        with pytest.raises(KeyboardInterrupt):
            figures.ensure(tmp_path / "set", train=5, val=1)
    assert list(tmp_path.iterdir()) == []
    assert len(content(figures.ensure(tmp_path / "set", train=1, val=1))) == 4


def test_ensure_does_not_touch_other_things(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds no figures data set"):
        figures.ensure(tmp_path, train=1, val=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
