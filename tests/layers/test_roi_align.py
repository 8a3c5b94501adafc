"""RoIAlign over the pyramid: the original's numbers, a case done by hand, edges, gradients."""

import keras
import numpy as np
import pytest
from keras import ops
from tiny import value_and_gradients
from whole import whole

from mrcnn.layers.roi_align import PyramidROIAlign, crop_and_resize, pyramid_level

pytestmark = pytest.mark.compiled


@pytest.fixture(scope="module")
def inputs(golden):
    data = golden("tiny_layers.npz")
    return [data[f"roialign_{name}"] for name in ("boxes", "image_meta", "P2", "P3", "P4", "P5")]


def compiled(layer, inputs):
    """A layer's output as a compiled graph computes it."""
    tensors = [keras.Input(x.shape[1:]) for x in inputs]
    return keras.Model(tensors, layer(tensors)).predict_on_batch(inputs)


@pytest.mark.parametrize("run", ["eager", "compiled"])
@pytest.mark.parametrize("size", [7, 14])
def test_golden(size, run, inputs, golden):
    layer = PyramidROIAlign((size, size))
    if run == "eager":
        result = ops.convert_to_numpy(layer([ops.convert_to_tensor(x) for x in inputs]))
    else:
        result = compiled(layer, inputs)
    expected = golden("tiny_layers.npz")[f"roialign_pooled_{size}"].copy()
    assert result.shape == (2, 28, size, size, 6)
    if size == 14:
        # Box 24 is the whole image. Its last of 14 samples lies at 13 * (15 / 13) = 15, on the map's edge; the original
        # lost its row and its column to rounding, 27 of 196 samples. Here the edge belongs to the map.
        np.testing.assert_array_equal(inputs[0][:, 24], [[0, 0, 1, 1]] * 2)
        lost = expected[:, 24] == 0
        assert lost[:, -1].all() and lost[:, :, -1].all() and lost.sum() == 2 * 27 * 6
        assert np.abs(result[:, 24][lost]).max() > 1
        for i in range(2):
            last = inputs[5][i][-1, -1]
            np.testing.assert_allclose(result[i, 24, -1, -1], last, rtol=0, atol=1e-4)
        expected[:, 24] = np.where(lost, result[:, 24], expected[:, 24])
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def crop(maps, boxes, shape, sampling="corners"):
    """`crop_and_resize` of one map [H, W] and its boxes."""
    height, width = maps.shape
    n = len(boxes)
    sizes = [ops.full((1, n), value, "int32") for value in (0, height, width)]
    flat = ops.convert_to_tensor(maps.reshape(1, -1, 1).astype("float32"))
    boxes = ops.convert_to_tensor(np.asarray(boxes, "float32")[None])
    found = whole(lambda *tensors: crop_and_resize(*tensors, shape, sampling))(flat, *sizes, boxes)
    return ops.convert_to_numpy(found)[0, ..., 0]


def test_by_hand():
    maps = np.array([[0, 1, 2], [10, 11, 12], [20, 21, 22]])
    results = crop(maps, [[0, 0, 1, 1], [0.25, 0.5, 0.75, 1], [0.5, 0.5, 0.5, 0.5]], (2, 3))
    # Corner-aligned: the first and last samples lie on the box's edges; a value is 10 y + x.
    np.testing.assert_allclose(results[0], [[0, 1, 2], [20, 21, 22]], atol=1e-5)
    np.testing.assert_allclose(results[1], [[6, 6.5, 7], [16, 16.5, 17]], atol=1e-5)
    np.testing.assert_allclose(results[2], [[11, 11, 11], [11, 11, 11]], atol=1e-5)


