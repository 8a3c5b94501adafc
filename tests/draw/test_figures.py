"""Pictures of the stages of a model, of evaluations and of weights."""

import inspect
import sys
import types

import keras
import numpy as np
import pytest
from scenes import NAMES, fake_notebook, no_state, rectangles, scene  # noqa: F401  (no_state is used by every test)

from mrcnn import visualize
from mrcnn.draw import plots


def test_display_images():
    images = [np.zeros((4, 6, 3)), np.eye(5, dtype=bool), np.zeros((4, 4, 1), "uint8")] * 2
    figure = visualize.display_images(images, titles=list("abcdef"), cols=4, cmap="gray", interpolation="none")
    assert [ax.get_title() for ax in figure.axes] == list("abcdef")
    assert figure.axes[4].get_subplotspec().rowspan.start == 1
    assert visualize.display_images([]).axes == []


@pytest.mark.parametrize(
    "name, wrong, words",
    [
        ("display_images", {"cols": 0}, "cols is 0; it must be at least 1."),
        ("display_top_masks", {"limit": 1.5}, "limit is 1.5; it must be a whole number."),
        ("draw_rois", {"limit": -1}, "limit is -1; it must be at least 0."),
        ("display_instances", {"figsize": 16}, "figsize is 16; it must be two numbers."),
        ("display_keypoints", {"threshold": "0.5"}, "threshold is '0.5'; it must be a number."),
        ("display_differences", {"iou_threshold": 50}, "iou_threshold is 50; it must be between 0 and 1."),
        ("draw_instances", {"alpha": 2}, "alpha is 2; it must be between 0 and 1."),
        ("random_colors", {"N": -1}, "N is -1; it must be at least 0."),
    ],
)
def test_numbers_that_cannot_be(name, wrong, words):
    function = getattr(visualize, name)
    given = {x: None for x, y in inspect.signature(function).parameters.items() if y.default is y.empty}
    with pytest.raises(ValueError, match=f"^{words}$"):
        function(**given | wrong)


def test_display_top_masks_orders_classes_by_area():
    image = np.zeros((10, 10, 3), "uint8")
    masks = np.zeros((10, 10, 3), bool)
    masks[:2, :2, 0] = masks[5:, 5:, 1] = masks[2:4, :2, 2] = True
    figure = visualize.display_top_masks(image, masks, np.array([1, 3, 1]), NAMES)
    assert [ax.get_title() for ax in figure.axes] == ["H x W=10x10", "dog", "balloon", "-", "-"]
    balloons = figure.axes[2].images[0].get_array()
    assert balloons[0, 0] == 1 and balloons[2, 0] == 2 and balloons.sum() == 4 + 8
    assert len(visualize.display_top_masks(image, masks[..., :0], np.array([], int), NAMES).axes) == 5


def test_draw_boxes():
    image, r = scene(3)
    figure = visualize.draw_boxes(
        image, r["rois"], r["rois"] + 2, r["masks"], ["a", "b", ""], [0, 1, 2], title="three", save=None
    )
    ax = figure.axes[0]
    styles = [(box.get_linestyle(), box.get_alpha()) for box in rectangles(ax)]
    before, after = styles[::2], styles[1::2]
    assert [alpha for _, alpha in before] == [0.5, 1, 1] and after == [before[2]] * 3
    assert before[0][0] == before[1][0] != before[2][0]
    assert rectangles(ax)[0].get_edgecolor()[:3] == (0.5, 0.5, 0.5)
    assert [text.get_text() for text in ax.texts] == ["a", "b"] and ax.get_title() == "three"
    assert len(rectangles(visualize.draw_boxes(image, refined_boxes=r["rois"]).axes[0])) == 3
    with pytest.raises(ValueError, match="needs boxes"):
        visualize.draw_boxes(image)


