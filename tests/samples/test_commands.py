"""The command lines of all programs: what they refuse before the work begins, and how they end when it fails."""

import ast
import csv
import json
import re
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from real_data import ROOT

from mrcnn.weights import convert

sys.path.insert(0, str(ROOT / "samples"))

import app
import balloon
import coco
import figures
import nucleus
import pictures
import pose
import run_notebooks
import shapes

MAINS = {
    "coco": coco.main,
    "pose": lambda words: coco.main(words, pose.POSE),
    "balloon": balloon.main,
    "nucleus": nucleus.main,
    "app": app.main,
    "run_notebooks": run_notebooks.main,
    "shapes": shapes.main,
    "convert": convert.main,
}


class Work(BaseException):
    """What the tests have in the place of the work."""


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Generated sets of shapes and figures."""
    folder = tmp_path_factory.mktemp("sets")
    return [
        shapes.ensure(folder / "shapes", train=2, val=2, size=64),
        figures.ensure(folder / "figures", train=2, val=2, size=64),
    ]


@pytest.fixture
def place(sets, tmp_path, monkeypatch):
    """A folder to work in, with files; whoever builds or loads a model has begun to work."""

    def begin(*args, **kwargs):
        raise Work

    for module, folder in zip((shapes, figures), sets, strict=True):
        monkeypatch.setattr(module, "default_folder", lambda folder=folder: folder)
    monkeypatch.setattr(coco, "load_model", begin)
    monkeypatch.setattr(balloon, "build_detector", begin)
    monkeypatch.setattr(nucleus, "MaskRCNN", begin)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((20, 30, 3), 99, "uint8")).save("a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "text").write_text("text")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "annotations.json").write_text('{"images": []}')
    Image.fromarray(np.full((20, 30, 3), 99, "uint8")).save("data/a.png")
    return tmp_path


def end(program, line, capsys):
    """The exit code of a command line, and what it says on stderr."""
    words = line if isinstance(line, list) else line.split()
    try:
        code = MAINS[program](words)
    except SystemExit as exit:
        code = exit.code
    return code, capsys.readouterr().err


COCO = """
train --epochs 0                        | --epochs: '0' is not a whole number, 1 to 1000000000
train --epochs 1.5                      | '1.5' is not a whole number
train --steps -1                        | '-1' is not
train --eval-every 0                    | '0' is not
train --eval-every 1 --patience 0       | '0' is not
evaluate --limit -1                     | --limit: '-1' is not
train --augment fly                     | there is no 'fly'; known are flip, turn, scale, colour
train --augment flip,flip               | 'flip' is there twice
train --layers (                        | '(' is no regular expression
train --layers *                        | '*' is no regular expression
train --machines 2/2@a:1                | I/N@HOST:PORT, with I from 0 to N - 1
train --machines 0/2@a:99999            | I/N@HOST:PORT
evaluate --year ../x                    | '../x' is not a year
evaluate --epochs 3                     | --epochs goes with train, not with evaluate
evaluate --image a.png                  | --image goes with detect
detect --augment flip                   | --augment goes with train
validate --model none                   | --model goes with train or evaluate or detect
train --advise                          | --advise goes with validate
evaluate --count 3                      | --count goes with anchors
validate --advise --config MASK_SHAPE=[9,9] | MASK_SHAPE is (9, 9)
train --output a.json                   | --output goes with evaluate or detect
train --patience 2                      | --patience counts the evaluations of --eval-every
train --limit 2                         | --limit is of the images that --eval-every evaluates
train --eval-every 9 --epochs 3         | --eval-every 9 never comes: training ends after epoch 3
train --eval-every 1 --machines 0/2@a:1 | --eval-every does not go with --machines
train --machines 0/2@a:1 --detector rcnn | --machines does not go with --detector rcnn
train --eval-every 1 --detector rcnn    | --eval-every does not go with --detector rcnn
detect --image a.png --video a.mp4      | --image does not go with --video
detect --image a.png --track            | --track follows what is in a --video
detect --video a.mp4 --limit 2          | --limit does not go with --video
evaluate --download                     | --download needs --dataset
evaluate --model imagenet               | --model imagenet is to train from
train --config                          | --config: expected at least one argument
train --config X                        | --config takes KEY=VALUE, not 'X'
train --config =3                       | --config takes KEY=VALUE
train --config A=1 --config A=2         | --config has A twice
train --config IMAGE_MAX_DIM=[[[[       | IMAGE_MAX_DIM is '[[[['
detect --workers 3                      | --workers counts the processes of --ray
detect --transform 1,0,0,0,1,0          | --transform goes with a .geojson as --output
detect --tolerance 1 --output a.csv     | --tolerance goes with a .geojson or a folder as --output
export --calibrate 3 --output x         | --calibrate counts images for --precision int8
export --image-size 64x64 --output x    | --image-size is of a file of --format litert
evaluate --output data/annotations.json  | data/annotations.json is there already and holds no results
detect --image data --output data/annotations.json | data/annotations.json is there already and holds no results
detect --image data --output data/a.png   | data/a.png is what is read, or in a folder that is
detect --dataset data --output data/a.png | data/a.png is what is read, or in a folder that is
train --logs text                       | text cannot be written: Not a directory
train --logs text/new                   | text/new cannot be written
evaluate --output a.png                 | a.png cannot be written: its name must end in .json
evaluate --output text/a.json           | text cannot be written
detect --output a.xyz                   | a.xyz cannot be written: its name must end in .jpg
detect --output folder.png              | folder.png cannot be written
detect --image a.png --output a.png     | a.png is what is read
detect --image b.png                    | There is no image or folder b.png
detect --video b.mp4                    | b.mp4 is no video
detect --video text --output a.mp4      | text is no video
""".strip().splitlines()

OTHERS = """
balloon train --dataset x --weights none --epochs 0            | '0' is not a whole number
balloon train --dataset x --weights none --layers (            | '(' is no regular expression
balloon train --dataset x --weights none --image a.png         | --image goes with splash
balloon train --dataset x --weights none --logs text           | text cannot be written
balloon evaluate --dataset x --weights none --epochs 3         | --epochs goes with train
balloon splash --weights none --image a.png --dataset x        | --dataset goes with train or evaluate or validate
balloon splash --weights none --image a.png --outside          | --outside goes with train or evaluate or validate
balloon evaluate --dataset x                                   | evaluate needs --weights: coco, imagenet, last
balloon validate                                               | validate needs --dataset
balloon validate --dataset x --weights none                    | --weights goes with train or evaluate or splash
balloon train --dataset x --weights none                       | There is no annotation file x/train/via_region
balloon evaluate --dataset x --weights none                    | There is no annotation file x/val/via_region
nucleus train --dataset x                                      | There are no images in x/stage1_train/images
balloon validate --dataset x                                   | There is no annotation file x/train/via_region
nucleus validate --dataset x --config NAME=x                   | --config of validate changes what --advise goes by
nucleus validate --dataset x --advise --config MASK_SHAPE=[9,9] | MASK_SHAPE is (9, 9)
nucleus validate --dataset x --weights none                    | --weights goes with train or evaluate or detect
nucleus validate --dataset x                                   | There are no images in x/stage1_train/images
balloon splash --weights none --image a.png --output a.png     | a.png is what is read
balloon splash --weights none --image a.png --output a.mp4     | its name must end in .jpg
balloon splash --weights none --image a.png --output a.gif     | its name must end in .jpg
balloon splash --weights none --image empty                    | There is no image file empty
nucleus train --dataset x --epochs 0                           | '0' is not a whole number
nucleus train --dataset x --subset val                         | no error, the default
nucleus train --dataset x --limit 2                            | --limit goes with evaluate
nucleus evaluate --dataset x --limit 0                         | '0' is not
nucleus evaluate --dataset x --weights imagenet                | --weights imagenet is to train from
nucleus evaluate --dataset x --subset ../x                     | '../x' is not the name of a folder
nucleus detect --dataset x --output folder.png                 | folder.png cannot be written: its name must end in .csv
app --port 0                                                   | '0' is not a whole number, 1 to 65535
app --port 70000                                               | '70000' is not
run_notebooks demo nothing                                     | there is no notebook 'nothing'; choose from demo
shapes text                                                    | text exists but holds no shapes data set
convert x.pth out --epsilon nan                                | 'nan' is not a number, 0 to 1
convert x.pth out --epsilon -1                                 | '-1' is not a number
convert x.pth run                                              | run holds a config.json of other weights
convert x.pth text                                             | text is a file; name a folder to write
""".strip().splitlines()


def refused(program, line, capsys):
    words, message = (part.strip() for part in line.split(" | "))
    code, said = end(program, words, capsys)
    assert code == 2 and said.count("\n") == 1 and message in said, said
    assert re.match(rf"[\w.]*{program}[\w.]*: error: |mrcnn.weights.convert: error: |python -m ", said), said


@pytest.mark.parametrize("line", COCO)
@pytest.mark.parametrize("program", ["coco", "pose"])
def test_nonsense_is_refused_in_one_line(program, line, place, capsys):
    refused(program, line, capsys)
    assert sorted(path.name for path in place.iterdir()) == ["a.png", "data", "empty", "folder.png", "run", "text"]


@pytest.mark.parametrize("line", [line for line in OTHERS if "no error" not in line])
def test_nonsense_is_refused_by_all_programs(line, place, capsys):
    program, _, line = line.partition(" ")
    refused(program, line, capsys)


@pytest.mark.parametrize("option", ["--dataset", "--model", "--logs", "--classes", "--augment", "--layers", "--epochs"])
def test_empty_text_is_no_argument(option, place, capsys):
    code, said = end("coco", ["train", option, ""], capsys)
    assert code == 2 and said.count("\n") == 1 and f"argument {option}: " in said


@pytest.mark.parametrize(
    "line",
    [
        "train",
        "train --epochs 1 --steps 1 --eval-every 1 --patience 2 --limit 1",
        "train --augment flip,turn --layers 5+",
        "train --classes disk --config VALIDATION_STEPS=1 --config STEPS_PER_EPOCH=2",
        "evaluate --model none --limit 1 --output new/a.json",
        "detect --model none --output new/a.png",
        "detect --model none --image a.png --output a.jpg",
    ],
)
def test_sense_is_not_refused(line, place, capsys):
    with pytest.raises(Work):
        end("coco", line, capsys)
    assert not (place / "new").exists()


def test_names_of_classes_with_a_comma_are_whole():
    assert coco.parse_arguments(["train", "--classes", 'disk, "salt, pepper"']).classes == ["disk", "salt, pepper"]


def test_evaluation_during_training_needs_images(sets, place, capsys):
    folder = shutil.copytree(sets[0], place / "set")
    (folder / "annotations" / "instances_val2017.json").unlink()
    with pytest.raises(Work):
        end("coco", f"train --dataset {folder} --model none", capsys)
    code, said = end("coco", f"train --dataset {folder} --model none --eval-every 1", capsys)
    assert code == 2 and "instances_val2017.json" in said and said.count("\n") == 1


def test_machines_have_devices(place, capsys, monkeypatch):
    joined = []
    monkeypatch.setattr("mrcnn.train.devices.join", lambda *args: joined.append(args))
    code, said = end("coco", "train --machines 1/3@first:9000 --config GPU_COUNT=2", capsys)
    assert code == 2 and joined == [("first:9000", 3, 1)] and "GPU_COUNT is 2; it counts the devices of all 3" in said
    with pytest.raises(Work):
        end("coco", "train --machines 1/3@first:9000 --config GPU_COUNT=6", capsys)


@pytest.mark.parametrize("error, code", [(KeyboardInterrupt, 130), (FloatingPointError, 1), (MemoryError, 1)])
@pytest.mark.parametrize("program", ["coco", "balloon", "nucleus", "convert"])
def test_whatever_comes_ends_in_one_line(program, error, code, place, capsys, monkeypatch):
    def fail(*args, **kwargs):
        raise error("it")

    monkeypatch.setattr(coco, "load_dataset", fail)  # or in downloads, before there is a model
    monkeypatch.setattr(balloon, "load_dataset", fail)
    monkeypatch.setattr(nucleus, "load_dataset", fail)
    monkeypatch.setattr("mrcnn.weights.convert.command.convert_file", fail)
    words = {"coco": "evaluate", "balloon": "evaluate --dataset x --weights none", "nucleus": "evaluate --dataset x"}
    found, said = end(program, words.get(program, "x.pth out"), capsys)
    assert found == code and said.strip().count("\n") == 0 and "it" in said


# Images that cannot be read


def fake_model(**config):
    """A model that finds nothing."""

    def detect(images):
        return [
            {"rois": np.zeros((0, 4), int), "class_ids": [], "scores": [], "masks": np.zeros((*x.shape[:2], 0), bool)}
            for x in images
        ]

    settings = {"IMAGE_CHANNEL_COUNT": 3, "DETECTION_MIN_CONFIDENCE": 0.5, "KEYPOINT_SKELETON": ()}
    return SimpleNamespace(detect=detect, config=SimpleNamespace(**settings, **config))


def test_a_folder_with_one_bad_image(place, capsys, monkeypatch):
    monkeypatch.setattr(coco, "load_model", lambda args, config: fake_model())
    folder = place / "images"
    folder.mkdir()
    for name in ("1.png", "3.png"):
        shutil.copy("a.png", folder / name)
    (folder / "2.png").write_text("no image")
    words = ["detect", "--model", "none", "--image", str(folder), "--output", "found.png"]
    assert coco.main(words) == 1
    said = capsys.readouterr()
    assert "1.png: nothing found\n3.png: nothing found\n" in said.out and "Wrote" in said.out
    assert re.fullmatch(r"2\.png: The image file .*2\.png cannot be read: .*\n", said.err)
    assert Image.open("found.png").size == (2 * 360, 240)  # twelve times 30 x 20 pixels each
    for name in ("1.png", "3.png"):
        (folder / name).write_text("no image either")
    code, error = end("coco", words, capsys)
    assert code == 2 and error.endswith("coco.py: error: None of the 3 images can be read.\n")
    code, error = end("coco", "detect --model none --image empty", capsys)
    assert code == 2 and error.startswith("coco.py: error: There are no images in empty; known are .jpg")


def test_one_picture_shows_no_more_than_can_be_looked_at(place, capsys, monkeypatch):
    monkeypatch.setattr(coco, "load_model", lambda args, config: fake_model())
    monkeypatch.setattr(pictures, "MOST_SHOWN", 5)
    monkeypatch.setattr(pictures, "MOST_PIXELS", 5 * 100 * 100)
    folder = place / "images"
    folder.mkdir()
    for i in range(7):
        Image.new("RGB", (400, 300), (i, i, i)).save(folder / f"{i}.png")
    assert coco.main(["detect", "--model", "none", "--image", str(folder), "--output", "found.png"]) == 0
    out = capsys.readouterr().out
    assert "6.png: nothing found\n" in out and "found.png, the first 5 of 7 images\n" in out
    assert Image.open("found.png").size == (4 * 100, 2 * 75)
    assert coco.main(["detect", "--model", "none", "--image", str(folder / "1.png"), "--output", "found.png"]) == 0
    assert Image.open("found.png").size == (400, 300) and "the first" not in capsys.readouterr().out


def test_an_output_in_a_folder_that_takes_no_files(place, capsys, monkeypatch):
    """Whatever is there is replaced by a file that is written beside it."""
    monkeypatch.setattr("mrcnn.cli.arguments.check_folder", lambda path: (_ for _ in ()).throw(OSError(f"{path}: no")))
    code, said = end("coco", "detect --model none --output a.png", capsys)
    assert code == 2 and said == "coco.py: error: .: no\n"


def test_validate_of_all_samples(place, capsys):
    """The photo of a balloon that lies elsewhere, a nucleus whose mask is of another size, and a good set."""
    for subset, name in (("train", "../a.png"), ("val", "b.png")):
        (place / "balloons" / subset).mkdir(parents=True)
        shutil.copy("a.png", place / "balloons" / subset / name)
        shape = {"name": "rect", "x": 2, "y": 3, "width": 9, "height": 9}
        entry = {"filename": name, "regions": [{"shape_attributes": shape, "region_attributes": {}}]}
        (place / "balloons" / subset / "via_region_data.json").write_text(json.dumps({"a": entry}))
    assert balloon.main("validate --dataset balloons".split()) == 1
    out = capsys.readouterr().out
    assert "annotation file that cannot be used: 1" in out and "../a.png leads out of balloons/train" in out
    assert "1 images, nothing wrong." in out  # of val
    assert balloon.main("validate --dataset balloons --outside".split()) == 0
    folder = place / "nuclei" / "stage1_train" / "n"
    for sub in ("images", "masks"):
        (folder / sub).mkdir(parents=True)
        shutil.copy("a.png", folder / sub / "n.png")
    assert nucleus.main("validate --dataset nuclei".split()) == 0
    Image.new("L", (9, 9), 255).save(folder / "masks" / "m.png")
    assert nucleus.main("validate --dataset nuclei".split()) == 1
    assert "masks cannot be loaded: 1" in capsys.readouterr().out


def test_a_submission_with_one_bad_image(place, capsys, monkeypatch):
    monkeypatch.setattr(nucleus, "load_model", lambda args: fake_model())
    for name in ("n0", "n1"):
        (place / "set" / "test" / name / "images").mkdir(parents=True)
        path = place / "set" / "test" / name / "images" / f"{name}.jpg"
        Image.effect_noise((90, 90), 50).save(path)
        if name == "n0":  # its size is in the beginning
            path.write_bytes(path.read_bytes()[:2000])
    assert nucleus.main("detect --dataset set --subset test --output new/a.csv".split()) == 1
    assert "Nothing is found in n0: The image file" in capsys.readouterr().err
    with open("new/a.csv") as file:
        assert list(csv.reader(file)) == [["ImageId", "EncodedPixels"], ["n1", ""], ["n0", ""]]


# The beginning


def programs():
    for folder in ("samples", "benchmarks"):
        for path in sorted((ROOT / folder).glob("*.py")):
            if '__name__ == "__main__"' in path.read_text():
                yield path


@pytest.mark.parametrize("path", list(programs()), ids=lambda path: path.stem)
def test_ctrl_c_is_seen_to_before_anything_takes_time(path):
    before = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Expr) and ast.unparse(node.value) == "program.begin(__name__)":
            break
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            before |= {getattr(node, "module", None) or alias.name for alias in node.names}
    else:
        pytest.fail(f"{path} does not call program.begin")
    assert before <= {"os", "sys", "pathlib", "mrcnn.cli"}
