"""What goes on beside the gradient steps: checkpoints, resuming, stopping on a broken loss."""

from __future__ import annotations

import ctypes
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from mrcnn.settings import CONFIG

if TYPE_CHECKING:
    from mrcnn.data.batches import DataGenerator
    from mrcnn.models.mask_rcnn import MaskRCNN


def find_last(model_dir: Path | str, name: str | None) -> str:
    """Path of the last whole checkpoint of the last run of `name` under `model_dir`.

    Raises:
        FileNotFoundError: there is none.
    """
    key = (name or "mrcnn").lower()
    runs = sorted(Path(model_dir).glob("*"), reverse=True) if os.path.isdir(model_dir) else []
    for run in runs:
        if re.fullmatch(re.escape(key) + r"\d{8}T\d{4}", run.name):
            checkpoints = sorted(run.glob("mask_rcnn_*_[0-9][0-9][0-9][0-9].h5"))
            if checkpoints:
                return str(checkpoints[-1])
    raise FileNotFoundError(f"No checkpoint of {key!r} under {model_dir}; train first, or give a weights file.")


def _optimizer_path(checkpoint):
    return Path(checkpoint).with_suffix(".optimizer.npz")


class Checkpoints(keras.callbacks.Callback):
    """After every epoch, writes the weights in the original's layout, and the optimizer's state and the config beside.

    The state comes first and each file appears only when it is whole, so whatever interrupts leaves a pair to resume
    from. Only the newest state is kept.

    Args:
        rcnn: the `MaskRCNN`.
    """

    def __init__(self, rcnn: MaskRCNN) -> None:
        super().__init__()
        self.rcnn = rcnn

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        path = self.rcnn.checkpoint_path.format(epoch=epoch + 1)
        state = _optimizer_path(path)
        part = state.with_name(state.name + ".part")
        variables = {f"{i:04d}|{v.path}": np.asarray(v.numpy()) for i, v in enumerate(self._state())}
        with open(part, "wb") as file:
            np.savez(file, **variables)  # type: ignore[arg-type]  # no name is that of an argument
        os.replace(part, state)
        self.rcnn.config.to_json(state.parent / CONFIG)
        self.rcnn.save_weights(path)
        self.rcnn.epoch = epoch + 1
        for old in state.parent.glob("*.optimizer.npz"):
            if old != state:
                old.unlink()

    def _state(self):
        return self.rcnn.keras_model.optimizer.variables


def tensorboard(log_dir: Path | str) -> list[keras.callbacks.Callback]:
    """The callback that writes TensorBoard records to `log_dir`, in a list; empty where its packages are missing."""
    try:
        import tensorboard  # noqa: F401
        import tensorflow  # noqa: F401
    except ImportError:
        print("No TensorBoard records: pip install tensorflow tensorboard.")
        return []
    return [keras.callbacks.TensorBoard(log_dir, write_graph=False)]


def restore_optimizer(model: keras.Model, checkpoint: Path | str) -> None:
    """Give a compiled model's optimizer the state that was saved beside a checkpoint, if it fits; say so if not.

    A state of other trainable layers does not fit: momentum then starts from zero.
    """
    path = _optimizer_path(checkpoint)
    if not path.exists():
        return
    optimizer = model.optimizer
    with np.load(path) as stored:
        names = sorted(stored.files)
        # Paths begin with the optimizer's name, which counts the optimizers of a process: sgd, sgd_1 ...
        if [name.split("/", 1)[1] for name in names] != [v.path.split("/", 1)[1] for v in optimizer.variables] or any(
            stored[name].shape != tuple(v.shape) for name, v in zip(names, optimizer.variables, strict=True)
        ):
            print(f"The optimizer's state in {path.name} is of other layers; momentum starts from zero.")
            return
        for name, variable in zip(names, optimizer.variables, strict=True):
            # The learning rate is what train() was given; only the schedule's position is resumed.
            if not variable.path.endswith("learning_rate"):
                variable.assign(stored[name])
    print(f"Resuming the optimizer's state at step {int(optimizer.iterations.numpy())}.")


# LEARNING_RATE_SCHEDULE -> the factor of the rate when a share of the steps, 0..1, is done.
SHAPES = {
    "constant": lambda done: 1.0,
    "step": lambda done: ops.where(done < 2 / 3, 1.0, ops.where(done < 8 / 9, 0.1, 0.01)),
    "cosine": lambda done: 0.5 * (1 + ops.cos(math.pi * done)),
}


@keras.saving.register_keras_serializable("mrcnn")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises from a thousandth over the first steps, and then falls.

    Args:
        rate: the full learning rate.
        steps: all steps of the training.
        shape: how it falls, a key of `SHAPES`.
        warmup: steps over which it rises.
    """

    def __init__(self, rate: float, steps: int, shape: str = "constant", warmup: int = 0) -> None:
        self.rate, self.steps, self.shape, self.warmup = rate, steps, shape, warmup

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        rise = ops.minimum(1.0, 0.001 + 0.999 * step / max(self.warmup, 1)) if self.warmup else 1.0
        return self.rate * rise * SHAPES[self.shape](ops.minimum(step / self.steps, 1.0))

    def get_config(self) -> dict[str, Any]:
        return {"rate": self.rate, "steps": self.steps, "shape": self.shape, "warmup": self.warmup}


def keep_freed_memory() -> None:
    """Let glibc keep the memory that is freed, for the rest of the process.

    It hands large blocks back to the system at once, and every step faults them in anew, page by page: on a CPU that is
    up to half of a training step and a fifth of a detection. MALLOC_ variables of the environment go before.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another system's, or another C library
        return
    mallopt(-4, 0)  # M_MMAP_MAX: no block has a mapping of its own
    mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: nor does the heap shrink


class SampleSeed(keras.callbacks.Callback):
    """Makes the choice of RoIs follow from the seed and the step, so that a resumed run draws what it would have drawn.

    Args:
        generator: the `keras.random.SeedGenerator` of the choice.
        seed: any whole number.
    """

    def __init__(self, generator: keras.random.SeedGenerator, seed: int) -> None:
        super().__init__()
        self.generator, self.seed = generator, seed

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        step = int(self.model.optimizer.iterations.numpy())
        self.generator.state.assign(np.array([self.seed, step], self.generator.state.dtype))


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Ends training when the loss is not finite.

    Args:
        generator: the `DataGenerator`, which knows the batch's images.
    """

    def __init__(self, generator: DataGenerator) -> None:
        super().__init__()
        self.generator = generator

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if logs and not np.isfinite(logs["loss"]):
            ids = [int(i) for i in self.generator.image_ids(batch)]
            raise FloatingPointError(
                f"The loss is {logs['loss']} at step {batch} with images {ids}: check their boxes and masks, or lower "
                "the learning rate."
            )
