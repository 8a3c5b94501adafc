import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image

from mrcnn.data import windows as room
from mrcnn.data.reading import DarkImage, read_image
from mrcnn.data.windows import windows

RANDOM = np.random.default_rng(0)
COLOR = RANDOM.integers(0, 256, (150, 203, 3), "uint8")
ALPHA = np.dstack([COLOR, COLOR[..., :1]])
GRAY = RANDOM.integers(0, 65536, (150, 203), "uint16")

# How a TIFF is written, and whether its windows are read alone.
FILES = {
    "plain": (COLOR, {}, True),
    "gray of 16 bits": (GRAY, {}, True),
    "of another byte order": (GRAY, {"byteorder": ">"}, True),
    "colours of 16 bits": (np.dstack([GRAY] * 3), {"photometric": "rgb"}, False),
    "multiplied by alpha": (ALPHA, {"photometric": "rgb", "extrasamples": ["assocalpha"]}, False),
    "tiles": (COLOR, {"tile": (64, 48), "photometric": "rgb"}, True),
    "deflated tiles": (GRAY, {"tile": (64, 48), "compression": "zlib", "predictor": True}, True),
    "deflated strips": (COLOR, {"rowsperstrip": 16, "compression": "zlib", "photometric": "rgb"}, True),
    "alpha": (ALPHA, {"rowsperstrip": 7, "photometric": "rgb", "compression": "zlib"}, True),
    "0 is white": (COLOR[..., 0], {"photometric": "miniswhite"}, False),
    "planes": (np.moveaxis(COLOR, -1, 0), {"planarconfig": "separate", "photometric": "rgb"}, False),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("channels", [1, 3])
def test_windows_of_a_tiff(name, channels, tmp_path, monkeypatch):
    pixels, options, alone = FILES[name]
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    expected = read_image(tmp_path / "a.tif", channels)
    if alone:
        monkeypatch.setattr(room, "read_image", None)
    found = windows(tmp_path / "a.tif", channels)
    assert found.shape == (150, 203)
    for y1, x1, y2, x2 in [(0, 0, 150, 203), (0, 0, 1, 1), (149, 202, 150, 203), (60, 40, 130, 150), (64, 48, 128, 96)]:
        window = found.read(y1, x1, y2, x2)
        assert window.dtype == np.uint8
        np.testing.assert_array_equal(window, expected[y1:y2, x1:x2])


def test_other_files_and_arrays(tmp_path):
    Image.fromarray(COLOR).save(tmp_path / "a.png")
    for image in (tmp_path / "a.png", COLOR):
        np.testing.assert_array_equal(windows(image).read(3, 5, 20, 30), COLOR[3:20, 5:30])
    assert windows(GRAY).read(3, 5, 20, 30).shape == (17, 25, 3)
    np.save(tmp_path / "b.npy", GRAY.astype(">u2"))
    np.testing.assert_array_equal(windows(tmp_path / "b.npy").read(3, 5, 20, 30), windows(GRAY).read(3, 5, 20, 30))
    many = np.dstack([COLOR, COLOR])
    np.save(tmp_path / "a.npy", many)
    np.testing.assert_array_equal(windows(tmp_path / "a.npy", None).read(3, 5, 20, 30), many[3:20, 5:30])


def test_broken_files_are_named(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0 nothing")
    with pytest.raises(OSError, match="a.tif cannot be read"):
        windows(tmp_path / "a.tif")
    with pytest.raises(FileNotFoundError, match=r"There is no image file .*b\.tif"):
        windows(tmp_path / "b.tif")
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((3, 9, 9), "uint8"), photometric="minisblack")
    with pytest.raises(OSError, match="3 pages"):
        windows(tmp_path / "c.tif")
    tifffile.imwrite(tmp_path / "d.tif", COLOR, rowsperstrip=16, compression="zlib")
    content = (tmp_path / "d.tif").read_bytes()
    (tmp_path / "d.tif").write_bytes(content[:-2000] + bytes(2000))
    found = windows(tmp_path / "d.tif")
    np.testing.assert_array_equal(found.read(0, 0, 20, 20), COLOR[:20, :20])
    with pytest.raises(OSError, match=r"d\.tif cannot be read"):
        found.read(140, 0, 150, 20)


def test_channels_that_cannot_be_had_are_named_before_the_work(tmp_path):
    np.save(tmp_path / "a.npy", np.dstack([COLOR, COLOR]))
    tifffile.imwrite(tmp_path / "b.tif", COLOR)
    tifffile.imwrite(tmp_path / "c.tif", COLOR, rowsperstrip=16, compression="zlib", photometric="rgb")
    for name, count in ("a.npy", 3), ("b.tif", 5), ("c.tif", 5):
        with pytest.raises(ValueError, match=f"{name}: An image with . channels cannot become one with {count}"):
            windows(tmp_path / name, count)


@pytest.mark.parametrize("name", ["a.tif", "deflated.tif", "a.npy", ""])
def test_sixteen_bits_are_scaled_alike_in_every_window_and_dark_ones_named_once(name, tmp_path):
    """By the type's range, not by what a window or a file has: one of 12 bits is nearly black, which is said."""
    for top, warned in ((4095, 1 if name else 2), (65535, 0)):
        values = np.linspace(0, top, 150).astype("uint16")[:, None].repeat(40, axis=1)
        path = tmp_path / f"{top}{name}"
        if name == "a.npy":
            np.save(path, values)
        elif name:
            tifffile.imwrite(path, values, compression="zlib" if "deflated" in name else None)
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            for _ in range(2):
                found = windows(path if name else values, None)
                assert found.read(10, 0, 11, 40).max() == round(values[10, 0] / 257)
                assert found.read(149, 0, 150, 40).min() == round(top / 257)
        assert [warning.category for warning in given] == [DarkImage] * warned
        words = f"The image {path if name else 'given'} has 16 bits a channel and uses 12 of them or fewer in 16 rows"
        assert all(str(warning.message).startswith(words) for warning in given)
