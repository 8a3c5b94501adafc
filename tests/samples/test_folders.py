"""The commands on sets of other formats, and detections as data: written, corrected by hand, converted."""

import csv
import json
import re
import sys
import types

import numpy as np
import pytest
from PIL import Image
from real_data import ROOT

sys.path.insert(0, str(ROOT / "samples"))

import coco
import pictures

from mrcnn.data.formats import FORMATS, read
from mrcnn.settings.config import Config

SMALL = """BACKBONE=resnet18 BACKBONE_WIDTH=8 TOP_DOWN_PYRAMID_SIZE=8 RPN_CHANNELS=8 MASK_CHANNELS=8
FPN_CLASSIF_FC_LAYERS_SIZE=16 IMAGES_PER_GPU=2 IMAGE_MIN_DIM=64 IMAGE_MAX_DIM=64 POST_NMS_ROIS_TRAINING=32
POST_NMS_ROIS_INFERENCE=32 TRAIN_ROIS_PER_IMAGE=8 VALIDATION_STEPS=1 DETECTION_MIN_CONFIDENCE=0
STEPS_PER_EPOCH=1 OPTIMIZER=sgd""".split()


def run(capsys, *words):
    code = coco.main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def yolo(folder, lines="1 .5 .5 .8 .5 .8 .8\n0 .1 .1 .6 .1 .6 .6"):
    for part in ("train", "val"):
        for sub in ("images", "labels"):
            (folder / sub / part).mkdir(parents=True)
        for name in ("a", "b"):
            Image.new("RGB", (64, 64), (90, 60, 30)).save(folder / "images" / part / f"{name}.png")
            (folder / "labels" / part / f"{name}.txt").write_text(lines)
    content = "path: .\ntrain: images/train\nval: images/val\nnames: {0: Tür, 1: 门}\n"
    (folder / "data.yaml").write_text(content, "utf-8")
    return folder


def test_a_set_of_arrays_is_trained_on_and_evaluated(capsys, tmp_path):
    """Of five channels, which the config learns from the images."""
    for sub in ("images", "labels"):
        (tmp_path / "set" / sub).mkdir(parents=True)
    for name in "ab":
        labels = np.zeros((64, 64), "uint16")
        labels[10:40, 10:40] = 1
        np.save(tmp_path / "set" / "images" / f"{name}.npy", np.full((64, 64, 5), 99, "uint8"))
        np.save(tmp_path / "set" / "labels" / f"{name}.npy", labels)
    common = ["--dataset", tmp_path / "set", "--logs", tmp_path / "logs"]
    code, out, _ = run(capsys, "train", "--model", "none", "--epochs", 1, *common, "--config", *SMALL)
    assert code == 0 and "Training on 2 images of 1 classes" in out and "Training without validation: " in out
    (saved,) = (tmp_path / "logs").glob("*/config.json")
    assert Config.from_json(saved).IMAGE_CHANNEL_COUNT == 5
    code, out, _ = run(capsys, "evaluate", "--voc", "--frequency", *common)
    assert code == 0 and "has no part 'val': all of its 2 images are taken." in out
    assert re.search(r"^VOC +[01]\.\d{3} +[01]\.\d{3}$", out, re.M) and re.search(r"APr +APc +APf\nbox +[01]\.", out)


def test_validate_names_a_line(capsys, tmp_path):
    folder = yolo(tmp_path / "set")
    assert run(capsys, "validate", "--dataset", folder)[0] == 0
    (folder / "labels" / "val" / "a.txt").write_text("0 .1 .1 nan .1 .6 .6")
    for path in (folder / "labels" / "train").iterdir():
        path.write_text("")
    code, out, _ = run(capsys, "validate", "--dataset", folder)
    assert "The set has no object in its 2 images: there is nothing to learn." in out
    assert code == 1 and "2 images, nothing wrong." in out
    assert f"{folder}/labels/val/a.txt  line 1: " in out and "Mend it" in out


