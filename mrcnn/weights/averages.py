"""Averages of a training's weights over its steps, in the place of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops


def inner_optimizer(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The optimizer itself, without what scales its loss."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def batches_seen(model: keras.Model) -> int:
    """Batches that a compiled model's optimizer has seen, as schedules count: those whose gradients wait as well,
    where Keras's `iterations` has the steps alone, and with a scaled loss, where the outer optimizer counts none."""
    return int(inner_optimizer(model.optimizer)._iterations.numpy())


def has_averages(model: keras.Model) -> bool:
    """Whether a model's optimizer averages its weights (Keras's `use_ema`)."""
    return getattr(model, "optimizer", None) is not None and inner_optimizer(model.optimizer).use_ema


def begin_with_few(optimizer: keras.optimizers.Optimizer) -> None:
    """Let the averages of an optimizer (`use_ema`) be of few batches at first: after t of them t / (t + 10) is kept,
    which looks back over a tenth of the training, until that is more than `ema_momentum` (much as TensorFlow's
    ExponentialMovingAverage does by its number of updates).

    Else random weights are a part of them for long, and BatchNorm's statistics, which are those of the weights
    themselves and look back some 100 batches, are of other activations.
    """
    optimizer._update_model_variables_moving_average = partial(_average, optimizer)


def _average(optimizer: Any, variables: list[keras.Variable]) -> None:
    seen = ops.cast(optimizer._iterations, "float32")
    kept = ops.minimum(optimizer.ema_momentum, seen / (seen + 10))
    for variable, average in zip(variables, optimizer._model_variables_moving_average, strict=True):
        average.assign(average + (1 - kept) * (variable - average))


def begin_with_weights(optimizer: keras.optimizers.Optimizer) -> None:
    """Let the averages of an optimizer that is built be the weights, where Keras's are 0: of a scaled loss the first
    batches may all overflow, and the averages would be saved before there is a step."""
    inner = inner_optimizer(optimizer)
    for variable, average in zip(inner._trainable_variables, inner._model_variables_moving_average, strict=True):
        average.assign(np.array(variable.numpy()))


@contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """While it lasts, a compiled model's trained weights are their averages, if its optimizer has some."""
    if not has_averages(model):
        yield
        return
    optimizer = inner_optimizer(model.optimizer)
    variables, averages = optimizer._trainable_variables, optimizer._model_variables_moving_average
    own = [np.array(variable.numpy()) for variable in variables]
    try:
        for variable, average in zip(variables, averages, strict=True):
            variable.assign(np.array(average.numpy()))
        yield
    finally:
        for variable, value in zip(variables, own, strict=True):
            variable.assign(value)
