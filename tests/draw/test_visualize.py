import inspect
import json

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import skimage.measure
from matplotlib.figure import Figure
from PIL import Image
from real_data import ROOT
from scenes import (  # noqa: F401  (no_state is used by every test)
    CORNER,
    NAMES,
    assert_inside_and_disjoint,
    crowd,
    fake_notebook,
    limb_paints,
    no_state,
    people,
    rectangles,
    scene,
)

from mrcnn import utils, visualize
from mrcnn.draw import instances as draw
from mrcnn.ops import boxes as box_math
from mrcnn.ops import keypoints

API = json.loads((ROOT / "tests" / "golden" / "api.json").read_text())["mrcnn.visualize"]


def instances(n, **options):
    image, r = scene(n)
    figure = visualize.display_instances(
        image, r["rois"], r["masks"], r["class_ids"], NAMES, r["scores"], figsize=(8, 6), **options
    )
    return figure, figure.axes[0]


def label_boxes(ax):
    """[n, 4] what the labels cover, in pixels of the image."""
    ax.figure.canvas.draw()
    extents = [text.get_bbox_patch().get_window_extent() for text in ax.texts if text.get_visible()]
    corners = [ax.transData.inverted().transform([(e.x0, e.y1), (e.x1, e.y0)]) for e in extents]
    return np.array([(y1, x1, y2, x2) for (x1, y1), (x2, y2) in corners])


# The old names


@pytest.mark.parametrize("name", sorted(API))
def test_signatures_begin_as_the_originals(name):
    scope = {}
    exec(f"def original{API[name]}: pass", scope)
    old, new = (
        [(parameter.name, parameter.default) for parameter in inspect.signature(function).parameters.values()]
        for function in (scope["original"], getattr(visualize, name))
    )
    assert new[: len(old)] == old
    assert all(default is not inspect.Parameter.empty for _, default in new[len(old) :])


def test_what_old_scripts_took_from_here():
    names = {}
    exec("from mrcnn.visualize import *", names)
    assert names["plt"] is plt and names["np"] is np and names["find_contours"] is skimage.measure.find_contours
    assert names["patches"].Polygon is names["Polygon"] and names["lines"].Line2D and visualize.utils is utils
    with pytest.raises(AttributeError, match="module 'mrcnn.visualize' has no attribute 'nothing'"):
        visualize.nothing  # noqa: B018


# display_instances


def test_display_instances_has_one_color_for_mask_box_and_label():
    _, ax = instances(3, threshold=0.7)
    colors = visualize.random_colors(3)
    assert [box.get_edgecolor()[:3] for box in rectangles(ax)] == colors
    assert [text.get_bbox_patch().get_facecolor()[:3] for text in ax.texts] == colors
    assert [line.get_color() for line in ax.lines] == colors
    assert [box.get_linewidth() for box in rectangles(ax)] == [3, 2, 1]
    assert [text.get_text() for text in ax.texts] == ["balloon 0.990", "traffic light 0.850", "dog 0.710"]
    image, r = scene(3)
    shown = ax.images[0].get_array()
    y, x = np.argwhere(r["masks"][..., 0] & (r["masks"].sum(-1) == 1))[0]
    assert shown[y, x].tolist() == visualize.apply_mask(image.copy(), r["masks"][..., 0], colors[0])[y, x].tolist()
    assert (shown[~r["masks"].any(-1)] == image[~r["masks"].any(-1)]).all()


def test_outline_runs_around_the_mask_in_pixel_edges():
    mask = np.zeros((20, 20, 1), bool)
    mask[0:5, 10:20] = True
    figure = visualize.display_instances(np.zeros((20, 20, 3)), np.array([[0, 10, 5, 20]]), mask, [1], NAMES)
    x, y = figure.axes[0].lines[0].get_data()
    assert (x.min(), x.max(), y.min(), y.max()) == (10, 20, 0, 5)


@pytest.mark.parametrize("n", [1, 3, 20])
def test_labels_lie_inside_the_picture_and_disjoint(n):
    _, ax = instances(n)
    labels = label_boxes(ax)
    assert len(labels) == n
    assert_inside_and_disjoint(labels, (120, 160), 0.1)


def test_labels_of_a_crowd_hide_neither_each_other_nor_small_objects():
    image, r = crowd(40, 480, 640)
    arguments = (r[key] for key in ("rois", "masks", "class_ids"))
    figure = visualize.display_instances(image, *arguments, NAMES, r["scores"], figsize=(10, 8))
    labels = label_boxes(figure.axes[0])
    assert len(labels) == 40
    assert_inside_and_disjoint(labels, image.shape, 0.1)
    areas = np.prod(r["rois"][:, 2:] - r["rois"][:, :2], axis=1)
    small = r["rois"][areas < draw.SMALL * 12 * 60]
    assert len(small) > 20 and box_math.overlaps(labels + (0.1, 0.1, -0.1, -0.1), small).max() == 0


