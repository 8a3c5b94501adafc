"""Around the graph: mistakes in the config, weights files, folders of runs, folding."""

import os
import shutil

import keras
import numpy as np
import pytest
from golden_detection import OUTPUTS, check_result, check_same, gold, inputs, model, outputs  # noqa: F401  (fixtures)
from kites import KiteConfig
from tiny import WEIGHTS, TinyConfig, tiny_model

from mrcnn.config import Config
from mrcnn.layers.batch_norm import BatchNorm
from mrcnn.model import MaskRCNN
from mrcnn.models.inspection import step_memory


def test_wrong_mode(model, gold, tmp_path):
    with pytest.raises(ValueError, match="mode is 'detect'; it must be 'training' or 'inference'"):
        MaskRCNN("detect", TinyConfig(), tmp_path)
    with pytest.raises(ValueError, match="built for inference; make one with mode='training'"):
        model.train(None, None, 0.1, 1, "heads")
    for rate, epochs, words in (
        ("0.1", 1, "learning_rate is '0.1'; it must be a number or a schedule of Keras"),
        (0.1, 1.5, "epochs is 1.5; it must be a whole number"),
    ):
        with pytest.raises(ValueError, match=words):
            model.train(None, None, rate, epochs, "heads")
    training = tiny_model("training", tmp_path)
    for detect in (lambda: training.detect([gold["image_0"]]), lambda: training.detect_molded([gold["image_0"]], [0])):
        with pytest.raises(ValueError, match="built for training; make one with mode='inference'"):
            detect()
    sizes_vary = TinyConfig().update(IMAGE_RESIZE_MODE="none", IMAGE_MAX_DIM=None)
    with pytest.raises(ValueError, match="IMAGE_MAX_DIM None; training needs images of one size"):
        MaskRCNN("training", sizes_vary, tmp_path)


@pytest.mark.parametrize(
    "values, message",
    [
        (
            {"IMAGE_MAX_DIM": 100},
            "IMAGE_MAX_DIM is 100; it must be a multiple of 64 in mode 'square', for instance 128.",
        ),
        (
            {"BACKBONE": "resnet35"},
            "BACKBONE 'resnet35' is unknown; near it are resnet50, resnet34",
        ),
        ({"NUM_CLASSES": 1}, "NUM_CLASSES is 1; set it to 1 (the background) plus the number of your classes."),
        ({"BACKBONE": lambda x, stage5, train_bn: [x]}, "BACKBONE returned 1 feature maps; it must return five"),
    ],
)
def test_build_errors(values, message, tmp_path):
    config = TinyConfig()
    for name, value in values.items():
        setattr(config, name, value)
    with pytest.raises(ValueError) as error:
        MaskRCNN("inference", config, tmp_path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_image_size_error_of_mode_none(tmp_path):
    class NoneConfig(Config):
        NUM_CLASSES = 2
        BACKBONE = "resnet18"
        BACKBONE_WIDTH = 8
        IMAGE_RESIZE_MODE = "none"

    with pytest.raises(ValueError, match="The image is 100x128 after resizing; the network wants multiples of 64"):
        MaskRCNN("inference", NoneConfig(), tmp_path).detect([np.zeros((128, 100, 3), "uint8")])


def test_keras_file(model, inputs, outputs, tmp_path):
    model.keras_model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    for name, result, expected in zip(OUTPUTS, loaded.predict_on_batch(inputs), outputs, strict=True):
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6 * np.abs(expected).max(), err_msg=name)


def test_load_weights_of_a_checkpoint_sets_epoch(model, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "model_dir", str(tmp_path))
    run = tmp_path / "tiny20200102T0304"
    run.mkdir()
    shutil.copy(WEIGHTS, run / "mask_rcnn_tiny_0007.h5")
    shutil.copy(WEIGHTS, run / "mask_rcnn_tiny_0012.h5")
    (run / "mask_rcnn_tiny_0013.h5.part").touch()
    (tmp_path / "tiny20200102T0305").mkdir()  # a run that ended before its first checkpoint
    (tmp_path / "other20210102T0304").mkdir()
    shutil.copy(WEIGHTS, tmp_path / "other20210102T0304" / "mask_rcnn_other_0001.h5")
    assert model.find_last() == str(run / "mask_rcnn_tiny_0012.h5")
    model.load_weights(model.find_last(), by_name=True)
    assert model.epoch == 12
    assert model.log_dir == str(run)
    assert model.checkpoint_path.format(epoch=13) == str(run / "mask_rcnn_tiny_0013.h5")
    model.load_weights(WEIGHTS, by_name=True)
    assert model.epoch == 0
    assert model.log_dir != str(run)


