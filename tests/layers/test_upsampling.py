"""Upsampling of maps."""

import numpy as np
import pytest
from keras import Input, Model, layers, ops

from mrcnn.layers.upsampling import Nearest
from mrcnn.models.graph import Compiled


@pytest.mark.compiled
@pytest.mark.graph
@pytest.mark.parametrize("factor", [2, 3])
def test_nearest_is_what_keras_composes(factor):
    """For maps of any sides: at the second size TensorFlow compiles a graph that knows none."""
    given = Input((None, None, 5))
    model = Model(given, Nearest(factor)(given))
    assert model.output_shape == (None, None, None, 5)
    assert Nearest(factor)(Input((2, 3, 5))).shape == layers.UpSampling2D(factor).compute_output_shape((None, 2, 3, 5))
    compiled = Compiled(model)
    for sides in ((2, 3), (3, 5), (5, 4), (6, 7)):
        x = np.random.default_rng(0).normal(size=(2, *sides, 5)).astype("float32")
        expected = x.repeat(factor, axis=1).repeat(factor, axis=2)
        np.testing.assert_array_equal(ops.convert_to_numpy(compiled([x])), expected)


@pytest.mark.compiled
@pytest.mark.graph
def test_precision_stays():
    """Half precision in, half precision out."""
    assert Nearest(2, dtype="float16")(ops.ones((1, 1, 1, 1), "float16")).dtype == "float16"


@pytest.mark.compiled
@pytest.mark.parametrize("training", [False, True])
def test_gradient(training):
    """Also with XLA, with which GPUs train, and which has no gradient of TensorFlow's own operation."""
    import tensorflow as tf

    layer, x = Nearest(2), tf.constant([[[[1.0], [2.0]]]])

    @tf.function(jit_compile=training)
    def gradient(x):
        return tf.gradients(layer(x, training=training) ** 2, x)[0]

    np.testing.assert_array_equal(gradient(x), 8 * x)
