"""Plots of an evaluation; they are shown, saved and returned as in `mrcnn.draw.figures`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from mrcnn.draw.canvas import new_axes
from mrcnn.draw.fonts import families
from mrcnn.draw.instances import label_texts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


def plot_precision_recall(
    AP: float, precisions: ArrayLike, recalls: ArrayLike, ax: Axes | None = None, save: Path | str | None = None
) -> Figure | SubFigure:
    """Plot precisions [m] over recalls [m], with the AP at IoU 0.5 in the title; returns the figure.

    A precision holds for all recalls since the one before, so that AP is the area below the steps.
    """
    with new_axes((6, 5), ax, save) as ax:
        ax.plot(recalls, precisions, drawstyle="steps-pre")
        ax.set(title=f"Precision-Recall Curve. AP@50 = {AP:.3f}", xlabel="Recall", ylabel="Precision")
        ax.set(xlim=(0, 1.1), ylim=(0, 1.1))
    return ax.figure


def plot_speed(
    seconds: ArrayLike,
    accuracies: ArrayLike,
    names: Sequence[str],
    ax: Axes | None = None,
    save: Path | str | None = None,
) -> Figure | SubFigure:
    """Show each system as a point: box AP [n] over seconds an image [n], on a scale of factors; returns the figure."""
    from matplotlib import ticker

    with new_axes((8, 5), ax, save) as ax:
        milliseconds = 1000 * np.asarray(seconds)
        ax.scatter(milliseconds, accuracies)
        written: list[np.ndarray] = []
        for x, y, name in zip(milliseconds, np.asarray(accuracies), names, strict=True):
            place = np.array([np.log(x) / np.log(1.3), y / 0.02])  # where two less than 1 apart cover each other
            left = any(np.abs(place - other).max() < 1 for other in written)
            text = {"xytext": (-5, -3), "ha": "right"} if left else {"xytext": (5, -3)}
            ax.annotate(name, (x, y), textcoords="offset points", fontsize=8, **text)
            written.append(place)
        ax.set(xscale="log", xlabel="milliseconds an image", ylabel="box AP")
        ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 3, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_locator(ticker.NullLocator())
        ax.margins(x=0.2)
        ax.grid(alpha=0.3)
    return ax.figure


def plot_overlaps(
    gt_class_ids: np.ndarray,
    pred_class_ids: np.ndarray,
    pred_scores: Sequence[float] | np.ndarray,
    overlaps: np.ndarray,
    class_names: Sequence[str],
    threshold: float = 0.5,
    ax: Axes | None = None,
    save: Path | str | None = None,
) -> Figure | SubFigure:
    """Show the IoU of every prediction with every ground truth as a grid; returns the figure.

    A cell above `threshold` says whether the classes are the same ("match") or not ("wrong").

    Args:
        gt_class_ids: [g]; zeros are padding, here and in `pred_class_ids`.
        pred_class_ids: [p].
        pred_scores: [p].
        overlaps: [p, g] IoU.
    """
    gt_class_ids, pred_class_ids = (ids[ids != 0] for ids in (np.asarray(gt_class_ids), np.asarray(pred_class_ids)))
    rows, columns = len(pred_class_ids), len(gt_class_ids)
    overlaps = np.asarray(overlaps)[:rows, :columns]
    with new_axes((max(4, 2 + columns), max(3, 2 + 0.5 * rows)), ax, save) as ax:
        if overlaps.size:
            ax.imshow(overlaps, interpolation="nearest", cmap="Blues", vmin=0, vmax=1, aspect="auto")
        labels = label_texts(pred_class_ids, class_names, pred_scores[:rows])
        names = label_texts(gt_class_ids, class_names, None)
        ax.set_yticks(range(rows), labels, **families(labels))
        ax.set_xticks(range(columns), names, rotation=90, **families(names))
        for (i, j), iou in np.ndenumerate(overlaps):
            verdict = "match" if gt_class_ids[j] == pred_class_ids[i] else "wrong"
            text = f"{iou:.3f}\n{verdict}" if iou > threshold else f"{iou:.3f}"
            ax.text(j, i, text, ha="center", va="center", size=9, color="white" if iou > 0.5 else "black")
        ax.set(xlabel="Ground truth", ylabel="Predictions")
        ax.set(xlim=(-0.5, max(columns, 1) - 0.5), ylim=(max(rows, 1) - 0.5, -0.5))  # also where there is no cell
    return ax.figure
