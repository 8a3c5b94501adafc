"""The VGG Image Annotator's format, folders of masks, images of labels: made by hand, and real."""

import json

import numpy as np
import pytest
from PIL import Image
from real_data import real_data

from mrcnn.data.label_images import LabelImageDataset
from mrcnn.data.mask_folders import MaskFolderDataset
from mrcnn.data.via import ViaDataset


def picture(path, values=None, size=(30, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*size, 3), "uint8") if values is None else values).save(path)
    return path


def region(shape, **attributes):
    return {"shape_attributes": shape, "region_attributes": attributes}


RECT = {"name": "rect", "x": 5, "y": 3, "width": 10, "height": 4}
POLYGON = {"name": "polygon", "all_points_x": [20, 30, 30, 20], "all_points_y": [10, 10, 20, 20]}
CIRCLE = {"name": "circle", "cx": 38, "cy": 28, "r": 6}
ELLIPSE = {"name": "ellipse", "cx": 20, "cy": 15, "rx": 12, "ry": 3}


def via(folder, regions, project=False, name="a b.png"):
    picture(folder / name)
    content = {f"{name}123": {"filename": name, "size": 123, "regions": regions, "file_attributes": {}}}
    (folder / "via_region_data.json").write_text(
        json.dumps({"_via_settings": {}, "_via_img_metadata": content} if project else content)
    )
    return folder


def load(dataset_class, method, *args, **options):
    dataset = dataset_class()
    getattr(dataset, method)(*args, **options)
    dataset.prepare()
    return dataset


@pytest.mark.parametrize("project", [False, True])
@pytest.mark.parametrize("as_list", [False, True])
def test_via_shapes(tmp_path, project, as_list):
    regions = [region(RECT), region(POLYGON), region(CIRCLE), region(ELLIPSE)]
    regions = regions if as_list else {str(i): r for i, r in enumerate(regions)}
    dataset = load(ViaDataset, "load_via", via(tmp_path, regions, project), classes=["balloon"])
    masks, class_ids = dataset.load_mask(0)
    assert masks.shape == (30, 40, 4) and masks.dtype == bool
    assert class_ids.tolist() == [1] * 4 and dataset.class_names == ["BG", "balloon"]
    assert np.array_equal(np.argwhere(masks[..., 0])[[0, -1]], [[3, 5], [6, 14]]) and masks[..., 0].sum() == 40
    assert np.array_equal(np.argwhere(masks[..., 1])[[0, -1]], [[10, 20], [20, 30]])
    y, x = np.mgrid[:30, :40]
    np.testing.assert_array_equal(masks[..., 2], (x - 38) ** 2 + (y - 28) ** 2 < 36)  # cut by the border
    assert masks[15, 9, 3] and not masks[9, 20, 3]
    assert dataset.load_image(0).shape == (30, 40, 3)


def test_via_ellipse_turned(tmp_path):
    """A quarter to the right of straight down: from the upper left to the lower right."""
    turned = {**ELLIPSE, "theta": np.pi / 4}
    (masks, _) = load(ViaDataset, "load_via", via(tmp_path, [region(turned)])).load_mask(0)
    assert masks[21, 26, 0] and masks[9, 14, 0] and not masks[9, 26, 0] and not masks[21, 14, 0]


def test_via_classes_by_attribute(tmp_path):
    regions = [region(RECT, kind="dog"), region(POLYGON, kind={"cat": True, "dog": False}), region(CIRCLE, kind="dog")]
    folder = via(tmp_path, regions)
    dataset = load(ViaDataset, "load_via", folder, attribute="kind", classes=None)
    assert dataset.class_names == ["BG", "cat", "dog"] and dataset.load_mask(0)[1].tolist() == [2, 1, 2]
    dataset = load(ViaDataset, "load_via", folder, attribute="kind", classes=["dog", "cat"])
    assert dataset.load_mask(0)[1].tolist() == [1, 2, 1]
    with pytest.raises(ValueError, match="a region of a b.png has kind = 'cat'; classes are dog, cow."):
        ViaDataset().load_via(folder, attribute="kind", classes=["dog", "cow"])


def test_via_without_regions_is_background(tmp_path):
    masks, class_ids = load(ViaDataset, "load_via", via(tmp_path, {})).load_mask(0)
    assert masks.shape == (30, 40, 0) and class_ids.shape == (0,)


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"a": ', "is not JSON, or was cut off"),
        ('{"images": [], "annotations": []}', "is not the VGG Image Annotator's"),
        ("[]", "is not the VGG Image Annotator's"),
    ],
)
def test_via_files_that_are_not(tmp_path, text, message):
    (tmp_path / "via_region_data.json").write_text(text)
    with pytest.raises(ValueError, match=f"via_region_data.json {message}"):
        ViaDataset().load_via(tmp_path)


