"""The notebooks: their code runs, on barely trained weights too, and what is saved with them is fit to be read."""

import base64
import inspect
import io
import re
import sys
import types
from pathlib import Path

import matplotlib.pyplot as plt
import nbclient
import nbformat
import numpy as np
import pytest
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from PIL import Image
from real_data import ROOT

sys.path.insert(0, str(ROOT / "samples"))

import coco
import figures
import lessons
import run_notebooks
import shapes
import trained

from mrcnn.data.anchors import pyramid_anchors
from mrcnn.data.dataset import Dataset
from mrcnn.data.rpn_targets import rpn_targets
from mrcnn.losses.focal import focal_loss
from mrcnn.model import MaskRCNN
from mrcnn.models.detectors import build_detector
from mrcnn.ops import boxes
from mrcnn.ops.masks import extract_bboxes
from mrcnn.ops.roi_align import pyramid_level
from mrcnn.settings import CONFIG
from mrcnn.settings.detectors import practice
from mrcnn.weights import convert

# Code that makes a figure: with Matplotlib, or with a function of visualize or draw.semantic that is not for tables.
DRAWS = re.compile(r"plt\.subplots|(?:visualize|semantic|stages)\.(?:display_(?!table|weight_stats)|draw_|plot_)")

# What texts of the notebooks that teach quote, and where it is from.
QUOTED = {
    ("demo", "below `DETECTION_MIN_CONFIDENCE`, which is 0.7"): lambda: (
        f"below `DETECTION_MIN_CONFIDENCE`, which is {shapes.ShapesConfig.DETECTION_MIN_CONFIDENCE}"
    ),
    ("pose", "3136 cells of a map"): lambda: f"{np.prod(trained.FiguresConfig.KEYPOINT_MASK_SHAPE)} cells of a map",
    ("lineage", "the objects have 6% of it"): lambda: f"the objects have {objects_share(0):.0%} of it",
    ("lineage", "Gamma 2, which is"): lambda: f"Gamma {shapes.ShapesConfig.FOCAL_GAMMA:.0f}, which is",
    ("inspect_data", "= 16368 anchors"): lambda: f"= {anchors(256)} anchors",
    ("inspect_data", "(26, 34, 90, 66)"): lambda: whole(
        boxes.decode(np.array([34.0, 34, 66, 66]), np.array([0.25, 0, np.log(2), 0]))
    ),
    ("inspect_data", "s from 0.71 a to 1.41 a"): lambda: f"s from {np.sqrt(0.5):.2f} a to {1 / np.sqrt(0.5):.2f} a",
    ("inspect_data", "IoU of at least 0.7,"): lambda: f"IoU of at least {default('high')},",
    ("inspect_data", "one with less than 0.3 is"): lambda: f"one with less than {default('low')} is",
    ("inspect_model", "= 261888"): lambda: f"= {anchors(1024)}",
    ("inspect_model", "RoIs below 79 pixels come from P2"): lambda: (
        f"RoIs below {224 * 2**-1.5:.0f} pixels come from P{level(79, 79)}"
    ),
    ("inspect_model", "rounds to -1: P3"): lambda: f"rounds to {level(60, 240) - 4}: P{level(60, 240)}",
    ("inspect_model", "By its longer side it would be\nP4"): lambda: (
        f"By its longer side it would be\nP{level(240, 240)}"
    ),
    ("inspect_model", "`RPN_NMS_THRESHOLD` = 0.7"): lambda: (
        f"`RPN_NMS_THRESHOLD` = {shapes.ShapesConfig.RPN_NMS_THRESHOLD}"
    ),
    ("inspect_model", "`DETECTION_NMS_THRESHOLD` = 0.3"): lambda: (
        f"`DETECTION_NMS_THRESHOLD` = {shapes.ShapesConfig.DETECTION_NMS_THRESHOLD}"
    ),
}


def anchors(side):
    return len(pyramid_anchors(shapes.ShapesConfig(), (side, side, 3)))


