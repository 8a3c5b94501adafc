"""OpenVINO's IR: an .xml with its .bin beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from mrcnn.cli.program import temporary_folder
from mrcnn.export import savedmodel

ENDING = ".xml"
NEEDS = ("openvino",)
PRECISIONS = ("float32", "float16", "int8")

# What is quantised: all that multiplies with weights.
QUANTISED = {"Convolution", "ConvolutionBackpropData", "GroupConvolution", "MatMul"}

# Of fewer values the best are found in their order fast enough; the square of more is no number of 32 bits.
FEW, MOST = 100, 40_000

# OpenVINO and NNCF send hundreds of messages about their use, and fork the process for each: without a network that
# takes minutes. Where this variable is set they send none.
SILENT = mock.patch.dict(os.environ, {"CI": "true"})


@SILENT
def write(graph: Any, path: Path, precision: str, samples: Sequence[dict[str, np.ndarray]]) -> None:
    """Write both files, by way of a SavedModel: OpenVINO does not read the loops of ONNX. "int8" is calibrated on the
    samples, inputs by name."""
    import openvino

    with temporary_folder("mrcnn-") as folder:
        savedmodel.write(graph, Path(folder))
        model = openvino.convert_model(folder)
    _sort_faster(model, openvino)
    if precision == "int8":
        model = _quantised(model, samples)
    try:
        openvino.save_model(model, str(path), compress_to_fp16=precision == "float16")
    except RuntimeError as error:  # as of a disk that is full
        raise OSError(f"{path.name} cannot be written, the disk may be full: {error}") from error


def _sort_faster(model, openvino):
    """TensorFlow's TopK keeps the order of equal values, for which OpenVINO goes through all values once for each that
    it finds. Here they are sorted without it; then equal ones are brought into their order, which gives the same."""
    ops = openvino.opset15
    for node in model.get_ordered_ops():
        if node.get_type_name() != "TopK":
            continue
        shape = node.output(0).get_partial_shape()
        axis = node.get_attributes()["axis"] % len(shape)
        if shape[axis].is_dynamic or not FEW <= shape[axis].get_length() <= MOST:
            continue
        kind, count = node.get_attributes()["index_element_type"], node.input_value(1)
        found = ops.topk(node.input_value(0), count, axis, "max", "index", kind)  # those that come first, come first
        best = ops.topk(found.output(0), count, axis, "max", "value", kind)
        ends = [np.array([x]) for x in (1, 2**31 - 1, 0, -1)]
        values, one, where = best.output(0), np.array([1]), np.array([axis])
        later, sooner = (ops.slice(values, *ends[i : i + 2], one, where) for i in (0, 2))
        lower = ops.convert(ops.not_equal(later, sooner), kind)
        front = np.array([int(i == axis) for i in range(len(shape))])
        lower = ops.pad(lower, front, 0 * front, "constant", ops.convert(np.array(0), kind))
        # A number for each: first by value, then by place. No two are equal.
        number = ops.multiply(ops.cum_sum(lower, np.array(axis)), ops.convert(count, kind))
        number = ops.add(number, best.output(1))
        order = ops.topk(number, count, axis, "min", "value", kind).output(1)
        index = ops.gather_elements(found.output(1), ops.gather_elements(best.output(1), order, axis), axis)
        node.output(0).replace(values)
        node.output(1).replace(index.output(0))


def _quantised(model, samples):
    """The model with convolutions and the products with weights in int8. NNCF's own choice would quantise boxes too."""
    import nncf
    import openvino
    from nncf.quantization.advanced_parameters import OverflowFix

    # Conversion leaves nodes that no result needs, at which NNCF stops; what is read again has none.
    with temporary_folder("mrcnn-") as folder:
        path, core = Path(folder, "model.xml"), openvino.Core()
        openvino.save_model(model, str(path), compress_to_fp16=False)
        core.set_property({"ENABLE_MMAP": False})  # the file goes
        model = core.read_model(path)
    nodes = list(model.get_ordered_ops())
    others = {node.get_type_name() for node in nodes} - QUANTISED
    unlike = [n.get_friendly_name() for n in nodes if n.get_type_name() == "MatMul" and not _weighted(n)]
    quantised = nncf.quantize(
        model,
        nncf.Dataset(list(samples)),
        subset_size=len(samples),
        # On processors without VNNI, sums of products of 8 bits would overflow.
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=OverflowFix.ENABLE),
        ignored_scope=nncf.IgnoredScope(types=sorted(others), names=unlike, validate=False),
    )
    _multiply_by_matrices(quantised, openvino)
    return quantised


def _multiply_by_matrices(model, openvino):
    """Products of boxes and deltas with four numbers become those with a diagonal matrix, which give the same.

    OpenVINO (2026.4) takes the first kind for the last step of a quantisation and moves them beyond slices, where their
    first number stands for all: of deltas times (0.1, 0.1, 0.2, 0.2) the sizes came out half as large.
    """
    ops = openvino.opset15
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Multiply" or node.output(0).get_element_type() != openvino.Type.f32:
            continue
        for i in (0, 1):
            factor = node.input_value(i).get_node()
            if factor.get_type_name() == "Constant" and factor.data.size == 4 and factor.data.shape[-1] == 4:
                matrix = ops.constant(np.diag(factor.data.ravel()))
                node.output(0).replace(ops.matmul(node.input_value(1 - i), matrix, False, False).output(0))


def _weighted(node):
    """Whether one of the factors is a constant."""
    return any(node.input_value(i).get_node().get_type_name() in ("Constant", "Convert") for i in (0, 1))


@SILENT
def load(path: Path) -> Any:
    """A function of {input: array} that gives {output: array}; needs OpenVINO."""
    import openvino

    # Elsewhere it would choose a lower precision by itself, in which boxes are worth nothing.
    model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    names = [output.get_any_name() for output in model.outputs]

    def run(inputs):
        found = model(inputs)
        return {name: found[i].copy() for i, name in enumerate(names)}

    return run