def test_without_detections_the_caption_says_why():
    _, ax = instances(0, title="empty")
    assert len(ax.texts) == 1
    for reason in ("No instances", "weights", "DETECTION_MIN_CONFIDENCE", "training images", "too small"):
        assert reason in ax.texts[0].get_text()
    assert ax.get_title() == "empty" and len(ax.images) == 1


def test_without_detections_the_pictures_beside_keep_their_size():
    widths = []
    for n in (0, 2):
        figure = Figure(figsize=(8, 3), layout="constrained")
        axes = figure.subplots(1, 3)
        instances(n, ax=axes[0])
        instances(2, ax=axes[1])
        figure.draw_without_rendering()
        widths.append([ax.get_position().width for ax in axes])
        assert n or axes[0].texts[0].get_text() == "No instances to display."
    np.testing.assert_allclose(*widths, rtol=1e-3)


def test_display_instances_skips_padding_and_takes_options():
    image, r = scene(3)
    r["rois"][1] = 0
    captions, colors = ["a", "b", "c"], [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    figure = visualize.display_instances(
        image, r["rois"], None, r["class_ids"], NAMES, captions=captions, colors=colors, show_bbox=False
    )
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == ["a", "c"] and rectangles(ax) == []
    assert ax.texts[1].get_bbox_patch().get_facecolor()[:3] == (0, 0, 1)
    assert (ax.images[0].get_array() == image).all()


def test_display_instances_draws_on_given_axes():
    figure = Figure()
    ax = figure.add_subplot(1, 2, 2)
    assert instances(2, ax=ax)[0] is figure
    assert len(rectangles(ax)) == 2


def test_saved_file_has_the_figures_size(tmp_path):
    figure, _ = instances(3, save=tmp_path / "three.png")
    with Image.open(tmp_path / "three.png") as picture:
        assert picture.size == tuple((figure.get_size_inches() * figure.dpi).astype(int))
        assert len(np.unique(np.asarray(picture))) > 30


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rois": np.zeros((2, 4), int)}, "boxes have the shape"),
        ({"masks": np.zeros((120, 160, 2), bool)}, "masks have the shape"),
        ({"masks": np.zeros((3, 120, 160), bool)}, "masks have the shape"),
        ({"class_ids": np.array([1, 2, 4])}, "Class id 4 has no name"),
    ],
)
def test_shapes_that_disagree_are_named(change, message):
    image, r = scene(3)
    r.update(change)
    with pytest.raises(ValueError, match=message):
        visualize.display_instances(image, r["rois"], r["masks"], r["class_ids"], NAMES)
    with pytest.raises(ValueError, match=message):
        visualize.draw_instances(image, r, NAMES)
    with pytest.raises(ValueError, match="1 colors for 3 instances"):
        instances(3, colors=[(1, 0, 0)])


def test_both_ways_of_drawing_place_labels_with_the_same_code(monkeypatch):
    calls = []
    place = draw.place_labels
    monkeypatch.setattr(draw, "place_labels", lambda *args: calls.append(place(*args)) or calls[-1])
    image, r = scene(20, 600, 800, 60)
    visualize.draw_instances(image, r, NAMES)
    visualize.display_instances(image, r["rois"], r["masks"], r["class_ids"], NAMES, r["scores"])
    assert [len(places) for places in calls] == [20, 20]
    for places in calls:
        assert_inside_and_disjoint(places, image.shape, 1e-6)
    assert (calls[0] == np.round(calls[0])).all()


# Keypoints


@pytest.mark.parametrize("points", [np.zeros((0, 3, 3), "float32"), np.zeros(0), None])
def test_without_people_there_is_nothing_to_draw(points):
    image, r = people()
    nobody = {"rois": r["rois"][:0], "class_ids": r["class_ids"][:0], "keypoints": points}
    assert (visualize.draw_instances(image, nobody, skeleton=CORNER) == image).all()
    if points is not None:
        ax = visualize.display_keypoints(image, nobody["rois"], points, skeleton=CORNER).axes[0]
        assert len(ax.collections) == 0 and "No instances" in ax.texts[0].get_text()


@pytest.mark.parametrize(
    ("change", "skeleton", "message"),
    [
        (lambda points: points[:1], CORNER, "keypoints have the shape"),
        (lambda points: points[..., :2], CORNER, "keypoints have the shape"),
        (lambda points: points.reshape(len(points), -1), (), "keypoints have the shape"),
        (lambda points: points, [(1, 3)], "The skeleton"),
        (lambda points: points, [(-1, 2)], "The skeleton"),
    ],
)
def test_keypoints_that_do_not_fit_are_named(change, skeleton, message):
    image, r = people((0, 0, 60, 60), (50, 50, 110, 110))
    r["keypoints"] = change(r["keypoints"])
    with pytest.raises(ValueError, match=message):
        visualize.draw_instances(image, r, skeleton=skeleton)
    with pytest.raises(ValueError, match=message):
        visualize.display_keypoints(image, r["rois"], r["keypoints"], skeleton=skeleton)


