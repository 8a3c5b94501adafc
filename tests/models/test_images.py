"""What `detect` says to what is no list of images, before any network runs."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mrcnn.models.images import image_list
from mrcnn.ops.images import odd_values

RGB = np.random.default_rng(0).integers(0, 255, (6, 8, 3)).astype("uint8")


@pytest.mark.parametrize(
    "images, words",
    [
        (RGB, r"takes a list of images, and this is one of shape \(6, 8, 3\): write \[image\]"),
        (RGB[..., 0], r"and this is one of shape \(6, 8\)"),
        ("a.jpg", "takes a list of images, not a path, 'a.jpg'"),
        (Path("a.jpg"), "not a path, 'a.jpg'"),
        (None, "not NoneType"),
        (5, "not int"),
        ({"a": RGB}, "not dict"),
        (Image.fromarray(RGB), "not Image"),
        ([RGB, None], r"images\[1\] is None, which OpenCV gives for a file that it cannot read"),
        (["a.jpg"], r"images\[0\] is a path, 'a.jpg'; read it with mrcnn.data.reading.read_image"),
        ([Path("a.jpg")], r"images\[0\] is a path"),
        ([RGB, [1, [2]]], r"images\[1\] is no image"),
        ([RGB[None]], r"images\[0\] is no image, .*: uint8 \(1, 6, 8, 3\)"),
        ([RGB[:0]], r"uint8 \(0, 8, 3\)"),
        ([RGB.astype("complex64")], "complex64"),
        ([RGB.astype(object)], "object"),
        ([np.where(RGB > 200, np.nan, RGB)], r"images\[0\] has values that are not finite"),
    ],
)
def test_what_is_no_list_of_images(images, words):
    with pytest.raises(ValueError, match=words) as error:
        image_list(images)
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("error")
def test_what_is_one():
    for images in ([], [RGB, RGB[..., 0]], (RGB,), np.stack([RGB, RGB]), iter([RGB]), [Image.fromarray(RGB)]):
        assert all(isinstance(image, np.ndarray) for image in image_list(images))
    same = [RGB, RGB.astype("float32"), RGB.astype("int64"), (257 * RGB.astype("uint16")), 0 * RGB.astype("float32")]
    assert [odd_values(image) for image in same] == [None] * len(same)


@pytest.mark.parametrize(
    "image, words",
    [
        (RGB / 255, "values of 0..1, .*; multiply it by 255"),
        (RGB > 100, "values of 0..1"),
        (RGB - 120.0, "negative values, as if mold_image had been applied"),
        (RGB.astype("uint16"), "An image of uint16, in which white is 65535, has no value above 25.; use uint8"),
        (16 * RGB.astype("int32"), "values up to 4...; white is 255"),
    ],
)
def test_values_that_are_hardly_those_of_images(image, words):
    with pytest.warns(UserWarning, match=rf"images\[1\]: .*{words}"):
        image_list([RGB, image])
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        image_list([image])
    assert len(given) == 1
