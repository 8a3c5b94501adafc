"""The random choice: how many of each kind, from whom, and that it is random."""

import keras
import numpy as np
import pytest
from keras import ops

from mrcnn.ops.sampling import choose, thin_out


@pytest.mark.parametrize(
    "positives, negatives, expected",
    [(50, 50, (5, 15)), (3, 50, (3, 17)), (0, 50, (0, 20)), (50, 4, (5, 4)), (2, 3, (2, 3)), (0, 0, (0, 0))],
)
def test_thin_out(positives, negatives, expected):
    labels = np.repeat([1, -1, 0], [positives, negatives, 30]).astype("int8")
    before = labels.copy()
    left = thin_out(labels, 20, 0.25, np.random.default_rng(0))
    np.testing.assert_array_equal(labels, before)
    assert left.dtype == "int8"
    assert ((left == 1).sum(), (left == -1).sum()) == expected
    assert (left[left != 0] == labels[left != 0]).all()


def test_thin_out_draws_from_what_it_is_given():
    labels = np.repeat([1, -1], 100).astype("int8")

    def drawn(rng):
        return thin_out(labels, 10, 0.5, rng)

    np.testing.assert_array_equal(drawn(np.random.default_rng(1)), drawn(np.random.default_rng(1)))
    assert (drawn(np.random.default_rng(1)) != drawn(np.random.default_rng(2))).any()
    np.random.seed(3)
    first = drawn(np.random)
    assert (drawn(np.random) != first).any()
    np.random.seed(3)
    np.testing.assert_array_equal(drawn(np.random), first)
    kept = sum(drawn(np.random.default_rng(seed)) != 0 for seed in range(400))
    assert kept.sum() == 4000 and kept.min() >= 4 and kept.max() <= 40  # 20 of each on average


def chosen(positive, negative, chance, count, positive_count):
    arrays = np.asarray(positive, bool), np.asarray(negative, bool), np.asarray(chance, "float32")
    found = choose(*map(ops.convert_to_tensor, arrays), count, positive_count)
    return [ops.convert_to_numpy(x) for x in found]


def test_choose_takes_the_highest_chances_positives_first():
    positive = [[1, 0, 0, 1, 1, 0], [0, 0, 0, 0, 0, 1]]
    negative = [[0, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0]]
    chance = [[0.1, 0.2, 0.9, 0.4, 0.3, 1], [0.0, 0.2, 0.1, 0.9, 0.9, 0.0]]
    index, is_positive, filled = chosen(positive, negative, chance, 4, 2)
    np.testing.assert_array_equal(is_positive, [[1, 1, 0, 0], [1, 0, 0, 0]])
    np.testing.assert_array_equal(filled, 1)
    np.testing.assert_array_equal(index, [[3, 4, 2, 1], [5, 1, 2, 0]])


def test_choose_of_too_few():
    index, is_positive, filled = chosen([[0, 1, 0, 0, 0]], [[1, 0, 0, 0, 0]], [[0.5] * 5], 5, 3)
    np.testing.assert_array_equal(is_positive, [[1, 0, 0, 0, 0]])
    np.testing.assert_array_equal(filled, [[1, 1, 0, 0, 0]])
    np.testing.assert_array_equal(index[0, :2], [1, 0])
    _, is_positive, filled = chosen([[0, 0]], [[0, 0]], [[0.5, 0.5]], 2, 1)
    assert not is_positive.any() and not filled.any()


def test_choose_never_twice_and_as_many_as_there_are():
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, (20, 200))
    chance = keras.random.uniform(kind.shape, seed=1)
    index, is_positive, filled = chosen(kind == 1, kind == 2, chance, 120, 40)
    for row in range(20):
        picked = kind[row, index[row]]
        assert len(set(index[row, filled[row]])) == filled[row].sum() == 40 + min(80, (kind[row] == 2).sum())
        assert (picked[is_positive[row]] == 1).all() and is_positive[row].sum() == 40
        assert (picked[filled[row] & ~is_positive[row]] == 2).all()
