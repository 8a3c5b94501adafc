"""What is said of a set before training: a line for each thing that it cannot teach."""

from array import array

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.data.annotations import Annotation, RunLengths
from mrcnn.data.dataset import Dataset
from mrcnn.data.remarks import remarks
from mrcnn.ops.masks import encode_rle


class Settings(Config):
    NUM_CLASSES = 3
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 128
    MAX_GT_INSTANCES = 3


def square(side, class_id=1, crowd=False, box=False, mask=True):
    """An object of so many pixels a side."""
    shape = (array("d", [1, 1, 1 + side, 1, 1 + side, 1 + side, 1, 1 + side]),) if mask else ()
    return Annotation(1, 1, 1, shape, array("d", [1, 1, side, side]) if box else None, crowd=crowd, class_id=class_id)


def said(*images, **settings):
    dataset = Dataset()
    dataset.add_class("own", 1, "cat")
    dataset.add_class("own", 2, "dog")
    for i, objects in enumerate(images):
        dataset.add_image("own", i, None, height=64, width=64, annotations=objects)
    dataset.prepare()
    return list(remarks(dataset, Settings().update(**settings)))


BOTH = [square(30), square(30, 2)]


@pytest.mark.parametrize(
    "images, expected",
    [
        ([BOTH, []], []),
        ([[], []], ["The set has no object in its 2 images: there is nothing to learn."]),
        ([[square(30, crowd=True)], []], ["The set has only crowds in its 2 images: there is nothing to learn."]),
        ([[square(30, 2), square(30, crowd=True)]], ["Of 1 classes there is no object: cat."]),
        (
            [BOTH * 2, BOTH * 3, BOTH],
            ["2 images have more objects than MAX_GT_INSTANCES = 3, of which a random choice is used; the most is 6."],
        ),
    ],
)
def test_remarks(images, expected):
    assert said(*images) == expected


@pytest.mark.parametrize("form", ["box", "polygon", "run lengths"])
@pytest.mark.parametrize("side, small", [(3, True), (4, False)])  # images of 64 pixels grow to 128
def test_small_objects(form, side, small):
    tiny = square(side, box=form == "box")
    if form == "run lengths":
        tiny.segmentation = RunLengths((64, 64), encode_rle(tiny.mask(64, 64))["counts"])
    lines = said([*BOTH, tiny])
    assert len(lines) == small
    assert said([*BOTH, tiny], IMAGE_RESIZE_MODE="stretch") == lines
    assert not small or lines[0].startswith("1 of 3 objects are under 8 pixels where the network sees them, at IMAGE_M")


def test_objects_without_masks():
    images = [*BOTH, square(30, box=True, mask=False)]
    (line,) = said(images)
    assert line == "1 of 3 objects have no mask and are left out; USE_MASK = False trains on their boxes."
    assert said(images, USE_MASK=False) == []
    (line,) = said(images, DETECTOR="fcn")
    assert line == "1 of 3 objects have no mask: the pixels of their boxes count for nothing."


def test_what_is_known_of_a_set_without_masks():
    dataset = Dataset()
    assert list(remarks(dataset, Settings())) == []
    dataset.add_image("own", 0, None)
    nothing = ["The set has no object in its 1 images: there is nothing to learn."]
    assert list(remarks(dataset, Settings())) == nothing
    dataset.image_info[0]["annotations"] = [{"id": 1, "segmentation": []}]  # somebody's own, with no `load_mask`
    assert list(remarks(dataset, Settings())) == nothing


class Masks(Dataset):
    """Images of squares, without records."""

    def __init__(self, sides):
        super().__init__()
        self.add_class("own", 1, "cat")
        self.add_class("own", 2, "dog")
        for i, own in enumerate(sides):
            self.add_image("own", i, None, sides=own)
        self.prepare()

    def load_mask(self, image_id):
        sides = self.image_info[image_id]["sides"]
        masks = np.zeros((64, 64, len(sides)), bool)
        for i, side in enumerate(sides):
            masks[:side, :side, i] = True
        return masks, np.ones(len(sides), "int32")


def test_sets_without_records_are_looked_into():
    settings = Settings()
    assert list(remarks(Masks([[30], []]), settings)) == ["Of 1 classes there is no object: dog."]
    of_ten = "Of 10 images looked at: "
    assert list(remarks(Masks([[30, 30]] * 25), settings)) == []  # nobody knows of classes
    assert list(remarks(Masks([[]] * 25), settings)) == [
        of_ten + "The set has no object in its 10 images: there is nothing to learn."
    ]
    many, small = remarks(Masks([[30, 30, 30, 3]] * 25), settings)
    assert many.startswith(of_ten + "10 images have more objects than MAX_GT_INSTANCES = 3")
    assert small.startswith(of_ten + "10 of 40 objects are under 8 pixels")
    assert list(remarks(Masks([["no number"]] * 3), settings)) == []
