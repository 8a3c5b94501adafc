"""Fonts that have the letters of class names, whatever the script.

Pillow's own font has ASCII, Matplotlib's DejaVu Sans Latin, Greek and Cyrillic letters. For others, such as Chinese,
the fonts of the system are searched. The environment variable MRCNN_FONT names a font file to be used before these.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from PIL import ImageFont

VARIABLE = "MRCNN_FONT"

# The path of Pillow's own font.
OWN = ""


def font(text: str, size: float) -> Any:
    """A font of Pillow's that has the letters of a text, or else its own, in pixels.

    Raises:
        ValueError: MRCNN_FONT is no font.
    """
    return _load(path_for(text) or OWN, size)


def families(texts: Iterable[str]) -> dict[str, Any]:
    """Options of Matplotlib's texts by which they have the letters of these; none where its own font has them."""
    import matplotlib
    from matplotlib import font_manager

    first = os.environ.get(VARIABLE)
    found = {path_for(text) for text in texts} | {first}
    paths = sorted(path for path in found if path and path != _dejavu())
    if not paths:
        return {}
    names = []
    for path in paths:
        _letters(path)  # which names a file that is no font
        if path not in {entry.fname for entry in font_manager.fontManager.ttflist}:
            font_manager.fontManager.addfont(path)
        names.append(font_manager.FontProperties(fname=path).get_name())
    own = list(matplotlib.rcParams["font.family"])
    return {"fontfamily": [*names, *own] if first else [*own, *names]}


def readable(name: str, otherwise: str) -> str:
    """The name, or what stands for it, with a warning, where no font has its letters."""
    if path_for(name) is not None:
        return name
    _warn(name, otherwise)
    return otherwise


@cache
def _warn(name, otherwise):
    warnings.warn(
        f"No font here has the letters of {name!r}, so pictures say {otherwise!r}; install one, as Noto Sans CJK, or "
        f"name a font file in the environment variable {VARIABLE}.",
        stacklevel=4,
    )


def path_for(text: str) -> str | None:
    """The path of a font that has the letters of a text, "" for Pillow's own; None where there is none.

    Raises:
        ValueError: MRCNN_FONT is no font.
    """
    first = os.environ.get(VARIABLE)
    wanted = frozenset(ord(x) for x in text if x.isprintable() and not x.isspace())
    if first and wanted <= _letters(first):
        return first
    return OWN if text.isascii() else _search(wanted)


@cache
def _search(wanted):
    try:
        from matplotlib import font_manager
    except ImportError:  # then nothing says which letters a font has
        return None
    for path in (OWN, _dejavu()):
        if wanted <= _letters(path):
            return path
    # Regular ones first; the order of the system's is by chance.
    for path in sorted(font_manager.findSystemFonts(), key=lambda path: ("regular" not in path.lower(), path)):
        try:
            if wanted <= _letters(path):
                return path
        except ValueError:
            continue
    return None


def _dejavu():
    import matplotlib

    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


@cache
def _letters(path):
    """Code points that a font has.

    Raises:
        ValueError: it is no font.
    """
    from matplotlib.ft2font import FT2Font

    try:
        if path != OWN:
            return frozenset(FT2Font(path).get_charmap())
        own: Any = ImageFont.load_default(10)
        own.path.seek(0)
        return frozenset(FT2Font(own.path).get_charmap())
    except (RuntimeError, OSError, AttributeError) as error:
        raise ValueError(f"{path} is no font that can be read: {error}; {VARIABLE} may name it.") from None


@cache
def _load(path, size):
    return ImageFont.truetype(path, size) if path else ImageFont.load_default(size)
