"""What benchmarks/bands.py does with what it knows and finds; it trains nothing here."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parent.parent / "benchmarks" / "bands.py"


@pytest.fixture(scope="module")
def bands():
    found = importlib.util.spec_from_file_location("bands", PATH)
    module = sys.modules["bands"] = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_bands_by_hand(bands):
    """A span of 0.2 is widened by itself, one of 0.01 by 0.05; no AP is below 0."""
    assert bands.band([0.5, 0.7, 0.6]) == pytest.approx((0.3, 0.9))
    assert bands.band([0.02, 0.03]) == pytest.approx((0.0, 0.08))
    known = {"box": [0.5, 0.6], "mask": [0.5]}
    lines, good = bands.check(known, {"box": 0.41, "mask": 0.44})
    assert not good and "within 0.400" in lines[0] and "NOT within 0.450" in lines[1]


def test_the_file_that_is_there(bands):
    known = bands.known_bands(bands.BANDS)
    assert set(known) == set(bands.SAMPLES)
    assert bands.known_bands(bands.BANDS.with_name("none.json")) == {}


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"nope": {}}', '{"shapes": 5}', '{"shapes": {"box": [0.5]}}', '{"shapes": {"box": [], "mask": [1]}}']
    + ['{"shapes": {"box": ["a"], "mask": [1]}}', '{"shapes": {"box": [NaN], "mask": [1]}}'],
)
def test_a_broken_file_is_named_before_anything_is_trained(bands, tmp_path, text):
    (tmp_path / "bands.json").write_text(text)
    with pytest.raises(ValueError, match="bands.json cannot be used .* delete it and --write a new one"):
        bands.known_bands(tmp_path / "bands.json")


def test_a_sample_that_dies_without_a_word(bands, monkeypatch):
    monkeypatch.setattr(bands, "ROOT", PATH.parent / "none")
    monkeypatch.setattr(bands.sys, "executable", "false")
    with pytest.raises(RuntimeError, match="coco.py train failed: exit code 1"):
        bands._run("coco.py", "train")


SLEEPER = """
import os, sys, time
with open(os.environ["NOTE"] + ".new", "w") as note:
    note.write(f"{os.getpid()} {sys.argv[3]}")
os.rename(note.name, os.environ["NOTE"])
time.sleep(60)
"""

STOPPED = f"""
import sys
sys.path[:0] = {[str(PATH.parent.parent), str(PATH.parent)]}
from mrcnn.cli import program
program.begin("__main__")
import bands
from pathlib import Path
bands.ROOT = Path(sys.argv[1])
sys.exit(program.run("bands.py", lambda: bands.measure(bands.SAMPLES["shapes"], None, 0)))
"""


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_is_stopped_leaves_nothing(tmp_path, number, code):
    """Neither a sample that trains on, nor its folder."""
    note = tmp_path / "note"
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "coco.py").write_text(SLEEPER)
    command = [sys.executable, "-c", STOPPED, str(tmp_path)]
    with subprocess.Popen(command, env={**os.environ, "NOTE": str(note)}, stderr=subprocess.DEVNULL) as process:
        for _ in range(600):
            if note.exists() or process.poll() is not None:
                break
            time.sleep(0.05)
        pid, logs = note.read_text().split()
        assert os.path.isdir(logs)
        process.send_signal(number)
        assert process.wait(30) == code
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
    assert not os.path.exists(logs)
