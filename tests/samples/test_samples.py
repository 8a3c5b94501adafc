"""samples/coco.py: the three commands on a small generated set, and its one-line answers to mistakes."""

import json
import re
import shutil
import sys
import types
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from real_data import ROOT, real_data

sys.path.insert(0, str(ROOT / "samples"))

import coco
import options
import pictures
import shapes

from mrcnn.settings.detectors import practice

SMALL = """BACKBONE_WIDTH=8 TOP_DOWN_PYRAMID_SIZE=8 RPN_CHANNELS=8 MASK_CHANNELS=8 FPN_CLASSIF_FC_LAYERS_SIZE=16
IMAGES_PER_GPU=2 IMAGE_MIN_DIM=64 IMAGE_MAX_DIM=64 POST_NMS_ROIS_TRAINING=32 POST_NMS_ROIS_INFERENCE=32
TRAIN_ROIS_PER_IMAGE=8 VALIDATION_STEPS=1 OPTIMIZER=sgd""".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A set of shapes in a folder with a space in its name."""
    return shapes.ensure(tmp_path_factory.mktemp("a set") / "of shapes", train=6, val=3, size=64)


@pytest.fixture
def default(folder, monkeypatch):
    """Makes that set the one that is used without --dataset."""
    monkeypatch.setattr(shapes, "default_folder", lambda: folder)


def run(capsys, *words):
    code = coco.main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "--dataset", "no/such/folder"], "no/such/folder"),
        (
            ["train", "--config", "STEPS_PER_EPOCHS=3"],
            "STEPS_PER_EPOCHS is not a setting.*did you mean STEPS_PER_EPOCH",
        ),
        (["train", "--config", "STEPS_PER_EPOCH"], "KEY=VALUE"),
        (["train", "--config", "IMAGE_MAX_DIM=100"], "IMAGE_MAX_DIM is 100; it must be a multiple of 64"),
        (["train", "--config", "BACKBONE=resnet99"], "resnet99.*resnet50"),
        (["train", "--classes", "disc"], "disc.*disk"),
        (["train", "--recipe", "four-step", "--detector", "mask_rcnn"], "four-step trains a faster_rcnn"),
        (["detect", "--model", "none", "--image", "no.jpg"], "There is no image or folder no.jpg"),
        (["evaluate", "--model", "no.h5"], "Weights file not found: no.h5"),
        (["evaluate", "--logs", "empty", "--model", "last"], "No checkpoint of 'shapes' under empty"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(capsys, default, words, message):
    code, _, err = run(capsys, *words)
    assert code == 2
    assert re.search(message, err)
    assert err.startswith("coco.py: error: ") and err.count("\n") == 1


def test_files_that_are_not_coco(capsys, folder, tmp_path):
    annotations = tmp_path / "annotations"
    annotations.mkdir()
    target = annotations / "instances_val2017.json"
    whole = (folder / "annotations" / "instances_val2017.json").read_text()
    for text in (whole[: len(whole) // 2], json.dumps({"hello": 1})):
        target.write_text(text)
        code, _, err = run(capsys, "evaluate", "--dataset", tmp_path, "--model", "none")
        assert code == 2 and str(target) in err and err.count("\n") == 1


def test_files_that_are_no_image_or_video(capsys, default, tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"neither")
    for flag, message in (("--image", f"The image file {path} cannot be read"), ("--video", f"{path} is no video")):
        words = ["detect", "--model", "none", flag, path, "--logs", tmp_path, "--config", *SMALL]
        code, _, err = run(capsys, *words)
        assert code == 2 and f"coco.py: error: {message}" in err
    code, _, err = run(capsys, "train", "--layers", "head", "--logs", tmp_path, "--config", *SMALL)
    assert code == 2 and "layers='head' matches no layer; use heads, 3+" in err


def test_unknown_command_shows_usage(capsys):
    with pytest.raises(SystemExit) as exit_code:
        coco.main(["fly"])
    assert exit_code.value.code == 2
    assert "invalid choice: 'fly'" in capsys.readouterr().err


def test_train_resume_evaluate_detect(capsys, default, folder, tmp_path):
    # The settings of the first call are saved beside its checkpoint and hold for those after it.
    common = ["--logs", tmp_path / "logs"]
    code, out, _ = run(
        capsys, "train", "--steps", "2", "--epochs", "1", "--eval-every", "1", *common, "--config", *SMALL
    )
    assert code == 0 and "Training on 6 images of 5 classes" in out
    assert re.search(r"box AP [\d.]+, mask AP [\d.]+ \(best so far", out) and "mask_AP50: " in out
    checkpoint = next((tmp_path / "logs").glob("shapes*/mask_rcnn_shapes_0001.h5"))

    code, out, _ = run(capsys, "train", "--model", "last", "--epochs", "2", *common)
    assert code == 0 and "from epoch 1 to 2" in out and "state at step 2" in out
    assert (checkpoint.parent / "mask_rcnn_shapes_0002.h5").exists()
    assert (checkpoint.parent / "mask_rcnn_shapes_best.h5").exists()
    assert [p.name for p in checkpoint.parent.glob("*.npz")] == ["mask_rcnn_shapes_0002.optimizer.npz"]
    assert list(checkpoint.parent.glob("train/events*")) and list(checkpoint.parent.glob("validation/events*"))

    results = tmp_path / "results.json"
    code, out, _ = run(capsys, "evaluate", "--output", results, *common)
    assert code == 0
    assert re.search(r"^box( +[\d.-]+){12}$", out, re.M) and re.search(r"^mask( +[\d.-]+){12}$", out, re.M)
    truth = json.loads((folder / "annotations" / "instances_val2017.json").read_text())
    assert {r["image_id"] for r in json.loads(results.read_text())} <= {image["id"] for image in truth["images"]}

    picture = tmp_path / "found" / "picture.png"
    code, out, _ = run(capsys, "detect", "--output", picture, *common)
    assert code == 0 and f"Wrote {picture}" in out
    assert Image.open(picture).size == (3 * 384, 384)  # six times 64 pixels each

    photo = tmp_path / "gray photo.jpg"
    Image.fromarray(np.full((50, 80), 99, "uint8")).save(photo)
    code, out, _ = run(capsys, "detect", "--image", photo, "--output", picture, *common)
    assert code == 0 and "gray photo.jpg: " in out
    assert Image.open(picture).size == (320, 200)


def test_a_run_is_repeated_with_its_seed(capsys, default, tmp_path):
    weights = []
    for k, seed in enumerate((3, 3, 4)):
        words = ["--steps", "1", "--epochs", "1", "--seed", seed, "--logs", tmp_path / str(k), "--config", *SMALL]
        assert run(capsys, "train", *words)[0] == 0
        with h5py.File(next((tmp_path / str(k)).glob("shapes*/mask_rcnn_shapes_0001.h5"))) as file:
            found = {}
            file.visititems(lambda name, x, to=found: to.update({name: x[:]} if isinstance(x, h5py.Dataset) else {}))
        weights.append(found)
    first, second, other = weights
    assert len(first) > 50 and all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["conv1/conv1/kernel:0"], other["conv1/conv1/kernel:0"])


def test_validate_lists_a_file_that_cannot_be_used(capsys, folder, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "broken")
    path = broken / "annotations" / "instances_train2017.json"
    path.write_text(path.read_text()[:500])
    code, out, _ = run(capsys, "validate", "--dataset", broken)
    assert code == 1 and f"{path} is no JSON that can be used, or was cut off: " in out
    assert "annotation file that cannot be used: 1. Mend or replace the file." in out and "nothing wrong" in out


def test_anchors_of_yolo_are_of_the_tiles(tmp_path, monkeypatch):
    """Of 64 pixels, which the network sees in their own size, and whole images in half of it."""
    large, sizes = shapes.ensure(tmp_path / "large", train=6, val=1, size=128), []
    monkeypatch.setattr(coco, "load_model", lambda args, config: sizes.append(np.ravel(config.YOLO_ANCHORS).max()))
    monkeypatch.setattr(coco, "train", lambda *given: None)
    words = ["train", "--dataset", large, "--model", "none", "--detector", "yolo_v2", "--logs", tmp_path]
    for more in ([], ["--tiles", "64"]):
        assert coco.main([str(word) for word in (*words, *more, "--config", *SMALL)]) == 0
    assert sizes[1] > 1.3 * sizes[0]  # tiles cut the largest


@pytest.mark.parametrize("name, loss", [("faster_rcnn", "rpn_class_loss"), ("yolo_v2", "dense_object_loss")])
def test_another_detector_is_remembered(name, loss, capsys, default, tmp_path):
    common = ["--logs", tmp_path / "logs"]
    train = ["train", "--detector", name, "--steps", "1", "--epochs", "1"]
    code, out, _ = run(capsys, *train, *common, "--config", *SMALL)
    assert code == 0 and loss in out and "mask_loss" not in out
    code, out, _ = run(capsys, "evaluate", *common)
    assert code == 0 and re.search(r"^box( +[\d.-]+){12}$", out, re.M) and not re.search(r"^mask ", out, re.M)
    code, out, _ = run(capsys, "train", "--model", "last", "--epochs", "2", *common)
    assert code == 0 and "from epoch 1 to 2" in out and "mask_loss" not in out
    code, out, _ = run(capsys, "detect", "--output", tmp_path / "picture.png", *common)
    assert code == 0 and (tmp_path / "picture.png").exists()


def test_refine_is_for_large_masks():
    pytest.importorskip("cv2", reason="OpenCV does not import", exc_type=ImportError)
    image = np.zeros((200, 300, 3), "uint8")
    image[20:160, 20:160] = image[20:60, 200:240] = 200
    found = np.zeros((200, 300, 2), bool)
    found[24:160, 24:160, 0] = found[22:60, 202:240, 1] = True  # both miss a little

    def detect(images):
        return [{"rois": np.array([[20, 20, 160, 160], [20, 200, 60, 240]]), "masks": found.copy()} for _ in images]

    model = types.SimpleNamespace(detect=detect)
    plain = pictures.find(coco.parse_arguments(["detect"]), model, image)["masks"]
    refined = pictures.find(coco.parse_arguments(["detect", "--refine"]), model, image)["masks"]
    assert (plain == found).all() and (refined[..., 1] == found[..., 1]).all()
    assert 136**2 + 300 < refined[..., 0].sum() == refined[20:160, 20:160, 0].sum()


def test_detect_in_a_video(capsys, default, tmp_path):
    cv2 = pytest.importorskip("cv2", reason="OpenCV does not import", exc_type=ImportError)
    source, target = tmp_path / "in 1.mp4", tmp_path / "new folder" / "out.mp4"
    writer = cv2.VideoWriter(str(source), cv2.VideoWriter_fourcc(*"mp4v"), 10, (80, 64))
    for value in (10, 90, 170):
        writer.write(np.full((64, 80, 3), value, "uint8"))
    writer.release()
    words = ["detect", "--model", "none", "--video", source, "--output", target, "--logs", tmp_path]
    code, out, _ = run(capsys, *words, "--config", *SMALL)
    assert code == 0 and re.search(r"^3 frames, [\d.]+ a second\nWrote " + str(target), out, re.M)
    reader = cv2.VideoCapture(str(target))
    assert reader.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    good, frame = reader.read()
    assert good and frame.shape == (64, 80, 3)


def test_validate(capsys, folder, tmp_path):
    code, out, _ = run(capsys, "validate", "--dataset", folder)
    assert code == 0 and "6 images, nothing wrong." in out and "3 images, nothing wrong." in out
    broken = shutil.copytree(folder, tmp_path / "broken")
    lost = sorted((broken / "train2017").iterdir())[0]
    lost.unlink()
    code, out, _ = run(capsys, "validate", "--dataset", broken)
    assert code == 1 and "file missing: 1. " in out and f"\n    {lost}\n6 images, 1 problems." in out
    small = ["--config", "BACKBONE=resnet18", "STEPS_PER_EPOCH=1", *SMALL]
    words = ["train", "--dataset", broken, "--model", "none", "--epochs", "1", "--logs", tmp_path, *small]
    code, out, _ = run(capsys, *words)
    assert code == 0 and f"\n    {lost}\n" in out and "Training goes on without what is left out." in out


def test_anchors(capsys, folder, default):
    code, out, _ = run(capsys, "anchors", "--dataset", folder, "--count", "3", "--config", "IMAGE_MAX_DIM=128")
    assert code == 0 and "3 sizes by k-means on IoU, in pixels at IMAGE_MAX_DIM = 128:" in out
    sizes = re.search(r'"YOLO_ANCHORS=(\[\[\[.*\]\]\])"', out)[1]
    args = coco.parse_arguments(["train", "--detector", "yolo_v3", "--config", f"YOLO_ANCHORS={sizes}"])
    args.model, args.image_only = "none", False
    made = coco.make_config(args, 6).YOLO_ANCHORS
    assert np.shape(made) == (3, 1, 2) and 0 < made[0][0][0] * made[0][0][1] < made[2][0][0] * made[2][0][1]
    code, _, err = run(capsys, "anchors", "--count", "1000")
    assert code == 2 and "sizes alone; ask for no more than that" in err


def test_images_outside_the_folder_need_a_switch(capsys, folder, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "broken")
    first = sorted((broken / "train2017").iterdir())[0]
    first.rename(tmp_path / first.name)
    path = broken / "annotations" / "instances_train2017.json"
    path.write_text(path.read_text().replace(f'"{first.name}"', f'"../../{first.name}"'))
    code, out, _ = run(capsys, "validate", "--dataset", broken)
    assert code == 1 and "image outside the set's folder: 1. Move it into the folder, or load" in out
    assert f"(../../{first.name})\n5 images, 1 problems." in out
    code, out, _ = run(capsys, "validate", "--dataset", broken, "--outside")
    assert code == 0 and "6 images, nothing wrong." in out


def test_classes_follow_the_annotation_file(capsys, folder, tmp_path):
    words = ["--dataset", folder, "--classes", "disk,star", "--model", "none", "--limit", "2", "--logs", tmp_path]
    code, out, _ = run(capsys, "evaluate", *words, "--config", "BACKBONE=resnet18", *SMALL)
    assert code == 0
    assert re.search(r"^disk ", out, re.M) and re.search(r"^star ", out, re.M) and "cross" not in out


def test_settings_are_literals_or_text():
    parsed = coco.parse_settings(["A=3", "B=(1, 2)", "C=resnet50", "D=False", "E=x=y"])
    assert parsed == {"A": 3, "B": (1, 2), "C": "resnet50", "D": False, "E": "x=y"}


def test_names_of_the_released_weights_are_cocos():
    folder = real_data("coco-mini")
    content = json.loads((folder / "annotations" / "instances_val2017.json").read_text())
    assert [c["name"] for c in sorted(content["categories"], key=lambda c: c["id"])] == coco.COCO_CLASSES


@pytest.mark.parametrize(
    ("words", "mode"),
    [
        (["detect"], "rect"),
        (["evaluate"], "square"),
        (["detect", "--config", "IMAGE_RESIZE_MODE=square"], "square"),
        (["detect", "--config", "IMAGE_RESIZE_MODE=pad64"], "pad64"),
    ],
)
def test_detect_computes_no_padding(words, mode):
    args = coco.parse_arguments([*words, "--model", "none"])
    args.image_only = False
    assert coco.make_config(args, 6).to_dict()["IMAGE_RESIZE_MODE"] == mode


@pytest.mark.parametrize(
    ("words", "saved", "score"),
    [
        (["detect"], 0.05, 0.5),
        (["detect"], 0.7, 0.7),
        (["detect", "--config", "DETECTION_MIN_CONFIDENCE=0.1"], 0.7, 0.1),
        (["evaluate"], 0.7, 0.05),
    ],
)
def test_pictures_are_of_what_is_sure(words, saved, score, tmp_path):
    coco.CocoConfig().update(NUM_CLASSES=6, DETECTION_MIN_CONFIDENCE=saved).to_json(tmp_path / "config.json")
    args = coco.parse_arguments([*words, "--model", str(tmp_path / "weights.h5"), "--dataset", "set"])
    args.image_only = False
    assert score == coco.make_config(args, 6).DETECTION_MIN_CONFIDENCE


def test_another_detector_begins_a_run_of_its_own(tmp_path):
    """With its own practice, in which nothing is left of that of the detector before."""
    run = tmp_path / "shapes20200102T0304"
    run.mkdir()
    path = run / "mask_rcnn_shapes_0007.h5"
    path.touch()
    before = coco.shapes.ShapesConfig()
    before.update(**practice("retinanet", before.to_dict())).to_json(run / "config.json")

    def made(name, model):
        args = coco.parse_arguments(["train", "--detector", name, "--model", str(model), "--logs", str(tmp_path)])
        args.image_only = False
        return coco.make_config(args, 6)

    fresh = coco.shapes.ShapesConfig()
    for name in ("faster_rcnn", "fcos", "ssd"):
        expected = {**fresh.to_dict(), **practice(name, fresh.to_dict())}
        assert made(name, path).to_dict() == coco.shapes.ShapesConfig.from_dict(expected).to_dict()
        with pytest.raises(ValueError, match=f"0007.h5 is of a retinanet; a {name} cannot go on with it"):
            made(name, "last")
    assert made("retinanet", "last").DETECTOR == "retinanet"


def test_ssd_detects_in_squares_if_it_learnt_so(tmp_path):
    config = coco.shapes.ShapesConfig()
    config.update(**{**practice("ssd", config.to_dict()), "IMAGE_RESIZE_MODE": "square"}).to_json(
        tmp_path / "config.json"
    )
    for words, score in ((["detect"], 0.5), (["evaluate"], 0.01)):
        args = coco.parse_arguments([*words, "--model", str(tmp_path / "weights.h5")])
        args.image_only = False
        made = coco.make_config(args, 6)
        assert made.IMAGE_RESIZE_MODE == "square" and score == made.DETECTION_MIN_CONFIDENCE


def test_which_weights_are_meant_where_none_are_named(capsys, tmp_path):
    def usual(*words):
        return options.usual_model(coco.parse_arguments([*words, "--logs", str(tmp_path)]))

    assert (usual("train"), usual("train", "--dataset", "set")) == ("none", "coco")
    assert usual("evaluate", "--dataset", "set") == usual("detect", "--config", "NAME=mine") == "last"
    assert not capsys.readouterr().out
    assert usual("detect") == "shapes" and "these are the weights that come with mrcnn" in capsys.readouterr().out
    (tmp_path / "shapes20260101T0000").mkdir()
    (tmp_path / "shapes20260101T0000" / "mask_rcnn_shapes_0001.h5").touch()
    assert usual("detect") == "last"


def test_only_last_goes_on_with_a_run(tmp_path):
    """Weights by their path begin a run under the set's name, whatever name they were trained under."""
    for name in ("coco", "mine"):
        run = tmp_path / f"{name}20200102T0304"
        run.mkdir()
        (run / f"mask_rcnn_{name}_0007.h5").touch()
        coco.CocoConfig().update(NUM_CLASSES=6, NAME=name, STEPS_PER_EPOCH=5).to_json(run / "config.json")

    def made(model, *words):
        args = coco.parse_arguments(["train", "--model", str(model), "--dataset", "x", "--logs", str(tmp_path), *words])
        args.image_only = False
        config = coco.make_config(args, 6)
        assert config.STEPS_PER_EPOCH == 5
        return args.goes_on, config.NAME, Path(args.model).name

    other = tmp_path / "mine20200102T0304" / "mask_rcnn_mine_0007.h5"
    assert made(other) == (False, "coco", "mask_rcnn_mine_0007.h5")
    assert made("last") == (True, "coco", "mask_rcnn_coco_0007.h5")
    assert made("last", "--config", "NAME=mine") == (True, "mine", "mask_rcnn_mine_0007.h5")


@pytest.mark.parametrize(
    "record, names",
    [({}, ["heads", "4+", "all"]), ({"until": 120}, ["4+", "all"]), ({"until": 50}, ["heads", "4+", "all"])],
)
def test_a_resumed_run_goes_on_in_its_stage(record, names):
    """The heads' stage may have ended early, so that the epoch does not tell it."""
    stages = [(0.1, 40, "heads"), (0.1, 120, "4+"), (0.01, 160, "all")]
    assert [layers for _, _, layers in coco.options.left(stages, record)] == names
