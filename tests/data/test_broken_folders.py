"""What is odd or broken in folders of other tools: read right, or named with its file, and nothing lost."""

import base64
import json
import os
import zlib

import numpy as np
import pytest
import tifffile
from foreign_folders import BOX, SQUARE, H, W, coco, labelme, objects, picture, png, problems, shape, text, voc
from PIL import Image as Picture

from mrcnn.cli.arguments import Parser, affine
from mrcnn.data import arrays
from mrcnn.data.formats import FORMATS, FolderDataset, read, write

FOUND = "cat", [4, 3, 10, 10], 0, False


def yolo(folder, settings="", line=f"0 {BOX}\n", sub="images/train"):
    picture(folder / sub / "a.png")
    text(folder / sub.replace("images", "labels") / "a.txt", line)
    text(folder / "data.yaml", f"names: [cat]\n{settings}")
    return folder


@pytest.mark.parametrize(
    "kind, line, points",
    [
        ("[2, 3]", f"{6 / W} {5 / H} 2 .1 .1 0", [6, 5, 2, 0, 0, 0]),
        ("[3, 2]", f"{6 / W} {5 / H} 0 0 {9 / W} {8 / H} .9", [6, 5, 2, 0, 0, 0, 9, 8, 2]),  # the last is a score
    ],
)
def test_keypoints_of_yolo_follow_the_box(tmp_path, kind, line, points):
    """They were read as a polygon."""
    box = f"0 {BOX}"
    yolo(tmp_path, f"train: images/train\nkpt_shape: {kind}\n", f"{box} {line}\n{box}\n{box} .5 .5\n")
    files = read(tmp_path)
    assert objects(files, "train") == [FOUND] * 2
    first, second = files["train"].objects[1]
    assert first.keypoints.tolist() == points and second.keypoints is None
    assert [len(x["keypoints"]) for x in files["train"].keypoints.values()] == [len(points) // 3]
    assert [what for what, *_ in problems(files, "train")] == ["annotation that cannot be read"]


def test_a_shape_of_keypoints_that_is_none_is_refused(tmp_path):
    for wrong in ("[0, 3]", "[17, 9]", "[2.5, 3]", "17", "[[1]]"):
        with pytest.raises(ValueError, match=r"kpt_shape in data.yaml is .*, not \[keypoints, 2 or 3\]"):
            read(yolo(tmp_path, f"kpt_shape: {wrong}\n"))


def test_folders_that_data_yaml_names_and_that_are_not_there(tmp_path):
    """Exports name a test folder that was never exported, paths of Windows, and have folders in folders."""
    lines = "train: images\\train\nval: 'C:\\set\\val'\ntest: images/test\n"
    files = read(yolo(tmp_path, lines, sub="images/train/sub"))
    assert {part: objects(files, part) for part in files} == {"train": [FOUND]}
    assert [found[::2] for found in problems(files, "train")] == [
        ("file missing", "data.yaml has test in 'images/test'"),
        ("file missing", "data.yaml has val in 'C:\\\\set\\\\val'"),
    ]
    text(tmp_path / "data.yaml", f"names: [cat]\ntrain: {'x' * 5000}\n")
    (tmp_path / "images" / "train" / "sub" / "a.png").unlink()
    with pytest.raises(ValueError, match="has no images that can be used: file missing, .* data.yaml has train in 'xx"):
        read(tmp_path)


def test_nothing_outside_the_folder_is_gone_through(tmp_path):
    """`train: /` was a walk through the whole disk; and ../images may be there and not be meant."""
    picture(tmp_path / "others" / "z.png")
    folder = yolo(tmp_path / "set", "train: ../images/train\nval: /\n")
    assert objects(read(folder), "train") == [FOUND]
    assert problems(read(folder), "train") == [("image outside the set's folder", "", "")]
    yolo(tmp_path / "set", "train: images/train\nval: ../others\n")
    assert [found[:2] for found in problems(read(folder), "train")] == [("image outside the set's folder", "others")]
    assert len(read(folder, outside=True)["val"].images) == 1


def test_an_image_that_is_there_twice_has_its_objects_once(tmp_path):
    yolo(tmp_path, "train: train.txt\n", sub="obj_train_data")
    text(tmp_path / "train.txt", "obj_train_data/a.png\n.\\obj_train_data\\a.png\n")
    assert objects(read(tmp_path), "train") == [FOUND]
    assert problems(read(tmp_path), "train") == [("two entries for one file", "a.png", "")]
    (tmp_path / "data.yaml").unlink()
    text(tmp_path / "obj.names", "cat")
    assert objects(read(tmp_path), "train") == [FOUND] and not problems(read(tmp_path), "train")
    folder = labelme(tmp_path / "labelme", shape(SQUARE))
    text(folder / "b.json", (folder / "a.json").read_text())
    assert len(objects(read(folder))) == 1 and problems(read(folder)) == [("two entries for one file", "a.png", "")]


@pytest.mark.parametrize("name", ["classes.txt", "labels/a.txt", "data.yaml"])
def test_text_that_is_no_utf8_is_named(tmp_path, name):
    """Names came out with other letters; a mark at the beginning was a letter of the first."""
    contents = {"classes.txt": "Käse\n", "labels/a.txt": f"0 {BOX}\n", "data.yaml": "names: [Käse]\n"}
    picture(tmp_path / "images" / "a.png")
    for one in {"labels/a.txt", "classes.txt" if name == "labels/a.txt" else name}:
        text(tmp_path / one, contents[one])
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + contents[name].encode())
    assert objects(read(tmp_path, "yolo")) == [("Käse", *FOUND[1:])]
    (tmp_path / name).write_bytes("names: [Käse]".encode("latin-1"))
    if name == "labels/a.txt":
        (problem,) = read(tmp_path, "yolo")[""].problems
        assert problem.what == "annotation file that cannot be used" and "a.txt is no text in UTF-8" in problem.details
    else:
        with pytest.raises(ValueError, match=f"{name} is no "):
            read(tmp_path, "yolo")


