"""What surrounds the steps of a training: runs, checkpoints, resuming, learning rates."""

import copy
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from kites import Kites
from quick import QuickConfig

from mrcnn.config import Config
from mrcnn.model import MaskRCNN
from mrcnn.train.checkpoints import restore_optimizer
from mrcnn.train.schedules import Schedule

LOSSES = ["rpn_class_loss", "rpn_bbox_loss", "mrcnn_class_loss", "mrcnn_bbox_loss", "mrcnn_mask_loss"]


def weights_of(model, trained=True):
    """{layer/weight: copy}."""
    graph = model.keras_model
    variables = graph.trainable_variables if trained else graph.non_trainable_variables
    return {"/".join(v.path.split("/")[-2:]): np.array(ops.convert_to_numpy(v)) for v in variables}


# Runs


# Nothing is left to chance but the weights, of which the averages are saved.
SMALL = {"OPTIMIZER": "sgd", "STEPS_PER_EPOCH": 1, "USE_RPN_ROIS": False, "APPEND_GT_ROIS": True, "EMA_MOMENTUM": 0.5}


def small_model(folder, **changes):
    keras.utils.set_random_seed(0)
    return MaskRCNN("training", QuickConfig().update(**SMALL, **changes), folder)


def kept(model):
    """A function that makes the model and the folder of its run what they are now."""
    graph, folder = model.keras_model, Path(model.log_dir)
    attributes = {name: getattr(model, name) for name in ("epoch", "log_dir", "checkpoint_path")}
    config, optimizer, weights = copy.deepcopy(model.config), graph.optimizer, graph.get_weights()
    state = [np.array(ops.convert_to_numpy(v)) for v in optimizer.variables]
    files = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    def restore():
        vars(model).update(attributes, config=copy.deepcopy(config))
        model.set_trainable(".*", verbose=0)
        graph.set_weights(weights)
        graph.optimizer = optimizer
        for variable, value in zip(optimizer.variables, state, strict=True):
            variable.assign(value)
        for run in folder.parent.iterdir():
            shutil.rmtree(run)
        folder.mkdir()
        for path, content in files.items():
            path.write_bytes(content)

    return restore


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model trained for two epochs, and one trained for one, then resumed by a new model for the second."""
    data = Kites(4)
    whole = small_model(tmp_path_factory.mktemp("whole"))
    whole.train(data, None, 0.01, 2, "all", workers=1)
    folder = tmp_path_factory.mktemp("parts")
    first = small_model(folder)
    first.train(data, None, 0.01, 1, "all", workers=1)
    second = small_model(folder)
    second.load_weights(second.find_last())
    assert (second.epoch, first.epoch, whole.epoch) == (1, 1, 2)
    second.train(data, None, 0.01, 2, "all", workers=1)
    models = whole, first, second
    return models, [kept(model) for model in models]


@pytest.fixture
def runs(trained):
    """The models of `trained` as they were then, whatever another test has done to them."""
    models, restore = trained
    for as_it_was in restore:
        as_it_was()
    return models


def test_resumed_run_equals_an_uninterrupted_one(runs):
    whole, first, second = runs
    assert second.epoch == 2
    assert second.log_dir == first.log_dir
    result, before, expected = (weights_of(model) for model in (second, first, whole))
    assert set(result) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(result[name], value, rtol=0, atol=1e-7, err_msg=name)
    assert sum(np.abs(value - before[name]).max() > 1e-5 for name, value in expected.items()) > 40


def test_checkpoint_files(runs, tmp_path):
    whole, _, second = runs
    for model in (whole, second):
        files = sorted(path.name for path in Path(model.log_dir).glob("mask_rcnn_*"))
        # Only the newest state of the optimizer is kept.
        assert files == ["mask_rcnn_quick_0001.h5", "mask_rcnn_quick_0002.h5", "mask_rcnn_quick_0002.optimizer.npz"]
        assert Config.from_json(Path(model.log_dir) / "config.json").to_dict() | {"BACKBONE": 0} == (
            model.config.to_dict() | {"BACKBONE": 0, "COMPUTE_BACKBONE_SHAPE": None}
        )
    assert model.find_last() == str(Path(second.log_dir) / "mask_rcnn_quick_0002.h5")
    stored = small_model(tmp_path)
    stored.load_weights(whole.find_last())
    assert stored.load_report.missing == [] and stored.load_report.mismatched == {}
    result = weights_of(stored)
    for name, expected in weights_of(whole).items():
        np.testing.assert_array_equal(result[name], expected)


def test_optimizer_state(runs, capsys):
    whole, _, second = runs
    optimizer = second.keras_model.optimizer
    assert int(ops.convert_to_numpy(optimizer.iterations)) == 2

    def state(model):
        # Without the optimizer's name, which counts the optimizers of a process.
        variables = model.keras_model.optimizer.variables
        return {v.path.split("/", 1)[1]: np.array(ops.convert_to_numpy(v)) for v in variables}

    old = state(second)
    second.compile(0.5, 0.9)
    restore_optimizer(second.keras_model, second.find_last())
    assert "Resuming the optimizer's state at step 2." in capsys.readouterr().out
    restored = state(second)
    assert set(restored) == set(old)
    for name, value in restored.items():
        if name.endswith("learning_rate"):
            assert float(value) == 0.5  # the rate is what train() was given
        else:
            np.testing.assert_array_equal(value, old[name], err_msg=name)
    assert any(np.abs(value).max() > 0 for name, value in restored.items() if "momentum" in name)

    second.set_trainable("mrcnn_.*", verbose=0)
    second.compile(0.5, 0.9)
    restore_optimizer(second.keras_model, second.find_last())
    assert "is of other layers; momentum starts from zero." in capsys.readouterr().out
    assert int(ops.convert_to_numpy(second.keras_model.optimizer.iterations)) == 0
    second.set_trainable(".*", verbose=0)


def test_second_train_call_counts_the_losses_once(runs):
    whole, _, _ = runs
    seen = []
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(dict(logs)))
    for epochs in (3, 4):
        whole.train(Kites(4), None, 0.0, epochs, "heads", custom_callbacks=[callback], workers=1)
        l2 = float(ops.convert_to_numpy(whole.keras_model.regularization()))
        for values in seen:
            assert set(values) == {"loss", *LOSSES}
            assert values["loss"] == pytest.approx(sum(values[name] for name in LOSSES) + l2, rel=1e-5)
        assert 0.1 < seen[-1]["loss"] < 30
    assert len(seen) == 2
    assert whole.epoch == 4


def test_non_finite_loss_names_the_images(runs):
    _, first, _ = runs
    layer = first.keras_model.get_layer("mrcnn_bbox_fc")
    good = [np.array(w) for w in layer.get_weights()]
    layer.set_weights([np.full_like(w, np.nan) for w in good])
    try:
        with pytest.raises(FloatingPointError, match=r"The loss is nan at step 0 with images \[\d, \d\]: check their"):
            first.train(Kites(4), None, 0.001, 5, "heads", workers=1)
    finally:
        layer.set_weights(good)
    assert first.epoch == 1


def test_weights_of_another_name_do_not_go_on_with_its_run(runs):
    whole, first, _ = runs
    first.config.update(NAME="other")
    first.load_weights(whole.find_last())
    assert first.epoch == 0 and Path(first.log_dir).name.startswith("other2")
    first.compile(0.5, 0.9)
    first._go_on(0.5, 2)
    assert int(ops.convert_to_numpy(first.keras_model.optimizer.iterations)) == 0


def test_an_earlier_checkpoint_writes_over_nothing(runs):
    _, _, second = runs
    folder = Path(second.log_dir)
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    second.load_weights(folder / "mask_rcnn_quick_0001.h5")
    second.train(Kites(4), None, 0.0, 2, "heads", workers=1)
    assert second.epoch == 2 and second.log_dir.startswith(f"{folder}_")
    assert second.find_last() == str(Path(second.log_dir) / "mask_rcnn_quick_0002.h5")
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


# Learning rates and weight decay


def test_schedule_of_a_training_reaches_its_end(tmp_path):
    model = small_model(tmp_path, LEARNING_RATE_SCHEDULE="cosine", WARMUP_STEPS=1)
    model.train(Kites(4), None, 0.01, 2, "heads", workers=1)
    schedule = model.keras_model.optimizer._learning_rate
    assert (schedule.steps, schedule.warmup, schedule.rate) == (2, 1, 0.01)
    assert float(ops.convert_to_numpy(model.keras_model.optimizer.learning_rate)) == pytest.approx(0, abs=1e-8)
    # A second stage has its own way down, from its own first step.
    model.train(Kites(4), None, 0.01, 3, "heads", workers=1)
    assert model.keras_model.optimizer._learning_rate.steps == 1
    # A schedule of the user's own stays as it is; a resumed run counts from the steps that it has done.
    own = Schedule(0.01, 500)
    model.train(Kites(4), None, own, 4, "heads", workers=1)
    assert model.keras_model.optimizer._learning_rate is own and own.steps == 500
    model.load_weights(model.find_last())
    model.train(Kites(4), None, 0.01, 6, "heads", workers=1)
    assert model.keras_model.optimizer._learning_rate.steps == 1 + 2


def test_weight_decay_by_the_optimizer(tmp_path):
    model = small_model(tmp_path, WEIGHT_DECAY=0.5, WEIGHT_DECAY_BY="optimizer")
    assert model.keras_model.weight_decay == 0
    model.compile(0.1, 0.9)
    optimizer = model.keras_model.optimizer
    variables = model.keras_model.trainable_variables
    before = [np.array(v.numpy()) for v in variables]
    optimizer.apply([ops.zeros(v.shape) for v in variables], variables)
    for variable, old in zip(variables, before, strict=True):
        factor = 0.95 if variable.name == "kernel" else 1  # neither biases nor BatchNorm
        np.testing.assert_allclose(variable.numpy(), factor * old, rtol=1e-6, err_msg=variable.path)
