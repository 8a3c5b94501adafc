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


@pytest.mark.parametrize("shape, count", [((2, 9001), 2000), ((1, 20000), 6000), ((2, 3, 400), 400)])
@pytest.mark.parametrize("high", [400, 2**24])
def test_best_are_sorted_as_tensorflow_does(shape, count, high):
    """Highest first, equal ones in their order; among those that are as high as the last, any may be taken."""
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    ops, values = openvino.opset15, np.random.default_rng(0).integers(-high, high, shape).astype("float32")
    given = ops.parameter([-1, *shape[1:]], np.float32)
    best = ops.topk(given, np.array(count, "int32"), -1, "max", "value", "i32", stable=True)
    model = openvino.Model(best.outputs(), [given])
    written._sort_faster(model, openvino)
    assert not any(n.get_attributes()["stable"] for n in model.get_ops() if n.get_type_name() == "TopK")
    highest, index = openvino.compile_model(model, "CPU")([values]).values()
    expected = np.argsort(-values, axis=-1, kind="stable")[..., :count]
    np.testing.assert_array_equal(highest, np.take_along_axis(values, expected, -1))
    np.testing.assert_array_equal(highest, np.take_along_axis(values, index, -1))
    sure = highest > highest[..., -1:] if count < shape[-1] else np.ones_like(index, bool)
    np.testing.assert_array_equal(index[sure], expected[sure])
