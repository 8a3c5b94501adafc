"""Upsampling of maps."""

import numpy as np
import pytest
from keras import Input, Model, layers, ops

from mrcnn.layers.upsampling import Nearest


@pytest.mark.graph
@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("sides", [(2, 3), (None, None)])
def test_nearest_is_what_keras_composes(factor, sides):
    """For maps of known and of unknown sides."""
    x = np.random.default_rng(0).normal(size=(2, 2, 3, 5)).astype("float32")
    given = Input((*sides, 5))
    model = Model(given, Nearest(factor)(given))
    assert model.output_shape == layers.UpSampling2D(factor).compute_output_shape((None, *sides, 5))
    expected = x.repeat(factor, axis=1).repeat(factor, axis=2)
    np.testing.assert_array_equal(ops.convert_to_numpy(model(x)), expected)


@pytest.mark.graph
def test_precision_stays():
    """Half precision in, half precision out."""
    assert Nearest(2, dtype="float16")(ops.ones((1, 1, 1, 1), "float16")).dtype == "float16"
