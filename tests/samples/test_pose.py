"""samples/pose.py: the commands on a small set of drawn figures, and on real people."""

import json
import re
import sys

import keras
import numpy as np
import pytest
import tiny
from conftest import eagerly
from kites import KiteConfig, Kites
from PIL import Image
from quick import QuickConfig
from real_data import ROOT, real_data

from mrcnn.evaluate import evaluate, format_classes, format_table
from mrcnn.model import MaskRCNN

sys.path.insert(0, str(ROOT / "samples"))

import coco
import figures
import pose

SMALL = """BACKBONE="resnet18" BACKBONE_WIDTH=8 TOP_DOWN_PYRAMID_SIZE=8 RPN_CHANNELS=8 MASK_CHANNELS=8
FPN_CLASSIF_FC_LAYERS_SIZE=16 IMAGES_PER_GPU=2 IMAGE_MIN_DIM=64 IMAGE_MAX_DIM=64 POST_NMS_ROIS_TRAINING=32
POST_NMS_ROIS_INFERENCE=32 TRAIN_ROIS_PER_IMAGE=8 VALIDATION_STEPS=1 KEYPOINT_CHANNELS=8
KEYPOINT_CONVOLUTIONS=2 OPTIMIZER=sgd""".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return figures.ensure(tmp_path_factory.mktemp("a set") / "of figures", train=6, val=3, size=64)


