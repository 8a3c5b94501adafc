"""Fast R-CNN: what it looks at comes with the image, in training, detection and evaluation."""

import numpy as np
import pytest
from keras import ops
from kites import Kites
from quick import QuickConfig

from mrcnn.data.batches import DataGenerator
from mrcnn.data.proposals import WithProposals
from mrcnn.evaluate import evaluate
from mrcnn.models.fast_rcnn import FastRCNN, fast_rcnn_losses
from mrcnn.models.faster_rcnn import FasterRCNN
from mrcnn.ops import boxes
from mrcnn.ops.results import Place, mold_boxes


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MRCNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def sure(model):
    """Make it say of every region that it is a kite, where it is."""
    graph = model.keras_model
    for layer, bias in (("mrcnn_class_logits", [0, 9]), ("mrcnn_bbox_fc", [0] * 8)):
        dense = graph.get_layer(layer)
        dense.set_weights([np.zeros(dense.kernel.shape), np.array(bias)])


def test_boxes_of_an_image_as_the_network_sees_them():
    """An image of 50 x 100 pixels fills the middle of 128 x 128 as 60 x 120."""
    place = Place((50, 100, 3), (128, 128, 3), (34, 4, 94, 124), "edges")
    found = mold_boxes([[0, 0, 50, 100], [10, 20, 20, 40], [0, 0, 5, 5]], place, 2)
    np.testing.assert_allclose(found * 128, [[34, 4, 94, 124], [46, 28, 58, 52]], rtol=1e-6)
    np.testing.assert_array_equal(mold_boxes([[10, 20, 20, 40]], place, 3)[1:], 0)
    assert mold_boxes(np.zeros((0, 4)), place, 3).shape == (3, 4)


def test_detections_are_where_the_proposals_are(tmp_path):
    config = QuickConfig().update(IMAGE_MIN_DIM=128, IMAGE_MAX_DIM=128, DETECTION_NMS="none", MASK_PASTE="exact")
    config.update(BOX_NORMALIZATION="edges")  # "pixels" moves what is resized by a part of a pixel
    model = FastRCNN("inference", config, tmp_path)
    sure(model)
    images = [Kites().load_image(1), np.zeros((40, 64, 3), "uint8"), Kites().load_image(2)]
    given = [np.array([[4, 8, 30, 40], [20, 10, 60, 33]]), np.array([[5, 6, 38, 60.5]]), np.zeros((0, 4))]
    for image, wanted, result in zip(images, given, model.detect(images, proposals=given), strict=True):
        assert image.shape[0] in (40, 64) and len(result["rois"]) == len(wanted) and (result["class_ids"] == 1).all()
        if len(wanted):
            order = np.argsort(result["rois"][:, 0])
            np.testing.assert_allclose(result["rois"][order], wanted, atol=1e-3)


def test_others_take_no_proposals(tmp_path):
    model = FasterRCNN("inference", QuickConfig(), tmp_path)
    with pytest.raises(ValueError, match="A faster_rcnn takes no proposals"):
        model.detect([Kites().load_image(1)], proposals=[np.zeros((1, 4))])


def test_molded_images_and_the_graph_take_proposals(tmp_path):
    """In pixels of what is given; without any one line says what is missing, and not nothing is found."""
    model = FastRCNN("inference", QuickConfig().update(MASK_PASTE="exact", BOX_NORMALIZATION="edges"), tmp_path)
    sure(model)
    image, given = Kites().load_image(1)[:32], [np.array([[4, 8, 30, 40.0]])]
    molded, metas, windows = model.mold_inputs([image])
    assert windows[0].tolist() == [16, 0, 48, 64]
    (result,) = model.detect_molded(molded, metas, proposals=[given[0] + (16, 0, 16, 0)])
    np.testing.assert_allclose(result["rois"], [[20, 8, 46, 40]], atol=1e-3)
    wanted = [("found", model.keras_model.outputs[0])]
    rows = model.run_graph([image], wanted, proposals=given)["found"]
    np.testing.assert_allclose(rows[0, 0, :4] * 64, [20, 8, 46, 40], atol=1e-3)
    again = model.run_graph(molded, wanted, metas, [given[0] + (16, 0, 16, 0)])["found"]
    np.testing.assert_allclose(again, rows, atol=1e-5)
    for call in (lambda: model.detect_molded(molded, metas), lambda: model.run_graph([image], wanted)):
        with pytest.raises(ValueError, match="A fast_rcnn looks at proposals: give those of each image"):
            call()
    with pytest.raises(ValueError, match="proposals of 2 images for 1"):
        model.detect([image], proposals=given * 2)
    with pytest.raises(ValueError, match="A fast_rcnn proposes no regions"):
        model.regions([image])


