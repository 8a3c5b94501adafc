"""samples/balloon.py: its three commands on a few drawn photos, images and videos."""

import json
import sys

import numpy as np
import pytest
from PIL import Image
from real_data import ROOT

sys.path.insert(0, str(ROOT / "samples"))

import balloon

from mrcnn.draw import video
from mrcnn.settings.detectors import practice

SMALL = """BACKBONE=resnet18 BACKBONE_WIDTH=8 TOP_DOWN_PYRAMID_SIZE=8 RPN_CHANNELS=8 MASK_CHANNELS=8 IMAGES_PER_GPU=1
FPN_CLASSIF_FC_LAYERS_SIZE=16 IMAGE_MIN_DIM=64 IMAGE_MAX_DIM=64 POST_NMS_ROIS_TRAINING=32 POST_NMS_ROIS_INFERENCE=32
TRAIN_ROIS_PER_IMAGE=8 STEPS_PER_EPOCH=1 VALIDATION_STEPS=1 DETECTION_MIN_CONFIDENCE=0.0 OPTIMIZER=sgd""".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a set")
    for subset in ("train", "val"):
        (folder / subset).mkdir()
        shape = {"name": "circle", "cx": 30, "cy": 20, "r": 15}
        entry = {"filename": "1.jpg", "size": 1, "regions": {"0": {"shape_attributes": shape, "region_attributes": {}}}}
        (folder / subset / "via_region_data.json").write_text(json.dumps({"1.jpg1": entry}))
        pixels = np.full((50, 60, 3), 90, "uint8")
        pixels[5:35, 15:45] = 200, 30, 30
        Image.fromarray(pixels).save(folder / subset / "1.jpg")
    return folder


def run(capsys, *words):
    code = balloon.main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_train_evaluate_splash(capsys, folder, tmp_path):
    common = ["--logs", tmp_path / "logs", "--config", *SMALL]
    words = ["--dataset", folder, "--weights", "none", "--epochs", "1", "--layers", "all"]
    code, out, _ = run(capsys, "train", *words, *common)
    assert code == 0 and "mask_rcnn_balloon_0001.h5" in out
    code, out, _ = run(capsys, "evaluate", "--dataset", folder, "--weights", "last", *common)
    assert code == 0 and "AP50" in out and "mask" in out
    code, out, _ = run(capsys, "evaluate", "--dataset", folder, "--weights", "last", "--scales", "1,2", *common)
    assert code == 0 and "AP50" in out and "mask" in out
    picture = tmp_path / "new folder" / "splash.png"
    words = ["--weights", "last", "--image", folder / "val" / "1.jpg", "--output", picture]
    code, out, _ = run(capsys, "splash", *words, *common)
    assert code == 0 and f"Wrote {picture}" in out
    assert Image.open(picture).size == (60, 50)


def test_whole_photos_are_larger(folder, tmp_path):
    """What learned from parts looks at twice their size, unless told otherwise."""
    sizes = []
    for weights, settings in (("none", []), ("imagenet", []), ("imagenet", ["IMAGE_MIN_DIM=512", "IMAGE_MAX_DIM=576"])):
        words = ["evaluate", "--dataset", folder, "--weights", weights, "--logs", tmp_path]
        words += ["--config", *settings] if settings else []
        config = balloon.make_config(balloon.parse_arguments([str(word) for word in words]), weights)
        sizes.append((config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM))
    assert sizes == [(800, 1024), (768, 768), (512, 576)]


@pytest.mark.parametrize("detector, side", [("ssd", 384), ("yolo_v3", 768)])
def test_photos_for_detectors_of_one_size_stay(tmp_path, detector, side):
    """Their boxes are shares of the image's sides, and would be twice as large as what they find."""
    config = balloon.SmallConfig()
    path = tmp_path / "balloon20260101T0000" / "mask_rcnn_balloon_0001.h5"
    path.parent.mkdir()
    config.update(**practice(detector, config.to_dict())).to_json(path.parent / "config.json")
    words = ["evaluate", "--dataset", tmp_path, "--weights", "last", "--logs", tmp_path]
    config = balloon.make_config(balloon.parse_arguments([str(word) for word in words]), str(path))
    assert (detector, side, side) == (config.DETECTOR, config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM)


