"""Tiles of a data set: their pixels and the parts of objects in them, and what a tile has little of."""

import json

import numpy as np
import pytest
import tifffile
from squares import Squares
from toy_data import Shapes, config

from mrcnn.data import windows
from mrcnn.data.batches import DataGenerator
from mrcnn.data.coco import CocoDataset
from mrcnn.data.dataset import Dataset
from mrcnn.data.reading import write_image
from mrcnn.data.regions import load_regions
from mrcnn.data.tiles import TiledDataset
from mrcnn.evaluate import ground_truth


class Large(Shapes):
    """A picture of 200 x 150 with two objects and one without."""

    def __init__(self, instances=([(1, 10, 10, 50, 50), (2, 70, 40, 150, 140), (-1, 150, 0, 170, 30)], [])):
        super().__init__(list(instances), size=(200, 150))
        for info in self.image_info:
            info.update(height=200, width=150)

    def load_image(self, image_id):
        pixels = np.arange(200 * 150 * 3, dtype="uint32").reshape(200, 150, 3) + int(image_id)
        return (pixels % 251).astype("uint8")


def test_tiles_are_windows_of_the_images():
    whole = Large()
    tiles = TiledDataset(whole, 64, 0.25)
    assert tiles.class_names == whole.class_names and tiles.num_classes == 3
    assert len(tiles.image_ids) == 2 * 4 * 3
    masks, ids = whole.load_mask(0)
    seen = np.zeros(masks.shape, bool)
    for i in tiles.image_ids:
        info = tiles.image_info[i]
        y1, x1, y2, x2 = info["window"]
        np.testing.assert_array_equal(tiles.load_image(i), whole.load_image(info["image"])[y1:y2, x1:x2])
        own, own_ids = tiles.load_mask(i)
        if info["image"] == 1:
            assert own.shape == (64, 64, 0)
            continue
        expected = masks[y1:y2, x1:x2]
        kept = expected.any(axis=(0, 1))
        np.testing.assert_array_equal(own, expected[..., kept])
        assert np.abs(own_ids).tolist() == np.abs(ids)[kept].tolist()
        share = own.sum(axis=(0, 1)) / masks.sum(axis=(0, 1))[kept]
        assert ((own_ids < 0) == (share < 0.1) | (ids[kept] < 0)).all()
        seen[y1:y2, x1:x2] |= expected
        parts = [annotation.mask(64, 64) for annotation in tiles.load_annotations(i)]
        np.testing.assert_array_equal(np.reshape(parts, (-1, 64, 64)), np.moveaxis(own, -1, 0))
    np.testing.assert_array_equal(seen, masks)
    names = [info["id"] for info in tiles.image_info]
    assert len(set(names)) == len(names) and names[0] == "0 at 0, 0"


def test_tiles_without_objects_can_be_left_out():
    tiles = TiledDataset(Large(), 64, 0.25, empty=False)
    assert 0 < len(tiles.image_ids) < 12
    assert all(tiles.load_mask(i)[1].size for i in tiles.image_ids)


def test_training_and_evaluation_take_them():
    tiles = TiledDataset(Large(), 64, 0.25, empty=False)
    (inputs,) = DataGenerator(tiles, config(IMAGES_PER_GPU=2), shuffle=False)[0]
    assert inputs["input_image"].shape == (2, 64, 64, 3)
    assert (inputs["input_gt_class_ids"] != 0).any()
    truth = ground_truth(tiles)
    assert len(truth.dataset["annotations"]) == sum(len(tiles.load_mask(i)[1]) for i in tiles.image_ids)


