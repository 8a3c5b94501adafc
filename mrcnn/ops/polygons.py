"""Outlines of masks: polygons along the edges of pixels, with their holes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

# Directions along the edges of pixels, the mask on the right hand: to the right, down, to the left, up. Of each: the
# step (x, y), the pixel (y, x) at its right hand counted from its start, and the one at its left hand.
STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
RIGHT = ((0, 0), (0, -1), (-1, -1), (-1, 0))
LEFT = ((-1, 0), (0, 0), (0, -1), (-1, -1))


def to_polygons(mask: ArrayLike, tolerance: float = 0) -> list[list[np.ndarray]]:
    """The outlines of a mask.

    They run along the edges of pixels: pixel (0, 0) has the corners (0, 0) and (1, 1). Drawn as COCO draws polygons
    they give the mask back to the pixel, holes cut out, unless they are simplified. Pieces that touch at a corner alone
    are two.

    Args:
        mask: [H, W], zero or not.
        tolerance: pixels by which an outline may miss a corner that it leaves out (Douglas and Peucker 1973).

    Returns:
        Pieces, each a list of rings [n, 2] of (x, y), n at least 3, the last point not the first: the outer one,
        clockwise on the screen, then those of its holes, the other way round.
    """
    from scipy import ndimage  # here, so that the rest needs NumPy alone

    inside = np.asarray(mask) != 0
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return []
    corner = columns[0], rows[0]
    pieces, count = ndimage.label(inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    found: list[list[np.ndarray]] = [[] for _ in range(count)]
    for points, direction in _rings(pieces > 0):
        (x, y), (down, across) = points[0], RIGHT[direction]
        ring = np.array(points, float)
        found[pieces[y + down, x + across] - 1].append(_simplified(ring, tolerance) + corner)
    for rings in found:
        rings.sort(key=lambda ring: signed_area(ring) < 0)
    return found


def signed_area(ring: np.ndarray) -> float:
    """The area of a ring [n, 2] of (x, y): above 0 where it runs clockwise on the screen, on which y counts down."""
    x, y = ring.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def keyhole(rings: Sequence[np.ndarray]) -> np.ndarray:
    """One ring [n, 2] for several: a line there and back, at the shortest distance between corners, joins each to those
    before. What such a ring encloses, crossings counted, is what they enclosed."""
    from scipy.spatial import cKDTree  # as above

    whole = np.asarray(rings[0])
    for ring in rings[1:]:
        distances, nearest = cKDTree(whole).query(ring)
        j = int(distances.argmin())
        i = int(nearest[j])
        whole = np.concatenate([whole[: i + 1], ring[j:], ring[: j + 1], whole[i:]])
    return whole


def _rings(mask: np.ndarray) -> Iterator[tuple[list[tuple[int, int]], int]]:
    """Corners (x, y) of every simple ring of edges around a mask [H, W] bool, with the direction of the first."""
    padded = np.pad(mask, 1)
    height, width = mask.shape
    edges: dict[tuple[int, int], list[int]] = {}
    for direction, ((down, across), (other_down, other_across)) in enumerate(zip(RIGHT, LEFT, strict=True)):
        y, x = np.mgrid[0 : height + 1, 0 : width + 1]
        is_edge = padded[y + 1 + down, x + 1 + across] & ~padded[y + 1 + other_down, x + 1 + other_across]
        for start in zip(x[is_edge].tolist(), y[is_edge].tolist(), strict=True):
            edges.setdefault(start, []).append(direction)
    while edges:
        start, directions = next(iter(edges.items()))
        yield from _walk(edges, start, directions[0])


def _walk(edges, start, direction):
    """Follows edges from one on until they come back, and takes them out; a ring that touches itself is cut in two."""
    path: dict[tuple[int, int], int] = {}  # corners since the start, and the way on from each
    at, before = start, -1
    while True:
        left = edges.get(at, [])
        # Turning right at a corner where two pixels touch stays with the pixel.
        turns = ((before + k) % 4 for k in (1, 0, 3))
        way = direction if before < 0 else next((turn for turn in turns if turn in left), None)
        if way != before:
            if at in path:
                points = list(path)
                ring = points[points.index(at) :]
                yield ring, path[at]
                for corner in ring:
                    del path[corner]
            if way is None:
                return
            path[at] = way
        left.remove(way)
        if not left:
            del edges[at]
        at, before = (at[0] + STEPS[way][0], at[1] + STEPS[way][1]), way


def _simplified(ring, tolerance):
    if tolerance <= 0:
        return ring
    from skimage.measure import approximate_polygon

    closed = approximate_polygon(np.concatenate([ring, ring[:1]]), tolerance)
    return closed[:-1] if len(closed) > 3 else ring
