"""Matching: the rule by hand, arrays and tensors alike, and the sparse form against comparing all with all."""

import numpy as np
import pytest
from keras import ops
from whole import whole

from mrcnn.ops import matching
from mrcnn.ops.anchors import backbone_shapes, cell_anchors, generate_pyramid_anchors
from mrcnn.ops.matching import AnchorBlocks, match, match_anchors, match_cells, match_points

# Of the ten columns of the instance these candidates have 10, 8, 5, 4 and none.
CANDIDATES = np.array([[0, left, 10, left + 10] for left in (0, 2, 5, 6, 30)], "float32")
INSTANCE = np.array([[0, 0, 10, 10]], "float32")  # IoU 1, 8/12, 5/15, 4/16, 0

# What the RPN, RetinaNet, a cascade's stage and SSD ask for.
RULES = [(0.3, 0.7, True), (0.4, 0.5, False), (0.4, 0.5, True), (0.6, 0.6, False), (0.5, 0.5, True)]


def both(*arrays, **options):
    """What `match` says of NumPy arrays, which must be what it says of tensors; `match_anchors` must agree."""
    labels, best = match(*arrays, **options)
    assert isinstance(labels, np.ndarray)
    of_tensors = whole(lambda *tensors: match(*tensors, **options))(*map(ops.convert_to_tensor, arrays))
    for ours, theirs in zip((labels, best), of_tensors, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(theirs), ours)
    for size in (2, 5):
        sparse, index = match_anchors(AnchorBlocks(arrays[0], size), *arrays[1:], **options)
        np.testing.assert_array_equal(sparse, labels)
        np.testing.assert_array_equal(index[labels == 1], best[labels == 1])
    return labels, best


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0.3, 0.7, [1, 0, 0, -1, -1]),
        (0.5, 0.5, [1, 1, -1, -1, -1]),
        (0.6, 0.6, [1, 1, -1, -1, -1]),
        (0.2, 1, [1, 0, 0, 0, -1]),
    ],
)
def test_thresholds(low, high, expected):
    labels, _ = both(CANDIDATES, np.array([1]), INSTANCE, low=low, high=high)
    np.testing.assert_array_equal(labels, expected)


def test_best_is_the_largest_and_the_first_of_equals():
    instances = np.array([[0, 5, 10, 15], [0, 0, 10, 10], [0, 0, 10, 10], [0, 30, 10, 40]], "float32")
    labels, best = both(CANDIDATES, np.array([1, 2, 3, 1]), instances, low=0.1, high=0.2)
    np.testing.assert_array_equal(labels, 1)
    np.testing.assert_array_equal(best, [1, 1, 0, 0, 3])


def test_forced_are_all_that_overlap_most():
    instance = np.array([[0, 1, 10, 11]], "float32")  # 9/11 with the first two, which lie on either side
    candidates = np.concatenate([CANDIDATES[:1], CANDIDATES])
    labels, _ = both(candidates, np.array([1]), instance, low=0.3, high=0.95, forced=True)
    np.testing.assert_array_equal(labels, [1, 1, 1, 0, 0, -1])
    labels, _ = both(candidates, np.array([1]), instance, low=0.3, high=0.95)
    np.testing.assert_array_equal(labels, [0, 0, 0, 0, 0, -1])


def test_a_forced_candidate_keeps_its_own_best():
    """The second instance makes the candidate positive, which overlaps the first one more, all below `low`."""
    candidates = np.array([[0, 0, 10, 10], [0, 20, 10, 30]], "float32")
    instances = np.array([[0, 0, 2, 10], [9, 0, 10, 10], [0, 20, 10, 30]], "float32")
    labels, best = both(candidates, np.array([1, 1, 1]), instances, low=0.3, high=0.7, forced=True)
    np.testing.assert_array_equal(labels, [1, 1])
    np.testing.assert_array_equal(best, [0, 2])


