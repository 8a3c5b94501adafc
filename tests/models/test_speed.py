"""What is compiled is compiled once, as in train/test_whole_run.py. Seconds and memory are measured in benchmarks/."""

import keras
import pytest
from kites import Kites
from quick import QuickConfig

from mrcnn.evaluate import evaluate
from mrcnn.layers.roi_align import PyramidROIAlign
from mrcnn.model import MaskRCNN

pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch runs the graph without compiling"),
]


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


def test_evaluate_compiles_once(detector, traces):
    evaluate(detector, Kites(8), verbose=0)
    first = list(traces)
    evaluate(detector, Kites(12), verbose=0)
    assert first and traces == first
