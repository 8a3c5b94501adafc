"""Upsampling of maps."""

import numpy as np
import pytest
from keras import Input, Model, backend, layers, ops, optimizers

from mrcnn.layers.upsampling import Nearest
from mrcnn.models.graph import Compiled


@pytest.mark.compiled
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
def test_precision_stays():
    """Half precision in, half precision out."""
    assert Nearest(2, dtype="float16")(ops.ones((1, 1, 1, 1), "float16")).dtype == "float16"


@pytest.mark.compiled
def test_training():
    """With XLA, too, with which GPUs train, and which has no gradient of TensorFlow's own operation."""
    given = Input((1, 2, 1))
    model = Model(given, Nearest(2)(layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones")(given)))
    model.compile(optimizers.SGD(1.0), "mean_squared_error", jit_compile=backend.backend() != "torch")
    model.train_on_batch(np.array([[[[1.0], [2.0]]]]), np.zeros((1, 2, 4, 1)))
    np.testing.assert_allclose(model.get_weights()[0].item(), 1 - 2 * 2.5)  # of the mean of (weight * x)^2
