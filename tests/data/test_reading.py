import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from mrcnn.data.reading import DarkImage, image_files, image_size, path_within, read_image

RAMP = np.tile(np.linspace(0, 1, 60), (40, 1))  # from black to white
GRAY = np.rint(255 * RAMP).astype("uint8")


@pytest.mark.parametrize(
    "mode, value", [("L", 70), ("RGB", (1, 2, 3)), ("RGBA", (1, 2, 3, 9)), ("1", 1), ("I;16", 25700)]
)
def test_read_image_modes(tmp_path, mode, value):
    path = tmp_path / "image.png"
    Image.new(mode, (6, 4), value).save(path)
    image = read_image(path)
    assert image.shape == (4, 6, 3) and image.dtype == np.uint8
    gray = {"L": 70, "1": 255, "I;16": 100}.get(mode)
    np.testing.assert_array_equal(image[2, 3], [gray] * 3 if gray else [1, 2, 3])
    assert read_image(path, channels=1).shape == (4, 6, 1)


def test_read_image_palette_and_cmyk(tmp_path):
    Image.new("RGB", (6, 4), (255, 0, 51)).quantize().save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png")[0, 0], [255, 0, 51])
    Image.new("CMYK", (6, 4)).save(tmp_path / "cmyk.tiff")
    np.testing.assert_array_equal(read_image(tmp_path / "cmyk.tiff")[0, 0], [255, 255, 255])


def test_read_image_takes_the_first_frame(tmp_path):
    frames = [Image.new("RGB", (6, 4), color) for color in [(200, 0, 0), (0, 200, 0)]]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_image(tmp_path / "moving.gif")[0, 0], [200, 0, 0])


def test_read_image_upright(tmp_path):
    pixels = np.zeros((4, 6, 3), "uint8")
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to view
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    image = read_image(tmp_path / "turned.png")
    np.testing.assert_array_equal(image, np.rot90(pixels, -1))


def test_read_image_names_the_bad_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing.png") as missing:
        read_image(tmp_path / "missing.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(OSError, match="empty.png"):
        read_image(tmp_path / "empty.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(OSError, match="broken.png") as broken:
        read_image(tmp_path / "broken.png")
    Image.fromarray(np.random.default_rng(6).integers(0, 255, (50, 50, 3), dtype="uint8")).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:900])
    with pytest.raises(OSError, match="cut.jpg") as cut:
        read_image(tmp_path / "cut.jpg")
    Image.new("RGB", (2, 2)).save(tmp_path / "rgb.png")
    with pytest.raises(ValueError, match="rgb.png.*3 channels.*4") as channels:
        read_image(tmp_path / "rgb.png", channels=4)
    for error in (missing, broken, cut, channels):
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("orientation, size", [(6, (40, 30)), (3, (30, 40)), (9, (30, 40)), (65535, (30, 40))])
def test_image_size_of_a_turned_photo(tmp_path, orientation, size):
    exif = Image.Exif()
    exif[0x0112] = orientation  # there are 1 to 8
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg", exif=exif)
    assert image_size(tmp_path / "a.jpg") == size == read_image(tmp_path / "a.jpg").shape[:2]
    (tmp_path / "b.jpg").write_bytes(b"no image")
    with pytest.raises(OSError, match="b.jpg cannot be read"):
        image_size(tmp_path / "b.jpg")


@pytest.mark.parametrize(
    "values, words",
    [
        (RAMP.astype("float32"), "floating point"),
        (255 * RAMP.astype("float32"), "floating point"),
        (GRAY.astype("int32"), "32 bits or a sign"),
        ((2**32 - 1) * RAMP.astype("float64").round(3), "unusual pixels; save it with up to 4 channels"),
        ((65535 * RAMP).astype("uint32"), "32 bits or a sign"),
        ((32767 * RAMP).astype("int16"), "32 bits or a sign"),
        ((127 * RAMP).astype("int8"), "32 bits or a sign"),
        (np.stack([GRAY, 255 - GRAY]), "it has 2 pages; write each to a file"),
        (np.stack([GRAY] * 5, axis=-1), "unusual pixels; save it with up to 4 channels"),
    ],
    ids=lambda x: f"{x.dtype} {x.shape}" if hasattr(x, "dtype") else "",
)
def test_what_has_no_white_is_not_scaled_to_nothing(tmp_path, values, words):
    path = tmp_path / "a.tif"
    layout = {"planarconfig": "contig", "extrasamples": [0] * 4} if values.shape[2:] == (5,) else {}
    tifffile.imwrite(path, values, photometric="minisblack", **layout)
    with pytest.raises(OSError, match=f"a.tif cannot be read: .*{words}") as error:
        read_image(path)
    assert "\n" not in str(error.value)


