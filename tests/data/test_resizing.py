import random
from types import SimpleNamespace

import numpy as np
import pytest

from mrcnn.data.resizing import mold, plan, resize_image, unmold
from mrcnn.ops import keypoints
from mrcnn.ops.images import mold_image, resize
from mrcnn.ops.masks import resize_mask
from mrcnn.ops.meta import compose_image_meta
from mrcnn.settings import Config, ModernConfig

CASES = ["none", "square_up", "square_limited", "square_down", "square_scale_1", "square_min_scale", "square_no_min"]
CASES += ["pad64", "pad64_up", "pad64_min_scale", "crop", "crop_up", "one_channel", "float32"]


@pytest.mark.parametrize("case", CASES)
def test_resize_image(golden, case):
    data = golden("utils_golden.npz", f"resize_image_{case}")
    image = data.ins.get("image", golden("utils_golden.npz", "resize_image").ins["image"])
    args = dict(data.args)
    random.seed(args.pop("seed", None))
    result, window, scale, padding, crop = resize_image(image, **args)
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
        exact = resize(image, shape, preserve_range=True)
        y1, x1, y2, x2 = (crop[0], crop[1], crop[0] + crop[2], crop[1] + crop[3]) if crop else (0, 0, *shape)
        wy1, wx1, wy2, wx2 = window
        exact = exact[y1:y2, x1:x2][differs[wy1:wy2, wx1:wx2]]
        assert len(exact) == differs.sum()
        np.testing.assert_allclose(exact, np.rint(exact), rtol=1e-12)


def test_resize_image_says_what_is_wrong():
    image = np.zeros((10, 10, 3), "uint8")
    with pytest.raises(ValueError, match="unknown"):
        resize_image(image, 64, 64, mode="squre")
    with pytest.raises(ValueError, match="needs max_dim"):
        resize_image(image, 64)
    with pytest.raises(ValueError, match="needs min_dim"):
        resize_image(image, max_dim=64, mode="crop")
    with pytest.raises(ValueError, match="multiple of 64, not 100"):
        resize_image(image, 100, mode="pad64")


@pytest.mark.parametrize("shape", [(1, 1), (1, 64), (2, 20000), (20000, 3)])
def test_resize_image_of_odd_shapes(shape):
    """At least a pixel is left of each side, and masks follow."""
    image, window, scale, padding, crop = resize_image(np.full((*shape, 3), 9, "uint8"), 64, 128)
    y1, x1, y2, x2 = window
    assert image.shape == (128, 128, 3) and y2 > y1 and x2 > x1 and (image[y1:y2, x1:x2] == 9).all()
    mask = resize_mask(np.ones((*shape, 1), bool), scale, padding, crop)
    assert mask[y1:y2, x1:x2].all() and mask.sum() == (y2 - y1) * (x2 - x1)


def test_mold_by_the_config():
    config = SimpleNamespace(MEAN_PIXEL=(10, 20, 30), PIXEL_STD=(2, 4, 5), CHANNEL_ORDER="bgr", IMAGE_PADDING="mean")
    image = np.zeros((4, 5, 3), "uint8")
    image[1:3, 1:5] = 12, 28, 45
    molded = mold(image, config, (1, 1, 3, 5))
    assert molded.dtype == "float32"
    expected = np.zeros((4, 5, 3))
    expected[1:3, 1:5] = 3, 2, 1
    np.testing.assert_allclose(molded, expected)
    np.testing.assert_array_equal(unmold(molded, config)[1:3, 1:5], image[1:3, 1:5])
    np.testing.assert_array_equal(unmold(molded, config)[0, 0], [10, 20, 30])
    config.IMAGE_PADDING, config.CHANNEL_ORDER = "black", "rgb"
    np.testing.assert_allclose(mold(image, config, (1, 1, 3, 5))[0, 0], [-5, -5, -6])
    config.PIXEL_STD = 1.0
    np.testing.assert_array_equal(mold(image, config), mold_image(image, config.MEAN_PIXEL))


