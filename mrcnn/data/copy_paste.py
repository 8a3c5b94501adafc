"""Objects of one image pasted into another (Ghiasi et al. 2021)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Seen(NamedTuple):
    """An image as the network sees it, with its n objects, before what is hidden is dropped.

    Attributes:
        image: [H, W, C].
        masks: [H, W, n] bool.
        class_ids: [n] int32, crowds negative.
        points: [n, J, 3] float32 of (x, y, v).
        inside: [H, W] bool, where the image is image.
        corners: of the proposals, as `mrcnn.data.proposals.as_points` gives them.
        original_shape, scale: of the image before, and by what it was scaled.
    """

    image: np.ndarray
    masks: np.ndarray
    class_ids: np.ndarray
    points: np.ndarray
    inside: np.ndarray
    corners: np.ndarray
    original_shape: tuple[int, ...]
    scale: float | tuple[float, float]


def paste(seen: Seen, other: Seen, rng: np.random.Generator) -> Seen:
    """An image with a random choice of another's objects in front, each with a chance of one half, where they are
    there; crowds are none. What they hide of other objects is no part of these any more, and joints below are known,
    but not seen (v = 1). The other's proposals whose middle is on one of them come along, before those that there were,
    of which a detector may leave out the last.

    Args:
        seen, other: of one size.
        rng: for the choice.
    """
    chosen = (rng.random(len(other.class_ids)) < 0.5) & (other.class_ids > 0)
    new = other.masks[..., chosen]
    hidden = np.asarray(new.any(axis=-1))
    points = seen.points.copy()
    points[..., 2] = np.where(_at(hidden, points), np.minimum(points[..., 2], 1), points[..., 2])
    near = _at(hidden, other.corners.mean(axis=1))
    return seen._replace(
        image=np.where(hidden[..., None], other.image, seen.image),
        masks=np.concatenate([seen.masks & ~hidden[..., None], new], axis=-1),
        class_ids=np.concatenate([seen.class_ids, other.class_ids[chosen]]),
        points=np.concatenate([points, other.points[chosen]]),
        inside=seen.inside | hidden,
        corners=np.concatenate([other.corners[near], seen.corners]),
    )


def _at(mask, points):
    """The values [...] of a mask [H, W] at points [..., 3] of (x, y, v); those outside lie on the border."""
    x, y = np.moveaxis(np.floor(points[..., :2] + 0.5).astype(int).clip(0, np.array(mask.shape[::-1]) - 1), -1, 0)
    return mask[y, x]
