"""The command `mrcnn`, also `python -m mrcnn`: the programs of samples/ under one name, wherever they are installed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mrcnn.cli import program

NAME = "mrcnn"

ABOUT = """usage: mrcnn COMMAND ...

  train, evaluate, detect, validate    on a folder of annotations or a generated set; see mrcnn train --help
  convert-annotations A B              a folder of annotations to another format
  anchors                              sizes for anchors of a set's objects
  export                               a model as a file of ONNX, OpenVINO, LiteRT or TensorFlow, for other machines
  demo                                 train on the generated set, evaluate, draw what is found: a few minutes
  pose COMMAND                         the same commands for keypoints
  balloon, nucleus COMMAND             the two samples on real photos
  app                                  a page in the browser
  convert SOURCE OUT                   weights of torchvision, Detectron2 and Darknet
"""

# Samples that are commands by their names; any other word is one of coco.py's commands.
SAMPLES = "pose", "balloon", "nucleus", "app"


def samples() -> Path:
    """The folder of the samples: that of a checkout, or where `pip install` has put them.

    Raises:
        ModuleNotFoundError: there is none.
    """
    root = Path(__file__).resolve().parents[2]
    if (root / "setup.cfg").exists():
        return root / "samples"
    found = importlib.util.find_spec("mrcnn_samples")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError('The samples are not installed: pip install "mask-rcnn-keras[tensorflow]".')
    return Path(next(iter(found.submodule_search_locations)))


def _sample(name):
    folder = str(samples())
    if folder not in sys.path:
        sys.path.insert(0, folder)  # they import each other by their names
    return importlib.import_module(name)


def _coco(words):
    coco = _sample("coco")
    return coco.main(words, replace(coco.COCO, prog=NAME))


def main(words: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code, see `mrcnn.cli.program.run`."""
    words = list(sys.argv[1:] if words is None else words)
    command, rest = words[:1] or ["--help"], words[1:]
    if command == ["--version"]:
        print(importlib.import_module(NAME).__version__)
        return 0
    if command[0] in ("-h", "--help"):
        print(ABOUT, end="")
        return 0
    if command == ["demo"]:
        if rest:
            print(f"{NAME}: error: demo takes no arguments, and got {' '.join(rest)}", file=sys.stderr)
            return program.MISTAKE
        return next((code for step in ("train", "evaluate", "detect") if (code := _coco([step]))), 0)
    if command == ["convert"]:
        return importlib.import_module("mrcnn.weights.convert.command").main(rest)
    return _sample(command[0]).main(rest) if command[0] in SAMPLES else _coco(words)


def run() -> None:
    """What the installed program `mrcnn` calls."""
    program.begin("__main__")
    sys.exit(main())
