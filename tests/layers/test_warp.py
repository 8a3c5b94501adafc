"""Regions warped to one square, on an image whose pixels say where they are."""

import numpy as np
import pytest
from keras import ops
from whole import whole

from mrcnn.layers.warp import WarpRegions
from mrcnn.ops import boxes

Y, X = np.mgrid[:8, :8]
IMAGE = (100 + 10 * Y + X).astype("float32")[None, ..., None]


def warped(regions, normalization="edges", **settings):
    """The first channel of the crops of regions [N, 4] in pixels."""
    normalized = boxes.normalize(np.array([regions], "float32"), (8, 8), normalization)
    crops = whole(WarpRegions(normalization=normalization, **settings))([ops.convert_to_tensor(IMAGE), normalized])
    return ops.convert_to_numpy(crops)[..., 0]


@pytest.mark.parametrize("normalization", ["edges", "pixels"])
def test_a_region_as_it_is(normalization):
    (found,) = warped([(2, 1, 6, 5)], normalization, size=4, context=0)
    np.testing.assert_allclose(found, IMAGE[0, 2:6, 1:5, 0], rtol=1e-6)


def test_any_region_becomes_a_square():
    """Pixels of the square are samples in the middle of their part of the region."""
    (found,) = warped([(0, 2, 8, 6)], size=4, context=0)
    np.testing.assert_allclose(found, 100 + 10 * np.array([[0.5], [2.5], [4.5], [6.5]]) + [2, 3, 4, 5], rtol=1e-6)


def test_context_is_what_is_around():
    """Two pixels of eight on each side leave four for the region: as it has four, all are as they were."""
    (found,) = warped([(2, 2, 6, 6)], size=8, context=2)
    np.testing.assert_allclose(found, IMAGE[0, ..., 0], rtol=1e-6)


def test_outside_of_the_image_is_the_mean():
    (found,) = warped([(0, 4, 4, 8)], size=8, context=2)
    wanted = np.zeros((8, 8))
    wanted[2:, :6] = IMAGE[0, :6, 2:, 0]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_regions_of_several_images():
    """By image, or with the number of the image of each."""
    images = ops.convert_to_tensor(np.concatenate([IMAGE, -IMAGE]))
    regions = np.array([[(0, 0, 4, 4), (2, 2, 6, 6)], [(1, 3, 5, 7), (4, 4, 8, 8)]], "float32") / 8
    warp = whole(WarpRegions(size=4, context=0))
    by_image = ops.convert_to_numpy(warp([images, regions]))
    assert by_image.shape == (4, 4, 4, 1) and (by_image[:2] > 0).all() and (by_image[2:] < 0).all()
    order = [2, 0, 3]
    index = ops.convert_to_tensor(np.array([1, 0, 1], "int32"))
    listed = ops.convert_to_numpy(warp([images, regions.reshape(4, 4)[order], index]))
    np.testing.assert_array_equal(listed, by_image[order])
