"""Class names in any script are readable: by a font that has their letters, or by words that stand for them."""

import warnings

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from mrcnn.draw import figures, fonts, instances


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A font that has the letter 狗 alone, a block, and nothing else that could have it."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 800), (800, 800), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    block = pen.glyph()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "dog"])
    builder.setupCharacterMap({ord("狗"): "dog"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "dog": block})
    builder.setupHorizontalMetrics({".notdef": (900, 0), "dog": (900, 0)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Blocks", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    path = tmp_path / "blocks.ttf"
    builder.save(path)
    monkeypatch.delenv(fonts.VARIABLE, raising=False)
    found: list[str] = []
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: found)
    for function in (fonts._search, fonts._warn):
        function.cache_clear()
    yield str(path), found
    for function in (fonts._search, fonts._warn):
        function.cache_clear()


def drawn(name, score=None):
    """The label of a box in a picture on black: pixels of its text, white or black."""
    result = {"rois": np.array([[40, 5, 90, 190]]), "class_ids": [1], "scores": [score]}
    return instances.draw_instances(np.zeros((100, 200, 3), "uint8"), result, ["BG", name], colors=[(0, 0, 1)])


def test_letters_beyond_ascii_have_a_font(made):
    for name in ("Größe", "кошка", "γάτα"):
        assert fonts.path_for(name).endswith("DejaVuSans.ttf")
    assert fonts.path_for("cat 3") == "" and fonts.path_for("狗") is None
    assert (drawn("ä") != drawn("a")).any() and (drawn("ш") != drawn("щ")).any()


def test_a_name_that_no_font_has_is_replaced(made):
    with pytest.warns(UserWarning, match="No font here has the letters of '狗', so pictures say 'class 1'.*MRCNN_FONT"):
        picture = drawn("狗")
    assert (picture == drawn("class 1")).all()
    with warnings.catch_warnings():  # once
        warnings.simplefilter("error")
        assert instances.label_texts([1, 0], ["BG", "狗"], [0.5, None]) == ["class 1 0.500", "BG"]


def test_a_font_of_the_system_is_found(made):
    path, found = made
    found.append(path)
    picture = drawn("狗")
    assert fonts.path_for("狗") == path
    assert (picture == 255).all(axis=-1).sum() > 60  # the block, in white
    assert fonts.families(["cat"]) == {}
    assert fonts.families(["cat", "狗"])["fontfamily"][-1] == "Blocks"


def test_a_font_may_be_named(made, monkeypatch, tmp_path):
    path, _ = made
    monkeypatch.setenv(fonts.VARIABLE, path)
    assert fonts.path_for("狗") == path and fonts.path_for("cat") == ""
    assert fonts.families(["cat"])["fontfamily"][0] == "Blocks"
    (tmp_path / "text.ttf").write_text("none")
    monkeypatch.setenv(fonts.VARIABLE, str(tmp_path / "text.ttf"))
    with pytest.raises(ValueError, match="text.ttf is no font that can be read"):
        drawn("cat")


def test_figures_have_the_letters_too(made, tmp_path):
    """Matplotlib warns of each letter that it has no glyph for."""
    path, found = made
    found.append(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        figures.display_instances(
            np.zeros((60, 60, 3), "uint8"),
            np.array([[5, 5, 50, 50]]),
            np.ones((60, 60, 1), bool),
            np.array([1]),
            ["BG", "狗"],
            title="狗",
            save=tmp_path / "a.png",
        )
