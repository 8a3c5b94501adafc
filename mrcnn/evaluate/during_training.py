"""Evaluation while a model trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from mrcnn import weights
from mrcnn.data.dataset import Dataset
from mrcnn.evaluate.run import evaluate
from mrcnn.evaluate.tables import kinds_of


class Evaluation(keras.callbacks.Callback):
    """Evaluates during training; pass it in `custom_callbacks`.

    Adds box_AP, box_AP50, mask_AP and mask_AP50 (and keypoint_AP and keypoint_AP50) to the logs, so that the progress
    bar and TensorBoard show them, and keeps the weights of the best AP, that of the last of these that the model has,
    beside the checkpoints as mask_rcnn_<name>_best.h5.

    Args:
        model: the `MaskRCNN` that trains.
        dataset: a prepared `Dataset` to evaluate on.
        every: epochs between evaluations.
        limit: only so many of its images; 0 for all.
        patience: training ends after so many evaluations without a better AP; None never ends it.
    """

    adds_logs = True  # `train` runs it before what records the logs

    def __init__(
        self, model: Any, dataset: Dataset, every: int = 1, limit: int = 0, patience: int | None = None
    ) -> None:
        super().__init__()
        self.rcnn, self.dataset, self.every, self.limit, self.patience = model, dataset, every, limit, patience
        self.best, self.worse = -1.0, 0
        self.detector: Any = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if (epoch + 1) % self.every:
            return
        if self.detector is None:
            values = {**self.rcnn.config.to_dict(), "GPU_COUNT": 1, "DETECTION_MIN_CONFIDENCE": 0.05}
            if values["IMAGE_RESIZE_MODE"] == "crop":  # whole images, at the scale that the crops have
                values.update(IMAGE_RESIZE_MODE="pad64", IMAGES_PER_GPU=1)
            config = type(self.rcnn.config).from_dict(values)
            self.detector = type(self.rcnn)("inference", config, self.rcnn.model_dir)
        weights.copy(self.model, self.detector.keras_model)
        metrics = evaluate(self.detector, self.dataset, limit=self.limit, verbose=0)
        for name, kind in kinds_of(metrics).items():
            if logs is not None:
                logs.update({f"{name}_{key}": metrics[kind][key] for key in ("AP", "AP50")})
        found = {name: metrics[kind]["AP"] for name, kind in kinds_of(metrics).items()}
        score = list(found.values())[-1]
        line = ", ".join(f"{name} AP {value:.3f}" for name, value in found.items())
        print(f"\n{line} (best so far {max(self.best, score):.3f})")
        if score > self.best:
            self.best, self.worse = score, 0
            path = Path(self.rcnn.checkpoint_path)
            self.rcnn.save_weights(path.with_name(path.name.replace("{epoch:04d}", "best")))
            return
        self.worse += 1
        if self.patience and self.worse >= self.patience:
            print(f"No better AP in {self.worse} evaluations: training ends.")
            self.model.stop_training = True
