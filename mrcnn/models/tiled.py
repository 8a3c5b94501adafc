"""Detection in images too large for the network: in overlapping tiles, the parts of cut objects put together.

Two tiles that overlap both see what lies in the strip between them. Two detections of one class, one of each tile, are
of one object where they agree there: their masks, cut to the strip, have an IoU of at least `AGREE`, or `MOST`
of a mask that a seam cuts lies inside the other. (Without masks, their boxes have an IoU of `MOST`.) Boxes of
the whole would not tell the halves of one object from two neighbours; and as halves agree in the strip however large
the object is, one over many tiles is a chain of such pairs.

The rim of an object, which is all of it that a tile has, may lie beside the object's mask as the other tile sees it.
So what a seam cuts and agrees with nothing belongs to that detection to whose edge it lies nearest, if it is no more
than `NEAR` pixels away.

Of the detections of one object that one counts which no seam cuts and whose nearest seam is farthest away; where all
are cut, their masks are united.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage

from mrcnn.data.windows import Windows
from mrcnn.ops.boxes import cover, intersections
from mrcnn.ops.masks import decode_rle, encode_rle, extract_bboxes, place_rle
from mrcnn.ops.tiles import tile_windows

Box = tuple[int, int, int, int]

# Above this IoU suppression in one image, too, takes two detections for one by default. An object of five pixels that
# two tiles see a pixel apart has less than 0.5. `MOST` is the share of a mask that a seam cuts.
AGREE, MOST = 0.3, 0.5

# An object is taken for cut where it comes as near to a seam as this many pixels, or this share of its side: the
# network does not place the edge of half an object to the pixel.
NEAR, SHARE = 2, 0.05


@dataclass
class Piece:
    """A detection in a tile, in the coordinates of the whole image.

    Attributes:
        window: the tile.
        values: what `detect` gives for it, but for its mask: rois [4], class_ids, scores, perhaps keypoints [J, 3].
        extent: of the mask, or of the box without one.
        code: run lengths of the mask inside `extent`, or None.
        room: pixels to the nearest seam, less what is `NEAR` to one: below 0 it is cut.
    """

    window: Box
    values: dict[str, Any]
    extent: Box
    code: dict[str, Any] | None
    room: float = field(default=0.0)

    def part(self, window: Box) -> np.ndarray:
        """The pixels of the mask, or of the box, in a window inside `extent`."""
        y1, x1, y2, x2 = window
        if self.code is None:
            return np.ones((y2 - y1, x2 - x1), bool)
        top, left = self.extent[:2]
        return decode_rle(self.code)[y1 - top : y2 - top, x1 - left : x2 - left]

    def area(self, window: Box) -> int:
        """Pixels in a window, which need not lie inside `extent`."""
        inside = shared(self.extent, window)
        return int(self.part(inside).sum()) if inside else 0


def shared(one: Box, two: Box) -> Box | None:
    """What two boxes have in common, None for nothing."""
    box = max(one[0], two[0]), max(one[1], two[1]), min(one[2], two[2]), min(one[3], two[3])
    return box if box[0] < box[2] and box[1] < box[3] else None


def detect_tiled(
    detect: Callable[[Sequence[np.ndarray]], list[dict[str, Any]]],
    image: Windows,
    tile: int,
    overlap: float,
    batch: int = 1,
    progress: Callable[[Iterator[Any], int], Iterator[Any]] = lambda steps, count: steps,
) -> dict[str, Any]:
    """Detect in tiles; see `mrcnn.models.detector.Detector.detect_tiled`.

    Args:
        detect: what finds objects in a list of images, with masks as run lengths.
        image: of which windows are read.
        tile, overlap: as of `tile_windows`.
        batch: tiles that go to `detect` together.
        progress: what the loop over batches, of which there are so many, goes through.
    """
    tiles = tile_windows(*image.shape, tile, overlap)
    pieces: list[list[Piece]] = []
    empty: dict[str, Any] = {}
    starts = range(0, len(tiles), batch)
    for start in progress(iter(starts), len(starts)):
        chosen = tiles[start : start + batch]
        for window, result in zip(chosen, detect([image.read(*window) for window in chosen]), strict=True):
            empty = empty or {name: value[:0] for name, value in result.items()}
            pieces.append(list(_pieces(result, window, image.shape)))
    groups = _joined(tiles, pieces)
    found = sorted((_whole(group, image.shape) for group in groups), key=lambda values: -values["scores"])
    return {
        name: [values[name] for values in found]
        if name == "masks"
        else np.array([values[name] for values in found], none.dtype).reshape(-1, *none.shape[1:])
        for name, none in empty.items()
    }


def _pieces(result, window, shape):
    """The detections of a tile; those without a pixel are left out."""
    y, x, bottom, right = window
    offset = np.array([y, x, y, x])
    for i, roi in enumerate(result["rois"]):
        values = {name: values[i] for name, values in result.items() if name != "masks"}
        values["rois"] = roi + offset.astype(roi.dtype)
        if "keypoints" in values and values["keypoints"].any():
            values["keypoints"] = values["keypoints"] + np.array([x, y, 0], values["keypoints"].dtype)
        box = cover(roi[None])[0].clip(0, [bottom - y, right - x] * 2)
        code = None
        if "masks" in result:
            mask = decode_rle(result["masks"][i])
            box = extract_bboxes(mask[..., None])[0]
            code = encode_rle(mask[box[0] : box[2], box[1] : box[3]])
        if box[2] > box[0] and box[3] > box[1]:
            y1, x1, y2, x2 = (box + offset).tolist()
            extent = y1, x1, y2, x2
            yield Piece(window, values, extent, code, _room(extent, window, shape))


def _room(extent, window, shape):
    room = float("inf")
    for axis in (0, 1):
        near = max(NEAR, SHARE * (extent[axis + 2] - extent[axis]))
        if window[axis] > 0:
            room = min(room, extent[axis] - window[axis] - near)
        if window[axis + 2] < shape[axis]:
            room = min(room, window[axis + 2] - extent[axis + 2] - near)
    return room


def _joined(tiles, pieces):
    """Lists of pieces of one object each."""
    every = [piece for of_tile in pieces for piece in of_tile]
    parent = {id(piece): piece for piece in every}

    def root(piece):
        while parent[id(piece)] is not piece:
            piece = parent[id(piece)]
        return piece

    def groups():
        found: dict[int, list[Piece]] = {}
        for piece in every:
            found.setdefault(id(root(piece)), []).append(piece)
        return list(found.values())

    neighbours = list(_strips(tiles))
    for i, j, strip in neighbours:
        for a, b in _pairs(pieces[i], pieces[j], strip):
            parent[id(root(a))] = root(b)
    alone = {id(group[0]) for group in groups() if len(group) == 1 and group[0].room < 0}
    for a, b in _rims([[p for p in of_tile if id(p) in alone] for of_tile in pieces], pieces, neighbours):
        parent[id(root(a))] = root(b)
    return groups()


def _strips(tiles):
    """(i, j, what tiles i and j have in common) of all that have something; they are of one size, row by row."""
    bottom = 0  # the first tile that reaches as far down as the row of tile i
    for i, one in enumerate(tiles):
        while tiles[bottom][2] <= one[0]:
            bottom += 1
        for j in range(bottom, i):
            strip = shared(one, tiles[j])
            if strip:
                yield i, j, strip


def _pairs(ones, twos, strip):
    """Pairs of pieces of one object, of two tiles that have a strip in common."""
    ones, twos = ([piece for piece in pieces if shared(piece.extent, strip)] for pieces in (ones, twos))
    if not ones or not twos:
        return
    boxes = [np.array([shared(piece.extent, strip) for piece in pieces], float) for pieces in (ones, twos)]
    same = np.array([a.values["class_ids"] for a in ones])[:, None] == [b.values["class_ids"] for b in twos]
    for i, j in np.argwhere(same & (intersections(*boxes) > 0)):
        if _agree(ones[i], twos[j], strip):
            yield ones[i], twos[j]


def _agree(one, two, strip):
    inside = shared(one.extent, two.extent)
    both = inside and shared(inside, strip)
    common = int((one.part(both) & two.part(both)).sum()) if both else 0
    areas = [piece.area(strip) for piece in (one, two)]
    if one.code is None:  # the box of half an object has much of its neighbours inside
        return 0 < common >= MOST * (sum(areas) - common)
    if common >= AGREE * (sum(areas) - common):
        return common > 0
    return any(piece.room < 0 and common >= MOST * area for piece, area in zip((one, two), areas, strict=True))


def _rims(cut, pieces, neighbours):
    """Pairs of a piece of `cut` and the piece of a neighbouring tile beside whose edge it lies."""
    best: dict[int, tuple[float, Piece, Piece]] = {}
    for i, j, _ in neighbours:
        for rims, others in ((cut[i], pieces[j]), (cut[j], pieces[i])):
            for piece, other in itertools.product(rims, others):
                if piece.values["class_ids"] == other.values["class_ids"]:
                    share = _beside(piece, other)
                    if share >= MOST and share > best.get(id(piece), (0.0,))[0]:
                        best[id(piece)] = share, piece, other
    return [pair for _, *pair in best.values()]


def _beside(piece, other):
    """The share of a piece's pixels no more than `NEAR` pixels away from another."""
    y1, x1, y2, x2 = piece.extent
    around = y1 - NEAR, x1 - NEAR, y2 + NEAR, x2 + NEAR
    inside = shared(around, other.extent)
    if not inside:
        return 0.0
    mask = np.zeros((around[2] - around[0], around[3] - around[1]), bool)
    top, left, bottom, right = np.subtract(inside, around[:2] * 2)
    mask[top:bottom, left:right] = other.part(inside)
    near = ndimage.binary_dilation(mask, iterations=NEAR)[NEAR:-NEAR, NEAR:-NEAR]
    own = piece.part(piece.extent)
    return (near & own).sum() / own.sum()


