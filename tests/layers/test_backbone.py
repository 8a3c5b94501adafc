import keras
import numpy as np
import pytest
from conftest import read_golden
from keras import ops
from numpy.lib.stride_tricks import sliding_window_view
from tiny import value_and_gradients

from mrcnn import weights
from mrcnn.config import Config, ModernConfig
from mrcnn.layers.applications import applications_graph
from mrcnn.layers.batch_norm import BatchNorm, batch_norm
from mrcnn.layers.resnet import BACKBONES, Variant, _bottleneck, conv_block, conv_norm, identity_block, resnet_graph
from mrcnn.models import parts


def settings(backbone, base=Config, **values):
    return base.from_dict({"NUM_CLASSES": 2, "BACKBONE": backbone, **values})


def build(name, side=64, width=64, **values):
    image = keras.Input((side, 2 * side, 3))
    maps = parts.backbone(settings(name, BACKBONE_WIDTH=width, **values), image)
    return keras.Model(image, maps), [tuple(x.shape[1:]) for x in maps]


@pytest.fixture(scope="module")
def resnet50():
    return build("resnet50")


def named(model):
    """Layers that have weights, in order."""
    return [layer.name for layer in model.layers if layer.weights]


def test_resnet50_layers(resnet50):
    model, shapes = resnet50
    assert shapes == [(16, 32, 64), (16, 32, 256), (8, 16, 512), (4, 8, 1024), (2, 4, 2048)]
    stored = read_golden("layer_layout.json")["models"]["resnet50/inference"]["layers"]
    end = next(i for i, entry in enumerate(stored) if entry["layer"] == "fpn_c5p5")
    names = [entry["layer"] for entry in stored[:end] if entry["weights"]]
    assert named(model) == names and len(names) == 106
    assert [layer.name for layer in model.layers if layer.name.endswith("_out")] == [
        f"res{stage}{block}_out"
        for stage, blocks in ((2, "abc"), (3, "abcd"), (4, "abcdef"), (5, "abc"))
        for block in blocks
    ]


def test_resnet18_layers():
    model, shapes = build("resnet18", width=8)
    assert shapes == [(16, 32, 8), (16, 32, 8), (8, 16, 16), (4, 8, 32), (2, 4, 64)]
    expected = {"conv1", "bn_conv1"}
    for stage in (2, 3, 4, 5):
        for block in "ab":
            for branch in ("2a", "2b") + (("1",) if stage > 2 and block == "a" else ()):
                expected |= {f"res{stage}{block}_branch{branch}", f"bn{stage}{block}_branch{branch}"}
    assert sorted(named(model)) == sorted(expected)
    assert build("resnet18")[1][4] == (2, 4, 512)
    kernels = {layer.name: tuple(layer.kernel.shape) for layer in model.layers if hasattr(layer, "kernel")}
    assert kernels["res3a_branch2a"] == (3, 3, 8, 16) and kernels["res3a_branch1"] == (1, 1, 8, 16)


def test_stages_can_be_left_out():
    image = keras.Input((64, 64, 3))
    for name in ("resnet18", "resnet50"):
        *maps, c5 = resnet_graph(image, name, stage5=False)
        assert c5 is None and [x.shape[1] for x in maps] == [16, 16, 8, 4]


def test_blocks_have_the_stride_in_their_first_convolution():
    x = keras.Input((8, 8, 16))
    y = conv_block(x, 3, [4, 4, 16], 3, "a", train_bn=False)
    z = identity_block(y, 3, [4, 4, 16], 3, "b", use_bias=False, train_bn=False)
    model = keras.Model(x, z)
    assert tuple(y.shape) == tuple(z.shape) == (None, 4, 4, 16)
    strides = {layer.name: layer.strides for layer in model.layers if isinstance(layer, keras.layers.Conv2D)}
    assert {name for name, stride in strides.items() if stride == (2, 2)} == {"res3a_branch2a", "res3a_branch1"}
    assert model.get_layer("res3a_branch2a").use_bias and not model.get_layer("res3b_branch2a").use_bias


# Variants of the ResNets, computed in NumPy


