"""CenterNet: its targets, the way from what it says to detections and joints; test_detectors.py runs it."""

import keras
import numpy as np
import pytest
from keras import ops
from kites import KiteConfig, Kites
from quick import QuickConfig

from mrcnn.data.batches import DataGenerator
from mrcnn.models import dense_parts
from mrcnn.models.centernet import STRIDE, centernet_losses
from mrcnn.models.detectors import build_detector
from mrcnn.ops import boxes
from mrcnn.settings.detectors import practice


def config_of(**changes):
    config = QuickConfig().update(NUM_KEYPOINTS=4, STEPS_PER_EPOCH=2, IMAGES_PER_GPU=2)
    return config.update(**{**practice("centernet", config.to_dict() | changes), **changes})


def first_batch(model):
    (batch,) = DataGenerator(Kites(), model.config, encoders=model.encoders(model.config), shuffle=False)[0]
    return batch


def said_of(batch):
    """What the head should say of a batch, by its ground truth."""
    heat, joint_heat = (np.where(batch[f"input_{x}heatmap"] == 1, 9.0, -9.0) for x in ("", "joint_"))
    count, rows, columns, joints = joint_heat.shape
    said = {"class": heat, "joint_class": joint_heat}
    for name, values in (("size", 2), ("offset", 2), ("joint_vector", 2 * joints), ("joint_offset", 2)):
        said[name] = np.zeros((count, rows, columns, values))
    for i in range(count):
        for box, points in zip(batch["input_gt_boxes"][i], batch["input_gt_keypoints"][i], strict=True):
            centre = (box[:2] + box[2:]) / 2 / STRIDE
            y, x = cell = centre.astype(int)
            said["size"][i, y, x], said["offset"][i, y, x] = (box[2:] - box[:2]) / STRIDE, centre - cell
            places = (points[:, 1::-1] + 0.5) / STRIDE
            said["joint_vector"][i, y, x] = (places - cell).ravel()
            for place in places:
                v, u = place.astype(int)
                said["joint_offset"][i, v, u] = place % 1
    order = ("class", "size", "offset", "joint_class", "joint_vector", "joint_offset")
    return {f"dense_{name}": ops.convert_to_tensor(said[name].astype("float32")) for name in order}


def test_a_batch_has_what_the_graph_wants(tmp_path):
    model = build_detector("training", config_of(), tmp_path)
    batch = first_batch(model)
    for x in model.keras_model.inputs:
        assert batch[x.name].shape[1:] == x.shape[1:] and batch[x.name].dtype == x.dtype, x.name
    assert (batch["input_heatmap"] == 1).sum() == 3 and (batch["input_joint_heatmap"] == 1).sum() == 12
    assert list(model.keras_model.loss_weights.values()) == [1, 0.1, 1, 1, 1, 1]


def test_what_the_head_should_say_is_right(tmp_path):
    """It has nearly no loss, and leads to the ground truth."""
    model = build_detector("training", config_of(), tmp_path)
    batch = first_batch(model)
    said = said_of(batch)
    truth = {name.replace("input_", "target_"): ops.convert_to_tensor(x) for name, x in batch.items()}
    found = centernet_losses({**said, **truth, "active_class_ids": np.ones((2, 2), "float32")})
    assert len(found) == 6 and all(0 <= float(x) < 1e-4 for x in found.values())
    heat, size, offset, *joints = said.values()
    rows, points = (
        ops.convert_to_numpy(x)
        for x in dense_parts.peak_layer(model.config, STRIDE)(
            [heat, size, offset, ops.convert_to_tensor(batch["input_image_meta"]), *joints]
        )
    )
    for i in range(2):
        sure = rows[i, :, 5] > 0.9
        order = np.argsort(rows[i, sure, 1])
        pixels = boxes.to_pixels(rows[i, sure, :4][order], (64, 64), "edges")
        np.testing.assert_allclose(pixels, list(Kites().boxes(i)), atol=1e-3)
        np.testing.assert_allclose(points[i, sure][order][..., :2], Kites().load_keypoints(i)[..., :2], atol=1e-3)
        assert (points[i, sure][..., 2] > 0.9).all()


@pytest.mark.compiled
def test_joints_are_learnt_and_images_may_have_any_size(tmp_path):
    from mrcnn import weights
    from mrcnn.evaluate import evaluate

    config = config_of(KEYPOINT_FLIP_PAIRS=[(0, 1), (3, 2)], STEPS_PER_EPOCH=150, IMAGES_PER_GPU=4, OPTIMIZER="adamw")
    model = build_detector("training", config, tmp_path)
    rate = keras.optimizers.schedules.CosineDecay(0.005, 150)
    model.train(Kites(60), None, rate, 1, "all", workers=1)
    config.update(IMAGE_RESIZE_MODE="rect", IMAGE_MAX_DIM=192)
    detector = build_detector("inference", config, tmp_path)
    weights.copy(model.keras_model, detector.keras_model)
    found = evaluate(detector, Kites(80), image_ids=range(60, 80), verbose=0)
    assert min(found[kind]["AP50"] for kind in ("bbox", "keypoints")) > 0.8
    image = np.full((128, 64, 3), 20, "uint8")
    image[50:114] = Kites().load_image(1)
    (wide,) = detector.detect([image])
    first = wide["rois"][0]
    assert np.abs(np.array(list(Kites().boxes(1))) + [50, 0, 50, 0] - first).max(axis=1).min() <= 4
    assert wide["keypoints"].shape == (len(wide["rois"]), 4, 3)


def test_classes_without_joints_have_none(tmp_path):
    changes = {"NUM_CLASSES": 3, "KEYPOINT_CLASSES": [2], "BACKBONE": "dla34", "COMPUTE_BACKBONE_SHAPE": None}
    config = config_of(**changes, DETECTION_MAX_INSTANCES=200)
    detector = build_detector("inference", config, tmp_path)
    detector.keras_model.get_layer("dense_size_raw").bias.assign([4.0, 4.0])  # cells
    (result,) = detector.detect([Kites().load_image(1)])
    points, classes = result["keypoints"], result["class_ids"]
    assert set(classes) == {1, 2} and not points[classes == 1].any() and points[classes == 2].any(axis=2).all()


def test_practice_by_objects_and_backbone():
    for smallest, backbone, wanted in (
        (16, "resnet50", ["aggregation", 0.3]),
        (32, "resnet50", ["transposed", 0.7]),
        (32, "dla34", ["aggregation", 0.7]),
    ):
        scales = [smallest, 64, 128, 256, 512]
        found = practice("centernet", {**KiteConfig().to_dict(), "RPN_ANCHOR_SCALES": scales, "BACKBONE": backbone})
        assert [found["CENTERNET_UP"], found["HEATMAP_IOU"]] == wanted


def test_settings_that_cannot_be():
    for value in (0, 1):
        with pytest.raises(ValueError, match="HEATMAP_IOU is .; it must be above 0 and below 1"):
            KiteConfig().update(HEATMAP_IOU=value)
    with pytest.raises(ValueError, match="HEATMAP_RADIUS is 'wide'; choose one of exact, published"):
        KiteConfig().update(HEATMAP_RADIUS="wide")