def _whole(group, shape):
    """What is reported of the pieces of one object."""
    whole = [piece for piece in group if piece.room >= 0]
    if whole:
        group = [max(whole, key=lambda piece: piece.room)]
    values = dict(max(group, key=lambda piece: piece.values["scores"]).values)
    if len(group) > 1:
        rois = np.array([piece.values["rois"] for piece in group])
        values["rois"] = np.concatenate([rois[:, :2].min(axis=0), rois[:, 2:].max(axis=0)])
    if group[0].code is not None:
        top, left = (min(piece.extent[axis] for piece in group) for axis in (0, 1))
        bottom, right = (max(piece.extent[axis] for piece in group) for axis in (2, 3))
        mask = np.zeros((bottom - top, right - left), bool)
        for piece in group:
            y1, x1, y2, x2 = piece.extent
            mask[y1 - top : y2 - top, x1 - left : x2 - left] |= piece.part(piece.extent)
        values["masks"] = place_rle(top, left, mask, shape)
    return values


class Tiled:
    """A detector that looks at each image in tiles, to be evaluated on a set of large images.

    Attributes:
        config, keras_model: of the model.
    """

    def __init__(self, model: Any, tile: int = 1024, overlap: float = 0.2) -> None:
        self.model, self.tile, self.overlap = model, tile, overlap
        self.config, self.keras_model = model.config, model.keras_model

    def detect(
        self, images: Sequence[np.ndarray], verbose: int = 0, rle: bool = True, proposals: Any = None
    ) -> list[dict[str, Any]]:
        """As `Detector.detect_tiled`, for each of a list of images; masks are run lengths whatever `rle` is, and
        proposals of whole images are not used: a detector that takes some searches each tile."""
        return [self.model.detect_tiled(image, self.tile, self.overlap, verbose) for image in images]