@pytest.mark.parametrize("box", [[100, 100, 120, 120], [0, 18, 10, 28], [3, 3, 3, 3], [0, 0, 0, 0], [5, 5, 2, 2]])
def test_what_nothing_overlaps_forces_nothing(box):
    """An instance off all candidates, between them, or without area: the original made every candidate positive."""
    labels, _ = both(CANDIDATES, np.array([1]), np.array([box], "float32"), low=0.3, high=0.7, forced=True)
    np.testing.assert_array_equal(labels, -1)
    instances = np.concatenate([np.array([box], "float32"), INSTANCE])
    labels, best = both(CANDIDATES, np.array([2, 1]), instances, low=0.3, high=0.7, forced=True)
    np.testing.assert_array_equal(labels, [1, 0, 0, -1, -1])
    assert best[0] == 1


def test_crowds():
    """A candidate with 0.7 of its area in one crowd is not negative; a crowd makes none positive."""
    crowds = np.array([[0, 0, 10, 9.5], [0, 30, 10, 37]], "float32")  # shares 0.95, 0.75, 0.45, 0.35 and 0.7
    for crowd_overlap, expected in ((0.7, [0, 0, -1, -1, 0]), (0.9, [0, -1, -1, -1, -1]), (0.4, [0, 0, 0, -1, 0])):
        options = {"low": 0.5, "high": 0.5, "crowd_overlap": crowd_overlap - 1e-6}
        labels, _ = both(CANDIDATES, np.array([-1, -3]), crowds, **options)
        np.testing.assert_array_equal(labels, expected)
    labels, best = both(CANDIDATES, np.array([-1, 2]), np.concatenate([crowds[:1], INSTANCE]), low=0.5, high=0.5)
    np.testing.assert_array_equal(labels, [1, 1, -1, -1, -1])
    np.testing.assert_array_equal(best[:2], [1, 1])


def test_padding_and_nothing():
    labels, _ = both(CANDIDATES, np.array([0, 0]), np.concatenate([INSTANCE, INSTANCE]), low=0.3, high=0.7, forced=True)
    np.testing.assert_array_equal(labels, -1)
    labels, best = both(CANDIDATES, np.zeros(0, int), np.zeros((0, 4), "float32"), low=0.3, high=0.7, forced=True)
    np.testing.assert_array_equal(labels, -1)
    assert not best.any()


def test_batches():
    ids = np.array([[1, 0], [0, 2]])
    instances = np.stack([np.concatenate([INSTANCE, INSTANCE + 30])] * 2)
    labels, best = match(*map(ops.convert_to_tensor, (np.stack([CANDIDATES] * 2), ids, instances)), 0.3, 0.7, True)
    np.testing.assert_array_equal(ops.convert_to_numpy(labels), [[1, 0, 0, -1, -1], [-1] * 5])
    assert (ops.convert_to_numpy(best)[0] == 0).all()


# The sparse form

STRIDES = [4, 8, 16, 32, 64]
ANCHORS = generate_pyramid_anchors(
    (16, 32, 64, 128, 256), [0.5, 1, 2], backbone_shapes((256, 200), STRIDES), STRIDES, 1
)


def scene(seed, count=14):
    """Class ids and boxes: tiny, huge, in whole pixels, on the grid (many ties), outside, crowds, padding."""
    rng = np.random.default_rng(seed)
    sides = np.exp(rng.uniform(0, np.log(300), (count, 2)))
    corner = rng.uniform(-40, 256, (count, 2))
    boxes = np.concatenate([corner, corner + sides], axis=-1)
    boxes[::3] = np.rint(boxes[::3])
    boxes[1] = [64 - 16, 64 - 16, 64 + 16, 64 + 16]
    boxes[2] = [-500, -500, 900, 900]
    boxes[3] = [3000, 3000, 3050, 3050]
    boxes[4] = boxes[5]
    boxes[6] = 0
    return rng.choice([-1, 0, 1, 2, 3], count, p=[0.15, 0.1, 0.25, 0.25, 0.25]), boxes


