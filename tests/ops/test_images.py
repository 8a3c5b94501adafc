import warnings
from pathlib import Path

import numpy as np
import pytest
import skimage.transform
from PIL import Image

from mrcnn.ops import images
from mrcnn.ops.images import image_list, odd_values


@pytest.mark.parametrize("order", [0, 1])
def test_resize(golden, order):
    data = golden("utils_golden.npz", f"resize_order{order}")
    result = images.resize(data.ins["image"], **data.args)
    assert result.dtype == data.outs["image"].dtype
    # scikit-image 0.18 computed positions in float32 images in float32 too: values of up to 36 differ by 2e-4
    np.testing.assert_allclose(result, data.outs["image"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "float64"])
def test_resize_interpolates_bilinearly_and_sees_zero_beyond_the_border(dtype):
    image = np.array([[0, 1]], dtype)  # pixel centres at 0.5 and 1.5; the new ones are at 0.25, 0.75, 1.25 and 1.75
    result = images.resize(image, (1, 4), preserve_range=True)
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, [[0, 0.25, 0.75, 0.75]])
    scale = 255 if dtype == "uint8" else 1
    np.testing.assert_allclose(images.resize(image, (1, 4)), np.array([[0, 0.25, 0.75, 0.75]]) / scale)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("size", [(7, 5), (31, 44), (200, 150), (1, 1), (31, 200), (64, 3)])
@pytest.mark.parametrize("preserve_range", [False, True])
def test_resize_is_equal_to_scikit_image(dtype, size, preserve_range):
    image = np.random.default_rng(4).uniform(0.1, 1, (31, 44, 3))
    image = image.astype(dtype) if dtype.startswith("float") else (image * np.iinfo(dtype).max).astype(dtype)
    for x in (image, image[..., 0]):
        expected = skimage.transform.resize(
            x, size, order=1, mode="constant", anti_aliasing=False, preserve_range=preserve_range
        )
        result = images.resize(x, size, preserve_range=preserve_range)
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)


def test_resize_hands_its_options_to_scikit_image():
    image = np.random.default_rng(4).integers(0, 255, (40, 40, 3), dtype="uint8")
    expected = skimage.transform.resize(image, (10, 12), order=1, mode="edge", anti_aliasing=True)
    np.testing.assert_allclose(images.resize(image, (10, 12), mode="edge", anti_aliasing=True), expected, rtol=1e-6)


def test_mold_image(golden):
    """The original returned float64; float32 is what the network reads, half the memory, equal to 1e-5 in 255."""
    data = golden("utils_golden.npz", "mold_image")
    molded = images.mold_image(data.ins["image"], data.args["mean_pixel"])
    assert molded.dtype == np.float32 and data.outs["image"].dtype == np.float64
    np.testing.assert_allclose(molded, data.outs["image"], atol=1e-5, rtol=0)
    restored = images.unmold_image(molded, data.args["mean_pixel"])
    assert restored.dtype == np.uint8
    np.testing.assert_array_equal(restored, data.ins["image"])


def test_unmold_image(golden):
    data = golden("utils_golden.npz", "unmold_image")
    mean = golden("utils_golden.npz", "mold_image").args["mean_pixel"]
    np.testing.assert_array_equal(images.unmold_image(data.ins["image"], mean), data.outs["image"])


def test_convert_channels():
    gray = np.arange(12, dtype="uint8").reshape(3, 4)
    rgb = images.convert_channels(gray, 3)
    assert rgb.shape == (3, 4, 3) and rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb, gray[:, :, None] * np.ones(3, "uint8"))
    np.testing.assert_array_equal(images.convert_channels(rgb, 1)[:, :, 0], gray)
    np.testing.assert_array_equal(images.convert_channels(gray, 1), gray[:, :, None])
    pure = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], "uint8")
    np.testing.assert_array_equal(images.convert_channels(pure, 1)[0, :, 0], [76, 150, 29])
    rgba = np.random.default_rng(5).integers(0, 255, (3, 4, 4), dtype="uint8")
    np.testing.assert_array_equal(images.convert_channels(rgba, 3), rgba[:, :, :3])
    np.testing.assert_array_equal(images.convert_channels(rgba, 4), rgba)
    deep = np.array([[0, 128, 257, 65535]], "uint16")
    result = images.convert_channels(deep, 1)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result[0, :, 0], [0, 0, 1, 255])
    many = np.zeros((3, 4, 7), "float32")
    assert images.convert_channels(many, 7).dtype == np.float32


@pytest.mark.parametrize("channels, count", [(7, 3), (3, 4), (2, 3), (3, 7), (2, 1)])
def test_convert_channels_refuses(channels, count):
    with pytest.raises(ValueError, match=f"with {channels} channels cannot become one with {count}"):
        images.convert_channels(np.zeros((3, 4, channels)), count)
    with pytest.raises(ValueError, match="shape"):
        images.convert_channels(np.zeros((1, 3, 4, 3)), 3)


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
    for given in ([], [RGB, RGB[..., 0]], (RGB,), np.stack([RGB, RGB]), iter([RGB]), [Image.fromarray(RGB)]):
        assert all(isinstance(image, np.ndarray) for image in image_list(given))
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