def test_via_point_has_no_area(tmp_path):
    dataset = load(ViaDataset, "load_via", via(tmp_path, [region({"name": "point", "cx": 1, "cy": 1})]))
    with pytest.raises(ValueError, match="a b.png: a point without 'an area'"):
        dataset.load_mask(0)


def test_real_balloons():
    folder = real_data("balloon")
    for subset, images, regions in (("train", 61, 255), ("val", 13, 50)):
        dataset = load(ViaDataset, "load_via", folder / subset, classes=["balloon"])
        counts = [dataset.load_mask(i)[0].any((0, 1)).sum() for i in dataset.image_ids]
        assert (len(counts), sum(counts)) == (images, regions)


def mask(*box):
    values = np.zeros((30, 40), "uint8")
    values[box[0] : box[2], box[1] : box[3]] = 255
    return values


@pytest.mark.parametrize("layout", ["one folder an image", "one folder of masks"])
def test_mask_folder(tmp_path, layout):
    for name in ("a", "b"):
        each = layout == "one folder an image"
        picture(tmp_path / (f"{name}/images/{name}.png" if each else f"images/{name}.png"))
        masks = tmp_path / (f"{name}/masks" if each else f"masks/{name}")
        if name == "a":
            picture(masks / "1.png", mask(1, 2, 5, 9))
            picture(masks / "dog" / "2.png", mask(10, 20, 15, 30))
    dataset = load(MaskFolderDataset, "load_mask_folder", tmp_path, classes=["cat", "dog"])
    assert [info["id"] for info in dataset.image_info] == ["a", "b"]
    masks, class_ids = dataset.load_mask(0)
    assert masks.sum((0, 1)).tolist() == [28, 50] and class_ids.tolist() == [1, 2]
    assert dataset.load_mask(1)[0].shape == (30, 40, 0)


@pytest.mark.parametrize("nested", [False, True])
def test_a_missing_folder_of_masks_is_named(tmp_path, nested):
    """Every image was background."""
    for name in ("a", "b"):
        picture(tmp_path / (f"{name}/images/{name}.png" if nested else f"images/{name}.png"))
    missing = tmp_path / ("a/masks" if nested else "masks/a")
    with pytest.raises(FileNotFoundError) as error:
        MaskFolderDataset().load_mask_folder(tmp_path)
    assert str(error.value) == f"No image of {tmp_path} has a folder of masks; that of a.png would be {missing}."
    assert load(MaskFolderDataset, "load_mask_folder", tmp_path, required=False).num_images == 2


def test_mask_folder_mistakes(tmp_path):
    with pytest.raises(FileNotFoundError, match="There are no images in .*/images, nor in"):
        MaskFolderDataset().load_mask_folder(tmp_path)
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "masks" / "a" / "1.png", np.zeros((20, 40), "uint8"))
    dataset = load(MaskFolderDataset, "load_mask_folder", tmp_path)
    with pytest.raises(ValueError, match="1.png is 40x20, its image 40x30"):
        dataset.load_mask(0)
    picture(tmp_path / "masks" / "a" / "1.png", np.zeros((30, 40), "uint8"))
    picture(tmp_path / "masks" / "a" / "cow" / "1.png", np.zeros((30, 40), "uint8"))
    with pytest.raises(ValueError, match="cow is not named after a class; they are object"):
        dataset.load_mask(0)


@pytest.mark.parametrize("dtype, divisor", [("uint8", None), ("uint16", 1000)])
def test_label_images(tmp_path, dtype, divisor):
    labels = np.zeros((30, 40), dtype)
    labels[2:5, 3:9] = 1001 if divisor else 7
    labels[10:20, 10:20] = 2001 if divisor else 9
    picture(tmp_path / "images" / "a.jpg")
    picture(tmp_path / "labels" / "a.png", labels)
    dataset = load(LabelImageDataset, "load_label_images", tmp_path, classes=["cat", "dog"], divisor=divisor)
    masks, class_ids = dataset.load_mask(0)
    assert masks.sum((0, 1)).tolist() == [18, 100] and class_ids.tolist() == ([1, 2] if divisor else [1, 1])
    picture(tmp_path / "labels" / "a.png", np.zeros((30, 40), dtype))
    assert dataset.load_mask(0)[0].shape == (30, 40, 0)


def test_label_image_mistakes(tmp_path):
    picture(tmp_path / "images" / "a.jpg")
    with pytest.raises(FileNotFoundError, match="There are no labels .*a.png for .*a.jpg"):
        LabelImageDataset().load_label_images(tmp_path)
    picture(tmp_path / "labels" / "a.png", np.full((30, 40), 3001, "uint16"))
    dataset = load(LabelImageDataset, "load_label_images", tmp_path, divisor=1000)
    with pytest.raises(ValueError, match="a.png: label 3001 is of class 3; there are 1 classes"):
        dataset.load_mask(0)
