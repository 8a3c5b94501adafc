import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.data import augment
from mrcnn.data.batches import DataGenerator
from mrcnn.data.dataset import Dataset

RNG = np.random.default_rng


@pytest.fixture(scope="module")
def iaa():
    """imgaug's augmenters; the only skip is an environment in which imgaug itself cannot be imported."""
    try:
        return augment.import_imgaug().augmenters
    except ImportError as error:
        pytest.skip(str(error))


def sample(count=1):
    """An image 40 x 60, noise in the mask's place, and an L-shaped mask, in the last of `count` channels."""
    mask = np.zeros((40, 60, count), bool)
    mask[5:30, 8:14, -1] = True
    mask[24:30, 8:44, -1] = True
    noise = np.random.default_rng(0).integers(100, 255, (40, 60, 3), dtype="uint8")
    return noise * mask[..., -1:], mask


def test_flip(iaa):
    image, mask = sample(count=7)
    new_image, new_mask = augment.augment(image, mask, iaa.Fliplr(1.0))
    np.testing.assert_array_equal(new_image, image[:, ::-1])
    np.testing.assert_array_equal(new_mask, mask[:, ::-1])
    assert new_mask.dtype == bool and new_image.dtype == np.uint8


def test_random_choices_are_the_same_for_image_and_mask(iaa):
    image, mask = sample()
    flipped = []
    for _ in range(20):
        new_image, new_mask = augment.augment(image, mask, iaa.Fliplr(0.5))
        np.testing.assert_array_equal(new_image.any(axis=-1), new_mask[..., 0])
        flipped.append(bool(new_mask[10, 50, 0]))
    assert set(flipped) == {True, False}


@pytest.mark.parametrize("angle", [90, 180, 30])
def test_rotation(iaa, angle):
    image, mask = sample()
    new_image, new_mask = augment.augment(image, mask, iaa.Affine(rotate=angle, order=0))
    moved = new_image.any(axis=-1)
    assert new_mask[..., 0].sum() > 100 and not np.array_equal(new_mask, mask)
    # Both are rotated about the same point; nearest neighbours may differ on the edge.
    assert (moved != new_mask[..., 0]).mean() < 0.01
    if angle == 180:
        np.testing.assert_array_equal(new_mask, mask[::-1, ::-1])


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("Flipud", {"p": 1}),
        ("Rot90", {"k": 1}),
        ("Rotate", {"rotate": 20, "order": 0}),
        ("ShearX", {"shear": 15, "order": 0}),
        ("TranslateX", {"px": 9}),
        ("ScaleY", {"scale": 0.7, "order": 0}),
        ("Crop", {"px": 5}),
        ("Pad", {"px": 6}),
        ("CropAndPad", {"px": (-5, -5, 5, 5)}),
        ("PiecewiseAffine", {"scale": 0.06, "order": 0}),
        ("PerspectiveTransform", {"scale": 0.1}),
        ("Jigsaw", {"nb_rows": 4, "nb_cols": 4, "max_steps": (3, 5), "allow_pad": False}),
        ("WithPolarWarping", {}),
        ("TotalDropout", {"p": 1}),
    ],
)
def test_every_kind_of_geometry_reaches_the_mask(iaa, name, arguments):
    """The image shows where its pixels went; the mask must have gone there. In the original only eight named augmenters
    reached masks; others, such as Rot90, left them where they were."""
    mask = np.pad(sample()[1], ((4, 20), (0, 4), (0, 0)))
    image = np.where(mask, np.uint8(220), np.uint8(20)).repeat(3, axis=-1)
    children = [iaa.Fliplr(1)] if name == "WithPolarWarping" else []
    new_image, new_mask = augment.augment(image, mask, getattr(iaa, name)(*children, **arguments), RNG(1))
    assert (new_mask != mask).mean() > 0.02
    assert ((new_image[..., 0] > 120) != new_mask[..., 0]).mean() < 0.025


@pytest.mark.parametrize(
    "name", "Invert CoarseDropout Cutout MotionBlur MaxPooling Superpixels Solarize Fog Snowflakes".split()
)
def test_everything_else_leaves_the_mask(iaa, name):
    image, mask = sample(count=2)
    arguments = {"p": 1} if name in ("Invert", "Solarize") else {"p": 0.3} if name == "CoarseDropout" else {}
    new_image, new_mask = augment.augment(image, mask, getattr(iaa, name)(**arguments), RNG(1))
    np.testing.assert_array_equal(new_mask, mask)
    assert (new_image != image).mean() > 0.01


