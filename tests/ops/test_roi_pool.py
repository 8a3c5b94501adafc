"""RoI pooling: the highest value of each part of a box, in whole cells."""

import numpy as np
import pytest
from keras import ops
from real_data import ROOT
from whole import whole

from mrcnn.layers.roi_align import PyramidROIAlign
from mrcnn.ops.roi_pool import roi_pool

OPS = ROOT.parent / "shared" / "golden" / "torchvision" / "torchvision_ops.npz"


def pool(maps, level, boxes, shape):
    """On one image, of NumPy arrays."""
    found = whole(lambda *tensors: roi_pool(*tensors, shape))(
        [ops.convert_to_tensor(x[None]) for x in maps],
        ops.convert_to_tensor(np.array([level], "int32")),
        ops.convert_to_tensor(np.array([boxes], "float32")),
    )
    return ops.convert_to_numpy(found)[0]


def test_by_hand():
    """A map of 4 x 6 cells; a box of its rows 1 and 2 and its columns 1 to 3."""
    x = np.arange(24, dtype="float32").reshape(4, 6, 1)
    box = [1 / 4, 1 / 6, 2 / 4, 3 / 6]  # of the cells 1, 1 to 2, 3, which are inside
    # Two parts of three columns: 1 and 2, 2 and 3, rounded outwards.
    np.testing.assert_array_equal(pool([x], [0], [box], (2, 2))[0, ..., 0], [[8, 9], [14, 15]])
    np.testing.assert_array_equal(pool([x], [0], [box], (1, 3))[0, ..., 0], [[13, 14, 15]])
    # One cell is all of a box that is smaller; a half goes up.
    np.testing.assert_array_equal(pool([x], [0], [[0.4, 0.4, 0.4, 0.4]], (2, 2))[0, ..., 0], [[14, 14], [14, 14]])
    assert pool([x], [0], [[0.5 / 4, 0, 0.5 / 4, 0]], (1, 1)).item() == 6


def test_outside_the_map():
    x = -np.ones((4, 4, 1), "float32")
    found = pool([x], [0], [[-1, 0, 0.5, 0.75], [0, 0.5, 0.75, 2]], (2, 2))[..., 0]
    np.testing.assert_array_equal(found, [[[0, 0], [-1, -1]], [[-1, 0], [-1, 0]]])


def test_every_range_of_many_maps():
    """Against the definition, on two levels, for boxes of any length."""
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(13, 9, 2)).astype("float32"), rng.normal(size=(6, 5, 2)).astype("float32")]
    level = np.arange(30) % 2
    sizes = np.array([maps[i].shape[:2] for i in level])
    low = rng.integers(0, sizes)
    high = rng.integers(low, sizes)
    found = pool(maps, level, np.concatenate([low / sizes, high / sizes], axis=1), (3, 2))
    for k, (i, start, end) in enumerate(zip(level, low, high, strict=True)):
        length = end - start + 1
        for row in range(3):
            for column in range(2):
                y1, y2 = start[0] + row * length[0] // 3, start[0] + -(-(row + 1) * length[0] // 3)
                x1, x2 = start[1] + column * length[1] // 2, start[1] + -(-(column + 1) * length[1] // 2)
                expected = maps[i][y1:y2, x1:x2].max(axis=(0, 1))
                np.testing.assert_array_equal(found[k, row, column], expected)


def test_torchvision():
    if not OPS.is_file():
        pytest.skip("torchvision's numbers are not in ../shared")
    gold = dict(np.load(OPS))
    maps, rois = gold["feature_nchw"].transpose(0, 2, 3, 1), gold["rois_b_x1y1x2y2"]
    height, width = maps.shape[1:3]
    boxes = rois[:, [2, 1, 4, 3]] / 16 / (height, width, height, width)
    for i, x in enumerate(maps):
        own = rois[:, 0] == i
        found = pool([x], np.zeros(own.sum()), boxes[own], (7, 7))
        np.testing.assert_array_equal(found, gold["roi_pool_7_scale_1_16"][own].transpose(0, 2, 3, 1))


def test_the_layer():
    """The setting ROI_ALIGN "pool" reaches it; the level is chosen as for RoIAlign."""
    maps = [np.random.default_rng(n).normal(size=(1, 32 // 2**n, 32 // 2**n, 3)).astype("float32") for n in range(4)]
    meta = np.zeros((1, 14), "float32")
    meta[0, 4:7], meta[0, 7:11] = (512, 512, 3), (0, 0, 512, 512)
    rois = np.array([[[0, 0, 0.1, 0.1], [0.25, 0.25, 1, 0.75]]], "float32")
    layer = PyramidROIAlign.from_config(PyramidROIAlign((2, 2), sampling="pool", rounding="floor").get_config())
    found = ops.convert_to_numpy(whole(layer)([ops.convert_to_tensor(x) for x in (rois, meta, *maps)]))
    np.testing.assert_array_equal(found[0, 0], pool([maps[0][0]], [0], rois[0, :1], (2, 2))[0])
    np.testing.assert_array_equal(found[0, 1], pool([maps[2][0]], [0], rois[0, 1:], (2, 2))[0])