def test_names_too_long_for_a_file_are_those_of_none(tmp_path):
    labelme(tmp_path / "1" / "train", shape(SQUARE))
    labelme(tmp_path / "1" / "val", shape(SQUARE), imagePath="x" * 5000).joinpath("a.png").unlink()
    files = read(tmp_path / "1")
    assert list(files) == ["train"]
    assert [found[:2] for found in problems(files, "train")] == [("file missing", "a.json")]
    coco(tmp_path / "2" / "a.json", "x" * 5000)
    assert not read(tmp_path / "2")[""].problems  # the image's size is there; `validate` looks for it


@pytest.mark.parametrize("content", ["[]", "7", '[{"file_name": "a"}]', '{"images": [{"file_name": "\\q"}]}'])
def test_a_json_file_that_is_no_set_is_one_line(tmp_path, content):
    path = text(tmp_path / "a.json", content)
    with pytest.raises(ValueError, match="a.json is no"):
        read(path)
    with pytest.raises(ValueError, match="a.json is a file, which can be in the format coco alone"):
        read(path, "yolo")


def test_a_mask_of_labelme_may_not_be_larger_than_memory(tmp_path):
    """A few kilobytes can stand for a picture of 10^10 pixels."""
    header = bytearray(base64.b64decode(png(np.ones((4, 4), "uint8"))))
    header[16:24] = (10**5).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
    bomb = base64.b64encode(header).decode()
    files = read(labelme(tmp_path, shape(SQUARE), shape([[2, 2], [4, 4]], "mask", mask=bomb)))
    assert len(objects(files)) == 1
    assert problems(files)[0][0] == "region that cannot be used" and "too many pixels" in problems(files)[0][2]


