"""Non-maximum suppression: the original's choice, batches of tensors against NumPy, and no float product on the way."""

import numpy as np
import pytest
from keras import ops
from tf32 import round_products
from whole import whole

from mrcnn.ops.nms import nms, nms_indices


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
    indices, found = whole(lambda *tensors: nms_indices(*tensors, threshold, count, tile=tile))(
        ops.convert_to_tensor(given), ops.convert_to_tensor(valid)
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


def crowded(count=6000, clusters=60):
    """[2, count, 4] boxes of whole pixels around a few places: their IoUs pass a threshold in float32 as in float64."""
    rng = np.random.default_rng(0)
    places = rng.integers(100, 900, (clusters, 2))[rng.integers(0, clusters, (2, count))]
    corner = places + rng.integers(-40, 40, (2, count, 2))
    return np.concatenate([corner, corner + rng.integers(20, 120, (2, count, 2))], axis=-1).astype("float32")


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("rounded", [False, True])
def test_thousands_of_boxes(grouped, rounded, monkeypatch):
    """As many as the RPN gives, also where products of floats keep 11 bits, as on today's GPUs."""
    if rounded:
        round_products(monkeypatch)
    given = crowded()
    groups = np.random.default_rng(1).integers(1, 4, given.shape[:2], dtype="int32") if grouped else None
    indices, found = nms_indices(
        ops.convert_to_tensor(given),
        ops.ones(given.shape[:2], dtype="bool"),
        0.7,
        2000,
        groups if groups is None else ops.convert_to_tensor(groups),
    )
    indices, found = ops.convert_to_numpy(indices), ops.convert_to_numpy(found)
    for i in range(2):
        rows = [np.arange(6000)] if groups is None else [np.flatnonzero(groups[i] == group) for group in (1, 2, 3)]
        expected = np.sort(np.concatenate([part[nms(given[i, part], -part, 0.7)] for part in rows]))[:2000]
        assert found[i].sum() == len(expected) > 1500
        np.testing.assert_array_equal(indices[i][found[i]], expected)


def test_groups_that_float32_cannot_tell_apart():
    given = np.array([[[0, 0, 10, 10]] * 3], "float32")
    groups = np.array([[2**24, 2**24 + 1, 2**24]], "int32")
    indices, found = nms_indices(*(ops.convert_to_tensor(x) for x in (given, np.ones((1, 3), bool))), 0.5, 3, groups)
    np.testing.assert_array_equal(ops.convert_to_numpy(indices)[ops.convert_to_numpy(found)], [0, 1])
