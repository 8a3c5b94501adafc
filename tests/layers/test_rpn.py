"""RPN head, ProposalLayer and Anchors."""

import json

import keras
import numpy as np
import pytest
from keras import ops
from tiny import value_and_gradients

from mrcnn.layers.rpn import Anchors, ProposalLayer, build_rpn_model
from mrcnn.ops import boxes
from mrcnn.ops.anchors import count_anchors, generate_pyramid_anchors
from mrcnn.ops.nms import nms

STD = np.array([0.1, 0.1, 0.2, 0.2], "float32")

pytestmark = pytest.mark.compiled


def random_inputs(seed, batch=2, count=300):
    rng = np.random.default_rng(seed)
    scores = rng.permutation(np.linspace(0.01, 0.99, batch * count)).reshape(batch, count)
    probs = np.stack([1 - scores, scores], axis=-1).astype("float32")
    centres, sides = rng.uniform(-0.1, 1.1, (count, 2)), rng.uniform(0.1, 0.5, (count, 2))
    anchors = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    deltas = rng.normal(0, 1, (batch, count, 4)).astype("float32")
    return probs, deltas, np.tile(anchors[None], (batch, 1, 1)).astype("float32")


def reference(probs, deltas, anchors, count, threshold, limit):
    """Proposals of one image in NumPy."""
    best = np.argsort(-probs[:, 1], kind="stable")[:limit]
    candidates = boxes.clip(boxes.decode(anchors[best], deltas[best] * STD), np.array([0, 0, 1, 1], "float32"))
    kept = nms(candidates, probs[best, 1], threshold)[:count]
    result = np.zeros((count, 4), "float32")
    result[: len(kept)] = candidates[kept]
    return result, len(kept)


def compiled(layer, inputs, anchor_count):
    """A layer's output as a compiled graph of `anchor_count` anchors (None: unknown) gives it."""
    tensors = [keras.Input((anchor_count, x.shape[2])) for x in inputs]
    return keras.Model(tensors, layer(tensors)).predict_on_batch(list(inputs))


@pytest.mark.parametrize("anchor_count", [300, None])
@pytest.mark.parametrize(
    "count, threshold, limit, full",
    [(40, 0.7, 200, True), (250, 0.5, 300, False), (200, 0.3, 6000, False), (10, 0.7, 50, True)],
)
def test_proposals(count, threshold, limit, full, anchor_count):
    inputs = random_inputs(0)
    result = compiled(ProposalLayer(count, threshold, limit, STD), inputs, anchor_count)
    assert result.shape == (2, count, 4) and result.dtype == "float32"
    for i in range(2):
        expected, kept = reference(*(x[i] for x in inputs), count, threshold, limit)
        assert (kept == count) == full
        np.testing.assert_allclose(result[i], expected, atol=1e-6)
        assert not result[i, kept:].any()


def test_one_suppression_over_all_anchors_by_score():
    anchors = np.array([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.45], [0.5, 0.5, 1, 1], [0.6, 0, 1, 0.3]], "float32")[None]
    scores = np.array([[0.5, 0.9, 0.2, 0.7]], "float32")
    inputs = [np.stack([1 - scores, scores], axis=-1), np.zeros((1, 4, 4), "float32"), anchors]
    result = compiled(ProposalLayer(4, 0.7, 4), inputs, 4)[0]
    np.testing.assert_allclose(result, [*anchors[0, [1, 3, 2]], np.zeros(4)])
    # The limit comes before the suppression: of the best two, none is suppressed.
    result = compiled(ProposalLayer(4, 0.7, 2), inputs, 4)[0]
    np.testing.assert_allclose(result, [*anchors[0, [1, 3]], np.zeros(4), np.zeros(4)])


def test_deltas_are_scaled_and_boxes_clipped():
    anchors = np.array([[[0.2, 0.2, 0.4, 0.4], [0.8, 0.8, 1.2, 1.2]]], "float32")
    deltas = np.array([[[1, 0, np.log(2) / 0.2, 0], [0, 0, 100, 100]]], "float32")
    probs = np.array([[[0.1, 0.9], [0.2, 0.8]]], "float32")
    result = compiled(ProposalLayer(2, 0.7, 10), [probs, deltas, anchors], 2)[0]
    # Centre (0.3, 0.3) moves down by 0.1 of 0.2, the height doubles. The second one grows by at most 1000 / 16.
    np.testing.assert_allclose(result, [[0.12, 0.2, 0.52, 0.4], [0, 0, 1, 1]], atol=1e-6)


def test_no_gradient_flows_through():
    inputs = random_inputs(1, 1, 50)
    layer = ProposalLayer(20, 0.7, 50)
    value, gradients = value_and_gradients(lambda *x: ops.sum(layer(list(x))), *inputs)
    assert value > 0
    assert not any(x.any() for x in gradients)


def test_proposal_layer_config():
    layer = ProposalLayer(20, 0.6, 50, [1, 2, 3, 4], name="ROI")
    copy = ProposalLayer.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert (copy.proposal_count, copy.nms_threshold, copy.pre_nms_limit) == (20, 0.6, 50)
    assert (copy.std_dev, copy.name) == ((1, 2, 3, 4), "ROI")
    assert layer.compute_output_shape([(None, 300, 2), (None, 300, 4), (None, 300, 4)]) == (None, 20, 4)


