"""Folders as other tools write them, whole and broken: what is wrong is named with file and entry, never raised."""

import json

import numpy as np
import pytest
import tifffile
from foreign_folders import BOX, SQUARE, H, W, coco, labelme, objects, picture, png, problems, shape, text, voc
from PIL import Image as Picture

from mrcnn.data.formats import FolderDataset, find, read
from mrcnn.data.formats.voc import palette


def test_labelme_has_polygons_rectangles_circles_groups_and_masks(tmp_path):
    part = np.ones((4, 6), "uint8")
    part[1, 1] = 0
    folder = labelme(
        tmp_path,
        shape(SQUARE),
        shape([[14, 13], [4, 3]], "rectangle"),
        shape([[20, 12], [20, 7]], "circle"),
        shape([[20, 2], [24, 2], [24, 6], [20, 6]], group_id=1),
        shape([[30, 2], [34, 2], [34, 6], [30, 6]], group_id=1),
        shape([[2, 16], [7, 19]], "mask", mask=png(part)),
        shape(SQUARE, flags={"crowd": True}, label="Größe"),
        imagePath="C:\\Users\\me\\a.png",
    )
    found = objects(read(folder))
    assert find(folder) == "labelme"
    assert found[0] == ("cell", [4, 3, 10, 10], 100, False)
    assert found[1] == ("cell", [4, 3, 10, 10], 0, False)
    assert found[2][1] == [15, 7, 10, 10] and abs(found[2][2] - np.pi * 25) < 3
    assert found[3][1:] == ([20, 2, 14, 4], 32, False)
    assert found[4][1:] == ([2, 16, 6, 4], 23, False)
    assert found[5] == ("Größe", [4, 3, 10, 10], 100, True)
    assert problems(read(folder)) == [("object without a mask", "a.json", "shape 1")]


@pytest.mark.parametrize(
    "bad, what, details",
    [
        (shape([[3, 3]], "point"), "region that cannot be used", "shape 1: a 'point' of 1 points has no area"),
        (shape([[3, 3], [5, float("nan")], [5, 5]]), "region that cannot be used", "numbers that are not finite"),
        (shape("x"), "region that cannot be used", "shape 1: its points are 'x'"),
        (7, "region that cannot be used", "shape 1: it is 7, not an object"),
        (shape(SQUARE, label=""), "class without a name", "shape 1: ''"),
        (shape([[90, 90], [95, 90], [95, 95]]), "mask outside the image", "shape 1: "),
        (shape([[2, 2], [4, 4]], "mask", mask="no"), "region that cannot be used", "its mask is no PNG in base64"),
        (shape([[2, 2], [4, 4]], "mask", mask=png(np.ones((99, 99), "uint8"))), "region that cannot be used", "99x99"),
    ],
)
def test_a_bad_shape_of_labelme_is_named(tmp_path, bad, what, details):
    files = read(labelme(tmp_path, shape(SQUARE), bad))
    assert len(objects(files)) == 1
    assert problems(files)[0][:2] == (what, "a.json") and details in problems(files)[0][2]


def test_an_image_of_another_size_and_a_file_that_is_none_are_named(tmp_path):
    labelme(tmp_path, shape(SQUARE), imageHeight=99)
    picture(tmp_path / "b.png")
    good = {"shapes": [shape(SQUARE)], "imagePath": "b.png", "imageHeight": H, "imageWidth": W}
    text(tmp_path / "b.json", json.dumps(good))
    text(tmp_path / "c.json", "{")
    text(tmp_path / "d.json", json.dumps({**good, "imagePath": "gone.png"}))
    found = [what for what, *_ in problems(read(tmp_path, "labelme"))]
    assert found == ["image of another size than annotated", "annotation file that cannot be used", "file missing"]


def test_voc_counts_from_one_and_labelimg_from_zero(tmp_path):
    picture(tmp_path / "VOC" / "JPEGImages" / "a.png")
    voc(tmp_path / "VOC" / "Annotations" / "a.xml", (5, 4, 14, 13, 0), database="The VOC2007 Database")
    picture(tmp_path / "LabelImg" / "a.png")
    voc(tmp_path / "LabelImg" / "a.xml", (4, 3, 14, 13, 1))
    assert objects(read(tmp_path / "VOC")) == [("dog", [4, 3, 10, 10], 0, False)]
    assert objects(read(tmp_path / "LabelImg")) == [("dog", [4, 3, 10, 10], 0, True)]


