"""What a run leaves after every epoch, and how it goes on from there."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from mrcnn.ops.files import whole
from mrcnn.settings import CONFIG, Config
from mrcnn.weights.averages import averaged, batches_seen, has_averages, inner_optimizer


class Trained(Protocol):
    """What `Checkpoints` writes: a model with its config, and the path of its checkpoints, as of `run.Run`."""

    checkpoint_path: str
    epoch: int
    config: Config

    def save_weights(self, filepath: Path | str) -> None: ...


class Checkpoints(keras.callbacks.Callback):
    """After every epoch, writes the weights in the original's layout, and the optimizer's state and the config beside.
    Where weights are averaged it writes the averages, with which a model detects, and the weights themselves among the
    state.

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
        variables = {f"{i:04d}|{v.path}": v.numpy() for i, v in enumerate(_state(self.model))}
        with whole(state) as new:
            np.savez(new, **variables)
        self.trained.config.to_json(state.parent / CONFIG)
        with averaged(self.model):
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
        batches that the optimizer has seen; 0 where nothing was restored.

    Raises:
        ValueError: the state is damaged; the message names its file.
    """
    path = _optimizer_path(checkpoint)
    if not path.exists():
        print(f"There is no {path.name} beside the checkpoint; momentum starts from zero.")
        return 0
    variables = [v for v in _state(model) if not v.path.endswith("learning_rate")]
    try:
        values = _read(path, variables)
    except Exception as error:  # NumPy and zip have many for what is damaged
        raise ValueError(f"{path} is damaged ({error}); delete it to go on with momentum from zero.") from error
    if values is None:
        print(f"The optimizer's state in {path.name} is of other layers; momentum starts from zero.")
        return 0
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    steps = batches_seen(model)
    print(f"Resuming the optimizer's state at step {steps}.")
    return steps


def _state(model):
    """The optimizer's variables, and the weights too where a checkpoint has averages in their place."""
    optimizer = model.optimizer
    weights = inner_optimizer(optimizer)._trainable_variables if has_averages(model) else []
    return [*optimizer.variables, *weights]


def _read(path, variables):
    """Values of an optimizer's variables, None if those that are stored are of others; shapes are compared first."""
    with zipfile.ZipFile(path) as file:
        names = [name for name in sorted(file.namelist()) if not name.endswith("learning_rate.npy")]
        # Paths begin with the optimizer's name, which counts the optimizers of a process: sgd, sgd_1 ...
        stored = [(_own_name(name.removesuffix(".npy")), _stored_shape(file, name)) for name in names]
    if stored != [(_own_name(v.path), tuple(v.shape)) for v in variables]:
        return None
    with np.load(path) as file:
        values = [file[name.removesuffix(".npy")] for name in names]
    for name, value in zip(names, values, strict=True):
        if not np.isfinite(value).all():
            raise ValueError(f"{name} is not finite")
    return values


def _own_name(path):
    return path.split("/", 1)[-1]


def _stored_shape(file, name):
    with file.open(name) as member:
        version = np.lib.format.read_magic(member)
        header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        return header(member)[0]


def _optimizer_path(checkpoint):
    return Path(checkpoint).with_suffix(".optimizer.npz")
