import numpy as np
import pytest
from PIL import Image

from mrcnn.data.reading import image_size, read_image


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


def test_image_size_of_a_turned_photo(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg", exif=exif)
    assert image_size(tmp_path / "a.jpg") == (40, 30)
    (tmp_path / "b.jpg").write_bytes(b"no image")
    with pytest.raises(OSError, match="b.jpg cannot be read"):
        image_size(tmp_path / "b.jpg")