def test_voc_has_parts(tmp_path):
    for name in ("a", "b"):
        picture(tmp_path / "JPEGImages" / f"{name}.png")
        voc(tmp_path / "Annotations" / f"{name}.xml", (4, 3, 14, 13, 0), name=f"{name}.png")
    text(tmp_path / "ImageSets" / "Main" / "train.txt", "a\n")
    text(tmp_path / "ImageSets" / "Main" / "val.txt", "b  1\nc\n")
    files = read(tmp_path)
    assert {part: [image.path[-5:] for image in file.images.values()] for part, file in files.items()} == {
        "train": ["a.png"],
        "val": ["b.png"],
    } and problems(files, "val") == [("labels missing", "c.xml", "")]


def test_bad_boxes_of_voc_are_named(tmp_path):
    picture(tmp_path / "a.png")
    voc(tmp_path / "a.xml", (4, 3, 14, 13, 0), ("x", 3, 14, 13, 0), ("nan", 3, 14, 13, 0), (4, 3, 400, 13, 0))
    files = read(tmp_path)
    assert len(objects(files)) == 1
    found = problems(files)
    assert found[0] == ("bbox that cannot be read", "a.xml", "object 2: its bndbox/xmin is 'x', no number")
    assert [what for what, *_ in found[1:]] == [
        "annotation that cannot be used",
        "bbox that cannot be read",
        "annotation that cannot be used",
        "box outside the image",
        "annotation that cannot be used",
    ]


def test_entities_of_xml_are_refused(tmp_path):
    picture(tmp_path / "a.png")
    voc(tmp_path / "a.xml", (4, 3, 14, 13, 0))
    picture(tmp_path / "b.png")
    lines = "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' for k in range(1, 20))
    bomb = f'<!DOCTYPE x [<!ENTITY l0 "lol">{lines}]><annotation><filename>&l19;</filename></annotation>'
    for encoding in ("utf-8", "utf-16"):
        (tmp_path / "b.xml").write_bytes(f'<?xml version="1.0" encoding="{encoding}"?>{bomb}'.encode(encoding))
        (what,) = problems(read(tmp_path))
        assert what[:2] == ("annotation file that cannot be used", "b.xml") and "has a DOCTYPE" in what[2]


def test_cvats_masks_are_colours(tmp_path):
    picture(tmp_path / "JPEGImages" / "a.png")
    numbers, classes = np.zeros((2, H, W, 3), "uint8")
    numbers[3:13, 4:14], numbers[3:13, 20:30] = (128, 0, 0), (0, 128, 0)
    classes[3:13, 4:14], classes[3:13, 20:30] = (10, 20, 30), (128, 128, 0)
    numbers[0] = classes[0] = (224, 224, 192)
    for sub, values in (("SegmentationObject", numbers), ("SegmentationClass", classes)):
        (tmp_path / sub).mkdir()
        Picture.fromarray(values).save(tmp_path / sub / "a.png")
    colours = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nKatze:10,20,30::\nHund:128,128,0::\n"
    text(tmp_path / "labelmap.txt", colours)
    assert objects(read(tmp_path)) == [("Katze", [4, 3, 10, 10], 100, False), ("Hund", [20, 3, 10, 10], 100, False)]


def test_yolo_of_roboflow_and_of_labelimg(tmp_path):
    box = f"1 {9 / W} {8 / H} {10 / W} {10 / H}\n"
    polygon = f"0 {' '.join(str(v) for x, y in SQUARE for v in (x / W, y / H))}\n"
    picture(tmp_path / "1" / "train" / "images" / "a.png")
    picture(tmp_path / "1" / "valid" / "images" / "b.png")
    text(tmp_path / "1" / "train" / "labels" / "a.txt", box + polygon)
    text(tmp_path / "1" / "data.yaml", "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n")
    files = read(tmp_path / "1")
    assert objects(files, "train") == [("dog", [4, 3, 10, 10], 0, False), ("cat", [4, 3, 10, 10], 100, False)]
    assert objects(files, "val") == [] and len(files["val"].images) == 1
    picture(tmp_path / "2" / "a.png")
    text(tmp_path / "2" / "a.txt", box)
    text(tmp_path / "2" / "classes.txt", "cat\ndog\n")
    assert objects(read(tmp_path / "2")) == [("dog", [4, 3, 10, 10], 0, False)]


def test_names_of_yolo_that_are_lists_of_lists_are_refused(tmp_path):
    lines = "".join(f"l{k}: &l{k} [{', '.join([f'*l{k - 1}'] * 10)}]\n" for k in range(1, 12))
    text(tmp_path / "data.yaml", f"l0: &l0 [x]\n{lines}names: *l11\n")
    with pytest.raises(ValueError, match="the names of classes have 0: .*, no number and name"):
        read(tmp_path, "yolo")