@pytest.mark.parametrize("detector", ["rcnn", "retinanet"])
def test_other_detectors(capsys, folder, tmp_path, detector):
    """Their config is beside the weights."""
    logs = ["--logs", tmp_path / "logs"]
    words = ["--dataset", folder, "--weights", "none", "--epochs", "1", "--layers", "all", "--detector", detector]
    code, _, err = run(capsys, "train", *words, *logs, "--config", *SMALL)
    assert code == 0, err
    code, out, _ = run(capsys, "evaluate", "--dataset", folder, "--weights", "last", *logs)
    assert code == 0 and "AP50" in out and "\nmask" not in out
    code, _, err = run(capsys, "train", "--dataset", folder, "--weights", "last", "--detector", "fcos", *logs)
    assert code == 2 and f"is of a {detector}; a fcos cannot go on with it" in err
    code, _, err = run(capsys, "splash", "--weights", "last", "--image", folder / "val" / "1.jpg", *logs)
    assert code == 2 and f"splash colours masks; a {detector} finds boxes alone." in err


def test_advice(capsys, folder):
    """One balloon of 30 pixels in a photo of 60, which the network sees at 384: 192 pixels."""
    settings = ["--config", "BACKBONE=resnet18", "IMAGES_PER_GPU=3"]
    code, out, _ = run(capsys, "validate", "--dataset", folder, "--advise", *settings)
    assert code == 0 and "1 objects in 1 images; at IMAGE_MAX_DIM = 384" in out
    assert "0.0% of the objects are matched by no anchor" in out and "A step of 3 images needs up to " in out


def test_color_splash():
    image = np.zeros((4, 6, 3), "uint8")
    image[:] = 200, 100, 0
    mask = np.zeros((4, 6, 2), bool)
    mask[:2, :3, 0] = mask[3, 5, 1] = True
    splash = balloon.color_splash(image, mask)
    np.testing.assert_array_equal(splash[mask.any(-1)], image[mask.any(-1)])
    assert (splash[~mask.any(-1)] == 114).all()  # 0.2125 R + 0.7154 G + 0.0721 B
    assert (balloon.color_splash(image, mask[..., :0]) == 114).all()


@pytest.mark.parametrize(
    "words, message",
    [
        (["splash", "--weights", "none", "--image", "no.jpg"], "There is no image file no.jpg"),
        (
            ["evaluate", "--weights", "none", "--dataset", "nowhere"],
            "There is no annotation file nowhere/val/via_region",
        ),
        (["evaluate", "--weights", "no.h5", "--dataset", "nowhere"], "Weights file not found: no.h5"),
        (["splash", "--weights", "none", "--video", "no.mp4"], "no.mp4 is no video that can be read"),
    ],
)
def test_mistakes_are_one_line(capsys, tmp_path, words, message):
    code, _, err = run(capsys, *words, "--logs", tmp_path, "--config", *SMALL)
    assert code == 2 and f"balloon.py: error: {message}" in err


@pytest.mark.parametrize("words", [["splash", "--weights", "none"], ["train", "--weights", "none"]])
def test_what_to_work_on_is_asked_for(words):
    with pytest.raises(SystemExit) as error:
        balloon.main(words)
    assert error.value.code == 2


def write_video(path, frames):
    cv2 = pytest.importorskip("cv2", reason="OpenCV does not import", exc_type=ImportError)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for value in range(frames):
        writer.write(np.full((48, 64, 3), value * 20, "uint8"))
    writer.release()


def test_video(tmp_path):
    write_video(tmp_path / "in 1.mp4", 6)
    seen = []
    count, rate = video.convert(
        tmp_path / "in 1.mp4", tmp_path / "out" / "a.mp4", lambda frame: seen.append(frame) or 255 - frame, verbose=0
    )
    assert count == 6 and rate > 0 and seen[0].shape == (48, 64, 3)
    back = []
    video.convert(tmp_path / "out" / "a.mp4", tmp_path / "b.mp4", lambda frame: back.append(frame) or frame, verbose=0)
    assert [round(float(frame.mean()) / 20) for frame in back] == [round((255 - 20 * i) / 20) for i in range(6)]


def test_an_interrupted_video_is_whole(tmp_path):
    write_video(tmp_path / "in.mp4", 6)

    def stop(frame, seen=[]):  # noqa: B006
        seen.append(1)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return frame

    with pytest.raises(KeyboardInterrupt):
        video.convert(tmp_path / "in.mp4", tmp_path / "out.mp4", stop, verbose=0)
    assert video.convert(tmp_path / "out.mp4", tmp_path / "b.mp4", lambda frame: frame, verbose=0)[0] == 3
