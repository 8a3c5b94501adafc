"""Cascade R-CNN: three box heads in a row, learning at rising IoU."""

import keras
import numpy as np
import pytest
from keras import ops
from kites import Kites
from quick import QuickConfig

from mrcnn import losses
from mrcnn.data.batches import DataGenerator
from mrcnn.layers.cascade import RefineBoxes, ScaledGradient
from mrcnn.models.cascade_rcnn import CascadeRCNN, cascade_rcnn_losses
from mrcnn.models.mask_rcnn import mask_rcnn_losses
from mrcnn.ops import boxes

PREFIXES = ("mrcnn", "mrcnn_2", "mrcnn_3")
STD = np.array([0.1, 0.1, 0.2, 0.2])


def set_outputs(graph, layer, bias):
    """Make a dense layer say `bias` of everything."""
    dense = graph.get_layer(layer)
    dense.set_weights([np.zeros(dense.kernel.shape), np.array(bias)])


def test_detection(tmp_path):
    """Boxes go through all stages, each with its own deltas; scores are the mean of the three."""
    model = CascadeRCNN("inference", QuickConfig().update(DETECTION_NMS="none"), tmp_path)
    graph = model.keras_model
    deltas, scores = np.array([[0.5, -0.5, 0.2, 0.1], [0.1, 0.2, -0.3, 0.3], [-0.2, 0, 0.1, 0]]), [0.9, 1.7, 2.5]
    for prefix, delta, score in zip(PREFIXES, deltas, scores, strict=True):
        set_outputs(graph, f"{prefix}_bbox_fc", delta)
        set_outputs(graph, f"{prefix}_class_logits", [0, score])
    molded, metas, _ = model.mold_inputs([Kites().load_image(1)])
    names = ["detections", "mrcnn_class", "mrcnn_bbox", "mrcnn_mask", "rpn_rois"]
    found = dict(zip(names, map(ops.convert_to_numpy, graph(model.inputs(molded, metas))), strict=False))
    mean = np.mean(1 / (1 + np.exp(-np.array(scores))))
    np.testing.assert_allclose(found["mrcnn_class"][0, :, 1], mean, rtol=1e-5)
    np.testing.assert_allclose(found["mrcnn_bbox"][0, :, 0], np.tile(deltas[2], (20, 1)), atol=1e-6)
    expected = found["rpn_rois"][0].astype(float)
    for stage, delta in enumerate(deltas):
        expected = np.clip(boxes.decode(expected, delta * STD / (stage + 1)), 0, 1)
    rows = found["detections"][0]
    assert (rows[:, 4] == 1).all()
    np.testing.assert_allclose(rows[:, 5], mean, rtol=1e-5)
    distance = np.abs(rows[:, None, :4] - expected).max(axis=-1).min(axis=1)
    np.testing.assert_allclose(distance, 0, atol=1e-5)
    assert found["mrcnn_mask"].shape == (1, 4, 28, 28, 2)


def test_the_gradient_is_scaled_and_nothing_else():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False), ScaledGradient(0.25)])
    x, kernel = np.array([[1.0, 3.0]], "float32"), model.layers[0].kernel
    kernel.assign([[0.1], [0.7]])
    before = ops.convert_to_numpy(kernel)
    np.testing.assert_array_equal(
        model.predict(x, verbose=0), keras.Model(model.inputs, model.layers[0].output).predict(x, verbose=0)
    )
    model.compile(keras.optimizers.SGD(1.0), loss=lambda y, found: ops.sum(found))
    model.fit(x, np.zeros((1, 1)), verbose=0)
    np.testing.assert_allclose(before - ops.convert_to_numpy(kernel), 0.25 * x.T, rtol=1e-6)


def test_each_stage_learns_from_better_regions(tmp_path):
    """A stage's regions are the boxes of the one before; positive are those of its own IoU, with deltas in its unit."""
    config = QuickConfig().update(APPEND_GT_ROIS=True)
    model = CascadeRCNN("training", config, tmp_path)
    graph = model.keras_model
    for prefix in PREFIXES:
        set_outputs(graph, f"{prefix}_bbox_fc", [0.5, -0.5, 0.2, 0.1])
    (batch,) = DataGenerator(Kites(), config, encoders=model.encoders(config))[0]
    y = {name: ops.convert_to_numpy(x) for name, x in graph(batch, training=False).items()}
    truth = boxes.normalize(batch["input_gt_boxes"], (64, 64)) * (batch["input_gt_class_ids"] > 0)[..., None]
    seen, before = 0, np.zeros((2, 8, 4))
    for stage, (suffix, iou) in enumerate((("", 0.5), ("_2", 0.6), ("_3", 0.7))):
        rois, ids = y[f"output{suffix}_rois"], y[f"target{suffix}_class_ids"]
        overlaps = boxes.overlaps(rois, truth)
        np.testing.assert_array_equal(ids > 0, (overlaps.max(axis=-1) >= iou) & (ids >= 0))
        if stage:
            moved = np.clip(boxes.decode(before, np.array([0.5, -0.5, 0.2, 0.1]) * STD / stage), 0, 1)
            for image in range(len(rois)):
                real = rois[image][ids[image] >= 0]
                assert len(real) and np.abs(real[:, None] - moved[image]).max(axis=-1).min(axis=1).max() < 1e-5
        for image, row in np.argwhere(ids > 0):
            best = truth[image, overlaps[image, row].argmax()]
            expected = boxes.encode(rois[image, row], best) / (STD / (stage + 1))
            np.testing.assert_allclose(y[f"target{suffix}_bbox"][image, row], expected, atol=1e-4)
            seen += 1
        before = rois
    assert seen > 4
    assert y["mrcnn_mask"].shape[:2] == y["target_mask"].shape[:2] == (2, 2)  # of the first stage's positives