def coco_set(tmp_path, *size):
    """A box and a polygon in a picture of that (height, width), annotated at 60 x 128."""
    box, polygon = {"bbox": [40, 10, 60, 20]}, {"bbox": [10, 30, 20, 20], "segmentation": [[10, 30, 30, 30, 30, 50]]}
    entries = [{"id": k, "image_id": 1, "category_id": 1, **x} for k, x in enumerate((box, polygon), 1)]
    images = [{"id": 1, "file_name": "a.png", "height": 60, "width": 128}]
    content = {"images": images, "annotations": entries, "categories": [{"id": 1, "name": "one"}]}
    for folder in ("annotations", "train2017"):
        (tmp_path / folder).mkdir()
    write_image(tmp_path / "train2017" / "a.png", np.zeros((*size, 3), "uint8"))
    (tmp_path / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    dataset = CocoDataset()
    dataset.load_coco(tmp_path, "train")
    dataset.prepare()
    return dataset


def test_boxes_without_masks_stay_boxes(tmp_path):
    tiles = TiledDataset(coco_set(tmp_path, 60, 128), 64, 0)
    assert [tiles.load_mask(i)[1].tolist() for i in (0, 1)] == [[1], []]
    assert [tiles.load_box_masks(i)[1].tolist() for i in (0, 1)] == [[1, 1], [1]]
    assert [load_regions(tiles, i)[1].tolist() for i in (0, 1)] == [[1, -1], [-1]]
    (bare,) = tiles.load_annotations(1)
    assert not bare.has_mask() and bare.box.tolist() == [0, 10, 36, 20]


def test_a_picture_of_another_size_than_annotated_is_refused(tmp_path):
    tiles = TiledDataset(coco_set(tmp_path, 120, 256), 64, 0)
    with pytest.raises(ValueError, match=r"a\.png: the picture is 256x120, but annotated at 128x60"):
        tiles.load_image(0)


def test_windows_of_a_file_alone_are_read(tmp_path, monkeypatch):
    pixels = Large().load_image(0)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    dataset = Dataset()
    dataset.add_class("x", 1, "one")
    dataset.add_image("x", "a", str(tmp_path / "a.tif"), height=200, width=150)
    dataset.prepare()
    monkeypatch.setattr(windows, "read_image", None)
    tiles = TiledDataset(dataset, 128, 0)
    np.testing.assert_array_equal(tiles.load_image(3), pixels[72:, 22:])


def test_what_cannot_be_cut():
    with pytest.raises(ValueError, match=r"a\.png: give add_image its height and width"):
        TiledDataset(Squares(), 64)

    class Posed(Large):
        def load_keypoints(self, image_id):
            return np.zeros((len(self.instances[image_id]), 2, 3))

    with pytest.raises(ValueError, match=r"0\.png has keypoints"):
        TiledDataset(Posed(), 64)


@pytest.mark.parametrize("empty", [True, False])
def test_an_image_whose_masks_cannot_be_read_is_a_bad_one(empty, capsys):
    """As in the whole set: it ended the training before it began. Its tiles are named once, and are no row."""

    class Broken(Large):
        def load_mask(self, image_id):
            if image_id == 1:
                raise OSError("broken mask")
            return super().load_mask(image_id)

    tiles = TiledDataset(Broken([[(1, 10, 10, 190, 140)]] * 9), 128, 0, empty)
    own = [i for i, info in enumerate(tiles.image_info) if info["image"] == 1]
    assert len(own) == 4 and len(tiles.image_ids) == 36
    generator = DataGenerator(tiles, config(IMAGES_PER_GPU=2), shuffle=False)
    for i in range(len(generator)):
        assert (generator[i][0]["input_gt_class_ids"] != 0).any()
    assert sorted(generator.bad) == own
    assert capsys.readouterr().out == f"\nSkipping image {own[0]} (/toy/1.png): OSError: broken mask\n"
    with pytest.raises(OSError, match="broken mask"):
        ground_truth(tiles)


def test_an_error_of_ones_own_code_ends_the_training_on_tiles_too():
    whole = Large([[(1, 10, 10, 190, 140)]] * 40)
    tiles = TiledDataset(whole, 128, 0)
    whole.load_mask = lambda image_id: {}["polygons"]
    with pytest.raises(RuntimeError, match="^3 images in a row failed alike, .*: KeyError: 'polygons'$"):
        DataGenerator(tiles, config())[0]
