import keras
import numpy as np
import pytest
from conftest import read_golden
from keras import ops

from mrcnn import weights
from mrcnn.backbone import BatchNorm, batch_norm, build_backbone, conv_block, identity_block, resnet_graph


def build(name, side=64, width=64, train_bn=False):
    image = keras.Input((side, 2 * side, 3))
    maps = build_backbone(name, image, train_bn, width)
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


def test_resnet50_computes_what_keras_applications_does(resnet50, tmp_path):
    """From the pooled stem on: Keras pads its pooling by one on all sides, the original as "same" does."""
    image = (64, 128, 3)
    reference = keras.applications.ResNet50(weights=None, include_top=False, input_shape=image)
    rng = np.random.default_rng(0)
    for layer in reference.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.epsilon = 1e-3  # the original's; 1.001e-5 there
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    reference.save(tmp_path / "reference.h5")
    model, _ = resnet50
    report = weights.load(model, tmp_path / "reference.h5", strict=True)
    assert len(report.loaded) == 106

    pooled = rng.normal(size=(2, 16, 32, 64)).astype("float32")
    c1, *_, c5 = model.outputs
    found = keras.Model(c1, c5).predict_on_batch(pooled)
    expected = keras.Model(reference.get_layer("pool1_pool").output, reference.output).predict_on_batch(pooled)
    assert expected.shape == (2, 2, 4, 2048) and expected.std() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * expected.max())


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


def test_unknown_backbone():
    message = "^BACKBONE 'resnet34' is unknown; choose one of resnet18, resnet50, resnet101, or give a function.$"
    for call in (lambda x: build_backbone("resnet34", x, False, 64), lambda x: resnet_graph(x, "resnet34")):
        with pytest.raises(ValueError, match=message):
            call(keras.Input((64, 64, 3)))


def test_callable_backbone():
    given = {}

    def backbone(input_image, stage5, train_bn):
        given.update(stage5=stage5, train_bn=train_bn)
        return [input_image] * 5

    image = keras.Input((64, 64, 3))
    assert build_backbone(backbone, image, None, 64) == [image] * 5
    assert given == {"stage5": True, "train_bn": None}
    with pytest.raises(ValueError, match="BACKBONE returned 4 feature maps; it must return five"):
        build_backbone(lambda x, stage5, train_bn: [x] * 4, image, False, 64)


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
