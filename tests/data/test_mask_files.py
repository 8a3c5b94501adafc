"""Masks and labels in files of every kind that annotators write: the same pixels come out."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from mrcnn.data.mask_files import read_labels, read_mask

SIZE = 60, 80
Y, X = np.mgrid[:60, :80]
DISK = (Y - 25) ** 2 + (X - 30) ** 2 < 15**2
SQUARE = (Y >= 40) & (Y < 55) & (X >= 50) & (X < 75)


def paint(inside, outside, mask=DISK):
    """An image of two colours."""
    values = np.where(mask[..., None], inside, outside).astype("uint8")
    return Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)


def palette(*colours, inside=1):
    image = Image.fromarray(np.where(DISK, inside, 1 - inside).astype("uint8"))
    image = image.convert("P")
    image.putdata(np.where(DISK, inside, 1 - inside).ravel().tolist())
    image.putpalette([value for colour in colours for value in colour])
    return image


def save(image, path, **options):
    image.save(path, **options)
    return path


EXACT = {
    "white": paint([255], [0]),
    "one": paint([1], [0]),
    "bits": Image.fromarray(DISK),
    "16 bits": Image.fromarray(DISK.astype("uint16")),
    "red": paint((255, 0, 0), (0, 0, 0)),
    "green": paint((0, 255, 0), (0, 0, 0)),
    "dark blue": paint((0, 0, 9), (0, 0, 0)),
    "two colours": Image.fromarray(
        (200 * np.stack([DISK & (X < 30), DISK & (X >= 30), DISK & False], -1)).astype("uint8")
    ),
    "alpha without a meaning": paint((255, 255, 255, 255), (0, 0, 0, 255)),
    "white on transparent white": paint((255, 255, 255, 255), (255, 255, 255, 0)),
    "black on transparent black": paint((0, 0, 0, 255), (0, 0, 0, 0)),
    "black on transparent white": paint((0, 0, 0, 255), (255, 255, 255, 0)),
    "gray on transparent": paint((80, 80, 80, 255), (80, 80, 80, 0)).convert("LA"),
    "palette": palette((0, 0, 0), (128, 0, 0)),
    "palette the other way round": palette((255, 255, 255), (0, 0, 0), inside=0),
}


@pytest.mark.parametrize("image", EXACT.values(), ids=EXACT.keys())
def test_masks_of_every_kind(tmp_path, image):
    mask = read_mask(save(image, tmp_path / "a.png"), SIZE)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, DISK)


@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("colour", [[255], (255, 255, 255), (0, 255, 0), (0, 0, 255)], ids=str)
def test_noise_of_jpeg_is_no_object(tmp_path, colour, quality):
    """Every value above 0 was inside: with its noise the disk had up to twice its pixels."""
    path = save(paint(colour, (0,) * len(colour)), tmp_path / "a.jpg", quality=quality)
    noise = np.atleast_3d(np.asarray(Image.open(path))).max(-1) > 0
    mask = read_mask(path, SIZE)
    assert (mask ^ DISK).sum() < 0.03 * DISK.sum() < (noise ^ DISK).sum()
    np.testing.assert_array_equal(read_mask(save(Image.open(path), tmp_path / "a.png"), SIZE), mask)


def test_a_soft_edge_ends_at_half(tmp_path):
    soft = np.clip(15.5 - np.hypot(Y - 25, X - 30), 0, 1)
    mask = read_mask(save(Image.fromarray(np.rint(200 * soft).astype("uint8")), tmp_path / "a.png"), SIZE)
    np.testing.assert_array_equal(mask, np.rint(200 * soft) > 100)


@pytest.mark.parametrize("dtype", ["bool", "uint8"])
def test_a_tiff_that_says_that_0_is_white(tmp_path, dtype):
    """As tifffile writes bool; a mask is of numbers, not of light."""
    tifffile.imwrite(tmp_path / "a.tif", DISK.astype(dtype), photometric="miniswhite")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif", SIZE), DISK)


def test_several_values_of_one_object(tmp_path):
    values = np.where(DISK, 40 + 50 * (X > 30), 0).astype("uint8")
    np.testing.assert_array_equal(read_mask(save(Image.fromarray(values), tmp_path / "a.png"), SIZE), DISK)


@pytest.mark.parametrize("colour", [[0], (255, 255, 255, 0), (0, 0, 0, 255)], ids=str)
def test_an_empty_mask(tmp_path, colour):
    assert not read_mask(save(paint(colour, colour), tmp_path / "a.png"), SIZE).any()


def stack(red, green, blue, *alpha):
    return Image.fromarray(np.stack(np.broadcast_arrays(red, green, blue, *alpha), axis=-1).astype("uint8"))


GRAY = 7 * DISK + 9 * SQUARE
LABELS = {
    "gray": (Image.fromarray(GRAY.astype("uint8")), 7, 9),
    "16 bits": (Image.fromarray((1000 * GRAY).astype("uint16")), 7000, 9000),
    "gray as colour": (Image.fromarray(GRAY.astype("uint8")).convert("RGB"), 7, 9),
    "gray with alpha": (Image.fromarray(GRAY.astype("uint8")).convert("LA"), 7, 9),
    "green and blue": (stack(0, 2 * DISK, 3 * SQUARE), 2 * 256, 3 * 65536),
    "equal red": (stack(5 * (DISK | SQUARE), DISK, 0), 5 + 256, 5),
    "on nothing": (stack(100, 7 * DISK, 0, 255 * (DISK | SQUARE)), 100 + 7 * 256, 100),
}


@pytest.mark.parametrize("image, disk, square", LABELS.values(), ids=LABELS.keys())
def test_labels_of_every_kind(tmp_path, image, disk, square):
    """Of colours the first channel counted, so that a green object was none."""
    labels = read_labels(save(image, tmp_path / "a.png"), SIZE)
    np.testing.assert_array_equal(labels, np.where(DISK, disk, np.where(SQUARE, square, 0)))


def test_labels_in_files_that_change_numbers(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(GRAY.astype("uint8")).save(path, format="JPEG")
    with pytest.raises(OSError, match="The label image .*a.png cannot be read: JPEG does not keep numbers; write PNG"):
        read_labels(path, SIZE)
    sixteen = io.BytesIO()
    Image.fromarray(GRAY.astype("float32")).save(sixteen, format="TIFF")
    path.write_bytes(sixteen.getvalue())
    with pytest.raises(OSError, match="floating point does not keep numbers"):
        read_labels(path, SIZE)


@pytest.mark.parametrize("how", ["photo", "gray photo", "saved as JPEG", "resized"])
def test_a_picture_in_the_place_of_labels(tmp_path, how):
    rng = np.random.default_rng(0)
    true = np.kron(rng.permutation(192).reshape(12, 16), np.ones((5, 5), int)).astype("uint8")
    np.testing.assert_array_equal(read_labels(save(Image.fromarray(true), tmp_path / "a.png"), SIZE), true)
    if "photo" in how:
        noisy = rng.normal(true[..., None], 5, (*SIZE, 3)).clip(0, 255).astype("uint8")
        image = Image.fromarray(noisy[..., 0] if how == "gray photo" else noisy)
    elif how == "resized":
        image = Image.fromarray(true).resize((57, 43)).resize((80, 60), Image.BILINEAR)
    else:
        jpeg = io.BytesIO()
        Image.fromarray(true).save(jpeg, "JPEG", quality=50)
        image = Image.open(jpeg)
    path = save(image, tmp_path / "b.png")
    with pytest.raises(ValueError, match=rf"{path} has \d+ pieces, \d+ of them under 4 pixels: a picture"):
        read_labels(path, SIZE)


@pytest.mark.parametrize("read", [read_mask, read_labels])
def test_what_cannot_be_read_is_named(tmp_path, read):
    with pytest.raises(FileNotFoundError, match="There is no (mask|label image) .*a.png"):
        read(tmp_path / "a.png", SIZE)
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(OSError, match="The (mask|label image) .*a.png cannot be read: it is broken"):
        read(tmp_path / "a.png", SIZE)
    with pytest.raises(ValueError, match="a.png is 80x60, its image 60x80"):
        read(save(paint([255], [0]), tmp_path / "a.png"), (80, 60))
