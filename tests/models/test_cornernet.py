"""CornerNet: its targets and the way from what it says to detections; test_detectors.py runs it."""

import numpy as np
import pytest
from keras import ops
from kites import KiteConfig, Kites
from quick import QuickConfig

from mrcnn.data.batches import DataGenerator
from mrcnn.layers.corners import CORNERS
from mrcnn.models import dense_parts
from mrcnn.models.cornernet import cornernet_losses
from mrcnn.models.detectors import build_detector
from mrcnn.models.points import STRIDE
from mrcnn.ops import boxes
from mrcnn.settings.detectors import practice


def config_of(**changes):
    config = QuickConfig().update(NUM_KEYPOINTS=4)  # which it leaves alone
    return config.update(**{**practice("cornernet", config.to_dict()), **changes})


def said_of(batch):
    """What the head should say of a batch, by its ground truth: embeddings 0, 1, ... of the objects of an image."""
    said: dict[str, np.ndarray] = {}
    for corner, sides in zip(CORNERS, (slice(0, 2), slice(2, 4)), strict=True):
        heat = np.where(batch[f"input_{corner}_heatmap"] == 1, 9.0, -9.0)
        embeddings, offsets = np.zeros((*heat.shape[:3], 1)), np.zeros((*heat.shape[:3], 2))
        for i, k in zip(*np.nonzero(batch["input_gt_class_ids"]), strict=True):
            place = batch["input_gt_boxes"][i, k, sides] / STRIDE
            y, x = cell = np.minimum(place.astype(int), np.array(heat.shape[1:3]) - 1)
            embeddings[i, y, x], offsets[i, y, x] = k, place - cell
        maps = {"class": heat, "embedding": embeddings, "offset": offsets}
        said |= {f"dense_{corner}_{name}": x for name, x in maps.items()}
    return {name: ops.convert_to_tensor(x.astype("float32")) for name, x in said.items()}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return build_detector("training", config_of(), tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="module")
def batch(model):
    return DataGenerator(Kites(), model.config, encoders=model.encoders(model.config), shuffle=False)[0][0]


def test_a_batch_has_what_the_graph_wants(model, batch):
    for x in model.keras_model.inputs:
        assert batch[x.name].shape[1:] == x.shape[1:] and batch[x.name].dtype == x.dtype, x.name
    assert [(batch[f"input_{corner}_heatmap"] == 1).sum() for corner in CORNERS] == [3, 3]
    assert model.keras_model.loss_weights == {
        "dense_class_loss": 1,
        "dense_pull_loss": 0.1,
        "dense_push_loss": 0.1,
        "dense_offset_loss": 1,
    }


def test_what_the_head_should_say_is_right(model, batch):
    """It has nearly no loss, and leads to the ground truth."""
    said = said_of(batch)
    truth = {name.replace("input_", "target_"): ops.convert_to_tensor(x) for name, x in batch.items()}
    found = cornernet_losses({**said, **truth, "active_class_ids": np.ones((2, 2), "float32")})
    assert len(found) == 4 and all(0 <= float(x) < 1e-4 for x in found.values())
    meta = ops.convert_to_tensor(batch["input_image_meta"])
    rows = ops.convert_to_numpy(dense_parts.corner_layer(model.config, STRIDE)([*said.values(), meta]))
    for i in range(2):
        order = np.argsort(rows[i, rows[i, :, 5] > 0.9, 1])
        pixels = boxes.to_pixels(rows[i, order, :4], (64, 64), "edges")
        np.testing.assert_allclose(pixels, list(Kites().boxes(i)), atol=1e-3)


def test_practice_is_that_of_centernet_with_wide_gaussians():
    for smallest, up in ((16, "aggregation"), (32, "transposed")):
        settings = {**KiteConfig().to_dict(), "RPN_ANCHOR_SCALES": [smallest, 64, 128, 256, 512]}
        found = practice("cornernet", settings)
        assert [found[name] for name in ("CENTERNET_UP", "HEATMAP_IOU", "DENSE_CANDIDATES")] == [up, 0.3, 100]