def test_pipes_and_folders_in_the_place_of_files_are_named(tmp_path):
    """A pipe was read for ever."""
    labelme(tmp_path / "1", shape(SQUARE))
    picture(tmp_path / "2" / "a.png")
    voc(tmp_path / "2" / "a.xml", (4, 3, 14, 13, 0))
    for folder, ending in (("1", ".json"), ("2", ".xml")):
        os.mkfifo(tmp_path / folder / f"b{ending}")
        (tmp_path / folder / f"c{ending}").mkdir()
        files = read(tmp_path / folder, "labelme" if folder == "1" else "voc")
        assert [found[:2] for found in problems(files)][-2:] == [
            ("annotation file that cannot be used", f"{name}{ending}") for name in "bc"
        ]


def test_an_encoding_that_xml_does_not_know_is_named(tmp_path):
    picture(tmp_path / "a.png")
    voc(tmp_path / "a.xml", (4, 3, 14, 13, 0))
    text(tmp_path / "b.xml", '<?xml version="1.0" encoding="shift_jis"?><annotation/>')
    found = problems(read(tmp_path))
    assert found[0][:2] == ("annotation file that cannot be used", "b.xml") and "b.xml is no XML" in found[0][2]


@pytest.mark.parametrize("name", FORMATS)
def test_run_lengths_without_a_pixel_stop_no_conversion(tmp_path, name):
    picture(tmp_path / "a.png")
    coco(tmp_path / "a.json", "a.png", segmentation={"size": [H, W], "counts": [H * W]})
    content = json.loads((tmp_path / "a.json").read_text())
    tiny = {"id": 2, "segmentation": [[2.1, 3.1, 2.2, 3.1, 2.2, 3.2, 2.1, 3.2]], "bbox": [2, 3, 1, 1], "area": 1}
    content["annotations"].append({**content["annotations"][0], **tiny})
    text(tmp_path / "a.json", json.dumps(content))
    files = read(tmp_path / "a.json")
    assert problems(files) == [("mask without area", "a.json", "annotation 1: none of 36x24 pixels")]
    assert [(a.crowd, a.has_mask()) for a in files[""].objects[1]] == [(True, False), (False, True)]
    lost = write(files, tmp_path / "2", name)
    (file,) = read(tmp_path / "2", name).values() if name not in ("masks", "labels") else files.values()
    kept = file.objects.get(1, []) if file is not files[""] else []
    assert len(kept) + lost["crowds"] + lost["masks without a pixel"] >= 2


def test_pages_of_a_stack_are_listed_once_and_stay_in_a_file(tmp_path, monkeypatch):
    """Reading a stack of n pages went through n x n of them; a JSON file lost which page an image is."""
    for sub in ("images", "labels"):
        (tmp_path / sub).mkdir()
        tifffile.imwrite(tmp_path / sub / "s.tif", np.eye(8, dtype="uint8") * np.ones((6, 1, 1), "uint8"))
    arrays._listed.cache_clear()
    files = read(tmp_path)
    write(files, tmp_path / "all.json")
    info = arrays._listed.cache_info()
    assert info.misses == 2 and len(files[""].images) == 6
    there = read(tmp_path / "all.json")
    assert [(x.page, x.height) for x in there[""].images.values()] == [(k, 8) for k in range(6)]
    assert not there[""].problems
    content = json.loads((tmp_path / "all.json").read_text())
    content["images"][0]["page"] = "first"
    text(tmp_path / "all.json", json.dumps(content))
    assert "its page is 'first', not a whole number" in read(tmp_path / "all.json")[""].problems[0].details


def test_vocs_pictures_of_gray_colours_have_the_numbers_of_its_palette(tmp_path):
    """Class 7 is gray, (128, 128, 128)."""
    picture(tmp_path / "JPEGImages" / "a.png")
    numbers = np.zeros((H, W, 3), "uint8")
    numbers[3:13, 4:14] = 128
    for sub in ("SegmentationObject", "SegmentationClass"):
        (tmp_path / sub).mkdir()
        Picture.fromarray(numbers).save(tmp_path / sub / "a.png")
    assert objects(read(tmp_path)) == [("car", [4, 3, 10, 10], 100, False)]


