"""Rows of a batch by their indices."""

import numpy as np
from keras import ops

from mrcnn.ops.gather import gather, largest


def test_rows_of_each_of_a_batch():
    x = np.arange(2 * 5 * 3 * 2, dtype="float32").reshape(2, 5, 3, 2)
    index = np.array([[4, 0, 0, 2], [1, 1, 3, 4]], "int32")
    for values in (x[..., 0, 0], x[..., 0], x):
        found = ops.convert_to_numpy(gather(ops.convert_to_tensor(values), ops.convert_to_tensor(index)))
        np.testing.assert_array_equal(found, np.stack([values[i][index[i]] for i in range(2)]))


def test_largest():
    """The first of equal ones, of zeros of both signs, too, which ONNX takes for equal."""
    x = np.float32([[1, 3, 3, 2], [-2, -1, -9, -1], [0, 0, 0, 0], [-0.0, 0.0, 0.0, -0.0]])
    np.testing.assert_array_equal(largest(x), [1, 1, 0, 0])
