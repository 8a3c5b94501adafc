"""How far the results of a file are from those of the graph that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from mrcnn.ops.boxes import overlaps

Outputs = dict[str, np.ndarray]

# Largest differences that float32 may make: boxes and points in pixels, scores and masks as they are, keypoints as
# parts of the largest logit, and the share of pixels that have another class.
LIMITS = {"boxes": 0.1, "points": 0.1, "scores": 1e-3, "masks": 1e-3, "keypoints": 1e-3, "semantic": 1e-3}


def compare(expected: Outputs, found: Outputs, lowest: float = 0.0) -> dict[str, float]:
    """Largest differences between detections of the same images, and how many have no counterpart.

    Args:
        expected, found: outputs of `exported_graph`, [B, D, ...] each.
        lowest: DETECTION_MIN_CONFIDENCE.

    Returns:
        the numbers by the names of the outputs, and of detectors "lost" and "new", detections that only one of the two
        has. Those that a difference of a score within its limit may bring and take do not count.
    """
    if "semantic" in expected:
        (classes, scores), (others, found_scores) = (np.moveaxis(x["canvas"], -1, 0) for x in (expected, found))
        different = max(np.mean(classes != others), np.mean(expected["semantic"] != found["semantic"]))
        return {"semantic": float(different), "scores": float(np.abs(scores - found_scores).max())}
    result = dict.fromkeys([*(name for name in LIMITS if name in expected), "lost", "new"], 0.0)
    for image in range(len(expected["boxes"])):
        one, other = ({name: x[image] for name, x in outputs.items()} for outputs in (expected, found))
        pairs = _pairs(one, other)
        for name in result.keys() & LIMITS:
            for i, j in pairs:
                size = max(1.0, np.abs(one[name][i]).max()) if name == "keypoints" else 1.0
                far = np.abs(one[name][i] - other[name][j]).max() / size
                result[name] = max(result[name], float(far))
        for name, rows in zip(("lost", "new"), _unexplained(one, other, pairs, lowest), strict=True):
            result[name] += len(rows)
    return result


def _unexplained(one, other, pairs, lowest):
    """Indices of detections that only one of the two has, and that no difference of a score within its limit explains.

    It explains those that hardly score enough for the lowest score or for a list that is full without them; two that
    are as sure and overlap, as one of them suppresses the other; and those which a detection explained so suppresses in
    the results that have it.
    """
    limit, lone, explained = LIMITS["scores"], [], []
    for part, (mine, theirs) in enumerate(((one, other), (other, one))):
        rows = np.setdiff1d(np.flatnonzero(mine["classes"] > 0), [pair[part] for pair in pairs])
        last = theirs["scores"].min() if (theirs["classes"] > 0).all() else 0.0
        explained.append(mine["scores"][rows] <= max(lowest, last) + limit)
        lone.append({name: mine[name][rows] for name in ("classes", "scores", "boxes")} | {"rows": rows})
    first, second = lone
    rivals = first["classes"][:, None] == second["classes"]
    rivals &= overlaps(first["boxes"], second["boxes"]) > 0.1
    surer = first["scores"][:, None] - second["scores"]
    tied = rivals & (np.abs(surer) < limit)
    of_first, of_second = explained[0] | tied.any(axis=1), explained[1] | tied.any(axis=0)
    for _ in range(sum(map(len, explained))):  # as long as a chain of suppressions can be
        of_second |= (rivals & (surer > -limit) & of_first[:, None]).any(axis=0)
        of_first |= (rivals & (surer < limit) & of_second).any(axis=1)
    return [x["rows"][~fine].tolist() for x, fine in zip(lone, (of_first, of_second), strict=True)]


def _pairs(one, other):
    """Pairs of indices of detections of one class, nearest boxes first, that lie within a pixel of each other."""
    rows, columns = (np.flatnonzero(x["classes"] > 0) for x in (one, other))
    far = np.abs(one["boxes"][rows, None] - other["boxes"][columns]).max(axis=2, initial=0)
    far[one["classes"][rows, None] != other["classes"][columns]] = np.inf
    pairs: list[tuple[int, int]] = []
    for flat in np.argsort(far, axis=None, kind="stable"):
        i, j = divmod(int(flat), len(columns))
        if far[i, j] > 1:
            break
        if all(rows[i] != a and columns[j] != b for a, b in pairs):
            pairs.append((int(rows[i]), int(columns[j])))
    return pairs


def differences(
    graph: Callable[[Any], Any],
    run: Callable[[Any], Outputs],
    batches: Iterable[dict[str, np.ndarray]],
    lowest: float = 0.0,
) -> dict[str, float]:
    """The largest of `compare` over batches of inputs; "lost" and "new" are added up."""
    total: dict[str, float] = {}
    for batch in batches:
        expected = {name: np.asarray(x) for name, x in graph(batch).items()}
        for name, value in compare(expected, run(batch), lowest).items():
            total[name] = total.get(name, 0) + value if name in ("lost", "new") else max(total.get(name, 0), value)
    return total


def too_far(found: dict[str, float]) -> list[str]:
    """Words on each number that float32 does not explain."""
    words = [f"{name} by {found[name]:.2g}" for name, limit in LIMITS.items() if found.get(name, 0) > limit]
    return words + [f"{found[name]:g} detections {name}" for name in ("lost", "new") if found.get(name)]
