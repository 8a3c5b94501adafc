"""What a run leaves after every epoch, and how it goes on from there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from mrcnn.settings import CONFIG, Config


class Trained(Protocol):
    """What `Checkpoints` writes: a model with its config, and the path of its checkpoints, as of `run.Run`."""

    checkpoint_path: str
    epoch: int
    config: Config

    def save_weights(self, filepath: Path | str) -> None: ...


class Checkpoints(keras.callbacks.Callback):
    """After every epoch, writes the weights in the original's layout, and the optimizer's state and the config beside.

    The state comes first and each file appears only when it is whole, so whatever interrupts leaves a pair to resume
    from. Only the newest state is kept. When all is written, the model's `epoch` counts the epoch as done.

    Args:
        trained: the model.
    """

    def __init__(self, trained: Trained) -> None:
        super().__init__()
        self.trained = trained

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        path = self.trained.checkpoint_path.format(epoch=epoch + 1)
        state = _optimizer_path(path)
        part = state.with_name(state.name + ".part")
        variables = {f"{i:04d}|{v.path}": v.numpy() for i, v in enumerate(self.model.optimizer.variables)}
        with open(part, "wb") as file:
            np.savez(file, **variables)
        os.replace(part, state)
        self.trained.config.to_json(state.parent / CONFIG)
        self.trained.save_weights(path)
        self.trained.epoch = epoch + 1
        for old in state.parent.glob("*.optimizer.npz"):
            if old != state:
                old.unlink()


def restore_optimizer(model: keras.Model, checkpoint: Path | str) -> int:
    """Give a compiled model's optimizer the state that was saved beside a checkpoint, if it fits; say so if not.

    A state of other trainable layers does not fit: momentum then starts from zero. The learning rate stays what the
    optimizer was made with; of a schedule only the position is resumed.

    Returns:
        steps that the optimizer has done; 0 where nothing was restored.
    """
    path = _optimizer_path(checkpoint)
    if not path.exists():
        return 0
    variables = [v for v in model.optimizer.variables if not v.path.endswith("learning_rate")]
    with np.load(path) as stored:
        names = [name for name in sorted(stored.files) if not name.endswith("learning_rate")]
        # Paths begin with the optimizer's name, which counts the optimizers of a process: sgd, sgd_1 ...
        if [_shape(name, stored[name]) for name in names] != [_shape(v.path, v) for v in variables]:
            print(f"The optimizer's state in {path.name} is of other layers; momentum starts from zero.")
            return 0
        for name, variable in zip(names, variables, strict=True):
            variable.assign(stored[name])
    steps = int(model.optimizer.iterations.numpy())
    print(f"Resuming the optimizer's state at step {steps}.")
    return steps


def _optimizer_path(checkpoint):
    return Path(checkpoint).with_suffix(".optimizer.npz")


def _shape(path, value):
    return path.split("/", 1)[1], tuple(value.shape)
