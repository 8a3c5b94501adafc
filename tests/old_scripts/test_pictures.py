"""Pictures as scripts and notebooks of 2018 took them: pyplot's current figure is the one that was drawn."""

import io
import subprocess
import sys
from pathlib import Path

import matplotlib
import nbformat
import numpy as np
import pytest
from conftest import LIGHT
from nbclient import NotebookClient
from PIL import Image
from scenes import NAMES, scene

from mrcnn import visualize
from mrcnn.visualize import plt

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def closed():
    matplotlib.use("agg")
    plt.close("all")
    yield
    plt.close("all")


def show(n=2, **options):
    image, r = scene(n)
    visualize.display_instances(
        image, r["rois"], r["masks"], r["class_ids"], NAMES, r["scores"], figsize=(4, 3), **options
    )


def drawings():
    """Every function that draws without `ax` and `save`, by name."""
    image, r = scene(3)
    instances = r["rois"], r["class_ids"], r["masks"]
    ids = r["class_ids"]
    return {
        "display_instances": show,
        "display_images": lambda: visualize.display_images([image, image], cols=2),
        "display_top_masks": lambda: visualize.display_top_masks(image, r["masks"], ids, NAMES),
        "display_differences": lambda: visualize.display_differences(
            image, *instances, r["rois"], ids, r["scores"], r["masks"], NAMES
        ),
        "draw_boxes": lambda: visualize.draw_boxes(image, r["rois"], r["rois"] + 1),
        "draw_rois": lambda: visualize.draw_rois(image, r["rois"], r["rois"], np.ones((3, 28, 28)), ids, NAMES),
        "plot_precision_recall": lambda: visualize.plot_precision_recall(0.5, np.array([1, 0.5]), np.array([0, 1])),
        "plot_overlaps": lambda: visualize.plot_overlaps(ids, ids, r["scores"], np.eye(3), NAMES),
    }


@pytest.mark.parametrize("backend", ["agg", "svg", "pdf"])
@pytest.mark.parametrize("name", drawings())
def test_the_figure_is_pyplots_current_one(name, backend):
    plt.switch_backend(backend)
    drawings()[name]()
    assert plt.get_fignums() == [1]
    picture = io.BytesIO()
    plt.savefig(picture, format="png", dpi=40)
    assert len(np.unique(np.asarray(Image.open(picture).convert("L")))) > 10


def test_submission_with_a_picture_of_each_image(tmp_path):
    """A loop that saves what it shows, as the sample of nuclei did; thirty figures would be a warning of pyplot's."""
    for i in range(30):
        show(i % 3 + 1, show_bbox=False, show_mask=False, title="Predictions")
        plt.savefig("{}/{}.png".format(tmp_path, i), dpi=20)
        assert plt.get_fignums() == [1] and plt.gca().get_title() == "Predictions"
    assert len({path.read_bytes() for path in tmp_path.glob("*.png")}) == 3


def test_figures_of_ones_own_stay():
    fig, ax = plt.subplots(1)
    show(ax=ax)
    assert plt.gcf() is fig and len(ax.patches) == 2
    show()
    show()
    assert plt.get_fignums() == [1, 2] and plt.gcf() is not fig
    kept = plt.gcf()
    show()
    kept.savefig(io.BytesIO())  # no longer pyplot's, but a figure still


def test_a_script_without_a_display(tmp_path):
    """On a machine without any, and without a word about backends."""
    code = f"""
import os, sys
os.environ.pop("DISPLAY", None); os.environ.pop("MPLBACKEND", None)
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
import matplotlib.pyplot as plt
from mrcnn import visualize
import numpy as np
image = np.full((40, 50, 3), 90, np.uint8)
mask = np.zeros((40, 50, 1), bool); mask[5:20, 5:30] = True
visualize.display_instances(image, np.array([[5, 5, 20, 30]]), mask, np.array([1]), ["BG", "cat"], np.array([0.9]))
plt.savefig("cat.png", dpi=20)
print(plt.get_fignums())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=LIGHT, capture_output=True, text=True)
    assert done.stdout == "[1]\n", done.stderr
    assert len(np.unique(np.asarray(Image.open(tmp_path / "cat.png")))) > 10


CELLS = [
    f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
import io
import matplotlib.pyplot as plt
from PIL import Image
from scenes import NAMES, scene
from mrcnn import visualize
image, r = scene(2)
def show():
    return visualize.display_instances(image, r["rois"], r["masks"], r["class_ids"], NAMES, figsize=(2, 2))
""",
    "show()",
    "show(); print('between'); figure = show()",
    "print(plt.get_fignums())",
    "figure",
    "show(); plt.savefig('a.png', dpi=30); print(plt.get_fignums(), len(Image.open('a.png').getcolors(99999)) > 10)",
    "show(); plt.show()",
    "for _ in range(3):\n    show()",
    "fig, ax = plt.subplots(1, figsize=(2, 2)); _ = ax.plot([1, 2])",
]


def test_a_notebook_shows_each_picture_once(tmp_path, monkeypatch):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    monkeypatch.setenv("KERAS_BACKEND", LIGHT["KERAS_BACKEND"])
    NotebookClient(
        notebook, timeout=300, coalesce_streams=True, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [
        ["picture" if "image/png" in output.get("data", {}) else output.get("text", "") for output in cell.outputs]
        for cell in notebook.cells
    ]
    assert outputs[1:] == [
        ["picture"],
        ["picture", "between\n", "picture"],
        ["[]\n"],
        ["picture"],
        ["picture", "[1] True\n"],
        ["picture"],
        ["picture"] * 3,
        ["picture"],
    ]


def test_fewer_titles_than_images():
    image = np.zeros((4, 4, 3), "uint8")
    figure = visualize.display_images([image] * 3, titles=["one"], cols=3)
    assert [ax.get_title() for ax in figure.axes] == ["one", "", ""]
    assert len(visualize.display_images([image], titles=np.array(["one", "two"])).axes) == 1


def test_scores_of_none():
    image, r = scene(2)
    scores = [None, 0.5]
    figure = visualize.display_instances(image, r["rois"], r["masks"], r["class_ids"], NAMES, scores)
    assert [text.get_text() for text in figure.axes[0].texts] == ["balloon", "traffic light 0.500"]
    r["scores"] = scores
    assert visualize.draw_instances(image, r, NAMES).shape == image.shape
    points = np.full((2, 3, 3), 20.0)
    figure = visualize.display_keypoints(image, r["rois"], points, scores=scores)
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.500"]
