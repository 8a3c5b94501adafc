"""Proposals: boxes that come with an image, for detectors that find none themselves."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from tqdm.auto import tqdm

from mrcnn.data.dataset import Dataset
from mrcnn.data.selective_search import MODES, as_rgb, selective_search
from mrcnn.ops.files import cache_folder, whole

# Part of the cache folder's name: raise it with every change that alters what is found.
VERSION = 2


class WithProposals:
    """A data set with proposals of one's own; in all else it is as before.

    Args:
        dataset: a prepared `Dataset`.
        proposals: {image id: [n, 4] pixels, the best first}.
    """

    def __init__(self, dataset: Dataset, proposals: Mapping[int, np.ndarray]) -> None:
        self._dataset, self._proposals = dataset, proposals

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    def load_proposals(self, image_id: int) -> np.ndarray | None:
        """As of `Dataset`."""
        return self._proposals.get(image_id)


def load_proposals(dataset: Dataset, image_id: int, image: np.ndarray) -> np.ndarray:
    """The boxes [n, 4] float32 in pixels of an image of a data set: its own, or those of a selective search.

    Raises:
        ValueError: as `checked`.
    """
    given = dataset.load_proposals(image_id)
    return search(image) if given is None else checked(given, dataset.image_info[image_id].get("path"))


def checked(boxes: ArrayLike, name: object) -> np.ndarray:
    """Proposals that somebody gave, [n, 4] float32; `name` is what they are of.

    Raises:
        ValueError: they are no [n, 4] of finite numbers.
    """
    try:
        found = np.asarray(boxes, "float32")
    except (TypeError, ValueError):
        raise ValueError(f"{name}: its proposals are no numbers.") from None
    if not found.size:
        return np.zeros((0, 4), "float32")
    if found.ndim != 2 or found.shape[1] != 4:
        raise ValueError(f"{name}: its proposals are {found.shape}; they must be [n, 4], (y1, x1, y2, x2) in pixels.")
    if not np.isfinite(found).all():
        raise ValueError(f"{name}: its proposals are not finite.")
    return found


def search(image: np.ndarray) -> np.ndarray:
    """What `selective_search` finds in an image, [n, 4] float32; it is searched once, and then kept in the cache."""
    image = as_rgb(image)
    path = _path(image)
    with contextlib.suppress(OSError, ValueError, EOFError):  # it is not there, or damaged
        boxes = np.load(path)
        if boxes.ndim == 2 and boxes.shape[1] == 4:
            return boxes.astype("float32")
    boxes = selective_search(image)
    _keep(path, boxes)
    return boxes.astype("float32")


def prepare(dataset: Dataset, workers: int | None = None) -> None:
    """Search the images of a data set that have no proposals, in several processes; the rest then finds them.

    An image that cannot be read or searched is left for those who need it. Memory holds a few images of each process.

    Args:
        dataset: a prepared `Dataset`.
        workers: processes; None for one a core.
    """
    from joblib import Parallel, delayed, parallel_config

    waiting = [image_id for image_id in dataset.image_ids if dataset.load_proposals(image_id) is None]
    if not waiting:
        return
    few = {"return_as": "generator_unordered", "batch_size": 1, "pre_dispatch": "2 * n_jobs", "max_nbytes": None}
    # Joblib's own processes import neither the user's script, which would run again where nothing guards it, nor
    # TensorFlow.
    with (
        parallel_config("loky", n_jobs=workers or -1, idle_worker_timeout=30),
        tqdm(total=len(waiting), desc="Proposals", unit="image") as bar,
    ):
        for _ in Parallel(**few)(delayed(_search_into)(*job) for job in _unsearched(dataset, waiting, bar)):
            bar.update()


def _unsearched(dataset: Dataset, waiting: list[int], bar: tqdm) -> Iterator[tuple[Path, np.ndarray]]:
    """Of the images that can be read and are not in the cache, the path there and what is searched; others count as
    done."""
    for image_id in waiting:
        try:
            image = as_rgb(dataset.load_image(image_id))
        except Exception:  # whatever a broken file or a user's class raises
            bar.update()
            continue
        path = _path(image)
        if path.exists():
            bar.update()
        else:
            yield path, image


def _search_into(path: Path, image: np.ndarray) -> None:
    """Search an image in another process; an error comes again where the image is needed."""
    with contextlib.suppress(Exception):
        _keep(path, selective_search(image))


def _path(image):
    """Where what is found in an image [H, W, 3] uint8 is kept."""
    image = np.ascontiguousarray(image)
    name = hashlib.sha1(repr((image.shape, image.dtype.str, MODES["fast"])).encode() + image.tobytes()).hexdigest()
    return cache_folder() / f"selective-search-v{VERSION}" / name[:2] / f"{name}.npy"


def _keep(path, boxes):
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as new:
        np.save(new, boxes)


def as_points(boxes: np.ndarray) -> np.ndarray:
    """The corners of boxes [n, 4] as points [n, 4, 3] of (x, y, 2), which move along with an image as keypoints do."""
    y1, x1, y2, x2 = np.moveaxis(np.asarray(boxes, "float32") - 0.5, -1, 0)
    x, y = np.stack([x1, x2, x2, x1], axis=-1), np.stack([y1, y1, y2, y2], axis=-1)
    return np.stack([x, y, np.full_like(x, 2)], axis=-1)


def from_points(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The boxes [n, 4] around points of `as_points`, cut to an image of `shape`, without those that are not in it or
    lost a corner."""
    points = points[(points[..., 2] > 0).all(axis=1)]
    low, high = points[..., :2].min(axis=1) + 0.5, points[..., :2].max(axis=1) + 0.5
    boxes = np.concatenate([low[:, ::-1], high[:, ::-1]], axis=1)
    height, width = shape[:2]
    boxes = np.clip(boxes, 0, [height, width, height, width])
    return boxes[((boxes[:, 2:] - boxes[:, :2]) >= 1).all(axis=1)].astype("float32")
