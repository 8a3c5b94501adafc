import numpy as np
import pytest
from keras import ops

from mrcnn.ops import boxes

CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(params=["numpy", "backend"])
def array(request):
    """Makes the kind of array that a test feeds; what comes out must be of the same kind."""
    return np.asarray if request.param == "numpy" else ops.convert_to_tensor


@pytest.fixture(scope="module")
def layers(golden):
    return {key[4:]: value for key, value in golden("tiny_layers.npz").items() if key.startswith("box_")}


def check(result, expected, like, **tolerance):
    assert isinstance(result, np.ndarray) == isinstance(like, np.ndarray)
    np.testing.assert_allclose(ops.convert_to_numpy(result), expected, **(tolerance or CLOSE))


def test_decode(array, layers):
    given = array(layers["boxes"])
    check(boxes.decode(given, array(layers["deltas"])), layers["out_apply_deltas"], given)


def test_encode(array, layers):
    given = array(layers["boxes"][:5])
    check(boxes.encode(given, array(layers["boxes2"])), layers["out_refinement"], given)


def test_clip(array, layers):
    given = array(layers["boxes"])
    check(boxes.clip(given, array(layers["window"])), layers["out_clip"], given)
    windows = array(np.array([[[0, 0, 1, 1]], [[0.3, 0.3, 0.5, 0.6]]], dtype="float32"))
    both = boxes.clip(array(np.stack([layers["boxes"]] * 2)), windows)
    expected = np.clip(layers["boxes"], [0.3, 0.3, 0.3, 0.3], [0.5, 0.6, 0.5, 0.6])
    check(both, np.stack([layers["boxes"], expected]), given)


def test_overlaps(array, layers):
    given = array(layers["boxes"])
    check(boxes.overlaps(given, array(layers["boxes2"])), layers["out_overlaps"], given)


def test_overlaps_over_first(array):
    given = array(np.array([[0, 0, 10, 10], [0, 0, 0, 0]], dtype="float32"))
    crowd = array(np.array([[0, 5, 100, 100], [0, 0, 0, 0]], dtype="float32"))
    check(boxes.overlaps(given, crowd, over="first"), [[0.5, 0], [0, 0]], given)
    check(boxes.overlaps(given, crowd), [[50 / 9550, 0], [0, 0]], given)


def test_normalize(array, layers):
    given = array(layers["boxes"] * np.float32(100))
    check(boxes.normalize(given, (96, 128)), layers["out_norm_of_100x"], given)


def test_denormalize(array, layers):
    given = array(layers["boxes"])
    result = boxes.denormalize(given, (96, 128))
    check(result, layers["out_denorm_96_128"], given, rtol=0)
    assert ops.convert_to_numpy(result).dtype == np.int32


def test_denormalize_rounds_halves_to_even(array, golden):
    data = golden("utils_golden.npz", "denorm_boxes_halves")
    given = array(data.ins["boxes"].astype("float32"))
    check(boxes.denormalize(given, data.args["shape"]), data.outs["boxes"], given, rtol=0)


def test_decode_does_not_overflow(array):
    given = array(np.array([[0, 0, 16, 16]], dtype="float32"))
    result = boxes.decode(given, array(np.array([[0, 0, 1000, -1000]], dtype="float32")))
    check(result, [[8 - 500, 8, 8 + 500, 8]], given, rtol=1e-5)


def test_encode_of_padding_is_finite(array):
    given = array(np.zeros((2, 4), dtype="float32"))
    assert np.isfinite(ops.convert_to_numpy(boxes.encode(given, given))).all()


def test_encode_decode_round_trip(array):
    rng = np.random.default_rng(0)
    corners = rng.random((2, 3, 50, 2), dtype="float32")
    a, b = (np.concatenate([c, c + rng.random((3, 50, 2), dtype="float32") + 0.05], axis=-1) for c in corners)
    a, target = array(a), b
    check(boxes.decode(a, boxes.encode(a, array(b))), target, a, rtol=1e-5, atol=2e-5)


def test_normalize_by_edges(array):
    given = array(np.array([[0, 0, 96, 128], [24, 32, 48, 96]], "float32"))
    normalized = boxes.normalize(given, (96, 128), "edges")
    check(normalized, np.array([[0, 0, 1, 1], [0.25, 0.25, 0.5, 0.75]]), given)
    check(boxes.to_pixels(normalized, (192, 64), "edges"), np.array([[0, 0, 192, 64], [48, 16, 96, 48]]), given)
    check(boxes.denormalize(normalized, (192, 64), "edges"), np.array([[0, 0, 192, 64], [48, 16, 96, 48]]), given)


def test_cover():
    given = np.array([[1.2, 3.0, 4.0, 5.1], [-0.5, 0, 2, 2]])
    np.testing.assert_array_equal(boxes.cover(given), [[1, 3, 4, 6], [-1, 0, 2, 2]])
    assert boxes.cover(np.zeros((0, 4), "int32")).shape == (0, 4)


# One-stage detectors


def test_giou_is_torchvisions(golden):
    gold = golden("torchvision_dense.npz")
    found = gold["boxes_x1y1x2y2"][:, [1, 0, 3, 2]]
    pairs = boxes.giou(found[:, None], found[None])
    np.testing.assert_allclose(pairs, gold["giou"], atol=1e-5)
    tensors = [ops.convert_to_tensor(x) for x in (found[:30], found[30:])]
    np.testing.assert_allclose(
        ops.convert_to_numpy(boxes.giou(*tensors)), gold["giou"][np.arange(30), np.arange(30, 60)], atol=1e-5
    )


def test_giou_of_nothing_is_finite():
    assert boxes.giou(np.zeros(4), np.zeros(4)) == 0
    assert boxes.giou(np.array([0, 0, 1, 1.0]), np.array([1, 1, 2, 2.0])) == pytest.approx(-0.5)


def test_sides():
    cells = np.array([[0, 0, 4, 4], [6, 6, 8, 8]], "float32")
    instances = np.array([[1, 1, 3, 7], [3, 8, 9, 10]], "float32")
    sides = boxes.encode_sides(cells, instances)
    np.testing.assert_allclose(sides, [[0.25, 0.25, 0.25, 1.25], [2, -0.5, 1, 1.5]])
    np.testing.assert_allclose(boxes.decode_sides(cells, sides), instances)
    both = [ops.convert_to_tensor(x) for x in (cells, instances)]
    np.testing.assert_allclose(ops.convert_to_numpy(boxes.encode_sides(*both)), sides, rtol=1e-6)
    np.testing.assert_allclose(
        boxes.centerness(np.array([[1, 1, 1, 1], [1, 2, 3, 2.0], [1, 1, 2, 3]])), [1, 3**-0.5, 6**-0.5]
    )
