"""ONNX, for ONNX Runtime and whatever else reads it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from mrcnn.export.tracing import traced

ENDING = ".onnx"
NEEDS = ("tf2onnx", "onnx", "onnxruntime")
PRECISIONS = ("float32", "float16", "int8")
OPSET = 18

# What is quantised: all that multiplies with weights.
QUANTISED = ["Conv", "ConvTranspose", "MatMul", "Gemm"]

# Constants of fewer values are no weights.
SMALL = 1000


def write(graph: Any, path: Path, precision: str, samples: Sequence[dict[str, np.ndarray]]) -> None:
    """Write the file; "int8" is calibrated on the samples, inputs by name.

    Raises:
        ValueError: a part of the graph cannot be said in ONNX.
    """
    import onnx
    import tf2onnx

    function = traced(graph)
    # Otherwise every step of tf2onnx copies all, and goes on after an error.
    with mock.patch.dict(os.environ, {"TF2ONNX_CATCH_ERRORS": "FALSE"}):
        proto, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=OPSET)
    foreign = sorted({node.op_type for node in proto.graph.node if not _known(node, onnx)})
    if foreign:
        raise ValueError(f"The graph has what ONNX lacks: {', '.join(foreign)}.")
    if precision == "float16":
        _halve(proto.graph, onnx)
    onnx.save(proto, str(path))
    if precision == "int8":
        _quantise(proto.graph, path, samples)


def _halve(graph, onnx):
    """Stores weights in float16; ONNX Runtime makes float32 of them when it loads the file."""
    casts = []
    for weights in graph.initializer:
        values = onnx.numpy_helper.to_array(weights)
        if values.dtype != np.float32 or values.size < SMALL or np.abs(values).max() > np.finfo("float16").max:
            continue
        name = weights.name
        weights.CopyFrom(onnx.numpy_helper.from_array(values.astype("float16"), f"{name}/half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}/half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _quantise(graph, path, samples):
    """Makes the file one with convolutions and the products with weights in int8, channel by channel. ONNX Runtime
    itself would quantise boxes too."""
    from onnxruntime import quantization as q

    class Reader(q.CalibrationDataReader):
        left = iter(samples)

        def get_next(self):
            return next(self.left, None)

    weights = {x.name for x in graph.initializer}
    names = [x.name for x in graph.node if x.op_type in QUANTISED and any(name in weights for name in x.input)]
    float32 = path.with_suffix(".float32.onnx")
    path.rename(float32)
    # On processors without VNNI, sums of products of 8 bits would overflow.
    options = {"per_channel": True, "reduce_range": True, "quant_format": q.QuantFormat.QDQ}
    q.quantize_static(
        str(float32), str(path), Reader(), op_types_to_quantize=QUANTISED, nodes_to_quantize=names, **options
    )
    float32.unlink()


def _known(node, onnx):
    try:
        return bool(onnx.defs.get_schema(node.op_type, OPSET, node.domain))
    except onnx.defs.SchemaError:
        return False


def load(path: Path) -> Any:
    """A function of {input: array} that gives {output: array}; needs ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=onnxruntime.get_available_providers())
    names = [x.name for x in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))
