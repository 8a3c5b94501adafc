"""Folders of masks and images of labels."""

import numpy as np
import pytest
from PIL import Image

from mrcnn.data.label_images import LabelImageDataset
from mrcnn.data.mask_folders import MaskFolderDataset


def picture(path, values=None, size=(30, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*size, 3), "uint8") if values is None else values).save(path)
    return path


def load(dataset_class, method, *args, **options):
    dataset = dataset_class()
    getattr(dataset, method)(*args, **options)
    dataset.prepare()
    return dataset


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


def test_one_bad_image_does_not_lose_the_set(tmp_path):
    """Its size could not be read, and no image was loaded."""
    for name in ("a", "b", "c"):
        picture(tmp_path / "images" / f"{name}.png")
        picture(tmp_path / "masks" / name / "1.png", mask(1, 2, 5, 9))
        picture(tmp_path / "labels" / f"{name}.png", mask(1, 2, 5, 9))
    (tmp_path / "images" / "a.png").write_bytes(b"no image")
    (tmp_path / "labels" / "b.png").unlink()
    folders = load(MaskFolderDataset, "load_mask_folder", tmp_path)
    labels = load(LabelImageDataset, "load_label_images", tmp_path)
    assert [info["id"] for info in folders.image_info] == ["b", "c"]
    assert [info["id"] for info in labels.image_info] == ["c"] and labels.load_mask(0)[0].sum() == 28
    bad, missing = str(tmp_path / "images" / "a.png"), str(tmp_path / "images" / "b.png")
    assert [(p.what, p.path) for p in folders.problems] == [("image cannot be read", bad)]
    assert [(p.what, p.path) for p in labels.validate(verbose=0)] == [
        ("labels missing", missing),
        ("image cannot be read", bad),
    ]
    assert all(problem.remedy for problem in labels.problems)
    for name in ("b", "c"):
        (tmp_path / "images" / f"{name}.png").write_bytes(b"no image")
    with pytest.raises(OSError, match="a.png cannot be read"):
        MaskFolderDataset().load_mask_folder(tmp_path)


@pytest.mark.parametrize(
    "classes, message",
    [
        ("balloon", "classes is 'balloon'; it must be a list of names"),  # seven classes of a letter each
        ([], "it must be a list of names"),
        ([1], "it must be a list of names"),
        (None, "it must be a list of names"),
        (5, "it must be a list of names"),
        (["cat", "cat"], "classes has a name twice: cat, cat"),
    ],
)
def test_classes_are_names(tmp_path, classes, message):
    for load_from in (MaskFolderDataset().load_mask_folder, LabelImageDataset().load_label_images):
        with pytest.raises(ValueError, match=message):
            load_from(tmp_path, classes=classes)


def test_two_folders_of_one_source_have_the_same_classes(tmp_path):
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "masks" / "a" / "1.png", mask(1, 2, 5, 9))
    dataset = load(MaskFolderDataset, "load_mask_folder", tmp_path, classes=["cat"])
    dataset.load_mask_folder(tmp_path, classes=["cat", "dog"])
    with pytest.raises(ValueError, match="Source 'masks' has class 1 'cat' already; give 'dog' another source"):
        dataset.load_mask_folder(tmp_path, classes=["dog"])


@pytest.mark.parametrize("divisor", [0, -1, 1, 2.5, "a", True])
def test_a_divisor_is_a_number_above_1(tmp_path, divisor):
    with pytest.raises(ValueError, match="it must be a whole number above 1, or None"):
        LabelImageDataset().load_label_images(tmp_path, divisor=divisor)


def test_more_labels_than_the_memory_holds(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    picture(tmp_path / "images" / "a.png")
    picture(
        tmp_path / "labels" / "a.png", np.kron(rng.integers(0, 255, (15, 20, 3)), np.ones((2, 2, 1))).astype("uint8")
    )
    monkeypatch.setattr("mrcnn.data.label_images.MASK_BYTES", 10**5)
    dataset = load(LabelImageDataset, "load_label_images", tmp_path)
    with pytest.raises(ValueError, match=r"a.png has 300 labels at 40x30: an image, or to be cut"):
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
