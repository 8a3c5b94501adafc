"""R-CNN's SVMs and ridge regression, on features that are made up."""

import numpy as np
import pytest

from mrcnn.ops.boxes import decode
from mrcnn.train import linear_models
from mrcnn.train.linear_models import BoxRidge, LinearModels, Regions, Rows, Svm

WIDTH = 6


def cloud(rng, count, axis, length=5.0):
    """Features [count, WIDTH] around one axis."""
    return rng.normal(0, 0.5, (count, WIDTH)).astype("float32") + length * np.eye(WIDTH, dtype="float32")[axis]


def images(count, seed=0):
    """Regions of images with an instance of class 1 or 2 each, a proposal that is shifted from it, which its last
    feature tells, and ten of background. Class 3 is in none of them."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        kind, shift = i % 2, rng.uniform(-0.15, 0.15)
        box = np.array([10.0, 20, 30, 50])
        near = box + np.array([1, 0, 1, 0]) * shift * 20
        far = np.array([60.0, 60, 70, 70]) + rng.uniform(0, 10, (10, 1))
        features = np.concatenate([cloud(rng, 2, kind), cloud(rng, 10, 2)])
        features[:2, -1] = 0, 30 * shift
        yield Regions(features, np.concatenate([[box], [near], far]), np.array([1 + kind]), np.ones(4))


def fitted(count=300):
    models = LinearModels(4, WIDTH, (0.1, 0.1, 0.2, 0.2))
    for regions in images(count):
        models.add(regions)
    return models, *models.fit()


def test_two_classes_are_separated():
    models, (kernel, bias), _ = fitted()
    assert kernel.shape == (WIDTH, 3) and bias.shape == (3,)
    assert mean_norm(images(300)) * models.scale == pytest.approx(20)
    for regions in images(10, seed=1):
        margins = regions.features @ kernel + bias
        kind = regions.class_ids[0] - 1
        assert margins[0, kind] > 0 and margins[0, 1 - kind] < 0 and (margins[2:, :2] < 0).all()
        assert (margins[:, 2] == linear_models.NEVER).all()


def mean_norm(regions):
    return np.mean([np.linalg.norm(x.features, axis=1).mean() for x in regions])


def test_boxes_are_moved_back():
    """By the ridge regression's penalty a little less than by the whole shift."""
    _, _, (kernel, bias) = fitted(600)
    assert kernel.shape == (WIDTH, 12) and bias.shape == (12,)
    assert not kernel[:, 8:].any() and not bias[8:].any()
    before, after = [], []
    for regions in images(20, seed=1):
        deltas = (regions.features[1] @ kernel + bias).reshape(3, 4)[regions.class_ids[0] - 1]
        moved = decode(regions.boxes[1], deltas * (0.1, 0.1, 0.2, 0.2))
        before.append(np.abs(regions.boxes[1] - regions.boxes[0]).max())
        after.append(np.abs(moved - regions.boxes[0]).max())
    assert np.mean(before) > 1 and np.mean(after) < 0.3 * np.mean(before)


def test_what_is_a_negative():
    """Regions with an IoU of 0.3 with an instance of the class, and those in a crowd, are neither."""
    boxes = np.array([[0, 0, 10, 10], [50, 50, 90, 90], [0, 0, 10, 4], [0, 0, 10, 2], [60, 60, 70, 70]], float)
    features = np.arange(5 * WIDTH, dtype="float32").reshape(5, WIDTH)
    models = LinearModels(3, WIDTH, np.ones(4))
    models.add(Regions(features, boxes, np.array([1, -2]), np.array([1, 1, 0])))
    first, second = models.svms
    np.testing.assert_array_equal(np.concatenate(first.negatives), features[[3]])
    np.testing.assert_array_equal(first.positives.all(), features[[0]])
    assert not second.new  # the image's source does not know the class
    models.add(Regions(features, boxes, np.array([1, -2]), np.ones(3)))
    np.testing.assert_array_equal(np.concatenate(second.negatives), features[[2, 3]])
    assert not len(second.positives)