def test_bad_lines_of_yolo_are_named(tmp_path):
    picture(tmp_path / "images" / "a.png")
    lines = "0 .5 .5 .2 .2|0 .5 .5|9 .5 .5 .2 .2|x .5 .5 .2 .2|0 .5 .5 nan .2|0 5 5 .2 .2|0.5 1 1 1 1"
    text(tmp_path / "labels" / "a.txt", lines.replace("|", "\n"))
    text(tmp_path / "classes.txt", "cat")
    files = read(tmp_path)
    assert len(objects(files)) == 1
    found = {details.partition(":")[0]: what for what, _, details in reversed(problems(files))}
    assert found == {
        "line 2": "annotation that cannot be read",
        "line 3": "class not in the file",
        "line 4": "annotation that cannot be read",
        "line 5": "bbox that cannot be read",
        "line 6": "box outside the image",
        "line 7": "annotation that cannot be read",
    }


def test_coco_as_cvat_label_studio_and_roboflow_write_it(tmp_path):
    """CVAT says of every mask that it is a crowd; Label Studio counts from 0 and knows Windows' paths."""
    counts = [4 * H + 3, *[10, H - 10] * 9, 10, H - 13 + (W - 14) * H]
    mask = {"segmentation": {"counts": counts, "size": [H, W]}, "iscrowd": 1}
    picture(tmp_path / "cvat" / "images" / "default" / "sub" / "a.png")
    cvat = tmp_path / "cvat" / "annotations" / "instances_default.json"
    coco(cvat, "sub/a.png", **mask, attributes={"occluded": False})
    assert objects(read(tmp_path / "cvat")) == [("cell", [4, 3, 10, 10], 100, False)]
    coco(cvat, "sub/a.png", **mask, attributes={"occluded": False, "is_crowd": True})
    assert objects(read(tmp_path / "cvat")) == [("cell", [4, 3, 10, 10], 100, True)]
    coco(cvat, "sub/a.png", **mask)
    assert objects(read(tmp_path / "cvat"))[0][3]

    picture(tmp_path / "studio" / "images" / "a.png")
    coco(tmp_path / "studio" / "result.json", "images\\a.png", 0, segmentation=[], ignore=0, iscrowd=0)
    assert objects(read(tmp_path / "studio")) == [("cell", [4, 3, 10, 10], 0, False)]

    picture(tmp_path / "roboflow" / "train" / "a.png")
    picture(tmp_path / "roboflow" / "valid" / "b.png")
    coco(tmp_path / "roboflow" / "train" / "_annotations.coco.json", "a.png", segmentation=[np.ravel(SQUARE).tolist()])
    coco(tmp_path / "roboflow" / "valid" / "_annotations.coco.json", "b.png", segmentation=[np.ravel(SQUARE).tolist()])
    files = read(tmp_path / "roboflow")
    assert objects(files, "train") == objects(files, "val") == [("cell", [4, 3, 10, 10], 100, False)]
    for name in ("cvat", "studio", "roboflow"):
        assert find(tmp_path / name) == "coco" and not [p for f in read(tmp_path / name).values() for p in f.problems]


def test_pages_of_a_stack_are_images(tmp_path):
    stack = np.zeros((3, H, W), "uint16")
    stack[1] = 5000
    labels = np.zeros((3, H, W), "uint16")
    labels[1, 3:13, 4:14], labels[1, 3:13, 20:30], labels[2, 0:2, 0:2] = 700, 2, 1
    for sub, values in (("images", stack), ("labels", labels)):
        (tmp_path / sub).mkdir()
        tifffile.imwrite(tmp_path / sub / "s.tif", values, photometric="minisblack")
    dataset = FolderDataset()
    dataset.load_folder(tmp_path)
    dataset.prepare()
    assert [info["page"] for info in dataset.image_info] == [0, 1, 2] and not dataset.validate(verbose=0)
    assert [dataset.load_mask(i)[0].sum(axis=(0, 1)).tolist() for i in range(3)] == [[], [100, 100], [4]]
    assert dataset.load_image(1).shape == (H, W, 1) and dataset.load_image(1).max() == 5000


