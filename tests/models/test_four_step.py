"""Four-step training: the RPN and the detector end on one network, each with what it learnt last."""

import json
from pathlib import Path

import numpy as np
import pytest
from kites import Kites
from quick import QuickConfig

from mrcnn import weights
from mrcnn.models import four_step
from mrcnn.models.fast_rcnn import FastRCNN
from mrcnn.models.faster_rcnn import FasterRCNN
from mrcnn.models.network import Network


def values(path):
    return {(layer, name): x for layer, arrays in weights.read(path).items() for name, x in arrays.items()}


def test_four_steps(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(Network, "train", record(trained, Network.train))
    config = QuickConfig().update(STEPS_PER_EPOCH=1, TRAIN_BN=False, LOSS_WEIGHTS={"rpn_class_loss": 2.0})
    model = FasterRCNN("training", config, tmp_path)
    model.save_weights(tmp_path / "begin.h5")
    four_step.train_four_step(model, Kites(6), Kites(2), 0.01, 1)
    steps = [(type(model), model.config.NAME) for model, _ in trained]
    assert steps == [
        (FasterRCNN, "quick-rpn"),
        (FastRCNN, "quick-detector"),
        (FasterRCNN, "quick"),
        (FastRCNN, "quick-detector"),
    ]
    (proposing, _), *_ = trained
    heads = {key: value for key, value in proposing.keras_model.loss_weights.items() if key.startswith("mrcnn_")}
    assert heads == dict.fromkeys(heads, 0) != {}  # else they would teach the network what a random head says
    begin, last = values(tmp_path / "begin.h5"), values(model.find_last())
    rpn, first, second = (values(path) for path in checkpoints(tmp_path))

    def same(a, b, part):
        keys = [key for key in a if key[0].startswith(part)]
        assert keys
        return all(np.array_equal(a[key], b[key]) for key in keys)

    shared, head, proposer = ("conv", "fpn"), "mrcnn_", "rpn_"
    assert same(rpn, begin, head) and not same(rpn, begin, proposer) and not same(rpn, begin, shared)
    assert not same(first, begin, shared) and not same(first, rpn, shared) and not same(first, begin, head)
    assert same(second, first, shared) and not same(second, first, head)
    # In the end: the network and the head of the detector, and an RPN that was trained on it.
    assert same(last, first, shared) and same(last, second, head)
    assert not same(last, begin, proposer) and not same(last, rpn, proposer)
    # Proposals came from the RPN of the step before.
    assert trained[0][1] is None and trained[2][1] is None
    for given in (trained[1][1], trained[3][1]):
        assert given.shape[1] == 4 and 0 < len(given) <= config.POST_NMS_ROIS_TRAINING
    assert not np.array_equal(trained[1][1], trained[3][1])
    stored = json.loads((Path(model.find_last()).parent / "config.json").read_text())
    assert stored["DETECTOR"] == "faster_rcnn" and stored["NAME"] == "quick"
    model.load_weights(model.find_last())
    assert not model.load_report.left and not model.load_report.unused


def test_it_begins_anew(tmp_path):
    model = FasterRCNN("training", QuickConfig(), tmp_path)
    model.epoch = 1
    with pytest.raises(ValueError, match="begins anew"):
        four_step.train_four_step(model, Kites(6), None, 0.01, 2)


def record(trained, train):
    def recorded(self, dataset, *args, **kwargs):
        trained.append((self, dataset.load_proposals(0)))
        return train(self, dataset, *args, **kwargs)

    return recorded


def checkpoints(folder):
    """Of the RPN alone, and of the detector after the second and the fourth step."""
    yield from folder.glob("quick-rpn*/*_0001.h5")
    yield from folder.glob("quick-detector*/*_0001.h5")
    yield from folder.glob("quick-detector*/*_0002.h5")


def test_regions_of_images(tmp_path):
    """What the RPN proposes comes in pixels of each image, the best first."""
    config = QuickConfig().update(IMAGE_MIN_DIM=64, IMAGE_MAX_DIM=128, BOX_NORMALIZATION="edges")
    model = FasterRCNN("inference", config, tmp_path)
    images = [Kites().load_image(1), np.full((32, 64, 3), 50, "uint8"), Kites().load_image(2)]
    found = model.regions(images)
    for image, boxes in zip(images, found, strict=True):
        height, width = image.shape[:2]
        assert len(boxes) and boxes.dtype == np.float32
        _, _, windows = model.mold_inputs([image])
        rois = model.run_graph([image], [("rois", model.keras_model.get_layer("ROI").output)])["rois"][0]
        y1, x1, y2, x2 = windows[0]
        rois = rois[rois.any(axis=1)] * 128
        expected = (rois - (y1, x1, y1, x1)) * np.tile([height / (y2 - y1), width / (x2 - x1)], 2)
        np.testing.assert_allclose(boxes, expected, atol=1e-3)
