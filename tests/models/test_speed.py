"""What is compiled is compiled once, and memory does not grow. Seconds are measured in benchmarks/."""

import gc
import os

import keras
import numpy as np
import pytest
from kites import Kites
from quick import QuickConfig

from mrcnn.data.batches import DataGenerator
from mrcnn.evaluate import evaluate
from mrcnn.layers.roi_align import PyramidROIAlign
from mrcnn.model import MaskRCNN

CALLS = 100  # in each part


@pytest.fixture
def traces(monkeypatch):
    """Grows each time that a graph with RoIAlign is traced, which is once for each compilation."""
    calls, original = [], PyramidROIAlign.call

    def call(self, inputs):
        calls.append(self.name)
        return original(self, inputs)

    monkeypatch.setattr(PyramidROIAlign, "call", call)
    return calls


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    keras.utils.set_random_seed(0)
    return MaskRCNN("inference", QuickConfig().update(NUM_KEYPOINTS=4), tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    config = QuickConfig().update(NUM_KEYPOINTS=4, VALIDATION_STEPS=1, IMAGES_PER_GPU=1)
    return MaskRCNN("training", config, tmp_path_factory.mktemp("logs"))


pytestmark = pytest.mark.compiled
compiles = pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch runs the graph without compiling")


@compiles
def test_evaluate_compiles_once(detector, traces):
    evaluate(detector, Kites(8), verbose=0)
    first = list(traces)
    evaluate(detector, Kites(12), verbose=0)
    assert first and traces == first


@compiles
def test_train_compiles_once(trainer, traces):
    trainer.train(Kites(), Kites(4), 0.001, 1, "all")
    first = list(traces)
    trainer.keras_model.fit(DataGenerator(Kites(), trainer.config, steps=4), epochs=2, verbose=0)
    assert first and traces == first


def resident():
    """Bytes of memory that this process holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.fixture
def memory():
    """Calls a function many times, in four parts: the least growth from one part to the next, in bytes and in Python
    objects. Allocators take more memory now and then; a leak takes it in every part."""

    def measure(function, calls=CALLS, parts=4):
        seen = []
        for _ in range(parts):
            for i in range(calls):
                function(i)
            gc.collect()
            seen.append((resident(), len(gc.get_objects())))
        return np.diff(seen, axis=0).min(axis=0)

    return measure


statm = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads Linux's /proc")


@statm
def test_memory_of_detect_is_flat(detector, memory):
    images = [Kites().load_image(i) for i in range(4)]
    size, objects = memory(lambda i: detector.detect(images[i % 4 : i % 4 + 1]))
    assert size < CALLS * images[0].nbytes and objects < CALLS


@statm
def test_memory_of_steps_is_flat(trainer, memory):
    generator = DataGenerator(Kites(), trainer.config, steps=4)
    trainer.compile(0.001, 0.9)
    batches = [generator[i][0] for i in range(4)]
    size, objects = memory(lambda i: trainer.keras_model.train_on_batch(batches[i % 4]))
    assert size < CALLS * batches[0]["input_image"].nbytes and objects < CALLS


@statm
def test_memory_of_train_is_flat(memory, tmp_path):
    """One training after the other: what was compiled for one is gone with it. Its graph alone is 60,000 objects."""
    model = MaskRCNN("training", QuickConfig().update(STEPS_PER_EPOCH=1), tmp_path)
    size, objects = memory(lambda i: model.train(Kites(), None, 0.001, model.epoch + 1, "all"), calls=1, parts=3)
    assert size < 45e6 and objects < 2000
    assert model.epoch == 3


@statm
def test_memory_of_evaluate_is_flat(detector, memory):
    """A call holds the results of its images only."""
    dataset = Kites(1)
    size, objects = memory(lambda i: evaluate(detector, dataset, verbose=0))
    assert size < CALLS * dataset.load_image(0).nbytes and objects < CALLS
