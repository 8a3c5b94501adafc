"""What a model finds while it trains: pictures of a few images, beside what is true."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from mrcnn.data.reading import write_image
from mrcnn.draw.instances import SCORE_THRESHOLD, draw_instances
from mrcnn.evaluate import Evaluation
from mrcnn.ops.masks import extract_bboxes

SIDE = 384  # of a picture in the sheet
DRAWN = "rois", "class_ids", "scores", "masks", "keypoints"


class Examples(keras.callbacks.Callback):
    """Draws examples_<epoch>.png into the run's folder after every evaluation, a row an image: what is true, and what
    is found with a score of 0.5 or more. With TensorBoard in TRACKERS they are among its images, too. Pass it in
    `custom_callbacks`.

    Args:
        evaluation: the callback that evaluates; its data set and its detector are used.
        count: images, the first ones that can be read.
    """

    def __init__(self, evaluation: Evaluation, count: int = 4) -> None:
        super().__init__()
        self.evaluation, self.count = evaluation, count

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if (epoch + 1) % self.evaluation.every or self.evaluation.detector.config.takes_proposals:
            return
        sheet, model = self.sheet(), self.evaluation.rcnn
        if sheet is None:
            return
        write_image(Path(model.log_dir, f"examples_{epoch + 1:04d}.png"), sheet)
        packages = "tensorboard", "tensorflow"
        if packages[0] in model.config.TRACKERS and all(importlib.util.find_spec(name) for name in packages):
            import tensorflow as tf

            with tf.summary.create_file_writer(str(Path(model.log_dir, "examples"))).as_default():
                tf.summary.image("truth | found", sheet[None], step=epoch + 1)

    def sheet(self) -> np.ndarray | None:
        """The rows below each other, uint8 [H, W, 3]; None where no image can be read."""
        dataset, rows = self.evaluation.dataset, []
        for i in dataset.image_ids:
            try:
                image, (masks, class_ids) = dataset.load_image(i), dataset.load_box_masks(i)
            except (OSError, ValueError):  # the evaluation has named it
                continue
            rows.append(self._row(image, masks, class_ids, dataset.class_names))
            if len(rows) == self.count:
                break
        return np.concatenate(rows) if rows else None

    def _row(self, image, masks, class_ids, names):
        own = class_ids > 0  # no crowds
        masks = masks[..., own]
        truth = {"rois": extract_bboxes(masks), "class_ids": class_ids[own], "masks": masks}
        (found,) = self.evaluation.detector.detect([image])
        sure = found["scores"] >= SCORE_THRESHOLD
        found = {key: found[key][..., sure] if key == "masks" else found[key][sure] for key in DRAWN if key in found}
        return np.concatenate([_square(draw_instances(image, shown, names)) for shown in (truth, found)], axis=1)


def _square(picture):
    """A picture within SIDE x SIDE pixels, on black."""
    scale = SIDE / max(picture.shape[:2])
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    square = np.zeros((SIDE, SIDE, 3), "uint8")
    square[:height, :width] = np.asarray(Image.fromarray(picture).resize((width, height)))
    return square