def test_a_new_size_is_refused(iaa):
    image, mask = sample()
    message = r"changed the image from \(40, 60, 3\) to \(60, 40, 3\); give it keep_size=True"
    with pytest.raises(ValueError, match=message):
        augment.augment(image, mask, iaa.Rot90(1, keep_size=False))
    new_image, new_mask = augment.augment(image, mask, iaa.Rot90(1, keep_size=True))
    assert new_image.shape == image.shape and new_mask.shape == mask.shape
    assert ((new_image.max(axis=-1) > 128) == new_mask[..., 0]).mean() > 0.95


@pytest.mark.parametrize("name, arguments", [("Multiply", (0.5,)), ("GaussianBlur", (2.0,)), ("Add", (30,))])
def test_pixels_change_without_the_mask(iaa, name, arguments):
    image, mask = sample(count=2)
    new_image, new_mask = augment.augment(image, mask, getattr(iaa, name)(*arguments))
    np.testing.assert_array_equal(new_mask, mask)
    assert new_image.dtype == np.uint8 and (new_image != image).mean() > 0.1
    if name == "Multiply":
        np.testing.assert_allclose(new_image, image * 0.5, atol=1)


def test_no_instances(iaa):
    image, mask = sample()[0], np.zeros((40, 60, 0), bool)
    new_image, new_mask = augment.augment(image, mask, iaa.Fliplr(1.0))
    np.testing.assert_array_equal(new_image, image[:, ::-1])
    assert new_mask.shape == (40, 60, 0)


def test_in_the_generator(iaa):
    class Toy(Config):
        NUM_CLASSES = 2
        IMAGES_PER_GPU = 1
        IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
        RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)

    class One(Dataset):
        def load_image(self, image_id):
            return np.pad(sample()[0], ((0, 24), (0, 4), (0, 0)))

        def load_mask(self, image_id):
            return np.pad(sample()[1], ((0, 24), (0, 4), (0, 0))), np.array([1])

    dataset = One()
    dataset.add_class("toy", 1, "one")
    dataset.add_image("toy", 0, None)
    dataset.prepare()
    flip = DataGenerator(dataset, Toy(), augmentation=iaa.Fliplr(1.0))[0][0]
    assert flip["input_gt_boxes"][0, 0].tolist() == [5, 64 - 44, 30, 64 - 8]
    half = DataGenerator(
        dataset, Toy(), augmentation=iaa.Sequential([iaa.Fliplr(0.5), iaa.Multiply((0.5, 1.5))]), steps=9
    )
    batches = [half[i][0] for i in range(9)]
    assert {int(batch["input_gt_boxes"][0, 0, 1]) for batch in batches} == {8, 64 - 44}
    for i in reversed(range(9)):  # seeded: batch i is batch i
        np.testing.assert_array_equal(half[i][0]["input_image"], batches[i]["input_image"])
    spared = DataGenerator(dataset, Toy(), augmentation=iaa.Fliplr(1.0), no_augmentation_sources=["toy"])[0][0]
    assert spared["input_gt_boxes"][0, 0].tolist() == [5, 8, 30, 44]


# Built-in recipes


def test_recipe_flip():
    image, mask = sample(count=2)
    seen = set()
    for seed in range(20):
        new_image, new_mask = augment.augment(image, mask, "flip", np.random.default_rng(seed))
        flipped = not np.array_equal(new_image, image)
        step = -1 if flipped else 1
        np.testing.assert_array_equal(new_image, image[:, ::step])
        np.testing.assert_array_equal(new_mask, mask[:, ::step])
        seen.add(flipped)
    assert seen == {True, False}


@pytest.mark.parametrize("factor, count", [(0.5, 0.25), (1.0, 1.0), (1.5, 2.25)])
def test_recipe_scale(factor, count):
    """The shape keeps its proportions and stays on its place in the image; what leaves the window is cut."""
    image, mask = np.zeros((40, 60, 3), "uint8"), np.zeros((40, 60, 1), bool)
    mask[16:24, 26:34] = True
    image[mask[..., 0]] = 200
    areas = []
    for seed in range(10):
        new_image, new_mask = augment.scale(image, mask, np.zeros((0, 2)), np.random.default_rng(seed), factor, factor)[
            :2
        ]
        assert new_image.shape == image.shape and new_mask.shape == mask.shape
        bright = new_image[..., 0] > 150
        assert (bright != new_mask[..., 0]).mean() < 0.02
        areas.append(new_mask.sum())
    assert max(areas) == pytest.approx(64 * count, rel=0.15)
    if factor == 0.5:
        assert (new_image == 127).all(-1).mean() == pytest.approx(0.75, abs=0.01)


