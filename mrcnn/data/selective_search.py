"""Selective search (Uijlings et al. 2013): boxes that may hold an object, from an image alone.

An image falls into small regions of like colour; the two most similar neighbours become one, again and again, until all
is one region. The box of every region on the way is a proposal. Several colour spaces, finenesses and measures of
similarity give several such hierarchies.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage import color
from skimage.segmentation import felzenszwalb

from mrcnn.ops.images import convert_channels

# The part of a similarity for each letter: colour, texture, size, fill.
FULL = "ctsf"

# mode -> colour spaces, scales of the first regions (Felzenszwalb and Huttenlocher 2004), measures of similarity.
MODES = {
    "fast": (("hsv", "lab"), (50, 100), (FULL, "tsf")),
    "full": (("hsv", "lab", "rgi", "h", "gray"), (50, 100, 150, 300), (FULL, "tsf", "f", "s")),
}
COLOURS, TEXTURES, DIRECTIONS = 25, 10, 8  # bins of the histograms, and directions of the gradient


# Pixels to which wider images are reduced, as the search takes long in large ones, and finds textures in the place of
# objects (Girshick et al. 2014, section 2.2).
WIDTH = 500


def selective_search(image: np.ndarray, mode: str = "fast", smallest: int = 6, seed: int = 0) -> np.ndarray:
    """Proposals of an image.

    Args:
        image: as `as_rgb` takes it.
        mode: a key of `MODES`: the paper's fast one, or the full one, with ten times the hierarchies.
        smallest: least side of a box, in pixels of the image as it is searched, no wider than `WIDTH`.
        seed: of the order, in which chance has a part.

    Returns:
        [n, 4] int32 boxes (y1, x1, y2, x2) in pixels, each once, those from high up in a hierarchy first.
    """
    rng, image = np.random.default_rng(seed), as_rgb(image)
    height, width = image.shape[:2]
    if width > WIDTH:
        size = WIDTH, max(1, round(height * WIDTH / width))
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    spaces, scales, measures = MODES[mode]
    groups, ranks = [], []
    for space in spaces:
        planes = SPACES[space](image)
        textures = _gradients(planes)
        for scale in scales:
            labels = felzenszwalb(planes, scale=scale, sigma=0.8, min_size=scale // 2)
            regions = Regions(labels, planes, textures)
            for measure in measures:
                found = regions.grouped(measure)
                groups.append(found)
                # The whole image is last, and has the first rank.
                ranks.append(np.arange(len(found), 0, -1) * rng.random(len(found)))
    boxes = np.concatenate(groups)[np.argsort(np.concatenate(ranks), kind="stable")]
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= smallest]
    _, first = np.unique(boxes, axis=0, return_index=True)
    factors = np.array([height / image.shape[0], width / image.shape[1]] * 2)
    return np.rint(boxes[np.sort(first)] * factors).astype("int32")


def as_rgb(image: np.ndarray) -> np.ndarray:
    """What is searched of an image, [H, W, 3] uint8: training and detection find the same in it.

    Args:
        image: [H, W] or [H, W, C] of 0..255, or of 0..65535 if uint16; as `convert_channels` takes it. Of two channels
            the first is gray, of more than four the first three are RGB.
    """
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[2] not in (1, 3, 4):
        image = image[..., : 1 if image.shape[2] == 2 else 3]
    return np.clip(convert_channels(image, 3), 0, 255).astype("uint8")


def _normalised(image):
    total = image.sum(axis=2, keepdims=True) + 1e-6
    return np.concatenate([image[..., :2] / total, image.mean(axis=2, keepdims=True) / 255], axis=2)


# Colour spaces: function(image [H, W, 3] uint8) -> [H, W, channels] float of 0..1.
SPACES = {
    "hsv": color.rgb2hsv,
    "lab": lambda image: (color.rgb2lab(image) + (0, 128, 128)) / (100, 255, 255),
    "rgi": lambda image: _normalised(image.astype(float)),
    "h": lambda image: color.rgb2hsv(image)[..., :1],
    "gray": lambda image: color.rgb2gray(image)[..., None],
}


def _gradients(planes):
    """The slope of each channel in `DIRECTIONS` directions, where it rises: [H, W, channels * DIRECTIONS] of 0..1."""
    down, across = (ndimage.gaussian_filter1d(planes, 1, axis=axis, order=1) for axis in (0, 1))
    angles = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    slopes = np.maximum(down[..., None] * np.sin(angles) + across[..., None] * np.cos(angles), 0)
    return np.minimum(4 * slopes, 1).reshape(*planes.shape[:2], -1)


def _histograms(labels, values, bins):
    """Of every region, for each channel of values [H, W, C] of 0..1 behind each other: [regions, C * bins], sum 1."""
    count, channels = labels.max() + 1, values.shape[2]
    cell = np.minimum((values * bins).astype(int), bins - 1) + bins * np.arange(channels)
    flat = labels[..., None] * channels * bins + cell
    found = np.bincount(flat.ravel(), minlength=count * channels * bins).reshape(count, -1).astype(float)
    return found / found.sum(axis=1, keepdims=True)


class Regions:
    """The first regions of an image, with what their similarity is told by.

    Args:
        labels: [H, W] int, the region of every pixel.
        planes, textures: [H, W, C] of 0..1.
    """

    def __init__(self, labels: np.ndarray, planes: np.ndarray, textures: np.ndarray) -> None:
        self.area = labels.size
        self.sizes = np.bincount(labels.ravel()).astype(float)
        rows, columns = zip(*ndimage.find_objects(labels + 1), strict=True)
        self.boxes = np.array([(y.start, x.start, y.stop, x.stop) for y, x in zip(rows, columns, strict=True)])
        self.colours = _histograms(labels, planes, COLOURS)
        self.textures = _histograms(labels, textures, TEXTURES)
        right = np.stack([labels[:, :-1].ravel(), labels[:, 1:].ravel()], axis=1)
        below = np.stack([labels[:-1].ravel(), labels[1:].ravel()], axis=1)
        pairs = np.sort(np.concatenate([right, below]), axis=1)
        self.pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)

    def grouped(self, measure: str) -> np.ndarray:
        """The boxes [n, 4] of the regions and of all that come of joining the most similar neighbours.

        Args:
            measure: letters of the parts that make up the similarity (section 3.2 of the paper).
        """
        first, total = len(self.sizes), 2 * len(self.sizes)
        grown = {name: _doubled(getattr(self, name)) for name in ("sizes", "boxes", "colours", "textures")}
        neighbours: dict[int, set[int]] = {i: set() for i in range(first)}
        for a, b in self.pairs.tolist():
            neighbours[a].add(b)
            neighbours[b].add(a)
        similarities = self._similarity(grown, self.pairs[:, 0], self.pairs[:, 1], measure)
        heap = [(-x, a, b) for (a, b), x in zip(self.pairs.tolist(), similarities, strict=True)]
        heapq.heapify(heap)
        new = first
        while heap and new < total:
            _, a, b = heapq.heappop(heap)
            if a not in neighbours or b not in neighbours:
                continue  # one of them is part of another by now
            _join(grown, a, b, new)
            around = (neighbours.pop(a) | neighbours.pop(b)) - {a, b}
            neighbours[new] = around
            for other in around:
                neighbours[other] -= {a, b}
                neighbours[other].add(new)
            others = np.fromiter(sorted(around), int, len(around))
            for other, similarity in zip(others, self._similarity(grown, others, new, measure), strict=True):
                heapq.heappush(heap, (-similarity, int(other), new))
            new += 1
        return grown["boxes"][:new]

    def _similarity(self, grown: dict[str, np.ndarray], a: Any, b: Any, measure: str) -> Iterator[float]:
        sizes, boxes = grown["sizes"][a] + grown["sizes"][b], grown["boxes"]
        found: Any = 0.0
        for letter, name in (("c", "colours"), ("t", "textures")):
            if letter in measure:
                found = found + np.minimum(grown[name][a], grown[name][b]).sum(axis=-1)
        if "s" in measure:
            found = found + 1 - sizes / self.area
        if "f" in measure:
            low, high = np.minimum(boxes[a], boxes[b]), np.maximum(boxes[a], boxes[b])
            whole = (high[..., 2] - low[..., 0]) * (high[..., 3] - low[..., 1])
            found = found + 1 - (whole - sizes) / self.area
        return iter(np.broadcast_to(found, np.shape(sizes)).ravel())


def _doubled(x):
    """An array with room for as many rows again."""
    return np.concatenate([x, np.zeros_like(x)])


def _join(grown, a, b, new):
    """Row `new` becomes the region of a and b together."""
    sizes, boxes = grown["sizes"], grown["boxes"]
    sizes[new] = sizes[a] + sizes[b]
    boxes[new, :2] = np.minimum(boxes[a, :2], boxes[b, :2])
    boxes[new, 2:] = np.maximum(boxes[a, 2:], boxes[b, 2:])
    for name in ("colours", "textures"):
        grown[name][new] = (sizes[a] * grown[name][a] + sizes[b] * grown[name][b]) / sizes[new]
