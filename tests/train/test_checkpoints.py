"""What is in the folder of a run at any moment: a power cut, a kill or a full disk leave a checkpoint to go on from."""

import errno
import os
import resource
import shutil
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from squares import Squares, SquaresConfig

from mrcnn import weights
from mrcnn.config import Config
from mrcnn.evaluate import Evaluation
from mrcnn.evaluate.during_training import stored_record
from mrcnn.train import run
from mrcnn.train.checkpoints import Checkpoints, restore_optimizer

EPOCHS = 3


class Trained:
    """Stands for a `MaskRCNN` whose only weight, by which it is evaluated, is the number of epochs done."""

    def __init__(self, folder):
        self.config, self.model_dir = SquaresConfig().update(NAME="squares"), folder
        self.log_dir, self.checkpoint_path, self.epoch = run.run_of(folder, self.config.NAME)
        self.record = {}
        self.keras_model = keras.Sequential(
            [keras.Input((1,)), keras.layers.Dense(1, use_bias=False, name="level")], name="trained"
        )
        self.keras_model.compile(keras.optimizers.SGD(0.0, momentum=0.5), "mse", run_eagerly=True)
        self.keras_model.optimizer.build(self.keras_model.trainable_variables)

    def save_weights(self, path):
        level = self.keras_model.get_layer("level").kernel
        weights.write_groups(path, [("level", {"level/kernel:0": level.numpy()})], self.record)

    def load(self, path):
        weights.load(self.keras_model, path)
        self.log_dir, self.checkpoint_path, self.epoch = run.run_of(self.model_dir, self.config.NAME, path)
        restore_optimizer(self.keras_model, path)
        self.record = stored_record(path)

    def level(self):
        return float(self.keras_model.get_layer("level").kernel.numpy()[0, 0])

    def train(self, until=EPOCHS):
        evaluation = Evaluation(self, Squares())
        evaluation._evaluate = lambda logs: self.level() / EPOCHS
        count = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, _: self.keras_model.get_layer("level").kernel.assign([[epoch + 1.0]])
        )
        with run.claimed(run.Run(self.log_dir, self.checkpoint_path, self.epoch), self.config.NAME) as own:
            self.log_dir, self.checkpoint_path, _ = own
            x = np.ones((1, 1))
            callbacks = [count, evaluation, Checkpoints(self)]
            self.keras_model.fit(x, x, initial_epoch=self.epoch, epochs=until, callbacks=callbacks, verbose=0)


def check(folder):
    """That the files of a run are whole and of one kind, and that training ends as if nothing had been.

    Gives the epoch of the last checkpoint.
    """
    model = Trained(folder)
    try:
        last = run.find_last(folder, model.config.NAME)
    except FileNotFoundError:
        return 0
    model.load(last)
    assert model.level() == model.epoch == int(model.keras_model.optimizer.iterations.numpy())
    assert Config.from_json(Path(last).parent / "config.json").NAME == model.config.NAME
    record, epoch = stored_record(last), model.epoch
    best = weights.read(Path(last).parent / "mask_rcnn_squares_best.h5")["level"]["kernel"][0, 0]
    # A better one may have been found in an epoch that is not done.
    assert record["AP"] == record["epoch"] / EPOCHS and record["epoch"] == epoch <= best <= epoch + 1
    model.train()
    folder = Path(model.log_dir)
    assert folder == Path(last).parent and model.level() == EPOCHS
    record = stored_record(folder / "mask_rcnn_squares_best.h5")
    assert (record["AP"], record["epoch"]) == (1, EPOCHS)
    assert weights.read(folder / "mask_rcnn_squares_best.h5")["level"]["kernel"] == EPOCHS
    assert (folder / f"mask_rcnn_squares_000{EPOCHS}.optimizer.npz").exists() and not list(folder.glob("*.new*"))
    return epoch


def test_whatever_moment_it_is_killed(tmp_path, monkeypatch):
    """The folder as it is before and after every file that is moved or deleted: what `kill -9` leaves."""
    moments = []

    def watched(function):
        def call(*paths, **options):
            keep()
            function(*paths, **options)
            keep()

        return call

    def keep():
        moments.append(tmp_path / f"moment {len(moments)}")
        shutil.copytree(tmp_path / "logs", moments[-1])

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", watched(os.replace))
        patch.setattr(Path, "unlink", watched(Path.unlink))
        Trained(tmp_path / "logs").train()
    epochs = [check(moment) for moment in moments]
    assert len(epochs) > 8 * EPOCHS and sorted(epochs) == epochs and set(epochs) == {*range(EPOCHS + 1)}


@pytest.mark.parametrize("full", range(4))
def test_a_full_disk(tmp_path, monkeypatch, full):
    """The second epoch finds it full, at any of its files: one line that names it, nothing half, and the first one."""
    Trained(tmp_path).train(until=1)
    model = Trained(tmp_path)
    model.load(run.find_last(tmp_path, "squares"))
    before = {path.name for path in Path(model.log_dir).iterdir()}
    written = []

    def replace(source, target):
        if len(written) == full:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(target)
        rename(source, target)

    rename = os.rename
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(
            OSError, match=r"^\[Errno 28\] No space left on device: '.*mask_rcnn_squares.*|config.json'$"
        ):
            model.train()
    assert {path.name for path in Path(model.log_dir).iterdir()} - before <= {Path(path).name for path in written}
    assert check(tmp_path) == 1


def test_a_disk_that_fills_while_a_file_is_written(tmp_path):
    Trained(tmp_path).train(until=1)
    model = Trained(tmp_path)
    model.load(run.find_last(tmp_path, "squares"))
    before = {path.name: path.read_bytes() for path in Path(model.log_dir).iterdir()}
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limit[1]))
    try:
        with pytest.raises(OSError, match=f"File too large: '{model.log_dir}/mask_rcnn_squares_best.h5'"):
            model.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert {path.name: path.read_bytes() for path in Path(model.log_dir).iterdir()} == before
    assert check(tmp_path) == 1


@pytest.mark.parametrize("text", ["", "[1]", '{"AP": 0.5}', '{"AP": null}', "5", "[" * 60000])
def test_a_damaged_record(tmp_path, text):
    path = tmp_path / "mask_rcnn_x_0001.h5"
    with h5py.File(path, "w") as file:
        file.attrs["training_record"] = text
    with pytest.raises(ValueError, match=f"{path} is damaged in its record of the training: "):
        stored_record(path)
