"""Detections in many files: resumed after a break, nothing lost and nothing double, on one machine and on Ray."""

import functools
import importlib.util
import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from squares import SquaresConfig, found

from mrcnn.evaluate import many


class Model:
    """Finds one square, whose score and place tell the image by its gray level. At the file "dies", it takes that away
    and its process with it."""

    def __init__(self, folder=None):
        self.config, self.seen, self.folder = SquaresConfig().update(IMAGES_PER_GPU=3), [], folder
        self.keras_model = SimpleNamespace(weights=[])

    def detect(self, images, rle):
        if self.folder and (self.folder / "dies").exists() and len(self.seen) > 5:
            (self.folder / "dies").unlink()
            os._exit(9)
        levels = [int(image[0, 0, 0]) for image in images]
        self.seen += levels
        return [{k: v for k, v in found((x, 0, x + 5, 9, 1, x / 100)).items() if k != "masks"} for x in levels]


def pictures(folder, count):
    for i in range(count):
        Image.fromarray(np.full((8, 9, 3), i, "uint8")).save(folder / f"{i + 10:03}.png")
    return many.listed(folder)


def check(output, count):
    entries = sorted(json.loads(output.read_text()), key=lambda entry: entry["image_id"])
    assert [entry["image_id"] for entry in entries] == [i + 10 for i in range(count)]
    assert [entry["bbox"] for entry in entries] == [[0, i, 9, 5] for i in range(count)]
    assert entries[0]["file_name"] == "010.png" and entries[0]["category_id"] == 7
    assert not list(output.parent.glob("*.part"))


def test_goes_on_after_a_break(tmp_path):
    paths, output, model = pictures(tmp_path, 30), tmp_path / "out" / "results.json", Model()

    def breaks(paths, done):
        for n, lines in enumerate(many.here(lambda: model)(paths, done)):
            if n == 2:
                raise KeyboardInterrupt
            yield lines

    with pytest.raises(KeyboardInterrupt):
        many.detect_files(paths, output, "a", breaks, [0, 7])
    with open(tmp_path / "out" / "results.json.part", "a", encoding="latin-1") as file:
        file.write('7\n[28]\n[27, [], "\x80"]\n[29, [{"image')  # of a machine that stopped
    assert len(model.seen) == 24 and not output.exists()
    model.seen.clear()
    assert many.detect_files(paths, output, "a", many.here(lambda: model), [0, 7]) == (30, {})
    assert model.seen == list(range(16, 30))
    check(output, 30)


def test_lines_of_another_model_do_not_count(tmp_path):
    paths, output, model = pictures(tmp_path, 4), tmp_path / "results.json", Model()
    many.Lines(output, "one").add(["[0, [], null]"])
    assert many.Lines(output, "one").done == {0}
    assert many.detect_files(paths, output, "two", many.here(lambda: model), [0, 7]) == (4, {})
    assert model.seen == [0, 1, 2, 3]


def test_a_file_that_cannot_be_read(tmp_path):
    paths, output = pictures(tmp_path, 3), tmp_path / "results.json"
    paths[1].write_bytes(b"no picture")
    count, bad = many.detect_files(paths, output, "a", many.here(Model))
    assert count == 2 and list(bad) == [paths[1]] and "011.png" in bad[paths[1]]
    assert [entry["image_id"] for entry in json.loads(output.read_text())] == [10, 12]


def test_lines_that_another_process_removed(tmp_path):
    paths, output = pictures(tmp_path, 9), tmp_path / "results.json"

    def twice(paths, done):
        for lines in many.here(Model)(paths, done):
            yield lines
            (tmp_path / "results.json.part").unlink(missing_ok=True)

    with pytest.raises(OSError, match="results.json.part"):
        many.detect_files(paths, output, "a", twice)
    lines = many.Lines(output, "a")
    lines.add(f"[{i}, [], null]" for i in range(2))
    lines.part.write_text('"a"\n[1, [], null]\n')
    with pytest.raises(RuntimeError, match="results.json.part was changed by another process"):
        lines.finish(paths)
    assert not output.exists()


def test_one_name_in_two_folders(tmp_path):
    """The results tell them apart; Windows writes a list with backslashes."""
    for name in "ab":
        (tmp_path / name).mkdir()
        pictures(tmp_path / name, 1)
    (tmp_path / "list.txt").write_text("a\\010.png\nb/010.png\n")
    paths, output = many.listed(tmp_path / "list.txt"), tmp_path / "results.json"
    assert many.detect_files(paths, output, "a", many.here(Model)) == (2, {})
    names = [entry["file_name"] for entry in json.loads(output.read_text())]
    assert names == [(tmp_path / name / "010.png").as_posix() for name in "ab"]


def test_names(tmp_path):
    pictures(tmp_path, 3)
    (tmp_path / "list.txt").write_text("\ufeff012.png\n\n010.png\n", encoding="utf-8")
    paths = many.listed(tmp_path / "list.txt")
    assert many.image_ids(paths) == [12, 10]
    assert many.image_ids([*paths, tmp_path / "a.png"]) == [1, 2, 3]
    (tmp_path / "list.txt").write_text("012.png\n012.png\n")
    with pytest.raises(ValueError, match="lists an image twice: .*012.png"):
        many.listed(tmp_path / "list.txt")
    with pytest.raises(ValueError, match="neither a folder"):
        many.listed(tmp_path / "010.png")


def test_ray_that_does_not_start(tmp_path, monkeypatch):
    def init(**_):
        raise Exception("The current node\ntimed out during startup.")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    with pytest.raises(RuntimeError, match="^Ray does not start at local; .*: The current node timed out"):
        many.detect_files(pictures(tmp_path, 1), tmp_path / "results.json", "a", many.on_ray(Model), [0, 7])


def test_ray_loses_and_doubles_nothing_when_a_worker_dies(tmp_path):
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[Model.__module__])
    cloudpickle.register_pickle_by_value(sys.modules["squares"])
    paths, output = pictures(tmp_path, 100), tmp_path / "results.json"
    (tmp_path / "dies").touch()
    engine = many.on_ray(functools.partial(Model, tmp_path), "local", workers=2)
    assert many.detect_files(paths, output, "a", engine, [0, 7]) == (100, {})
    assert not (tmp_path / "dies").exists()
    check(output, 100)