@pytest.mark.parametrize(
    "path, epoch, folder",
    [
        ("/logs/tiny20171029T2315/mask_rcnn_tiny_0001.h5", 1, "tiny20171029T2315"),
        (r"C:\logs\tiny20171029T2315\mask_rcnn_tiny_0030.h5", 30, "tiny20171029T2315"),
        ("logs/deep/tiny20171029T2315_2/mask_rcnn_tiny_0123.h5", 123, "tiny20171029T2315_2"),
        ("/logs/other20171029T2315/mask_rcnn_other_0123.h5", 0, None),  # weights for a run of another name
        ("/weights/mask_rcnn_coco.h5", 0, None),
        ("/logs/tiny20171029T2315/epoch_0030.h5", 0, None),
        (None, 0, None),
    ],
)
def test_set_log_dir(path, epoch, folder, model, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "model_dir", str(tmp_path))
    model.set_log_dir(path)
    assert model.epoch == epoch
    if folder:
        assert model.log_dir == os.path.join(tmp_path, folder)
    else:
        name = os.path.relpath(model.log_dir, tmp_path)
        assert len(name) == len("tiny20171029T2315") and name.startswith("tiny20")


def test_find_last_without_checkpoint(model, tmp_path, monkeypatch):
    for folder in (tmp_path, tmp_path / "absent"):
        monkeypatch.setattr(model, "model_dir", str(folder))
        with pytest.raises(FileNotFoundError, match="No checkpoint of 'tiny' under .*; train first, or give"):
            model.find_last()


def test_batch_norm_folds_into_convolutions_without_bias(tmp_path):
    """Those of resnet18: what is added to their outputs stays a layer."""
    keras.utils.set_random_seed(0)
    config = KiteConfig().update(DETECTION_MIN_CONFIDENCE=0.0)
    model = MaskRCNN("inference", config, tmp_path)
    rng = np.random.default_rng(0)
    norms = [layer for layer in model.get_trainable_layers() if isinstance(layer, BatchNorm)]
    for layer in norms:
        for weight in layer.weights:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    anchors = model.get_anchors((64, 64, 3))[None]
    inputs = [rng.normal(0, 50, (1, 64, 64, 3)), np.zeros((1, config.IMAGE_META_SIZE)), anchors]
    plain = [np.array(x) for x in model.compiled[0](inputs)[1:]]
    assert model.fold_batch_norm() == len(norms)
    for one, other in zip(plain, model.compiled[0](inputs)[1:], strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * np.abs(one).max())


def test_batch_norm_folds_into_the_convolutions(tmp_path, gold, inputs):
    model = tiny_model("inference", tmp_path)
    plain = [np.array(x) for x in model.keras_model.predict_on_batch(inputs)]
    detected = model.detect([gold["image_0"]])
    count = sum(isinstance(layer, BatchNorm) for layer in model.get_trainable_layers())
    assert model.fold_batch_norm() == count > 5
    assert model.fold_batch_norm() == 0
    folded = [np.array(x) for x in model.keras_model.predict_on_batch(inputs)]
    for one, other in zip(plain, folded, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)
    check_same(model.detect([gold["image_0"]])[0], detected[0])
    # Saved and loaded into a model that still has its BatchNorm, the numbers are the same.
    model.save_weights(tmp_path / "folded.h5")
    other = tiny_model("inference", tmp_path)
    other.load_weights(tmp_path / "folded.h5")
    for one, again in zip(plain, other.keras_model.predict_on_batch(inputs), strict=True):
        np.testing.assert_allclose(one, np.array(again), rtol=0, atol=1e-4)
    model.load_weights(WEIGHTS)
    check_same(model.detect([gold["image_0"]])[0], detected[0])
    with pytest.raises(ValueError, match="built for training"):
        tiny_model("training", tmp_path).fold_batch_norm()


def test_memory_of_a_step_by_hand():
    """Two images of 4 numbers, a layer of 3 and, called twice, a model of 5; AdamW has two numbers for each weight."""
    inner_input = keras.Input((3,))
    inner = keras.Model(inner_input, keras.layers.Dense(5)(inner_input), name="inner")
    image = keras.Input((4,), batch_size=2)
    x = keras.layers.Dense(3)(image)
    graph = keras.Model(image, keras.layers.Add()([inner(x), inner(x)]))
    weights, outputs = (4 + 1) * 3 + (3 + 1) * 5, 2 * (3 + 5 + 5 + 5)
    assert step_memory(graph) == 4 * (1 + 1 + 2) * weights + 2 * 4 * outputs
    assert step_memory(graph, slots=1) == 4 * (1 + 1 + 1) * weights + 2 * 4 * outputs
