"""EfficientNet-Lite: the shapes and parameters of its published networks, and which BatchNorm trains."""

import keras
import numpy as np
import pytest

from mrcnn.layers.backbones import build_backbone
from mrcnn.layers.efficientnet_lite import efficientnet_lite_graph


def network(shape=(64, 96, 3), **options):
    image = keras.Input(shape)
    return keras.Model(image, efficientnet_lite_graph(image, **options))


# The channels of C1 to C5, and the parameters of the published classifiers without what is behind C5: its convolution
# to 1280 channels with BatchNorm, and 1000 classes.
@pytest.mark.parametrize(
    "name, channels, parameters",
    [
        ("efficientnet_lite0", [16, 24, 40, 112, 320], 4_694_024 - 1_695_720),
        ("efficientnet_lite1", [16, 24, 40, 112, 320], 5_470_344 - 1_695_720),
        ("efficientnet_lite2", [16, 24, 48, 120, 352], 6_150_168 - 1_736_680),
    ],
)
def test_shapes_and_parameters(name, channels, parameters):
    model = network(architecture=name)
    assert [tuple(x.shape[1:3]) for x in model.outputs] == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]
    assert [x.shape[-1] for x in model.outputs] == channels
    assert model.count_params() == parameters


def test_the_first_blocks_of_stages_have_the_stride_and_no_shortcut():
    model = network()
    strides = {x.name: x.strides[0] for x in model.layers if isinstance(x, keras.layers.DepthwiseConv2D)}
    assert {name for name, stride in strides.items() if stride == 2} == {f"res{i}a_depthwise" for i in (2, 3, 4, 5)}
    # Of 16 blocks those with a shortcut: all but the first ones, and those where the width changes (4d and 5e).
    assert sum(isinstance(x, keras.layers.Add) for x in model.layers) == 16 - 5 - 2


def test_padding_alike_on_both_sides():
    """A lone pixel in the middle of the image: TensorFlow's windows of stride 2 begin at it, symmetric ones before."""
    image = np.zeros((1, 32, 32, 3), "float32")
    image[0, 16, 16] = 1
    seen = {}
    for padding in ("same", "symmetric"):
        model = network((32, 32, 3), padding=padding)
        model.get_layer("conv1").kernel.assign(np.ones((3, 3, 3, 32)))
        first = keras.Model(model.input, model.get_layer("conv1").output)
        seen[padding] = np.argwhere(keras.ops.convert_to_numpy(first(image))[0, :, :, 0]).tolist()
    # Cell i looks at the pixels 2i to 2i + 2, or 2i - 1 to 2i + 1.
    assert seen == {"same": [[7, 7], [7, 8], [8, 7], [8, 8]], "symmetric": [[8, 8]]}


def test_statistics_that_are_frozen_stay():
    image = keras.Input((32, 32, 3))
    model = keras.Model(image, build_backbone("efficientnet_lite0", image, False, padding="same", epsilon=0.01)[-1])
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert len(norms) == 1 + 3 * 16 - 1 and {x.epsilon for x in norms} == {0.01}
    model(np.random.default_rng(0).normal(size=(2, 32, 32, 3)), training=True)
    assert all((np.asarray(x.moving_mean) == 0).all() for x in norms)
