"""The training graph as a thing of its own: saved, loaded and trained; built from its config alone."""

import json

import keras
import numpy as np
import pytest
from keras import ops
from kites import KiteConfig, Kites
from quick import QuickConfig
from whole import whole

from mrcnn.data.batches import DataGenerator
from mrcnn.model import MaskRCNN
from mrcnn.models.graph import Compiled, TrainingGraph, precision, training_graph


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    keras.utils.set_random_seed(0)
    changes = {"NUM_KEYPOINTS": 4, "WEIGHT_DECAY": 0.5, "OPTIMIZER": "sgd", "USE_RPN_ROIS": False, "LOSS_WEIGHTS": {}}
    config = QuickConfig().update(**changes)
    return MaskRCNN("training", config, tmp_path_factory.mktemp("logs"))


def test_every_input_has_a_layer(trainer):
    """Keras up to 3.12, the last for Python 3.10, wants it so; what targets are stays as it is, in any precision."""
    assert all(x._keras_history.operation._outbound_nodes for x in trainer.keras_model.inputs)
    values = keras.Input((2,), dtype="float32"), keras.Input((2,), dtype="int32")
    with precision("bfloat16"):
        graph = training_graph(list(values), {"a": values[0], "b": values[1], "c": values[0] * 2}, "targets_alone")
    assert [x.dtype for x in graph.outputs] == ["float32", "int32", "float32"]
    assert all(x._keras_history.operation._outbound_nodes for x in graph.inputs)


def batch_of(config, index=0):
    return DataGenerator(Kites(), config, seed=3)[index][0]


def loss_of(graph):
    """A function of a batch: the loss and its parts, with the same choice of RoIs each time."""
    loss = whole(lambda inputs: graph.compute_loss(y_pred=graph(inputs, training=False)), graph)

    def run(batch):
        state = graph.get_layer("proposal_targets").seed_generator.state
        state.assign(ops.cast([1, 2], state.dtype))
        for metric in graph.loss_means.values():
            metric.reset_state()
        total = float(ops.convert_to_numpy(loss(batch)))
        return total, {name: float(metric.result()) for name, metric in graph.loss_means.items()}

    return run


def test_heads_begin_small(trainer):
    """As in Fast R-CNN, section 2.3, and Detectron2."""
    wanted = {"rpn_class_raw": 0.01, "rpn_bbox_pred": 0.01, "mrcnn_class_logits": 0.01}
    wanted |= {"mrcnn_bbox_fc": 0.001, "mrcnn_mask": 0.001}
    found = {x.name: x.kernel.numpy().std() for x in trainer.get_trainable_layers() if x.name in wanted}
    assert found == pytest.approx(wanted, rel=0.6)


def test_a_saved_training_graph_reloads_and_trains(trainer, tmp_path):
    graph, batch = trainer.keras_model, batch_of(trainer.config)
    graph.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    assert isinstance(loaded, TrainingGraph) and loaded.weight_decay == 0.5
    assert list(loaded.loss_weights) == [
        *(f"rpn_{kind}_loss" for kind in ("class", "bbox")),
        *(f"mrcnn_{kind}_loss" for kind in ("class", "bbox", "mask", "keypoint")),
    ]
    loss, again_loss = loss_of(graph), loss_of(loaded)
    expected, parts = loss(batch)
    found, again = again_loss(batch)
    assert found == pytest.approx(expected, rel=1e-5) and again == pytest.approx(parts, rel=1e-5)
    assert expected > sum(parts.values()) + 0.01  # the L2 term
    loaded.compile(keras.optimizers.SGD(0.02, global_clipnorm=5.0))
    loaded.fit(DataGenerator(Kites(), trainer.config, seed=3, steps=4), epochs=2, shuffle=False, verbose=0)
    assert again_loss(batch)[0] < 0.95 * expected
    assert loss(batch)[0] == pytest.approx(expected, rel=1e-5)


def test_the_description_is_small(trainer):
    assert len(json.dumps(json.loads(trainer.keras_model.to_json()))) < 300_000


def test_build_takes_everything_from_its_argument(tmp_path):
    model = MaskRCNN("inference", KiteConfig().update(NUM_KEYPOINTS=0, KEYPOINT_FLIP_PAIRS=[]), tmp_path)
    other = KiteConfig().update(NUM_CLASSES=5, DETECTION_MAX_INSTANCES=3, RPN_ANCHOR_RATIOS=[1], RPN_CHANNELS=24)
    graph = model.build("inference", other)
    assert [tuple(x.shape[1:]) for x in graph.outputs] == [
        *((3, 6), (20, 5), (20, 5, 4), (3, 28, 28, 5), (20, 4), (None, 2), (None, 4)),
        (3, 4, 28, 28),
    ]
    assert graph.get_layer("rpn_model").get_layer("rpn_conv_shared").filters == 24
    trained = model.build("training", other)
    assert trained.output["mrcnn_mask"].shape[-1] == 5
    assert tuple(trained.output["rpn_bbox"].shape) == (4, 341, 4)
    # The model itself is as it was.
    assert len(model.detect([Kites().load_image(0)])[0]["rois"]) <= 6 and model.keras_model.outputs[1].shape[-1] == 2


@pytest.mark.compiled
def test_compiled_gives_tensors_and_sees_new_weights():
    x = keras.Input((3,))
    graph = keras.Model(x, [keras.layers.Dense(2, name="dense")(x), x + 1])
    compiled, given = Compiled(graph), np.arange(6, dtype="float32").reshape(2, 3)
    for scale in (1.0, 2.0):
        graph.get_layer("dense").set_weights([np.full((3, 2), scale), np.zeros(2)])
        product, more = compiled([given])
        assert ops.is_tensor(product) and not isinstance(product, np.ndarray)
        np.testing.assert_allclose(ops.convert_to_numpy(product), scale * given.sum(axis=1, keepdims=True) * [[1, 1]])
        np.testing.assert_array_equal(ops.convert_to_numpy(more), given + 1)
    np.testing.assert_array_equal(given, np.arange(6).reshape(2, 3))  # as it was
    # What it gave can be given on.
    np.testing.assert_array_equal(ops.convert_to_numpy(compiled([more])[1]), given + 2)


@pytest.mark.compiled
def test_compiled_leaves_its_inputs_alone():
    """TensorFlow takes the memory of an array that lies at a multiple of 64 bytes, and computes in it where it can."""
    x = keras.Input((64,))
    compiled = Compiled(keras.Model(x, ops.exp(ops.abs(x * 2.0 - 1.0))))
    memory = np.zeros(3 * 64 + 16, "float32")
    start = -memory.ctypes.data // 4 % 16
    given = memory[start : start + 128].reshape(2, 64)
    assert given.ctypes.data % 64 == 0
    given[:] = np.arange(128).reshape(2, 64) / 128
    expected = given.copy()
    for _ in range(3):
        compiled([given])
    np.testing.assert_array_equal(given, expected)