def objects_share(gamma):
    """What 10 anchors on objects, at p = 0.3, add to the focal loss beside 10000 on background at p = 0.98."""
    p = np.array([0.3, 0.98], "float32")
    objects, background = (10, 10000) * np.asarray(focal_loss(np.ones(2), np.log(p / (1 - p)), None, gamma))
    return objects / (objects + background)


def level(height, width):
    return int(pyramid_level(np.array([[0, 0, height / 1000, width / 1000]], "float32"), 1e6)[0])


def default(name):
    return inspect.signature(rpn_targets).parameters[name].default


def whole(box):
    return str(tuple(int(x) for x in np.rint(box)))


# What a kernel does before the first cell of a notebook: few steps of training and few images run as they are, as
# compiling takes longer; sets and pictures are small, trainings short, and the detectors of the lineage narrow, with
# their first weights.
STARTUP = """
import matplotlib
import tensorflow as tf
import trained
from mrcnn.data.dataset import Dataset

tf.config.run_functions_eagerly(True)
trained.shapes.ShapesConfig.VALIDATION_STEPS = 1
for config in (trained.shapes.ShapesConfig, trained.FiguresConfig):
    config.OPTIMIZER = "sgd"
matplotlib.rcParams.validate["figure.dpi"] = lambda value: 30


def prepare(self, *args, prepare=Dataset.prepare):
    if type(self).__name__ == "MoonsDataset":
        del self.image_info[8:]
    prepare(self, *args)


def detector(name, **settings):
    import trained
    from mrcnn.models.detectors import build_detector
    from mrcnn.settings.detectors import practice

    widths = "BACKBONE_WIDTH", "TOP_DOWN_PYRAMID_SIZE", "RPN_CHANNELS", "MASK_CHANNELS", "FPN_CLASSIF_FC_LAYERS_SIZE"
    config = trained.ShapesConfig().update(**dict.fromkeys(widths, 12), DETECTION_MAX_INSTANCES=4)
    return build_detector("inference", config.update(**practice(name, config.to_dict()) | settings), trained.LOGS)


Dataset.prepare = prepare
trained.detector = detector
del config, detector, prepare, matplotlib, tf, Dataset
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder like samples/, with small sets of the same first images, and trainings of one step an epoch."""
    folder = tmp_path_factory.mktemp("a checkout") / "samples"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MRCNN_CACHE", str(folder / "cache"))
        patch.setenv("MRCNN_NOTEBOOK_STEPS", "1")
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("PYTHONPATH", str(ROOT / "samples"))
        startup = folder / "ipython" / "profile_default" / "startup"
        startup.mkdir(parents=True)
        (startup / "narrow.py").write_text(STARTUP)
        shapes.ensure(train=24, val=8)
        figures.ensure(train=8, val=19)
        yield folder


@pytest.fixture(scope="module")
def kernel(workplace):
    """One for all notebooks, as starting it takes longer than running some; the first one starts it."""
    manager = AsyncKernelManager(kernel_name="python3")
    yield manager
    run_sync(manager.shutdown_kernel)(now=True)


def read(name):
    return nbformat.read(ROOT / "samples" / f"{name}.ipynb", as_version=4)


def pictures(cell):
    """The PNGs that a code cell shows, [h, w, 3] each."""
    found = [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")) for png in found]


def check_figures(notebook):
    """Every cell that draws shows a picture, every picture shows something; returns their number."""
    count = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        shown = pictures(cell)
        if any(output.get("text", "").startswith("Skipped:") for output in cell.outputs):
            assert not shown
            continue
        assert bool(shown) == bool(DRAWS.search(cell.source)), cell.source
        assert all((picture != picture[0, 0]).any() for picture in shown), cell.source
        count += len(shown)
    return count


@pytest.mark.parametrize("name", run_notebooks.NAMES)
def test_it_runs(name, workplace, kernel):
    """A few steps of training find nothing, or nonsense: the code must stand both."""
    if kernel.has_kernel:  # what the one before called something is no name here
        forget = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("%reset -f")])
        nbclient.NotebookClient(forget, km=kernel).execute()
    check_figures(run_notebooks.run(name, workplace, kernel))


