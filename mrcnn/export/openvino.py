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

# Where fewer are wanted, they are found in their order fast enough; the square of more is no number of 32 bits.
FEW, MOST = 100, 40_000

# Outputs of a convolution, above which it is split for int8.
WIDE = 256

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
    _undo_transposes(model)
    if precision == "int8":
        model = _quantised(model, samples)
    try:
        openvino.save_model(model, str(path), compress_to_fp16=precision == "float16")
    except RuntimeError as error:  # as of a disk that is full
        raise OSError(f"{path.name} cannot be written, the disk may be full: {error}") from error


def _sort_faster(model, openvino):
    """TensorFlow's TopK keeps the order of equal values, for which OpenVINO goes through all values once for each that
    it finds; `_best` does not."""
    for node in model.get_ordered_ops():
        if node.get_type_name() != "TopK":
            continue
        axis = node.get_attributes()["axis"] % len(node.output(0).get_partial_shape())
        count = node.output(0).get_partial_shape()[axis]
        if count.is_static and FEW <= count.get_length() <= MOST:
            kind, (values, wanted) = node.get_attributes()["index_element_type"], node.input_values()
            for old, new in zip(node.outputs(), _best(values, wanted, axis, kind, openvino.opset15), strict=True):
                old.replace(new)


def _best(x, count, axis, kind, ops):
    """The highest values along an axis and their indices, equal ones in their order; of those as high as the last any
    may be taken. They are sorted without order, then by a number that says for each how many higher values there are,
    then its place. No two have the same."""
    found = ops.topk(x, count, axis, "max", "index", kind)  # in the order of the indices
    best = ops.topk(found.output(0), count, axis, "max", "value", kind)
    values, place = best.outputs()
    one, along, last = (np.array([i]) for i in (1, axis, 2**31 - 1))
    later, sooner = ops.slice(values, one, last, one, along), ops.slice(values, 0 * one, -one, one, along)
    front = np.array([int(i == axis) for i in range(len(values.get_partial_shape()))])
    zero = ops.convert(np.array(0), kind)
    lower = ops.pad(ops.convert(ops.not_equal(later, sooner), kind), front, 0 * front, "constant", zero)
    number = ops.add(ops.multiply(ops.cum_sum(lower, np.array(axis)), ops.convert(count, kind)), place)
    order = ops.topk(number, count, axis, "min", "value", kind).output(1)
    index = ops.gather_elements(found.output(1), ops.gather_elements(place, order, axis), axis)
    return values, index.output(0)


def _undo_transposes(model):
    """What a transpose turns and the next turns back is taken as it was. Conversion leaves such pairs behind maps that
    several layers read."""
    for node in model.get_ordered_ops():
        before = node.input_value(0).get_node() if node.get_type_name() == "Transpose" else node
        if before.get_type_name() == "Transpose" and before is not node:
            first, second = (x.input_value(1).get_node().data for x in (before, node))
            if list(first[second]) == sorted(first):
                node.output(0).replace(before.input_value(0))


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
    _in_halves(model, openvino.opset15)
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


def _in_halves(model, ops):
    """Convolutions of many outputs, each with its bias and ReLU, become two of half as many.

    Where its input is signed, as of the RPN's, OpenVINO (2026.4, with AVX-512) takes 94 ms in int8 for 512 outputs of
    256 channels at 176 x 256 places, and 27 ms for 256.
    """
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Convolution" or node.input_value(1).get_node().get_type_name() != "Constant":
            continue
        kernel, bias, last = node.input_value(1).get_node().data, None, _only_consumer(node)
        if last and last.get_type_name() == "Add" and last.input_value(1).get_node().get_type_name() == "Constant":
            number = last.input_value(1).get_node().data
            if number.shape[1:2] == kernel.shape[:1]:  # one for each output
                bias, last = number, _only_consumer(last)
        if len(kernel) <= WIDE or kernel[0, 0].size == 1 or last is None or last.get_type_name() != "Relu":
            continue
        where = node.get_attributes()
        how = [where[name] for name in ("strides", "pads_begin", "pads_end", "dilations", "auto_pad")]
        halves = []
        for half in np.array_split(np.arange(len(kernel)), 2):
            x = ops.convolution(node.input_value(0), ops.constant(kernel[half]), *how)
            halves.append(ops.relu(x if bias is None else ops.add(x, ops.constant(bias[:, half]))))
        last.output(0).replace(ops.concat(halves, 1).output(0))


def _only_consumer(node):
    """The node that takes what this one gives, None where there are several."""
    consumers = [place.get_node() for place in node.output(0).get_target_inputs()]
    return consumers[0] if len(consumers) == 1 else None


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
