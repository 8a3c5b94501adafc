"""Evaluation while a model trains."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import keras

from mrcnn import weights
from mrcnn.data.dataset import Dataset
from mrcnn.evaluate.run import evaluate
from mrcnn.evaluate.tables import kinds_of
from mrcnn.settings.checks import check_arguments

# What is kept of a run, see `stored_record`.
RECORD = ("AP", "epoch", "images", "since", "until", "weights")


class Evaluation(keras.callbacks.Callback):
    """Evaluates during training; pass it in `custom_callbacks`.

    Adds box_AP, box_AP50, mask_AP and mask_AP50 (and keypoint_AP and keypoint_AP50) to the logs, so that the progress
    bar and TensorBoard show them, and keeps the weights of the best AP, that of the last of these that the model has,
    beside the checkpoints as mask_rcnn_<name>_best.h5. Every checkpoint holds the AP itself (`stored_record`), so that
    a run that is resumed goes on with what it had learned, wherever the file was brought. Of a model that gives pixels
    classes, mIoU takes the AP's place.

    Each call of `train` has its own patience: it counts evaluations since its begin or since the best one. The best is
    that of the whole run, as long as the number of images that are evaluated stays the same.

    Args:
        model: the `MaskRCNN` that trains.
        dataset: a prepared `Dataset` to evaluate on.
        every: epochs between evaluations.
        limit: only so many of its images; 0 for all.
        patience: training ends after so many evaluations without a better AP; None never ends it.
    """

    adds_logs = True  # `train` runs it before what records the logs

    @check_arguments
    def __init__(
        self, model: Any, dataset: Dataset, every: int = 1, limit: int = 0, patience: int | None = None
    ) -> None:
        super().__init__()
        self.rcnn, self.dataset, self.every, self.limit, self.patience = model, dataset, every, limit, patience
        self.detector: Any = None
        # What is kept: the best AP and its epoch; the training that runs, by the epochs between which it is to go and
        # the number of weights that it changes.
        self.record: dict[str, Any] = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        images = min(self.limit or len(self.dataset.image_ids), len(self.dataset.image_ids))
        training = {"until": self.params["epochs"], "weights": len(self.model.trainable_variables)}
        known, since = self.record, self.rcnn.epoch
        if not known:
            known = self.rcnn.record
            if {key: known.get(key) for key in training} == training:
                since = min(since, known["since"])
        self.record = {**self._best(known, images), "images": images, "since": since, **training}
        self.rcnn.record = self.record

    def _best(self, known, images):
        """AP and epoch of the best weights so far, as far as it was measured by so many images."""
        path = _best_path(self.rcnn)
        # The weights that are kept may be of an epoch whose checkpoint was not written.
        kept = stored_record(path) if self.rcnn.epoch else {}
        found = [x for x in (known, kept) if x.get("images") == images]
        best = max(found, key=lambda x: x["AP"], default={"AP": -1.0, "epoch": 0})
        if best["epoch"] and not path.exists():
            print(f"The best weights so far, of AP {best['AP']:.3f}, are not in {path.parent}; better ones are kept.")
        return {key: best[key] for key in ("AP", "epoch")}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        done, record = epoch + 1, self.record
        if done % self.every:
            return
        score = self._evaluate(logs)
        print(f"(best so far {max(record['AP'], score):.3f})")
        path = _best_path(self.rcnn)
        if score > record["AP"]:
            record.update(AP=score, epoch=done)
            with weights.averaged(self.model):
                self.rcnn.save_weights(path)
        # Evaluated are the epochs that `every` divides.
        worse = done // self.every - max(record["epoch"], record["since"]) // self.every
        if self.patience and worse >= self.patience:
            print(f"No better AP in {worse} evaluations: training ends after epoch {done} of {record['until']}.")
            self.model.stop_training = True

    def _evaluate(self, logs):
        """The AP that counts; all go into the logs."""
        with weights.averaged(self.model):
            weights.copy(self.model, self._detector().keras_model)
        metrics = evaluate(self.detector, self.dataset, limit=self.limit, verbose=0)
        found = {name: metrics[kind] for name, kind in kinds_of(metrics).items()}
        if logs is not None:
            logs.update({f"{name}_{key}": x[key] for name, x in found.items() for key in ("AP", "AP50")})
        print("\n" + ", ".join(f"{name} AP {x['AP']:.3f}" for name, x in found.items()), end=" ")
        if "semantic" in metrics:
            score = metrics["semantic"]["mIoU"]
            if logs is not None:
                logs["mIoU"] = score
            print(f"mIoU {score:.3f}", end=" ")
            return score
        return list(found.values())[-1]["AP"]

    def _detector(self):
        if self.detector is None:
            values = {**self.rcnn.config.to_dict(), "GPU_COUNT": 1}
            values["DETECTION_MIN_CONFIDENCE"] = min(0.05, values["DETECTION_MIN_CONFIDENCE"])
            if values["IMAGE_RESIZE_MODE"] == "crop":  # whole images, at the scale that the crops have
                values.update(IMAGE_RESIZE_MODE="pad64", IMAGES_PER_GPU=1)
            config = type(self.rcnn.config).from_dict(values)
            self.detector = type(self.rcnn)("inference", config, self.rcnn.model_dir)
        return self.detector


def stored_record(checkpoint: Path | str) -> dict[str, Any]:
    """What `Evaluation` left in a checkpoint.

    Returns:
        "AP" and "epoch" of the best weights, "images", the number of images that were evaluated, and of the training
        that ran then "since" and "until", the epochs between which it was to go, and "weights", the number of weights
        that it changed; {} where nothing was evaluated, and where there is no such file.

    Raises:
        ValueError: it is damaged.
    """
    if not os.path.isfile(checkpoint):
        return {}
    try:
        record = weights.read_record(checkpoint)
        found = {key: float(record[key]) if key == "AP" else int(record[key]) for key in RECORD} if record else {}
        if not math.isfinite(found.get("AP", 0)):
            raise ValueError("AP is not finite")
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(f"{checkpoint} is damaged in its record of the training: {error!r}.") from error
    return found


def _best_path(model):
    path = Path(model.checkpoint_path.format(epoch=0))
    return path.with_name(path.name.replace("_0000.h5", "_best.h5"))