def limbs_and_dots(figure):
    """Of each person's limbs and dots in the pixels of the image."""
    collections = figure.axes[0].collections
    return [
        ([(line - 0.5).tolist() for line in limbs.get_segments()], (np.array(dots.get_offsets()) - 0.5).tolist())
        for limbs, dots in zip(collections[::2], collections[1::2], strict=True)
    ]


def test_display_keypoints_lands_on_the_same_pixels():
    image, r = people()
    before = image.copy(), r["keypoints"].copy()
    figure = visualize.display_keypoints(image, r["rois"], r["keypoints"], skeleton=CORNER, title="one")
    assert (image == before[0]).all() and (r["keypoints"] == before[1]).all()
    corners = [[30, 30], [130, 30], [130, 90]]
    assert limbs_and_dots(figure) == [([corners[:2], corners[1:]], corners)]
    ax = figure.axes[0]
    assert ax.get_title() == "one" and len(ax.texts) == 0 and len(rectangles(ax)) == 1
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 160), (120, 0))
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())
    for place, color in zip([(80, 30), (130, 60), *corners], [*limb_paints(2), *[[255] * 3] * 3], strict=True):
        x, y = ax.transData.transform(np.add(place, 0.5))
        assert pixels[len(pixels) - int(y) - 1, int(x), :3].tolist() == color


def test_display_keypoints_takes_ground_truth_and_knows_cocos_skeleton():
    image, r = people((10, 10, 110, 110), (0, 0, 0, 0))
    points = np.zeros((2, len(keypoints.COCO_NAMES), 3))
    points[:, 5:8] = (40, 40, 2), (60, 40, 1), (30, 60, 2)  # shoulders and the left elbow; the second row is padding
    ((limbs, dots),) = limbs_and_dots(visualize.display_keypoints(image, r["rois"], points, threshold=1))
    assert dots == [[40, 40], [60, 40], [30, 60]]
    assert limbs == [[[40, 40], [60, 40]], [[40, 40], [30, 60]]]
    assert limbs_and_dots(visualize.display_keypoints(image, r["rois"], points, skeleton=())) == [([], dots)]
    three = visualize.display_keypoints(image, r["rois"], points[:, 5:8], [1, 1], NAMES)
    assert limbs_and_dots(three) == [([], dots)] and [text.get_text() for text in three.axes[0].texts] == ["balloon"]


def test_display_keypoints_draws_on_given_axes_with_labels_on_top(tmp_path):
    image, r = people((20, 20, 100, 70), (20, 80, 100, 140))
    ax = Figure().add_subplot(1, 2, 2)
    options = {"skeleton": CORNER, "show_bbox": False, "colors": [(1, 0, 0), (0, 1, 0)], "ax": ax}
    visualize.display_keypoints(
        image, r["rois"], r["keypoints"], scores=[0.9, 0.75], save=tmp_path / "p.png", **options
    )
    assert [text.get_text() for text in ax.texts] == ["0.900", "0.750"] and rectangles(ax) == []
    assert [text.get_bbox_patch().get_facecolor()[:3] for text in ax.texts] == options["colors"]
    assert len(ax.collections) == 4 and (tmp_path / "p.png").exists()
    assert max(part.get_zorder() for part in ax.collections) < min(text.get_zorder() for text in ax.texts)
    assert (ax.collections[0].get_colors() == ax.collections[2].get_colors()).all()


# Notebooks and windows


def test_a_notebook_shows_a_figure_once_in_its_cell(monkeypatch, tmp_path):
    shown, shell = fake_notebook(monkeypatch)
    figure, _ = instances(1)
    figure._ipython_display_()  # the echo of the cell's last line
    assert len(shown) == 1 and shown[0].startswith(b"\x89PNG")
    shell.execution_count = 2
    figure._ipython_display_()
    assert len(shown) == 2
    instances(1, save=tmp_path / "a.png")
    instances(1, ax=Figure().add_subplot())
    assert len(shown) == 2


def test_a_backend_with_windows_opens_one(monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr(matplotlib, "get_backend", lambda: "QtAgg")
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.get_fignums()))
    figure, _ = instances(1)
    assert shown == [[figure.number]]
    plt.close(figure)
    instances(1, save=tmp_path / "a.png")
    instances(1, ax=Figure().add_subplot())
    assert len(shown) == 1
