"""Keras's ImageNet files: their names, and that models of other settings compute with them what Keras's networks do."""

import keras
import numpy as np
import pytest
from conftest import read_golden
from keras import layers

from mrcnn import weights
from mrcnn.config import ModernConfig
from mrcnn.layers.resnet import resnet_graph
from mrcnn.model import MaskRCNN
from mrcnn.weights.h5 import KERAS, KERAS_1, opened, write_groups

LAYOUT = read_golden("layer_layout.json")
MEAN, STD = (123.68, 116.779, 103.939), (58.0, 57.0, 57.5)
RESNETS = {"resnet50": keras.applications.ResNet50, "resnet101": keras.applications.ResNet101}


def write(model, path):
    """The weights of a network of keras.applications, as it publishes them."""
    pairs = [(x.name, {f"{x.name}/{w.name}:0": w.numpy() for w in x.weights}) for x in model.layers]
    write_groups(path, pairs)
    return path


@pytest.fixture(scope="module")
def resnet50(tmp_path_factory):
    """Keras's ResNet-50 with random statistics, and its file."""
    model = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 96, 3))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
        elif layer.weights:
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, rng.normal(size=bias.shape)])
    return model, write(model, tmp_path_factory.mktemp("imagenet") / "notop.h5")


def graph(name="resnet50", shape=(64, 96, 3), **variant):
    image = keras.Input(shape)
    return keras.Model(image, resnet_graph(image, name, stage5=True, train_bn=False, **variant))


def photo(channels=3):
    return np.random.default_rng(1).uniform(0, 255, (1, 64, 96, channels)).astype("float32")


# Names


def backbone_layers(name):
    """{layer: {weight: shape}} of the original's backbone."""
    stored = LAYOUT["models"][f"{name}/inference"]["layers"]
    return {
        entry["layer"]: {w.split("/")[1].split(":")[0]: tuple(shape) for w, shape in entry["weights"]}
        for entry in stored
        if entry["layer"].startswith(("res", "bn", "conv1")) and entry["weights"]
    }


@pytest.mark.parametrize("name", ["resnet50", "resnet101"])
def test_todays_imagenet_layers_are_ours(tmp_path, name):
    reference = RESNETS[name](weights=None, include_top=False, input_shape=(64, 64, 3))
    stored = weights.read(write(reference, tmp_path / "new.h5"))
    assert {layer: {w: v.shape for w, v in ws.items()} for layer, ws in stored.items()} == backbone_layers(name)


def test_keras_1_imagenet_file(tmp_path):
    """Names as in resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5 of 2016, which many have on disk."""
    short = {"kernel": "W", "bias": "b", "moving_mean": "running_mean", "moving_variance": "running_std"}
    groups = []
    for entry in LAYOUT["resnet50_imagenet_notop"]["layers"]:
        pairs = [(w.split("/")[1].split(":")[0], shape) for w, shape in entry["weights"]]
        groups.append((entry["layer"], {f"{entry['layer']}_{short.get(w, w)}_1:0": np.zeros(s) for w, s in pairs}))
    write_groups(tmp_path / "old.h5", groups)
    with opened(tmp_path / "old.h5") as (stored, origin):
        shapes = {layer: {w: v.shape for w, v in ws.items()} for layer, ws in stored.items()}
    assert origin == KERAS_1
    assert shapes == backbone_layers("resnet50")


# Numbers


