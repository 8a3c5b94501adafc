import numpy as np
import pytest

from mrcnn.ops import anchors

TIGHT = {"rtol": 1e-12, "atol": 1e-10}


@pytest.mark.parametrize("case", ["anchors_square", "anchors_stride2", "anchors_oblong"])
def test_pyramid(golden, case):
    data = golden("utils_golden.npz", case)
    args = data.args
    result = anchors.generate_pyramid_anchors(
        args["scales"], args["ratios"], args["shapes"], args["strides"], args["anchor_stride"]
    )
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, data.outs["anchors"], **TIGHT)


def test_one_level(golden):
    data = golden("utils_golden.npz", "anchors_level")
    args = data.args
    result = anchors.generate_anchors(
        args["scale"], args["ratios"], args["shape"], args["feature_stride"], args["anchor_stride"]
    )
    np.testing.assert_allclose(result, data.outs["anchors"], **TIGHT)


def test_several_scales_in_a_level():
    result = anchors.generate_anchors((4, 8), (1, 4), (1, 1), 16, 1)
    np.testing.assert_allclose(result, [[-2, -2, 2, 2], [-4, -4, 4, 4], [-1, -4, 1, 4], [-2, -8, 2, 8]])


def test_coco(golden):
    data = golden("utils_golden.npz", "anchors_coco")
    strides = [4, 8, 16, 32, 64]
    shapes = anchors.backbone_shapes((data.args["image"],) * 2, strides)
    result = anchors.generate_pyramid_anchors(data.args["scales"], data.args["ratios"], shapes, strides, 1)
    assert result.shape == tuple(data.outs["shape"])
    np.testing.assert_allclose(result[:200], data.outs["first"], **TIGHT)
    np.testing.assert_allclose(result[-200:], data.outs["last"], **TIGHT)
    np.testing.assert_allclose(result[::997], data.outs["every_997th"], **TIGHT)
    np.testing.assert_allclose(result.sum(axis=0), data.outs["sum"], rtol=1e-10)
    np.testing.assert_allclose((result**2).sum(axis=0), data.outs["sumsq"], rtol=1e-10)


@pytest.mark.parametrize("number", range(4))
def test_backbone_shapes(golden, number):
    data = golden("utils_golden.npz", f"backbone_shapes_{number}")
    result = anchors.backbone_shapes(data.args["image_shape"], [4, 8, 16, 32, 64])
    assert np.issubdtype(result.dtype, np.integer)
    np.testing.assert_array_equal(result, data.outs["shapes"])


def test_rounded():
    result = anchors.generate_anchors(32, [2, 1, 0.5], (1, 2), (4, 5), 1, rounded=True)
    # Half sides of 11.31, 22.63; 16, 16; 22.63, 11.31.
    expected = np.array([[-11, -23, 11, 23], [-16, -16, 16, 16], [-23, -11, 23, 11]])
    np.testing.assert_array_equal(result, [*expected, *(expected + [0, 5, 0, 5])])


def test_retinanets_are_torchvisions(golden):
    strides = [8, 16, 32, 64, 128]
    shapes = anchors.backbone_shapes((300, 400), strides)
    scales = [[int(2 ** (i + octave / 3)) for octave in range(3)] for i in range(5, 10)]
    real = [(300 // rows, 400 // columns) for rows, columns in shapes]
    result = anchors.generate_pyramid_anchors(scales, [2, 1, 0.5], shapes, real, 1, rounded=True)
    expected = golden("torchvision_dense.npz")["retinanet_anchors_300x400"][:, [1, 0, 3, 2]]
    np.testing.assert_array_equal(result, expected)


def test_default_boxes_are_torchvisions(golden):
    strides = [8, 16, 32, 64, 100, 300]
    shapes = anchors.backbone_shapes((300, 300), strides)
    scales, ratios = [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05], [[2], [2, 3], [2, 3], [2, 3], [2], [2]]
    result = anchors.default_boxes((300, 300), shapes, strides, scales, ratios)
    expected = golden("torchvision_dense.npz")["ssd300_boxes"][:, [1, 0, 3, 2]]
    np.testing.assert_allclose(result, expected, atol=1e-3)


def test_default_boxes_by_hand():
    result = anchors.default_boxes((100, 200), [(1, 1)], [60], [0.2, 0.8, 9], [[4]])
    centre, halves = np.array([30, 30]), np.array([[10, 20], [20, 40], [5, 40], [20, 10]])
    np.testing.assert_allclose(result, np.concatenate([centre - halves, centre + halves], axis=-1))


def test_anchors_of_cells_by_hand():
    found = anchors.cell_anchors([(1, 2), (1, 1)], [8, 16], [[(2, 4), (6, 6)], [(10, 20), (1, 1)]])
    expected = [
        [2, 3, 6, 5], [1, 1, 7, 7], [2, 11, 6, 13], [1, 9, 7, 15], [-2, 3, 18, 13], [7.5, 7.5, 8.5, 8.5],
    ]  # fmt: skip
    np.testing.assert_array_equal(found, expected)


def test_clusters_of_sizes():
    rng = np.random.default_rng(0)
    middles = np.array([(10, 30), (50, 20), (80, 90)])
    sizes = (middles[rng.integers(0, 3, 300)] * rng.uniform(0.95, 1.05, (300, 2))).round(2)
    centres, iou = anchors.cluster_sizes(sizes, 3, rng)
    np.testing.assert_allclose(centres, middles, rtol=0.02)
    assert iou == pytest.approx(anchors.size_ious(sizes, centres).max(axis=1).mean()) and iou > 0.92
    assert anchors.size_ious(np.array([[10.0, 20]]), np.array([[20.0, 10]])) == pytest.approx(1 / 3)
    assert len(anchors.cluster_sizes([(4, 4)] * 7, 3, rng)[0]) == 1
