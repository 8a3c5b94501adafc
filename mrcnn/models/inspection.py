"""A look inside a graph, for notebooks."""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import ArrayLike

from mrcnn.ops.boxes import Tensor


def ancestor(tensor: Tensor, name: str) -> Tensor | None:
    """The tensor of the layer `name` (or of the layer a path begins with) that `tensor` comes from, or None."""
    history = tensor._keras_history
    layer = history.operation
    if layer.name == name or f"{layer.name}/" in f"{name}/":
        return tensor
    for parent in layer._inbound_nodes[history.node_index].input_tensors:
        found = ancestor(parent, name)
        if found is not None:
            return found
    return None


def tensor_values(graph: keras.Model, tensors: dict[str, Tensor], inputs: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Values of tensors of a graph by name, as NumPy arrays."""
    values = keras.Model(graph.inputs, tensors).predict_on_batch(inputs)
    return {name: values[name] for name in tensors}


def log(text: str, array: ArrayLike | None = None) -> None:
    """Print a text and, for an array, its shape, range and dtype."""
    if array is not None:
        array = np.asarray(array)
        span = f"min: {array.min():10.5f}  max: {array.max():10.5f}" if array.size else "empty"
        text = f"{text:25}  shape: {array.shape!s:20}  {span}  {array.dtype}"
    print(text)
