"""DLA-34 against timm's: parameters, shapes, and the maps that weights give."""

import zlib

import keras
import numpy as np

from mrcnn.layers.dla import dla_graph


def dla(shape, width, epsilon=1e-5, **options):
    image = keras.Input((*shape, 3))
    return keras.Model(image, dla_graph(image, width=width, epsilon=epsilon, **options))


def random(name, shape, scale=1.0):
    """Values of -scale..scale that follow from a name."""
    values = np.random.RandomState(zlib.crc32(name.encode())).uniform(-scale, scale, shape)
    return values.astype("float32")


def weight(name, shape):
    """The value that the golden maps were computed with, of a weight as res2a_branch2a/kernel."""
    if name.endswith("kernel"):
        return random(name, shape, 2 / np.sqrt(np.prod(shape[:3])))
    return random(name, shape, 0.1) + (1 if name.endswith(("gamma", "variance")) else 0)


def test_shapes_and_parameters():
    model = dla((64, 96), 64)
    assert [tuple(x.shape[1:]) for x in model.outputs] == [
        (32, 48, 32),
        (16, 24, 64),
        (8, 12, 128),
        (4, 6, 256),
        (2, 3, 512),
    ]
    # timm's dla34 has 15,742,104 with its classifier of 512 x 1000 + 1000.
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == 15_742_104 - 513_000
    kernels = {layer.name: layer.kernel.shape for layer in model.layers if isinstance(layer, keras.layers.Conv2D)}
    assert len(kernels) == 37 and all(layer.bias is None for layer in model.layers if hasattr(layer, "bias"))
    # What a root sees: its two blocks, the stage's input at half its size, the first subtree.
    assert kernels["res2_root"] == (1, 1, 128, 64) and kernels["res3a_root"] == (1, 1, 256, 128)
    assert kernels["res3b_root"] == (1, 1, 448, 128) and kernels["res4b_root"] == (1, 1, 896, 256)
    assert kernels["res5_root"] == (1, 1, 1280, 512)
    assert kernels["res3aa_branch1"] == (1, 1, 64, 128) and "res3ba_branch1" not in kernels


def test_maps_are_timms(golden):
    model, case = dla((64, 96), 8), golden("timm_dla.npz")
    for layer in model.layers:
        for variable in layer.weights:
            variable.assign(weight(f"{layer.name}/{variable.name}", tuple(variable.shape)))
    found = model(random("image", (1, 64, 96, 3)), training=False)
    for i, x in enumerate(found, start=1):
        wanted = case[f"c{i}"]
        np.testing.assert_allclose(
            np.asarray(keras.ops.convert_to_numpy(x)), wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max()
        )
        assert np.abs(wanted).max() > 0.3


def test_frozen_statistics():
    model = dla((32, 32), 8, train_bn=False)
    before = [np.array(v) for v in model.non_trainable_variables]
    model(random("image", (1, 32, 32, 3)), training=True)
    for old, new in zip(before, model.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(old, np.array(new))