def test_a_first_image_that_cannot_be_read_says_nothing_of_channels(tmp_path):
    for name in ("a", "b"):
        for sub in ("images", "labels"):
            (tmp_path / sub).mkdir(exist_ok=True)
            np.save(tmp_path / sub / f"{name}.npy", np.ones((H, W, 5) if sub == "images" else (H, W), "uint8"))
    dataset = FolderDataset()
    dataset.load_folder(tmp_path)
    dataset.prepare()
    (tmp_path / "images" / "a.npy").write_bytes(b"")
    assert dataset.channels == 5


def test_parts_of_a_folder_of_masks_are_recognised(tmp_path):
    picture(tmp_path / "Valid" / "a" / "images" / "a.png")
    path = picture(tmp_path / "Valid" / "a" / "masks" / "1.png")
    Picture.fromarray(np.full((H, W), 255, "uint8")).save(path)
    dataset = FolderDataset()
    dataset.load_folder(tmp_path, "val")
    assert len(dataset.image_info) == 1


def test_an_argument_may_begin_with_a_negative_number():
    parser = Parser()
    parser.add_argument("--transform", type=affine)
    assert parser.parse_args(["--transform", "-1,0,0,0,-.5,2"]).transform == [-1, 0, 0, 0, -0.5, 2]
    assert parser.parse_args(["--transform", "-.5,0,0,0,1,2"]).transform[0] == -0.5


@pytest.mark.parametrize("name", FORMATS)
def test_names_that_no_line_holds_go_through_every_format(tmp_path, name):
    """Of a name of two lines the second was another class; XML with a control character was not XML."""
    picture(tmp_path / "a.png")
    label = "Sonne\n\x01Mond"
    coco(tmp_path / "a.json", "a.png", segmentation=[np.ravel(SQUARE).tolist()])
    content = json.loads((tmp_path / "a.json").read_text())
    content["categories"] = [{"id": 1, "name": label}, {"id": 2, "name": "Stern"}]
    content["annotations"][0]["category_id"] = 2
    content["annotations"].append({**content["annotations"][0], "id": 2, "category_id": 1, "bbox": [20, 3, 10, 10]})
    content["annotations"][1]["segmentation"] = [[20, 3, 30, 3, 30, 13, 20, 13]]
    text(tmp_path / "a.json", json.dumps(content))
    write(read(tmp_path / "a.json"), tmp_path / "2", name)
    (file,) = read(tmp_path / "2", name).values()
    found = {file.classes[a.category_id]: a.extent(H, W)[0] for a in file.objects[1]}
    assert found.pop("Stern") == 4 and list(found.values()) == [20]
    assert next(iter(found)) in (label, "Sonne Mond", "Sonne__Mond")


def test_names_of_files_that_are_no_text(tmp_path):
    folder = labelme(tmp_path / "set", shape(SQUARE))
    for ending in (".png", ".json"):
        (folder / f"a{ending}").rename(folder / f"\udce9a{ending}")
    for label, what in (("\ud800", "class without a name"), ([1], "class without a name")):
        content = {"shapes": [shape(SQUARE), shape(SQUARE, label=label)], "imagePath": "\udce9a.png"}
        text(folder / "\udce9a.json", json.dumps(content))
        assert [found[0] for found in problems(read(folder))] == [what]
    files = read(folder)
    for target in ("x.json", "x.csv", "x.geojson"):
        write(files, folder / target)
    assert [image.path for image in read(folder / "x.json")[""].images.values()] == [str(folder / "\udce9a.png")]
    for name in FORMATS:
        write(files, tmp_path / name, name)
        assert len(objects(read(tmp_path / name, name), "train" if name == "yolo" else "")) == 1


def test_brackets_of_data_yaml_are_counted_before_they_are_read(tmp_path):
    with pytest.raises(ValueError, match="data.yaml is no YAML: its brackets are nested too deep"):
        read(yolo(tmp_path, "x: " + "[" * 20_000))


