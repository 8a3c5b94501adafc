"""Files of Darknet: OpenCV's own numbers for two networks that hold every kind of layer, and files that cannot be."""

import shutil

import numpy as np
import pytest
from keras import ops
from real_data import ROOT, seeded_weights

from mrcnn.models.detectors import load_detector
from mrcnn.ops import boxes
from mrcnn.weights import convert
from mrcnn.weights.convert import darknet

FOLDER = ROOT.parent / "shared" / "golden" / "darknet"
needs_numbers = pytest.mark.skipif(not FOLDER.is_dir(), reason="OpenCV's numbers are not in ../shared")

CFG = """[net]
width=64
height=64
[convolutional]
batch_normalize=1
filters=2
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=14
size=1
stride=1
pad=1
activation=linear
[yolo]
anchors=10,20, 30,40
classes=2
num=2
"""
COUNT = 2 * 4 + 2 * 3 * 9 + 14 + 14 * 2


def write(folder, numbers, cfg=CFG, version=(0, 2, 0)):
    """A file of Darknet with its .cfg."""
    (folder / "net.cfg").write_text(cfg)
    seen = np.zeros(1, "<i8" if version[1] >= 2 else "<i4")
    head = np.array(version, "<i4").tobytes() + seen.tobytes()
    (folder / "net.weights").write_bytes(head + np.asarray(numbers, "<f4").tobytes())
    return folder / "net.weights"