def test_recipe_turn():
    image, mask = sample(count=2)
    turns = set()
    for seed in range(20):
        new_image, new_mask = augment.augment(image, mask, "turn", np.random.default_rng(seed))
        quarters = 0 if np.array_equal(new_image, image) else 2  # the image is not square
        np.testing.assert_array_equal(new_image, np.rot90(image, quarters))
        np.testing.assert_array_equal(new_mask, np.rot90(mask, quarters))
        new_image, new_mask = augment.augment(image[:, :40], mask[:, :40], "turn", np.random.default_rng(seed))
        (quarters,) = [k for k in range(4) if np.array_equal(new_image, np.rot90(image[:, :40], k))]
        np.testing.assert_array_equal(new_mask, np.rot90(mask[:, :40], quarters))
        turns.add(quarters)
    assert turns == {0, 1, 2, 3}


def test_recipe_colour():
    image, mask = sample()
    new_image, new_mask = augment.augment(image, mask, "colour", np.random.default_rng(1))
    np.testing.assert_array_equal(new_mask, mask)
    inside = mask[..., 0]
    assert new_image.dtype == np.uint8 and (new_image != image)[inside].mean() > 0.5
    assert np.abs(new_image.astype(int) - image).mean() < 80


def test_recipes_follow_each_other_and_the_seed():
    image, mask = sample()
    one = augment.augment(image, mask, "flip,scale,colour", np.random.default_rng(4))
    two = augment.augment(image, mask, "flip,scale,colour", np.random.default_rng(4))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="There is no augmentation 'color'; known are flip, turn, scale, colour."):
        augment.augment(image, mask, "flip,color")


# Albumentations


def test_albumentations():
    albumentations = pytest.importorskip("albumentations", reason="albumentations is not installed")
    image, mask = sample(count=3)
    pipeline = albumentations.Compose([albumentations.HorizontalFlip(p=0.5), albumentations.GaussNoise(p=1)])
    seen = set()
    for seed in range(12):
        new_image, new_mask = augment.augment(image, mask, pipeline, np.random.default_rng(seed))
        again, _ = augment.augment(image, mask, pipeline, np.random.default_rng(seed))
        np.testing.assert_array_equal(new_image, again)
        flipped = bool(new_mask[10, 50, -1])
        np.testing.assert_array_equal(new_mask, mask[:, ::-1] if flipped else mask)
        assert (new_image != (image[:, ::-1] if flipped else image)).mean() > 0.5
        seen.add(flipped)
    assert seen == {True, False}
    _, empty = augment.augment(image, mask[..., :0], pipeline)
    assert empty.shape == (40, 60, 0)
    with pytest.raises(ValueError, match="keep the size"):
        augment.augment(image, mask, albumentations.Compose([albumentations.Resize(20, 30)]))


# Keypoints

COLOURS = np.array([[250, 20, 20], [20, 250, 20], [20, 20, 250], [250, 250, 20]], "uint8")


def marks():
    """An image 64 x 64 with four patches of colour, their mask, and their centres as keypoints of one object."""
    image, mask = np.zeros((64, 64, 3), "uint8"), np.zeros((64, 64, 1), bool)
    places = [(20, 22), (42, 26), (30, 44), (45, 41)]  # x, y
    for (x, y), colour in zip(places, COLOURS, strict=True):
        image[y - 3 : y + 4, x - 3 : x + 4] = colour
        mask[y - 3 : y + 4, x - 3 : x + 4] = True
    return image, mask, np.array([[(x, y, 2) for x, y in places]], "float32")


def check_points(augmentation, mirrored):
    """The points are on their colours afterwards; where the image was mirrored, those of the pair (0, 1) exchanged."""
    image, mask, points = marks()
    for seed in range(3):
        new_image, new_mask, moved = augment.augment(image, mask, augmentation, RNG(seed), points, [(0, 1)])
        assert moved.shape == points.shape and moved.dtype == np.float32
        inside = ((moved[0, :, :2] >= 0) & (moved[0, :, :2] <= 63)).all(axis=1)
        assert inside.sum() >= 2
        x, y = np.round(moved[0, inside, :2]).astype(int).T
        expected = COLOURS[[1, 0, 2, 3]] if mirrored else COLOURS
        assert np.abs(new_image[y, x].astype(int) - expected[inside]).max() <= 60
        assert new_mask[y, x].all()
        # To half a pixel: the centre of the patch is where the point is.
        for (px, py), colour in zip(moved[0, inside, :2], expected[inside], strict=True):
            rows, columns = np.nonzero((np.abs(new_image.astype(int) - colour) <= 60).all(axis=-1))
            if len(rows) == 49:
                np.testing.assert_allclose([columns.mean(), rows.mean()], [px, py], atol=0.51)


