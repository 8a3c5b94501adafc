"""From heatmaps to detections and joints, by maps that are known."""

import numpy as np
import pytest
from keras import ops

from mrcnn.layers.peaks import PeakDetectionLayer, peaks
from mrcnn.ops.meta import compose_image_meta

pytestmark = pytest.mark.graph

LOW = -9.0


def logit(p):
    return np.log(p / (1 - p))


def meta(window=(0, 0, 32, 32)):
    return compose_image_meta(0, (32, 32, 3), (32, 32, 3), window, 1.0, np.ones(3, "int32"))[None].astype("float32")


def detect(layer, *maps):
    found = layer([ops.convert_to_tensor(np.asarray(x, "float32")) for x in maps])
    return [ops.convert_to_numpy(x) for x in found] if isinstance(found, (list, tuple)) else ops.convert_to_numpy(found)


def test_peaks():
    scores = np.array([[0.2, 0.9, 0.3, 0.1], [0.1, 0.3, 0.2, 0.4]], "float32").reshape(1, 2, 4, 1)
    kept = ops.convert_to_numpy(peaks(ops.convert_to_tensor(scores)))[0, ..., 0]
    np.testing.assert_array_equal(kept, np.array([[0, 0.9, 0, 0], [0, 0, 0, 0.4]], "float32"))


def test_detections():
    heat, sizes, offsets = np.full((1, 8, 8, 2), LOW), np.ones((1, 8, 8, 2)), np.zeros((1, 8, 8, 2))
    heat[0, 2, 3, 1], heat[0, 2, 4, 1] = logit(0.9), logit(0.8)  # one peak with its neighbour
    heat[0, 2, 3, 0] = logit(0.6)  # another class at the same place
    heat[0, 7, 0, 0] = logit(0.7)
    heat[0, 5, 6, 1] = logit(0.95)  # the best one, without an area
    sizes[0, 2, 3], sizes[0, 7, 0], sizes[0, 5, 6] = (2, 4), (3, 3), (-1, 2)
    offsets[0, 2, 3] = 0.5, 0.25
    rows = detect(PeakDetectionLayer(5, 0.5), heat, sizes, offsets, meta())
    assert rows.shape == (1, 5, 6)
    # Centre (2.5, 3.25) of 2 x 4 cells: pixels 6 to 14 and 5 to 21; the last one is cut by the image.
    box, cut = np.array([6, 5, 14, 21]) / 32, np.array([22, 0, 32, 6]) / 32
    np.testing.assert_allclose(rows[0], [[*box, 2, 0.9], [*cut, 1, 0.7], [*box, 1, 0.6], [0] * 6, [0] * 6], atol=1e-6)
    rows = detect(PeakDetectionLayer(5, 0.5), heat, sizes, offsets, meta(window=(0, 0, 24, 16)))
    np.testing.assert_allclose(rows[0, 0, :4], np.array([6, 5, 14, 16]) / 32, atol=1e-6)  # padding is no image
    rows = detect(PeakDetectionLayer(2, 0.5, normalization="pixels"), heat, sizes, offsets, meta())
    np.testing.assert_allclose(rows[0, 0, :4], np.array([6, 5, 13, 20]) / 31, atol=1e-6)


def test_more_detections_than_cells():
    flat = np.zeros((1, 1, 2, 1))
    rows = detect(PeakDetectionLayer(4, 0.1), flat, np.ones((1, 1, 2, 2)), np.zeros((1, 1, 2, 2)), meta())
    assert rows.shape == (1, 4, 6) and rows[0, :, 5].tolist() == [0.5, 0.5, 0, 0]


def pose():
    """A box of 4 x 4 cells about (4, 4) that says its three joints are at (3, 3), (5, 5) and (4, 5)."""
    heat, sizes, offsets = np.full((1, 8, 8, 1), LOW), np.zeros((1, 8, 8, 2)), np.zeros((1, 8, 8, 2))
    heat[0, 4, 4], sizes[0, 4, 4] = logit(0.9), 4
    joints, vectors, within = np.full((1, 8, 8, 3), LOW), np.zeros((1, 8, 8, 6)), np.zeros((1, 8, 8, 2))
    vectors[0, 4, 4] = -1, -1, 1, 1, 0, 1
    return heat, sizes, offsets, joints, vectors, within


def test_joints_snap_to_peaks():
    heat, sizes, offsets, joints, vectors, within = pose()
    joints[0, 3, 3, 0], within[0, 3, 3] = logit(0.8), (0.5, 0.25)  # half a cell off, and its place in the cell is known
    joints[0, 3, 5, 0] = logit(0.99)  # a better one, farther off
    joints[0, 5, 7, 1] = logit(0.9)  # farther than 0.3 of the box's side, and outside the box
    joints[0, 4, 5, 2] = logit(0.09)  # too unsure: where the centre says, with its own score
    layer = PeakDetectionLayer(2, 0.5)
    rows, points = detect(layer, heat, sizes, offsets, meta(), joints, vectors, within)
    assert rows[0, 0, 4] == 1 and points.shape == (1, 2, 3, 3)
    # Cells to pixels: 4 times, less the half pixel by which the first one's centre is in it. (x, y, score)
    low = 1 / (1 + np.exp(9))
    wanted = [[4 * 3.25 - 0.5, 4 * 3.5 - 0.5, 0.8], [19.5, 19.5, low], [19.5, 15.5, 0.09]]
    np.testing.assert_allclose(points[0, 0], wanted, atol=1e-5)


def test_joints_of_the_nearest_peak_in_the_box():
    heat, sizes, offsets, joints, vectors, within = pose()
    vectors[0, 4, 4, :2] = -1.8, 0  # (2.2, 4), at the upper edge of the box
    joints[0, 1, 4, 0] = logit(0.9)  # nearer with its offset, but above the box
    within[0, 1, 4] = 0.95, 0
    joints[0, 3, 4, 0] = logit(0.3)
    _, points = detect(PeakDetectionLayer(2, 0.5), heat, sizes, offsets, meta(), joints, vectors, within)
    np.testing.assert_allclose(points[0, 0, 0], [15.5, 11.5, 0.3], atol=1e-5)


def test_it_is_saved():
    layer = PeakDetectionLayer(7, 0.2, 8, "pixels", 0.3, 0.4, name="peaks")
    assert PeakDetectionLayer.from_config(layer.get_config()).get_config() == layer.get_config()