def convolve(x, kernel, stride, groups=1):
    """[h, w, in] * [k, k, in / groups, out], padded by half of k on all sides as PyTorch does."""
    size = len(kernel)
    x = np.pad(x, [(size // 2, size // 2)] * 2 + [(0, 0)])
    windows = sliding_window_view(x, (size, size), axis=(0, 1))[::stride, ::stride]
    parts = zip(np.split(windows, groups, axis=2), np.split(kernel, groups, axis=3), strict=True)
    return np.concatenate([np.einsum("hwikl,klio->hwo", window, part) for window, part in parts], axis=-1)


class Reference:
    """A ResNet of torchvision's definition with the random weights that it gives a model."""

    def __init__(self, model, epsilon):
        rng = np.random.default_rng(0)
        self.weights, self.epsilon = {}, epsilon
        for layer in weights.weighted_layers(model):
            if isinstance(layer, BatchNorm):
                values = [rng.uniform(0.5, 1.5, w.shape) for w in layer.weights]
            else:
                values = [rng.normal(size=w.shape) / np.sqrt(np.prod(w.shape[:-1])) for w in layer.weights]
            layer.set_weights(values)
            self.weights[layer.name] = [w.astype("float32") for w in values]

    def conv_norm(self, x, name, stride=1, groups=1, conv="res{}", norm="bn{}"):
        (kernel,) = self.weights[conv.format(name)]
        gamma, beta, mean, variance = self.weights[norm.format(name)]
        return (convolve(x, kernel, stride, groups) - mean) / np.sqrt(variance + self.epsilon) * gamma + beta

    def bottleneck(self, x, name, strides, groups):
        y = np.maximum(self.conv_norm(x, name + "2a", strides[0]), 0)
        y = np.maximum(self.conv_norm(y, name + "2b", strides[1], groups), 0)
        return np.maximum(self.conv_norm(y, name + "2c") + self.conv_norm(x, name + "1", strides[0] * strides[1]), 0)

    def basic_resnet(self, x, blocks):
        x = np.maximum(self.conv_norm(x, "", 2, conv="conv1", norm="bn_conv1"), 0)
        x = np.pad(x, [(1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
        x = sliding_window_view(x, (3, 3), axis=(0, 1))[::2, ::2].max(axis=(3, 4))
        maps = [x]
        for stage, count in enumerate(blocks, start=2):
            for index in range(count):
                name, stride = f"{stage}{'abcdef'[index]}_branch", 2 if stage > 2 and index == 0 else 1
                y = np.maximum(self.conv_norm(x, name + "2a", stride), 0)
                y = self.conv_norm(y, name + "2b")
                x = np.maximum(y + (self.conv_norm(x, name + "1", stride) if stride == 2 else x), 0)
            maps.append(x)
        return maps


def test_resnet34_as_torchvision_has_it():
    image = keras.Input((64, 96, 3))
    maps = parts.backbone(settings("resnet34", ModernConfig, BACKBONE_WIDTH=4), image)
    model = keras.Model(image, maps)
    reference = Reference(model, 1e-5)
    assert not any("bias" in w.name for layer in model.layers for w in layer.weights)
    pixels = np.random.default_rng(1).normal(size=(1, 64, 96, 3)).astype("float32")
    expected = reference.basic_resnet(pixels[0], (3, 4, 6, 3))
    for found, wanted in zip(model.predict_on_batch(pixels), expected, strict=True):
        np.testing.assert_allclose(found[0], wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
    assert expected[4].shape == (2, 3, 32)


@pytest.mark.parametrize("stride, strides", [("1x1", (2, 1)), ("3x3", (1, 2))])
def test_bottleneck_as_torchvision_has_it(stride, strides):
    x = keras.Input((8, 10, 6))
    variant = Variant(train_bn=False, stride=stride, bias=False, padding="symmetric", epsilon=0.25)
    model = keras.Model(x, _bottleneck(x, 3, [8, 8, 12], 3, "a", (2, 2), variant, groups=4))
    assert tuple(model.get_layer("res3a_branch2b").kernel.shape) == (3, 3, 2, 8)
    reference = Reference(model, 0.25)
    pixels = np.random.default_rng(1).normal(size=(1, 8, 10, 6)).astype("float32")
    expected = reference.bottleneck(pixels[0], "3a_branch", strides, 4)
    np.testing.assert_allclose(model.predict_on_batch(pixels)[0], expected, rtol=1e-4, atol=1e-5)
    folded = [layer for layer in model.layers if isinstance(layer, BatchNorm)]
    assert all(layer.fold() for layer in folded) and len(folded) == 4
    model.predict_function = None
    np.testing.assert_allclose(model.predict_on_batch(pixels)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.compiled  # with XLA, as TensorFlow has no such gradient for a CPU otherwise
def test_grouped_convolutions_can_be_trained():
    """Their gradients are those of a convolution with a kernel of blocks."""
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(1, 5, 6, 4)).astype("float32"), rng.normal(size=(3, 3, 2, 4)).astype("float32")
    blocks = np.zeros((3, 3, 4, 4), "float32")
    blocks[:, :, :2, :2], blocks[:, :, 2:, 2:] = kernel[..., :2], kernel[..., 2:]

    def loss(x, kernel):
        return ops.sum(ops.square(ops.conv(x, kernel, strides=2, padding="same")))

    value, (of_x, of_kernel) = value_and_gradients(loss, x, kernel)
    expected, (of_x_expected, of_blocks) = value_and_gradients(loss, x, blocks)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(of_x, of_x_expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(of_kernel[..., :2], of_blocks[:, :, :2, :2], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(of_kernel[..., 2:], of_blocks[:, :, 2:, 2:], rtol=1e-4, atol=1e-4)


def test_resnext_layers():
    model, shapes = build("resnext50_32x4d", RESNET_STRIDE="3x3", RESNET_BIAS=False)
    assert shapes == [(16, 32, 64), (16, 32, 256), (8, 16, 512), (4, 8, 1024), (2, 4, 2048)]
    found = {layer.name: layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)}
    assert len(found) == 53
    for stage, factor in ((2, 1), (3, 2), (4, 4), (5, 8)):
        inner, middle = factor * 128, found[f"res{stage}b_branch2b"]
        assert middle.groups == 32 and tuple(middle.kernel.shape) == (3, 3, inner // 32, inner)
        assert tuple(found[f"res{stage}b_branch2c"].kernel.shape) == (1, 1, inner, 256 * factor)
        strides = {branch: found[f"res{stage}a_branch{branch}"].strides for branch in ("2a", "2b", "1")}
        assert strides == {"2a": (1, 1), "2b": (min(factor, 2),) * 2, "1": (min(factor, 2),) * 2}
    larger = BACKBONES["resnext101_32x8d"]
    assert (larger.blocks, larger.groups, larger.group_width) == ((3, 4, 23, 3), 32, 8)


def test_epsilon_and_statistics():
    for values, expected in (({"BATCH_NORM_EPSILON": 0.0, "TRAIN_BN": None}, (0.0, False)), ({}, (0.001, True))):
        model, _ = build("resnet18", width=2, **values)
        norms = [layer for layer in model.layers if isinstance(layer, BatchNorm)]
        assert {(layer.epsilon, layer.frozen) for layer in norms} == {expected} and len(norms) == 20


# Networks of keras.applications


@pytest.mark.parametrize(
    "name, channels",
    [
        ("MobileNetV2", [96, 144, 192, 576, 1280]),
        ("ConvNeXtTiny", [96, 96, 192, 384, 768]),  # it begins with a stride of 4
    ],
)
def test_maps_of_applications(name, channels):
    image = keras.Input((None, None, 3))
    maps = parts.backbone(settings(name), image)
    assert [x.shape[-1] for x in maps] == channels
    sizes = keras.Model(image, maps).compute_output_shape((1, 64, 192, 3))
    strides = [4 if name == "ConvNeXtTiny" else 2, 4, 8, 16, 32]
    assert [tuple(size[1:3]) for size in sizes] == [(64 // stride, 192 // stride) for stride in strides]


def test_applications_compute_what_keras_does():
    """Without the scaling that the network begins with, and under names that do not depend on the session."""
    options = {"include_top": False, "weights": None, "input_shape": (64, 96, 3)}
    reference = keras.applications.MobileNetV3Small(include_preprocessing=False, **options)
    rng = np.random.default_rng(0)
    for layer in reference.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.weights])
    names = []
    for _ in range(2):
        image = keras.Input((None, None, 3))
        ours = keras.Model(image, applications_graph(image, "MobileNetV3Small", train_bn=False)[4])
        names.append([layer.name for layer in ours.layers[1:]])
    assert names[0] == names[1] and all(name.startswith("mobilenetv3small_") for name in names[0])
    ours.set_weights(reference.get_weights())
    norms = [layer for layer in ours.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert all(isinstance(layer, BatchNorm) and layer.frozen and layer.epsilon == 1e-3 for layer in norms)
    pixels = rng.normal(size=(1, 64, 96, 3)).astype("float32")
    found, expected = ours.predict_on_batch(pixels), reference.predict_on_batch(pixels)
    assert expected.shape == (1, 2, 3, 576) and expected.std() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_unknown_backbone():
    message = (
        "^BACKBONE 'mobilenetv2s' is unknown; near it are MobileNetV2, .*\\. Choose one of resnet18, resnet34, "
        "resnet50, resnet101, resnext50_32x4d, resnext101_32x8d, dla34, vgg16, darknet19, .*a network of "
        "keras.applications, or give a function.$"
    )
    image = keras.Input((64, 64, 3))
    with pytest.raises(ValueError, match=message):
        parts.backbone(settings("mobilenetv2s"), image)
    with pytest.raises(ValueError, match="BACKBONE is ''; it must be the name of a backbone or a function"):
        parts.backbone(settings(""), image)
    with pytest.raises(ValueError, match="There is no ResNet 'resnet19'; there are resnet18, resnet34, "):
        resnet_graph(image, "resnet19")
    with pytest.raises(ValueError, match="keras.applications has no network 'mobilenetv2s'"):
        applications_graph(image, "mobilenetv2s")


def test_networks_that_do_not_fit(monkeypatch):
    pool, layers = keras.layers.MaxPooling2D, keras.layers

    def without_strides(include_top, weights, input_shape):
        image = keras.Input(input_shape)
        return keras.Model(image, pool(4)(pool(4)(image)))

    def of_one_size(include_top, weights, input_shape):
        image = keras.Input(input_shape)
        return keras.Model(image, layers.Dense(1)(layers.Flatten()(image)))

    monkeypatch.setattr(keras.applications, "VGG16", without_strides)
    with pytest.raises(ValueError, match="BACKBONE 'VGG16' has no feature map of stride 8 or 32, which the pyramid is"):
        parts.backbone(settings("VGG16"), keras.Input((64, 64, 3)))
    monkeypatch.setattr(keras.applications, "VGG19", of_one_size)
    with pytest.raises(ValueError, match="BACKBONE 'VGG19' is not built for images of any size"):
        parts.backbone(settings("VGG19"), keras.Input((64, 64, 3)))


def test_callable_backbone():
    given = {}

    def backbone(input_image, stage5, train_bn):
        given.update(stage5=stage5, train_bn=train_bn)
        return [input_image] * 5

    image = keras.Input((64, 64, 3))
    in_class = type("InClass", (Config,), {"NUM_CLASSES": 2, "BACKBONE": backbone})()  # a method of the config
    for config in (settings(backbone, TRAIN_BN=None), in_class.update(TRAIN_BN=None)):
        assert parts.backbone(config, image) == [image] * 5
        assert given.pop("stage5") is True and given.pop("train_bn") is None
    with pytest.raises(ValueError, match="BACKBONE returned 4 feature maps; it must return five"):
        parts.backbone(settings(lambda x, stage5, train_bn: [x] * 4), image)


# BatchNorm

X = np.array([[1.0, 10.0], [3.0, 30.0]], "float32")  # means 2 and 20, variances 1 and 100


def filled(frozen):
    layer = BatchNorm(frozen=frozen, name="bn")
    layer.build((None, 2))
    layer.set_weights([np.array(values) for values in ([2.0, 1.0], [0.5, 0.0], [1.0, 2.0], [4.0, 9.0])])
    return layer


def test_frozen_batch_norm_uses_its_statistics_in_training():
    layer = filled(frozen=True)
    expected = (X - [1, 2]) / np.sqrt([4.001, 9.001]) * [2, 1] + [0.5, 0]
    for training in (True, False, None):
        np.testing.assert_allclose(ops.convert_to_numpy(layer(X, training=training)), expected, rtol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), [1, 2])
    np.testing.assert_array_equal(layer.moving_variance.numpy(), [4, 9])
    assert [w.name for w in layer.trainable_weights] == ["gamma", "beta"]


def test_training_batch_norm_moves_its_statistics():
    """By Keras's own moving averages; the original's first step replaced them by the batch's."""
    layer = filled(frozen=False)
    expected = (X - [2, 20]) / np.sqrt([1.001, 100.001]) * [2, 1] + [0.5, 0]
    np.testing.assert_allclose(ops.convert_to_numpy(layer(X, training=True)), expected, rtol=1e-4)
    np.testing.assert_allclose(layer.moving_mean.numpy(), [0.99 * 1 + 0.01 * 2, 0.99 * 2 + 0.01 * 20], rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), [0.99 * 4 + 0.01 * 1, 0.99 * 9 + 0.01 * 100], rtol=1e-5)


@pytest.mark.parametrize("frozen", [True, False])
def test_fit_leaves_frozen_statistics_alone(frozen):
    """A Keras model in training overrides a layer call's training=False; gamma and beta train all the same."""
    layer = filled(frozen)
    x = keras.Input((2,))
    model = keras.Model(x, layer(x))
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    before = [w.numpy() for w in layer.weights]
    model.fit(X, np.zeros_like(X), verbose=0)
    moved = {w.name: not np.array_equal(w.numpy(), old) for w, old in zip(layer.weights, before, strict=True)}
    assert moved == {"gamma": True, "beta": True, "moving_mean": not frozen, "moving_variance": not frozen}


def test_old_code_freezes_by_the_argument_of_the_call():
    x = keras.Input((2,))
    for training, frozen in ((False, True), (None, False), (True, False)):
        layer = BatchNorm(name="bn")
        layer(x, training=training)
        assert layer.frozen is frozen
    layer = filled(frozen=False)
    layer(X, training=False)  # a call on values is not the building of a graph
    assert layer.frozen is False


@pytest.mark.parametrize("train_bn, frozen", [(False, True), (None, False), (True, False)])
def test_batch_norm_of_train_bn(train_bn, frozen):
    model = keras.Model(x := keras.Input((2,)), batch_norm(x, "bn", train_bn))
    layer = model.get_layer("bn")
    assert (layer.frozen, layer.epsilon, layer.momentum) == (frozen, 1e-3, 0.99)


def test_batch_norm_config():
    layer = BatchNorm(frozen=True, epsilon=0.01, name="bn")
    again = BatchNorm.from_config(layer.get_config())
    assert (again.frozen, again.epsilon, again.name) == (True, 0.01, "bn")
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(restored) is BatchNorm and restored.frozen


def test_narrow_shortcuts_have_no_strides():
    """oneDNN writes outside its memory in the gradient of such convolutions: the same pixels are taken before."""
    strides = []
    for width in (8, 16):
        model, _ = build("resnet18", width=width)
        ones = [layer for layer in model.layers if getattr(layer, "kernel_size", 0) == (1, 1)]
        strides.append([max(layer.strides) for layer in ones])
    assert strides == [[1, 2, 2], [2, 2, 2]]


def test_narrow_and_wide_shortcuts_take_the_same_pixels():
    image = np.random.default_rng(0).normal(size=(1, 7, 8, 20)).astype("float32")
    kernel = np.random.default_rng(1).normal(size=(1, 1, 4, 5)).astype("float32")
    found = []
    for channels in (4, 20):  # of which those from the fifth on count nothing
        inputs = keras.Input((7, 8, channels))
        model = keras.Model(inputs, conv_norm(inputs, 5, 1, "x", Variant(bias=False), (2, 2)))
        model.get_layer("resx").set_weights([np.pad(kernel, [(0, 0), (0, 0), (0, channels - 4), (0, 0)])])
        found.append(ops.convert_to_numpy(model(image[..., :channels])))
    assert found[0].shape == (1, 4, 4, 5)
    np.testing.assert_allclose(*found, atol=1e-5)