@pytest.mark.parametrize("sample", [trained.SHAPES, trained.POSE], ids=["shapes", "figures"])
def test_weights_that_come_with_mrcnn(sample):
    """They are of the notebooks' network, and small."""
    path = Path(trained.weights(sample))
    model = MaskRCNN("inference", sample.generated_config(), path.parent)
    model.load_weights(path)
    assert not model.load_report.left and not model.load_report.unused
    assert path.stat().st_size < 3e6


def test_weights_of_ones_own(tmp_path):
    """A folder with config.json beside the weights; a data set of other classes is refused before anything is built."""
    config = shapes.ShapesConfig().update(NUM_CLASSES=4, IMAGE_RESIZE_MODE="pad64", IMAGE_MAX_DIM=150)
    MaskRCNN("inference", config, tmp_path).save_weights(tmp_path / convert.WEIGHTS)
    config.to_json(tmp_path / CONFIG)
    dataset = Dataset()
    for i in range(3):
        dataset.add_class("own", i + 1, f"class {i + 1}")
    dataset.prepare()
    model = trained.model(trained.SHAPES, tmp_path, dataset, DETECTION_MIN_CONFIDENCE=0.1)
    assert (model.config.NUM_CLASSES, model.config.DETECTION_MIN_CONFIDENCE) == (4, 0.1)
    assert model.config.IMAGE_SHAPE.tolist() == [128, 128, 3]
    dataset.add_class("own", 4, "one more")
    dataset.prepare()
    with pytest.raises(ValueError, match="4 classes with the background, the data set 5: set DATASET"):
        trained.model(trained.SHAPES, tmp_path, dataset)


@pytest.mark.parametrize(("code", "error"), [(130, KeyboardInterrupt), (2, RuntimeError)])
def test_a_detector_is_trained_where_there_is_none(code, error, tmp_path, monkeypatch):
    (tmp_path / "samples").mkdir()
    monkeypatch.chdir(tmp_path / "samples")

    def main(words):
        assert words[words.index("--detector") + 1] == "fcos"
        run = Path(words[words.index("--logs") + 1]) / "shapes20260101T0000"
        run.mkdir()
        config = shapes.ShapesConfig().update(BACKBONE_WIDTH=8)
        config.update(**practice("fcos", config.to_dict()))
        build_detector("inference", config, tmp_path).save_weights(run / "mask_rcnn_shapes_0001.h5")
        config.to_json(run / CONFIG)
        return code

    monkeypatch.setattr(coco, "main", main)
    with pytest.raises(error):
        trained.detector("fcos")
    assert not list(trained.FOLDER.iterdir())
    code = 0
    assert trained.detector("fcos").name == "fcos"
    monkeypatch.setattr(coco, "main", None)
    assert trained.detector("fcos", DETECTION_MIN_CONFIDENCE=0.1).config.DETECTION_MIN_CONFIDENCE == 0.1


def test_there_are_seven_of_them():
    """So that the tests look at something."""
    assert set(run_notebooks.NAMES) == {
        *("demo", "inspect_data", "inspect_model", "inspect_weights", "lineage", "pose", "train_shapes"),
    }


@pytest.mark.parametrize("name", run_notebooks.NAMES)
def test_what_is_saved(name):
    notebook = read(name)
    assert check_figures(notebook) >= 3
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]  # from top to bottom
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    text = "".join(output.get("text", "") + str(output.get("data", {}).get("text/html", "")) for output in outputs)
    assert not re.search(r"(^|[\s'\"(])(/|[A-Z]:\\)\w", text) and "Warning" not in text
    assert not set("\r\b\x1b━") & set(text)  # a progress bar's
    assert (ROOT / "samples" / f"{name}.ipynb").stat().st_size < 1.5e6


@pytest.mark.parametrize("name", run_notebooks.NAMES)
def test_every_figure_has_two_sentences_beside_it(name):
    cells = read(name).cells
    for i, cell in enumerate(cells):
        if cell.cell_type == "code" and DRAWS.search(cell.source):
            beside = cells[max(0, i - 1)], cells[min(i + 1, len(cells) - 1)]
            texts = [re.sub(r"^#.*$", "", x.source, flags=re.MULTILINE) for x in beside if x.cell_type == "markdown"]
            assert max(len(re.findall(r"[.:!?](?=\s|$)", text)) for text in texts) >= 2, cell.source


