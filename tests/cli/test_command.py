"""The command `mrcnn`, and the backend that is taken where nobody names one."""

import configparser
import importlib.util
import json
import os
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

import mrcnn
from mrcnn.cli import backend, command, program

ROOT = Path(__file__).resolve().parent.parent.parent


def test_words_of_its_own(capsys):
    assert command.main(["--version"]) == 0
    assert capsys.readouterr().out == f"{mrcnn.__version__}\n"
    assert command.main([]) == command.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name}" in text for name in ("train", "demo", "app", "convert"))
    assert command.main(["demo", "--epochs", "2"]) == program.MISTAKE
    assert capsys.readouterr().err == "mrcnn: error: demo takes no arguments, and got --epochs 2\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "--epochs", "0"], "mrcnn: error: argument --epochs"),
        (["look"], "mrcnn: error: argument command: invalid choice: 'look'"),
        (["balloon", "train", "--epochs", "0"], "balloon.py: error: argument --epochs"),
        (["nucleus", "train", "--epochs", "0"], "nucleus.py: error: argument --epochs"),
        (["pose", "train", "--epochs", "0"], "pose.py: error: argument --epochs"),
        (["app", "--port", "0"], "app.py: error: argument --port"),
        (["convert", "no.pth"], "python -m mrcnn.weights.convert: error: the following arguments are required: out"),
    ],
)
def test_commands_are_the_samples(words, said, capsys, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path.copy())
    with pytest.raises(SystemExit) as end:
        command.main(words)
    assert end.value.code == program.MISTAKE and said in capsys.readouterr().err


def test_the_demo_ends_where_a_step_fails(monkeypatch):
    steps = []
    monkeypatch.setattr(command, "_coco", lambda words: steps.extend(words) or len(steps) // 2)
    assert command.main(["demo"]) == 1 and steps == ["train", "evaluate"]


def test_installed_samples(tmp_path, monkeypatch):
    """Outside a checkout they are a package beside mrcnn, and runs go to the current folder."""
    monkeypatch.setattr(command, "__file__", str(tmp_path / "mrcnn" / "cli" / "command.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install"):
        command.samples()
    spec = ModuleSpec("mrcnn_samples", None)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", {"mrcnn_samples": spec}.get)
    assert command.samples() == tmp_path
    assert program.logs(str(tmp_path / "coco.py")) == Path("logs")
    assert program.logs(str(ROOT / "samples" / "coco.py")) == ROOT / "logs"


@pytest.mark.parametrize(
    ("installed", "written", "chosen"),
    [
        (("tensorflow", "jax"), None, None),
        (("jax", "torch"), None, "jax"),
        (("torch",), "tensorflow", "torch"),
        (("tensorflow", "torch"), "torch", None),
        (("tensorflow",), "torch", "tensorflow"),
        (("jax",), "of another kind", "jax"),
    ],
)
def test_the_backend_that_is_installed(installed, written, chosen, tmp_path, monkeypatch):
    """`written` is what Keras's own settings name."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "keras")
    specs = {name: ModuleSpec(name, None, origin=f"{name}/__init__.py") for name in installed}
    specs.setdefault("tensorflow", ModuleSpec("tensorflow", None))  # a folder of that name
    monkeypatch.setattr(importlib.util, "find_spec", specs.get)
    if written:
        (tmp_path / "keras.json").write_text(json.dumps({"backend": written}))
    backend.choose()
    assert os.environ.get("KERAS_BACKEND") == chosen


def test_no_backend(tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="none of them is installed"):
        backend.choose()


def test_what_is_installed():
    """requirements.txt is what the package needs, with TensorFlow."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    needed = config["options"]["install_requires"] + config["options.extras_require"]["tensorflow"]
    assert sorted(needed.split()) == sorted((ROOT / "requirements.txt").read_text().split())
