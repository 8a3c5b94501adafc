"""Classes of pixels drawn over images, and the ways to unpool as a figure."""

import numpy as np
import pytest
from PIL import Image

from mrcnn.draw.instances import part_colors
from mrcnn.draw.semantic import display_semantic, display_unpooling, draw_semantic


def test_a_colour_for_each_class():
    image, classes = np.full((200, 200, 3), 100, "uint8"), np.zeros((200, 200), int)
    classes[100:180, 20:90], classes[100:180, 110:190], classes[20:40, 20:40] = 1, 3, -1
    drawn = draw_semantic(image, classes, ["BG", "a", "b", "c"])
    one, _, three = (np.array(color) * 255 for color in part_colors(3))
    np.testing.assert_allclose(drawn[140, 50], 50 + one / 2, atol=1)
    np.testing.assert_allclose(drawn[140, 150], 50 + three / 2, atol=1)
    np.testing.assert_allclose(drawn[179, 50], one, atol=1)  # its border
    np.testing.assert_allclose(drawn[30, 30], 50 + 255 / 4, atol=1)
    assert (drawn[190:] == 100).all() and (image == 100).all()
    assert (drawn[70:100] != 100).any()  # the names
    np.testing.assert_array_equal(draw_semantic(image, np.zeros((200, 200), int)), image)


def test_what_does_not_fit():
    image = np.zeros((4, 5, 3), "uint8")
    with pytest.raises(ValueError, match=r"classes have the shape \(5, 4\) where the image needs \(4, 5\)"):
        draw_semantic(image, np.zeros((5, 4), int))
    with pytest.raises(ValueError, match="Class id 2 has no name"):
        draw_semantic(image, np.full((4, 5), 2), ["BG", "a"])


def test_figures(tmp_path):
    figure = display_unpooling([[1, 2], [4, 3]], save=tmp_path / "ways.png")
    shown = {axes.get_title(): axes.images[0].get_array().tolist() for axes in figure.axes}
    assert shown["its maxima"] == [[4]] and shown["nearest"] == [[4, 4], [4, 4]]
    assert shown["bed of nails"] == [[4, 0], [0, 0]] and shown["remembered maxima"] == [[0, 0], [4, 0]]
    assert shown["transposed convolution"] == [[2.25, 2.25], [2.25, 2.25]]
    shown = display_semantic(
        np.zeros((64, 64, 3)), 2 * np.eye(64, dtype=int), "BG a b".split(), save=tmp_path / "classes.png"
    )
    assert [text.get_text() for text in shown.axes[0].get_legend().get_texts()] == ["b"]
    assert Image.open(tmp_path / "classes.png").size[0] > 64
