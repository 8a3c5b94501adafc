"""Optimizers, and how a training graph is compiled with one."""

from __future__ import annotations

from typing import Any

import keras

from mrcnn.train.devices import accelerated, optimizer_class, replicas
from mrcnn.weights.averages import begin_with_few


def make_optimizer(
    name: str,
    learning_rate: Any,
    momentum: float = 0.9,
    clip_norm: float | None = None,
    weight_decay: float | None = None,
    scale_loss: bool = False,
    ema_momentum: float = 0.0,
    accumulation: int = 1,
) -> keras.optimizers.Optimizer:
    """A Keras optimizer that clips gradients by their global norm, for as many devices as the strategy in force has.

    Args:
        name: "sgd" or "adamw".
        learning_rate: a number or a `keras.optimizers.schedules.LearningRateSchedule`.
        momentum: for SGD.
        clip_norm: limit of the gradients' global norm.
        weight_decay: that each step takes off the weights, times the learning rate; not off BatchNorm's and biases.
        scale_loss: whether the loss is scaled, as float16 needs it.
        ema_momentum: above 0, what an average of the weights keeps of itself at every batch, less in the first ones;
            see `mrcnn.weights.averages`.
        accumulation: batches whose mean gradient makes one step. A schedule counts batches.

    Raises:
        ValueError: `accumulation` on several devices of TensorFlow, where Keras's ends in the first step.
    """
    if accumulation > 1 and replicas() > 1:
        raise ValueError(
            f"GRADIENT_ACCUMULATION is {accumulation}; on {replicas()} devices TensorFlow takes 1 alone: raise "
            "IMAGES_PER_GPU, or set KERAS_BACKEND=jax in the environment."
        )
    shared: dict[str, Any] = {"learning_rate": learning_rate, "global_clipnorm": clip_norm}
    if ema_momentum:
        shared.update(use_ema=True, ema_momentum=ema_momentum)
    if accumulation > 1:
        shared["gradient_accumulation_steps"] = accumulation
    if weight_decay is not None:
        shared["weight_decay"] = weight_decay
    if name == "sgd":
        optimizer = optimizer_class(keras.optimizers.SGD)(momentum=momentum, **shared)
    else:
        optimizer = optimizer_class(keras.optimizers.AdamW)(**shared)
    if weight_decay is not None:
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    if ema_momentum:
        begin_with_few(optimizer)
    if hasattr(optimizer, "_all_reduce_sum_gradients") and replicas() == 1:
        # One device has nothing to add. Keras would call TensorFlow's all_reduce all the same, which registers a
        # gradient of its own for good, and with it the graph of the step: tens of MB more with every `train`.
        optimizer._all_reduce_sum_gradients = lambda pairs: pairs
    return keras.optimizers.LossScaleOptimizer(optimizer) if scale_loss else optimizer


def jit_compile() -> Any:
    """What `compile` takes as jit_compile: on a CPU, TensorFlow is faster without XLA; JAX without it is not compiled
    at all."""
    return False if keras.backend.backend() == "tensorflow" and not accelerated() else "auto"
