"""detect --tiles: several large images, one of which cannot be read."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from PIL import Image
from real_data import ROOT

sys.path.insert(0, str(ROOT / "samples"))

import pictures

from mrcnn.cli import program
from mrcnn.models.tiled import detect_tiled
from mrcnn.ops.masks import encode_rle, extract_bboxes

BAD = "b.png", "c.npy", "d.tif"


class White:
    """Finds what is white in a tile."""

    config = SimpleNamespace(IMAGE_CHANNEL_COUNT=3, DETECTION_MIN_CONFIDENCE=0.5)

    def detect_tiled(self, image, tile, verbose):
        return detect_tiled(self.detect, image, tile, 0.25)

    def detect(self, images):
        results = []
        for image in images:
            mask = image[..., 0] == 255
            count = int(mask.any())
            boxes = extract_bboxes(np.repeat(mask[..., None], count, axis=-1))
            ids, scores = np.ones(count, "int32"), np.full(count, 0.9, "float32")
            masks = [encode_rle(mask)] * count
            results.append({"rois": boxes, "class_ids": ids, "scores": scores, "masks": masks})
        return results


@pytest.fixture
def folder(tmp_path):
    pixels = np.zeros((150, 200, 3), "uint8")
    pixels[40:90, 30:120] = 255
    (tmp_path / "large images").mkdir()
    Image.fromarray(pixels).save(tmp_path / "large images" / "a.png")
    (tmp_path / "large images" / "b.png").write_bytes(b"no image")
    return tmp_path / "large images"


@pytest.mark.parametrize("name", ["found.png", "found.json"])
def test_a_broken_image_does_not_lose_the_others(name, folder, capsys):
    """One is no image, one has too many channels, one breaks off after its first strips."""
    np.save(folder / "c.npy", np.zeros((150, 200, 5), "uint8"))
    tifffile.imwrite(folder / "d.tif", np.zeros((150, 200), "uint8"), rowsperstrip=16, compression="zlib")
    content = (folder / "d.tif").read_bytes()
    (folder / "d.tif").write_bytes(content[:-40] + bytes(40))
    output = folder.parent / name
    args = SimpleNamespace(image=folder, video=None, tiles=64, limit=None, refine=False, output=output)
    args.tolerance = args.transform = None
    assert pictures.detect(args, White(), None, ["BG", "white"]) == program.FAILED
    said = capsys.readouterr()
    assert "a.png: 1 white\n" in said.out and said.err.count("\n") == 3
    assert all(line.startswith(f"{name}: ") for line, name in zip(said.err.split("\n"), BAD, strict=False))
    if name == "found.json":
        (entry,) = json.loads(output.read_text())["annotations"]
        assert entry["bbox"] == [30, 40, 90, 50]
    else:
        with Image.open(output) as picture:
            assert picture.size == (200, 150)
            # The mask's colour lies over what was white.
            assert picture.getpixel((100, 80)) != (255, 255, 255) and picture.getpixel((190, 140)) == (0, 0, 0)


def test_nothing_can_be_read(folder):
    (folder / "a.png").unlink()
    args = SimpleNamespace(image=folder, video=None, tiles=64, limit=None, refine=False, output=None)
    with pytest.raises(OSError, match=r"b\.png"):
        pictures.detect(args, White(), None, ["BG", "white"])
