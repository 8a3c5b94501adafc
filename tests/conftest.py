"""What all tests share: a quiet TensorFlow and the original's numbers ("golden" data) in tests/golden."""

import functools
import json
import os
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# The original's numbers come from TensorFlow's own kernels. With oneDNN's rounding a few ReLUs near zero fall on the
# other side, and gradients agree to 5e-5 only.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
import pytest

FOLDER = Path(__file__).parent / "golden"


@functools.cache
def read_golden(name):
    """A file of tests/golden: the JSON's content, or a dict of the npz's arrays (read-only)."""
    if name.endswith(".json"):
        return json.loads((FOLDER / name).read_text())
    with np.load(FOLDER / name) as data:
        arrays = dict(data)
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def golden_data(name, case=None):
    """`golden("x.npz")` is `read_golden`; `golden("x.npz", "iou")` is that case, the keys `iou/...`: `.ins` (in_*),
    `.outs` (out_*), `.args` (from its JSON, else {}), `.raises` (str or None), `.arrays` (all, by their full name)."""
    data = read_golden(name)
    if case is None:
        return data
    arrays = {key[len(case) + 1 :]: value for key, value in data.items() if key.rpartition("/")[0] == case}
    if not arrays:
        raise KeyError(f"{name} has no case {case}.")
    return SimpleNamespace(
        ins={key[3:]: value for key, value in arrays.items() if key.startswith("in_")},
        outs={key[4:]: value for key, value in arrays.items() if key.startswith("out_")},
        args=json.loads(str(arrays["args"])) if "args" in arrays else {},
        raises=str(arrays["raises"]) if "raises" in arrays else None,
        arrays=arrays,
    )


@pytest.fixture(scope="session")
def golden():
    """The function `golden_data`."""
    return golden_data


# Rooms whose tests run on every Keras backend (`pytest -m graph`).
GRAPH = {
    "boxes",
    "nms",
    "matching",
    "sampling",
    "backbone",
    "roi_align",
    "rpn",
    "targets",
    "detection",
    "losses",
    "keypoints",
    "model",
    "training",
    "parallel_model",
    "modern",
}


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem.removeprefix("test_") in GRAPH:
            item.add_marker("graph")
