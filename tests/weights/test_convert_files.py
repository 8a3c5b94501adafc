"""From a file to a folder and to a model: the command, settings that are given, torchvision's models in full."""

import json
import runpy
import sys
import tempfile

import numpy as np
import pytest
from foreign import detectron2_state, torchvision_state, write_pickle
from real_data import ROOT, seeded_weights

from mrcnn import weights
from mrcnn.config import Config
from mrcnn.model import MaskRCNN
from mrcnn.models.detectors import load_detector
from mrcnn.weights import convert

GOLDEN = ROOT.parent / "shared" / "golden" / "torchvision"


# The command


def test_command(tmp_path, capsys):
    state = torchvision_state(points=5)
    source = write_pickle(tmp_path / "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pkl", dict(state))
    out = tmp_path / "new" / "out"
    assert convert.main([str(source), str(out)]) == 0
    assert f"{out}: resnet50, 3 classes with the background, boxes, masks, keypoints." in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "weights.h5"]
    config = Config.from_json(out / "config.json")
    assert config.BATCH_NORM_EPSILON == 0 and config.NUM_KEYPOINTS == 5 and config.KEYPOINT_NAMES == []
    assert config.RPN_SCORE == "sigmoid" and config.PIXEL_STD == [58.395, 57.12, 57.375]
    stored = weights.read(out / "weights.h5")
    _, expected = convert.translate(state, epsilon=0)
    assert stored.keys() == expected.keys()
    for layer, arrays in expected.items():
        assert stored[layer].keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(stored[layer][name], array)

    assert convert.main([str(source), str(out), "--epsilon", "0.25"]) == 0
    assert Config.from_json(out / "config.json").BATCH_NORM_EPSILON == 0.25


def test_command_keeps_all_classes(tmp_path):
    source = write_pickle(tmp_path / "model.pkl", dict(torchvision_state(classes=91)))
    for options, classes in ((["--all-classes"], 91), ([], 81)):
        assert convert.main([str(source), str(tmp_path), *options]) == 0
        assert json.loads((tmp_path / "config.json").read_text())["NUM_CLASSES"] == classes


