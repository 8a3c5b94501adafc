"""Repeat-factor sampling by hand."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
from kites import KiteConfig, Kites

from mrcnn.data.batches import DataGenerator
from mrcnn.data.repeats import repeat_factors, repeated


def dataset(*classes):
    """A set of images with objects of these class ids; negative for crowds."""
    objects = [[SimpleNamespace(class_id=abs(i), crowd=i < 0) for i in own] for own in classes]
    return SimpleNamespace(image_ids=np.arange(len(classes)), load_annotations=lambda i: objects[i])


def test_factors_are_those_of_the_rarest_class():
    """Class 1 is in 8 of 8 images, class 2 in 3, class 3 in 1 and in a crowd, at a threshold of a half."""
    found = repeat_factors(dataset([1], [1, -3], [1], [1], [1], [1, 2], [1, 2], [1, 2, 3]), 0.5)
    share = {2: 3 / 8, 3: 1 / 8}
    np.testing.assert_allclose(found, [1] * 5 + [np.sqrt(0.5 / share[2])] * 2 + [np.sqrt(0.5 / share[3])])
    assert repeat_factors(dataset([], [1]), 0.5).tolist() == [1, 1]


def test_an_image_that_cannot_be_read_comes_once():
    """It is named and passed over when its turn comes, as without REPEAT_THRESHOLD."""
    broken = dataset([1], [1], [1, 2])
    load = broken.load_annotations
    broken.load_annotations = lambda i: load(i) if i else Path("no/such.png").read_bytes()
    np.testing.assert_allclose(repeat_factors(broken, 0.6), [1, 1, np.sqrt(0.6 * 3)])


def test_a_pass_has_each_image_as_often_as_its_factor():
    """1, 1.5 and 2.5 are 5 images a pass; over many passes the mean is the factor."""
    factors = np.array([1, 1.5, 2.5])
    times = [np.bincount(repeated(factors, np.random.default_rng(i)), minlength=3) for i in range(400)]
    assert {x.sum() for x in times} == {5}
    assert np.all(np.abs(np.array(times) - factors) < 1)
    np.testing.assert_allclose(np.mean(times, axis=0), factors, atol=0.06)


def test_batches_of_a_set_with_a_rare_class():
    """A kite in 1 of 8 images, of another class than the rest: at a threshold of 1/2 it comes twice in a pass."""
    kites = Kites(8)
    objects = kites.load_annotations
    kites.load_annotations = lambda i: [SimpleNamespace(class_id=1 + (i == 3), crowd=False) for _ in objects(i)]
    config = KiteConfig().update(REPEAT_THRESHOLD=0.5, IMAGES_PER_GPU=3)
    generator = DataGenerator(kites, config, seed=1)
    assert len(generator) == 3  # 9 images
    for _ in range(2):
        seen = [i for batch in range(3) for i in generator.image_ids(batch)]
        assert np.bincount(seen).tolist() == [1, 1, 1, 2, 1, 1, 1, 1]
        generator.on_epoch_end()
    assert len(DataGenerator(kites, config, shuffle=False)) == 3 and len(DataGenerator(kites, KiteConfig())) == 2