@pytest.mark.parametrize("seed", range(8))
def test_sparse_is_dense(seed):
    ids, boxes = scene(seed)
    for (low, high, forced), size in zip(RULES, (1, 64, 256, 1000, 10**5), strict=True):
        labels, best = match(ANCHORS, ids, boxes, low, high, forced)
        sparse, index = match_anchors(AnchorBlocks(ANCHORS, size), ids, boxes, low, high, forced)
        assert sparse.dtype == "int8" and sparse.shape == index.shape == (len(ANCHORS),)
        np.testing.assert_array_equal(sparse, labels)
        np.testing.assert_array_equal(index[labels == 1], best[labels == 1])
        assert len(np.unique(labels)) >= 2


def test_bounds_hold():
    """No anchor exceeds its block's bounds, and somewhere they are reached."""
    _, boxes = scene(0)
    blocks = AnchorBlocks(ANCHORS, 100)
    for box in boxes[:, None]:
        for over, bound in (("union", blocks.highest_iou(box)), ("first", blocks.highest_share(box))):
            value = matching.overlaps(blocks.anchors.reshape(-1, 4), box, over=over).reshape(-1, 100).max(axis=1)
            assert (value <= bound).all()
    inside = blocks.highest_iou(boxes[2:3])  # the huge one, in which all lie
    np.testing.assert_allclose(inside, blocks.largest / 1400**2, rtol=1e-8)


def test_few_are_compared(monkeypatch):
    """Of the 5 million pairs of anchors and instances few per cent."""
    compared = []
    overlaps = matching.overlaps

    def counting(a, b, **options):
        compared.append(len(a) * len(b))
        return overlaps(a, b, **options)

    strides = [4, 8, 16, 32, 64]
    anchors = generate_pyramid_anchors(
        (32, 64, 128, 256, 512), [0.5, 1, 2], backbone_shapes((1024, 1024), strides), strides, 1
    )
    rng = np.random.default_rng(0)
    sides = np.exp(rng.uniform(np.log(8), np.log(800), (20, 2)))
    corner = rng.uniform(0, 1024 - sides)
    boxes = np.concatenate([corner, corner + sides], axis=-1)
    blocks = AnchorBlocks(anchors)
    monkeypatch.setattr(matching, "overlaps", counting)
    labels, _ = match_anchors(blocks, np.ones(20, int), boxes, 0.3, 0.7, True)
    assert (labels == 1).sum() > 20
    assert sum(compared) < 0.05 * 20 * len(anchors)


# FCOS: places


def places(side, *centres):
    return np.array([[y - side / 2, x - side / 2, y + side / 2, x + side / 2] for y, x in centres])


def test_places_near_the_centre_of_an_instance():
    """Of cells of 8 pixels at most 1.5 away from (40, 40), and inside."""
    found = places(8, (40, 40), (40, 51), (40, 53), (29, 29), (40, 70), (80, 40))
    labels, best = match_points(found, 1.5, np.array([[0, 64.0]] * 6), np.array([3]), np.array([[20, 20, 60, 60]]))
    assert labels.dtype == np.int8 and labels.tolist() == [1, 1, -1, 1, -1, -1]
    # Near, but outside of a narrow instance; its edge is outside too.
    narrow = np.array([[20, 38, 60, 42]])
    labels, _ = match_points(found[:2], 1.5, np.array([[0, 64.0]] * 2), np.array([3]), narrow)
    assert labels.tolist() == [1, -1]
    edge, _ = match_points(places(8, (40, 38), (40, 39)), 1.5, np.array([[0, 64.0]] * 2), np.array([3]), narrow)
    assert edge.tolist() == [-1, 1]


