"""What a one-stage detector should say at every place."""

from types import SimpleNamespace

import numpy as np

from mrcnn.data.dense_targets import DenseTargets, by_overlap, by_place

ANCHORS = np.array([[0, 0, 10, 10], [0, 4, 10, 14], [0, 6, 10, 16], [40, 40, 50, 50], [60, 60, 70, 70]], float)


def sample(class_ids, boxes):
    return SimpleNamespace(class_ids=np.array(class_ids, "int32"), boxes=np.array(boxes, "int32").reshape(-1, 4))


def test_anchors_stand_for_the_instance_that_they_overlap():
    """IoU of 1, 6/14 and 4/16 with the first; the fourth is the second's best, though below the bounds."""
    encode = DenseTargets(by_overlap(ANCHORS, 0.4, 0.5), ANCHORS)
    found = encode(sample([7, 3], [[0, 0, 10, 10], [45, 45, 60, 60]]), None)
    assert found["input_dense_class_ids"].dtype == np.int32 and found["input_dense_boxes"].dtype == np.float32
    assert found["input_dense_class_ids"].tolist() == [7, -1, 0, 3, 0]
    np.testing.assert_array_equal(
        found["input_dense_boxes"], [[0, 0, 10, 10], [0] * 4, [0] * 4, [45, 45, 60, 60], [0] * 4]
    )
    np.testing.assert_array_equal(found["input_anchors"], ANCHORS)


def test_an_image_without_instances_is_background():
    for matcher in (by_overlap(ANCHORS, 0.4, 0.5), by_place(ANCHORS, [3, 2], 1.5)):
        found = DenseTargets(matcher, ANCHORS)(sample([], []), None)
        assert not found["input_dense_class_ids"].any() and not found["input_dense_boxes"].any()


def test_a_crowd_is_neither():
    found = DenseTargets(by_overlap(ANCHORS, 0.4, 0.5), ANCHORS)(sample([-2], [[30, 30, 60, 60]]), None)
    assert found["input_dense_class_ids"].tolist() == [0, 0, 0, -1, 0]


def test_levels_of_places():
    """The same place on levels of 8, 16 and 32 pixels: sides up to 64, from 64 to 128, and from 128 on."""
    centre = np.array([200, 200])
    squares = np.array([[*(centre - s / 2), *(centre + s / 2)] for s in (8, 16, 32)])
    encode = DenseTargets(by_place(squares, [1, 1, 1], 1.5), squares)
    for reach, level in ((4, 0), (63, 0), (65, 1), (127, 1), (129, 2), (199, 2)):
        found = encode(sample([5], [[200 - reach, 200 - reach, 200 + reach, 200 + reach]]), None)
        assert np.flatnonzero(found["input_dense_class_ids"] == 5).tolist() == [level], reach
