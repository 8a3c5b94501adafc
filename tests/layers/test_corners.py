"""Corner pooling, and from heatmaps and embeddings of corners to detections, by maps that are known."""

import keras
import numpy as np
import pytest
from keras import ops
from tiny import value_and_gradients

from mrcnn.layers.corners import CORNERS, CornerDetectionLayer, RunningMaximum, corner_pooling, running_maximum
from mrcnn.ops.meta import compose_image_meta

LOW = -9.0


def test_running_maximum():
    row = np.array([-3, -4, 2, 1, 5, 0], "float32")
    for reverse, wanted in ((False, [-3, -3, 2, 2, 5, 5]), (True, [5, 5, 5, 5, 5, 0])):
        for axis in (1, 2):
            x = np.moveaxis(np.stack([row, np.zeros(6), row + 1], axis=-1)[None, None].astype("float32"), 1, 3 - axis)
            found = ops.convert_to_numpy(running_maximum(ops.convert_to_tensor(x), axis, reverse))
            assert found.shape == x.shape
            along = np.moveaxis(found, axis, 1)[0, :, 0]
            np.testing.assert_array_equal(along, np.stack([wanted, np.zeros(6), np.add(wanted, 1)], axis=-1))


def test_the_gradient_goes_to_the_highest():
    x, weights = np.array([1, 3, 2, 2.5], "float32"), ops.convert_to_tensor([1.0, 10, 100, 1000])
    for reverse, wanted in ((False, [1, 1110, 0, 0]), (True, [0, 11, 0, 1100])):
        _, (gradient,) = value_and_gradients(
            lambda x, reverse=reverse: ops.sum(running_maximum(x[None], 1, reverse)[0] * weights), x
        )
        assert gradient.tolist() == wanted


@pytest.mark.parametrize("corner", CORNERS)
def test_a_corner_sees_along_its_row_and_column(corner):
    """One value is seen from all places before it, or behind it, along both axes."""
    image = keras.Input((9, 9, 2))
    model = keras.Model(image, corner_pooling(image, corner, 4))
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            layer.kernel.assign(np.full(layer.kernel.shape, 0.1))
    x = np.zeros((1, 9, 9, 2), "float32")
    x[0, 4, 4] = 1
    changed = ops.convert_to_numpy(model(x))[0, :, :, 0] != 0
    # Three convolutions reach three cells farther, all others to one end of their rows and columns.
    wanted = np.zeros((9, 9), bool)
    near, far = slice(1, 8), slice(0, 8) if corner == "top_left" else slice(1, 9)
    wanted[near, far] = wanted[far, near] = True
    np.testing.assert_array_equal(changed, wanted)


def logit(p):
    return np.log(p / (1 - p))


def as_it_is(function, maps):
    return function(*(ops.convert_to_tensor(x) for x in maps))


