"""Objects pasted from one image into another, pixel by pixel."""

from types import SimpleNamespace

import numpy as np
from kites import KiteConfig, Kites

from mrcnn.data.batches import DataGenerator
from mrcnn.data.copy_paste import Seen, paste
from mrcnn.data.proposals import as_points, from_points


def seen(value, *boxes, class_ids=None, points=None):
    """An image of one value, 8 x 8, with objects in boxes (y1, x1, y2, x2)."""
    masks = np.zeros((8, 8, len(boxes)), bool)
    for i, (y1, x1, y2, x2) in enumerate(boxes):
        masks[y1:y2, x1:x2, i] = True
    ids = np.array(class_ids or [1] * len(boxes), "int32")
    points = np.zeros((len(boxes), 1, 3), "float32") if points is None else np.array(points, "float32")
    inside = np.zeros((8, 8), bool)
    inside[:6] = True
    return Seen(np.full((8, 8, 3), value, "uint8"), masks, ids, points, inside, np.zeros((0, 4, 3)), (8, 8, 3), 1.0)


def draws(*values):
    """A generator that gives these numbers."""
    return SimpleNamespace(random=lambda count: np.array(values[:count]))


def test_pasted_pixels_and_masks():
    """Of three objects the second and a crowd are not taken; the first hides a quarter of what was there."""
    own = seen(10, (0, 0, 4, 4), points=[[(3, 3, 2)]])
    other = seen(200, (2, 2, 7, 6), (0, 0, 1, 1), (5, 5, 8, 8), class_ids=[2, 3, -1])
    result = paste(own, other, draws(0.4, 0.6, 0.1))
    assert result.class_ids.tolist() == [1, 2]
    assert (result.image[2:7, 2:6] == 200).all() and (result.image == 200).sum() == 3 * 20
    assert result.masks[..., 0].sum() == 16 - 4 and not result.masks[2:4, 2:4, 0].any()
    np.testing.assert_array_equal(result.masks[..., 1], other.masks[..., 0])
    assert result.inside.sum() == 48 + 4  # row 6 of the object lies beside the image
    assert result.points[:, 0, 2].tolist() == [1, 0]  # below the object, and of the pasted one
    assert own.points[0, 0, 2] == 2 and (own.image == 10).all()


def test_proposals_of_what_is_pasted_come_first():
    """Of three, the one whose middle is on the pasted object."""
    own = seen(10)._replace(corners=as_points([(0, 0, 8, 8)]))
    other = seen(200, (2, 2, 6, 6))._replace(corners=as_points([(0, 0, 2, 2), (1, 2, 6, 7), (0, 0, 8, 3)]))
    found = from_points(paste(own, other, draws(0.1)).corners, (8, 8))
    assert found.tolist() == [[1, 2, 6, 7], [0, 0, 8, 8]]


def test_every_source_has_images_to_paste():
    """Of eight images one is of a source of its own: the others get objects of each other, it gets its own."""
    kites = Kites(8)
    for i, info in enumerate(kites.image_info):
        info["source"] = "own" if i == 5 else "kites"
    generator = DataGenerator(kites, KiteConfig().update(COPY_PASTE=1.0), augment=True)
    for i in range(8):
        pasted = [generator._pasted(i, np.random.default_rng(seed)) for seed in range(6)]
        assert None not in pasted


def test_an_image_of_another_size_is_blamed_itself():
    """Image 5 is four times as large; whatever it would have been pasted into is as it was."""
    kites = Kites(8)
    image, masks = kites.load_image, kites.load_mask
    kites.load_image = lambda i: np.tile(image(i), (2, 2, 1)) if i == 5 else image(i)
    kites.load_mask = lambda i: (np.tile(masks(i)[0], (2, 2, 1)), masks(i)[1]) if i == 5 else masks(i)
    kites.load_keypoints = lambda i: None
    kites.image_info[5].update(height=128, width=128)
    config = KiteConfig().update(COPY_PASTE=1.0, IMAGE_RESIZE_MODE="pad64", USE_MASK=True)
    for seed in (0, 3):  # which begin with the image itself, and with one that it is pasted into
        generator = DataGenerator(kites, config, augment=True, steps=6, seed=seed)
        for i in range(6):
            generator[i]
        assert list(generator.bad) == [5]
        assert "the image is (128, 128, 3) after resizing; the model wants (64, 64, 3)" in str(generator.bad[5])


def test_nothing_chosen_changes_nothing():
    own = seen(10, (0, 0, 4, 4))
    result = paste(own, seen(200, (2, 2, 7, 6)), draws(0.5))
    np.testing.assert_array_equal(result.masks, own.masks)
    np.testing.assert_array_equal(result.image, own.image)


def test_batches_with_pasted_objects():
    """Training that augments has more objects; validation has its own; an image that cannot be read is passed over."""
    config, plain = KiteConfig().update(COPY_PASTE=1.0), KiteConfig()
    counts = {}
    for name, settings, augment in (("pasted", config, True), ("plain", plain, True), ("val", config, False)):
        batch = DataGenerator(Kites(8), settings, augment=augment, seed=3)[0][0]
        counts[name] = (batch["input_gt_class_ids"] > 0).sum()
    assert counts["pasted"] > counts["plain"] == counts["val"]
    broken = Kites(8)
    load = broken.load_image
    broken.load_image = lambda i: load(i) if i else 1 / 0
    generator = DataGenerator(broken, config, augment=True, seed=3)
    assert all(generator[i][0]["input_image"].shape[0] == 4 for i in range(len(generator)))
