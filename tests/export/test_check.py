"""What the check of an exported file calls a difference."""

import numpy as np

from mrcnn.export.check import compare, too_far


def outputs(*rows):
    """Of (class, score, y1, x1, y2, x2), three slots, with a mask of the score."""
    table = np.zeros((1, 3, 6), "float32")
    table[0, : len(rows)] = np.reshape(rows, (-1, 6))
    scores = table[..., 1]
    masks = np.broadcast_to(scores[..., None, None], (1, 3, 2, 2))
    return {"boxes": table[..., 2:], "classes": table[..., 0].astype("int32"), "scores": scores, "masks": masks}


ONE, TWO = (1, 0.9, 0, 0, 10, 10), (2, 0.8, 5, 5, 20, 20)


def test_nothing():
    found = compare(outputs(), outputs())
    assert found == {"boxes": 0, "scores": 0, "masks": 0, "lost": 0, "new": 0} and not too_far(found)


def test_largest_differences():
    other = outputs((2, 0.805, 5, 5, 20, 20.5), (1, 0.9, 0.25, 0, 10, 10))  # in another order
    found = compare(outputs(ONE, TWO), other)
    assert found["boxes"] == 0.5 and abs(found["scores"] - 0.005) < 1e-6 and found["lost"] == found["new"] == 0
    assert too_far(found) == ["boxes by 0.5", "scores by 0.005", "masks by 0.005"]


def test_lost_and_new():
    found = compare(outputs(ONE, TWO), outputs(ONE, (1, 0.8, 5, 5, 20, 20)))
    assert (found["lost"], found["new"]) == (1, 1)
    assert too_far(found) == ["1 detections lost", "1 detections new"]


def test_what_rounding_brings_and_takes():
    """Near the lowest score, the last of a full list, one of two that suppress each other."""
    assert compare(outputs(ONE), outputs(), lowest=0.8995)["lost"] == 0
    assert compare(outputs(ONE), outputs(), lowest=0.89)["lost"] == 1
    full = outputs(ONE, TWO, (1, 0.3, 30, 30, 40, 40)), outputs(ONE, TWO, (1, 0.3002, 50, 50, 60, 60))
    assert compare(*full)["lost"] == compare(*full)["new"] == 0
    shifted = outputs(ONE), outputs((1, 0.9001, 0, 3, 10, 13))
    assert compare(*shifted)["lost"] == compare(*shifted)["new"] == 0


def test_a_tie_changes_what_the_surer_one_suppresses():
    left, right, further = (1, 0.9, 0, 0, 10, 10), (1, 0.9001, 0, 3, 10, 13), (1, 0.7, 0, -6, 10, 4)
    found = compare(outputs(left), outputs(right, further))  # left suppresses further, right does not reach it
    assert found["lost"] == found["new"] == 0
    found = compare(outputs(left), outputs(further))  # nothing says why left is gone
    assert (found["lost"], found["new"]) == (1, 1)
    found = compare(outputs(left), outputs(right, (2, *further[1:])))  # another class is not suppressed
    assert (found["lost"], found["new"]) == (0, 1)
