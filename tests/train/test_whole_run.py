"""A whole run through the compiled steps: evaluation while it trains, interruption, going on, detection."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from kites import Kites
from quick import QuickConfig

from mrcnn.evaluate import Evaluation
from mrcnn.evaluate.during_training import stored_record
from mrcnn.layers.roi_align import PyramidROIAlign
from mrcnn.model import MaskRCNN
from mrcnn.weights.h5 import named_weights, weighted_layers

pytestmark = [pytest.mark.graph, pytest.mark.compiled]


def state(model):
    """All that a step changes: weights, statistics of BatchNorm, the optimizer's state."""
    graph = model.keras_model
    # The optimizer's name counts those of a process.
    optimizer = {f"optimizer/{v.path.split('/', 1)[1]}": v for v in graph.optimizer.variables}
    return {name: np.array(v.numpy()) for name, v in ({v.path: v for v in graph.weights} | optimizer).items()}


@pytest.fixture(scope="module")
def traces():
    """Grows each time that a graph with RoIAlign is traced, which is once for each compilation."""
    calls, original = [], PyramidROIAlign.call

    def call(self, inputs):
        calls.append(self.name)
        return original(self, inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PyramidROIAlign, "call", call)
        yield calls


@pytest.fixture(scope="module")
def run(tmp_path_factory, traces):
    """A model that trained for two epochs with a validation and an evaluation after each, its state after each, a copy
    of the folder as it was after the first, and how many traces there were after each."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("logs")
    model = MaskRCNN("training", QuickConfig().update(NUM_KEYPOINTS=4, VALIDATION_STEPS=1, OPTIMIZER="adamw"), folder)
    kept, counts = [], []

    def keep(epoch, logs):
        kept.append(state(model))
        counts.append(len(traces))
        if epoch == 0:
            shutil.copytree(model.log_dir, folder / "cut off" / Path(model.log_dir).name)

    evaluation = Evaluation(model, Kites(2))
    callbacks = [evaluation, keras.callbacks.LambdaCallback(on_epoch_end=keep)]
    model.train(Kites(), Kites(4), 0.001, 2, "all", custom_callbacks=callbacks, workers=1)
    return model, evaluation, kept, folder / "cut off", counts


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch runs the graph without compiling")
def test_a_training_compiles_once(run):
    """Its steps, validation and evaluation in the first epoch."""
    first, second = run[-1]
    assert first == second > 0


def test_training_goes_on_after_an_evaluation(run):
    """Its weights are still there, and the detector has them too."""
    model, evaluation, (first, second), _, _ = run
    moved = [name for name, value in second.items() if (value != first[name]).any()]
    assert len(moved) > 0.9 * len(second) > 200
    for name, value in state(model).items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)
    detector = evaluation.detector
    evaluation.detector.detect([Kites().load_image(1)])
    ours = {layer.name: named_weights(layer) for layer in weighted_layers(model.keras_model)}
    copied = list(weighted_layers(detector.keras_model))
    assert {layer.name for layer in copied} == set(ours)
    for layer in copied:
        for name, weight in named_weights(layer).items():
            np.testing.assert_array_equal(weight.numpy(), ours[layer.name][name].numpy(), err_msg=layer.name)


def test_resumed_run_equals_an_uninterrupted_one(run):
    """To the last bit: the second epoch once more, from the files that the first one left."""
    model, evaluation, (first, second), folder, _ = run
    model.model_dir = str(folder)
    model.keras_model.set_weights([np.zeros(w.shape, w.dtype) for w in model.keras_model.get_weights()])
    model.load_weights(model.find_last())
    assert model.epoch == 1 and Path(model.log_dir).parent == folder
    again = Evaluation(model, Kites(2))
    again.detector = evaluation.detector
    model.train(Kites(), Kites(4), 0.001, 2, "all", custom_callbacks=[again], workers=1)
    assert model.epoch == 2
    result = state(model)
    assert set(result) == set(second)
    for name, value in second.items():
        np.testing.assert_array_equal(result[name], value, err_msg=name)
    assert stored_record(model.find_last())["since"] == 0
    assert again.record == evaluation.record == model.record
