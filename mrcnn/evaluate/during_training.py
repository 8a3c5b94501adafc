"""Evaluation while a model trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import keras

from mrcnn import weights
from mrcnn.data.dataset import Dataset
from mrcnn.evaluate.run import evaluate
from mrcnn.evaluate.tables import kinds_of
from mrcnn.ops.files import whole

# What is kept of a run, see `stored_record`.
RECORD = ("AP", "epoch", "images", "since", "until", "weights")


class Running(Protocol):
    """A model in a run, as of `mrcnn.train.run.Run`."""

    checkpoint_path: str
    epoch: int


class Evaluation(keras.callbacks.Callback):
    """Evaluates during training; pass it in `custom_callbacks`.

    Adds box_AP, box_AP50, mask_AP and mask_AP50 (and keypoint_AP and keypoint_AP50) to the logs, so that the progress
    bar and TensorBoard show them, and keeps the weights of the best AP, that of the last of these that the model has,
    beside the checkpoints as mask_rcnn_<name>_best.h5, and the AP itself as mask_rcnn_<name>_best.json, so that a run
    that is resumed goes on with what it had learned.

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
            known = stored_record(self.rcnn)
            if {key: known.get(key) for key in training} == training:
                since = min(since, known["since"])
        best = {"AP": -1.0, "epoch": 0} if known.get("images") != images else {x: known[x] for x in ("AP", "epoch")}
        self.record = {**best, "images": images, "since": since, **training}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        done, record = epoch + 1, self.record
        if done % self.every:
            return
        score = self._evaluate(logs)
        print(f"(best so far {max(record['AP'], score):.3f})")
        path = _best_path(self.rcnn)
        if score > record["AP"]:
            record.update(AP=score, epoch=done)
            self.rcnn.save_weights(path)
        _write(path.with_suffix(".json"), record)
        # Evaluated are the epochs that `every` divides.
        worse = done // self.every - max(record["epoch"], record["since"]) // self.every
        if self.patience and worse >= self.patience:
            print(f"No better AP in {worse} evaluations: training ends after epoch {done} of {record['until']}.")
            self.model.stop_training = True

    def _evaluate(self, logs):
        """The AP that counts; all go into the logs."""
        weights.copy(self.model, self._detector().keras_model)
        metrics = evaluate(self.detector, self.dataset, limit=self.limit, verbose=0)
        found = {name: metrics[kind] for name, kind in kinds_of(metrics).items()}
        if logs is not None:
            logs.update({f"{name}_{key}": x[key] for name, x in found.items() for key in ("AP", "AP50")})
        print("\n" + ", ".join(f"{name} AP {x['AP']:.3f}" for name, x in found.items()), end=" ")
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


def stored_record(model: Running) -> dict[str, Any]:
    """What `Evaluation` left in the folder of the run that a model goes on with.

    Returns:
        "AP" and "epoch" of the best weights, "images", the number of images that were evaluated, and of the training
        that ran then "since" and "until", the epochs between which it was to go, and "weights", the number of weights
        that it changed; {} for a new run, and where nothing was evaluated.
    """
    path = _best_path(model).with_suffix(".json")
    if not (model.epoch and path.exists()):
        return {}
    try:
        record = json.loads(path.read_text())
        return {key: float(record[key]) if key == "AP" else int(record[key]) for key in RECORD}
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); delete it to begin anew with the best AP.") from error


def _best_path(model):
    path = Path(model.checkpoint_path.format(epoch=0))
    return path.with_name(path.name.replace("_0000.h5", "_best.h5"))


def _write(path, record):
    """Write JSON, whole or not at all."""
    with whole(path) as new:
        new.write_text(json.dumps(record))
