"""What lies beside the image stays beside it, whatever augmentation does to both."""

import numpy as np
import pytest
from toy_data import Toy

from mrcnn.data.augment import import_imgaug
from mrcnn.data.batches import DataGenerator
from mrcnn.data.dataset import Dataset
from mrcnn.data.samples import load_image_gt, load_sample
from mrcnn.settings import ModernConfig

WIDE = (60, 120)  # of the images; in a square of 128, rows 32 to 96 are image


class Wide(Dataset):
    """Images of one colour, wider than high, each with a rectangle of another."""

    GROUND, OBJECT = (40, 200, 90), (210, 60, 150)

    def __init__(self, count=40):
        super().__init__()
        self.add_class("toy", 1, "one")
        self.add_class("toy", 2, "two")
        for i in range(count):
            self.add_image("toy", i, f"{i}.png")
        self.prepare()

    def load_image(self, image_id):
        image = np.full((*WIDE, 3), self.GROUND, "uint8")
        image[self.load_mask(image_id)[0][..., 0]] = self.OBJECT
        return image

    def load_mask(self, image_id):
        rng = np.random.default_rng(image_id)
        y, x = rng.integers((8, 12)[0], 20), rng.integers(8, 60)
        mask = np.zeros((*WIDE, 1), bool)
        mask[y : y + 30, x : x + 40] = True
        return mask, np.array([1])


class WideConfig(Toy):
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 128
    IMAGES_PER_GPU = 1
    USE_MINI_MASK = False
    IMAGE_PADDING = "mean"
    MEAN_PIXEL = ModernConfig.MEAN_PIXEL
    PIXEL_STD = ModernConfig.PIXEL_STD


def pixels(colour):
    """The network's values of a colour."""
    return (np.array(colour) - WideConfig.MEAN_PIXEL) / WideConfig.PIXEL_STD


def near(molded, colour):
    return (np.abs(molded - pixels(colour)) < 0.1).all(axis=-1)


def imgaug(name, **arguments):
    try:
        return getattr(import_imgaug().augmenters, name)(**arguments)
    except ImportError as error:
        pytest.skip(str(error))


def albumentations(name, **arguments):
    library = pytest.importorskip("albumentations", reason="albumentations is not installed")
    return library.Compose([getattr(library, name)(p=1, **arguments)])


WAYS = {
    "scale": lambda: "scale",
    "turn": lambda: "turn",
    "all": lambda: "flip,turn,scale",
    "imgaug turned": lambda: imgaug("Rot90", k=1),
    "imgaug moved": lambda: imgaug("Affine", rotate=(-40, 40), scale=(0.6, 1.2), order=0),
    "albumentations turned": lambda: albumentations("Transpose"),
    "albumentations moved": lambda: albumentations("Affine", rotate=(-40, 40), scale=(0.6, 1.2), interpolation=0),
}


@pytest.mark.parametrize("way", WAYS)
def test_objects_are_seen_and_all_else_is_mean(way):
    """The window from before the augmentation blanked objects, 27 of 40 with "turn", and left margins that are none."""
    generator = DataGenerator(Wide(), WideConfig(), shuffle=False, augmentation=WAYS[way]())
    moved = 0
    for i in range(40):
        (batch,) = generator[i]
        molded, mask = batch["input_image"][0], batch["input_gt_masks"][0, :, :, 0]
        assert mask.any()
        # All of the object but its edge, where colours mix, is seen in its colour.
        assert near(molded, Wide.OBJECT)[mask].mean() > 0.75
        ground, empty = near(molded, Wide.GROUND), (molded == 0).all(axis=-1)
        assert (mask | ground | empty).mean() > 0.93 and not (mask & empty).any()
        assert empty.any() and ground.any()
        y1, x1, y2, x2 = batch["input_image_meta"][0, 7:11].astype(int)
        inside = np.zeros((128, 128), bool)
        inside[y1:y2, x1:x2] = True
        assert empty[~inside].all()
        for edge in (~empty[y1, x1:x2], ~empty[y2 - 1, x1:x2], ~empty[y1:y2, x1], ~empty[y1:y2, x2 - 1]):
            assert edge.any()  # no smaller window would do
        moved += (y1, x1, y2, x2) != (32, 0, 96, 128)
    assert moved > 10


def test_without_augmentation_nothing_changes():
    (batch,) = DataGenerator(Wide(), WideConfig(), shuffle=False)[0]
    np.testing.assert_array_equal(batch["input_image_meta"][0, 7:11], [32, 0, 96, 128])
    empty = (batch["input_image"][0] == 0).all(axis=-1)
    assert empty[:32].all() and empty[96:].all() and not empty[32:96].any()


def test_the_gray_of_scale_is_padding_only_where_padding_is_mean():
    class Small:
        """Draws that make the image half its size and put it in the middle."""

        def uniform(self, low, high):
            return low

        def random(self, size=None):
            return 0.25 if size is None else np.full(size, 0.5)

    for padding, value in (("mean", np.rint(ModernConfig.MEAN_PIXEL)), ("black", 0)):
        sample = load_sample(Wide(1), WideConfig().update(IMAGE_PADDING=padding), 0, augmentation="scale", rng=Small())
        np.testing.assert_array_equal(sample.meta[7:11], [48, 32, 80, 96])
        assert sample.inside.sum() == 32 * 64 and sample.inside[48:80, 32:96].all()
        assert (sample.image[:32] == 127).all()  # scale's own
        np.testing.assert_array_equal(sample.image[40, 64], np.broadcast_to(value, 3))  # what padded the image before
        assert len(load_image_gt(Wide(1), WideConfig().update(IMAGE_PADDING=padding), 0)) == 5
