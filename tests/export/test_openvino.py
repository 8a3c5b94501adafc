"""OpenVINO's graph: what is changed in it, and what int8 leaves as it is."""

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


def test_wide_convolutions_are_split():
    """Bias and ReLU go with the halves. One that several read, one of 1x1, one with a single number as bias and one
    without a ReLU stay."""
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    ops, rng = openvino.opset15, np.random.default_rng(0)
    given = ops.parameter([1, 4, 9, 11], np.float32)
    values = rng.normal(size=(1, 4, 9, 11)).astype("float32")

    def convolution(x, inside, outside, size):
        kernel = rng.normal(size=(outside, inside, size, size)).astype("float32")
        return ops.convolution(x, kernel, [1, 2], [size // 2] * 2, [size // 2] * 2, [1, 1])

    wide = ops.relu(ops.add(convolution(given, 4, 301, 3), rng.normal(size=(1, 301, 1, 1)).astype("float32")))
    bare = ops.relu(convolution(given, 4, 258, 3))
    shared = convolution(given, 4, 300, 3)
    one = rng.normal(size=(1, 1, 1, 1)).astype("float32")  # bias of all outputs
    others = [
        ops.relu(ops.add(convolution(given, 4, 302, 3), one)),
        ops.relu(convolution(given, 4, 300, 1)),
        ops.relu(convolution(given, 4, 256, 3)),
        ops.relu(shared),
        shared,
    ]
    model = openvino.Model([wide, bare, *others], [given])
    before = list(openvino.compile_model(model, "CPU")(values).values())
    written._in_halves(model, ops)
    widths = [n.output(0).get_shape()[1] for n in model.get_ordered_ops() if n.get_type_name() == "Convolution"]
    assert sorted(widths) == sorted([151, 150, 129, 129, 302, 300, 256, 300])
    for old, new in zip(before, openvino.compile_model(model, "CPU")(values).values(), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-5)


def test_transposes_that_undo_each_other():
    """A map that is read both ways is turned once; other pairs stay."""
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    ops = openvino.opset15
    given = ops.parameter([2, 3, 4, 5], np.float32)
    last = ops.transpose(given, [0, 2, 3, 1])
    back, further = ops.transpose(last, [0, 3, 1, 2]), ops.transpose(last, [0, 2, 3, 1])
    model = openvino.Model([ops.abs(last), ops.abs(back), ops.abs(further)], [given])
    written._undo_transposes(model)
    assert sum(n.get_type_name() == "Transpose" for n in model.get_ops()) == 2
    values = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("float32")
    turned = values.transpose(0, 2, 3, 1)
    expected = [np.abs(x) for x in (turned, values, turned.transpose(0, 2, 3, 1))]
    for found, wanted in zip(openvino.compile_model(model, "CPU")(values).values(), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
