"""Reading COCO's format, made by hand and real."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO
from real_data import real_data

from mrcnn.data import coco as coco_module
from mrcnn.data.coco import CocoDataset

# 4 x 6 pixels; the mask of columns 1..2, rows 1..3, in three notations, and one without a pixel
SQUARE = np.zeros((4, 6), bool)
SQUARE[1:4, 1:3] = True
POLYGON = [[1, 1, 3, 1, 3, 4, 1, 4]]
COUNTS = {"size": [4, 6], "counts": [5, 3, 1, 3, 12]}
COMPRESSED = rle.frPyObjects(COUNTS, 4, 6) | {}
COMPRESSED["counts"] = COMPRESSED["counts"].decode()


def annotation(i, image_id, category_id, segmentation, iscrowd=0):
    fields = {"id": i, "image_id": image_id, "category_id": category_id, "segmentation": segmentation}
    return fields | {"iscrowd": iscrowd, "area": 6, "bbox": [1, 1, 2, 3]}


CONTENT = {
    "images": [{"id": i, "file_name": f"{i}.png", "height": 4, "width": 6} for i in (30, 10, 20)],
    "categories": [{"id": 7, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 90, "name": "toothbrush"}],
    "annotations": [
        annotation(1, 10, 7, POLYGON),
        annotation(2, 10, 2, COUNTS, iscrowd=1),
        annotation(3, 10, 90, COMPRESSED),
        annotation(4, 10, 90, [[1, 1, 1, 1, 1, 1]]),
        annotation(5, 10, 90, []),
        annotation(6, 10, 90, [[1, 1, 3, 4]]),
        annotation(7, 20, 7, [[1, 1, 3, 1, 3, 2, 1, 2], [1, 2, 3, 2, 3, 4, 1, 4]]),
    ],
}


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path, "val", CONTENT)


def write(folder, subset, content):
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / f"{subset}2017").mkdir(exist_ok=True)
    (folder / "annotations" / f"instances_{subset}2017.json").write_text(json.dumps(content))
    for image in content["images"]:
        Image.new("RGB", (6, 4)).save(folder / f"{subset}2017" / image["file_name"])
    return folder


def load(folder, subset="val", **options):
    dataset = CocoDataset()
    dataset.load_coco(folder, subset, **options)
    dataset.prepare()
    return dataset


def test_all_images_and_classes(folder, capsys):
    dataset = load(folder)
    assert dataset.class_names == ["BG", "dog", "cat", "toothbrush"]
    assert [info["id"] for info in dataset.image_info] == [30, 10, 20]
    assert dataset.load_image(0).shape == (4, 6, 3)
    assert isinstance(dataset.coco, COCO) and len(dataset.coco.anns) == 7
    assert dataset.image_reference(1) == "https://cocodataset.org/#explore?id=10"
    assert capsys.readouterr().out == ""


def test_class_ids_map_both_ways(folder):
    dataset = load(folder)
    assert [dataset.map_source_class_id(f"coco.{i}") for i in (2, 7, 90)] == [1, 2, 3]
    assert [dataset.get_source_class_id(i, "coco") for i in (1, 2, 3)] == [2, 7, 90]


def test_every_notation_of_a_mask(folder):
    dataset = load(folder)
    masks, class_ids = dataset.load_mask(1)
    # the crowd of dogs is negative; annotations 4 to 6 have no pixel
    assert class_ids.tolist() == [2, -1, 3] and class_ids.dtype == "int32"
    assert masks.dtype == bool and masks.shape == (4, 6, 3)
    assert all(np.array_equal(masks[..., i], SQUARE) for i in range(3))
    masks, class_ids = dataset.load_mask(2)
    assert class_ids.tolist() == [2] and np.array_equal(masks[..., 0], SQUARE)


def test_image_without_objects(folder):
    masks, class_ids = load(folder).load_mask(0)
    assert masks.shape == (4, 6, 0) and masks.dtype == bool
    assert class_ids.shape == (0,) and class_ids.dtype == "int32"


@pytest.mark.parametrize("choice", [{"class_ids": [90, 2]}, {"class_names": ["toothbrush", "dog"]}])
def test_class_subset(folder, choice):
    dataset = load(folder, **choice)
    assert dataset.class_names == ["BG", "toothbrush", "dog"]
    assert [info["id"] for info in dataset.image_info] == [10]
    assert dataset.load_mask(0)[1].tolist() == [-2, 1]


def test_ids_and_names_together(folder):
    assert load(folder, class_ids=[90], class_names=["cat", "toothbrush"]).class_names == ["BG", "toothbrush", "cat"]


def test_two_subsets_in_one_dataset(folder):
    images = [image | {"id": image["id"] + 1} for image in CONTENT["images"]]
    write(folder, "train", CONTENT | {"images": images, "annotations": [annotation(8, 31, 2, POLYGON)]})
    dataset = CocoDataset()
    train = dataset.load_coco(folder, "train", return_coco=True)
    assert dataset.load_coco(folder, "val") is None
    dataset.prepare()
    assert [info["id"] for info in dataset.image_info] == [31, 11, 21, 30, 10, 20]
    assert dataset.num_classes == 4
    assert len(train.imgs) == 3 and len(train.anns) == 1
    assert len(dataset.coco.imgs) == 6 and len(dataset.coco.anns) == 8


def test_minival_has_its_own_file_and_vals_images(folder):
    (folder / "annotations" / "instances_val2017.json").rename(folder / "annotations" / "instances_minival2014.json")
    (folder / "val2017").rename(folder / "val2014")
    dataset = load(folder, "minival", year="2014")
    assert dataset.image_info[0]["path"] == str(folder / "val2014" / "30.png")


def test_other_sources_in_the_same_dataset(folder):
    dataset = CocoDataset()
    dataset.load_coco(folder, "val")
    dataset.add_image("other", 1, "x.png", height=3, width=5)
    dataset.prepare()
    assert dataset.load_mask(3)[0].shape == (3, 5, 0)
    assert dataset.image_reference(3) == ""


def test_unknown_classes_name_what_there_is(folder):
    with pytest.raises(ValueError, match=r"instances_val2017.json has no class 'toothbrsh'; did you mean toothbrush\?"):
        load(folder, class_names=["toothbrsh"])
    with pytest.raises(ValueError, match="has no class 'zebra'; it has cat, dog, toothbrush."):
        load(folder, class_names=["zebra"])
    with pytest.raises(ValueError, match="has no category id 3; it has 2, 7, 90."):
        load(folder, class_ids=[7, 3])


def test_missing_things_are_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"There is no data set folder {tmp_path / 'nowhere'}"):
        load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=f"no annotation file {folder}/annotations/instances_train2017.json"):
        load(folder, "train")
    (folder / "val2017").rename(folder / "pictures")
    with pytest.raises(FileNotFoundError, match=f"instances_val2017.json were looked for in {folder / 'val2017'}"):
        load(folder)


@pytest.mark.parametrize(
    "text, message",
    [
        (json.dumps(CONTENT)[:300], "is no JSON that can be used, or was cut off: "),
        ('{"images": [], "images": []}', "is no JSON that can be used, or was cut off: 'images' is given twice."),
        ("", "is no JSON that can be used, or was cut off: "),
        ("[1]", "is not in COCO's format: it holds a list, as a file of detections does, not an object with images, "),
        ("1", "is not in COCO's format: it holds 1, not an object."),
        ("[" * 100_000, "is not JSON of annotations: its brackets are nested too deep."),
        ("1" * 5000, "is no JSON that can be used, or was cut off: "),
        (json.dumps(CONTENT | {"categories": []}), "has no categories that can be used."),
        (
            json.dumps(CONTENT | {"images": [{"id": [], "file_name": "a.png"}]}),
            "has no images that can be used: image that cannot be used, image at place 0: its id [] is neither a whole",
        ),
        (
            json.dumps(CONTENT | {"categories": [{"id": 7, "name": "cat"}, {"id": 7, "name": "dog"}]}),
            ": the category id 7 is that of 'cat' and of 'dog'; give each its own.",
        ),
        (json.dumps({"images": [], "annotations": []}), "is not in COCO's format: it has no list 'categories'."),
        (json.dumps({"categories": [], "annotations": []}), "is not in COCO's format: it has no list 'images'."),
        (json.dumps(CONTENT | {"annotations": None}), "is not in COCO's format: it has no list 'annotations'."),
    ],
)
def test_other_files_are_refused(folder, text, message):
    path = folder / "annotations" / "instances_val2017.json"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        load(folder)
    assert str(error.value).startswith(f"{path} {message}".replace(" :", ":")) and "\n" not in str(error.value)


def test_run_lengths_of_another_size_are_left_out(folder):
    content = CONTENT | {"annotations": [annotation(5, 30, 2, {"size": [2, 2], "counts": [0, 4]}, iscrowd=1)]}
    dataset = load(write(folder, "val", content))
    assert dataset.load_mask(0)[0].shape == (4, 6, 0)
    (problem,) = dataset.problems
    assert (
        problem.what == "mask of another size than the image" and problem.details == "annotation 5: [2, 2], not [4, 6]"
    )


def test_download(folder, tmp_path, monkeypatch):
    server = tmp_path / "server"
    for zipped, name in [("zips/val2017.zip", "val2017"), ("annotations/annotations_trainval2017.zip", "annotations")]:
        (server / zipped).parent.mkdir(parents=True)
        with zipfile.ZipFile(server / zipped, "w") as archive:
            for path in (folder / name).iterdir():
                archive.write(path, f"{name}/{path.name}")
    monkeypatch.setattr(coco_module, "SERVER", server.as_uri())
    there = tmp_path / "there"
    (there / "annotations").mkdir(parents=True)
    (there / "annotations" / "mine.json").write_text("{}")
    assert load(there, auto_download=True).num_images == 3
    assert sorted(path.name for path in there.iterdir()) == ["annotations", "val2017"]
    assert (there / "annotations" / "mine.json").exists()
    # nothing is fetched again
    monkeypatch.setattr(coco_module, "SERVER", "http://127.0.0.1:9")
    assert load(there, auto_download=True).num_images == 3


def test_download_without_network(tmp_path, monkeypatch):
    monkeypatch.setattr(coco_module, "SERVER", "http://127.0.0.1:9")
    with pytest.raises(
        OSError, match=f"Could not download http://127.0.0.1:9/zips/val2017.zip .*at {tmp_path}/val2017.zip"
    ):
        load(tmp_path, auto_download=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("subset, images, objects, crowds", [("train", 80, 739, 8), ("val", 77, 590, 5)])
def test_real_coco(subset, images, objects, crowds):
    dataset = load(real_data("coco-mini"), subset)
    assert (dataset.num_images, dataset.num_classes) == (images, 81)
    class_ids = []
    for i in dataset.image_ids:
        masks, ids = dataset.load_mask(i)
        assert masks.shape[:2] == dataset.load_image(i).shape[:2] and masks.any((0, 1)).all()
        class_ids += ids.tolist()
    assert (len(class_ids), sum(i < 0 for i in class_ids)) == (objects, crowds)
    assert dataset.map_source_class_id("coco.90") == 80
    assert dataset.get_source_class_id(80, "coco") == 90


def test_real_people():
    dataset = load(real_data("coco-mini"), "val", class_names=["person"])
    assert (dataset.num_images, dataset.num_classes) == (37, 2)
    assert sum(len(info["annotations"]) for info in dataset.image_info) == 113
