"""The documentation: its code runs, its links and commands lead somewhere, and it names every room."""

import ast
import http.client
import importlib.util
import io
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import toy_data
from PIL import Image
from real_data import ROOT

from mrcnn.model import MaskRCNN
from mrcnn.settings import SETTINGS
from mrcnn.settings.checks import DETECTORS

sys.path.insert(0, str(ROOT / "samples"))

import app
import balloon
import coco
import convert_annotations
import nucleus
import pose
import run_notebooks

SITE = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / name for name in ("README.md", "NOTES.md", "CONTRIBUTING.md")] + SITE
LINEAGE = sorted((ROOT / "docs" / "lineage").glob("*.md"))
FLOORS = sorted(path.parent for path in (ROOT / "mrcnn").glob("*/__init__.py"))

# Samples that have a function for their command line.
PARSERS = {
    "coco": coco.parse_arguments,
    "pose": lambda words: coco.parse_arguments(words, pose.POSE),
    **{sample.__name__: sample.parse_arguments for sample in (app, balloon, nucleus, run_notebooks)},
}

# What the page on own data says about the length of its run and the optimizer, and what the test makes of it. Nothing
# else is changed.
SHORTER = {
    "TRAIN, VAL = 200, 40": "TRAIN, VAL = 10, 3",
    "EPOCHS, STEPS = 5, 80": "EPOCHS, STEPS = 1, 1",
    'OPTIMIZER = "adamw"': 'OPTIMIZER = "sgd"',
    "IMAGES_PER_GPU = 8\n    STEPS_PER_EPOCH = STEPS\n    VALIDATION_STEPS = 5": (
        "IMAGES_PER_GPU = 2\n    STEPS_PER_EPOCH = STEPS\n    VALIDATION_STEPS = 1"
    ),
}

# Before it: the few steps run as they are, as compiling them takes longer.
EAGERLY = "import tensorflow as tf\ntf.config.run_functions_eagerly(True)\n"

# Names in pages that are of other programs, or made up.
FOREIGN = {"TF_FORCE_GPU_ALLOW_GROWTH", "async", "desk", "fasterrcnn_resnet50_fpn", "rescore", "val_"}

# After the page's own run: whether its formats agree, and its other way up to training, with a light network and with
# weights made here in the place of COCO's.
CHECKS = """
for i in train.image_ids:
    for class_id in (1, 2):
        found = [masks[..., ids == class_id].any(axis=-1) for masks, ids in
                 (dataset.load_mask(i) for dataset in (from_via, from_coco, from_folder, from_masks, from_yolo))]
        assert all((mask ^ found[0]).sum() <= 0.05 * found[0].sum() for mask in found), (i, class_id)

import inspect

for name, value in vars(DeskConfig).items():
    if name.isupper():
        setattr(PhotosConfig, name, value)
coco = type("CocoConfig", (DeskConfig,), {"NUM_CLASSES": 81})()
MaskRCNN("training", coco, "logs").save_weights("coco.h5")
weights.download = lambda name: f"{name}.h5"
signature = inspect.signature(MaskRCNN.train)
calls = []
MaskRCNN.train = lambda *args, **kwargs: calls.append(signature.bind(*args, **kwargs).arguments)
from_coco_weights()
print("stages:", [(call["layers"], call["epochs"], call["learning_rate"]) for call in calls])
"""


