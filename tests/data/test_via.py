"""The VGG Image Annotator's format: made by hand, broken in many ways, and real."""

import json
import math

import numpy as np
import pytest
import toy_data
from PIL import Image
from real_data import real_data

from mrcnn.data.remarks import remarks
from mrcnn.data.via import ViaDataset


def picture(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (value,) * 3).save(path)


def region(shape, **attributes):
    return {"shape_attributes": shape, "region_attributes": attributes}


RECT = {"name": "rect", "x": 5, "y": 3, "width": 10, "height": 4}
POLYGON = {"name": "polygon", "all_points_x": [20, 30, 30, 20], "all_points_y": [10, 10, 20, 20]}
CIRCLE = {"name": "circle", "cx": 38, "cy": 28, "r": 6}
ELLIPSE = {"name": "ellipse", "cx": 20, "cy": 15, "rx": 12, "ry": 3}


def via(folder, regions, project=False, name="a b.png"):
    picture(folder / name)
    content = {f"{name}123": {"filename": name, "size": 123, "regions": regions, "file_attributes": {}}}
    (folder / "via_region_data.json").write_text(
        json.dumps({"_via_settings": {}, "_via_img_metadata": content} if project else content)
    )
    return folder


def load(folder, **options):
    dataset = ViaDataset()
    dataset.load_via(folder, **options)
    dataset.prepare()
    return dataset


@pytest.mark.parametrize("project", [False, True])
@pytest.mark.parametrize("as_list", [False, True])
def test_via_shapes(tmp_path, project, as_list):
    regions = [region(RECT), region(POLYGON), region(CIRCLE), region(ELLIPSE)]
    regions = regions if as_list else {str(i): r for i, r in enumerate(regions)}
    dataset = load(via(tmp_path, regions, project), classes=["balloon"])
    masks, class_ids = dataset.load_mask(0)
    assert masks.shape == (30, 40, 4) and masks.dtype == bool
    assert class_ids.tolist() == [1] * 4 and dataset.class_names == ["BG", "balloon"]
    assert np.array_equal(np.argwhere(masks[..., 0])[[0, -1]], [[3, 5], [6, 14]]) and masks[..., 0].sum() == 40
    assert np.array_equal(np.argwhere(masks[..., 1])[[0, -1]], [[10, 20], [20, 30]])
    y, x = np.mgrid[:30, :40]
    np.testing.assert_array_equal(masks[..., 2], (x - 38) ** 2 + (y - 28) ** 2 < 36)  # cut by the border
    assert masks[15, 9, 3] and not masks[9, 20, 3]
    assert dataset.load_image(0).shape == (30, 40, 3)


def test_records_are_as_large_as_the_masks(tmp_path):
    shapes = [RECT, POLYGON, {**CIRCLE, "cx": 20, "cy": 15}, {**ELLIPSE, "theta": 0.7}]
    dataset = load(via(tmp_path, [region(shape) for shape in shapes]))
    masks, _ = dataset.load_mask(0)
    for k, record in enumerate(dataset.image_info[0]["annotations"]):
        assert record.class_id == 1
        drawn = masks[..., k]
        apart = np.count_nonzero(record.mask(30, 40) ^ drawn)
        assert apart <= np.ptp(np.argwhere(drawn), axis=0).sum() + 1  # a row and a column: polygons have both borders


def test_what_a_set_cannot_teach_is_said(tmp_path):
    dataset = load(via(tmp_path, [region({**RECT, "width": 1}, kind="cat")]), attribute="kind", classes=["cat", "dog"])
    unseen, small = remarks(dataset, toy_data.config(NUM_CLASSES=3))
    assert unseen == "Of 1 classes there is no object: dog." and small.startswith("1 of 1 objects are under 8 pixels")
    (empty,) = remarks(load(via(tmp_path, [])), toy_data.config(NUM_CLASSES=2))
    assert empty == "The set has no object in its 1 images: there is nothing to learn."


def test_via_ellipse_turned(tmp_path):
    """A quarter to the right of straight down: from the upper left to the lower right."""
    turned = {**ELLIPSE, "theta": np.pi / 4}
    (masks, _) = load(via(tmp_path, [region(turned)])).load_mask(0)
    assert masks[21, 26, 0] and masks[9, 14, 0] and not masks[9, 26, 0] and not masks[21, 14, 0]


def test_via_classes_by_attribute(tmp_path):
    regions = [region(RECT, kind="dog"), region(POLYGON, kind={"cat": True, "dog": False}), region(CIRCLE, kind="dog")]
    folder = via(tmp_path, regions)
    dataset = load(folder, attribute="kind", classes=None)
    assert dataset.class_names == ["BG", "cat", "dog"] and dataset.load_mask(0)[1].tolist() == [2, 1, 2]
    dataset = load(folder, attribute="kind", classes=["dog", "cat"])
    assert dataset.load_mask(0)[1].tolist() == [1, 2, 1]
    dataset = load(folder, attribute="kind", classes=["dog", "cow"])
    assert dataset.load_mask(0)[1].tolist() == [1, 1]
    assert [(p.what, p.path, p.details) for p in dataset.problems] == [
        ("class not among the classes", str(folder / "a b.png"), "kind = 'cat'")
    ]
    with pytest.raises(ValueError, match="no region has kind = cow or hen; they have cat, dog."):
        load(folder, attribute="kind", classes=["cow", "hen"])
    with pytest.raises(ValueError, match="no region has an attribute 'class'"):
        load(folder, attribute="class", classes=None)
    with pytest.raises(ValueError, match=r"classes is 'dog'; it must be a list of names, as \['cat', 'dog'\]"):
        load(folder, attribute="kind", classes="dog")


