"""Layers of semantic segmentation: ways to unpool, holes in ResNets, FCN's skips, U-Net, the loss; numbers by hand."""

import keras
import numpy as np
import pytest
from keras import ops

from mrcnn.layers.fcn_head import skip_scores
from mrcnn.layers.resnet import resnet_graph
from mrcnn.layers.unet import unet
from mrcnn.layers.unpool import Unpool, upscore
from mrcnn.losses import pixel_loss


def tensor(x, dtype="float32"):
    return ops.convert_to_tensor(np.asarray(x, dtype))


MAP = np.array([[1, 2, 7, 3], [4, 4, 7, 0]], "float32")[None, ..., None]
WAYS = {
    "nearest": [[5, 5, 6, 6], [5, 5, 6, 6]],
    "nails": [[5, 0, 6, 0], [0, 0, 0, 0]],
    "maxima": [[0, 0, 6, 0], [5, 0, 0, 0]],
}


@pytest.mark.parametrize("kind", WAYS)
def test_ways_to_unpool(kind):
    inputs = [keras.Input((None, None, 2)), keras.Input((None, None, 2))]
    model = keras.Model(inputs, Unpool(kind)(inputs if kind == "maxima" else inputs[:1]))
    pooled, before = np.array([[[[5, 50], [6, 60]]]], "float32"), np.concatenate([MAP, -MAP], axis=-1)
    found = model.predict_on_batch([pooled, before])
    assert model.output.shape == (None, None, None, 2)
    np.testing.assert_array_equal(found[0, ..., 0], WAYS[kind])
    if kind == "maxima":
        np.testing.assert_array_equal(found[0, ..., 1], [[50, 0, 0, 0], [0, 0, 0, 60]])


@pytest.mark.parametrize("factor", [2, 8])
def test_a_transposed_convolution_begins_as_an_interpolation(factor):
    x = np.random.default_rng(0).normal(size=(1, 4, 5, 3)).astype("float32")
    image = keras.Input(x.shape[1:])
    found = keras.Model(image, upscore(image, factor, "upscore")).predict_on_batch(x)
    expected = ops.convert_to_numpy(ops.image.resize(x, (4 * factor, 5 * factor), "bilinear"))
    edge = factor // 2  # beyond which it takes zeros for what is not there
    np.testing.assert_allclose(found[:, edge:-edge, edge:-edge], expected[:, edge:-edge, edge:-edge], atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_holes_in_the_place_of_strides(name):
    image = keras.Input((64, 64, 3))
    maps = resnet_graph(image, name, stage5=True, width=8, output_stride=8)
    assert [x.shape[1] for x in maps] == [16, 16, 8, 8, 8]
    holes = {x.name: x.dilation_rate for x in keras.Model(image, maps).layers if isinstance(x, keras.layers.Conv2D)}
    wanted = {"3b": 1, "4a": 1, "4b": 2, "5a": 2, "5b": 4}
    assert {block: holes[f"res{block}_branch2b"][0] for block in wanted} == wanted
    plain = keras.Model(image, resnet_graph(image, name, stage5=True, width=8))
    assert [tuple(w.shape) for w in plain.weights] == [tuple(w.shape) for w in keras.Model(image, maps).weights]


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_skips(stride):
    """At first the coarsest map alone speaks; finer ones that count have layers."""
    maps = [keras.Input((64 // n, 64 // n, 4)) for n in (8, 16, 32)]
    model = keras.Model(maps, skip_scores(maps, 3, stride, channels=5, dropout=0.5))
    assert model.output.shape == (None, 64, 64, 3)
    names = {layer.name for layer in model.layers if layer.weights}
    skips = {f"semantic_{kind}_{n}" for n in (16, 8) if n >= stride for kind in ("class", "upscore")}
    assert names == {"semantic_fc6", "semantic_fc7", "semantic_class_32"} | skips
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(1, *x.shape[1:])).astype("float32") for x in maps]
    found = model.predict_on_batch(values)
    others = model.predict_on_batch([values[0] + 1, values[1] + 1, values[2]])
    np.testing.assert_allclose(found, others, atol=1e-5)
    if stride == 8:
        model.get_layer("semantic_class_8").bias.assign([0.0, 0.0, 7.0])
        np.testing.assert_allclose(model.predict_on_batch(values) - found, [[[[0, 0, 7]]]] + 0 * found, atol=1e-5)


@pytest.mark.parametrize("way", ["transposed", "maxima"])
def test_unet(way):
    image = keras.Input((None, None, 3))
    model = keras.Model(image, unet(image, 2, 3, norm=way == "maxima", unpool=way, dropout=0.5))
    assert model.predict_on_batch(np.ones((1, 16, 24, 3), "float32")).shape == (1, 16, 24, 2)
    kernels = {x.name: x.kernel.shape for x in model.layers if hasattr(x, "kernel")}
    assert kernels["unet_bottom_conv1"] == (3, 3, 8, 16) and kernels["semantic_up3_conv1"] == (3, 3, 16, 8)
    assert len(kernels) == 2 * 3 + 2 + 3 * 3
    assert any("bn" in layer.name for layer in model.layers) == (way == "maxima")


def test_the_loss_of_pixels():
    logits = np.log([[[[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]], [[0.1, 0.8, 0.1], [0.3, 0.3, 0.4]]]])
    truth, weights = [[[2, 0], [1, 1]]], [[[1, 3], [0, 2]]]
    found = pixel_loss(tensor(logits), tensor(truth, "int32"), tensor(weights), tensor([[1, 1, 1]]))
    expected = -(np.log(0.5) + 3 * np.log(0.6) + 2 * np.log(0.3)) / 6
    np.testing.assert_allclose(float(found), expected, rtol=1e-5)
    # Class 2 is none of this image's data set: the others share what it was given.
    truth = [[[0, 0], [1, 1]]]
    found = pixel_loss(tensor(logits), tensor(truth, "int32"), tensor(weights), tensor([[0, 1, 0]]))
    expected = -(np.log(0.2 / 0.5) + 3 * np.log(0.6 / 0.9) + 2 * np.log(0.5)) / 6
    np.testing.assert_allclose(float(found), expected, rtol=1e-5)
    nothing = pixel_loss(tensor(logits), tensor(truth, "int32"), tensor(np.zeros((1, 2, 2))), tensor([[1, 1, 1]]))
    assert float(nothing) == 0
