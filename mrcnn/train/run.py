"""The folder of a run: `{name}{date}T{time}`, with a checkpoint of every epoch in it."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mrcnn.ops.files import lock
from mrcnn.settings import CONFIG

# Date and time, and a number for all but the first run of a minute.
_TIME = r"\d{8}T\d{4}(?:_\d+)?"


class Run(NamedTuple):
    """Where a run is kept, and how far it is.

    Attributes:
        log_dir: its folder.
        checkpoint_path: of its checkpoints, to format with `epoch`.
        epoch: epochs done.
    """

    log_dir: str
    checkpoint_path: str
    epoch: int


def run_of(
    model_dir: Path | str, name: str | None, checkpoint: Path | str | None = None, detector: str | None = None
) -> Run:
    """The run of `name` under `model_dir` that `checkpoint` is of, at its epoch; else a new one, named after now.

    A checkpoint of another name, or of another `detector` by the config beside it, is weights and no more.
    """
    if detector and checkpoint and _detector_of(checkpoint) not in (None, detector):
        checkpoint = None
    key = re.escape(_key(name))
    match = re.search(rf"(?:^|[/\\])({key}{_TIME})[/\\]mask_rcnn_{key}_(\d{{4,}})\.h5$", str(checkpoint or ""))
    folder, epoch = match.groups() if match else (f"{_key(name)}{datetime.datetime.now():%Y%m%dT%H%M}", 0)
    return _run(os.path.join(model_dir, folder), name, int(epoch))


def _detector_of(checkpoint):
    """The DETECTOR of the config beside a checkpoint; None where nothing says it."""
    with contextlib.suppress(OSError, ValueError):
        stored = json.loads(Path(checkpoint).with_name(CONFIG).read_text("utf-8"))
        return stored.get("DETECTOR") if isinstance(stored, dict) else None
    return None


def _run(log_dir, name, epoch):
    folder = log_dir.replace("{", "{{").replace("}", "}}")
    return Run(log_dir, os.path.join(folder, f"mask_rcnn_{_key(name)}_{{epoch:04d}}.h5"), epoch)


@contextlib.contextmanager
def claimed(run: Run, name: str | None) -> Iterator[Run]:
    """A run in a folder that is this process's alone while the block runs.

    It goes on in its folder if the newest checkpoint there is that of its epoch. Else a new folder is made, of the same
    time and with a number if that is taken; so no run writes into what another one has left.

    Raises:
        OSError: another process trains in the folder, or none can be made.
    """
    own = Path(run.checkpoint_path.format(epoch=run.epoch))
    if not run.epoch or _checkpoints(own.parent, name)[-1:] != [own]:
        run = _run(_make(run.log_dir), name, run.epoch)
    folder = os.open(run.log_dir, os.O_RDONLY) if os.name == "posix" else None
    try:
        if folder is not None and not lock(folder):
            raise OSError(f"Another process trains in {run.log_dir}; wait for it, or begin a run of its own.")
        yield run
    finally:
        if folder is not None:
            os.close(folder)


def _make(folder):
    """Make a folder that was not there, and give its path."""
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    base = re.sub(r"_\d+$", "", folder)
    for number in itertools.count(1):
        path = base if number == 1 else f"{base}_{number}"
        try:
            os.mkdir(path)
        except FileExistsError:
            continue
        return path


def find_last(model_dir: Path | str, name: str | None) -> str:
    """Path of the last whole checkpoint of the last run of `name` under `model_dir`.

    Raises:
        FileNotFoundError: there is none.
    """
    runs = []
    for folder in Path(model_dir).glob("*"):
        match = re.fullmatch(re.escape(_key(name)) + r"(\d{8}T\d{4})(?:_(\d+))?", folder.name)
        if match:
            runs.append((match[1], int(match[2] or 1), folder))
    for *_, folder in sorted(runs, reverse=True):
        checkpoints = _checkpoints(folder, name)
        if checkpoints:
            return str(checkpoints[-1])
    raise FileNotFoundError(f"No checkpoint of {_key(name)!r} under {model_dir}; train first, or give a weights file.")


def _checkpoints(folder, name):
    """Paths of the checkpoints in a folder, by epoch."""
    found = []
    for path in folder.glob("*.h5"):
        match = re.fullmatch(rf"mask_rcnn_{re.escape(_key(name))}_(\d{{4,}})\.h5", path.name)
        if match and path.is_file():
            found.append((int(match[1]), path))
    return [path for _, path in sorted(found)]


def _key(name):
    return (name or "mrcnn").lower()
