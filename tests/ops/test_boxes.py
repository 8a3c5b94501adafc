import numpy as np
import pytest
from keras import ops

from mrcnn.ops import boxes
from mrcnn.ops.nms import nms, nms_indices

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


@pytest.mark.parametrize("case", ["nms_1", "nms_3", "nms_7", "nms_ties"])
def test_nms(golden, case):
    data = golden("utils_golden.npz", case)
    keep = nms(data.ins["boxes"], data.ins["scores"], data.args["threshold"])
    assert keep.dtype == np.int32
    np.testing.assert_array_equal(keep, data.outs["keep"])


def test_nms_of_nothing():
    assert nms(np.zeros((0, 4)), np.zeros(0), 0.5).shape == (0,)


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("count, tile", [(20, 32), (150, 32), (150, 512)])
def test_nms_indices_is_nms(threshold, count, tile):
    """150 boxes are no multiple of 32; 20 are fewer than survive, 150 more; the images differ."""
    rng = np.random.default_rng(int(threshold * 10))
    corner = rng.random((2, 150, 2))
    given = np.concatenate([corner, corner + 0.1 + 0.3 * rng.random((2, 150, 2))], axis=-1).astype("float32")
    valid = rng.random((2, 150)) < [[0.9], [0.5]]
    indices, found = nms_indices(
        ops.convert_to_tensor(given), ops.convert_to_tensor(valid), threshold, count, tile=tile
    )
    indices, found = ops.convert_to_numpy(indices), ops.convert_to_numpy(found)
    assert indices.shape == found.shape == (2, count)
    for i in range(2):
        rows = np.flatnonzero(valid[i])
        expected = rows[nms(given[i, rows], -np.arange(len(rows)), threshold)][:count]
        assert found[i].sum() == len(expected) > 5
        np.testing.assert_array_equal(indices[i, : len(expected)], expected)
        assert not found[i, len(expected) :].any() and not indices[i, len(expected) :].any()


def test_nms_indices_by_group():
    """Boxes of one group alone suppress each other: the answer is that of every group by itself."""
    rng = np.random.default_rng(0)
    corner = rng.random((1, 100, 2))
    given = np.concatenate([corner, corner + 0.1 + 0.3 * rng.random((1, 100, 2))], axis=-1).astype("float32")
    groups = rng.integers(1, 4, (1, 100), dtype="int32")
    indices, found = nms_indices(
        *(ops.convert_to_tensor(a) for a in (given, np.ones((1, 100), bool))), 0.3, 100, groups=groups, tile=16
    )
    expected = []
    for group in (1, 2, 3):
        rows = np.flatnonzero(groups[0] == group)
        expected.extend(rows[nms(given[0, rows], -rows, 0.3)])
    result = ops.convert_to_numpy(indices)[ops.convert_to_numpy(found)]
    np.testing.assert_array_equal(result, sorted(expected))
    assert len(nms(given[0], -np.arange(100), 0.3)) < len(expected) < 100


def test_nms_indices_without_valid_boxes():
    given = ops.zeros((1, 10, 4))
    indices, found = nms_indices(given, ops.zeros((1, 10), dtype="bool"), 0.5, 3)
    assert not ops.convert_to_numpy(found).any() and not ops.convert_to_numpy(indices).any()


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