def test_samples_outside_are_zero():
    maps = np.arange(1, 26).reshape(5, 5)
    results = crop(maps, [[-0.5, 0, 0.5, 1], [0, 0.75, 1, 1.25], [1.5, 1.5, 2, 2], [0.5, 1, 0, 0]], (3, 3))
    # Rows at y = -2, 0, 2: the first one is off the map.
    np.testing.assert_allclose(results[0], [[0, 0, 0], [1, 3, 5], [11, 13, 15]])
    np.testing.assert_allclose(results[1], [[4, 5, 0], [14, 15, 0], [24, 25, 0]])
    np.testing.assert_array_equal(results[2], np.zeros((3, 3)))
    # A box upside down is read upside down.
    np.testing.assert_allclose(results[3], [[15, 13, 11], [10, 8, 6], [5, 3, 1]])


@pytest.mark.parametrize("count", [2, 3, 7, 14, 28])
@pytest.mark.parametrize("side", [8, 16, 56, 64, 256])
def test_edges_belong_to_the_map(side, count):
    maps = np.ones((side, side))
    starts = np.linspace(0, 0.9, 41)
    boxes = np.stack([starts, starts, np.ones(41), np.ones(41)], axis=1)
    np.testing.assert_allclose(crop(maps, boxes, (count, count)), 1, atol=1e-6)
    beyond = crop(maps, boxes + [0, 0, 0.01, 0.01], (count, count))
    assert not beyond[:, -1].any() and not beyond[:, :, -1].any()
    np.testing.assert_allclose(beyond[:, 0, 0], 1, atol=1e-6)


def test_level():
    sides = np.array([1, 100, 112, 158, 159, 224, 316, 317, 448, 633, 634, 1000])
    boxes = np.stack([0 * sides, 0 * sides, sides / 1024, sides / 1024], axis=-1).astype("float32")
    level = ops.convert_to_numpy(pyramid_level(ops.convert_to_tensor(boxes), 1024.0 * 1024.0))
    # P4 at 224 pixels, one level for each factor of 2, and the step half way between on a logarithmic scale.
    np.testing.assert_array_equal(level, [2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 5, 5])
    empty = ops.convert_to_tensor(np.array([[0, 0, 0, 0], [0.5, 0.5, 0.2, 0.7]], "float32"))
    np.testing.assert_array_equal(ops.convert_to_numpy(pyramid_level(empty, 1e6)), [2, 2])


def test_each_image_has_its_own_area_and_maps():
    maps = [
        np.stack([np.full((s, s, 1), 10 * i + level, "float32") for i in (0, 1)])
        for level, s in ((2, 32), (3, 16), (4, 8), (5, 4))
    ]
    meta = np.zeros((2, 14), "float32")
    meta[0, 4:7], meta[1, 4:7] = (128, 128, 3), (1024, 1024, 3)
    boxes = np.array([[[0, 0, 0.9, 0.9], [0.1, 0.1, 0.4, 0.4]]] * 2, "float32")
    result = compiled(PyramidROIAlign((2, 2)), [boxes, meta, *maps])[..., 0, 0, 0]
    # 115 and 38 pixels in the first image, 922 and 307 in the second.
    np.testing.assert_allclose(result, [[3, 2], [15, 14]], rtol=1e-6)


def test_gradient_flows_to_the_maps_and_not_to_the_boxes(inputs):
    boxes, meta, *maps = (x.copy() for x in inputs)
    layer = PyramidROIAlign((7, 7))

    def total(boxes, *maps):
        return ops.sum(layer([boxes, ops.convert_to_tensor(meta), *maps]))

    value, (of_boxes, *of_maps) = value_and_gradients(total, boxes, *maps)
    assert not of_boxes.any()
    # Weights of a bilinear sample add up to 1, so every sample on the map gives 1 in all, and the sum is linear.
    assert [x.shape for x in of_maps] == [x.shape for x in maps]
    assert all(x.any() for x in of_maps)
    assert sum((x * y).sum() for x, y in zip(of_maps, maps, strict=True)) == pytest.approx(value, rel=1e-3)
    samples = value_and_gradients(total, boxes, *(np.ones_like(x) for x in maps))[0]
    assert sum(x.sum() for x in of_maps) == pytest.approx(samples, rel=1e-5)