def test_five_channels_of_which_three_are_colours(tmp_path):
    """Pillow gave the three."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([GRAY] * 5, axis=-1), photometric="rgb", extrasamples=[0, 0])
    with pytest.raises(OSError, match="it has 5 channels"):
        read_image(path)


def test_smaller_copies_are_no_pages(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GRAY)
        file.write(GRAY[::2, ::2], subfiletype=1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", channels=1)[..., 0], GRAY)


@pytest.mark.parametrize("dtype, white", [("uint8", 255), ("uint16", 65535)])
def test_zero_is_white(tmp_path, dtype, white):
    """Pillow turns 8 bits over, and left 16 as they are."""
    values = white - np.rint(white * RAMP).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", channels=1)[..., 0], GRAY)


def test_twelve_bits(tmp_path):
    """Pillow gives 0..4095, which became 0..16."""
    pairs = np.rint(4095 * RAMP).astype("uint16").reshape(40, -1, 2)
    first, second = pairs[..., 0], pairs[..., 1]
    data = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1).astype("uint8").tobytes()
    tags = {256: 60, 257: 40, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 40, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<I", 8 + len(data))
    (tmp_path / "a.tif").write_bytes(head + data + struct.pack("<H", len(tags)) + entries + bytes(4))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", channels=1)[..., 0], GRAY)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy"])
def test_sixteen_bits_of_which_twelve_are_used(tmp_path, name):
    for top, nearly_black in ((4095, True), (65535, False), (0, False)):
        values = np.rint(top * RAMP).astype("uint16")
        np.save(tmp_path / name, values) if name == "a.npy" else Image.fromarray(values).save(tmp_path / name)
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            assert read_image(tmp_path / name).max() == round(top / 257)
        assert [w.category for w in given] == [DarkImage] * nearly_black
        assert all(f"{tmp_path / name} has 16 bits a channel and uses 12" in str(w.message) for w in given)


def png(path, width, height):
    """A file that declares a size and has no pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return path


def test_the_size_is_looked_at_before_the_pixels(tmp_path):
    path = png(tmp_path / "a.png", 10**6, 10**6)
    for function in (read_image, image_size):
        with pytest.raises(OSError, match="a.png has too many pixels to be read at once; cut it into pieces"):
            function(path)


@pytest.mark.parametrize(
    "content",
    [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 60 40\n%%EndComments\nshowpage\n", b"%PDF-1.4\n", "PCX", "ICO"],
)
def test_the_list_of_formats_is_fixed(tmp_path, content):
    """Pillow starts Ghostscript for EPS, whatever the file is called."""
    path = tmp_path / "photo.jpg"
    if isinstance(content, str):
        Image.fromarray(GRAY).save(path, format=content)
    else:
        path.write_bytes(content)
    for function in (read_image, image_size):
        with pytest.raises(OSError, match="photo.jpg cannot be read: it is broken, none of JPEG, PNG, BMP"):
            function(path)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for name in ("pipe.png", "folder.png"):
        with pytest.raises(OSError, match=f"{name} cannot be read: it is no file"):
            read_image(tmp_path / name)


def test_an_open_file():
    file = io.BytesIO()
    Image.fromarray(GRAY).save(file, format="PNG")
    np.testing.assert_array_equal(read_image(file, channels=1)[..., 0], GRAY)


def test_hidden_files_are_no_images(tmp_path):
    for name in ("b.PNG", "a.jpg", "._a.jpg", "a.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in image_files(tmp_path)] == ["a.jpg", "b.PNG"]


def test_paths_stay_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert path_within("set", "a/../b.png") == "set/a/../b.png" and path_within("set", "..a.png") == "set/..a.png"
    assert path_within("set", str(tmp_path / "set" / "a.png")) == str(tmp_path / "set" / "a.png")
    for name in ("../a.png", "a/../../set2/b.png", "/etc/passwd"):
        with pytest.raises(ValueError, match="leads out of set; move it there, or load the set with outside=True"):
            path_within("set", name)
        assert path_within("set", name, outside=True) == os.path.join("set", name)
    for name in (None, 5, "", "a\n.png", "a\0.png", ["a.png"]):
        with pytest.raises(ValueError, match="is not the name of a file"):
            path_within("set", name, outside=True)
