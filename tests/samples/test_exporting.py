"""The command line of exporting and of many images: what is refused before any work."""

import sys

import keras
import pytest
from real_data import ROOT

sys.path.insert(0, str(ROOT / "samples"))

import coco
import options

from mrcnn.config import Config


@pytest.mark.parametrize(
    "words, line",
    [
        ("train --format onnx", "--format onnx goes with export, not with train"),
        ("export --canvas 704", "'704' is not HEIGHTxWIDTH"),
        ("export --precision int4", "invalid choice: 'int4'"),
        ("evaluate --ray local", "--ray goes with detect, not with evaluate"),
        ("export", "Name the file to write with --output"),
        ("export --format onnx --output found.bin", "its name must end in .onnx"),
        ("export --model found.tflite --output found", "found.tflite is exported already"),
        ("train --model found.tflite", "found.tflite is exported: it can evaluate and detect, no more"),
        ("evaluate --tiles 64 --model found.tflite", "--tiles and --scales want weights"),
        ("detect --ray local --output found.json", "--ray wants --image"),
        ("detect --ray local --image found.tflite --output found.json", "neither a folder of images nor a .txt"),
        ("detect --ray local --image found.tflite", "--ray wants --image"),
        ("detect --image empty --output found.json", "There are no images in empty"),
        ("detect --image found.txt", "found.txt is a list of images: name a .json to write with --output"),
    ],
)
def test_refused(words, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = ["found.tflite", "found.tflite.json", "found.txt"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    try:
        code = coco.main(words.split())
    except SystemExit as error:
        code = error.code
    assert code == 2 and line in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", *names]


def test_missing_packages_are_said_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setattr(coco, "load_dataset", None)
    assert coco.main(["export", "--format", "litert", "--output", str(tmp_path / "a.tflite")]) == 2
    found = keras.backend.backend() == "tensorflow"
    line = "pip install 'mask-rcnn-keras[export]'" if found else "Exporting needs KERAS_BACKEND=tensorflow"
    assert line in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_names_that_are_not_the_models():
    """Of a config without names, or with fewer than it has classes, an index was out of range in the middle of work."""
    config = Config().update(NUM_CLASSES=3)
    for names, found in (
        ([], ["BG", "class 1", "class 2"]),
        (["BG"], ["BG", "class 1", "class 2"]),
        (list("abc"), None),
    ):
        assert options.names_of(config.update(CLASS_NAMES=names)) == (found or names)