@pytest.mark.parametrize(("name", "words"), QUOTED)
def test_numbers_in_texts(name, words):
    texts = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    assert words in texts and QUOTED[name, words]() == words


@pytest.mark.parametrize("name", run_notebooks.NAMES)
def test_they_teach(name):
    """They name the files that compute what they show, and have two sliders, each with a picture for those who only
    read, and three exercises with hidden answers."""
    cells = read(name).cells
    texts = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    links = set(re.findall(r"\]\((?!http)([^)]+)\)", texts))
    assert len(links) >= 8 and not [link for link in links if not (ROOT / "samples" / link).exists()]
    assert len([link for link in links if link.endswith(".py")]) >= 3
    assert texts.count("<details><summary>Answer</summary>") == texts.count("</details>") == 3
    sliders = [cell.source for cell in cells if cell.source.startswith("lessons.slider(")]
    drawn = [cell.source for cell in cells if cell.cell_type == "code" and pictures(cell)]
    assert len(sliders) >= 2
    for slider in sliders:
        call = re.match(r"lessons\.slider\((\w+),", slider).group(1) + "(ax"
        assert any(f"def {call}" in source and source.count(call) >= 2 for source in drawn), slider


@pytest.mark.parametrize("name", run_notebooks.DOCUMENTED)
def test_pictures_of_the_documentation(name):
    assert run_notebooks.documented(read(name), name) == run_notebooks.DOCUMENTED[name][1].read_bytes()


def test_slider(monkeypatch, capsys):
    """With every value there is a new picture; without ipywidgets a line says what is missing."""
    drawn, widgets = [], types.ModuleType("ipywidgets")
    widgets.FloatSlider = lambda **given: ("float", given["value"])
    widgets.IntSlider = lambda **given: ("int", given["value"])
    widgets.interact = lambda show, **sliders: show(**sliders)
    monkeypatch.setitem(sys.modules, "ipywidgets", widgets)
    slider = {"x": (0, 1, 0.5, 0.5), "n": (0, 9, 1, 3)}
    lessons.slider(lambda ax, x, n: drawn.append((type(ax).__name__, x, n)), (2, 2), **slider)
    assert drawn == [("Axes", ("float", 0.5), ("int", 3))] and not capsys.readouterr().out
    plt.close("all")
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    lessons.slider(None, (2, 2), x=(0, 1, 0.5, 0.5))
    assert "slider for x where ipywidgets is installed" in capsys.readouterr().out


def test_a_large_scene_has_objects_of_known_sizes():
    dataset = lessons.SceneDataset(size=160, objects=4)
    mask, ids = dataset.load_mask(0)
    assert dataset.load_image(0).shape == (160, 160, 3) and mask.shape == (160, 160, 4) and set(ids) <= set(range(1, 6))
    assert np.sqrt(boxes.area(extract_bboxes(mask))).min() > 8 and mask.any(axis=(0, 1)).all()


def test_colours_stay_when_a_picture_is_saved():
    rng = np.random.default_rng(0)
    picture, png = rng.integers(0, 256, (40, 40, 3), "uint8"), io.BytesIO()
    picture[0] = (0, 255, 0)
    Image.fromarray(picture).save(png, "PNG")
    small = base64.b64decode(run_notebooks.shrink(base64.b64encode(png.getvalue()).decode()))
    found = np.asarray(Image.open(io.BytesIO(small)))
    assert np.abs(found.astype(int) - picture).max() <= 3 and (found[0] == (0, 255, 0)).all()
    assert len(small) < len(png.getvalue())


@pytest.mark.parametrize("name", run_notebooks.NAMES)
def test_it_holds_nothing_that_changes_from_run_to_run(name):
    notebook = read(name)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"}
    assert all(cell.metadata == {} for cell in notebook.cells)
    assert [cell.id for cell in notebook.cells] == [f"cell-{i:02d}" for i in range(len(notebook.cells))]
