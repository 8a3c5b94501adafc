"""What scores are worth: precision over recall, the score to cut at, and whether a score is a probability."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

# COCO's AP is the mean of the precision at these.
RECALLS = np.linspace(0, 1, 101)


def precision_recall(scores: ArrayLike, correct: ArrayLike, positives: int) -> np.ndarray:
    """Precision at the recalls 0, 0.01 ... 1, as COCO interpolates it: the highest at that recall or a larger one.

    Args:
        scores: [n] of all detections of a class, in the order that decides between equal ones.
        correct: [n] bool, which of them found an object of their own.
        positives: objects of the class; at least 1.

    Returns:
        [101] of 0..1, 0 at recalls that are never reached; its mean is the AP.
    """
    hits = np.asarray(correct, bool)[np.argsort(-np.asarray(scores, float), kind="stable")]
    found = hits.cumsum()
    precision = np.maximum.accumulate((found / np.arange(1, len(hits) + 1))[::-1])[::-1]
    return np.append(precision, 0)[np.searchsorted(found / positives, RECALLS)]


def best_cut(scores: ArrayLike, correct: ArrayLike, positives: int) -> tuple[float, float]:
    """The lowest score to keep so that F1, the harmonic mean of precision and recall, is highest, and that F1.

    Arguments as of `precision_recall`, of all classes together; (0, 0) where nothing is correct.
    """
    scores = np.asarray(scores, float)
    order = np.argsort(-scores, kind="stable")
    kept, found = scores[order], np.asarray(correct, bool)[order].cumsum()
    if not found.any():
        return 0.0, 0.0
    f1 = 2 * found / (np.arange(1, len(kept) + 1) + positives)
    f1[np.append(kept[1:] == kept[:-1], False)] = 0  # equal scores are kept or left together
    best = int(f1.argmax())
    return float(kept[best]), float(f1[best])


def calibration(scores: ArrayLike, correct: ArrayLike, bins: int = 10) -> tuple[np.ndarray, np.ndarray, float]:
    """How far a score is the probability that its detection is correct (Guo et al. 2017).

    Args:
        scores: [n] of 0..1.
        correct: [n] bool.
        bins: of equal width from 0 to 1.

    Returns:
        mean score [bins] and share that is correct [bins], NaN where a bin is empty; the expected calibration error:
        the mean distance of the two, over detections.
    """
    scores, correct = np.asarray(scores, float), np.asarray(correct, float)
    bin_of = np.clip((scores * bins).astype(int), 0, bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean, share = (np.bincount(bin_of, weights, bins) / count for weights in (scores, correct))
    error = np.nansum(count * np.abs(mean - share)) / max(len(scores), 1)
    return mean, share, float(error)