@pytest.mark.parametrize(
    "name, arguments, mirrored",
    [
        ("Fliplr", {"p": 1}, True),
        ("Flipud", {"p": 1}, True),
        ("Rot90", {"k": 1}, False),
        ("Rotate", {"rotate": 25, "order": 0}, False),
        ("ScaleX", {"scale": 0.8, "order": 0}, False),
        ("TranslateX", {"px": 9}, False),
        ("Crop", {"px": 6}, False),
        ("Multiply", {"mul": 0.9}, False),
        ("PerspectiveTransform", {"scale": 0.06}, False),
    ],
)
def test_keypoints_with_imgaug(iaa, name, arguments, mirrored):
    check_points(getattr(iaa, name)(**arguments), mirrored)


def test_two_mirrors_are_a_turn(iaa):
    check_points(iaa.Sequential([iaa.Fliplr(1), iaa.Flipud(1)]), mirrored=False)


@pytest.mark.parametrize(
    "name, arguments, mirrored",
    [
        ("HorizontalFlip", {}, True),
        ("VerticalFlip", {}, True),
        ("Transpose", {}, True),
        ("Rotate", {"limit": (25, 25), "interpolation": 0}, False),
        ("Affine", {"translate_px": {"x": 9, "y": 0}, "scale": 1}, False),
        ("RandomBrightnessContrast", {"brightness_limit": (0.05, 0.1)}, False),
    ],
)
def test_keypoints_with_albumentations(name, arguments, mirrored):
    albumentations = pytest.importorskip("albumentations", reason="albumentations is not installed")
    check_points(albumentations.Compose([getattr(albumentations, name)(p=1, **arguments)]), mirrored)


def test_points_that_albumentations_drops():
    albumentations = pytest.importorskip("albumentations", reason="albumentations is not installed")
    image, mask, points = marks()
    points[0, 3] = 63, 63, 2
    for seed in range(5):
        pipeline = albumentations.Compose([albumentations.OpticalDistortion(distort_limit=(0.8, 0.9), p=1)])
        *_, moved = augment.augment(image, mask, pipeline, RNG(seed), points, [(0, 1)])
        assert moved.shape == points.shape and np.isfinite(moved).all() and (moved[0, :3, 2] == 2).all()


def test_one_of_albumentations_stays_one():
    albumentations = pytest.importorskip("albumentations", reason="albumentations is not installed")
    image, mask, points = marks()
    either = albumentations.OneOf([albumentations.HorizontalFlip(p=1), albumentations.VerticalFlip(p=1)], p=1)
    for seed in range(5):
        *_, moved = augment.augment(image, mask, albumentations.Compose([either]), RNG(seed), points)
        assert ((moved[..., 0] == points[..., 0]).all()) != ((moved[..., 1] == points[..., 1]).all())


@pytest.mark.parametrize("recipe", ["turn", "scale", "colour"])
def test_keypoints_with_recipes(recipe):
    check_points(recipe, mirrored=False)


def test_keypoints_with_the_recipe_flip():
    image, mask, points = marks()
    seen = set()
    for seed in range(10):
        _, _, moved = augment.augment(image, mask, "flip", RNG(seed), points, [(0, 1)])
        flipped = bool(moved[0, 2, 0] != points[0, 2, 0])
        expected = points[:, [1, 0, 2, 3]] * (-1, 1, 1) + (63, 0, 0) if flipped else points
        np.testing.assert_array_equal(moved, expected)
        seen.add(flipped)
    assert seen == {True, False}


def test_without_imgaug(monkeypatch):
    monkeypatch.setitem(sys.modules, "imgaug", None)
    with pytest.raises(ImportError) as error:
        augment.augment(*sample(), augmentation=SimpleNamespace(to_deterministic=None))
    message = str(error.value)
    assert message.startswith("augmentation= needs imgaug, which did not import (") and "pip install imgaug" in message
    assert message.endswith(".") and "\n" not in message


def test_a_missing_library_of_imgaug_is_named(monkeypatch):
    """On a server without a screen, cv2 often lacks libGL."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("imgaug", "cv2")]:
        monkeypatch.delitem(sys.modules, name)

    class NoScreen:
        def find_spec(self, name, path=None, target=None):
            if name == "cv2":
                raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(sys, "meta_path", [NoScreen(), *sys.meta_path])
    with pytest.raises(ImportError, match=r"\(libGL.so.1: cannot open shared object file\).*apt-get install libgl1"):
        augment.import_imgaug()