def keras_maps(model, pixels):
    """C1 to C5 of Keras's network for RGB of 0..255."""
    names = ("pool1_pool", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out")
    outputs = [model.get_layer(name).output for name in names]
    return keras.Model(model.input, outputs).predict_on_batch(keras.applications.resnet.preprocess_input(pixels.copy()))


def test_other_settings_compute_what_keras_does(resnet50):
    """Without biases, with another epsilon, scale and order of channels, and Keras's own padding of the pooling."""
    theirs, path = resnet50
    ours = graph(bias=False, padding="symmetric", epsilon=0.75)  # more than some variances are
    report = weights.load(ours, path, strict=True, pixels=weights.Pixels(MEAN, STD, "bgr"))
    assert report.adapted["conv1"] == "to MEAN_PIXEL and PIXEL_STD, to BGR, bias into the BatchNorm behind it"
    assert report.adapted["res5c_branch2c"] == "bias into the BatchNorm behind it"
    assert report.adapted["bn5c_branch2c"] == "from epsilon 1.001e-05 to 0.75"
    pixels = photo()
    seen = ((pixels - np.float32(MEAN)) / np.float32(STD))[..., ::-1]
    for found, expected in zip(ours.predict_on_batch(seen), keras_maps(theirs, pixels), strict=True):
        assert expected.std() > 0.01 * expected.max() > 0
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_the_originals_settings_compute_what_keras_does(resnet50):
    """But for the padding of the pooling, which it has on one side: from the pooled stem on."""
    theirs, path = resnet50
    ours = graph()
    assert not weights.load(ours, path).left
    pooled = np.random.default_rng(1).normal(size=(1, 16, 24, 64)).astype("float32")
    found = keras.Model(ours.get_layer("res2a_branch2a").input, ours.outputs[4]).predict_on_batch(pooled)
    expected = keras.Model(theirs.get_layer("pool1_pool").output, theirs.output).predict_on_batch(pooled)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def stem(channels=3, use_bias=True, epsilon=1e-3):
    image = keras.Input((64, 96, channels))
    x = layers.Conv2D(64, 7, strides=2, use_bias=use_bias, name="conv1")(layers.ZeroPadding2D(3)(image))
    return keras.Model(image, layers.BatchNormalization(epsilon=epsilon, name="bn_conv1")(x))


@pytest.mark.parametrize("use_bias", [True, False])
def test_another_mean(resnet50, use_bias):
    """Inside, where no zeros are padded, which stand for the mean."""
    theirs, path = resnet50
    ours, pixels = stem(use_bias=use_bias), photo()
    mean = (100.0, 20.0, 0.0)
    assert not weights.load(ours, path, pixels=weights.Pixels(mean, 2.0)).left
    found = ours.predict_on_batch((pixels - np.float32(mean)) / 2)
    molded = keras.applications.resnet.preprocess_input(pixels.copy())
    expected = keras.Model(theirs.input, theirs.get_layer("conv1_bn").output).predict_on_batch(molded)
    inside = slice(2, -2)
    assert np.abs(found - expected).max() > 0.1 * np.abs(expected).max()
    np.testing.assert_allclose(
        found[:, inside, inside], expected[:, inside, inside], rtol=1e-3, atol=1e-4 * np.abs(expected).max()
    )


def test_gray_images(resnet50):
    """One channel gives what the same gray in all three does."""
    theirs, path = resnet50
    ours, pixels = stem(channels=1), photo(channels=1)
    report = weights.load(ours, path, pixels=weights.Pixels([110.0], [50.0]))
    assert report.adapted["conv1"] == "from 3 input channels to 1, to MEAN_PIXEL and PIXEL_STD"
    molded = keras.applications.resnet.preprocess_input(np.repeat(pixels, 3, axis=-1))
    expected = keras.Model(theirs.input, theirs.get_layer("conv1_bn").output).predict_on_batch(molded)
    found, inside = ours.predict_on_batch((pixels - 110) / 50), slice(2, -2)
    np.testing.assert_allclose(
        found[:, inside, inside], expected[:, inside, inside], rtol=1e-3, atol=1e-4 * np.abs(expected).max()
    )


def test_without_pixels_they_see_rgb_less_their_mean(resnet50):
    theirs, path = resnet50
    ours, pixels = stem(), photo()
    assert set(weights.load(ours, path).adapted) == {"bn_conv1"}
    molded = keras.applications.resnet.preprocess_input(pixels.copy())
    expected = keras.Model(theirs.input, theirs.get_layer("conv1_bn").output).predict_on_batch(molded)
    found = ours.predict_on_batch(pixels - np.float32(MEAN))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_a_model_says_what_it_sees(resnet50, tmp_path):
    small = {"TOP_DOWN_PYRAMID_SIZE": 8, "RPN_CHANNELS": 8, "FPN_CLASSIF_FC_LAYERS_SIZE": 8, "MASK_CHANNELS": 8}
    size = {"IMAGE_MIN_DIM": 64, "IMAGE_MAX_DIM": 64, "BACKBONE": "resnet50", "NUM_CLASSES": 2}
    model = MaskRCNN("training", ModernConfig.from_dict({**small, **size, "RESNET_STRIDE": "1x1"}), tmp_path)
    model.load_weights(resnet50[1], by_name=True)
    assert len(model.load_report.loaded) == 106 and not model.load_report.mismatched
    kernel = model.keras_model.get_layer("conv1").kernel.numpy()
    expected = (
        resnet50[0].get_layer("conv1_conv").kernel.numpy()[:, :, ::-1] * np.array((58.395, 57.12, 57.375))[:, None]
    )
    np.testing.assert_allclose(kernel, expected, rtol=1e-5)
    statistics = model.keras_model.get_layer("bn5c_branch2c").moving_variance.numpy()
    stored = resnet50[0].get_layer("conv5_block3_3_bn").moving_variance.numpy()
    np.testing.assert_allclose(statistics, stored + KERAS.epsilon - 1e-5, rtol=1e-6)


# What does not fit


@pytest.mark.parametrize(
    "name, variant, message",
    [
        ("resnet50", {"stride": "3x3"}, "notop.h5 does not fit: .* set RESNET_STRIDE to '1x1' to load them."),
        ("resnet18", {}, "notop.h5 is of another backbone: it fits 26 of 40 layers, not res2a_branch2a, "),
        ("resnet101", {}, "notop.h5 is of another backbone: it fits 106 of 208 layers, not res4g_branch2a, "),
    ],
)
def test_other_backbones_are_refused(resnet50, name, variant, message):
    ours = graph(name, **variant)
    before = ours.get_layer("conv1").kernel.numpy()
    with pytest.raises(ValueError, match=message) as error:
        weights.load(ours, resnet50[1])
    assert "\n" not in str(error.value)
    np.testing.assert_array_equal(ours.get_layer("conv1").kernel.numpy(), before)
