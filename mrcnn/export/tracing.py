"""A Keras graph as TensorFlow's functions, from which all formats are made.

Neither this nor the files of formats import Keras: they run where there is none. Graphs are `keras.Model`s.
"""

from __future__ import annotations

from typing import Any


def traced(graph: Any) -> Any:
    """A `tf.function` of a graph with its signature: inputs by name in, a dict out."""
    import tensorflow as tf

    names = [x.name for x in graph.inputs]
    specs = [tf.TensorSpec(x.shape, x.dtype, x.name) for x in graph.inputs]

    @tf.function(input_signature=specs, autograph=False)
    def function(*inputs):
        return graph(dict(zip(names, inputs, strict=True)), training=False)

    return function


def frozen(graph: Any) -> Any:
    """A concrete function whose weights are constants; it gives the outputs in the order of their names."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(traced(graph).get_concrete_function(), lower_control_flow=False)
