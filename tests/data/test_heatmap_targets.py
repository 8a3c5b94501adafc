"""The heatmaps that CenterNet and CornerNet should give."""

import numpy as np
import pytest

from mrcnn.data.heatmap_targets import CornerTargets, HeatmapTargets
from mrcnn.data.samples import Sample


def sample(class_ids, boxes, points=None):
    count = len(class_ids)
    points = np.zeros((count, 2, 3)) if points is None else np.array(points, "float32")
    nothing = np.zeros((count, 0))
    boxes = np.array(boxes, "int32").reshape(-1, 4)
    return Sample(nothing, nothing, np.array(class_ids, "int32"), boxes, nothing, points, nothing, nothing)


def test_centres():
    # Stride 4: the first centre (14, 22) is in cell (3, 5), the second, of the other class, in (6, 1).
    encode = HeatmapTargets((8, 8), 4, classes=2, overlap=0.3)
    maps = encode(sample([2, 1], [[0, 2, 28, 42], [22, 4, 26, 10]]), None)
    heatmap = maps["input_heatmap"]
    assert set(maps) == {"input_heatmap"} and heatmap.shape == (8, 8, 2) and heatmap.dtype == np.float32
    assert np.argwhere(heatmap == 1).tolist() == [[3, 5, 1], [6, 1, 0]]
    # 7 x 10 cells with an IoU of 0.3 have a radius of 1.85, so 1, and a deviation of 1/2; 1 x 1.5 cells none.
    assert heatmap[3, 4, 1] == pytest.approx(np.exp(-2)) and heatmap[3, 3, 1] == 0
    assert np.count_nonzero(heatmap[..., 0]) == 1


def test_the_published_radius_is_a_setting():
    boxes = [[0, 0, 32, 32]]  # 8 x 8 cells: 0.65, or 2.19
    for how, radius in (("exact", 0), ("published", 2)):
        heatmap = HeatmapTargets((8, 8), 4, 1, radius=how)(sample([1], boxes), None)["input_heatmap"]
        assert np.count_nonzero(heatmap) == (2 * radius + 1) ** 2


def test_crowds_teach_nothing():
    # The crowd holds the middles of the cells of rows 0 and 1, columns 0 to 3; an instance in it counts.
    maps = HeatmapTargets((4, 4), 4, 2, joints=2)(sample([-1, 1], [[0, 0, 8, 16], [0, 0, 8, 8]]), None)
    heatmap = maps["input_heatmap"]
    assert heatmap[1, 1, 0] == 1 and (heatmap == 1).sum() == 1
    assert (heatmap == -1).sum() == 8 + 7 and not heatmap[2:].any()
    assert (maps["input_joint_heatmap"][:2] == -1).all()


def test_joints():
    # Pixels (x, y): the first joint is in cell (0, 1), on its very edge; the second is not known.
    points = [[[7.4, 0, 2], [3, 3, 0]], [[8.0, 15, 1], [0, 12, 2]]]
    maps = HeatmapTargets((4, 4), 4, 1, joints=2)(sample([1, 1], [[0, 0, 16, 16]] * 2, points), None)
    joints = maps["input_joint_heatmap"]
    assert joints.shape == (4, 4, 2)
    assert np.argwhere(joints == 1).tolist() == [[0, 1, 0], [3, 0, 1], [3, 2, 0]]


def test_nothing():
    maps = HeatmapTargets((4, 4), 4, 3, joints=1)(sample([], [], np.zeros((0, 1, 3))), None)
    assert not maps["input_heatmap"].any() and not maps["input_joint_heatmap"].any()


def test_corners():
    # Stride 4: from cell (0, 0) to (7, 7), its second corner on the image's very end; from (5, 1) to (6, 2), small.
    maps = CornerTargets((8, 8), 4, classes=2, overlap=0.3)(sample([2, 1], [[0, 2, 32, 32], [22, 4, 26, 10]]), None)
    first, second = maps["input_top_left_heatmap"], maps["input_bottom_right_heatmap"]
    assert len(maps) == 2 and first.shape == second.shape == (8, 8, 2)
    assert np.argwhere(first == 1).tolist() == [[0, 0, 1], [5, 1, 0]]
    assert np.argwhere(second == 1).tolist() == [[6, 2, 0], [7, 7, 1]]
    # 8 x 7.5 cells with an IoU of 0.3 have a radius of 1.75, so 1: three cells about either corner.
    assert np.count_nonzero(first[..., 1]) == np.count_nonzero(second[..., 1]) == 4
    maps = CornerTargets((8, 8), 4, 1)(sample([-1], [[0, 0, 8, 16]]), None)
    assert all((x == -1).sum() == 8 and not (x > 0).any() for x in maps.values())
