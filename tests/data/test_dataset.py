import json

import numpy as np
import pytest
from PIL import Image

from mrcnn.data.dataset import Dataset


@pytest.fixture
def dataset():
    """What the original was fed with for the golden case."""
    data = Dataset()
    data.add_class("coco", 1, "person, human")
    data.add_class("coco", 3, "car")
    data.add_class("coco", 3, "car again")
    data.add_class("toy", 1, "block")
    data.add_image("coco", "a17", "/x/a17.jpg", width=3)
    data.add_image("toy", 5, "/x/5.jpg")
    return data


def test_dataset(golden, dataset):
    dataset.prepare()
    expected = json.loads(str(golden("utils_golden.npz", "dataset").outs["json"]))
    result = {
        name: getattr(dataset, name)
        for name in ("class_from_source_map", "class_info", "class_names", "image_from_source_map", "image_info")
        + ("num_classes", "num_images", "source_class_ids")
    }
    result["class_ids"] = dataset.class_ids.tolist()
    result["image_ids"] = dataset.image_ids.tolist()
    result["sources"] = sorted(dataset.sources)
    result["get_source_3_toy"] = dataset.get_source_class_id(3, "toy")
    result["map_coco_3"] = dataset.map_source_class_id("coco.3")
    result["link"] = dataset.source_image_link(0)
    assert result == expected


def test_before_prepare(dataset):
    assert len(dataset.image_ids) == 0
    assert dataset.image_reference(0) == ""


def test_source_without_dot(dataset):
    with pytest.raises(ValueError, match="dot"):
        dataset.add_class("a.b", 1, "x")


def test_class_of_another_source(dataset):
    with pytest.raises(ValueError, match="Class 3 is of source 'toy', not 'coco'"):
        dataset.get_source_class_id(3, "coco")


def test_default_mask_is_empty(dataset):
    dataset.add_image("toy", 6, "/x/6.jpg", width=7, height=5)
    for image_id, shape in [(0, (0, 3, 0)), (1, (0, 0, 0)), (2, (5, 7, 0))]:
        masks, class_ids = dataset.load_mask(image_id)
        assert masks.shape == shape and masks.dtype == bool
        assert class_ids.shape == (0,) and class_ids.dtype == np.int32


def test_load_image(tmp_path, dataset):
    pixels = np.arange(20, dtype="uint8").reshape(4, 5)
    Image.fromarray(pixels).save(tmp_path / "gray.png")
    dataset.add_image("toy", 6, tmp_path / "gray.png")
    image = dataset.load_image(2)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.stack([pixels] * 3, axis=-1))
    with pytest.raises(OSError, match="/x/5.jpg"):
        dataset.load_image(1)