def test_pages_of_labels_are_the_objects_of_one_image(tmp_path):
    picture(tmp_path / "images" / "a.png")
    (tmp_path / "masks").mkdir()
    pages = np.zeros((2, H, W), "uint8")
    pages[0, 3:13, 4:14] = pages[1, 5:15, 6:16] = 255  # which overlap
    tifffile.imwrite(tmp_path / "masks" / "a.tif", pages, photometric="minisblack")
    assert [found[1] for found in objects(read(tmp_path))] == [[4, 3, 10, 10], [6, 5, 10, 10]]


def test_arrays_have_any_number_of_channels(tmp_path):
    for sub in ("images", "labels"):
        (tmp_path / sub).mkdir()
    labels = np.zeros((H, W), "int64")
    labels[3:13, 4:14] = 100_000
    np.save(tmp_path / "images" / "a.npy", np.full((H, W, 5), 9, "uint8"))
    np.save(tmp_path / "labels" / "a.npy", labels)
    np.save(tmp_path / "images" / "b.npy", np.zeros((5, H, W), "float32"))
    np.save(tmp_path / "labels" / "b.npy", labels)
    (tmp_path / "images" / "c.npy").write_bytes(b"\x93NUMPY")
    np.save(tmp_path / "labels" / "c.npy", labels)
    dataset = FolderDataset()
    dataset.load_folder(tmp_path)
    dataset.prepare()
    assert dataset.channels == 5 and dataset.load_image(0).shape == (H, W, 5)
    assert dataset.load_mask(0)[0].sum() == 100
    assert [p.what for p in dataset.problems] == ["image cannot be read", "image cannot be read"]
    assert "float32" in dataset.problems[0].details


def test_a_folder_in_no_format_or_in_two_is_refused(tmp_path):
    picture(tmp_path / "a.png")
    with pytest.raises(ValueError, match="is in none of the formats coco, labelme, .* docs/formats.md shows"):
        find(tmp_path)
    voc(tmp_path / "a.xml", (4, 3, 14, 13, 0))
    text(tmp_path / "a.txt", "0 .5 .5 .2 .2")
    text(tmp_path / "classes.txt", "cat")
    with pytest.raises(ValueError, match="may be in the formats voc, yolo; name one with --format"):
        find(tmp_path)
    assert objects(read(tmp_path, "yolo"))[0][0] == "cat"
    with pytest.raises(FileNotFoundError, match="There is no data set folder"):
        find(tmp_path / "none")


def test_a_part_and_classes_are_chosen(tmp_path):
    labelme(tmp_path / "train", shape(SQUARE, label="b"), shape(SQUARE, label="a"))
    labelme(tmp_path / "val", shape(SQUARE, label="c"))
    dataset = FolderDataset()
    dataset.load_folder(tmp_path, "train")
    dataset.prepare()
    assert dataset.class_names == ["BG", "a", "b", "c"] and dataset.load_mask(0)[1].tolist() == [2, 1]
    dataset = FolderDataset()
    dataset.load_folder(tmp_path, "train", class_names=["a"])
    dataset.prepare()
    assert dataset.class_names == ["BG", "a"] and dataset.load_mask(0)[1].tolist() == [1]
    with pytest.raises(FileNotFoundError, match="has no part 'test'; it has 'train', 'val'"):
        FolderDataset().load_folder(tmp_path, "test")


def test_boxes_with_an_empty_segmentation_are_objects(tmp_path):
    """Many scripts write [[]] of what has no mask; such an object was taken for one whose mask is broken, a crowd."""
    picture(tmp_path / "a.png")
    for nothing in ([[]], [], None):
        coco(tmp_path / "set.json", "a.png", segmentation=nothing)
        files = read(tmp_path)
        assert objects(files) == [("cell", [4, 3, 10, 10], 0, False)] and not problems(files)


