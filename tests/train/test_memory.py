"""Freed memory stays with the process from the first training or detection on, and only on a CPU."""

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import TinyConfig

from mrcnn.model import MaskRCNN
from mrcnn.train import memory


@pytest.fixture
def calls(monkeypatch):
    """What is asked of the C library, which stays as it is; there is no accelerator, and no MALLOC_ variable."""
    found = []
    library = SimpleNamespace(mallopt=lambda *args: found.append(args))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(memory, "accelerated", lambda: False)
    monkeypatch.setattr(memory.os, "environ", {"PATH": "/bin"})
    memory.keep_freed_memory.cache_clear()
    yield found
    memory.keep_freed_memory.cache_clear()


def test_a_model_changes_nothing_until_it_works(calls, tmp_path):
    model = MaskRCNN("inference", TinyConfig(), tmp_path)
    assert calls == []
    for _ in range(2):
        model.detect([np.zeros((64, 64, 3), "uint8")])
        assert calls == [(-4, 0), (-1, 2**31 - 1)]  # once
    memory.keep_freed_memory.cache_clear()
    trained = MaskRCNN("training", TinyConfig(), tmp_path)
    trained.epoch = 1
    trained.train(None, None, 0.001, 1, "all")  # nothing is left to do
    assert len(calls) == 2
    with trained._folder():
        assert len(calls) == 4


def test_not_where_there_is_an_accelerator(calls, monkeypatch):
    monkeypatch.setattr(memory, "accelerated", lambda: True)
    memory.keep_freed_memory()
    assert calls == []


def test_the_environment_goes_before(calls, monkeypatch):
    monkeypatch.setattr(memory.os, "environ", {"MALLOC_ARENA_MAX": "2"})
    memory.keep_freed_memory()
    assert calls == []


def test_another_c_library(calls, monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    memory.keep_freed_memory()
    assert calls == []
