"""A data set of the tiles of another one's images, to train on images too large for the network."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np
from pycocotools import mask as rle

from mrcnn.data.annotations import Annotation, RunLengths, check_size
from mrcnn.data.bad_images import objects_or_none
from mrcnn.data.dataset import Dataset
from mrcnn.data.windows import Windows, windows
from mrcnn.ops.masks import crop_rle, encode_rle, extract_bboxes, stack_masks
from mrcnn.ops.tiles import tile_windows
from mrcnn.settings.checks import check_arguments

# Less of an object than this share of its pixels in a tile is a crowd there: neither to be found nor background.
LEAST = 0.1


class TiledDataset(Dataset):
    """The tiles of the images of a prepared `Dataset`, each with the parts of the objects that lie in it.

    Of files that the set reads as they are, windows alone are read; masks come from `load_annotations`, one after the
    other, so that memory does not grow with the image. Of an object of which a tile has less than a tenth, the part is
    a crowd. An image whose objects cannot be read has its tiles, and loading one of them says so.

    Args:
        dataset: with the sizes of its images (`height` and `width` in `image_info`).
        tile, overlap: as of `tile_windows`.
        empty: whether tiles without objects are taken too.

    Raises:
        ValueError: the size of an image is not known, keypoints, which are not cut, or an impossible tile or overlap.
    """

    @check_arguments
    def __init__(self, dataset: Dataset, tile: int = 1024, overlap: float = 0.2, empty: bool = True) -> None:
        super().__init__()
        self.dataset, self.class_info, self.problems = dataset, dataset.class_info, dataset.problems
        self._last: tuple[int, Windows, list[Annotation]] | None = None
        for i in map(int, dataset.image_ids):
            info = dataset.image_info[i]
            if not info.get("height") or not info.get("width"):
                raise ValueError(f"{info['path']}: give add_image its height and width to cut it into tiles.")
            objects = objects_or_none(dataset, i)
            boxes = self._boxes(info, objects or [])
            for window in tile_windows(info["height"], info["width"], tile, overlap):
                corner, end = np.array(window).reshape(2, 2)
                inside = np.flatnonzero(((boxes[:, :2] < end) & (boxes[:, 2:] > corner)).all(axis=1)).tolist()
                if inside or empty or objects is None:
                    y1, x1, y2, x2 = window
                    name = f"{info['id']} at {x1}, {y1}"
                    place = {"image": i, "window": window, "objects": inside, "height": y2 - y1, "width": x2 - x1}
                    self.add_image(info["source"], name, info["path"], **place)
        self.prepare()
        self.class_names = dataset.class_names

    def _boxes(self, info, objects):
        """Boxes [n, 4] (y1, x1, y2, x2) of the objects of an image."""
        boxes = []
        for annotation in objects:
            if annotation.keypoints is not None:
                raise ValueError(f"{info['path']} has keypoints, which tiles have not; train on whole images.")
            x, y, width, height = rle.toBbox(_code(annotation, info))
            boxes.append((y, x, y + height, x + width))
        return np.reshape(boxes, (-1, 4))

    def load_image(self, image_id: int) -> np.ndarray:
        """The tile [h, w, C], of the values that the set's images have.

        Raises:
            OSError, ValueError: the file is missing or broken, or of another size than annotated.
        """
        info = self.image_info[image_id]
        return self._whole(info["image"])[0].read(*info["window"])

    def _whole(self, i):
        """The pixels and the objects of an image; those of the last one are kept."""
        last = self._last
        if last is None or last[0] != i:
            info = self.dataset.image_info[i]
            plain = type(self.dataset).load_image is Dataset.load_image and info.get("page") is None
            pixels = windows(info["path"] if plain else self.dataset.load_image(i), None, str(info["path"] or ""))
            check_size(info, pixels.shape)
            last = self._last = i, pixels, self.dataset.load_annotations(i)
        return last[1:]

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Masks [h, w, n] bool of the parts of objects in the tile, and class ids [n] int32, negative for crowds."""
        return self._stacked(image_id, [(a, mask) for a, mask in self._parts(image_id) if a.has_mask()])

    def load_box_masks(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """As `load_mask`, with the pixels of its box in the tile for an object without a mask."""
        return self._stacked(image_id, self._parts(image_id))

    def _stacked(self, image_id, found):
        info = self.image_info[image_id]
        ids = [-a.class_id if a.crowd else a.class_id for a, _ in found]
        return stack_masks([mask for _, mask in found], info["height"], info["width"]), np.array(ids, "int32")

    def load_annotations(self, image_id: int) -> list[Annotation]:
        """The parts of objects in the tile; of one without a mask its box there."""
        return [a for a, _ in self._parts(image_id)]

    def _parts(self, image_id: int) -> list[tuple[Annotation, np.ndarray]]:
        return [(a, mask) for a, mask in self._all_parts(image_id) if mask.any()]

    def _all_parts(self, image_id: int) -> Iterator[tuple[Annotation, np.ndarray]]:
        info = self.image_info[image_id]
        _, annotations = self._whole(info["image"])
        for k in info["objects"]:
            whole = annotations[k]
            code = _code(whole, self.dataset.image_info[info["image"]])
            mask = crop_rle(code, info["window"])
            crowd = whole.crowd or bool(mask.sum() < LEAST * rle.area(code))
            ids = whole.id, info["id"], whole.category_id
            if whole.has_mask():
                shape: Any = {"segmentation": RunLengths(mask.shape, encode_rle(mask)["counts"])}
            else:
                y1, x1, y2, x2 = extract_bboxes(mask[..., None])[0].tolist()
                shape = {"segmentation": (), "box": array("d", (x1, y1, x2 - x1, y2 - y1))}
            yield Annotation(*ids, **shape, crowd=crowd, class_id=whole.class_id), mask


def _code(annotation, info):
    """Run lengths of an object's mask, or of its box if that alone is known."""
    size = info["height"], info["width"]
    return annotation.rle(*size) if annotation.has_mask() else encode_rle(annotation.box_mask(*size))
