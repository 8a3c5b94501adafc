"""Tables: rows of values, and a model's weights."""

import html
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from mrcnn.draw.canvas import notebook


class Weighted(Protocol):
    """What has weights as a Keras model does."""

    weights: Any


class Modelled(Protocol):
    """What has a Keras model as `MaskRCNN` does."""

    keras_model: Any


def display_table(table: Iterable[Iterable[Any]]) -> None:
    """Show rows of values, an HTML table in a notebook and aligned text elsewhere."""
    table = [[str(cell) for cell in row] for row in table]
    if notebook() is None:
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    from IPython.display import HTML, display

    rows = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in table)
    display(HTML("<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"))


def weight_stats(model: Weighted | Modelled) -> list[tuple[str, ...]]:
    """Rows (name, shape, min, max, std) of every weight of a `MaskRCNN` or Keras model, nested models too.

    The name ends in "*** dead?" where the values of a kernel are all but equal (vectors such as biases begin so), and
    in "*** overflow?" where one is 1000 or more in size, or not finite. The first row is the header.
    """
    rows: list[tuple[str, ...]] = [("WEIGHT NAME", "SHAPE", "MIN", "MAX", "STD")]
    keras_model: Any = getattr(model, "keras_model", model)
    for weight in keras_model.weights:
        values = np.asarray(weight.numpy(), dtype="float32")
        low, high, std = values.min(), values.max(), values.std()
        dead = values.ndim > 1 and values.size > 1 and std < 1e-8
        overflow = not max(-low, high) < 1000  # written so that NaN counts
        name = weight.path + (" *** dead?" if dead else "") + (" *** overflow?" if overflow else "")
        rows.append((name, str(tuple(values.shape)), *(f"{value:+10.4f}" for value in (low, high, std))))
    return rows


def display_weight_stats(model: Weighted | Modelled) -> None:
    """Show the table of `weight_stats`."""
    display_table(weight_stats(model))