def test_pages_whose_values_are_no_images_are_left_out(tmp_path):
    """They stopped a conversion half way."""
    for sub in ("images", "labels"):
        (tmp_path / sub).mkdir()
    pages = np.zeros((2, H, W), "uint8")
    pages[:, 3:13, 4:14] = 1
    for name, kind in (("a", "uint8"), ("b", "float32")):
        tifffile.imwrite(tmp_path / "images" / f"{name}.tif", pages.astype(kind), photometric="minisblack")
        tifffile.imwrite(tmp_path / "labels" / f"{name}.tif", pages, photometric="minisblack")
    files = read(tmp_path)
    assert [image.path[-5:] for image in files[""].images.values()] == ["a.tif", "a.tif"]
    assert [found[0] for found in problems(files)] == ["image cannot be read"] * 2
    write(files, tmp_path / "2", "labelme")


def test_numbers_of_labelme_that_no_float_holds(tmp_path):
    huge = shape([[10**400, 3], [14, 3], [14, 13]])
    files = read(labelme(tmp_path, huge, shape(SQUARE, label=5)))
    assert [name for name, *_ in objects(files)] == ["5"]
    assert problems(files)[0][0] == "region that cannot be used" and "not finite" in problems(files)[0][2]


def test_xml_that_is_no_annotation_is_not_an_image_without_objects(tmp_path):
    for name, difficult in (("a", 0), ("b", "true")):
        picture(tmp_path / f"{name}.png")
        voc(tmp_path / f"{name}.xml", (4, 3, 14, 13, difficult), name=f"{name}.png")
    picture(tmp_path / "c.png")
    text(tmp_path / "c.xml", "<svg/>")
    files = read(tmp_path)
    assert len(files[""].images) == len(objects(files)) == 2
    assert [found[0] for found in problems(files)] == [
        "difficult that is not 0 or 1",
        "annotation file that cannot be used",
    ]
    assert "object 1: 'true'" in problems(files)[0][2] and "holds <svg>" in problems(files)[1][2]


@pytest.mark.parametrize("names", ["[yes, cat]", "{true: cat}"])
def test_names_that_yaml_takes_for_truth_are_named(tmp_path, names):
    with pytest.raises(ValueError, match="the names of classes have .* no number and name"):
        yolo(tmp_path)
        text(tmp_path / "data.yaml", f"names: {names}\n")
        read(tmp_path)


def test_a_name_of_two_classes_is_a_problem(tmp_path):
    yolo(tmp_path)
    text(tmp_path / "data.yaml", "names: [cat, dog, cat]\n")
    assert [found[::2] for found in problems(read(tmp_path), "train")] == [("class name used twice", "'cat'")]


def test_labels_below_0_are_named(tmp_path):
    picture(tmp_path / "images" / "a.png")
    (tmp_path / "labels").mkdir()
    np.save(tmp_path / "labels" / "a.npy", np.full((H, W), -1))
    text(tmp_path / "classes.txt", "cell")
    ((what, _, details),) = problems(read(tmp_path))
    assert what == "labels that cannot be used" and "it has the label -1, below 0" in details


def test_every_format_that_is_read_has_its_ending(tmp_path):
    """A mask in a .gif was left out without a word."""
    folder = tmp_path / "a"
    picture(folder / "images" / "a.png")
    (folder / "masks").mkdir()
    for k, ending in enumerate(("gif", "ppm", "jp2")):
        mask = np.zeros((H, W), "uint8")
        mask[8 * k : 8 * k + 4] = 255
        Picture.fromarray(mask).save(folder / "masks" / f"{k}.{ending}")
    assert [rest for _, *rest, _ in objects(read(tmp_path, "masks"))] == [[[0, 8 * k, W, 4], 4 * W] for k in range(3)]


def test_images_of_cocos_keypoints_are_found(tmp_path):
    picture(tmp_path / "val2017" / "a.png")
    coco(tmp_path / "annotations" / "person_keypoints_val2017.json", "a.png", keypoints=[5, 5, 2])
    assert len(objects(read(tmp_path), "val")) == 1 and not problems(read(tmp_path), "val")
