"""The network in lower precision: what is computed in it, what stays in float32, and that it detects and trains."""

import functools

import keras
import numpy as np
import pytest
from keras import layers, ops
from kites import KiteConfig, Kites
from quick import QuickConfig
from tiny import tiny_model

from mrcnn.data.batches import DataGenerator
from mrcnn.layers.roi_align import PyramidROIAlign
from mrcnn.model import MaskRCNN
from mrcnn.models.detectors import build_detector
from mrcnn.models.graph import precision
from mrcnn.settings.detectors import practice

FLOAT32 = ["anchors", "ROI", "proposal_targets", "mrcnn_detection", "mrcnn_class", "mrcnn_bbox", "mrcnn_keypoint"]
LOW = pytest.mark.parametrize("name", ["bfloat16", "float16"])


@pytest.fixture(autouse=True)
def computable(request):
    """ONEDNN_MAX_CPU_ISA can leave a processor without bfloat16, which is then refused."""
    name = getattr(request.node, "callspec", None) and request.node.callspec.params.get("name")
    if name in ("bfloat16", "float16"):
        try:
            with precision(name):
                pass
        except ValueError as error:
            pytest.skip(str(error))


@pytest.fixture(scope="module")
def inputs(golden):
    gold = golden("tiny_inference.npz")
    return [gold["molded_images"].astype("float32"), gold["image_metas"].astype("float32")]


@LOW
def test_convolutions_alone_are_in_it(name, tmp_path):
    for mode in ("training", "inference"):
        model = MaskRCNN(mode, KiteConfig().update(PRECISION=name), tmp_path).keras_model
        for layer in model._flatten_layers(include_self=False, recursive=True):
            if isinstance(layer, (layers.Conv2D, layers.Conv2DTranspose, layers.Dense)):
                assert layer.compute_dtype == name
            if layer.name in FLOAT32:
                assert layer.compute_dtype == "float32"
            assert all(w.dtype in ("float32", "uint32", "int32") for w in layer.weights)
        found = model.outputs if mode == "inference" else model.output.values()
        assert all(x.dtype in ("float32", "int32") for x in found)
    assert keras.config.dtype_policy().name == "float32"


def test_what_cannot_be_computed_is_refused(monkeypatch):
    def fail(*args):
        raise OSError("no primitive")

    monkeypatch.setattr(keras.ops, "conv", fail)
    with pytest.raises(ValueError, match="PRECISION is float16, in which no convolution"), precision("float16"):
        pass


def test_precision_ends_with_an_error():
    with pytest.raises(KeyError), precision("float16"):
        assert keras.config.dtype_policy().name == "mixed_float16"
        raise KeyError
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("name, tolerance", [("bfloat16", 0.03), ("float16", 0.006)])
def test_feature_maps_stay_close(name, tolerance, inputs, tmp_path):
    """The mantissa of float16 has three bits more."""

    def maps(model):
        anchors = np.stack([model.get_anchors((128, 128, 3))] * 2)
        return [ops.convert_to_numpy(ops.cast(x, "float32")) for x in model.compiled[0]([*inputs, anchors])[1:]]

    exact, model = maps(tiny_model("inference", tmp_path)), tiny_model("inference", tmp_path, PRECISION=name)
    for folded in (False, True):
        if folded:
            assert model.fold_batch_norm() > 5
        for one, other in zip(exact, maps(model), strict=True):
            assert 0 < np.abs(one - other).max() / np.abs(one).max() < tolerance


@LOW
def test_roi_align_has_exact_coordinates(name):
    """Sizes of 1000 pixels and weights of 1/3 do not exist in these types; a ramp shows where each sample lies."""
    ramp = np.tile(np.arange(64, dtype="float32")[None, :, None, None], (1, 1, 64, 1))
    maps = [ramp[:, : 64 // 2**k, : 64 // 2**k] for k in range(4)]
    meta = np.zeros((1, 13), "float32")
    meta[0, 4:7] = 1000, 1000, 3
    box = np.array([[[0.1, 0.1, 0.2, 0.3]]], "float32")
    align = PyramidROIAlign((4, 4), dtype=keras.DTypePolicy(f"mixed_{name}"))
    found = align([box, meta, *(ops.cast(x, name) for x in maps)])
    assert keras.backend.standardize_dtype(found.dtype) == name
    expected = PyramidROIAlign((4, 4))([box, meta, *maps])
    found, expected = ops.convert_to_numpy(ops.cast(found, "float32")), ops.convert_to_numpy(expected)
    np.testing.assert_allclose(found, expected, rtol=2.0**-8)


@pytest.fixture(scope="module")
def losses(tmp_path_factory):
    """A function of a precision: the losses of twelve steps on one batch, and the optimizer. Of a small graph, as most
    of the time goes into compiling it."""

    @functools.cache
    def train(name):
        config = QuickConfig().update(PRECISION=name, OPTIMIZER="adamw")
        config.update(**practice("yolo_v1", config.to_dict()))
        keras.utils.set_random_seed(0)
        model = build_detector("training", config, tmp_path_factory.mktemp(name))
        (batch,) = DataGenerator(Kites(), config, encoders=model.encoders(config))[0]
        model.compile(0.003, 0.9)
        graph, found = model.keras_model, []
        for _ in range(12):
            graph.reset_metrics()
            # New arrays for each step: TensorFlow may compute in those it is given.
            logs = graph.train_on_batch({key: x.copy() for key, x in batch.items()}, return_dict=True)
            found.append(float(logs["loss"]))
        return found, graph.optimizer

    return train


@pytest.mark.compiled
@LOW
def test_it_learns(name, losses):
    (exact, _), (found, optimizer) = losses("float32"), losses(name)
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer) == (name == "float16")
    assert np.isfinite(found).all()
    # Each number is rounded to 0.4 %.
    assert found[0] == pytest.approx(exact[0], rel=0.05)
    assert min(found[-3:]) < 0.8 * found[0]


def test_train_resume_and_detect(tmp_path, capsys):
    """With the scale of the loss among the optimizer's state."""
    config = QuickConfig().update(PRECISION="float16", STEPS_PER_EPOCH=1, EMA_MOMENTUM=0.5)
    MaskRCNN("training", config, tmp_path).train(Kites(), None, 0.001, 1, "all")
    model = MaskRCNN("training", config, tmp_path)
    model.load_weights(model.find_last())
    model.train(Kites(), None, 0.001, 2, "all")
    assert "Resuming the optimizer's state at step" in capsys.readouterr().out
    detector = MaskRCNN("inference", config, tmp_path)
    detector.load_weights(model.find_last())
    (result,) = detector.detect([Kites().load_image(0)])
    assert result["scores"].dtype == np.float32
