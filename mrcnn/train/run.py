"""The folder of a run: `{name}{date}T{time}`, with a checkpoint of every epoch in it."""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path
from typing import NamedTuple

_FOLDER = r"\d{8}T\d{4}"


class Run(NamedTuple):
    """Where a run is kept, and how far it is.

    Attributes:
        log_dir: its folder.
        checkpoint_path: of its checkpoints, with "{epoch:04d}" for the epoch.
        epoch: epochs done.
    """

    log_dir: str
    checkpoint_path: str
    epoch: int


def run_of(model_dir: Path | str, name: str | None, checkpoint: Path | str | None = None) -> Run:
    """The run under `model_dir` that `checkpoint` is of, at its epoch; else a new one, named after now."""
    key = _key(name)
    match = re.search(rf"([^/\\]+{_FOLDER})[/\\]mask_rcnn_.+?_(\d{{4}})\.h5$", str(checkpoint or ""))
    folder, epoch = match.groups() if match else (f"{key}{datetime.datetime.now():%Y%m%dT%H%M}", 0)
    log_dir = os.path.join(model_dir, folder)
    return Run(log_dir, os.path.join(log_dir, f"mask_rcnn_{key}_{{epoch:04d}}.h5"), int(epoch))


def find_last(model_dir: Path | str, name: str | None) -> str:
    """Path of the last whole checkpoint of the last run of `name` under `model_dir`.

    Raises:
        FileNotFoundError: there is none.
    """
    key = _key(name)
    for run in sorted(Path(model_dir).glob("*"), reverse=True):
        if re.fullmatch(re.escape(key) + _FOLDER, run.name):
            checkpoints = sorted(run.glob("mask_rcnn_*_[0-9][0-9][0-9][0-9].h5"))
            if checkpoints:
                return str(checkpoints[-1])
    raise FileNotFoundError(f"No checkpoint of {key!r} under {model_dir}; train first, or give a weights file.")


def _key(name):
    return (name or "mrcnn").lower()