LEVELS = (200, 70, 30)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("limit", [50, 6000])
def test_levels_compete_by_themselves(limit, known):
    """Limit and suppression for each level, then the best of all; boxes are cut to each image's window."""
    probs, deltas, anchors = random_inputs(2)
    probs = probs[..., 1:]
    windows = np.array([[0.1, 0, 0.9, 1], [0, 0.2, 1, 0.7]], "float32")
    edges = np.cumsum((0, *LEVELS))
    parts = [slice(a, b) for a, b in zip(edges, edges[1:], strict=False)]
    inputs = [[x[:, part] for part in parts] for x in (probs, deltas)]
    tensors = [[keras.Input((n if known else None, x.shape[2])) for n in LEVELS] for x in (probs, deltas)]
    tensors += [keras.Input((300 if known else None, 4)), keras.Input((4,))]
    model = keras.Model(tensors, ProposalLayer(120, 0.5, limit, STD)(tensors))
    result = model.predict_on_batch([*inputs, anchors, windows])
    for i in range(2):
        found = []
        for part in parts:
            best = np.argsort(-probs[i, part, 0])[:limit]
            candidates = boxes.decode(anchors[i, part][best], deltas[i, part][best] * STD)
            candidates = boxes.clip(candidates, windows[i])
            whole = boxes.area(candidates) > 0
            candidates, scores = candidates[whole], probs[i, part, 0][best][whole]
            kept = nms(candidates, scores, 0.5)
            found += list(zip(scores[kept], candidates[kept], strict=True))
        found.sort(key=lambda x: -x[0])
        assert len(found) > 60
        expected = np.zeros((120, 4), "float32")
        expected[: len(found)] = [box for _, box in found][:120]
        np.testing.assert_allclose(result[i], expected, atol=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
def test_rpn_model(stride):
    model = build_rpn_model(stride, 3, 6, channels=5)
    assert model.name == "rpn_model"
    assert [x.name for x in model.layers if x.weights] == ["rpn_conv_shared", "rpn_class_raw", "rpn_bbox_pred"]
    image = np.random.default_rng(0).normal(0, 1, (2, 4, 8, 6)).astype("float32")
    logits, probs, deltas = (ops.convert_to_numpy(x) for x in model(image))
    count = 4 * 8 * 3 // stride**2
    assert [x.shape for x in (logits, probs, deltas)] == [(2, count, 2), (2, count, 2), (2, count, 4)]
    np.testing.assert_allclose(probs, np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True), rtol=1e-5)
    # Row 3 (8 y + x) + a is anchor a of cell (y, x), as `anchors` orders them.
    kernel, bias = (ops.convert_to_numpy(x) for x in model.get_layer("rpn_bbox_pred").weights)
    shared = keras.Model(model.inputs, model.get_layer("rpn_conv_shared").output)(image)
    expected = ops.convert_to_numpy(shared)[1, 1, 2] @ kernel[0, 0] + bias
    row = 3 * (shared.shape[2] * 1 + 2)
    np.testing.assert_allclose(deltas[1, row : row + 3], expected.reshape(3, 4), rtol=1e-4, atol=1e-6)


def test_a_sigmoid_has_one_value_an_anchor():
    model = build_rpn_model(1, 3, 6, channels=5, score="sigmoid")
    image = np.random.default_rng(0).normal(0, 1, (2, 4, 8, 6)).astype("float32")
    logits, probs, deltas = (ops.convert_to_numpy(x) for x in model(image))
    assert [x.shape for x in (logits, probs, deltas)] == [(2, 96, 1), (2, 96, 1), (2, 96, 4)]
    np.testing.assert_allclose(probs, 1 / (1 + np.exp(-logits)), rtol=1e-5)


SETTINGS = {
    "scales": (8, 16),
    "ratios": [0.5, 1, 2],
    "feature_shapes": np.array([[4, 6], [2, 3]]),
    "feature_strides": [4, 8],
    "anchor_stride": 1,
    "rounded": True,
}


def test_anchors():
    layer = Anchors((16, 24), "edges", **SETTINGS, name="anchors")
    result = ops.convert_to_numpy(layer(np.zeros((3, 2, 2, 1), "float32")))
    pixels = generate_pyramid_anchors(**SETTINGS)
    assert count_anchors(**SETTINGS) == len(pixels) == 90 and len(np.unique(pixels, axis=0)) == 90
    np.testing.assert_allclose(result, np.stack([pixels / (16, 24, 16, 24)] * 3), rtol=1e-6, atol=1e-7)
    assert layer.compute_output_shape((None, 8, 8, 3)) == (None, 90, 4)


def test_anchors_survive_a_keras_file(tmp_path):
    image = keras.Input((8, 8, 3))
    layer = Anchors((16, 24), "pixels", **SETTINGS, name="anchors")
    keras.Model(image, layer(image)).save(tmp_path / "anchors.keras")
    loaded = keras.saving.load_model(tmp_path / "anchors.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded.predict_on_batch(np.zeros((1, 8, 8, 3)))[0], layer.anchors)


def test_anchors_are_described_not_listed():
    """A model of 1024 pixels has 261,888 of them."""
    shapes = [[side, side] for side in (256, 128, 64, 32, 16)]
    layer = Anchors((1024, 1024), "pixels", (32, 64, 128, 256, 512), [0.5, 1, 2], shapes, [4, 8, 16, 32, 64])
    assert layer.anchors.shape == (261888, 4)
    assert len(json.dumps(layer.get_config())) < 1000