def test_via_without_regions_is_background(tmp_path):
    masks, class_ids = load(via(tmp_path, {})).load_mask(0)
    assert masks.shape == (30, 40, 0) and class_ids.shape == (0,)


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"a.png1": {}, "a.png1": {}}', "is no JSON that can be used, or was cut off: 'a.png1' is given twice."),
        ("\x1f\x8b\x08", "is no JSON that can be used, or was cut off: it is compressed, unpack it."),
        ('{"a": ', "is no JSON that can be used, or was cut off"),
        ('{"images": [], "annotations": []}', "is not of the VGG Image Annotator 1 or 2"),
        ("[]", "is not of the VGG Image Annotator 1 or 2"),
    ],
)
def test_via_files_that_are_not(tmp_path, text, message):
    (tmp_path / "via_region_data.json").write_bytes(text.encode("latin1"))
    with pytest.raises(ValueError, match=f"via_region_data.json {message}"):
        ViaDataset().load_via(tmp_path)


@pytest.mark.parametrize(
    "shape, words",
    [
        ({"name": "point", "cx": 1, "cy": 1}, "'point' has no area"),
        ({**POLYGON, "all_points_x": [1, 2]}, "polygon of 2 x and 4 y"),
        ({**POLYGON, "all_points_x": [1, 2], "all_points_y": [1, 2]}, "polygon of 2 x and 2 y"),
        ({**POLYGON, "all_points_x": [1, 2, math.nan, 4]}, "all_points_x is nan, no number"),
        ({**CIRCLE, "r": 0}, "circle with r 0"),
        ({**CIRCLE, "r": 1e300}, "r is 1e+300, outside any image"),  # drawing it took for ever
        ({**RECT, "x": "5"}, "x is '5', no number"),
        ({**ELLIPSE, "theta": None}, "theta is None, no number"),
        (None, "has no shape_attributes"),
    ],
)
def test_a_region_that_cannot_be_used_leaves_the_others(tmp_path, shape, words):
    folder = via(tmp_path, [region(RECT), region(shape), region(POLYGON)])
    dataset = load(folder)
    assert dataset.load_mask(0)[0].sum((0, 1)).tolist() == [40, 121]
    (problem,) = dataset.validate(verbose=0)
    assert problem.what == "region that cannot be used" and problem.remedy and problem.path == str(folder / "a b.png")
    assert problem.details == f"region 1: {words}"


def entries(folder, *content):
    for name in ("a.png", "b.png"):
        picture(folder / name)
    (folder / "via_region_data.json").write_text(json.dumps({str(i): entry for i, entry in enumerate(content)}))
    return folder


def test_two_entries_for_one_file_are_joined(tmp_path):
    """The first one's regions were lost."""
    first, second = [region(RECT), region(CIRCLE)], [region(CIRCLE), region(POLYGON)]
    dataset = load(
        entries(tmp_path, {"filename": "a.png", "regions": first}, {"filename": "./a.png", "regions": second})
    )
    (alone,) = [load(via(tmp_path / "whole", [region(RECT), region(CIRCLE), region(POLYGON)]))]
    np.testing.assert_array_equal(dataset.load_mask(0)[0], alone.load_mask(0)[0])
    assert [(p.what, p.details) for p in dataset.problems] == [("two entries for one file", "entry '1'")]


def test_entries_that_cannot_be_used_leave_the_others(tmp_path):
    good = {"filename": "b.png", "regions": [region(RECT)]}
    bad = [{"filename": "a.png"}, None, {"filename": "a.png", "regions": 5}, {"filename": 7, "regions": []}]
    bad += [{"filename": "../a.png", "regions": []}, {"filename": "c.png", "regions": []}]
    dataset = load(entries(tmp_path, *bad, {"filename": "a.png", "regions": None}, good))
    assert [info["id"] for info in dataset.image_info] == ["a.png", "b.png"]
    assert [dataset.load_mask(i)[0].shape[-1] for i in (0, 1)] == [0, 1]
    assert [(p.what, p.details.partition(":")[0]) for p in dataset.problems] == [
        ("entry without filename and regions", "entry '0'"),
        ("entry without filename and regions", "entry '1'"),
        ("regions that are no list", ""),
        ("file name that cannot be used", "entry '3'"),
        ("file name that cannot be used", "entry '4'"),
        ("file missing", ""),
    ]
    assert all(problem.remedy for problem in dataset.problems)
    with pytest.raises(ValueError, match="via_region_data.json: no entry can be used; entry '1': 7 is not the name"):
        load(entries(tmp_path, None, {"filename": 7, "regions": []}))


def test_files_outside_the_folder_need_a_switch(tmp_path):
    picture(tmp_path / "a.png")
    folder = entries(tmp_path / "set", {"filename": "../a.png", "regions": [region(RECT)]})
    with pytest.raises(ValueError, match=r"\.\./a.png leads out of .*set; move it there, or .* outside=True"):
        load(folder)
    dataset = load(folder, outside=True)
    assert dataset.load_image(0).shape == (30, 40, 3) and not dataset.problems


def test_real_balloons():
    folder = real_data("balloon")
    for subset, images, regions in (("train", 61, 255), ("val", 13, 50)):
        dataset = load(folder / subset, classes=["balloon"])
        counts = [dataset.load_mask(i)[0].any((0, 1)).sum() for i in dataset.image_ids]
        assert (len(counts), sum(counts)) == (images, regions)