def without_sizes(function, maps):
    """The same, in a graph that does not know them, where there are such graphs."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        shapes = [tf.TensorSpec((None, None, None, x.shape[3])) for x in maps]
        function = tf.function(function, input_signature=shapes)
    return as_it_is(function, maps)


def detect(layer, corners, classes=2, window=(0, 0, 32, 32), run=as_it_is):
    """Detections [D, 6] on maps of 8 x 8 cells; corners (second, y, x, class, score, embedding) of which cells hold
    (0.5, 0.25) as their offset."""
    maps = [np.full((1, 8, 8, n), fill, "float32") for n, fill in ((classes, LOW), (1, 0), (2, 0))]
    maps += [x.copy() for x in maps]
    for second, y, x, name, score, embedding in corners:
        heat, embeddings, offsets = maps[3 * second : 3 * second + 3]
        heat[0, y, x, name], embeddings[0, y, x], offsets[0, y, x] = logit(score), embedding, (0.5, 0.25)
    meta = compose_image_meta(0, (32, 32, 3), (32, 32, 3), window, 1.0, np.ones(1 + classes, "int32"))
    meta = ops.convert_to_tensor(meta[None].astype("float32"))
    return ops.convert_to_numpy(run(lambda *maps: layer([*maps, meta]), maps))[0]


@pytest.mark.compiled
def test_maps_may_have_any_size():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 1)).astype("float32")
    down, left = without_sizes(lambda x: [RunningMaximum(1)(x), RunningMaximum(2, reverse=True)(x)], [x])
    np.testing.assert_array_equal(ops.convert_to_numpy(down), np.maximum.accumulate(x, axis=1))
    wanted = np.maximum.accumulate(x[:, :, ::-1], axis=2)[:, :, ::-1]
    np.testing.assert_array_equal(ops.convert_to_numpy(left), wanted)
    corners = [(0, 1, 1, 1, 0.9, 0.0), (1, 4, 6, 1, 0.7, 0.0)]
    rows = detect(CornerDetectionLayer(2, 0.5), corners, run=without_sizes)
    np.testing.assert_allclose(rows, detect(CornerDetectionLayer(2, 0.5), corners), atol=1e-6)
    assert rows[0, 5] == pytest.approx(0.8)


def test_pairs_of_corners():
    corners = [
        (0, 1, 1, 0, 0.9, 2.0),
        (1, 4, 6, 0, 0.7, 2.4),  # a box with the first
        (1, 4, 7, 0, 0.6, 2.0),  # beside a higher one: no peak
        (0, 0, 4, 1, 0.8, 2.0),  # of another class
        (0, 6, 1, 0, 0.6, 2.0),  # below its partner
        (0, 1, 7, 0, 0.6, 2.0),  # to its right
        (1, 7, 3, 0, 0.95, 1.4),  # an embedding too far away
    ]
    rows = detect(CornerDetectionLayer(3, 0.5), corners)
    wanted = [*np.array([1.5, 1.25, 4.5, 6.25]) * 4 / 32, 1, 0.8]
    np.testing.assert_allclose(rows, [wanted, [0] * 6, [0] * 6], atol=1e-6)
    cut = detect(CornerDetectionLayer(3, 0.5), corners, window=(0, 0, 16, 20))
    np.testing.assert_allclose(cut[0, :4], np.array([6, 5, 16, 20]) / 32, atol=1e-6)
    assert not detect(CornerDetectionLayer(3, 0.81), corners).any()
    # A corner for that of the other class; and embeddings that are alike enough with a wider limit.
    rows = detect(CornerDetectionLayer(5, 0.5, distance=0.7), [*corners, (1, 6, 6, 1, 0.6, 2.0)])
    np.testing.assert_allclose(rows[:, 4:], [[1, 0.925], [1, 0.8], [1, 0.775], [2, 0.7], [0, 0]], atol=1e-6)
    # Of each kind only the best.
    assert detect(CornerDetectionLayer(3, 0.5, corners=1), corners[:2])[0, 5] == pytest.approx(0.8)
    assert not detect(CornerDetectionLayer(3, 0.5, corners=1), corners).any()


def test_boxes_that_overlap():
    """The lower scored of two goes if they are of one class."""
    first, same, other = (0, 0, 0, 0, 0.9, 0), (0, 0, 2, 0, 0.7, 0), (0, 0, 2, 1, 0.7, 0)
    second = [(1, 7, 7, 0, 0.9, 0), (1, 7, 7, 1, 0.8, 0)]
    rows = detect(CornerDetectionLayer(4, 0.5), [first, same, *second])
    np.testing.assert_allclose(rows[:, 5], [0.9, 0, 0, 0], atol=1e-6)
    rows = detect(CornerDetectionLayer(4, 0.5, nms_threshold=0.8), [first, same, *second])
    np.testing.assert_allclose(rows[:, 5], [0.9, 0.8, 0, 0], atol=1e-6)
    rows = detect(CornerDetectionLayer(4, 0.5), [first, other, *second])
    np.testing.assert_allclose(rows[:, 4:], [[1, 0.9], [2, 0.75], [0, 0], [0, 0]], atol=1e-6)


def test_it_is_saved():
    layer = CornerDetectionLayer(7, 0.2, 0.4, 50, 8, "pixels", 0.3, 200, name="corners")
    assert CornerDetectionLayer.from_config(layer.get_config()).get_config() == layer.get_config()
    layer = RunningMaximum(2, reverse=True)
    assert RunningMaximum.from_config(layer.get_config()).get_config() == layer.get_config()
