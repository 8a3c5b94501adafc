"""Detection in images too large for the network: in overlapping tiles, the parts of cut objects put together.

Two tiles that overlap both see what lies in the strip between them; the seam is where a tile ends. Each tile has the
ground of which it sees most around: up to the middle of the strips.

1. What a seam cuts and what has no pixel on its tile's ground is left out: the tile whose ground it is sees more of it.
2. Two detections of one class, one of each tile, are of one object where in the strip at least `HALF` of the smaller
   one's mask lies in the other. (Without masks, where their boxes there have an IoU of `HALF`.) As halves agree in the
   strip however large the object is, one over many tiles is a chain of such pairs. So are two that no seam cuts and
   that have more pixels in common with each other than with any other: few pixels off, small ones share little.
3. Of what no seam cuts, that stays whose nearest seam is farthest away; what is of one object with it goes.
4. What a seam cuts goes where it agrees with one that stays and lies at least by `HALF` in the tile that saw that
   whole. Else all pieces of one object are united.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mrcnn.data.windows import Windows
from mrcnn.ops.boxes import cover, intersections
from mrcnn.ops.masks import decode_rle, encode_rle, extract_bboxes, place_rle
from mrcnn.ops.tiles import tile_windows
from mrcnn.settings.checks import check_arguments

Box = tuple[int, int, int, int]

# Two masks are of one object where this share of the smaller one lies in the other, as SAHI has it by default
# (Akyon et al. 2022, intersection over smaller area).
HALF = 0.5

# An object is taken for cut where it comes as near to a seam as this many pixels, or this share of its side: the
# network does not place the edge of half an object to the pixel.
NEAR, SHARE = 2, 0.05


@dataclass(eq=False)
class Piece:
    """A detection in a tile, in the coordinates of the whole image.

    Attributes:
        window, ground: of its tile.
        values: what `detect` gives for it, but for its mask: rois [4], class_ids, scores, perhaps keypoints [J, 3].
        extent: of the mask, or of the box without one.
        code: run lengths of the mask inside `extent`, or None.
        room: pixels to the nearest seam, less what is `NEAR` to one: below 0 it is cut.
    """

    window: Box
    ground: Box
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


@check_arguments
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
    grounds = _grounds(tiles, image.shape)
    empty: dict[str, Any] = {}
    starts = range(0, len(tiles), batch)
    for start in progress(iter(starts), len(starts)):
        chosen = tiles[start : start + batch]
        for window, result in zip(chosen, detect([image.read(*window) for window in chosen]), strict=True):
            empty = empty or {name: value[:0] for name, value in result.items()}
            pieces.append(list(_pieces(result, window, grounds[len(pieces)], image.shape)))
    groups = _objects(tiles, pieces)
    found = sorted((_united(group, image.shape) for group in groups), key=lambda values: -values["scores"])
    return {
        name: [values[name] for values in found]
        if name == "masks"
        else np.array([values[name] for values in found], none.dtype).reshape(-1, *none.shape[1:])
        for name, none in empty.items()
    }


def _grounds(tiles, shape):
    """The parts (y1, x1, y2, x2) of the image that are up to each tile; none has a pixel of another."""
    starts = [sorted({tile[axis] for tile in tiles}) for axis in (0, 1)]
    size = np.subtract(tiles[0][2:], tiles[0][:2])
    # Where one tile ends, the next has begun: the middle between.
    edges = [
        [0, *((one + side + two) // 2 for one, two in itertools.pairwise(row)), end]
        for row, side, end in zip(starts, size.tolist(), shape, strict=True)
    ]
    return [(y1, x1, y2, x2) for (y1, y2), (x1, x2) in itertools.product(*map(itertools.pairwise, edges))]


def _pieces(result, window, ground, shape):
    """The detections of a tile; those without a pixel, or none on the ground of the tile and cut, are left out."""
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
            piece = Piece(window, ground, values, extent, code, _room(extent, window, shape))
            if piece.room >= 0 or piece.area(ground):
                yield piece


def _room(extent, window, shape):
    room = float("inf")
    for axis in (0, 1):
        near = max(NEAR, SHARE * (extent[axis + 2] - extent[axis]))
        if window[axis] > 0:
            room = min(room, extent[axis] - window[axis] - near)
        if window[axis + 2] < shape[axis]:
            room = min(room, window[axis + 2] - extent[axis + 2] - near)
    return room


def _objects(tiles, pieces):
    """Lists of pieces of one object each."""
    same: dict[Piece, list[Piece]] = {piece: [] for of_tile in pieces for piece in of_tile}
    for i, j, strip in _strips(tiles):
        for one, two in _pairs(pieces[i], pieces[j], strip):
            same[one].append(two)
            same[two].append(one)
    whole: set[Piece] = set()
    for piece in sorted(same, key=lambda piece: -piece.room):
        if piece.room >= 0 and whole.isdisjoint(same[piece]):
            whole.add(piece)
    left = whole | {piece for piece in same if piece.room < 0 and not _seen(piece, whole.intersection(same[piece]))}
    groups = []
    for piece in same:
        if piece in left:
            left.remove(piece)
            groups.append([piece])
            for member in groups[-1]:  # which grows
                near = [other for other in same[member] if other in left]
                left.difference_update(near)
                groups[-1] += near
    return groups


def _seen(piece, others):
    """Whether the tile of one of the others has half of a piece or more."""
    return any(piece.area(other.window) >= HALF * piece.area(piece.extent) for other in others)


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
    common = np.zeros(same.shape, int)
    for i, j in np.argwhere(same & (intersections(*boxes) > 0)):
        common[i, j] = _common(ones[i], twos[j], strip)
    nearest = (common == common.max(axis=0)) & (common == common.max(axis=1, keepdims=True))
    for i, j in np.argwhere(common):
        one, two = ones[i], twos[j]
        if _agree(one, two, strip, common[i, j]) or (nearest[i, j] and one.room >= 0 and two.room >= 0):
            yield one, two


def _agree(one, two, strip, common):
    """Whether two pieces with so many pixels in common have half of the smaller one in common there."""
    areas = [piece.area(strip) for piece in (one, two)]
    # The box of half an object has much of its neighbours inside.
    return common >= HALF * (sum(areas) - common if one.code is None else min(areas))


def _common(one, two, window):
    """The pixels in a window that two pieces both have."""
    inside = shared(one.extent, two.extent)
    both = inside and shared(inside, window)
    return int((one.part(both) & two.part(both)).sum()) if both else 0


def _united(group, shape):
    """What is reported of the pieces of one object."""
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

    @check_arguments
    def __init__(self, model: Any, tile: int = 1024, overlap: float = 0.2) -> None:
        self.model, self.tile, self.overlap = model, tile, overlap
        self.config, self.keras_model = model.config, model.keras_model

    def detect(
        self, images: Sequence[np.ndarray], verbose: int = 0, rle: bool = True, proposals: Any = None
    ) -> list[dict[str, Any]]:
        """As `Detector.detect_tiled`, for each of a list of images; masks are run lengths whatever `rle` is, and
        proposals of whole images are not used: a detector that takes some searches each tile."""
        return [self.model.detect_tiled(image, self.tile, self.overlap, verbose) for image in images]
