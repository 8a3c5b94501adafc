"""int8 of OpenVINO: what is not quantised stays as it is."""

import numpy as np
import pytest

from mrcnn.export import openvino as written


def test_numbers_of_boxes_keep_their_own_factors():
    """Beside a layer in int8, slices of a product with four numbers got the first of them as factor."""
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    pytest.importorskip("nncf", reason="OpenVINO is not installed")
    ops, rng = openvino.opset15, np.random.default_rng(0)
    values, weights = (rng.normal(size=size).astype("float32") for size in ((1, 6, 8), (8, 4)))
    given = ops.parameter([1, 6, 8], np.float32)
    deltas = ops.multiply(ops.matmul(given, weights, False, False), np.array([[[0.1, 0.1, 0.2, 0.2]]], "float32"))
    masks = {"begin_mask": [0, 0], "end_mask": [0, 0], "new_axis_mask": [0, 0]}
    masks |= {"shrink_axis_mask": [0, 1], "ellipsis_mask": [1, 0]}  # deltas[..., i]
    columns = [ops.strided_slice(deltas, [0, i], [0, i + 1], [1, 1], **masks) for i in range(4)]
    model = openvino.Model([ops.concat([ops.unsqueeze(ops.exp(x), 2) for x in columns], 2)], [given])
    quantised = written._quantised(model, [{0: values}])
    (found,) = openvino.compile_model(quantised, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(values).values()
    expected = np.exp(values @ weights * [0.1, 0.1, 0.2, 0.2])
    np.testing.assert_allclose(found, expected, atol=0.03)
