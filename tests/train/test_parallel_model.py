"""Training on two devices: two logical CPUs in a process of their own, as devices are fixed once a backend runs."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from real_data import ROOT
from tiny import tiny_model

from mrcnn.parallel_model import ParallelModel

SCRIPT = ROOT / "tests" / "two_devices.py"
TORCH = keras.backend.backend() == "torch"


@pytest.mark.skipif(TORCH, reason="Keras distributes TensorFlow and JAX only")
def test_two_devices_train_as_one(tmp_path):
    """With masks and keypoints. Gradients are clipped to a norm of 1, after they are added."""
    path = os.pathsep.join([str(SCRIPT.parent), str(SCRIPT.parent.parent)])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, SCRIPT, tmp_path], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    start, one, two = (dict(np.load(tmp_path / f"{name}.npz")) for name in ("start", 1, 2))
    assert set(one) == set(two) == {"loss", "points", *start} and len(start) == 80
    for name, expected in one.items():
        limit = 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(two[name], expected, rtol=0, atol=limit, err_msg=name)
        if name.endswith("mrcnn_class_logits/kernel"):
            assert np.abs(expected - start[name]).max() > 3 * limit
    # Two steps of 0.1 and gradients of norm 1, the first one's momentum in the second: 0.19 and 0.1, whose directions
    # may be the same or opposed.
    moved = np.sqrt(sum(((one[name] - start[name]) ** 2).sum() for name in start))
    assert 0.089 < moved < 0.291
    assert one["points"][0] > 1
    assert one["loss"][1] < one["loss"][0]


def test_more_devices_than_there_are(tmp_path):
    message = (
        "GPU_COUNT is 64.*not torch" if TORCH else "GPU_COUNT is 64, but there are 1 devices .*raise IMAGES_PER_GPU"
    )
    with pytest.raises(ValueError, match=message):
        tiny_model("training", tmp_path, GPU_COUNT=64)
    assert tiny_model("inference", tmp_path, GPU_COUNT=2, IMAGES_PER_GPU=1).config.BATCH_SIZE == 2


def test_parallel_model_is_a_copy(capsys):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense")])
    parallel = ParallelModel(model, 1)
    x = np.ones((4, 3), "float32")
    np.testing.assert_array_equal(parallel.predict(x, verbose=0), model.predict(x, verbose=0))
    assert parallel.get_layer("dense") is not model.get_layer("dense")
    parallel.summary()
    assert "dense" in capsys.readouterr().out
