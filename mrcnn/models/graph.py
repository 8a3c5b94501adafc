"""The Keras models of a detector: one detects, the other computes its losses and trains; and their compiled form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from mrcnn import weights
from mrcnn.ops.boxes import Tensor
from mrcnn.train.devices import replicas


@contextmanager
def precision(name: str) -> Iterator[None]:
    """While it lasts, layers that are made compute in "float32", "bfloat16" or "float16"; their weights are float32.

    Raises:
        ValueError: convolutions cannot be computed in it here, which TensorFlow would say in the first step.
    """
    if name != "float32":
        _check_convolution(name)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name if name == "float32" else f"mixed_{name}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _check_convolution(name):
    try:
        keras.ops.conv(keras.ops.ones((1, 1, 1, 8), name), keras.ops.ones((1, 1, 8, 8), name))
    except Exception as error:  # each backend has its own
        raise ValueError(f"PRECISION is {name}, in which no convolution can be computed here; set float32.") from error


@keras.saving.register_keras_serializable("mrcnn")
class InferenceGraph(keras.Model):
    """The graph that detects: a functional model whose `.h5` weights files have the original's layout."""

    mode = "inference"

    def save_weights(self, filepath: Path | str, overwrite: bool = True, **kwargs: Any) -> None:
        """Write the weights: `*.weights.h5` as Keras does, any other `.h5` in the original's layout."""
        if str(filepath).endswith(".weights.h5"):
            return super().save_weights(filepath, overwrite=overwrite, **kwargs)
        return weights.write(self, filepath, self.mode)


@keras.saving.register_keras_serializable("mrcnn")
class TrainingGraph(InferenceGraph):
    """The graph that trains: its outputs hold predictions beside targets, and `criterion` computes the losses of them.

    Attributes:
        criterion: function(outputs, **arguments) that gives {loss: scalar}.
        arguments: its settings.
        loss_weights: {loss: factor}, for each loss there is.
        weight_decay: factor of the L2 term; 0 where the optimizer decays the weights.
    """

    mode = "training"

    def set_losses(
        self,
        criterion: Callable[..., dict[str, Tensor]],
        arguments: dict[str, Any],
        loss_weights: dict[str, float],
        weight_decay: float = 0.0,
    ) -> None:
        """Say how the losses are computed; see the attributes. A function that is registered with Keras is saved with
        the model."""
        self.criterion, self.arguments = criterion, dict(arguments)
        self.loss_weights, self.weight_decay = dict(loss_weights), weight_decay
        self.loss_means = {name: keras.metrics.Mean(name=name) for name in loss_weights}

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        # A data pipeline leaves the batch unknown to TensorFlow, which would then compute every shape at run time.
        if isinstance(inputs, dict):
            inputs = [inputs[x.name] for x in self.inputs]
        fixed = None not in self.inputs[0].shape
        inputs = [ops.reshape(x, ref.shape) if fixed else x for x, ref in zip(inputs, self.inputs, strict=True)]
        return super().call(inputs, training=training, mask=mask)

    def regularization(self) -> Tensor:
        """L2 penalty: for each trained kernel and bias the mean square of its values, times the weight decay."""
        decayed = [w for w in self.trainable_variables if w.name not in ("gamma", "beta")]
        return self.weight_decay * sum(ops.mean(ops.square(w)) for w in decayed)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        total = self.regularization()
        for name, value in self.criterion(y_pred, **self.arguments).items():
            value = value * self.loss_weights[name]
            self.loss_means[name].update_state(value)
            total = total + value
        # Each device has the mean over its images, and the gradients of all are added.
        return total / replicas()

    def get_config(self) -> dict[str, Any]:
        losses = {
            "criterion": keras.saving.serialize_keras_object(self.criterion),
            "arguments": self.arguments,
            "loss_weights": self.loss_weights,
            "weight_decay": self.weight_decay,
        }
        return {**super().get_config(), "losses": losses}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> TrainingGraph:
        losses = config.pop("losses")
        graph = super().from_config(config, custom_objects)
        graph.set_losses(**{**losses, "criterion": keras.saving.deserialize_keras_object(losses["criterion"])})
        return graph

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing: Keras would run a batch through the model, which fails where devices share it; all is built here."""


def training_graph(inputs: list[Tensor], outputs: dict[str, Tensor], name: str | None) -> TrainingGraph:
    """A `TrainingGraph` of these, of which targets are both."""
    # Until 3.12, which is the last for Python 3.10, Keras refuses inputs that no layer takes.
    given = {id(x) for x in inputs}
    same = keras.layers.Identity(dtype="float32", name="targets")  # no PRECISION casts them
    return TrainingGraph(inputs, {key: same(x) if id(x) in given else x for key, x in outputs.items()}, name=name)


class Compiled:
    """A graph as a compiled function whose results stay on the device, unlike those of `predict_on_batch`.

    Args:
        graph: a Keras model; its weights may change between calls.
    """

    def __init__(self, graph: keras.Model) -> None:
        self.graph = graph
        self.forget()

    def forget(self) -> None:
        """Compile anew at the next call, as layers do something else now."""
        self._function: Callable[..., Any] | None = None

    def __call__(self, inputs: list[Any]) -> Any:
        """The graph's outputs as tensors of the backend; inputs may be NumPy arrays or tensors."""
        if self._function is None:
            self._function = _COMPILERS[keras.backend.backend()](self.graph)
        return self._function(inputs)


def _with_tensorflow(graph):
    import tensorflow as tf

    function = tf.function(
        lambda inputs: graph(inputs, training=False), reduce_retracing=True, jit_compile=graph.jit_compile or None
    )
    # Of an array TensorFlow may take the memory, and compute in it: it gets one of its own.
    return lambda inputs: function([x if tf.is_tensor(x) else tf.convert_to_tensor(np.array(x)) for x in inputs])


def _with_jax(graph):
    import jax

    function = jax.jit(lambda *state_and_inputs: graph.stateless_call(*state_and_inputs, training=False)[0])

    def call(inputs):
        state = (
            [v.value for v in variables] for variables in (graph.trainable_variables, graph.non_trainable_variables)
        )
        return function(*state, inputs)

    return call


def _with_torch(graph):
    import torch

    def call(inputs):
        with torch.no_grad():
            return graph([ops.convert_to_tensor(x) for x in inputs], training=False)

    return call


_COMPILERS = {"tensorflow": _with_tensorflow, "jax": _with_jax, "torch": _with_torch}
