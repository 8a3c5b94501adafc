"""R-CNN: each region is an image of its own, and what judges it is fitted when training ends."""

import warnings

import numpy as np
import pytest
from kites import Kites
from quick import QuickConfig

from mrcnn.data.proposals import WithProposals
from mrcnn.evaluate import Evaluation
from mrcnn.models import rcnn
from mrcnn.models.detectors import load_detector
from mrcnn.models.rcnn import RCNN
from mrcnn.settings.detectors import practice
from mrcnn.train.linear_models import LinearModels
from mrcnn.weights.h5 import read


def config(**changes):
    by_paper = practice("rcnn", QuickConfig().to_dict())
    small = {"POST_NMS_ROIS_TRAINING": 12, "POST_NMS_ROIS_INFERENCE": 12, "TRAIN_ROIS_PER_IMAGE": 8}
    by_name = {"BACKBONE": "resnet18", "COMPUTE_BACKBONE_SHAPE": None}  # functions are not stored
    return QuickConfig().update(**{**by_paper, **small, **by_name, "STEPS_PER_EPOCH": 1, **changes})


def kites(count=4):
    """Kites with their boxes, the same a little to the right, and two of background as proposals."""
    data = Kites(count)
    boxes = {i: np.array(list(data.boxes(i)), float) for i in range(count)}
    beside = np.array([[0, 0, 9, 9], [54, 54, 63, 63]], float)
    return WithProposals(data, {i: np.concatenate([x, x + (0, 2, 0, 2), beside]) for i, x in boxes.items()})


def train(model, epochs=1, **options):
    model.train(kites(), None, 0.001, epochs, "all", **options)


def sure(model, deltas=(0, 0, 0, 0)):
    """Make it say of every region that it is a kite, at most so far from it."""
    features = model.keras_model.get_layer("mrcnn_svm").kernel.shape[0]
    model._set_linear_models([np.full((features, 1), 1e-9), np.ones(1), np.zeros((features, 4)), np.array(deltas)])


def test_by_its_paper():
    small, large = (practice("rcnn", QuickConfig().to_dict() | {"IMAGE_MAX_DIM": side}) for side in (128, 1024))
    assert (small["RCNN_CROP_SIZE"], small["RCNN_CONTEXT"]) == (48, 3)
    assert (large["RCNN_CROP_SIZE"], large["RCNN_CONTEXT"]) == (224, 16)
    with pytest.raises(ValueError, match="RCNN_CONTEXT is 32, on each side of RCNN_CROP_SIZE = 64; .*, for instance 4"):
        config(RCNN_CROP_SIZE=64, RCNN_CONTEXT=32)


def test_detections_are_where_the_ridge_moves_proposals(tmp_path):
    model = RCNN("inference", config(DETECTION_NMS="none", MASK_PASTE="exact"), tmp_path)
    given = np.array([[4, 8, 30, 40], [20, 10, 60, 34]], float)
    shift = 0.25 / model.config.BBOX_STD_DEV[0]
    for deltas, moved in (((0, 0, 0, 0), 0), ((shift, 0, 0, 0), np.array([6.5, 10]))):
        sure(model, deltas)
        (result,) = model.detect([Kites().load_image(1)], proposals=[given])
        assert (result["class_ids"] == 1).all()
        np.testing.assert_allclose(result["scores"], 1 / (1 + np.exp(-1)), rtol=1e-5)
        order = np.argsort(result["rois"][:, 0])
        np.testing.assert_allclose(result["rois"][order][:, 0] - given[:, 0], moved, atol=1e-4)


