"""`MaskRCNN` as old scripts know it."""

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from mrcnn.compat.keras2 import speak_keras2
from mrcnn.models import mask_rcnn
from mrcnn.ops.results import Place
from mrcnn.settings import Config


class Checkpoint(str):
    """A path, of which [0] is the folder and [1] the path itself: in early 2018 `find_last` gave these two."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> str:
        if key in (0, 1):
            return str(self) if key else os.path.dirname(self)
        return super().__getitem__(key)


class MaskRCNN(mask_rcnn.MaskRCNN):
    __doc__ = mask_rcnn.MaskRCNN.__doc__

    def _build(self, mode: str, config: Config) -> tuple[keras.Model | None, ...]:
        graph, *steps = super()._build(mode, config)
        return speak_keras2(graph), *steps

    def find_last(self) -> str:
        """Path of the last checkpoint of the last run of this config's NAME under model_dir.

        Raises:
            FileNotFoundError: there is none.
        """
        return Checkpoint(super().find_last())

    def unmold_detections(
        self,
        detections: np.ndarray,
        mrcnn_mask: np.ndarray | None,
        original_image_shape: Sequence[int],
        image_shape: Sequence[int],
        window: Sequence[int] | np.ndarray,
        rle: bool = False,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, Any]:
        """Detections [D, 6] of one molded image, and masks [at least n, h, w, K] or None, in terms of the original one.

        Returns:
            boxes [n, 4] pixels, int32, or float32 unless MASK_PASTE is "integer"; class_ids [n] int32, scores [n]
            float32, masks [H, W, n] bool, or a list of n run lengths, or None.
        """
        place = Place(original_image_shape, image_shape, window, self.config.BOX_NORMALIZATION)
        masks = {} if mrcnn_mask is None else {"mrcnn_mask": mrcnn_mask}
        result = self.result({"detections": detections, **masks}, place, rle)
        return result["rois"], result["class_ids"], result["scores"], result.get("masks")

    def unmold_keypoints(
        self,
        detections: np.ndarray,
        heatmaps: np.ndarray,
        original_image_shape: Sequence[int],
        image_shape: Sequence[int],
        window: Sequence[int] | np.ndarray,
    ) -> np.ndarray:
        """Keypoints [n, J, 3] float32 of (x, y, score), in pixels of the original image, of the boxes that
        `unmold_detections` gives; heatmaps are [at least n, J, h, w] logits."""
        place = Place(original_image_shape, image_shape, window, self.config.BOX_NORMALIZATION)
        return self.result({"detections": detections, "mrcnn_keypoint": heatmaps}, place)["keypoints"]