def test_voc_of_cvat(tmp_path):
    """Folders within, parts of any case, boxes that are turned, attributes; painted masks have numbers of their own."""
    attributes = "".join(
        f"<attribute><name>{name}</name><value>{value}</value></attribute>"
        for name, value in (("rotation", "90.0"), ("Farbe", "rot"), ("wild", "True"))
    )
    for name, more in (("sub/a", f"<attributes>{attributes}</attributes>"), ("b c", "")):
        picture(tmp_path / "JPEGImages" / f"{name}.png")
        path = voc(tmp_path / "Annotations" / f"{name}.xml", (10, 4, 20, 8, 1), name=f"{name}.png")
        box = f"<truncated>0</truncated><occluded>1</occluded>{more}</object>"
        path.write_text(path.read_text("utf-8").replace("</object>", box), "utf-8")
    for part, name in (("Train", "sub/a"), ("Validation", "b c")):
        text(tmp_path / "ImageSets" / "Main" / f"{part}.txt", f"{name}\n")
    files = read(tmp_path)
    assert objects(files, "train") == [("dog", [13, 1, 4, 10], 0, True)]
    assert files["train"].objects[1][0].attributes == {"occluded": True, "Farbe": "rot", "wild": True}
    assert objects(files, "val") == [("dog", [10, 4, 10, 4], 0, True)]
    (tmp_path / "ImageSets" / "Main" / "Train.txt").unlink()
    (tmp_path / "ImageSets" / "Main" / "Validation.txt").unlink()
    painted = np.zeros((H, W, 3), "uint8")
    painted[3:13, 20:30] = palette()[1]
    for sub in ("SegmentationObject", "SegmentationClass"):
        (tmp_path / sub / "sub").mkdir(parents=True)
        Picture.fromarray(painted).save(tmp_path / sub / "sub" / "a.png")
    text(tmp_path / "labelmap.txt", "background:0,0,0::\ncat: tabby:128,0,0::\ndog:0,128,0::\n")
    assert objects(read(tmp_path))[1:] == [
        ("dog", [13, 1, 4, 10], 0, True),
        ("cat: tabby", [20, 3, 10, 10], 100, False),
    ]


def test_voc_of_roboflow_and_supervision_has_polygons(tmp_path):
    """supervision counts from 1, the names of the points too; Roboflow from 0."""
    for database, first in (("roboflow.ai", 1), ("roboflow.com", 0)):
        picture(tmp_path / "a.png")
        path = voc(tmp_path / "a.xml", (4 + first, 3 + first, 14 + first, 13 + first, 0), database=database)
        points = "".join(f"<x{k}>{x + first}.0</x{k}><y{k}>{y + first}.0</y{k}>" for k, (x, y) in enumerate(SQUARE, 1))
        whole = path.read_text("utf-8").replace("</object>", f"<polygon>{points}</polygon></object>")
        path.write_text(whole, "utf-8")
        files = read(tmp_path)
        assert objects(files)[0][0] == "dog" and objects(files)[0][2:] == (100, False) and not problems(files)
        assert files[""].objects[1][0].segmentation[0].tolist() == np.ravel(SQUARE).tolist()


@pytest.mark.parametrize("kind", ["oriented_rectangle", "rotation"])
def test_rectangles_of_labelme_that_are_turned_are_polygons(tmp_path, kind):
    corners = [[9, 3], [14, 8], [9, 13], [4, 8]]
    files = read(labelme(tmp_path, shape(corners, kind), shape(corners[:2], kind)))
    assert files[""].objects[1][0].segmentation[0].tolist() == np.ravel(corners).tolist()
    assert problems(files)[0][2] == f"shape 1: a '{kind}' of 2 points has no area"


def test_yolo_of_cvat_has_parts_of_any_name(tmp_path):
    """Darknet's folders are called after CVAT's subsets; lists of Datumaro put data/ before names."""
    for name in ("Train", "Validation", "more"):
        picture(tmp_path / "1" / f"obj_{name}_data" / "a.png")
        text(tmp_path / "1" / f"obj_{name}_data" / "a.txt", f"0 {BOX}")
    text(tmp_path / "1" / "obj.names", "dog\n")
    files = read(tmp_path / "1")
    for part in ("train", "val", ""):
        assert objects(files, part) == [("dog", [4, 3, 10, 10], 0, False)]
    picture(tmp_path / "2" / "images" / "Train" / "a.png")
    text(tmp_path / "2" / "labels" / "Train" / "a.txt", f"0 {BOX}")
    text(tmp_path / "2" / "Train.txt", "data/images/Train/a.png\n")
    text(tmp_path / "2" / "data.yaml", "path: .\nTrain: Train.txt\nnames: {0: dog}\n")
    files = read(tmp_path / "2")
    assert objects(files, "train") == [("dog", [4, 3, 10, 10], 0, False)] and not problems(files, "train")


def test_numbers_of_classes_may_be_text_in_yaml(tmp_path):
    """As Ultralytics takes them; a name that YAML takes for something else has to be quoted."""
    picture(tmp_path / "a.png")
    text(tmp_path / "a.txt", f"1 {BOX}")
    text(tmp_path / "data.yaml", "names: {'0': cat, '1': 'no'}\n")
    assert objects(read(tmp_path)) == [("no", [4, 3, 10, 10], 0, False)]
    text(tmp_path / "data.yaml", "names: [cat, no]\n")
    with pytest.raises(ValueError, match="have 1: False, no number and name; put a name that YAML .* in quotes"):
        read(tmp_path)