def test_pieces_are_the_whole(tmp_path, monkeypatch):
    """What `detect` computes a few regions at a time is what the graph says of all at once."""
    monkeypatch.setattr(rcnn, "PIECE", 5)
    model = RCNN("inference", config(), tmp_path)
    sure(model)
    rng = np.random.default_rng(0)
    images = rng.uniform(-100, 100, (2, 64, 64, 3)).astype("float32")
    corners = rng.uniform(0, 0.5, (2, 12, 2))
    rois = np.concatenate([corners, corners + 0.4], axis=-1).astype("float32")
    rois[1, 7:] = 0
    metas = model.mold_inputs([Kites().load_image(0)] * 2)[1]
    found = model.predict(images, metas, rois)["detections"]
    np.testing.assert_allclose(found, model.keras_model.predict_on_batch([images, metas, rois])[0], atol=1e-5)
    assert found[..., 4].any()
    features = model.features(images, rois)
    assert not features[1, 7:].any() and features[0].any(axis=1).all() and features[1, :7].any(axis=1).all()
    assert not model.features(images, np.zeros_like(rois)).any()


def test_training_ends_with_svms(tmp_path):
    """In the last checkpoint, which any detector of the run then has; training on begins without them."""
    model = RCNN("training", config(), tmp_path)
    train(model)
    assert model.fitted
    stored = read(model.find_last())
    for layer in ("mrcnn_svm", "mrcnn_ridge"):
        kernel = model.keras_model.get_layer(layer).kernel.numpy()
        np.testing.assert_array_equal(stored[layer]["kernel"], kernel)
        assert kernel.any() and not model.keras_model.get_layer(layer).trainable_weights
    before = stored["mrcnn_svm"]["kernel"]
    train(model, 2)
    assert np.abs(read(model.find_last())["mrcnn_svm"]["kernel"] - before).max() > 0


def test_every_image_is_seen_once(tmp_path):
    """With all of its instances first, though a training batch has room for one; what cannot be read is left out."""
    model = RCNN("training", config(MAX_GT_INSTANCES=1), tmp_path)
    data, own = kites(5), Kites(5)
    data.load_image = lambda image_id: 1 / 0 if image_id == 2 else own.load_image(image_id)
    seen = list(model._regions(data))
    assert len(seen) == 4
    for i, regions in zip((0, 1, 3, 4), seen, strict=True):
        truth = np.array(list(own.boxes(i)), float)
        given = np.concatenate([truth, data.load_proposals(i)])
        np.testing.assert_allclose(regions.boxes * 64, given, atol=1e-4)
        assert regions.class_ids.tolist() == [1] * len(truth) and len(regions.features) == len(given)
        again = regions.features[len(truth) : 2 * len(truth)]
        np.testing.assert_allclose(regions.features[: len(truth)], again, rtol=1e-4)


def test_one_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(rcnn, "machine", lambda: (1, 2))
    with pytest.raises(ValueError, match="trains on one machine"):
        train(RCNN("training", config(), tmp_path))


def test_an_interruption_while_fitting(tmp_path, monkeypatch, capsys):
    model = RCNN("training", config(), tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(LinearModels, "fit", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        train(model)
    last = model.find_last()
    with pytest.warns(UserWarning, match="The SVMs of this R-CNN are not fitted"):
        load_detector(last, tmp_path).detect([Kites().load_image(0)], proposals=[np.array([[4, 4, 30, 30]])])
    resumed = load_detector(last, tmp_path, "training")
    assert resumed.epoch == 1 and not resumed.fitted
    capsys.readouterr()
    train(resumed)
    assert resumed.fitted and resumed.find_last() == last and "Nothing to train" not in capsys.readouterr().out
    train(resumed)
    assert "Nothing to train: 1 of 1 epochs are done." in capsys.readouterr().out
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        load_detector(last, tmp_path).detect([Kites().load_image(0)], proposals=[np.array([[4, 4, 30, 30]])])


def test_no_evaluation_before_there_are_svms(tmp_path):
    model = RCNN("training", config(), tmp_path)
    with pytest.raises(ValueError, match="has no SVMs before training ends: evaluate it afterwards"):
        train(model, custom_callbacks=[Evaluation(model, kites())])
    assert not list(tmp_path.iterdir())