def test_losses():
    """The first stage's are those of Mask R-CNN; each later one has its own class and box loss."""
    rng = np.random.default_rng(0)
    y = {
        "target_rpn_match": np.array([[[1], [-1], [0]]]),
        "rpn_class_logits": rng.normal(size=(1, 3, 2)),
        "target_rpn_bbox": rng.normal(size=(1, 2, 4)),
        "rpn_bbox": rng.normal(size=(1, 3, 4)),
        "active_class_ids": np.array([[1, 1]]),
    }
    for suffix in ("", "_2"):
        y |= {f"target{suffix}_class_ids": np.array([[1, 0]]), f"target{suffix}_bbox": np.ones((1, 2, 4))}
        y |= {f"mrcnn{suffix}_class_logits": np.zeros((1, 2, 2)), f"mrcnn{suffix}_bbox": np.zeros((1, 2, 1, 4))}
    y["mrcnn_2_class_logits"] = np.log([[[1, 3], [1, 3]]])
    y["mrcnn_2_bbox"] = np.full((1, 2, 1, 4), 3.0)
    y = {name: ops.convert_to_tensor(x.astype("float32" if x.dtype == float else "int32")) for name, x in y.items()}
    found = {name: float(x) for name, x in cascade_rcnn_losses(y, stages=2).items()}
    first = {name: float(x) for name, x in mask_rcnn_losses(y).items()}
    second = {"mrcnn_2_class_loss": -np.log(0.75 * 0.25) / 2, "mrcnn_2_bbox_loss": 1.5}
    assert found == pytest.approx({**first, **second}, rel=1e-5)
    assert first["mrcnn_bbox_loss"] == pytest.approx(0.5) and first["mrcnn_class_loss"] == pytest.approx(np.log(2))


def test_one_box_for_all_classes():
    """Its loss is that of the same box given for each class."""
    rng = np.random.default_rng(0)
    one, target, ids = rng.normal(size=(2, 5, 1, 4)), rng.normal(size=(2, 5, 4)), rng.integers(-1, 3, (2, 5))
    one, target = one.astype("float32"), target.astype("float32")
    every = np.repeat(one, 3, axis=2)
    a, b = (float(losses.bbox_loss(*map(ops.convert_to_tensor, (target, ids, pred)))) for pred in (one, every))
    assert a == pytest.approx(b) and a > 0


def test_refined_boxes():
    layer = RefineBoxes.from_config(RefineBoxes(STD).get_config())
    rois = np.array([[[0.2, 0.2, 0.4, 0.6], [0, 0, 0, 0], [0.8, 0.8, 1, 1]]], "float32")
    deltas = np.array([[[[5, 0, 0, 0]], [[5, 5, 5, 5]], [[20, 0, 0, 0]]]], "float32")
    found = ops.convert_to_numpy(layer([ops.convert_to_tensor(x) for x in (rois, deltas)]))
    np.testing.assert_allclose(found[0], [[0.3, 0.2, 0.5, 0.6], [0, 0, 0, 0], [0, 0, 0, 0]], atol=1e-6)
    window = ops.convert_to_tensor(np.array([[0, 0, 0.45, 0.5]], "float32"))
    found = ops.convert_to_numpy(layer([ops.convert_to_tensor(x) for x in (rois, deltas)] + [window]))
    np.testing.assert_allclose(found[0, 0], [0.3, 0.2, 0.45, 0.5], atol=1e-6)


def test_layers_and_losses(tmp_path):
    """Stages as CASCADE_IOUS says, each with a head of its own, all of which layers="heads" trains."""
    config = QuickConfig().update(CASCADE_IOUS=[0.65], LOSS_WEIGHTS={"mrcnn_2_bbox_loss": 3.0})
    model = CascadeRCNN("training", config, tmp_path)
    names = [layer.name for layer in model.get_trainable_layers()]
    assert "mrcnn_2_bbox_fc" in names and "mrcnn_3_bbox_fc" not in names
    assert model.keras_model.loss_weights["mrcnn_2_bbox_loss"] == 3 and len(model.keras_model.loss_weights) == 7
    model.set_trainable(r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)", verbose=0)
    assert all(layer.trainable for layer in model.get_trainable_layers() if layer.name.startswith("mrcnn_2"))