def test_draw_rois_shows_refinement_only_of_positives():
    image, r = scene(4)
    class_ids = np.array([1, 0, 3, 0])
    masks = np.ones((4, 28, 28), "float32")
    ax = visualize.draw_rois(image, r["rois"] - 2, r["rois"], masks, class_ids, NAMES).axes[0]
    assert len(rectangles(ax)) == 4 + 2
    assert sorted(text.get_text() for text in ax.texts) == ["balloon", "dog"]
    assert "4 of 4 RoIs; 2 are positive (50%)" in ax.get_title()
    one = [visualize.draw_rois(image, r["rois"], r["rois"], masks, class_ids, NAMES, limit=1).axes[0] for _ in "ab"]
    assert rectangles(one[0])[0].get_bbox().bounds == rectangles(one[1])[0].get_bbox().bounds


def test_display_differences_labels_score_and_iou():
    image, r = scene(3, 120, 160)
    r["rois"] = np.array([[10, 10, 30, 30], [50, 50, 70, 70], [80, 100, 100, 140]])
    r["masks"][:] = False
    for i, (y1, x1, y2, x2) in enumerate(r["rois"]):
        r["masks"][y1:y2, x1:x2, i] = True
    half = r["masks"].copy()
    half[10:15, :, 0] = False  # 15 of 20 rows are left
    order = [2, 0]  # falling score is not the order given
    figure = visualize.display_differences(
        image, r["rois"], r["class_ids"], r["masks"], r["rois"][order], np.array([1, 1]), np.array([0.6, 0.9]),
        half[..., order], NAMES,
    )  # fmt: skip
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == [f"{NAMES[1]} 0.90 / 0.75", f"{NAMES[1]} 0.60 / 1.00"]
    assert [box.get_edgecolor()[:3] for box in rectangles(ax)] == [(0, 1, 0)] * 3 + [(1, 0, 0)] * 2
    nothing = np.zeros((0, 4), int), np.zeros(0, int), np.zeros(0), np.zeros((120, 160, 0), bool)
    visualize.display_differences(image, r["rois"], r["class_ids"], r["masks"], *nothing, NAMES)
    visualize.display_differences(
        image, nothing[0], nothing[1], nothing[3], r["rois"], r["class_ids"], r["scores"], r["masks"], NAMES
    )


def test_plots_of_evaluation():
    ax = visualize.plot_precision_recall(0.875, np.array([1, 0.5]), np.array([0, 1])).axes[0]
    assert ax.get_title() == "Precision-Recall Curve. AP@50 = 0.875"
    assert ax.lines[0].get_xdata().tolist() == [0, 1] and ax.lines[0].get_ydata().tolist() == [1, 0.5]
    overlaps = np.array([[0.9, 0.2], [0.6, 0.5]])
    figure = visualize.plot_overlaps(np.array([1, 3, 0]), np.array([1, 2, 0]), np.array([0.99, 0.8]), overlaps, NAMES)
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == ["0.900\nmatch", "0.200", "0.600\nwrong", "0.500"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["balloon 0.990", "traffic light 0.800"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["balloon", "dog"]
    figure = visualize.plot_overlaps(np.array([1]), np.zeros(0, int), np.zeros(0), np.zeros((0, 1)), NAMES)
    assert figure.axes[0].get_xlim() == (-0.5, 0.5) and figure.axes[0].get_ylim() == (0.5, -0.5)

    ax = plots.plot_speed([0.03, 0.5], [0.7, 0.8], ["ssd", "rcnn"]).axes[0]
    assert ax.collections[0].get_offsets().tolist() == [[30, 0.7], [500, 0.8]]
    assert [(text.get_text(), text.xy) for text in ax.texts] == [("ssd", (30, 0.7)), ("rcnn", (500, 0.8))]


# Tables


def test_display_table_is_text_or_escaped_html(capsys, monkeypatch):
    shown, _ = fake_notebook(monkeypatch)
    visualize.display_table([["a<b", 1], ["&", 22]])
    assert shown == ["<table><tr><td>a&lt;b</td><td>1</td></tr><tr><td>&amp;</td><td>22</td></tr></table>"]
    monkeypatch.delitem(sys.modules, "IPython")
    visualize.display_table([["name", 1], ["n", 22]])
    assert capsys.readouterr().out == "name  1\nn     22\n"


def test_weight_stats_flags_dead_and_overflowing_weights(capsys):
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="inside")], name="nested")
    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(4, name="dead")(inner(inputs[:, :3]) * 1.0)
    model = types.SimpleNamespace(keras_model=keras.Model(inputs, outputs))
    model.keras_model.get_layer("dead").kernel.assign(np.full((2, 4), 0.25))
    inner.get_layer("inside").kernel.assign([[1, -1000], [2, 3], [4, 5]])
    rows = visualize.weight_stats(model)
    assert rows[0] == ("WEIGHT NAME", "SHAPE", "MIN", "MAX", "STD") and len(rows) == 1 + 4
    by_shape = {row[1]: row for row in rows[1:]}
    assert "*** dead?" in by_shape["(2, 4)"][0] and by_shape["(2, 4)"][2:] == ("   +0.2500", "   +0.2500", "   +0.0000")
    assert "*** overflow?" in by_shape["(3, 2)"][0] and by_shape["(3, 2)"][2].strip() == "-1000.0000"
    assert "***" not in by_shape["(2,)"][0] + by_shape["(4,)"][0]
    inner.get_layer("inside").bias.assign([np.nan, 0])
    assert sum("overflow" in row[0] for row in visualize.weight_stats(model.keras_model)) == 2
    visualize.display_weight_stats(model)
    assert capsys.readouterr().out.count("\n") == 5