def test_command_says_in_one_line_what_is_wrong(tmp_path, capsys):
    source = write_pickle(tmp_path / "model.pkl", {"a": np.ones(1)})
    for path in (source, tmp_path / "none.pkl", tmp_path / "model.h5"):
        assert convert.main([str(path), str(tmp_path / "out")]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_package_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["convert", str(tmp_path / "none.pkl"), str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("mrcnn.weights.convert", run_name="__main__")
    assert end.value.code == 2 and "Weights file not found" in capsys.readouterr().err


def test_settings_can_be_given(tmp_path):
    config = convert.convert(detectron2_state(), tmp_path, CHANNEL_ORDER="rgb", NAME="mine")
    assert (config.CHANNEL_ORDER, config.NAME) == ("rgb", "mine")
    assert Config.from_json(tmp_path / "config.json").CHANNEL_ORDER == "rgb"
    with pytest.raises(ValueError, match="CHANEL is not a setting"):
        convert.convert(detectron2_state(), tmp_path, CHANEL="rgb")


def test_from_pretrained_takes_files_of_a_run_too(tmp_path):
    small = {"TOP_DOWN_PYRAMID_SIZE": 8, "RPN_CHANNELS": 8, "FPN_CLASSIF_FC_LAYERS_SIZE": 8, "MASK_CHANNELS": 8}
    size = {"IMAGE_MIN_DIM": 64, "IMAGE_MAX_DIM": 64, "BACKBONE": "resnet18", "BACKBONE_WIDTH": 2, "NUM_CLASSES": 3}
    config = Config.from_dict({**small, **size})
    model = MaskRCNN("inference", config, tmp_path)
    model.save_weights(tmp_path / "model.h5")
    with pytest.raises(FileNotFoundError, match="config.json"):
        MaskRCNN.from_pretrained(tmp_path / "model.h5", tmp_path)
    config.to_json(tmp_path / "config.json")
    again = MaskRCNN.from_pretrained(tmp_path / "model.h5", tmp_path, DETECTION_MIN_CONFIDENCE=0.125)
    assert again.mode == "inference" and again.config.to_dict() == {
        **config.to_dict(),
        "DETECTION_MIN_CONFIDENCE": 0.125,
    }
    for a, b in zip(model.keras_model.get_weights(), again.keras_model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


# torchvision's models in full


@pytest.fixture(scope="module", params=["mask", "keypoint", "mask_v2"])
def golden_state(request):
    if not GOLDEN.exists():
        pytest.skip("torchvision's own numbers are not in ../shared/golden/torchvision")
    state_dict = seeded_weights(GOLDEN)["state_dict"]
    return request.param, state_dict(GOLDEN / f"torchvision_{request.param}.npz")


def test_every_tensor_of_torchvision_lands(golden_state):
    kind, state = golden_state
    config, found = convert.translate(state, keep_all=True)
    assert sum(len(arrays) for arrays in found.values()) == len(state)
    assert sum(x.size for arrays in found.values() for x in arrays.values()) == sum(x.size for x in state.values())
    sums = sorted(float(np.sum(x, dtype="float64")) for arrays in found.values() for x in arrays.values())
    np.testing.assert_allclose(sums, sorted(float(np.sum(x, dtype="float64")) for x in state.values()), atol=1e-9)
    expected = {"mask": (91, 0, True), "keypoint": (2, 17, False), "mask_v2": (91, 0, True)}[kind]
    assert expected == (config.NUM_CLASSES, config.NUM_KEYPOINTS, config.USE_MASK)
    assert found["mrcnn_class_conv1"]["kernel"].shape == (7, 7, 256, 1024)


def test_the_model_takes_every_tensor(golden_state):
    kind, state = golden_state
    with tempfile.TemporaryDirectory() as folder:
        convert.convert(state, folder)
        model = MaskRCNN.from_pretrained(folder, folder, IMAGE_MAX_DIM=64, IMAGE_MIN_DIM=64)
    loaded = {"mask": 127, "keypoint": 130, "mask_v2": 147}
    assert not model.load_report.left and len(model.load_report.loaded) == loaded[kind]
    assert {"mask": 81, "keypoint": 2, "mask_v2": 81}[kind] == model.config.NUM_CLASSES


@pytest.mark.parametrize("golden_state", ["mask_v2"], indirect=True)
def test_faster_rcnn_v2(golden_state, tmp_path):
    """torchvision's fasterrcnn_resnet50_fpn_v2 is its Mask R-CNN v2 without the layers of the masks: it finds the same
    boxes, which tests/models/test_torchvision.py compares with torchvision's."""
    _, state = golden_state
    found, small = {}, {"IMAGE_MAX_DIM": 64, "IMAGE_MIN_DIM": 64, "DETECTION_MIN_CONFIDENCE": 0.0}
    small |= {"POST_NMS_ROIS_INFERENCE": 100, "DETECTION_MAX_INSTANCES": 20}
    for name, tensors in {"mask": state, "faster": {key: x for key, x in state.items() if "mask" not in key}}.items():
        convert.convert(tensors, tmp_path / name)
        model = load_detector(tmp_path / name, tmp_path, **small)
        assert model.name == f"{name}_rcnn" and not model.load_report.left and not model.load_report.unused
        (found[name],) = model.detect([np.random.default_rng(0).integers(0, 255, (64, 64, 3), "uint8")])
    assert len(found["faster"]["rois"]) > 5 and "masks" not in found["faster"]
    for name, values in found["faster"].items():
        np.testing.assert_allclose(values, found["mask"][name], rtol=1e-5)


def test_weights_as_samples_take_them(tmp_path, capsys):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    state = torchvision_state()
    source = tmp_path / "my model.pth"
    torch.save({key: torch.tensor(value) for key, value in state.items()}, source)
    expected = tmp_path / "logs" / "my model" / "weights.h5"
    assert convert.h5_file(source, tmp_path / "logs") == expected and expected.is_file()
    assert "Converting" in capsys.readouterr().out
    assert convert.h5_file(source, tmp_path / "logs") == expected  # the first one is kept
    assert capsys.readouterr().out == ""
    assert convert.h5_file(expected.parent, tmp_path) == expected
    assert convert.h5_file(tmp_path / "other.h5", tmp_path) == tmp_path / "other.h5"
