"""RetinaNet, FCOS, SSD and YOLO: their targets, from what a head says to detections; test_detectors.py runs them."""

import numpy as np
import pytest
from kites import KiteConfig, Kites
from quick import QuickConfig
from whole import whole

from mrcnn.models.detectors import build_detector
from mrcnn.ops import boxes
from mrcnn.settings.detectors import practice

NAMES = ["retinanet", "fcos", "ssd", "yolo_v1", "yolo_v2", "yolo_v3"]


def config_of(name, **changes):
    config = QuickConfig()
    return config.update(**{**practice(name, config.to_dict() | changes), "DENSE_CONVOLUTIONS": 1, **changes})


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_has_what_the_graph_wants(name, tmp_path):
    from mrcnn.data.batches import DataGenerator

    model = build_detector("training", config_of(name), tmp_path)
    (batch,) = DataGenerator(Kites(), model.config, encoders=model.encoders(model.config))[0]
    assert "input_gt_masks" not in batch
    for x in model.keras_model.inputs:
        assert batch[x.name].shape[1:] == x.shape[1:] and batch[x.name].dtype == x.dtype, x.name
    class_ids, found = batch["input_dense_class_ids"], batch["input_dense_boxes"]
    assert (class_ids == 1).any(axis=1).all() and (class_ids == 0).any()
    assert (found[class_ids == 1] @ [-1, 0, 1, 0] > 10).all() and not found[class_ids < 1].any()
    kites = list(Kites().boxes(int(batch["input_image_meta"][0, 0])))
    assert {tuple(x) for x in found[0][class_ids[0] == 1]} == {tuple(x) for x in kites}  # every one is learnt


def deltas(config, anchors, targets):
    return boxes.encode(anchors, targets) / config.BBOX_STD_DEV


def roots(config, anchors, targets):
    centres = boxes.encode_in_cell(anchors, targets, np.ones(2))[..., :2]
    return np.concatenate([centres, np.sqrt(targets[..., 2:] - targets[..., :2])], axis=-1)


