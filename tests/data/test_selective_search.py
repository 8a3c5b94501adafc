"""Selective search: what stands out of its surroundings is among the boxes."""

import numpy as np
import pytest
from kites import Kites

from mrcnn.data.selective_search import Regions, selective_search
from mrcnn.ops.boxes import overlaps


@pytest.fixture
def squares():
    """Two squares of different colours on a third, with a little noise."""
    image = np.full((60, 80, 3), (40, 90, 160), "uint8")
    image[10:30, 8:32] = 220, 60, 40
    image[25:55, 50:74] = 60, 200, 80
    return (image + np.random.default_rng(0).integers(0, 4, image.shape)).astype("uint8")


def test_objects_are_found(squares):
    found = selective_search(squares)
    assert found.dtype == np.int32 and found.shape[1] == 4 and len(np.unique(found, axis=0)) == len(found)
    best = overlaps(found.astype(float), np.array([[10, 8, 30, 32], [25, 50, 55, 74], [0, 0, 60, 80]], float)).max(
        axis=0
    )
    assert (best > 0.9).all(), best
    assert (found[:, 2:] - found[:, :2] >= 6).all() and (found[:, :2] >= 0).all() and (found[:, 2:] <= (60, 80)).all()


def test_it_is_the_same_every_time(squares):
    first = selective_search(squares)
    np.testing.assert_array_equal(first, selective_search(squares))
    other = selective_search(squares, seed=1)
    assert not np.array_equal(first, other) and {*map(tuple, first)} == {*map(tuple, other)}


def test_more_hierarchies_find_more(squares):
    fast, full = ({*map(tuple, selective_search(squares, mode))} for mode in ("fast", "full"))
    assert fast < full


def test_wide_images_are_reduced(squares, monkeypatch):
    """What is searched is no wider than that; the boxes are of the image itself."""
    monkeypatch.setattr("mrcnn.data.selective_search.WIDTH", 80)
    found = selective_search(np.kron(squares, np.ones((3, 3, 1), "uint8")))
    truth = np.array([[10, 8, 30, 32], [25, 50, 55, 74], [0, 0, 60, 80]], float) * 3
    best = overlaps(found.astype(float), truth).max(axis=0)
    assert (best > 0.9).all(), best
    assert (found % 3 == 0).all() and (found[:, 2:] <= (180, 240)).all()
    assert (found[:, 2:] - found[:, :2]).min() >= 6 * 3


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels(squares, channels):
    image = squares[..., :1] if channels == 1 else np.concatenate([squares, squares[..., :1]], axis=-1)
    assert len(selective_search(image))
    if channels == 4:
        np.testing.assert_array_equal(selective_search(image), selective_search(squares))


def test_recall():
    kites = Kites(6)
    best = [
        overlaps(selective_search(kites.load_image(i)).astype(float), np.array([*kites.boxes(i)], float)).max(axis=0)
        for i in range(6)
    ]
    assert np.mean(np.concatenate(best) > 0.7) == 1


def test_grouping_by_hand():
    """Three regions in a row: of colours 0, 0 and 1, the first two become one first."""
    labels = np.repeat([[0, 1, 2]], 4, axis=0).repeat(4, axis=1)
    planes = (labels == 2)[..., None].astype(float)
    regions = Regions(labels, planes, np.zeros((4, 12, 8)))
    np.testing.assert_array_equal(regions.pairs, [[0, 1], [1, 2]])
    expected = [[0, 0, 4, 4], [0, 4, 4, 8], [0, 8, 4, 12], [0, 0, 4, 8], [0, 0, 4, 12]]
    np.testing.assert_array_equal(regions.grouped("c"), expected)
    # By size the small ones: 16 pixels each, then 32; by fill all are alike.
    assert regions.grouped("s").tolist()[:4] == expected[:4] and regions.grouped("f").tolist()[-1] == expected[-1]
