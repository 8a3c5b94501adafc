"""Cells of points, Gaussians and how wide they are."""

import numpy as np
import pytest
from keras import ops

from mrcnn.ops.boxes import overlaps
from mrcnn.ops.heatmaps import cells_of, gaussian_radius, paint_gaussian


@pytest.mark.graph
def test_cells():
    points = np.array([[0.0, 0.0], [1.9, 3.2], [2.0, 3.99], [-1.0, 7.0]], "float32")  # the last one is outside
    for given in (points, ops.convert_to_tensor(points)):
        cells, corners = cells_of(given, (3, 4))
        np.testing.assert_array_equal(np.asarray(cells), [0, 7, 11, 3])
        np.testing.assert_array_equal(np.asarray(corners), [[0, 0], [1, 3], [2, 3], [0, 3]])


def test_the_exact_radius():
    # 10 x 10, IoU 0.5: smaller by r on each side, (10 - 2 r)^2 = 50; the box shifted could be 1.835 off, larger 2.071.
    assert gaussian_radius(np.array([10, 10]), 0.5) == pytest.approx((10 - 50**0.5) / 2)
    # 4 x 9, IoU 0.5: (4 - 2 r)(9 - 2 r) = 18, r = (13 - sqrt(97)) / 4
    assert gaussian_radius(np.array([[4, 9], [9, 4]]), 0.5).tolist() == pytest.approx([(13 - 97**0.5) / 4] * 2)


@pytest.mark.parametrize("sides", [(10, 10), (3, 40), (25, 6)])
def test_within_the_radius_the_overlap_is_kept(sides):
    for overlap in (0.3, 0.7, 0.9):
        r = gaussian_radius(np.array(sides), overlap)
        box = np.array([[0.0, 0.0, *sides]])
        changed = box + r * np.array([[1, 1, -1, -1], [-1, -1, 1, 1], [1, 1, 1, 1]])
        iou = overlaps(box, changed)[0]
        assert iou.min() == pytest.approx(overlap)


def test_the_published_radius():
    # 10 x 10, IoU 0.5, by its three formulas: (20 + 16.330) / 2, (40 + 28.284) / 2 and (-20 + 28.284) / 2.
    assert gaussian_radius(np.array([10, 10]), 0.5, "published") == pytest.approx(800**0.5 / 2 - 10)
    # 8 x 8 with the IoU of 0.7 that is common: three times the exact one of (8 - 8 sqrt(0.7)) / 2
    assert gaussian_radius(np.array([8, 8]), 0.7) == pytest.approx(0.6534, abs=1e-4)
    assert gaussian_radius(np.array([8, 8]), 0.7, "published") == pytest.approx(2.1866, abs=1e-4)


def test_painting():
    heatmap = np.zeros((4, 5), "float32")
    paint_gaussian(heatmap, 1, 1, 1)  # deviation 1/2
    near, far = np.exp(-2), np.exp(-4)
    wanted = [[far, near, far, 0, 0], [near, 1, near, 0, 0], [far, near, far, 0, 0], [0] * 5]
    np.testing.assert_allclose(heatmap, wanted, rtol=1e-6)
    paint_gaussian(heatmap, 0, 4, 2)  # cut by the border, and the higher value stays
    assert heatmap[0, 4] == heatmap[1, 1] == 1 and heatmap[0, 2] == pytest.approx(np.exp(-4 / (2 * (5 / 6) ** 2)))
    assert heatmap[1, 2] == pytest.approx(near) and not heatmap[3].any()
    paint_gaussian(heatmap, 3, 2, 0)
    assert heatmap[3].tolist() == [0, 0, 1, 0, 0]
