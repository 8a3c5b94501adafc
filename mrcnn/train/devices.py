"""Training on several devices at once: each gets its share of every batch, and all keep the same weights.

TensorFlow does so with `tf.distribute.MirroredStrategy`, JAX with `keras.distribution.DataParallel`. `MaskRCNN` uses it
where the config's GPU_COUNT is above 1.
"""

import contextlib
from typing import Any

import keras


class OneDevice:
    """Stands where a `tf.distribute.Strategy` is not needed."""

    def scope(self) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()


def accelerated() -> bool:
    """Whether the backend sees a GPU or a TPU."""
    if keras.backend.backend() == "torch":  # whose devices Keras does not list
        import torch

        return bool(torch.cuda.is_available() or torch.backends.mps.is_available())
    return any(name.startswith(("gpu", "tpu", "cuda")) for name in keras.distribution.list_devices())


# Channels below which the convolutions of oneDNN in TensorFlow 2.21 wrote outside their memory in training.
NARROWEST = 8


def check_width(width: int) -> None:
    """Raise ValueError where a training of a network whose first stage has so many channels would corrupt memory: on a
    CPU, with TensorFlow's oneDNN."""
    if width >= NARROWEST or keras.backend.backend() != "tensorflow" or accelerated():
        return
    from tensorflow.python.util import _pywrap_util_port  # nothing public says whether it is on

    if _pywrap_util_port.IsMklEnabled():
        raise ValueError(
            f"BACKBONE_WIDTH is {width}: below {NARROWEST} TensorFlow's oneDNN writes outside its memory in training; "
            "widen it, or set TF_ENABLE_ONEDNN_OPTS=0 in the environment."
        )


def strategy(count: int) -> Any:
    """An object in whose `scope()` a model and its optimizer must be made to train on `count` devices.

    Accelerators are taken where there are any, else the CPU's logical devices; those of all machines after `join`.

    Raises:
        ValueError: there are fewer devices, or the backend cannot do it.
    """
    if count == 1:
        return OneDevice()
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        devices = [x.name for x in tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")]
        _check(count, devices)
        return tf.distribute.MirroredStrategy(devices[:count])
    if backend == "jax":
        devices = keras.distribution.list_devices()
        _check(count, devices)
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(devices=devices[:count], auto_shard_dataset=False)
        )
        return OneDevice()
    raise ValueError(f"GPU_COUNT is {count}; Keras trains on several devices with TensorFlow or JAX, not {backend}.")


def join(coordinator: str, machines: int, machine: int) -> None:
    """Make this process one of several, each on its own machine, that train one model; before any model is built.

    All run the same script. GPU_COUNT counts the devices of all machines; each machine loads its part of every batch,
    and the first one writes the checkpoints.

    Args:
        coordinator: "host:port" of the first machine.
        machines: how many there are.
        machine: number of this one, from 0.

    Raises:
        ValueError: the backend is not JAX.
    """
    if keras.backend.backend() != "jax":
        raise ValueError("Several machines train together on JAX only: set KERAS_BACKEND=jax.")
    import jax

    jax.distributed.initialize(coordinator, machines, machine)
    # All begin with the same weights and draw the same RoIs.
    keras.utils.set_random_seed(0)


def machine() -> tuple[int, int]:
    """(number of this machine, how many there are) of those that `join` brought together."""
    if keras.backend.backend() != "jax":
        return 0, 1
    import jax

    return jax.process_index(), jax.process_count()


def _check(count, devices):
    if len(devices) < count:
        raise ValueError(
            f"GPU_COUNT is {count}, but there are {len(devices)} devices ({', '.join(devices)}); set it to "
            f"{len(devices)} and raise IMAGES_PER_GPU instead."
        )


def replicas() -> int:
    """Number of TensorFlow replicas, each of which traces a step of its own share of the batch. JAX shares one step."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def optimizer_class(base: type[keras.optimizers.Optimizer]) -> type[keras.optimizers.Optimizer]:
    """A Keras optimizer class that clips the gradients of all devices together, as one device with the batch would.

    Keras's own clips those of each TensorFlow replica before adding them. Call it in a strategy's scope.
    """
    if replicas() == 1:
        return base
    import tensorflow as tf

    count = replicas()

    class Together(base):
        def __init__(self, *args: Any, global_clipnorm: float | None = None, **kwargs: Any) -> None:
            # The mean is clipped instead of the sum, since Keras adds what all devices have: count times the same.
            limit = global_clipnorm / count if global_clipnorm else None
            super().__init__(*args, global_clipnorm=limit, **kwargs)

        def apply(self, grads, trainable_variables=None):
            context = tf.distribute.get_replica_context()
            super().apply(context.all_reduce("MEAN", list(grads)), trainable_variables)

    return Together
