"""Weights files to the detectors of the page (app.py): which there are, and what classes they know."""

import os
from dataclasses import dataclass
from pathlib import Path

import coco
import pose
import shapes

from mrcnn import weights
from mrcnn.config import Config
from mrcnn.data.dataset import Dataset
from mrcnn.export import Exported
from mrcnn.export.runtime import is_exported
from mrcnn.settings import CONFIG
from mrcnn.weights import convert

# Classes {id: name} that the samples' weights know, by the NAME of their settings. COCO's ids have gaps.
COCO_IDS = sorted({*range(1, 91)} - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
CLASSES = {
    "coco": dict(zip(COCO_IDS, coco.COCO_CLASSES, strict=True)),
    "shapes": shapes.CATEGORIES,
    "pose": {1: "person"},
    "figures": {1: "person"},
    "balloon": {1: "balloon"},
    "nucleus": {1: "nucleus"},
}


@dataclass
class Detector:
    """A model and the classes it knows.

    Attributes:
        model: a `MaskRCNN` in inference mode, or anything with its `config` and `detect`.
        dataset: what `class_set` gives.
    """

    model: object
    dataset: Dataset


def class_set(names):
    """A `Dataset` of the classes {id: name}, with one image that stands for any."""
    dataset = Dataset()
    for class_id, name in names.items():
        dataset.add_class("app", class_id, name)
    dataset.add_image("app", 0, path=None)
    dataset.prepare()
    return dataset


def find_weights(logs, folder):
    """Paths of the best, else the last, checkpoint of every run under `logs`, newest first, and of `folder`'s files."""
    runs = sorted(Path(logs).glob("*"), key=lambda run: run.name[-len("20260101T0000") :], reverse=True)
    found = [path for run in runs for path in sorted(run.glob("mask_rcnn_*.h5"))[-1:]]
    found += sorted(path for path in Path(folder).glob("*.h5") if "_notop" not in path.name)  # ImageNet's have no heads
    return [os.path.relpath(path) for path in found]


def load_detector(path, names=None, logs=coco.DEFAULT_LOGS_DIR):
    """The `Detector` of a weights file, which keeps whatever has a score of 0.05 or more.

    The settings are those of the config.json beside the file, else of the sample whose heads have the file's sizes.

    Args:
        path: an .h5 file, one of torchvision or Detectron2, a folder of `mrcnn.weights.convert`, what `coco.py export`
            wrote, or "coco" for the original's release.
        names: {id: name} of the classes, where the file knows as many; default: those of the sample.

    Raises:
        FileNotFoundError, ValueError: no such file, unknown of which detector, or it does not fit its settings.
    """
    if is_exported(path):
        model = Exported(path)
        return Detector(model, class_set(class_names(model.config, names)))
    path = str(weights.download("coco") if path == "coco" else convert.h5_file(path, logs))
    sample, count, generated = kind_of(path)
    args = coco.parse_arguments(["evaluate", "--model", path, "--logs", str(logs)], sample)
    args.image_only = not generated
    model = coco.load_model(args, coco.make_config(args, count))
    return Detector(model, class_set(class_names(model.config, names)))


def kind_of(path):
    """What an .h5 file is of: its sample, its number of classes with the background, and whether it is of a generated
    set. The config.json beside it says so, of whatever detector; without one it is a Mask R-CNN's."""
    if (Path(path).parent / CONFIG).exists():
        config = coco.stored_config(path, Config)
        return pose.POSE if "keypoints" in config.finds else coco.COCO, config.NUM_CLASSES, False
    stored = weights.read(path)
    if "mrcnn_class_logits" not in stored:
        raise ValueError(
            f"{path} is not of a Mask R-CNN: put the config.json of its run, which says of what, beside it."
        )
    width, count = stored["mrcnn_class_logits"]["kernel"].shape
    sample = pose.POSE if any(layer.startswith("mrcnn_keypoint") for layer in stored) else coco.COCO
    return sample, count, width == sample.generated_config.FPN_CLASSIF_FC_LAYERS_SIZE


def class_names(config, names=None):
    """{id: name} of the classes of a config: `names`, else those that it remembers, else a sample's, else numbers."""
    count = config.NUM_CLASSES
    known = dict(enumerate(config.CLASS_NAMES[1:], 1))
    fitting = [n for n in (names, known, CLASSES.get(config.NAME)) if n and len(n) == count - 1]
    return [*fitting, {i: f"class {i}" for i in range(1, count)}][0]
