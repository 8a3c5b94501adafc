import random
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.transform
from keras import ops
from PIL import Image

from mrcnn.ops import images
from mrcnn.ops.masks import resize_mask

CASES = ["none", "square_up", "square_limited", "square_down", "square_scale_1", "square_min_scale", "square_no_min"]
CASES += ["pad64", "pad64_up", "pad64_min_scale", "crop", "crop_up", "one_channel", "float32"]


@pytest.mark.parametrize("case", CASES)
def test_resize_image(golden, case):
    data = golden("utils_golden.npz", f"resize_image_{case}")
    image = data.ins.get("image", golden("utils_golden.npz", "resize_image").ins["image"])
    args = dict(data.args)
    random.seed(args.pop("seed", None))
    result, window, scale, padding, crop = images.resize_image(image, **args)
    expected = data.outs["image"]
    assert result.dtype == expected.dtype and result.shape == expected.shape
    np.testing.assert_array_equal(window, data.outs["window"])
    assert scale == data.outs["scale"].item()
    np.testing.assert_array_equal(padding, data.outs["padding"])
    if len(data.outs.get("crop", [])):
        np.testing.assert_array_equal(crop, data.outs["crop"])
    else:
        assert crop is None
    if result.dtype == np.float32:
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)  # see test_resize
        return
    if crop is not None and scale == 1:
        y, x, height, width = crop
        np.testing.assert_array_equal(result, image[y : y + height, x : x + width])
    # Interpolated values are cut to integers. Where one is an integer up to rounding errors of 1e-13, these decide, in
    # the original (99.999... -> 99) and here: only there may the two differ, and by one only. A scale of 2 gives many
    # such values: 1.5 % of the pixels.
    differs = result != expected
    assert differs.mean() < (0.02 if scale == 2 else 0.002)
    assert np.abs(result.astype(int) - expected.astype(int)).max() <= 1
    if differs.any():
        shape = [round(side * scale) for side in image.shape[:2]]
        exact = images.resize(image, shape, preserve_range=True)
        y1, x1, y2, x2 = (crop[0], crop[1], crop[0] + crop[2], crop[1] + crop[3]) if crop else (0, 0, *shape)
        wy1, wx1, wy2, wx2 = window
        exact = exact[y1:y2, x1:x2][differs[wy1:wy2, wx1:wx2]]
        assert len(exact) == differs.sum()
        np.testing.assert_allclose(exact, np.rint(exact), rtol=1e-12)


def test_resize_image_says_what_is_wrong():
    image = np.zeros((10, 10, 3), "uint8")
    with pytest.raises(ValueError, match="unknown"):
        images.resize_image(image, 64, 64, mode="squre")
    with pytest.raises(ValueError, match="needs max_dim"):
        images.resize_image(image, 64)
    with pytest.raises(ValueError, match="needs min_dim"):
        images.resize_image(image, max_dim=64, mode="crop")
    with pytest.raises(ValueError, match="multiple of 64, not 100"):
        images.resize_image(image, 100, mode="pad64")


@pytest.mark.parametrize("shape", [(1, 1), (1, 64), (2, 20000), (20000, 3)])
def test_resize_image_of_odd_shapes(shape):
    """At least a pixel is left of each side, and masks follow."""
    image, window, scale, padding, crop = images.resize_image(np.full((*shape, 3), 9, "uint8"), 64, 128)
    y1, x1, y2, x2 = window
    assert image.shape == (128, 128, 3) and y2 > y1 and x2 > x1 and (image[y1:y2, x1:x2] == 9).all()
    mask = resize_mask(np.ones((*shape, 1), bool), scale, padding, crop)
    assert mask[y1:y2, x1:x2].all() and mask.sum() == (y2 - y1) * (x2 - x1)


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


def test_compose_image_meta(golden):
    """Always float32; the original's dtype followed its arguments, so that an int scale of 1 made it int64."""
    data = golden("utils_golden.npz", "compose_image_meta")
    meta = images.compose_image_meta(**data.args)
    np.testing.assert_allclose(meta, data.outs["meta"], rtol=1e-6)
    integers = images.compose_image_meta(**{**data.args, "scale": 1})
    assert meta.dtype == integers.dtype == np.float32
    assert integers[11] == 1


def test_parse_image_meta(golden):
    data = golden("utils_golden.npz", "parse_image_meta")
    parsed = images.parse_image_meta(data.ins["meta"])
    assert list(parsed) == list(data.outs)
    for name, expected in data.outs.items():
        assert parsed[name].dtype == expected.dtype, name
        np.testing.assert_array_equal(parsed[name], expected)
    tensors = images.parse_image_meta(ops.convert_to_tensor(data.ins["meta"].astype("float32")))
    for name, expected in data.outs.items():
        assert not isinstance(tensors[name], np.ndarray)
        np.testing.assert_allclose(ops.convert_to_numpy(tensors[name]), expected, rtol=1e-6)


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


