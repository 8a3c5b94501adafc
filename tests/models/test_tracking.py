"""Objects from frame to frame, where the package trackers is installed: discs that move, at known boxes."""

import sys

import numpy as np
import pytest

from mrcnn.draw.instances import track_colors
from mrcnn.models.tracking import Tracker

SIZE, RADIUS = 96, 9

# (y, x) of three discs in a frame: the first two pass each other, the third stands still.
PATHS = [lambda t: (22, 12 + 4 * t), lambda t: (42, 84 - 4 * t), lambda t: (76, 30 + t % 2)]


def frame_of(t, places=PATHS):
    """An image of the discs, each of its own brightness, and their boxes and masks."""
    image, masks = np.zeros((SIZE, SIZE, 3), "uint8"), []
    y, x = np.mgrid[:SIZE, :SIZE]
    for k, place in enumerate(places):
        masks.append(np.hypot(y - place(t)[0], x - place(t)[1]) <= RADIUS)
        image[masks[-1]] = 80 + 60 * k
    return image, np.stack(masks, -1)


def result_of(t, seen=(0, 1, 2), scores=(0.9, 0.8, 0.7), order=1):
    """What a detector finds of the discs; `order` -1 gives them backwards."""
    seen, masks = list(seen)[::order], frame_of(t)[1]
    rois = [(y - RADIUS, x - RADIUS, y + RADIUS + 1, x + RADIUS + 1) for y, x in (PATHS[k](t) for k in seen)]
    return {
        "rois": np.array(rois, "int32").reshape(-1, 4),
        "class_ids": np.ones(len(seen), "int32"),
        "scores": np.array([scores[k] for k in seen], "float32"),
        "masks": masks[..., seen],
    }


@pytest.fixture
def tracker():
    pytest.importorskip("trackers", reason="trackers is not installed")
    return Tracker(rate=25)


@pytest.mark.filterwarnings("error")
def test_each_object_keeps_its_number(tracker):
    """Also where two pass each other, where one is missed for two frames, and where nothing is found."""
    for t in range(16):
        seen = [] if t == 12 else [0, 2] if t in (5, 6) else [0, 1, 2]
        found = tracker(result_of(t, seen, order=-1 if t % 2 else 1))
        numbers = {0: 1, 1: 2, 2: 3}
        assert found["track_ids"].tolist() == [numbers[k] for k in seen[:: -1 if t % 2 else 1]], t
        assert found["masks"].shape == (SIZE, SIZE, len(seen)) and len(found["rois"]) == len(seen)


def test_what_appears_has_a_number_from_its_second_frame_on(tracker):
    ids = [tracker(result_of(t, [0] if t < 2 else [0, 1]))["track_ids"].tolist() for t in range(4)]
    assert ids == [[1], [1], [1, 0], [1, 2]]


def test_unsure_detections_go_on_but_do_not_begin(tracker):
    """The first is unsure in one frame, the second always: of two detections each is told by its mask."""
    tracker(result_of(0))
    found = tracker(result_of(1, scores=(0.2, 0.8, 0.7)))
    assert found["track_ids"].tolist() == [1, 2, 3] and found["scores"][0] == np.float32(0.2)
    other = Tracker(rate=25)
    for t in range(3):
        found = other(result_of(t, scores=(0.9, 0.2, 0.7)))
        assert found["track_ids"].tolist() == [1, 2]
        np.testing.assert_array_equal(found["masks"], frame_of(t)[1][..., [0, 2]])


def test_colours_are_those_of_numbers():
    colors = track_colors(range(1, 9))
    assert track_colors([3, 0, 1]) == [colors[2], (0.6, 0.6, 0.6), colors[0]]
    apart = [np.abs(np.subtract(a, b)).max() for i, a in enumerate(colors) for b in colors[:i]]
    assert min(apart) > 0.15


@pytest.mark.parametrize("name", ["trackers", "supervision"])
def test_without_the_package(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"^Tracking needs the package trackers.*mask-rcnn-keras\[track\]"):
        Tracker(rate=25)
