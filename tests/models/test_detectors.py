"""Every detector trains, is saved, resumed, loaded by its config alone, detects and is evaluated."""

import contextlib
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import eagerly
from kites import Kites
from quick import QuickConfig

from mrcnn.evaluate import evaluate
from mrcnn.models.detectors import DETECTORS, build_detector, load_detector
from mrcnn.settings import SETTINGS, checks
from mrcnn.settings.detectors import practice
from mrcnn.weights.h5 import named_weights


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Proposals are searched anew."""
    monkeypatch.setenv("MRCNN_CACHE", str(tmp_path / "cache"))


def config_of(name):
    config = QuickConfig()
    return config.update(**practice(name, config.to_dict()))


def test_names():
    assert set(DETECTORS) == set(checks.DETECTORS) == set(SETTINGS["DETECTOR"].choices)
    assert QuickConfig().DETECTOR == "mask_rcnn"
    with pytest.raises(ValueError, match="DETECTOR is 'mask'; choose one of mask_rcnn, faster_rcnn"):
        QuickConfig().update(DETECTOR="mask")


def test_what_they_find():
    config = QuickConfig().update(NUM_KEYPOINTS=4)
    assert config.finds == ("bbox", "segm", "keypoints")
    assert config.update(USE_MASK=False).finds == ("bbox", "keypoints")
    assert QuickConfig().update(NUM_KEYPOINTS=4, DETECTOR="faster_rcnn").finds == ("bbox",)


# Steps in which a detector learns kites from random weights, the rate, and the least box AP50 on others. What a change
# brings below that is no surprise of chance. benchmarks/lineage.py has longer trainings.
LEARNS = {
    **dict.fromkeys(DETECTORS, (150, 0.003, 0.8)),
    **dict.fromkeys(("retinanet", "fcos", "rcnn"), (60, 0.005, 0.8)),
    **dict.fromkeys(("fast_rcnn", "faster_rcnn"), (250, 0.006, 0.8)),  # their heads, 8 wide, begin with small weights
}
# That CenterNet learns is in test_centernet.py; here it takes two steps.
del LEARNS["centernet"]


def check_same_weights(ours, theirs):
    """Every weight of one graph is one of the other, of the same value."""
    ours, theirs = (
        {
            (layer.name, key): weight
            for layer in model.get_trainable_layers()
            for key, weight in named_weights(layer).items()
        }
        for model in (ours, theirs)
    )
    assert ours.keys() == theirs.keys()
    for key, weight in ours.items():
        np.testing.assert_array_equal(weight.numpy(), theirs[key].numpy())


@pytest.mark.compiled
@pytest.mark.parametrize("name", DETECTORS)
def test_it_learns_and_goes_on(name, tmp_path):
    steps, rate, least = LEARNS.get(name, (2, 0.001, None))
    config = config_of(name).update(APPEND_GT_ROIS=True, IMAGES_PER_GPU=4, STEPS_PER_EPOCH=steps)
    config.update(OPTIMIZER="adamw" if least else "sgd")
    config.update(CASCADE_IOUS=[0.6], UNET_LEVELS=2)  # what is deeper takes longer to compile
    functions = {key: value for key, value in config.to_dict().items() if callable(value)}  # which are not stored
    model = build_detector("training", config, tmp_path)
    kept = keras.callbacks.History()
    rates = keras.optimizers.schedules.CosineDecay(rate, steps)
    with contextlib.nullcontext() if least else eagerly():
        model.train(Kites(60), None, rates, 1, "all", custom_callbacks=[kept], workers=1)
    losses = {key: values[0] for key, values in kept.history.items() if key.endswith("_loss")}
    nothing = {"dense_class_loss"} if name == "yolo_v2" else set()  # a softmax of one class has nothing to learn
    assert losses and all(np.isfinite(value) and (value > 0) != (key in nothing) for key, value in losses.items())
    assert set(losses) == set(model.keras_model.loss_weights)
    last = model.find_last()
    stored = json.loads((Path(last).parent / "config.json").read_text())
    assert stored["DETECTOR"] == name and stored["CLASS_NAMES"] == Kites().class_names

    # One batch runs faster than it is compiled.
    detector = load_detector(last, tmp_path, **functions, IMAGES_PER_GPU=20 if least else 1)
    assert type(detector) is DETECTORS[name] and not detector.load_report.left and not detector.load_report.unused
    check_same_weights(model, detector)
    with eagerly():
        found = evaluate(detector, Kites(80), image_ids=range(60, 80 if least else 61), verbose=0)
        result, *_ = detector.detect([Kites().load_image(1)])
    assert tuple(found) == config.finds
    if least:
        assert found["bbox"]["AP50"] > least
        assert "semantic" not in found or found["semantic"]["mIoU"] > least
    count = len(result["rois"])
    assert result["rois"].shape == (count, 4) and result["scores"].shape == result["class_ids"].shape == (count,)
    assert ("masks" in result) == ("segm" in config.finds)

    resumed = load_detector(last, tmp_path, "training", STEPS_PER_EPOCH=1, **functions)
    assert type(resumed) is DETECTORS[name] and resumed.epoch == 1
    with eagerly():
        resumed.train(Kites(), None, 0.001, 2, "heads")
    assert resumed.epoch == 2
    detector.load_weights(resumed.find_last())
    assert not detector.load_report.left and not detector.load_report.unused
