"""Where the numbers of a training go: TensorBoard, a CSV file, MLflow, Weights & Biases."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mrcnn.ops.files import whole
from mrcnn.settings import Config

# The longest text that MLflow keeps of a setting.
LONGEST = 500


class _Records(keras.callbacks.TensorBoard):
    """With those of every epoch in the file at its end, and not two minutes later."""

    async_safe = True  # it records epochs; of a batch it would only trace what is not asked for

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        for writer in self._writers.values():
            writer.flush()


def _numbers(logs):
    return {name: float(value) for name, value in (logs or {}).items() if np.ndim(value) == 0}


class _Table(keras.callbacks.Callback):
    """log.csv, a row an epoch, counted from 1. A column may come later, as an AP does; a run that goes on from an
    earlier epoch drops the rows behind it. (Keras's own logger knows only the columns of its first epoch.)"""

    def __init__(self, folder: Path | str) -> None:
        super().__init__()
        self.path = Path(folder, "log.csv")

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._rows(0)  # a file that is no such table is found before the work

    def _rows(self, epochs: int) -> list[dict[str, Any]]:
        """Those of the first so many epochs."""
        if not self.path.exists():
            return []
        try:
            with open(self.path, newline="") as file:
                return [row for row in csv.DictReader(file) if int(row["epoch"]) <= epochs]
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise ValueError(f"{self.path} is no table of a training: move it away.") from error

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        rows = self._rows(epoch)
        rows.append({"epoch": epoch + 1, **_numbers(logs)})
        with whole(self.path) as new, open(new, "w", newline="") as file:
            table = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
            table.writeheader()
            table.writerows(rows)


def _first_line(error):
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"


class _Run(keras.callbacks.Callback):
    """A run of a tracker that keeps runs itself: its id is in the run's folder, so that a resumed training goes on.

    A tracker gives `start`, `note` and `end`.
    """

    # The file in the run's folder.
    name = ""

    def __init__(self, folder: Path | str, config: Config) -> None:
        super().__init__()
        self.folder, self.config = Path(folder), config

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        path = self.folder / f"{self.name}.json"
        try:
            known = json.loads(path.read_text())["id"] if path.exists() else None
            found = self.start(known)
        except Exception as error:  # of a server, a login, a store: their kinds are the package's own
            raise OSError(f"{self.name} of TRACKERS begins no run: {_first_line(error)}") from error
        if found != known:
            path.write_text(json.dumps({"id": found}))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        try:
            self.note(_numbers(logs), epoch + 1)
        except Exception as error:  # a server that is away for a while ends no training
            print(f"\n{self.name} has not kept epoch {epoch + 1}: {_first_line(error)}")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        try:
            self.end()
        except Exception as error:  # nor is it lost by one that is away at its end
            print(f"\n{self.name} has not ended its run: {_first_line(error)}")

    def start(self, known: str | None) -> str:
        """Go on with the run of that id, or begin one; its id."""
        raise NotImplementedError

    def note(self, values: dict[str, float], epoch: int) -> None:
        """Keep the numbers of an epoch, counted from 1."""
        raise NotImplementedError

    def end(self) -> None:
        """No more will come for now."""
        raise NotImplementedError


class _MLflow(_Run):
    """To where MLFLOW_TRACKING_URI says, else to the folder mlflow beside those of the runs, in the experiment NAME."""

    name = "mlflow"

    def start(self, known: str | None) -> str:
        import mlflow

        self.mlflow = mlflow
        if not mlflow.is_tracking_uri_set():
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a data base needs all of mlflow, not its skin
            mlflow.set_tracking_uri((self.folder.resolve().parent / "mlflow").as_uri())
        mlflow.set_experiment(self.config.NAME)
        active = mlflow.active_run()  # a training that was stopped has not ended its own
        if known and active and active.info.run_id == known:
            return known
        run = mlflow.start_run(run_id=known, run_name=self.folder.name, nested=active is not None)
        if not known:
            mlflow.log_params({name: str(x)[:LONGEST] for name, x in self.config.to_dict().items()})
        return str(run.info.run_id)

    def note(self, values: dict[str, float], epoch: int) -> None:
        self.mlflow.log_metrics(values, step=epoch)

    def end(self) -> None:
        self.mlflow.end_run()


class _Wandb(_Run):
    """To where wandb is logged in, or with WANDB_MODE=offline into the run's folder, in the project NAME."""

    name = "wandb"

    def start(self, known: str | None) -> str:
        import wandb

        self.run = wandb.init(
            project=self.config.NAME,
            name=self.folder.name,
            dir=str(self.folder),
            config=self.config.to_dict(),
            id=known,
            resume="allow",
        )
        return str(self.run.id)

    def note(self, values: dict[str, float], epoch: int) -> None:
        self.run.log(values, step=epoch)

    def end(self) -> None:
        self.run.finish()


def _tensorboard(folder, config):
    return _Records(folder, write_graph=False)


def _csv(folder, config):
    return _Table(folder)


# TRACKERS -> the callback of (folder of the run, config), and the packages that it needs.
TRACKERS: dict[str, tuple[Callable[[Path | str, Config], keras.callbacks.Callback], tuple[str, ...]]] = {
    "tensorboard": (_tensorboard, ("tensorboard", "tensorflow")),
    "csv": (_csv, ()),
    "mlflow": (_MLflow, ("mlflow",)),
    "wandb": (_Wandb, ("wandb",)),
}


def missing(config: Config) -> dict[str, list[str]]:
    """The packages that are missing, by the names of config.TRACKERS.

    Raises:
        ImportError: one of another than TensorBoard, which is there unless asked for otherwise.
    """
    found = {}
    for name in config.TRACKERS:
        _, packages = TRACKERS[name]
        found[name] = [package for package in packages if importlib.util.find_spec(package) is None]
        if found[name] and name != "tensorboard":
            raise ImportError(f"TRACKERS {name!r} needs a package: pip install {' '.join(found[name])}")
    return found


def trackers(folder: Path | str, config: Config) -> list[keras.callbacks.Callback]:
    """The callbacks that keep what config.TRACKERS names, of a run in `folder`. Where the packages of TensorBoard are
    missing there is none of it, and a line that says so.

    Raises:
        ImportError: see `missing`.
    """
    found = []
    for name, packages in missing(config).items():
        if packages:
            print(f"No TensorBoard records: pip install {' '.join(TRACKERS[name][1])}.")
        else:
            found.append(TRACKERS[name][0](folder, config))
    return found