def test_shortest_scales_down_too():
    image = np.full((300, 400, 3), 7, "uint8")
    for size, (min_dim, max_dim), shape, scale in (
        ((300, 400), (150, 256), (150, 200), 0.5),
        ((300, 400), (150, 192), (144, 192), 0.48),  # the longer side decides
        ((100, 400), (150, 640), (150, 600), 1.5),
    ):
        part = image[: size[0]]
        resized, window, factor, _, _ = resize_image(part, min_dim, max_dim, mode="shortest")
        assert factor == pytest.approx(scale)
        assert (window[2] - window[0], window[3] - window[1]) == shape
        assert resized.shape[:2] == tuple(-(-side // 64) * 64 for side in shape)
        square, other, _, _, _ = resize_image(part, min_dim, max_dim, mode="shortest", square=True)
        assert square.shape == (max_dim, max_dim, 3) and (other[2] - other[0], other[3] - other[1]) == shape
    assert resize_image(image, 150, 256, mode="rect")[1:3] != resize_image(image, 150, 256, mode="shortest")[1:3]
    with pytest.raises(ValueError, match="'shortest' needs min_dim"):
        resize_image(image, None, 256, mode="shortest")


@pytest.mark.parametrize("mode", ["square", "rect", "shortest", "pad64", "crop", "none"])
@pytest.mark.parametrize("square", [False, True])
def test_plan_is_what_becomes_of_the_image(mode, square):
    rng = np.random.default_rng(1)
    for height, width, low in rng.integers((8, 8, 1), (300, 300, 4), (40, 3)):
        options = {"min_dim": 64 * int(low), "max_dim": 192, "min_scale": float(rng.choice([0, 1.5])), "mode": mode}
        planned = plan(int(height), int(width), **options, square=square)
        image = np.full((height, width, 2), 200, "uint8")
        resized, window, scale, padding, crop = resize_image(image, **options, square=square)
        assert (planned.scale, planned.padding, planned.window, planned.shape) == (
            scale,
            padding,
            window,
            resized.shape[:2],
        )
        y1, x1, y2, x2 = window
        assert planned.size == ((y2 - y1, x2 - x1) if crop is None else planned.size)
        inside = np.zeros(resized.shape[:2], bool)
        inside[y1:y2, x1:x2] = True
        assert not resized[~inside].any() and (resized[inside] > 0).all()


def test_plan_says_what_is_wrong_without_an_image():
    with pytest.raises(ValueError, match="Resize mode 'squre' is unknown"):
        plan(10, 10, 64, 64, mode="squre")


def test_rounding():
    """The original cuts fractions of gray levels off: half a level darker. Rounded, the mean stays."""
    image = np.random.default_rng(0).integers(40, 200, (90, 120, 3), dtype="uint8")
    exact = resize(image, (144, 192), preserve_range=True)
    cut, rounded = (
        resize_image(image, 144, 192, mode="rect", rounding=rounding)[0][24:168] for rounding in ("truncate", "nearest")
    )
    assert cut.shape == rounded.shape == exact.shape and cut.dtype == rounded.dtype == np.uint8
    assert (exact - cut).mean() == pytest.approx(0.5, abs=0.01)
    assert (exact - rounded).mean() == pytest.approx(0, abs=0.01)
    assert np.abs(exact - rounded).max() <= 0.5
    floats = image.astype("float32") / 255
    np.testing.assert_array_equal(
        resize_image(floats, 144, 192, rounding="nearest")[0], resize_image(floats, 144, 192)[0]
    )


def test_old_weights_see_cut_images_and_modern_ones_rounded():
    assert (Config.IMAGE_ROUNDING, ModernConfig.IMAGE_ROUNDING) == ("truncate", "nearest")


def test_stretching():
    """Both sides come to max_dim; masks, points and meta go with the image."""
    image = np.repeat(np.arange(4, dtype="uint8")[:, None] * 60, 8, axis=1)[..., None]
    result, window, scale, padding, crop = resize_image(image, max_dim=12, mode="stretch")
    assert result.shape == (12, 12, 1) and window == (0, 0, 12, 12) and scale == (3, 1.5)
    assert padding == [(0, 0)] * 3 and crop is None
    assert result[1, 6, 0] == 0 and result[4, 6, 0] == 60 and result[10, 6, 0] == 180
    mask = np.zeros((4, 8, 1), bool)
    mask[1:3, 2:6] = True
    resized = resize_mask(mask, scale, padding)[..., 0]
    assert resized.shape == (12, 12) and resized[6, 6] and not resized[0].any() and not resized[:, 0].any()
    point = keypoints.resize([[3.5, 1.5, 2]], image.shape, scale, padding)
    np.testing.assert_allclose(point, [[5.5, 5.5, 2]])
    assert compose_image_meta(0, image.shape, result.shape, window, scale, [1])[11] == np.float32(4.5**0.5)
    assert resize_image(image[:, :4], max_dim=4, mode="stretch")[0].shape == (4, 4, 1)
    with pytest.raises(ValueError, match="Resize mode 'stretch' needs max_dim"):
        resize_image(image, mode="stretch")


# Large-scale jitter


def test_jitter_that_shrinks_pads_on_all_sides():
    """32 x 48 pixels fit a square of 64 at 4/3; at 3/4 of that they are as large as before, in the middle."""
    image = np.arange(32 * 48 * 3).reshape(32, 48, 3).astype("uint8")
    result, window, scale, padding, crop = resize_image(image, 64, 64, jitter=0.75)
    assert scale == 1 and window == (16, 8, 48, 56) and padding == [(16, 16), (8, 8), (0, 0)]
    np.testing.assert_array_equal(result[16:48, 8:56], image)
    assert result.shape == (64, 64, 3) and result.sum() == image.astype(int).sum() and crop == (0, 0, 32, 48)


def test_jitter_that_grows_cuts_and_pads():
    """Twice as large they are 85 x 128: a part of 64 x 64 of it, and objects and points go along."""
    image = np.zeros((32, 48, 1), "float32")
    image[10:20, 20:30] = 1
    mask = image.astype(bool)
    for seed in range(4):
        result, window, scale, padding, crop = resize_image(image, 64, 64, jitter=2.0, rng=random.Random(seed))
        assert scale == pytest.approx(8 / 3) and window == (0, 0, 64, 64) and crop[2:] == (64, 64)
        moved = resize_mask(mask, scale, padding, crop)
        assert moved.shape == (64, 64, 1) and np.mean((result > 0.5) != moved) < 0.03
        (point,) = keypoints.resize([[24.5, 14.5, 2.0]], image.shape, scale, padding, crop)
        np.testing.assert_allclose(point[:2], [25 * 128 / 48 - 0.5 - crop[1], 15 * 85 / 32 - 0.5 - crop[0]], atol=1e-4)


def test_jitter_cuts_one_side_and_pads_the_other():
    """A strip of 20 x 80 fits at 0.8; at 1.25 of that 64 of its 80 columns are left, 22 rows above and below."""
    image = np.tile(np.arange(80, dtype="uint8"), (20, 1))[..., None]
    result, window, scale, padding, crop = resize_image(image, 0, 64, jitter=1.25, rng=random.Random(3))
    y, x, height, width = crop
    assert scale == 1 and (y, height, width) == (0, 20, 64) and 0 <= x <= 16 and window == (22, 0, 42, 64)
    np.testing.assert_array_equal(result[22:42], image[:, x : x + 64])
    np.testing.assert_array_equal(resize_mask(image > 40, scale, padding, crop), result > 40)


def test_jitter_is_of_training_that_augments():
    """The window of the meta is what is image, and what is beside it is the mean."""
    from kites import KiteConfig, Kites

    from mrcnn.data.samples import load_sample

    config = KiteConfig().update(SCALE_JITTER=(0.5, 0.5), IMAGE_PADDING="mean")
    plain = load_sample(Kites(2), config, 0)
    small = load_sample(Kites(2), config, 0, augment=True, rng=np.random.default_rng(0))
    assert plain.inside.all() and small.inside[16:48, 16:48].all() and small.inside.sum() == 32 * 32
    assert small.meta[7:11].tolist() == [16, 16, 48, 48] and small.meta[11] == 0.5
    assert (small.image[:16] == np.rint(config.MEAN_PIXEL)).all()
    heights = [np.diff(sample.boxes[:, ::2]).ravel() for sample in (plain, small)]
    np.testing.assert_allclose(heights[1], heights[0] / 2, atol=1)