def test_boxes_from_an_iou_of_0_6():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 6.1], [0, 0, 10, 5.9]])
    models = LinearModels(2, WIDTH, np.array([0.1, 0.1, 0.2, 0.2]))
    models.add(Regions(np.ones((3, WIDTH), "float32"), boxes, np.array([1]), np.ones(2)))
    (row,) = models.ridges[0].examples.all()
    np.testing.assert_allclose(row[-4:], [0, 1.95 / 6.1 / 0.1, 0, np.log(10 / 6.1) / 0.2], rtol=1e-5, atol=1e-6)


def test_hard_negatives():
    """Only those above -1 are kept; so many bring the next fit, and those of more that it puts below -1.2 go."""
    rng, svm = np.random.default_rng(0), Svm(2)
    assert svm.hard(np.full(3, np.inf)).tolist() == [0, 1, 2]
    svm.weights, svm.bias = np.array([1, 0], "float32"), 0.0
    assert svm.hard(np.array([-0.9, -1.1, 3, -5])).tolist() == [0, 2]
    svm.positives.add(rng.normal((10, 0), 0.1, (200, 2)).astype("float32"))
    svm.negatives = [rng.normal((-10, 0), 0.1, (500, 2)).astype("float32")]
    svm.add(np.zeros((0, 2), "float32"), np.array([[-0.9, 0], [3, 0]], "float32"), 1.0)
    assert svm.new == 2
    near = rng.normal((2, 0), 0.1, (linear_models.REFIT - 2, 2)).astype("float32")
    svm.add(np.zeros((0, 2), "float32"), near, 1.0)
    (negatives,) = svm.negatives
    margins = negatives @ svm.weights + svm.bias
    assert svm.new == 0 and len(margins) == linear_models.REFIT
    assert (negatives[:, 0] > 0).sum() == len(near) + 1 and (margins < linear_models.EASY).sum() == 1


def test_the_hardest_of_too_many_are_kept():
    rng, svm = np.random.default_rng(0), Svm(1, most=40)
    svm.add(
        rng.normal(3, 0.1, (20, 1)).astype("float32"),
        rng.permutation(np.linspace(0, 2, 90, dtype="float32"))[:, None],
        1.0,
    )
    (negatives,) = svm.negatives
    np.testing.assert_allclose(np.sort(negatives[:, 0]), np.linspace(0, 2, 90)[-40:], rtol=1e-5)


def test_memory_is_bounded_over_all_classes(monkeypatch):
    """Of every kind of rows; what is not hard costs nothing."""
    monkeypatch.setattr(linear_models, "MEMORY", 6 * 4 * 50 * 3 * WIDTH)
    models = LinearModels(4, WIDTH, np.ones(4))
    for regions in images(400):
        models.add(regions)
        for svm, ridge in zip(models.svms, models.ridges, strict=True):
            assert max(svm.positives.count, ridge.examples.count, sum(map(len, svm.negatives))) <= 100
    kernel, _ = models.fit()[0]
    far = next(images(1))._replace(features=np.full((12, WIDTH), -1e6 * kernel.sum(axis=1), "float32"))
    models.add(far)
    assert all(len(svm.negatives) == 1 for svm in models.svms[:2])


def test_the_first_negatives_are_all_kept_up_to_a_limit():
    models = LinearModels(2, 2, np.ones(4))
    far = np.array([[0, 0, 1, 1]] * 900, float)
    for _ in range(4):
        models.add(Regions(np.zeros((900, 2), "float32"), far, np.zeros(0, int), np.ones(2)))
    (svm,) = models.svms
    assert svm.bias == np.inf and sum(map(len, svm.negatives)) == svm.new == linear_models.REFIT


def test_without_examples():
    svm = Svm(3)
    svm.fit(1.0)
    assert svm.bias == linear_models.NEVER and not svm.weights.any()
    kernel, bias = BoxRidge(3).fit(1.0)
    assert kernel.shape == (3, 4) and not kernel.any() and not bias.any()


def test_a_fair_choice_of_rows():
    rows = Rows(1, most=100)
    for start in range(0, 1000, 50):
        rows.add(np.arange(start, start + 50, dtype="float32")[:, None])
        assert sum(map(len, rows.lots)) <= 200
    kept = rows.all()[:, 0]
    assert len(rows) == len(kept) == len(set(kept)) == 100
    assert 400 < kept.mean() < 600 and (kept < 500).sum() in range(35, 66)
