"""Files of labelme, PASCAL VOC and YOLO with any field replaced: all that is done with them ends with the right result
or one line."""

import copy
import json
import math
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from foreign_folders import png
from fuzz import DELETED, changed, places, use
from PIL import Image

from mrcnn.data.formats import FolderDataset

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

H, W = 24, 36
SQUARE = [4, 3, 14, 3, 14, 13, 4, 13]
POINTS = [SQUARE[k : k + 2] for k in range(0, 8, 2)]

BAD = [None, True, "7", "\ud800\n", [], [[[1]]], {"a": 1}, -1, 2.5, 2**70, math.nan, DELETED]

# Words in the place of numbers and names.
WORDS = ["", "abc", "7", "-1", "2.5", "1e308", "nan", "-inf", "9" * 400, "ſ¼", DELETED]

# What is in each folder before anything is replaced.
GOOD: dict = {}


def shape(kind, points, **fields):
    return {"label": "cat", "points": points, "group_id": None, "shape_type": kind, "flags": {}, **fields}


LABELME = {
    "version": "5.5.0",
    "flags": {},
    "shapes": [
        shape("polygon", POINTS),
        shape("mask", [[20, 5], [23, 10]], mask=png(np.ones((6, 4), "uint8")), label="dog"),
        shape("circle", [[28, 12], [28, 8]], group_id=1),
        shape("polygon", [[30, 18], [34, 18], [34, 22]], group_id=1, flags={"crowd": False}),
    ],
    "imagePath": "11.png",
    "imageData": None,
    "imageHeight": H,
    "imageWidth": W,
}
VOC = f"""<annotation><filename>11.png</filename><size><width>{W}</width><height>{H}</height><depth>3</depth></size>
<object><name>dog</name><difficult>0</difficult>
<bndbox><xmin>4</xmin><ymin>3</ymin><xmax>14</xmax><ymax>13</ymax></bndbox></object>
<object><name>cat</name><bndbox><xmin>20</xmin><ymin>5</ymin><xmax>24</xmax><ymax>11</ymax></bndbox></object>
</annotation>"""
YOLO = {"path": ".", "val": "images", "names": ["cat", "dog"], "nc": 2, "flip_idx": [0, 1]}
LINES = [
    ["1", *(f"{x / side:.6g}" for x, side in zip(SQUARE, (W, H) * 4, strict=True))],
    ["0", *(f"{x / side:.6g}" for x, side in zip([20, 5, 24, 5, 24, 11], (W, H) * 3, strict=True))],
    ["0", *(f"{x:.6g}" for x in (30 / W, 8 / H, 4 / W, 6 / H))],
]


def folder_of(tmp_path_factory, name, subs):
    """A folder with two pictures of different gray."""
    folder = tmp_path_factory.mktemp(name)
    for sub in subs:
        (folder / sub).mkdir(exist_ok=True)
    for i in (11, 12):
        Image.new("RGB", (W, H), (i, i, i)).save(folder / subs[0] / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def labelme(tmp_path_factory):
    folder = folder_of(tmp_path_factory, "labelme", ["."])
    (folder / "12.json").write_text(json.dumps({"shapes": [shape("polygon", POINTS)], "imagePath": "12.png"}))
    return folder


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    folder = folder_of(tmp_path_factory, "voc", ["JPEGImages", "Annotations", "SegmentationObject"])
    masks = np.zeros((H, W), "uint8")
    masks[3:13, 4:14], masks[5:11, 20:24] = 1, 2
    for i in (11, 12):
        Image.fromarray(masks).save(folder / "SegmentationObject" / f"{i}.png")
    (folder / "Annotations" / "12.xml").write_text(VOC.replace("11.png", "12.png"))
    return folder


@pytest.fixture(scope="module")
def yolo(tmp_path_factory):
    folder = folder_of(tmp_path_factory, "yolo", ["images", "labels"])
    (folder / "data.yaml").write_text(yaml.safe_dump(YOLO))
    for i in (11, 12):
        (folder / "labels" / f"{i}.txt").write_text("\n".join(map(" ".join, LINES)))
    return folder


def named(problems):
    """What is wrong; that a box has no mask is said where others have one."""
    return [problem for problem in problems if problem.what != "object without a mask"]


def check(folder, name, path, text, count, exact, refusable=False):
    """Write a file with a field replaced; the other picture's objects are as before, and this one's, or a problem is
    named."""

    def used(content, exact):
        path.write_text(content, "utf-8")

        def load():
            dataset = FolderDataset()
            dataset.load_folder(folder, name=name)
            dataset.prepare()
            return dataset

        return use(load, folder, exact)

    before = path.read_text("utf-8")
    if folder not in GOOD:
        GOOD[folder], problems = used(before, True)
        assert len(GOOD[folder][11]) == count and not named(problems)
    good = GOOD[folder]
    try:
        found, problems = used(text, exact)
    finally:
        path.write_text(before, "utf-8")
    if problems is None:
        assert refusable, found
        return
    if not refusable:
        assert found[12] == good[12]
    assert found == good or not exact or named(problems), text


def labelme_may(way, value):
    """Whether a value is as good as the one that was there, for all that one can know."""
    number = (isinstance(value, (int, float)) or value is DELETED) and "points" in way
    fewer = way == ("shapes",) or way[:-1] == ("shapes",) or way[-1] in ("imageHeight", "imageWidth")
    return number or fewer or way[-1] in ("label", "group_id", "shape_type")


@pytest.mark.parametrize("way", list(places(LABELME)), ids=lambda way: ".".join(map(str, way)))
def test_any_field_of_labelme(labelme, way):
    path = labelme / "11.json"
    path.write_text(json.dumps(LABELME))
    for value in BAD:
        text = json.dumps(changed(LABELME, way, value))
        check(labelme, "labelme", path, text, 3, not labelme_may(way, value))


@pytest.mark.parametrize("place", range(len(list(ElementTree.fromstring(VOC).iter()))))
def test_any_element_of_voc(voc, place):
    path = voc / "Annotations" / "11.xml"
    path.write_text(VOC)
    for value in WORDS:
        root = ElementTree.fromstring(VOC)
        element = list(root.iter())[place]
        if value is DELETED:
            for parent in root.iter():
                if element in list(parent):
                    parent.remove(element)
        else:
            element.text = value
            element[:] = []
        guess = element.tag[1:] in ("min", "max") or element.tag in ("name", "difficult", "object", "annotation")
        check(voc, "voc", path, ElementTree.tostring(root, "unicode"), 2, not guess)


@pytest.mark.parametrize("way", list(places(YOLO)), ids=lambda way: ".".join(map(str, way)))
def test_any_field_of_yolos_yaml(yolo, way):
    for value in BAD:
        text = yaml.safe_dump(changed(YOLO, way, value), allow_unicode=False)
        check(yolo, "yolo", yolo / "data.yaml", text, 2, way[0] not in ("names", "val", "path"), refusable=True)


@pytest.mark.parametrize("line, word", [(k, j) for k, words in enumerate(LINES) for j in range(len(words))])
def test_any_number_of_yolo(yolo, line, word):
    for value in WORDS:
        lines = copy.deepcopy(LINES)
        lines[line][word : word + 1] = [] if value is DELETED else [value]
        text = "\n".join(map(" ".join, lines))
        plausible = value in ("7", "-1", "0", "2.5") or (line < 2 and value in ("", DELETED))
        check(yolo, "yolo", yolo / "labels" / "11.txt", text, 2, not plausible)