@pytest.mark.parametrize(
    "mode, value", [("L", 70), ("RGB", (1, 2, 3)), ("RGBA", (1, 2, 3, 9)), ("1", 1), ("I;16", 25700)]
)
def test_read_image_modes(tmp_path, mode, value):
    path = tmp_path / "image.png"
    Image.new(mode, (6, 4), value).save(path)
    image = images.read_image(path)
    assert image.shape == (4, 6, 3) and image.dtype == np.uint8
    gray = {"L": 70, "1": 255, "I;16": 100}.get(mode)
    np.testing.assert_array_equal(image[2, 3], [gray] * 3 if gray else [1, 2, 3])
    assert images.read_image(path, channels=1).shape == (4, 6, 1)


def test_read_image_palette_and_cmyk(tmp_path):
    Image.new("RGB", (6, 4), (255, 0, 51)).quantize().save(tmp_path / "palette.png")
    np.testing.assert_array_equal(images.read_image(tmp_path / "palette.png")[0, 0], [255, 0, 51])
    Image.new("CMYK", (6, 4)).save(tmp_path / "cmyk.tiff")
    np.testing.assert_array_equal(images.read_image(tmp_path / "cmyk.tiff")[0, 0], [255, 255, 255])


def test_read_image_takes_the_first_frame(tmp_path):
    frames = [Image.new("RGB", (6, 4), color) for color in [(200, 0, 0), (0, 200, 0)]]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(images.read_image(tmp_path / "moving.gif")[0, 0], [200, 0, 0])


def test_read_image_upright(tmp_path):
    pixels = np.zeros((4, 6, 3), "uint8")
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to view
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    image = images.read_image(tmp_path / "turned.png")
    np.testing.assert_array_equal(image, np.rot90(pixels, -1))


def test_read_image_names_the_bad_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing.png") as missing:
        images.read_image(tmp_path / "missing.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(OSError, match="empty.png"):
        images.read_image(tmp_path / "empty.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(OSError, match="broken.png") as broken:
        images.read_image(tmp_path / "broken.png")
    Image.fromarray(np.random.default_rng(6).integers(0, 255, (50, 50, 3), dtype="uint8")).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:900])
    with pytest.raises(OSError, match="cut.jpg") as cut:
        images.read_image(tmp_path / "cut.jpg")
    Image.new("RGB", (2, 2)).save(tmp_path / "rgb.png")
    with pytest.raises(ValueError, match="rgb.png.*3 channels.*4") as channels:
        images.read_image(tmp_path / "rgb.png", channels=4)
    for error in (missing, broken, cut, channels):
        assert "\n" not in str(error.value)


def test_mold_by_the_config():
    config = SimpleNamespace(MEAN_PIXEL=(10, 20, 30), PIXEL_STD=(2, 4, 5), CHANNEL_ORDER="bgr", IMAGE_PADDING="mean")
    image = np.zeros((4, 5, 3), "uint8")
    image[1:3, 1:5] = 12, 28, 45
    molded = images.mold(image, config, (1, 1, 3, 5))
    assert molded.dtype == "float32"
    expected = np.zeros((4, 5, 3))
    expected[1:3, 1:5] = 3, 2, 1
    np.testing.assert_allclose(molded, expected)
    np.testing.assert_array_equal(images.unmold(molded, config)[1:3, 1:5], image[1:3, 1:5])
    np.testing.assert_array_equal(images.unmold(molded, config)[0, 0], [10, 20, 30])
    config.IMAGE_PADDING, config.CHANNEL_ORDER = "black", "rgb"
    np.testing.assert_allclose(images.mold(image, config, (1, 1, 3, 5))[0, 0], [-5, -5, -6])
    config.PIXEL_STD = 1.0
    np.testing.assert_array_equal(images.mold(image, config), images.mold_image(image, config.MEAN_PIXEL))


def test_shortest_scales_down_too():
    image = np.full((300, 400, 3), 7, "uint8")
    for size, (min_dim, max_dim), shape, scale in (
        ((300, 400), (150, 256), (150, 200), 0.5),
        ((300, 400), (150, 192), (144, 192), 0.48),  # the longer side decides
        ((100, 400), (150, 640), (150, 600), 1.5),
    ):
        part = image[: size[0]]
        resized, window, factor, _, _ = images.resize_image(part, min_dim, max_dim, mode="shortest")
        assert factor == pytest.approx(scale)
        assert (window[2] - window[0], window[3] - window[1]) == shape
        assert resized.shape[:2] == tuple(-(-side // 64) * 64 for side in shape)
        square, other, _, _, _ = images.resize_image(part, min_dim, max_dim, mode="shortest", square=True)
        assert square.shape == (max_dim, max_dim, 3) and (other[2] - other[0], other[3] - other[1]) == shape
    assert (
        images.resize_image(image, 150, 256, mode="rect")[1:3]
        != images.resize_image(image, 150, 256, mode="shortest")[1:3]
    )
    with pytest.raises(ValueError, match="'shortest' needs min_dim"):
        images.resize_image(image, None, 256, mode="shortest")
