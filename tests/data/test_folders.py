"""Formats of folders: each written and read, every pair of them there and back, files as other tools write them."""

import json
from array import array
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from mrcnn.data.annotations import Annotation, RunLengths
from mrcnn.data.coco_file import CocoFile, Image
from mrcnn.data.formats import FORMATS, find, read, write
from mrcnn.ops.masks import encode_rle

H, W = 24, 36


def picture(path, size=(H, W), value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.new("RGB", size[::-1], (value,) * 3).save(path)
    return path


def ring():
    """A square with a hole, and a piece beside it that touches it at a corner."""
    mask = np.zeros((H, W), bool)
    mask[3:13, 4:14] = True
    mask[6:9, 7:11] = False
    mask[13:16, 14:20] = True
    return mask


def annotation(number, image, name, segmentation=(), **fields):
    return Annotation(number, image, name, segmentation, **fields)


TRIANGLE = array("d", [20.5, 2.25, 33.5, 3.75, 27, 11.5])
PIECES = array("d", [2.0, 17, 9, 17, 9, 22]), array("d", [15.0, 18, 22, 18, 22, 22, 15, 22])


def master(folder, boxes=False):
    """A set of two parts, with holes, several polygons, an image without objects and names of many letters."""
    classes = {"Kätzchen": "Kätzchen", "狗 large": "狗 large"}
    files = {}
    for part in ("train", "val"):
        file = files[part] = CocoFile(folder, classes=dict(classes))
        for k, name in enumerate(("a", "b c") if part == "train" else ("c", "d"), 1):
            file.images[k] = Image(str(picture(folder / part / f"{name}.png", value=k)), H, W)
        first = annotation(1, 1, "狗 large", RunLengths((H, W), encode_rle(ring())["counts"]))
        second = annotation(2, 1, "Kätzchen", (TRIANGLE,))
        third = annotation(3, 1, "狗 large", PIECES)
        file.objects[1] = [first, second, third] if part == "train" else [second]
        if boxes:
            file.objects[1] = [annotation(4, 1, "Kätzchen", box=array("d", [3.5, 4.25, 10.5, 6.0]))]
    return files


def masks_of(files):
    """{(part, name of the image): {(class, area, mask's bytes)}}: what a set holds, whatever the order."""
    found = {}
    for part, file in files.items():
        for i, image in file.images.items():
            objects = file.objects.get(i, [])
            masks = [a.mask(image.height, image.width) for a in objects]
            names = [file.classes[a.category_id] for a in objects]
            key = part, Path(image.path).stem
            found[key] = sorted((n, int(m.sum()), m.tobytes()) for n, m in zip(names, masks, strict=True))
    return found


@pytest.mark.parametrize("second", FORMATS)
@pytest.mark.parametrize("first", FORMATS)
def test_masks_go_from_one_format_to_another_and_back(tmp_path, first, second):
    wanted = masks_of(master(tmp_path / "own"))
    assert wanted["train", "a"] and not wanted["val", "d"]
    assert not write(master(tmp_path / "own"), tmp_path / "1", first)
    assert find(tmp_path / "1") == first
    there = read(tmp_path / "1")
    assert not [p for file in there.values() for p in file.problems]
    assert masks_of(there) == wanted
    assert not write(there, tmp_path / "2", second)
    assert masks_of(read(tmp_path / "2")) == wanted


def test_coco_keeps_what_it_has(tmp_path):
    """Ids, crowds, areas, keypoints with their names; other formats say what they cannot hold."""
    picture(tmp_path / "a.png")
    entry = {"id": 7, "image_id": 3, "category_id": 5, "bbox": [2, 2, 20, 10], "area": 77.5, "iscrowd": 0}
    entry |= {"segmentation": [[2, 2, 22, 2, 22, 12, 2, 12]], "keypoints": [3, 4, 2, 0, 0, 0], "num_keypoints": 1}
    crowd = {**entry, "id": 9, "iscrowd": 1, "segmentation": encode_rle(ring()), "bbox": [4, 3, 16, 13]}
    content = {
        "images": [{"id": 3, "file_name": "a.png", "height": H, "width": W}],
        "annotations": [entry, crowd],
        "categories": [
            {"id": 5, "name": "person", "supercategory": "animal", "keypoints": ["nose", "tail"], "skeleton": [[1, 2]]}
        ],
    }
    (tmp_path / "set.json").write_text(json.dumps(content))
    assert not write(read(tmp_path / "set.json"), tmp_path / "2.json")
    assert json.loads((tmp_path / "2.json").read_text()) == content
    files = read(tmp_path / "set.json")
    assert write(files, tmp_path / "labelme", "labelme") == {"keypoints": 2}
    assert [a.crowd for a in read(tmp_path / "labelme")[""].objects[1]] == [False, True]
    assert write(files, tmp_path / "yolo", "yolo") == {"masks": 2, "crowds": 1}
    assert write(files, tmp_path / "voc", "voc") == {"keypoints": 2, "overlaps of masks": 1}
    assert [a.crowd for a in read(tmp_path / "voc")[""].objects[1]] == [False, True]


@pytest.mark.parametrize("second", ["coco", "labelme", "voc", "yolo"])
@pytest.mark.parametrize("first", ["coco", "labelme", "voc", "yolo"])
def test_boxes_go_from_one_format_to_another(tmp_path, first, second):
    write(master(tmp_path / "own", boxes=True), tmp_path / "1", first)
    assert not write(read(tmp_path / "1"), tmp_path / "2", second)
    files = read(tmp_path / "2")
    assert set(files) == {"train", "val"}
    (found,) = files["train"].objects[1]
    assert not found.has_mask() and not files["train"].problems
    np.testing.assert_allclose(found.box, [3.5, 4.25, 10.5, 6.0], atol=1e-6)
    assert files["train"].classes[found.category_id] == "Kätzchen"


def test_keypoints_go_to_yolo_and_back(tmp_path):
    """Their names too; what is not annotated has zeros, and an object without any is a box."""
    picture(tmp_path / "a.png")
    classes = {5: "person", 2: "dog"}
    file = CocoFile(tmp_path, {1: Image(str(tmp_path / "a.png"), H, W)}, classes)
    file.keypoints[5] = {"keypoints": ["Nase", "tail"], "skeleton": [[1, 2]]}
    box = array("d", [3.5, 4.25, 10.5, 6.0])
    given = [[3, 4.5, 2, 0, 0, 0], [9.25, 7, 1, 3, 8, 2], [4, 4, 0, 8, 8, 1]]
    file.objects[1] = [annotation(k, 1, 5, box=box, keypoints=array("d", v)) for k, v in enumerate(given)]
    file.objects[1] += [annotation(3, 1, 2, box=box), annotation(4, 1, 2, box=box, keypoints=array("d", [1, 2, 2]))]
    assert write({"": file}, tmp_path / "yolo", "yolo") == {"keypoints": 1}
    there = read(tmp_path / "yolo")["train"]
    assert (
        not there.problems and [there.classes[a.category_id] for a in there.objects[1]] == ["person"] * 3 + ["dog"] * 2
    )
    found = [a.keypoints and a.keypoints.tolist() for a in there.objects[1]]
    assert found == [*given[:2], [0, 0, 0, 8, 8, 1], None, None]
    assert [a.box.tolist() for a in there.objects[1]] == [box.tolist()] * 5
    assert [there.keypoints[k]["keypoints"] for k in (0, 1)] == [["Nase", "tail"], ["point 1", "point 2"]]
    assert not write({"": there}, tmp_path / "2", "yolo")
    assert (tmp_path / "2/labels/train/a.txt").read_text() == (tmp_path / "yolo/labels/train/a.txt").read_text()


@pytest.mark.parametrize("second", ["coco", "labelme", "voc", "via", "geojson", "yolo"])
def test_attributes_go_where_they_are_held(tmp_path, second):
    """And a crowd stays one, though CVAT's files of COCO's format call what is none so."""
    said = {"occluded": True, "truncated": True, "pose": "Left", "Größe": 2.5, "Farbe": "rot", "wild": False}
    files = master(tmp_path / "own")
    for annotation in files["train"].objects[1]:
        annotation.attributes = dict(said)
    files["train"].objects[1][0].crowd = second not in ("via", "yolo")
    if second in ("yolo", "geojson"):
        place = (tmp_path / "2.geojson", None) if second == "geojson" else (tmp_path / "2", "yolo")
        lost = write(files, *place)
        assert lost == ({"attributes": 3} if second == "yolo" else {"images without objects": 2})
        if second == "geojson":
            found = json.loads(place[0].read_text("utf-8"))["features"]
            assert [x["properties"].get("attributes") for x in found] == [said] * 3 + [None]
        return
    assert not write(files, tmp_path / "2", second)
    there = read(tmp_path / "2")
    (image_id,) = there["train"].objects
    found = there["train"].objects[image_id]
    assert [a.crowd for a in found] == [second != "via", False, False]
    for a in found:
        assert {k: v for k, v in a.attributes.items() if k != "is_crowd"} == said
    assert not there["val"].objects[next(iter(there["val"].objects))][0].attributes


def test_scores_tracks_and_frames_of_detections_are_kept(tmp_path):
    frames = {k: Image(str(tmp_path / "a.mp4"), H, W, k + 6) for k in (1, 2)}
    files = {"": CocoFile(tmp_path, frames, {1: "cat"})}
    for k in (1, 2):
        files[""].objects[k] = [annotation(k, k, 1, (TRIANGLE,), score=0.625, track_id=3)]
    write(files, tmp_path / "found.json")
    there = read(tmp_path / "found.json")
    write(there, tmp_path / "found.geojson")
    found = [x["properties"] for x in json.loads((tmp_path / "found.geojson").read_text())["features"]]
    assert [(x["page"], x["score"], x["track_id"]) for x in found] == [(7, 0.625, 3), (8, 0.625, 3)]
    assert not there[""].problems


def test_data_yaml_counts_from_its_folder(tmp_path):
    """A `path` of "." is the working directory to Ultralytics; without one it is the file's folder."""
    write(master(tmp_path / "own"), tmp_path / "yolo", "yolo")
    assert (tmp_path / "yolo" / "data.yaml").read_text().startswith("train: images/train\nval: images/val\nnames:")


@pytest.mark.parametrize("second", FORMATS)
def test_classes_keep_their_order_and_those_without_objects_stay(tmp_path, second):
    """As numbers of classes depend on it; where a format does not name classes by themselves, it says so."""
    files = {"": CocoFile(tmp_path, {1: Image(str(picture(tmp_path / "a.png")), H, W)}, {5: "zebra", 2: "dog", 3: "a"})}
    files[""].objects[1] = [annotation(1, 1, 2, (TRIANGLE,)), annotation(2, 1, 3, PIECES)]
    lost = write(files, tmp_path / "2", second)
    assert lost == ({"classes without objects": 1, "order of classes": 1} if second in ("via", "masks") else {})
    (there,) = read(tmp_path / "2").values()
    assert list(there.classes.values()) == (["a", "dog"] if lost else ["zebra", "dog", "a"])
