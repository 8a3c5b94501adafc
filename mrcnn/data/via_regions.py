"""Regions of the VGG Image Annotator: checked, and drawn."""

from __future__ import annotations

import numbers
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import skimage.draw

# Shapes with an area, and the numbers of each: where it is, and how large.
SHAPES = {
    "rect": (("x", "y"), ("width", "height")),
    "circle": (("cx", "cy"), ("r",)),
    "ellipse": (("cx", "cy"), ("rx", "ry")),
}
OUTLINES = ("polygon", "polyline")

# Pixels from the origin beyond which nobody draws; far beyond, drawing takes for ever.
FARTHEST = 1e6


class Region(NamedTuple):
    """One region: its shape by the annotator's names, and its attributes."""

    shape: dict[str, Any]
    attributes: dict[str, Any]

    def value(self, attribute: str) -> str | None:
        """An attribute as text: what was typed or chosen, or of a checkbox the first name that is ticked."""
        value = self.attributes.get(attribute)
        if isinstance(value, dict):
            return next((name for name, ticked in value.items() if ticked), None)
        if isinstance(value, numbers.Real) and not isinstance(value, bool):
            return str(value)
        return value if isinstance(value, str) and value else None


def read_region(entry: Any) -> Region:
    """A region of the annotator's JSON.

    Raises:
        ValueError: it is no shape with an area; the message says why.
    """
    shape = entry.get("shape_attributes") if isinstance(entry, Mapping) else None
    if not isinstance(shape, Mapping):
        raise ValueError("has no shape_attributes")
    kind = shape.get("name")
    if kind in OUTLINES:
        checked = {name: _numbers(shape.get(name), name) for name in ("all_points_x", "all_points_y")}
        counts = [len(values) for values in checked.values()]
        if counts[0] != counts[1] or counts[0] < 3:
            raise ValueError(f"{kind} of {counts[0]} x and {counts[1]} y")
    elif isinstance(kind, str) and kind in SHAPES:
        place, sides = SHAPES[kind]
        turn = ("theta",) if kind == "ellipse" and "theta" in shape else ()
        checked = {name: _number(shape.get(name), name) for name in (*place, *sides, *turn)}
        for name in sides:
            if checked[name] <= 0:
                raise ValueError(f"{kind} with {name} {checked[name]}")
    else:
        raise ValueError(f"{kind!r} has no area")
    attributes = entry.get("region_attributes")
    return Region({"name": kind, **checked}, dict(attributes) if isinstance(attributes, Mapping) else {})


def outline(shape: Mapping[str, Any]) -> array[float]:
    """The outline x1, y1, x2, y2 ... of a checked shape, in pixels; of a round one 24 points."""
    kind = shape["name"]
    if kind in OUTLINES:
        x, y = shape["all_points_x"], shape["all_points_y"]
    elif kind == "rect":
        x1, y1 = shape["x"], shape["y"]
        x2, y2 = x1 + shape["width"], y1 + shape["height"]
        x, y = (x1, x2, x2, x1), (y1, y1, y2, y2)
    else:
        angle, turn = np.arange(24) * np.pi / 12, shape.get("theta", 0)
        right, down = (shape.get(name, shape.get("r")) * f(angle) for name, f in (("rx", np.cos), ("ry", np.sin)))
        x = shape["cx"] + right * np.cos(turn) - down * np.sin(turn)
        y = shape["cy"] + right * np.sin(turn) + down * np.cos(turn)
    return array("d", np.stack([x, y], axis=1).ravel().tolist())


def draw(shape: Mapping[str, Any], size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels of a checked shape inside an image of `size` (height, width)."""
    kind = shape["name"]
    if kind in OUTLINES:
        return skimage.draw.polygon(shape["all_points_y"], shape["all_points_x"], size)
    if kind == "rect":
        start = shape["y"], shape["x"]
        rows, columns = skimage.draw.rectangle(start, extent=(shape["height"], shape["width"]), shape=size)
        return rows.astype(int), columns.astype(int)
    if kind == "circle":
        return skimage.draw.disk((shape["cy"], shape["cx"]), shape["r"], shape=size)
    # The annotator turns clockwise, scikit-image counter-clockwise.
    turn = -shape.get("theta", 0)
    return skimage.draw.ellipse(shape["cy"], shape["cx"], shape["ry"], shape["rx"], size, rotation=turn)


def _number(value, name):
    if not isinstance(value, (int, float)) or isinstance(value, bool) or value != value:  # NaN
        raise ValueError(f"{name} is {value!r:.40}, no number")
    if abs(value) > FARTHEST:
        raise ValueError(f"{name} is {value!r:.40}, outside any image")
    return value


def _numbers(values, name):
    if not isinstance(values, list):
        raise ValueError(f"{name} is {values!r:.40}, no list of numbers")
    return [_number(value, name) for value in values]