def blocks(page):
    """The Python code in a page, in order."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)


def test_own_data_runs_as_it_is_written(tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    code = "\n".join(blocks("own_data.md"))
    for written, shorter in SHORTER.items():
        assert code.count(written) == 1, written
        code = code.replace(written, shorter)
    (folder / "page.py").write_text(EAGERLY + code + CHECKS)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "tensorflow"}
    run = subprocess.run(
        [sys.executable, "page.py"], cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8"
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert "10 images, nothing wrong." in run.stdout and "3 images, nothing wrong." in run.stdout
    assert re.search(r"^mask +[\d.]+", run.stdout, re.MULTILINE)
    assert "the file has 81 classes, this model 3" in run.stdout
    assert "stages: [('heads', 1, 0.002), ('all', 2, 0.0002)]" in run.stdout
    assert {path.name for path in folder.glob("*.png")} == {"truth.png", "found.png"}


def test_the_server_answers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    narrow = {"TOP_DOWN_PYRAMID_SIZE": 8, "RPN_CHANNELS": 8, "MASK_CHANNELS": 8, "FPN_CLASSIF_FC_LAYERS_SIZE": 16}
    config = toy_data.config(NAME="toy", BACKBONE_WIDTH=8, DETECTION_MIN_CONFIDENCE=0, **narrow)
    Path("model").mkdir()
    model = MaskRCNN("inference", config, tmp_path)
    model.keras_model.get_layer("mrcnn_class_logits").bias.assign([-9.0, 9.0, -9.0])  # all is of class 1
    model.save_weights("model/weights.h5")
    config.to_json("model/config.json")
    page = {"__name__": "page"}
    exec(compile(blocks("serving.md")[0], "serving.md", "exec"), page)
    image = np.random.default_rng(0).integers(0, 255, (64, 80, 3)).astype("uint8")
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    page["LARGEST"] = len(file.getvalue())
    (wanted,) = page["model"].detect([image])
    with ThreadingHTTPServer(("127.0.0.1", 0), page["Handler"]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def post(data):
            connection = http.client.HTTPConnection(*server.server_address)
            connection.request("POST", "/", data)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(post, [file.getvalue()] * 4))
        assert post(b"no image") == (400, {"error": "no image that can be read"})
        assert post(file.getvalue() + b"more")[0] == 413
        server.shutdown()
    for status, found in answers:
        assert status == 200 and found["class_ids"] == wanted["class_ids"].tolist() != []
        assert found["rois"] == wanted["rois"].tolist()


@pytest.mark.parametrize("page", ["index.md", "weights.md", "serving.md"])
def test_code_that_needs_weights_is_python(page):
    assert all(ast.parse(block, page).body for block in blocks(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"https?:|mailto:", target)]
    for target in targets:
        file, _, section = target.partition("#")
        found = page.parent / file if file else page
        assert found.exists(), target
        if section:
            titles = re.findall(r"^#+ (.+)$", found.read_text(), re.MULTILINE)
            # as GitHub and MkDocs make them
            assert section in [re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles], target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_name_files(page):
    for script in re.findall(r"\bpython ((?:samples|benchmarks)/\S+?\.py)", page.read_text()):
        assert (ROOT / script).is_file(), script


def commands(page):
    """What stands behind the samples' names in a page's command lines: (sample, words)."""
    lines = re.findall(r"\bpython samples/(\w+)\.py\b([^`\n]*)", page.read_text())
    return [(sample, shlex.split(line, comments=True)) for sample, line in lines if sample in PARSERS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_taken(page):
    """Their options are known, and a config takes their settings."""
    for sample, words in commands(page):
        if words[:1] == ["convert-annotations"]:
            convert_annotations.parse_arguments(words[1:])
            continue
        args = PARSERS[sample](words)
        if sample in ("coco", "pose"):
            coco.options.check_recipe(args)
            args.image_only = False
            if args.model in (None, "last"):
                args.model = "none"  # there is no run
            coco.make_config(args, num_classes=6).validate()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_settings_have_their_names(page):
    for words in re.findall(r"--config ([^`\n]*)", page.read_text()):
        assert set(re.findall(r"\b([A-Z][A-Z_]+)=", words)) <= {*SETTINGS, "KEY"}, words
        bare = re.sub(r"'[^']*'|\"[^\"]*\"| #.*", "", words)
        assert not re.search(r"[\[\]()]", bare), f"some shells, as zsh, take these brackets for their own: {words}"


@pytest.fixture(scope="module")
def known_words():
    """All words of the code and of what sets the project up."""
    files = [path for folder in "mrcnn samples benchmarks docs tests".split() for path in (ROOT / folder).rglob("*.py")]
    files += [ROOT / name for name in ("Makefile", "setup.cfg", "pyproject.toml", "requirements.txt")]
    return {word for file in files if file != Path(__file__) for word in re.findall(r"\w+", file.read_text())}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_are_in_the_code(page, known_words):
    """Every part of a dotted name, of a call or of a setting with its value that stands between backticks."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    names = re.findall(r"`([A-Za-z_][\w.]*)(?:\([^`\n]*\)|=[^`\n]*)?`", text)
    files = {name for name in names if name.endswith(".md")}
    assert all((ROOT / name).exists() for name in files)
    words = {word for name in {*names} - files for word in name.split(".") if word}
    assert words - known_words <= FOREIGN


def test_each_detector_has_its_page():
    assert {page.stem for page in LINEAGE} == {"index", *DETECTORS}
    index = (ROOT / "docs" / "lineage" / "index.md").read_text()
    assert all(f"]({name}.md)" in index for name in DETECTORS)


def test_every_page_is_in_the_navigation():
    listed = (ROOT / "mkdocs.yml").read_text()
    assert all(f"- {page.relative_to(ROOT / 'docs')}\n" in listed for page in PAGES if ROOT / "docs" in page.parents)


@pytest.fixture(scope="module")
def on_the_site():
    """page -> its text, with the files that it includes, as MkDocs gets it."""
    spec = importlib.util.spec_from_file_location("sources", ROOT / "docs" / "sources.py")
    sources = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sources)

    def text_of(page):
        where = SimpleNamespace(file=SimpleNamespace(src_uri=str(page.relative_to(ROOT / "docs"))))
        text = sources.on_page_markdown(page.read_text(), where)
        return re.sub(r'^--8<-- "([^":]+).*"$', lambda x: (ROOT / x[1]).read_text(), text, flags=re.MULTILINE)

    return text_of