def test_crowds_are_named():
    image, r = scene(2)
    ax = visualize.display_instances(image, r["rois"], r["masks"], np.array([1, -3]), NAMES).axes[0]
    assert [text.get_text() for text in ax.texts] == ["balloon", "crowd: dog"]
    titles = [ax.get_title() for ax in visualize.display_top_masks(image, r["masks"], [-1, 1], NAMES).axes]
    assert sorted(titles[1:3]) == ["balloon", "crowd: balloon"]
    with pytest.raises(ValueError, match="Class id 4 has no name"):
        visualize.display_instances(image, r["rois"], r["masks"], np.array([1, -4]), NAMES)


def test_images_of_one_scale_with_a_colour_bar():
    images = [np.zeros((4, 6)), np.zeros((8, 3, 3))]
    figure = visualize.display_images(images, one_scale=True, bar="probability")
    *axes, bar = figure.axes
    assert [(ax.get_xlim(), ax.get_ylim()) for ax in axes] == [((-0.5, 5.5), (7.5, -0.5))] * 2
    assert bar.get_ylabel() == "probability"
    assert visualize.display_images([], one_scale=True, bar="none").axes == []


def test_rois_of_one_object_end_in_one_box():
    """Where refinement leaves them a rounding error apart, on both sides of a whole number."""
    image, _ = scene(1)
    rois = np.array([[10, 10, 30, 30], [12, 12, 34, 34]])
    refined = np.array([[11.9999, 11.9999, 32.0001, 32.0001], [12, 12, 32, 32]])
    ax = visualize.draw_rois(image, rois, refined, np.ones((2, 28, 28)), np.array([1, 1]), NAMES).axes[0]
    assert rectangles(ax)[1].get_bbox().bounds == rectangles(ax)[3].get_bbox().bounds == (12, 12, 20, 20)


def test_boxes_in_given_colours():
    image, r = scene(2)
    ax = visualize.draw_boxes(image, r["rois"], colors=[(1, 0, 0), (0, 0, 1)], visibilities=[2, 0]).axes[0]
    assert [box.get_edgecolor()[:3] for box in rectangles(ax)] == [(1, 0, 0), (0.5, 0.5, 0.5)]
