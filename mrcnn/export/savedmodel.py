"""TensorFlow's SavedModel: a folder, for TensorFlow Serving among others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.export.tracing import frozen

ENDING = ""
NEEDS = ("tensorflow",)
PRECISIONS = ("float32", "float16")

# Constants of fewer values are no weights.
SMALL = 1000


def write(graph: Any, path: Path, precision: str = "float32", **_: Any) -> None:
    """Write the folder. Weights are constants of the graph, as of variables there would be two copies; with "float16"
    they are stored as such, and computed with in float32."""
    import tensorflow as tf

    function = frozen(graph)
    if precision == "float16":
        function = _halved(function)
    names = sorted(graph.output)
    specs = [tf.TensorSpec(x.shape, x.dtype, x.name) for x in graph.inputs]
    serve = tf.function(
        lambda *inputs: dict(zip(names, tf.nest.flatten(function(*inputs)), strict=True)), specs, autograph=False
    )
    module = tf.Module()
    module.function = function
    tf.saved_model.save(module, str(path), signatures=serve.get_concrete_function())


def _halved(function):
    """The function with its weights in float16."""
    import tensorflow as tf

    definition = tf.compat.v1.GraphDef()
    definition.CopyFrom(function.graph.as_graph_def())
    for node in list(definition.node):
        if node.op != "Const" or node.attr["dtype"].type != tf.float32.as_datatype_enum:
            continue
        values = tf.make_ndarray(node.attr["value"].tensor)
        if values.size < SMALL or np.abs(values).max() > np.finfo("float16").max:
            continue
        name, node.name = node.name, node.name + "/half"
        node.attr["dtype"].type = tf.float16.as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values.astype("float16")))
        cast = definition.node.add(name=name, op="Cast", input=[node.name])
        cast.attr["SrcT"].type, cast.attr["DstT"].type = tf.float16.as_datatype_enum, tf.float32.as_datatype_enum
    names = [[x.name for x in tensors] for tensors in (function.inputs, function.outputs)]
    wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(definition, name=""), [])
    return wrapped.prune(*(tf.nest.map_structure(wrapped.graph.as_graph_element, part) for part in names))


def load(path: Path) -> Any:
    """A function of {input: array} that gives {output: array}; needs TensorFlow."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    function = loaded.signatures["serving_default"]

    def run(inputs, loaded=loaded):  # the signature alone would let go of what it runs
        return {name: x.numpy() for name, x in function(**{k: tf.constant(x) for k, x in inputs.items()}).items()}

    return run