def run(capsys, *words):
    code = coco.main([str(word) for word in words], pose.POSE)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_train_evaluate_detect(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(figures, "default_folder", lambda: folder)
    logs = ["--logs", tmp_path / "logs"]
    code, out, err = run(capsys, "train", *logs, "--steps", 2, "--epochs", 1, "--eval-every", 1, "--config", *SMALL)
    assert code == 0, err
    assert "keypoint AP" in out and "Weights are in" in out and "mrcnn_keypoint_loss" in out

    code, out, err = run(capsys, "evaluate", *logs, "--output", tmp_path / "found.json", "--report", tmp_path / "page")
    assert code == 0, err
    assert "keypoint" in out and ("Left and right exchanged in" in out or "Nobody found." in out)
    assert "keypoint AP50" in (tmp_path / "page/index.html").read_text(encoding="utf-8")
    entries = json.loads((tmp_path / "found.json").read_text())
    assert all({"bbox", "segmentation", "score"} <= entry.keys() for entry in entries)
    assert all(len(entry["keypoints"]) == 3 * len(figures.COCO_NAMES) for entry in entries)

    code, out, err = run(
        capsys, "detect", *logs, "--output", tmp_path / "a b.png", "--config", "DETECTION_MIN_CONFIDENCE=0"
    )
    assert code == 0, err
    assert np.asarray(Image.open(tmp_path / "a b.png")).std() > 0


def test_another_detector_with_joints(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(figures, "default_folder", lambda: folder)
    options = "--logs", tmp_path / "logs"
    steps = "--steps", 1, "--epochs", 1, "--detector", "centernet", "--config"
    code, out, err = run(capsys, "train", *options, *steps, *SMALL)
    assert code == 0 and "dense_joint_vector_loss" in out, err
    code, out, err = run(capsys, "evaluate", *options, "--limit", 1)
    assert code == 0 and re.search("^keypoint", out, re.MULTILINE) and not re.search("^mask", out, re.MULTILINE), err


def test_real_people(tmp_path, capsys):
    """A step of training on COCO's person_keypoints files."""
    code, out, err = run(
        *(capsys, "train", "--dataset", real_data("coco-mini"), "--model", "none", "--logs", tmp_path),
        *("--steps", 1, "--epochs", 1, "--config", *SMALL, "MINI_MASK_SHAPE=(28,28)"),
    )
    assert code == 0, err
    assert "of 1 classes" in out and "mrcnn_keypoint_loss" in out


def test_detectors_without_keypoints_are_refused(capsys):
    with pytest.raises(SystemExit):
        run(capsys, "train", "--detector", "fcos")
    assert "--detector fcos finds no keypoints; mask_rcnn, cascade_rcnn and centernet do" in capsys.readouterr().err


def test_a_set_without_keypoints_is_named(tmp_path, capsys):
    (tmp_path / "annotations").mkdir()
    code, _, err = run(capsys, "train", "--dataset", tmp_path)
    assert code == 2 and "person_keypoints_train2017.json" in err and err.count("\n") == 1


# Other objects with other points


@pytest.mark.parametrize("masks, points", [(True, 4), (False, 4), (False, 0)])
def test_heads_can_be_left_out(masks, points, tmp_path):
    """Trained for a step, with or without a mask and a keypoint head; what is detected and evaluated."""
    config = QuickConfig().update(NUM_KEYPOINTS=points, USE_MASK=masks, STEPS_PER_EPOCH=1)
    model = MaskRCNN("training", config, tmp_path)
    kept = keras.callbacks.History()
    model.train(Kites(), None, 0.001, 1, "all", custom_callbacks=[kept])
    assert ("mrcnn_keypoint_loss" in kept.history) == (points > 0)
    assert ("mrcnn_mask_loss" in kept.history) == masks
    assert np.isfinite(kept.history["loss"][0])
    detector = MaskRCNN("inference", config, tmp_path)
    detector.load_weights(model.find_last())
    assert not detector.load_report.left
    detector.keras_model.get_layer("mrcnn_class_logits").bias.assign([-9.0, 9.0])  # all is a kite
    (result,) = detector.detect([Kites().load_image(1)])
    count = len(result["rois"])
    assert count and ("masks" in result) == masks and ("keypoints" in result) == (points > 0)
    if masks:
        assert result["masks"].shape == (64, 64, count)
    if points:
        assert result["keypoints"].shape == (count, 4, 3) and result["keypoints"].dtype == np.float32
        assert (result["keypoints"][..., 2] > 0).all()
    outputs = detector.keras_model.outputs
    assert len(outputs) == 6 + masks + (points > 0)
    if points:
        assert tuple(outputs[-1].shape) == (None, 4, 4, 28, 28)
    metrics = evaluate(detector, Kites(2), verbose=0)
    assert list(metrics) == ["bbox", *["segm"] * masks, *["keypoints"] * (points > 0)]
    assert ("keypoint" in format_table(metrics)) == (points > 0) and "kite" in format_classes(metrics)


def test_images_without_points_train_boxes_and_masks(tmp_path):
    keras.utils.set_random_seed(0)
    config = QuickConfig().update(NUM_KEYPOINTS=4, STEPS_PER_EPOCH=1, APPEND_GT_ROIS=True)
    model = MaskRCNN("training", config, tmp_path)
    kept = keras.callbacks.History()
    model.train(Kites(keypoints=False), None, 0.001, 1, "all", custom_callbacks=[kept])
    assert kept.history["mrcnn_keypoint_loss"] == [0.0] and kept.history["mrcnn_mask_loss"][0] > 0


@pytest.mark.compiled
def test_four_points_are_learnt(tmp_path):
    """160 steps put most corners of the kites seen in training near the right place."""
    keras.utils.set_random_seed(0)
    config = KiteConfig().update(
        STEPS_PER_EPOCH=160, BACKBONE=tiny.backbone, COMPUTE_BACKBONE_SHAPE=tiny.backbone_shapes, OPTIMIZER="adamw"
    )
    model = MaskRCNN("training", config, tmp_path)
    model.train(Kites(), None, 0.004, 1, "all")
    detector = MaskRCNN("inference", config.update(IMAGES_PER_GPU=12), tmp_path)
    detector.load_weights(model.find_last())
    with eagerly():  # one batch runs faster than it is compiled
        metrics = evaluate(detector, Kites(), verbose=0)
    assert metrics["keypoints"]["AP50"] > 0.5, metrics["keypoints"]["AP50"]
