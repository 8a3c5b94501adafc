"""A look inside a graph, for notebooks."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import ArrayLike

from mrcnn.ops.boxes import Tensor


def ancestor(tensor: Tensor, name: str, checked: set[int] | None = None) -> Tensor | None:
    """A tensor that `tensor` was computed of.

    Args:
        tensor: of a graph.
        name: of the layer whose output is wanted; or its name and that of a tensor inside, as "ROI/refined_anchors", of
            a layer that has `stages`. TensorFlow's ":0" may follow.
        checked: layers that were looked at already.

    Returns:
        The tensor, or None where there is none of that name. What is asked for inside a layer of Keras itself is its
        output.
    """
    checked = set() if checked is None else checked
    history = tensor._keras_history
    layer = history.operation
    if id(layer) in checked:
        return None
    checked.add(id(layer))
    path = name.partition(":")[0].split("/")
    node = layer._inbound_nodes[history.node_index]
    if layer.name in path:
        inside = path[path.index(layer.name) + 1 :]
        return _inside(tensor, layer, node, inside[0]) if inside else tensor
    for parent in node.input_tensors:
        found = ancestor(parent, name, checked)
        if found is not None:
            return found
    return None


def _inside(tensor, layer, node, name):
    if hasattr(layer, "stages"):
        if not hasattr(node, "stages"):  # once, so that all of them are computed together
            node.stages = Stages(layer)(*node.arguments.args, **node.arguments.kwargs)
        return node.stages.get(name)
    simple = type(layer).__module__.startswith("keras.") and not isinstance(layer, keras.Model)
    return tensor if simple else None


class Stages(layers.Layer):
    """The tensors inside a layer, by name; it takes what the layer takes, and has no weights."""

    def __init__(self, layer: layers.Layer) -> None:
        super().__init__(dtype=layer.dtype_policy)
        self.stages = layer.stages

    def call(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        return self.stages(*args, **kwargs)


def tensor_values(graph: keras.Model, tensors: dict[str, Tensor], inputs: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Values of tensors of a graph by name, as NumPy arrays."""
    values = keras.Model(graph.inputs, tensors).predict_on_batch(inputs)
    return {name: values[name] for name in tensors}


def step_memory(graph: keras.Model, slots: int = 2) -> int:
    """About how many bytes a training step needs at most: what every layer gives, once for itself and once for its
    gradient, as if all were there at once; and weights with their gradients and the optimizer's numbers. What libraries
    need beside is not known.

    Args:
        graph: for training, with a batch size.
        slots: numbers that the optimizer keeps for each weight: 2 for AdamW, 1 for SGD with momentum, and one more each
            for averages of weights and for accumulated gradients.
    """
    weights = graph.count_params() + (1 + slots) * sum(int(np.prod(w.shape)) for w in graph.trainable_weights)
    return 4 * weights + 2 * sum(
        np.dtype(x.dtype if x.dtype != "bfloat16" else "float16").itemsize * int(np.prod(x.shape))
        for x in _outputs(graph)
    )


def _outputs(graph):
    """Every tensor that a layer of a graph gives, with those inside a nested model at each of its calls."""
    for layer in graph.layers:
        for node in layer._inbound_nodes:
            if isinstance(layer, keras.Model) and node.input_tensors:
                yield from _at(layer, node.input_tensors[0])
            elif not isinstance(layer, layers.InputLayer):
                yield from (x for x in node.output_tensors if None not in x.shape)


def _at(model, tensor):
    inner = keras.Model(model.inputs, [x for layer in model.layers for x in _own(layer)])
    return inner(keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype))


def _own(layer):
    return [] if isinstance(layer, layers.InputLayer) else keras.tree.flatten(layer.output)


def log(text: str, array: ArrayLike | None = None) -> None:
    """Print a text and, for an array, its shape, range and dtype."""
    if array is not None:
        array = np.asarray(array)
        span = f"min: {array.min():10.5f}  max: {array.max():10.5f}" if array.size else "empty"
        text = f"{text:25}  shape: {array.shape!s:20}  {span}  {array.dtype}"
    print(text)