def test_annotations_are_converted(capsys, tmp_path):
    folder = yolo(tmp_path / "set")
    code, out, err = run(capsys, "convert-annotations", folder, tmp_path / "labelme", "--to", "labelme")
    assert (code, err) == (0, "") and "4 images with 8 objects, yolo to labelme" in out and "Not held" not in out
    shapes = json.loads((tmp_path / "labelme" / "train" / "a.json").read_text("utf-8"))["shapes"]
    assert [shape["label"] for shape in shapes] == ["门", "Tür"]
    code, out, _ = run(capsys, "convert-annotations", tmp_path / "labelme", tmp_path / "x.csv")
    assert code == 0 and "Not held there: masks (8)." in out
    with open(tmp_path / "x.csv", encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 8
    (folder / "labels" / "val" / "a.txt").write_text("7 .1 .1 .5 .1 .6 .6")
    code, out, err = run(capsys, "convert-annotations", folder, tmp_path / "set.json")
    assert code == 1 and "class not in the file: 1. " in err and len(read(tmp_path / "set.json")[""].images) == 4
    code, _, err = run(capsys, "convert-annotations", folder, tmp_path / "labelme", "--to", "voc")
    assert code == 2 and "is there already and not empty" in err and err.count("\n") == 1


def test_all_that_can_be_converted_is_converted(capsys, tmp_path):
    """A picture that is missing, cut off or of another size stopped it half way, or went on unnoticed."""
    rng = np.random.default_rng(0)
    names = [f"{x}.png" for x in "abcde"] + ["f.jpg"]
    for name in names:
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), "uint8")).save(tmp_path / name)
    for name in ("b.png", "f.jpg"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
    (tmp_path / "c.png").unlink()
    Image.new("RGB", (32, 64)).save(tmp_path / "d.png")
    box = {"category_id": 1, "bbox": [4, 4, 20, 20], "iscrowd": 0}
    content = {
        "images": [{"id": k, "file_name": name, "width": 64, "height": 64} for k, name in enumerate(names, 1)],
        "annotations": [{**box, "id": k, "image_id": k} for k in range(1, 7)],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "set.json").write_text(json.dumps(content))
    for name in FORMATS:
        code, out, err = run(capsys, "convert-annotations", tmp_path / "set.json", tmp_path / name, "--to", name)
        assert code == 1 and f"2 images with 2 objects, coco to {name}" in out
        for bad, words in (("b.png", "cut|truncated"), ("f.jpg", "truncated"), ("c.png", ""), ("d.png", "32x64, not")):
            (line,) = [x for x in err.splitlines() if f"{tmp_path}/{bad} " in f"{x} "]
            assert re.search(words, line)
        placed = sorted(path.name for path in (tmp_path / name).rglob("[a-f].*") if path.suffix in (".png", ".jpg"))
        assert {"a.png", "e.png"} <= set(placed) and not {"b.png", "c.png", "d.png", "f.jpg"} & set(placed)
    for name in ("a.png", "e.png"):
        (tmp_path / name).unlink()
    code, _, err = run(capsys, "convert-annotations", tmp_path / "set.json", tmp_path / "x", "--to", "coco")
    assert code == 2 and "set.json has no image that can be read." in err and not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "words, message",
    [
        (["a", "b"], "or a folder whose format --to names"),
        (["a", "b.csv", "--to", "coco"], "or a folder whose format --to names"),
        (["a", "b", "--to", "voc", "--tolerance", "1"], "--tolerance goes with"),
        (["a", "b.csv", "--transform", "1,0,0,0,1,0"], "--transform goes with"),
        (["a", "b.geojson", "--transform", "1,0,0"], "'1,0,0' is not six numbers"),
        (["a", "b.geojson", "--transform", "1,0,0,0,1,nan"], "'nan' is not a number"),
    ],
)
def test_nonsense_is_refused(words, message, capsys):
    with pytest.raises(SystemExit) as end:
        coco.main(["convert-annotations", *words])
    assert end.value.code == 2 and message in capsys.readouterr().err


@pytest.fixture
def detect(tmp_path):
    """Detects a square with a hole in a picture, and gives the path that it wrote."""
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.png")
    masks = np.zeros((30, 40, 1), bool)
    masks[4:14, 5:15] = True
    masks[7:9, 8:10] = False
    result = {"rois": np.array([[4, 5, 14, 15]]), "class_ids": [2], "scores": [0.875], "masks": masks}
    model = types.SimpleNamespace(detect=lambda images: [dict(result) for _ in images], config=Config())

    def call(name, *words):
        output = tmp_path / name
        line = ["detect", "--image", tmp_path / "photo.png", "--output", output, *words]
        args = coco.parse_arguments([str(word) for word in line])
        pictures.check_detect(args)
        assert pictures.detect(args, model, None, ["BG", "cat", "Hündin"]) == 0
        return output

    return call


def test_detections_for_labelme_are_read_again(detect):
    folder = detect("to correct")
    (shape,) = json.loads((folder / "photo.json").read_text("utf-8"))["shapes"]
    assert (shape["label"], shape["shape_type"], shape["description"]) == ("Hündin", "mask", "score 0.8750")
    file = read(folder)[""]
    assert file.objects[1][0].mask(30, 40).sum() == 96
    with pytest.raises(ValueError, match="is there already and not empty"):
        detect("to correct")


def test_detections_as_geojson_have_holes_and_a_transform(detect):
    content = json.loads(detect("a.geojson", "--transform", "2,0,100,0,-2,500", "--tolerance", 0).read_text("utf-8"))
    (feature,) = content["features"]
    outer, hole = (np.array(ring) for ring in feature["geometry"]["coordinates"])
    assert outer.min(axis=0).tolist() == [110, 472] and outer.max(axis=0).tolist() == [130, 492]
    assert hole.min(axis=0).tolist() == [116, 482] and hole.max(axis=0).tolist() == [120, 486]
    for ring, sign in ((outer, 1), (hole, -1)):  # counter-clockwise, and the other way round
        (x, y), (x2, y2) = ring[:-1].T, ring[1:].T
        assert np.sign((x * y2 - x2 * y).sum()) == sign and (ring[0] == ring[-1]).all()
    assert feature["properties"] == {"image": "photo.png", "id": 1, "class": "Hündin", "score": 0.875, "mask": True}


def test_detections_as_coco_and_csv(detect):
    content = json.loads(detect("new/a.json").read_text("utf-8"))
    (found,) = content["annotations"]
    assert found["bbox"] == [5, 4, 10, 10] and found["area"] == 96 and found["score"] == 0.875
    assert content["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "Hündin"}]
    assert content["images"][0]["height"] == 30 and found["category_id"] == 2
    with open(detect("a.csv"), encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert [row[name] for name in "class score x y width height area".split()] == "Hündin 0.875 5 4 10 10 96".split()