@pytest.mark.parametrize("low, high, label", [(0, 19, -1), (0, 20, 1), (19, 64, 1), (20, 64, -1)])
def test_places_of_the_level_for_the_size(low, high, label):
    """The farthest side is 20 away."""
    labels, _ = match_points(
        places(8, (40, 40)), 1.5, np.array([[low, high]]), np.array([1]), np.array([[20, 30, 60, 50]])
    )
    assert labels.tolist() == [label]


def test_the_smallest_of_several_instances_counts():
    instances = np.array([[0, 0, 80, 80], [30, 30, 50, 50], [20, 20, 60, 60]])
    labels, best = match_points(
        places(8, (40, 40), (40, 51)), 1.5, np.array([[0, 64.0]] * 2), np.array([1, 2, 3]), instances
    )
    assert labels.tolist() == [1, 1] and best.tolist() == [1, 2]  # the second place lies outside of the smallest


def test_places_in_a_crowd_are_neither():
    both = np.array([[20, 20, 60, 60], [30, 30, 100, 100]])
    labels, _ = match_points(
        places(8, (40, 40), (90, 90), (10, 10)), 1.5, np.array([[0, 64.0]] * 3), np.array([1, -1]), both
    )
    assert labels.tolist() == [1, 0, -1]
    labels, best = match_points(places(8, (40, 40)), 1.5, np.array([[0, 64.0]]), np.zeros(0, int), np.zeros((0, 4)))
    assert labels.tolist() == [-1] and best.tolist() == [0]


def test_cells_by_hand():
    """Two anchors a cell on a map of stride 32 and one on a map of stride 64, in an image of 64 x 64."""
    anchors = cell_anchors([(2, 2), (1, 1)], [32, 64], [[(10, 10), (20, 40)], [(60, 60)]])
    cells = cell_anchors([(2, 2), (1, 1)], [32, 64], [[(32, 32)] * 2, [(64, 64)]])
    gt = np.array([[0, 40, 12, 52.0], [30, 0, 62, 16], [0, 0, 64, 64], [2, 2, 10, 10], [0, 30, 64, 64]])
    labels, best = match_cells(anchors, cells, np.array([1, 2, 1, 1, -1]), gt)
    # (6, 46) is in the cell of row 0, column 1; (46, 8) in that of row 1, column 0; what is tall has the tall anchor.
    wanted = {2: 0, 4 + 1: 1, 8: 2, 0: 3}
    assert np.flatnonzero(labels == 1).tolist() == sorted(wanted) and all(best[i] == k for i, k in wanted.items())
    assert np.flatnonzero(labels == 0).tolist() == [3, 6, 7]  # in the crowd


def test_cells_and_what_is_alike():
    """The IoU of shapes with an instance 20 x 20 is 1/4, 1/2 and 4/9."""
    anchors = cell_anchors([(1, 1)], [32], [[(10, 10), (20, 40), (30, 30)]])
    cells = cell_anchors([(1, 1)], [32], [[(32, 32)] * 3])
    for alike, wanted in ((1.0, [-1, 1, -1]), (0.5, [-1, 1, -1]), (0.4, [-1, 1, 1]), (0.25, [1, 1, 1])):
        labels, best = match_cells(anchors, cells, np.array([1]), np.array([[0, 0, 20.0, 20]]), alike)
        assert labels.tolist() == wanted and not best.any()


def test_of_two_instances_in_a_cell_the_smaller_counts():
    cells = cell_anchors([(2, 2)], [32], [[(32, 32)] * 2])
    for order in ([0, 1], [1, 0]):
        gt = np.array([[0, 0, 40, 20.0], [2, 2, 12, 12]])[order]
        labels, best = match_cells(cells, cells, np.array([1, 1]), gt)
        assert labels.tolist() == [1, 1, -1, -1, -1, -1, -1, -1] and best[0] == best[1] == order.index(1)
    assert (match_cells(cells, cells, np.zeros(0), np.zeros((0, 4)))[0] == -1).all()
