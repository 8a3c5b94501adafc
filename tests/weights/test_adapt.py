"""Weights that fit in another form: other input channels, and biases in the file alone or in the model alone."""

import keras
import numpy as np
import pytest
import tiny
from keras import layers

from mrcnn import weights
from mrcnn.model import MaskRCNN


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_rgb_weights_for_other_channels(tmp_path, channels):
    changes = {"IMAGE_CHANNEL_COUNT": channels, "MEAN_PIXEL": [100.0] * channels}
    model = MaskRCNN("inference", tiny.TinyConfig().update(**changes), tmp_path)
    model.load_weights(tiny.WEIGHTS, by_name=True)
    assert model.load_report.adapted == {"tiny_conv1": f"from 3 input channels to {channels}"}
    assert not model.load_report.left
    rgb = weights.read(tiny.WEIGHTS)["tiny_conv1"]["kernel"]
    kernel = model.keras_model.get_layer("tiny_conv1").kernel.numpy()
    last = rgb.sum(axis=2, dtype=float) if channels == 1 else rgb[:, :, (channels - 1) % 3] * 3 / channels
    np.testing.assert_allclose(kernel[:, :, -1], last, rtol=1e-6)
    (result,) = model.detect([np.full((64, 64, channels), 100, "uint8")])
    assert result["masks"].shape[:2] == (64, 64)


def convolution(use_bias, norm=True, **options):
    """Convolutions "conv" and "last", a BatchNorm "norm" between them, with weights between 0.5 and 1.5."""
    x = keras.Input((4, 4, 2))
    y = layers.Conv2D(3, 3, use_bias=use_bias, name="conv", **options)(x)
    y = layers.BatchNormalization(name="norm")(y) if norm else y
    model = keras.Model(x, layers.Conv2D(1, 1, name="last")(y))
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("in_file", [True, False])
def test_a_bias_is_never_dropped(tmp_path, in_file):
    """It goes into the BatchNorm, or is zero: the networks compute the same."""
    theirs, ours = convolution(use_bias=in_file), convolution(use_bias=not in_file)
    theirs.save(tmp_path / "x.h5")
    report = weights.load(ours, tmp_path / "x.h5", strict=True)
    how = "bias into the BatchNorm behind it" if in_file else "zeros for the bias that the file lacks"
    assert report.adapted == {"conv": how} and f"adapted, {how}: conv" in str(report)
    x = np.random.default_rng(1).normal(size=(2, 4, 4, 2)).astype("float32")
    np.testing.assert_allclose(ours.predict_on_batch(x), theirs.predict_on_batch(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "options, exclude", [({"norm": False}, []), ({"activation": "relu"}, []), ({}, ["norm"])], ids=str
)
def test_a_bias_without_a_place_is_a_mismatch(tmp_path, options, exclude):
    convolution(use_bias=True).save(tmp_path / "x.h5")
    ours = convolution(use_bias=False, **options)
    before = ours.get_layer("conv").kernel.numpy()
    with pytest.raises(ValueError, match=r"conv: bias is \(3,\), which has no place here"):
        weights.load(ours, tmp_path / "x.h5", exclude=exclude, strict=True)
    np.testing.assert_array_equal(ours.get_layer("conv").kernel.numpy(), before)