def places(config):
    """Anchors of each of YOLO's maps."""
    return [64**2 // stride**2 * len(config.YOLO_ANCHORS[0]) for stride in config.BACKBONE_STRIDES]


def in_cells(config, anchors, targets):
    """With y and x before the sigmoid."""
    cells = np.repeat(np.array(config.BACKBONE_STRIDES) / 64, places(config))[:, None]
    numbers = boxes.encode_in_cell(anchors, targets, cells / (anchors[..., 2:] - anchors[..., :2]))
    share = np.clip(numbers[..., :2], 1e-4, 1 - 1e-4)
    return np.concatenate([np.log(share / (1 - share)), numbers[..., 2:]], axis=-1)


# What a head should say of boxes.
ENCODED = {
    **dict.fromkeys(("retinanet", "ssd"), deltas),
    "fcos": lambda config, anchors, targets: boxes.encode_sides(anchors, targets),
    "yolo_v1": roots,
    **dict.fromkeys(("yolo_v2", "yolo_v3"), in_cells),
}


@pytest.mark.parametrize("name", NAMES)
def test_what_the_head_should_say_is_detected(name, tmp_path):
    """Its targets in the place of what it says lead through scores and decoding to the ground truth."""
    from keras import ops

    from mrcnn.data.batches import DataGenerator
    from mrcnn.models import dense_parts

    model = build_detector("training", config_of(name, DETECTION_MAX_INSTANCES=6), tmp_path)
    config = model.config
    (batch,) = DataGenerator(Kites(), config, encoders=model.encoders(config), shuffle=False)[0]
    anchors, class_ids, pixels = (batch[f"input_{x}"] for x in ("anchors", "dense_class_ids", "dense_boxes"))
    targets = boxes.normalize(np.where(class_ids[..., None] > 0, pixels, anchors * 64), (64, 64), "edges")
    numbers = ENCODED[name](config, anchors, targets)
    one_hot = np.eye(2)[np.maximum(class_ids, 0)][..., 0 if name == "ssd" else 1 :]
    said = {
        "dense_class_logits": 20 * one_hot - 10,
        "dense_bbox": numbers,
        "dense_classes": one_hot,
        "dense_centerness": np.full((2, len(anchors[0]), 1), 10),
        "dense_object": np.where(class_ids > 0, 10, -10 if name != "yolo_v1" else 0)[..., None],
    }
    ends = np.cumsum(places(config))[:-1] if name == "yolo_v3" else []
    said = {key: [ops.convert_to_tensor(x.astype("float32")) for x in np.split(x, ends, 1)] for key, x in said.items()}
    pick = dense_parts.detection_layer(config, model.limit, model.coding)
    rows = whole(pick)(
        [
            model.scores(said),
            model.numbers(config, said),
            *(ops.convert_to_tensor(x) for x in (anchors, batch["input_image_meta"])),
        ]
    )
    for i, found in enumerate(ops.convert_to_numpy(rows)):
        confident = found[found[:, 5] > 0.9]
        assert (confident[:, 4] == 1).all()
        assert {tuple(x) for x in np.rint(confident[:, :4] * 64).astype(int)} == {
            tuple(map(int, x)) for x in Kites().boxes(i)
        }


def test_settings_that_cannot_be():
    config = KiteConfig()
    for change in ({"DETECTOR": "fcos", "BACKBONE_STRIDES": [8, 16, 32, 64, 128]}, {"RPN_ANCHOR_RATIOS": [0.5, 1, 2]}):
        with pytest.raises(ValueError, match="FCOS has cells in the place of anchors: .*practice has what it needs"):
            (config if "DETECTOR" in change else config_of("fcos")).update(**change)
    with pytest.raises(ValueError, match="RPN_ANCHOR_STRIDE is 2; retinanet looks at every place"):
        config_of("retinanet", RPN_ANCHOR_STRIDE=2)
    with pytest.raises(ValueError, match="BACKBONE_STRIDES is .*; the pyramid of mask_rcnn has the strides 4, 8"):
        config.update(BACKBONE_STRIDES=[8, 16, 32, 64, 128])
    with pytest.raises(ValueError, match=r"BACKBONE_STRIDES is \[4, 16, 32, 64, 128\]; the levels of retinanet double"):
        config.update(DETECTOR="retinanet", BACKBONE_STRIDES=[4, 16, 32, 64, 128])
    with pytest.raises(ValueError, match="SSD takes images of one size"):
        config_of("ssd", IMAGE_RESIZE_MODE="rect")
    with pytest.raises(ValueError, match="SSD_SCALES has 3 entries; the 5 maps of BACKBONE_STRIDES need 6"):
        config_of("ssd", SSD_SCALES=[0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="yolo_v1 takes images of one size"):
        config_of("yolo_v1", IMAGE_RESIZE_MODE="rect")
    for name, strides, words in (
        ("yolo_v1", [8, 16], r"\[8, 16\]; yolo_v1 has one map"),
        ("yolo_v2", [4], "yolo_v2 needs a finer map beside it"),
        ("yolo_v3", [8, 32], "yolo_v3 has some of 4, 8, 16, 32 in their order"),
    ):
        with pytest.raises(ValueError, match=words):
            config_of(name, BACKBONE_STRIDES=strides, RPN_ANCHOR_SCALES=strides)
    with pytest.raises(ValueError, match="YOLO_ANCHORS has 1 entries; give one, .* for each of the 3 maps"):
        config_of("yolo_v3", YOLO_ANCHORS=[[[3, 4]]])
    with pytest.raises(ValueError, match="equally many pairs of numbers"):
        config_of("yolo_v3", YOLO_ANCHORS=[[[3, 4]], [[3, 4], [5, 6]], [[3, 4]]])
    with pytest.raises(ValueError, match="DARKNET cannot be used: it does not begin with"):
        config_of("yolo_v3", DARKNET="[yolo]")
    with pytest.raises(ValueError, match="DENSE_IOU is .* the lower one first"):
        config.update(DENSE_IOU=(0.5, 0.4))


def test_levels_follow_the_strides(tmp_path):
    """A pyramid from P2 on, for small objects."""
    config = config_of("retinanet", BACKBONE_STRIDES=[4, 8, 16, 32], RPN_ANCHOR_SCALES=[8, 16, 32, 64], DENSE_TOP="map")
    model = build_detector("inference", config, tmp_path)
    detections, logits, deltas = model.keras_model.outputs
    assert logits.shape == (None, 3 * (16**2 + 8**2 + 4**2 + 2**2), 1) and deltas.shape[1:] == (logits.shape[1], 4)


def test_images_of_any_size(tmp_path):
    config = config_of("retinanet", IMAGE_RESIZE_MODE="rect", IMAGE_MAX_DIM=192, DETECTION_MIN_CONFIDENCE=0.0)
    model = build_detector("inference", config, tmp_path)
    for shape in ((64, 64, 3), (128, 64, 3)):
        (result,) = model.detect([np.random.default_rng(0).integers(0, 255, shape, "uint8")])
        assert len(result["rois"]) and result["rois"][:, 2].max() <= shape[0]


def test_ssd_stretches_images(tmp_path):
    model = build_detector("inference", config_of("ssd", DETECTION_MIN_CONFIDENCE=0.0), tmp_path)
    molded, _, windows = model.mold_inputs([np.zeros((50, 200, 3), "uint8")])
    assert molded.shape == (1, 64, 64, 3) and windows.tolist() == [[0, 0, 64, 64]]
    (result,) = model.detect([np.zeros((50, 200, 3), "uint8")])
    assert result["rois"][:, 2].max() <= 50 < result["rois"][:, 3].max() <= 200


def test_the_head_is_among_the_layers_called_heads(tmp_path):
    model = build_detector("training", config_of("retinanet"), tmp_path)
    model.set_trainable(model.layer_presets["heads"], verbose=0)
    trained = {layer.name: layer.trainable for layer in model.get_trainable_layers()}
    assert all(on == name.startswith(("dense_", "fpn_")) for name, on in trained.items())
    assert any(name.startswith("dense_") for name in trained) and not all(trained.values())


def test_layers_from_a_block_of_vgg_on(tmp_path):
    config = config_of("retinanet", BACKBONE="vgg16", COMPUTE_BACKBONE_SHAPE=None)
    model = build_detector("training", config, tmp_path)
    model.set_trainable(model.layer_presets["4+"], verbose=0)
    trained = {layer.name for layer in model.get_trainable_layers() if layer.trainable and "block" in layer.name}
    assert trained == {f"block{block}_conv{i}" for block in (4, 5) for i in (1, 2, 3)}