def test_without_proposals_the_image_is_searched(tmp_path, cache):
    model = FastRCNN("inference", QuickConfig(), tmp_path)
    sure(model)
    image = Kites().load_image(1)
    (result,) = model.detect([image])
    assert len(result["rois"]) and len(list(cache.rglob("*.npy"))) == 1
    (again,) = model.detect([image])
    np.testing.assert_array_equal(result["rois"], again["rois"])


def test_training_sees_the_proposals_of_the_data(tmp_path):
    """They follow a flip as the ground truth does; the best fill what there is room for."""
    config = QuickConfig().update(POST_NMS_ROIS_TRAINING=3)
    kites = Kites(4)
    given = {i: np.array([*kites.boxes(i), (1, 2, 30, 40), (3, 4, 50, 60)], float) for i in range(4)}
    model = FastRCNN("training", config, tmp_path)
    flipped = 0
    for index in range(2):
        (batch,) = DataGenerator(WithProposals(kites, given), config, augment=True, encoders=model.encoders(config))[
            index
        ]
        assert batch["input_rois"].shape == (2, 3, 4) and "input_rpn_match" not in batch
        for k, image_id in enumerate(batch["input_image_meta"][:, 0].astype(int)):
            count = len(list(kites.boxes(image_id)))
            np.testing.assert_allclose(batch["input_rois"][k, :count], batch["input_gt_boxes"][k, :count])
            mirrored = not np.allclose(batch["input_rois"][k, 0], given[image_id][0])
            flipped += mirrored
            row = np.array([1, 24, 30, 62] if mirrored else [1, 2, 30, 40])
            np.testing.assert_allclose(batch["input_rois"][k, count], row)
    assert 0 < flipped < 4
    y = model.keras_model(batch, training=False)
    rois = boxes.to_pixels(ops.convert_to_numpy(y["output_rois"]), (64, 64))
    real = ops.convert_to_numpy(y["target_class_ids"]) >= 0
    for k in range(2):
        distance = np.abs(rois[k][real[k], None] - batch["input_rois"][k]).max(axis=-1).min(axis=1)
        assert real[k].any() and distance.max() < 1e-3


def test_evaluation_uses_the_proposals_of_the_data(tmp_path):
    """With the truth as proposals and a head that is sure of everything, all is found."""
    kites = Kites(4)
    model = FastRCNN("inference", QuickConfig(), tmp_path)
    sure(model)
    truth = {i: np.array(list(kites.boxes(i)), float) for i in range(4)}
    assert evaluate(model, WithProposals(kites, truth), verbose=0)["bbox"]["AP"] == pytest.approx(1)
    beside = {i: np.array([[0, 0, 3, 3]], float) for i in range(4)}
    assert evaluate(model, WithProposals(kites, beside), verbose=0)["bbox"]["AP"] == 0


def test_losses():
    y = {
        "target_class_ids": np.array([[1, 0]]),
        "mrcnn_class_logits": np.array([[[0, 0], [np.log(3), 0]]], "float32"),
        "active_class_ids": np.array([[1, 1]]),
        "target_bbox": np.array([[[1, 1, 0, 0], [0, 0, 0, 0]]], "float32"),
        "mrcnn_bbox": np.array([[[[5, 5, 5, 5], [1, 3, 0, 0]], [[5, 5, 5, 5], [5, 5, 5, 5]]]], "float32"),
    }
    found = fast_rcnn_losses({name: ops.convert_to_tensor(x) for name, x in y.items()})
    expected = {"mrcnn_class_loss": -(np.log(0.5) + np.log(0.75)) / 2, "mrcnn_bbox_loss": 1.5 / 4}
    assert {name: float(x) for name, x in found.items()} == pytest.approx(expected, rel=1e-5)


def test_pooling_in_images_of_any_size(tmp_path):
    """RoI pooling where the graph does not know the size of its maps gives what it gives where it does."""
    found = []
    for mode in ("square", "rect"):
        config = QuickConfig().update(ROI_ALIGN="pool", IMAGE_RESIZE_MODE=mode)
        model = FastRCNN("inference", config, tmp_path)
        if found:
            model.load_weights(tmp_path / "weights.h5")
        model.save_weights(tmp_path / "weights.h5")
        found += model.detect([Kites().load_image(1)], proposals=[np.array(list(Kites().boxes(1)))])
    np.testing.assert_array_equal(found[0]["rois"], found[1]["rois"])
    np.testing.assert_allclose(found[0]["scores"], found[1]["scores"], rtol=1e-5)