@pytest.mark.parametrize("page", SITE, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_links_of_the_site_stay_on_it(page, on_the_site):
    """`make docs` refuses others."""
    text = re.sub(r"^```.*?^```", "", on_the_site(page), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", text):
        if not re.match(r"https?:|mailto:", target):
            found = (page.parent / target).resolve()
            assert found.is_file() and ROOT / "docs" in found.parents, target


@pytest.mark.parametrize("page", LINEAGE, ids=lambda page: page.stem)
def test_a_page_of_the_lineage(page, on_the_site):
    """Settings that it speaks of are there; the site shows the files that it links in the reference."""
    text = page.read_text()
    named = set(re.findall(r"`([A-Z][A-Z_]{3,})(?:=[^`]*)?`", text))
    assert named and named <= set(SETTINGS)
    assert commands(page)
    links = re.findall(r"\]\(\.\./\.\./mrcnn/([\w/]+)\.py\)", text)
    turned = re.findall(r"\]\(\.\./api/\w+\.md#mrcnn\.([\w.]+)\)", on_the_site(page))
    assert links and [name.removesuffix(".Config").replace(".", "/") for name in turned] == links


def test_the_readme_has_links_and_commands():
    """So that the tests above look at something."""
    text = (ROOT / "README.md").read_text()
    assert text.count("](docs/") >= 3 and text.count("python samples/") >= 10 and text.count("python benchmarks/") >= 3


@pytest.mark.parametrize("floor", FLOORS, ids=lambda floor: floor.name)
def test_every_room_is_on_the_map_and_in_the_reference(floor):
    """A package within a floor, such as weights/convert, is one room."""
    rooms = {path.stem for path in floor.glob("*.py")} - {"__init__"} | {
        x.parent.name for x in floor.glob("*/__init__.py")
    }
    lines = re.split(
        r"^\| `(\w+)` \|", (ROOT / "NOTES.md").read_text().partition("\n\n`samples")[0], flags=re.MULTILINE
    )
    cells = re.findall(r"^(?:\| \|)?( [^|]+)\|", lines[lines.index(floor.name) + 1], re.MULTILINE)
    assert set(re.findall(r"[\w]+", " ".join(cells))) == rooms
    reference = "".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    assert rooms <= set(re.findall(rf"^::: mrcnn\.{floor.name}\.(\w+)", reference, re.MULTILINE))


def test_commits_are_checked_by_the_same_ruff():
    wanted = re.findall(r"ruff[<>=~][^\s\"]+", (ROOT / "setup.cfg").read_text())
    hooks = re.findall(r"ruff[<>=~][^\s\"]+", (ROOT / ".pre-commit-config.yaml").read_text())
    assert len(hooks) == 2 and set(hooks) == set(wanted)
