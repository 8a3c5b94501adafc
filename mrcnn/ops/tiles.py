"""Overlapping tiles that cover an image."""

import math


def tile_windows(height: int, width: int, tile: int, overlap: float) -> list[tuple[int, int, int, int]]:
    """Windows (y1, x1, y2, x2) in pixels, row by row, that cover an image and have one size.

    Args:
        height, width: of the image.
        tile: side of the windows; where the image is smaller, theirs is the image's.
        overlap: least share of a window, 0 to below 1, that it has in common with the next one. The windows lie evenly,
            so that it is mostly more.

    Raises:
        ValueError: tile or overlap is out of its range.
    """
    if tile < 1 or not 0 <= overlap < 1:
        raise ValueError(f"tile is {tile} and overlap {overlap}; a tile has a pixel or more, overlap is 0 to below 1.")
    rows, columns = _starts(height, tile, overlap), _starts(width, tile, overlap)
    return [(y, x, min(y + tile, height), min(x + tile, width)) for y in rows for x in columns]


def _starts(size, tile, overlap):
    """The first pixels of the windows along one side."""
    left = size - tile
    if left <= 0:
        return [0]
    count = math.ceil(left / max(1, math.floor(tile * (1 - overlap))))
    return [round(i * left / count) for i in range(count + 1)]
