"""What Keras 2 could do with a model: services and `train` and `compile` methods of old ask `keras_model` for it."""

import warnings
from collections.abc import Callable
from types import MethodType, SimpleNamespace
from typing import Any

import keras
import numpy as np

from mrcnn import weights
from mrcnn.train.optimizers import jit_compile

# How Keras 2 was told to prepare batches; Keras 3 asks the data for it.
GONE = ("workers", "use_multiprocessing", "max_queue_size", "max_q_size", "pickle_safe")


def speak_keras2(graph: keras.Model) -> keras.Model:
    """The graph, of which `CALLS` can be asked. They are attributes of this one object: its class, and so what is saved
    of it, stays as it is."""
    # Not by setattr, as Keras would keep track of them.
    vars(graph).update({name: MethodType(call, graph) for name, call in CALLS.items()}, metrics_tensors=[])
    return graph


def _named(graph, inputs):
    """Arrays by the names of the graph's inputs; `data_generator` yields them in that order."""
    return dict(zip([x.name for x in graph.inputs], inputs, strict=True))


def _data(graph, data):
    """What Keras 3 takes, of a generator of (inputs, outputs), one such batch, or a list of inputs."""
    if hasattr(data, "__next__"):
        return ((_named(graph, inputs),) for inputs, _ in data)
    if isinstance(data, tuple):
        return (_named(graph, data[0]),)
    return _named(graph, data) if isinstance(data, list) else data


def _known(options):
    return {name: value for name, value in options.items() if name not in GONE}


def fit(graph: Any, x: Any = None, y: Any = None, **options: Any) -> keras.callbacks.History:
    """`Model.fit`, also of the generator that `data_generator` is; the losses are in the graph, so y is not used."""
    options = _known(options)
    if "validation_data" in options:
        options["validation_data"] = _data(graph, options["validation_data"])
    return type(graph).fit(graph, _data(graph, x), **options)


def fit_generator(
    graph: Any,
    generator: Any,
    steps_per_epoch: int | None = None,
    epochs: int = 1,
    verbose: Any = "auto",
    callbacks: Any = None,
    validation_data: Any = None,
    validation_steps: int | None = None,
    **options: Any,
) -> keras.callbacks.History:
    """`fit`, under its name for generators."""
    return fit(
        graph,
        generator,
        steps_per_epoch=steps_per_epoch,
        epochs=epochs,
        verbose=verbose,
        callbacks=callbacks,
        validation_data=validation_data,
        validation_steps=validation_steps,
        **options,
    )


def train_on_batch(graph: Any, x: Any, y: Any = None, **options: Any) -> Any:
    """`Model.train_on_batch` of a list of inputs; y is not used."""
    return type(graph).train_on_batch(graph, _data(graph, x), **options)


def compile(graph: Any, optimizer: Any = "rmsprop", loss: Any = None, loss_weights: Any = None, **options: Any) -> None:
    """`Model.compile`; `loss` and `loss_weights` are not used, as the graph has its losses."""
    type(graph).compile(graph, optimizer=optimizer, **{"jit_compile": jit_compile(), **options})


def get_layer(graph: Any, name: str | None = None, index: int | None = None) -> Any:
    """`Model.get_layer`; the losses, which were layers, have a name and an output of 0: the graph itself adds them."""
    if name in getattr(graph, "loss_weights", {}):
        return SimpleNamespace(name=name, output=np.zeros((), "float32"))
    return type(graph).get_layer(graph, name, index)


def add_loss(graph: Any, *args: Any, **options: Any) -> None:
    """Nothing: the graph has the losses of the original, and the L2 term, and would count these a second time."""
    warnings.warn(
        "keras_model.add_loss and add_metric do nothing: the losses and the L2 term are in the graph, by LOSS_WEIGHTS "
        "and WEIGHT_DECAY.",
        stacklevel=2,
    )


def load_weights(graph: Any, filepath: Any, *args: Any, by_name: bool = False, **options: Any) -> None:
    """`Model.load_weights`; `.h5` files in the original's layout are read by the names of layers."""
    if not str(filepath).endswith(".h5") or str(filepath).endswith(".weights.h5"):
        return type(graph).load_weights(graph, filepath, *args, **options)
    print(weights.load(graph, filepath, strict=not by_name))
    return None


def nothing(graph: Any) -> None:
    """What Keras 3 does when it is needed."""


CALLS: dict[str, Callable[..., Any]] = {
    "fit": fit,
    "fit_generator": fit_generator,
    "train_on_batch": train_on_batch,
    "compile": compile,
    "get_layer": get_layer,
    "add_loss": add_loss,
    "add_metric": add_loss,
    "load_weights": load_weights,
    "_make_predict_function": nothing,
    "_make_train_function": nothing,
    "_make_test_function": nothing,
}