@needs_numbers
@pytest.mark.parametrize("name", ["mini_v2", "mini_v3"])
def test_outputs_are_opencvs(name, tmp_path):
    shutil.copy(FOLDER / f"{name}.cfg", tmp_path)
    seeded_weights(FOLDER)["write"](str(FOLDER / f"{name}.cfg"), str(tmp_path / f"{name}.weights"))
    model = load_detector(tmp_path / f"{name}.weights", tmp_path / "logs", IMAGE_RESIZE_MODE="rect")
    assert not model.load_report.left and not model.load_report.unused
    gold = dict(np.load(FOLDER / f"{name}.npz"))
    image = gold["input_nchw"].transpose(0, 2, 3, 1)
    meta = np.array([[0, 64, 96, 3, 64, 96, 3, 0, 0, 64, 96, 1, 1, 1, 1, 1]], "float32")
    inputs = [ops.convert_to_tensor(x) for x in model.inputs(image, meta)]
    _, classes, there, numbers = model.keras_model(inputs)
    said = {"dense_class_logits": [classes], "dense_object": [there]}
    scores, anchors = ops.convert_to_numpy(model.scores(said)[0])[0], model.get_anchors(image.shape[1:])
    there, start = 1 / (1 + np.exp(-ops.convert_to_numpy(there)[0, :, 0])), 0
    heads = sorted((key for key in gold if key.startswith("out_")), key=lambda key: -len(gold[key]))
    levels = zip(heads, model.config.BACKBONE_STRIDES, model.config.YOLO_ANCHORS, strict=True)
    for key, stride, sizes in levels:
        rows = slice(start, start + 64 * 96 // stride**2 * len(sizes))
        start = rows.stop
        one = model.config.to_dict() | {"BACKBONE_STRIDES": [stride], "YOLO_ANCHORS": [sizes]}
        (deltas,) = model.numbers(_Settings(one), {"dense_bbox": [numbers[:, rows]]})
        found = boxes.decode(anchors[rows], ops.convert_to_numpy(deltas)[0], limit=20.0)
        sides = found[:, 2:] - found[:, :2]
        centres = (found[:, 2:] + found[:, :2]) / 2
        found = np.concatenate([centres[:, ::-1], sides[:, ::-1], there[rows, None]], axis=1)
        np.testing.assert_allclose(found, gold[key][:, :5], rtol=1e-4, atol=1e-4)
        kept = gold[key][:, 5:] != 0  # where OpenCV's own suppression has left them
        assert kept.mean() > 0.5
        np.testing.assert_allclose(scores[rows][kept], gold[key][:, 5:][kept], atol=1e-4)
    assert start == len(anchors)


class _Settings:
    def __init__(self, values):
        vars(self).update(values)


def test_what_stands_where(tmp_path):
    """Beta, gamma, mean, variance and kernel of a layer; the last has x, y, w, h, objectness, classes."""
    config, layers = darknet.read(write(tmp_path, np.arange(COUNT)))
    norm = layers["darknet_0_bn"]
    assert [norm[key].tolist() for key in ("beta", "gamma", "moving_mean", "moving_variance")] == [
        [0, 1],
        [2, 3],
        [4, 5],
        [6, 7],
    ]
    kernel = layers["darknet_0_conv"]["kernel"]
    assert kernel.shape == (3, 3, 3, 2) and kernel[0, 1, 0, 0] == 9 and kernel[1, 0, 0, 0] == 11
    assert kernel[0, 0, 1, 0] == 8 + 9 and kernel[0, 0, 0, 1] == 8 + 27
    bias = 8 + 54  # of two anchors with seven numbers each
    assert layers["dense_bbox_raw_1"]["bias"].tolist() == [bias + i for i in (1, 0, 3, 2, 8, 7, 10, 9)]
    assert layers["dense_object_raw_1"]["bias"].tolist() == [bias + 4, bias + 11]
    assert layers["dense_class_raw_1"]["bias"].tolist() == [bias + i for i in (5, 6, 12, 13)]
    assert layers["dense_object_raw_1"]["kernel"][0, 0, 1].tolist() == [bias + 14 + 2 * i + 1 for i in (4, 11)]
    assert config.DETECTOR == "yolo_v3" and config.NUM_CLASSES == 3 and config.IMAGE_MAX_DIM == 64
    assert config.YOLO_ANCHORS == [[[10, 20], [30, 40]]] and config.BACKBONE_STRIDES == [2]


def test_it_is_used_as_other_files_are(tmp_path, capsys):
    """Version 1 counts the images in 32 bits. What was converted is found again, and anew with another .cfg."""
    path = write(tmp_path, np.full(COUNT, 0.1), version=(0, 1, 0))
    assert convert.main([str(path), str(tmp_path / "out")]) == 0
    assert "Darknet, 3 classes with the background, boxes" in capsys.readouterr().out
    first = convert.h5_file(path, tmp_path / "logs")
    assert convert.h5_file(path, tmp_path / "logs") == first and capsys.readouterr().out.count("Converting") == 1
    model = load_detector(path, tmp_path / "logs", DETECTION_MIN_CONFIDENCE=0.0)
    (result,) = model.detect([np.random.default_rng(0).integers(0, 255, (48, 64, 3), "uint8")])
    assert len(result["rois"]) and result["rois"].dtype == np.float32
    (tmp_path / "net.names").write_text("cat\ndog\n")
    assert darknet.read(path)[0].CLASS_NAMES == ["BG", "cat", "dog"]
    (tmp_path / "net.names").write_bytes(b"\xef\xbb\xbfcat\nK\xc3\xa4se\n")
    assert darknet.read(path)[0].CLASS_NAMES == ["BG", "cat", "Käse"]
    (tmp_path / "net.names").write_bytes(b"cat\nK\xe4se\n")
    with pytest.raises(ValueError, match=r"net\.weights cannot be used with net\.cfg: net\.names is no text in UTF-8"):
        darknet.read(path)
    (tmp_path / "net.names").write_text("cat\n")
    with pytest.raises(ValueError, match=r"net\.names has 1 names, the network 2 classes"):
        darknet.read(path)
    (tmp_path / "net.names").unlink()
    path.with_suffix(".cfg").write_text(CFG.replace("10,20", "11,20"))
    assert convert.h5_file(path, tmp_path / "logs") != first


@pytest.mark.parametrize(
    "numbers, changes, words",
    [
        (np.zeros(COUNT - 1), {}, r"holds \d+ bytes of weights; the network has \d+"),
        (np.zeros(COUNT + 1), {}, r"holds \d+ bytes of weights; the network has \d+"),
        (np.zeros(COUNT), {"version": (-1, 2, 0)}, "does not begin as a file of Darknet"),
        (np.full(COUNT, np.nan), {}, "kernel is not finite in 54 of 54 values"),
        (np.full(COUNT, -1.0), {}, "moving_variance is negative"),
        (np.zeros(COUNT), {"cfg": "weights"}, r"net\.cfg cannot be used: line 1 is neither"),
        (np.zeros(COUNT), {"cfg": CFG.replace("[yolo]", "[gru]")}, r"net\.cfg cannot be used: \[gru\] in line 17"),
    ],
)
def test_a_bad_file_is_one_line(numbers, changes, words, tmp_path):
    with pytest.raises(ValueError, match=words) as error:
        convert.convert_file(write(tmp_path, numbers, **changes), tmp_path / "out")
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)
    assert not (tmp_path / "out").exists()


def test_the_cfg_has_to_be_there(tmp_path):
    write(tmp_path, np.zeros(COUNT))
    (tmp_path / "net.cfg").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match=r"net\.cfg cannot be used"):
        darknet.read(tmp_path / "net.weights")
    (tmp_path / "net.cfg").unlink()
    with pytest.raises(FileNotFoundError, match=r"put the network's net\.cfg beside it"):
        darknet.read(tmp_path / "net.weights")
    (tmp_path / "empty.weights").touch()
    (tmp_path / "empty.cfg").write_text(CFG)
    with pytest.raises(ValueError, match="does not begin as a file of Darknet"):
        darknet.read(tmp_path / "empty.weights")