def test_config_and_shape(inputs):
    layer = PyramidROIAlign([7, 5], name="align")
    copy = PyramidROIAlign.from_config(layer.get_config())
    assert (copy.pool_shape, copy.name) == ((7, 5), "align")
    assert copy.get_config() == layer.get_config()
    other = PyramidROIAlign((7, 7), sampling="aligned", rounding="floor")
    assert PyramidROIAlign.from_config(other.get_config()).get_config() == other.get_config()
    assert layer.compute_output_shape([x.shape for x in inputs]) == (2, 28, 7, 5, 6)
    tensors = [keras.Input((None, 4)), *(keras.Input(x.shape[1:]) for x in inputs[1:])]
    assert layer(tensors).shape == (None, None, 7, 5, 6)


# The other samplings


def reference_align(maps, box, shape, offset):
    """RoIAlign of one map [H, W] and one box in cells, sample by sample, from the definition."""
    y1, x1, y2, x2 = np.asarray(box, float) - offset
    height, width = (y2 - y1, x2 - x1) if offset else (max(y2 - y1, 1), max(x2 - x1, 1))
    result = np.zeros(shape)
    for i, j in np.ndindex(*shape):
        for a, b in np.ndindex(2, 2):
            y = y1 + (i + (a + 0.5) / 2) * height / shape[0]
            x = x1 + (j + (b + 0.5) / 2) * width / shape[1]
            if not (-1 <= y <= maps.shape[0] and -1 <= x <= maps.shape[1]):
                continue
            y, x = np.clip(y, 0, maps.shape[0] - 1), np.clip(x, 0, maps.shape[1] - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, maps.shape[0] - 1), min(left + 1, maps.shape[1] - 1)
            upper = maps[top, left] * (1 - x + left) + maps[top, right] * (x - left)
            lower = maps[bottom, left] * (1 - x + left) + maps[bottom, right] * (x - left)
            result[i, j] += (upper * (1 - y + top) + lower * (y - top)) / 4
    return result


@pytest.mark.parametrize("sampling, offset", [("bins", 0), ("aligned", 0.5)])
def test_bins_against_the_definition(sampling, offset):
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(9, 12)).astype("float32")
    boxes = [[0, 0, 9, 12], [1.3, 2.7, 5.1, 11.9], [4, 4, 4.3, 4.6], [-3, -2, 2, 3], [7, 10, 12, 16], [6, 6, 6, 6]]
    results = crop(maps, np.array(boxes) / [9, 12, 9, 12], (3, 4), sampling)
    for box, result in zip(boxes, results, strict=True):
        np.testing.assert_allclose(result, reference_align(maps, box, (3, 4), offset), atol=1e-5)


def test_bins_by_hand():
    maps = np.array([[0, 1, 2, 3], [10, 11, 12, 13], [20, 21, 22, 23], [30, 31, 32, 33]])
    box = [[0.25, 0.25, 0.75, 0.75]]  # cells 1 and 2 both ways
    # A value is 10 y + x, so the mean of four samples is the value in their middle: at cell 1.5 and 2.5 of the box's
    # edges 1 to 3, which with pixels at halves are the centres of cells 1 and 2.
    np.testing.assert_allclose(crop(maps, box, (2, 2), "bins")[0], [[16.5, 17.5], [26.5, 27.5]], atol=1e-5)
    np.testing.assert_allclose(crop(maps, box, (2, 2), "aligned")[0], [[11, 12], [21, 22]], atol=1e-5)


def test_level_rounded_down():
    sides = np.array([100, 111, 112, 223, 224, 447, 448, 900])
    boxes = np.stack([0 * sides, 0 * sides, sides / 1024, sides / 1024], axis=-1).astype("float32")
    level = ops.convert_to_numpy(pyramid_level(ops.convert_to_tensor(boxes), 1024.0 * 1024.0, "floor"))
    np.testing.assert_array_equal(level, [2, 2, 3, 3, 4, 4, 5, 5])
