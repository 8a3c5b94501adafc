"""Outlines of masks: exact, with their holes, as rings that touch themselves nowhere."""

import numpy as np
import pytest
import scipy.ndimage

from mrcnn.ops import masks
from mrcnn.ops.polygons import keyhole, signed_area, to_polygons


def test_outlines_of_a_square_with_a_hole_and_a_pixel_at_its_corner():
    mask = np.zeros((6, 7), bool)
    mask[1:4, 1:4] = True
    mask[2, 2] = False
    mask[4, 4] = True
    first, second = masks.to_polygons(mask)
    assert [ring.tolist() for ring in first] == [
        [[1, 1], [4, 1], [4, 4], [1, 4]],
        [[2, 3], [3, 3], [3, 2], [2, 2]],
    ] and [ring.tolist() for ring in second] == [[[4, 4], [5, 4], [5, 5], [4, 5]]]
    assert to_polygons(np.zeros((3, 3))) == []


@pytest.mark.parametrize("smooth", [0, 1, 2])
def test_outlines_give_the_mask_back(smooth):
    """Of noise and of blobs; the area of the rings is the count of pixels, so none crosses another."""
    rng = np.random.default_rng(smooth)
    for _ in range(15):
        noise = scipy.ndimage.gaussian_filter(rng.random((20, 26)), smooth)
        mask = noise > np.median(noise)
        drawn, area = np.zeros_like(mask), 0.0
        for rings in to_polygons(mask):
            assert [signed_area(ring) > 0 for ring in rings] == [True] + [False] * (len(rings) - 1)
            assert all(len({*map(tuple, ring)}) == len(ring) for ring in rings)
            piece, *holes = (masks.polygons_to_mask([ring], *mask.shape) for ring in rings)
            drawn |= piece & ~np.any(holes, axis=0) if holes else piece
            area += sum(map(signed_area, rings))
        assert (drawn == mask).all() and area == mask.sum()
        ring = keyhole([ring for rings in to_polygons(mask) for ring in rings])
        assert (masks.polygons_to_mask([ring], *mask.shape) == mask).all()


def test_simplified_outlines_have_few_corners_and_stay_near():
    y, x = np.mgrid[:80, :80]
    mask = np.hypot(y - 40, x - 40) < 30
    ((exact,),) = to_polygons(mask)
    ((simple,),) = to_polygons(mask, tolerance=1)
    assert len(simple) < len(exact) / 3
    drawn = masks.polygons_to_mask([simple], 80, 80)
    assert (drawn & mask).sum() > 0.97 * (drawn | mask).sum()
