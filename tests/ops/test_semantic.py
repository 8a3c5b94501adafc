"""Instances as a map of classes, borders, connected components: small cases by hand, distances beside SciPy's."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from mrcnn.ops.semantic import (
    balanced,
    border_weights,
    components,
    label_boxes,
    paint,
    resize_nearest,
    separate,
    topmost,
)


def stacked(size, *boxes):
    masks = np.zeros((*size, len(boxes)), bool)
    for i, (y1, x1, y2, x2) in enumerate(boxes):
        masks[y1:y2, x1:x2, i] = True
    return masks


def test_the_smaller_instance_is_on_top_and_a_crowd_below():
    masks = stacked((4, 6), (1, 1, 3, 3), (0, 0, 4, 4), (0, 0, 2, 6))
    expected = [
        [2, 2, 2, 2, -1, -1],
        [2, 1, 1, 2, -1, -1],
        [2, 1, 1, 2, 0, 0],
        [2, 2, 2, 2, 0, 0],
    ]
    np.testing.assert_array_equal(paint(masks, [1, 2, -1]), expected)
    assert not paint(np.zeros((2, 3, 0), bool), []).any()


def test_a_line_of_background_between_those_of_one_class():
    masks = stacked((4, 6), (0, 0, 2, 3), (0, 3, 2, 6), (2, 0, 4, 3), (2, 3, 4, 6))
    separated = separate(topmost(masks, [1, 1, 1, 2]), [1, 1, 1, 2])
    expected = [
        [0, 0, -1, 1, 1, 1],
        [-1, -1, -1, 1, 1, 1],
        [2, 2, 2, 3, 3, 3],
        [2, 2, 2, 3, 3, 3],
    ]
    np.testing.assert_array_equal(separated, expected)
    crowds = separate(topmost(masks, [-1, -2, 1, 1]), [-1, -2, 1, 1])
    np.testing.assert_array_equal(crowds[:2], topmost(masks, [-1, -2, 1, 1])[:2])


def test_weights_of_borders_by_scipys_distances():
    masks = stacked((60, 70), (5, 5, 25, 20), (5, 22, 25, 40), (40, 10, 55, 30), (30, 50, 58, 69))
    top = topmost(masks, [1, 1, 1, 1])
    found = border_weights(top, 10, 3)
    distances = np.sort([distance_transform_edt(~masks[..., i]) for i in range(4)], axis=0)
    expected = 10 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * 3**2)) * (top < 0)
    np.testing.assert_allclose(found, expected, atol=0.01)  # 10 exp(-8) is left out
    np.testing.assert_allclose(found[10, 20:22], 10 * np.exp(-((1 + 2) ** 2) / 18), rtol=1e-5)
    assert not border_weights(topmost(masks[..., :1], [1]), 10, 3).any()


def test_components_by_class_and_score():
    classes = np.array([[1, 1, 0, 2], [0, 1, 2, 2], [1, 0, 2, 0], [1, 0, 0, 3]])
    scores = np.array([[0.5, 0.5, 1, 0.9], [1, 0.8, 0.9, 0.9], [0.7, 1, 0.5, 1], [0.9, 1, 1, 0.3]])
    found = components(classes, scores)
    np.testing.assert_array_equal(found.labels, [[3, 3, 0, 1], [0, 3, 1, 1], [2, 0, 1, 0], [2, 0, 0, 4]])
    assert found.class_ids.tolist() == [2, 1, 1, 3]
    np.testing.assert_allclose(found.scores, [0.8, 0.8, 0.6, 0.3], rtol=1e-6)
    fewer = components(classes, scores, least_area=3, most=1)
    assert fewer.class_ids.tolist() == [2] and set(np.unique(fewer.labels)) == {0, 1}
    assert not len(components(np.zeros((3, 3), int), np.ones((3, 3))).scores)


def test_nearest_pixels_of_a_window():
    image = np.arange(16).reshape(4, 4)
    np.testing.assert_array_equal(resize_nearest(image, (1, 0, 3, 4), (4, 2)), [[5, 7], [5, 7], [9, 11], [9, 11]])
    np.testing.assert_array_equal(resize_nearest(image, (0, 0, 4, 4), (4, 4)), image)


def test_boxes_of_labels():
    labels = np.array([[0, 3, 3], [0, 3, 0], [1, 0, 0]], "int32")
    np.testing.assert_array_equal(label_boxes(labels, 3), [[2, 0, 3, 1], [0, 0, 0, 0], [0, 1, 2, 3]])
    assert label_boxes(np.zeros((2, 2), "int32"), 0).shape == (0, 4)


@pytest.mark.parametrize(
    ("power", "background", "object_"), [(0, 1, 1), (1, 2 / 3, 2), (0.5, 4 / (3 + 3**0.5), 4 / (1 + 3**0.5))]
)
def test_rare_classes_weigh_more(power, background, object_):
    """Three pixels of background, one of an object, one of which nothing is known."""
    weights = balanced(np.array([[0, 0, 0], [2, -1, -1]]), power)
    np.testing.assert_allclose(weights, [[background] * 3, [object_, 0, 0]], rtol=1e-12)
    assert not balanced(np.full((2, 2), -1), power).any()
