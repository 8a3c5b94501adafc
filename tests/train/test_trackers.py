"""Where the numbers of a training go: the table, MLflow's local store, W&B's calls, and what a resumed run does."""

import csv
import json
import sys
from types import SimpleNamespace

import pytest

from mrcnn.config import Config
from mrcnn.train import trackers


def config_of(*names):
    return Config().update(TRACKERS=names, NAME="tracked")


def run(callback, epochs):
    """What `fit` does of epochs, {index: logs}."""
    callback.on_train_begin()
    for epoch, logs in epochs.items():
        callback.on_epoch_end(epoch, logs)
    callback.on_train_end()


def test_a_table_takes_columns_that_come_later_and_drops_what_a_resumed_run_does_again(tmp_path):
    (table,) = trackers.trackers(tmp_path, config_of("csv"))
    run(table, {0: {"loss": 2.5}, 1: {"loss": 2.0, "box_AP": 0.25}, 2: {"loss": 1.5}})
    (again,) = trackers.trackers(tmp_path, config_of("csv"))
    run(again, {2: {"loss": 1.75, "box_AP": 0.5}})
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["epoch", "loss", "box_AP"], ["1", "2.5", ""], ["2", "2.0", "0.25"], ["3", "1.75", "0.5"]]


def test_a_file_that_is_no_table_is_named_before_the_work(tmp_path):
    for content in ("a,b\n1,2\n", "epoch,loss\none,2\n", "epoch,loss\n\n,\n"):
        (tmp_path / "log.csv").write_text(content)
        (table,) = trackers.trackers(tmp_path, config_of("csv"))
        with pytest.raises(ValueError, match=r"log.csv is no table of a training: move it away"):
            table.on_train_begin()
        assert (tmp_path / "log.csv").read_text() == content


def test_mlflow_keeps_one_run_in_its_local_store(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "tracked20260101T0000"
    folder.mkdir()
    for epochs in ({0: {"loss": 2.5}}, {1: {"loss": 2.0, "box_AP": 0.25}}):
        (stopped,) = trackers.trackers(folder, config_of("mlflow"))
        stopped.on_train_begin()  # and Ctrl-C
        (tracker,) = trackers.trackers(folder, config_of("mlflow"))
        run(tracker, epochs)
    assert mlflow.get_tracking_uri() == (tmp_path / "mlflow").as_uri()
    client = mlflow.MlflowClient()
    (experiment,) = client.search_experiments(filter_string="name = 'tracked'")
    (kept,) = client.search_runs([experiment.experiment_id])
    assert kept.info.run_name == folder.name and kept.info.status == "FINISHED"
    history = client.get_metric_history(kept.info.run_id, "loss")
    assert [(x.step, x.value) for x in history] == [(1, 2.5), (2, 2.0)]
    assert kept.data.metrics["box_AP"] == 0.25 and kept.data.params["NAME"] == "tracked"


class Away(trackers._Run):
    name = "away"

    def start(self, known):
        if (self.folder / "closed").exists():
            raise RuntimeError("no such server\nand more")
        return "1"

    def note(self, values, epoch):
        raise RuntimeError("timed out")

    def end(self):
        raise RuntimeError("gone")


def test_a_server_that_is_away(tmp_path, capsys):
    run(Away(tmp_path, Config()), {0: {"loss": 1.0}})
    lines = "away has not kept epoch 1: RuntimeError: timed out", "away has not ended its run: RuntimeError: gone"
    assert capsys.readouterr().out.split("\n\n") == [f"\n{lines[0]}", f"{lines[1]}\n"]
    (tmp_path / "away.json").write_text("{")
    with pytest.raises(OSError, match="away of TRACKERS begins no run: JSONDecodeError"):
        run(Away(tmp_path, Config()), {})
    (tmp_path / "away.json").unlink()
    (tmp_path / "closed").touch()
    with pytest.raises(OSError, match="away of TRACKERS begins no run: RuntimeError: no such server$"):
        run(Away(tmp_path, Config()), {})


def test_wandb_is_asked_for_one_run(tmp_path, monkeypatch):
    """Its package is not installed for tests: what is called is what its documentation has."""
    calls = []

    def init(**settings):
        calls.append(settings)
        note = lambda values, step: calls.append((values, step))  # noqa: E731
        return SimpleNamespace(id=settings["id"] or "new", log=note, finish=lambda: calls.append("end"))

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, __spec__=SimpleNamespace()))
    for epoch in (0, 1):
        (tracker,) = trackers.trackers(tmp_path, config_of("wandb"))
        run(tracker, {epoch: {"loss": 2.0 - epoch}})
    first, *_, second = (x for x in calls if isinstance(x, dict))
    assert (first["id"], second["id"], first["project"], first["resume"]) == (None, "new", "tracked", "allow")
    assert [x for x in calls if isinstance(x, tuple)] == [({"loss": 2.0}, 1), ({"loss": 1.0}, 2)]
    assert calls[2] == calls[5] == "end" and json.loads((tmp_path / "wandb.json").read_text()) == {"id": "new"}


def test_what_is_missing_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="TRACKERS 'mlflow' needs a package: pip install mlflow"):
        trackers.trackers(tmp_path, config_of("mlflow"))
    assert trackers.trackers(tmp_path, config_of("tensorboard")) == []
    assert "pip install tensorboard tensorflow" in capsys.readouterr().out
    with pytest.raises(ValueError, match="TRACKERS is .*; it must be some of tensorboard, csv, mlflow, wandb"):
        config_of("tensorbord")
