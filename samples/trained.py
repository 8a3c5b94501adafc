"""Models for the notebooks: their weights are trained once, in a few minutes, and kept in logs/notebooks.

    import trained

    dataset = trained.dataset(trained.SHAPES, "val")
    model = trained.model(trained.SHAPES)

or with weights and images of your own: `trained.dataset(trained.SHAPES, "val", folder)`, `trained.model(..., path)`.
Paths count from this folder, where Jupyter runs the notebooks. Import it before Keras.
"""

import hashlib
import json
import logging
import os
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as coco.py does to train
# Without ipywidgets tqdm draws its bars as text, which is fine.
warnings.filterwarnings("ignore", "IProgress not found")

import coco
import pose
import shapes

from mrcnn.models.detectors import build_detector
from mrcnn.train.run import find_last
from mrcnn.weights import convert

# TensorFlow takes two models in one notebook for a loop that compiles too often.
logging.getLogger("tensorflow").setLevel("ERROR")

LOGS = Path("../logs")
FOLDER = LOGS / "notebooks"


class ShapesConfig(shapes.ShapesConfig):
    """For weights of a shorter training, which are less sure of what they find."""

    DETECTION_MIN_CONFIDENCE = 0.5


class FiguresConfig(pose.FiguresConfig):
    """A smaller keypoint head, which learns enough to look at in half the time."""

    KEYPOINT_CONVOLUTIONS = 4
    KEYPOINT_CHANNELS = 48
    DETECTION_MIN_CONFIDENCE = 0.5


# What coco.py and pose.py train on their generated sets, for a shorter time; keypoints from the weights of the shapes.
SHAPES = replace(coco.COCO, generated_config=ShapesConfig, generated_epochs=3)
POSE = replace(pose.POSE, generated_config=FiguresConfig, generated_epochs=3)


def steps(wanted):
    """`wanted`, or the number in MRCNN_NOTEBOOK_STEPS: a test of the notebooks trains a few steps."""
    return int(os.environ.get("MRCNN_NOTEBOOK_STEPS", wanted))


def dataset(sample, subset, folder=None):
    """The images for "train" or "val" of a folder in COCO's format, or of the generated set; a prepared `Dataset`."""
    words = ["train", "--dataset", str(folder)] if folder else ["train"]
    return coco.load_dataset(coco.parse_arguments(words, sample), subset)


def weights(sample):
    """Path of the sample's weights on its generated set. Where they are missing they are trained first.

    Raises:
        KeyboardInterrupt: Ctrl-C or Jupyter's stop button; nothing is kept.
        RuntimeError: the training failed; it has said why.
    """
    config = sample.generated_config()
    config.STEPS_PER_EPOCH = steps(config.STEPS_PER_EPOCH)
    start = "none" if sample is SHAPES else weights(SHAPES)
    settings = json.dumps([config.to_dict(), sample.generated_epochs, Path(start).name])
    path = FOLDER / f"{config.NAME}-{hashlib.sha1(settings.encode()).hexdigest()[:8]}.h5"
    if not path.exists():
        print(f"Training the weights of {config.NAME} for all notebooks, once, for a few minutes.")
        FOLDER.mkdir(parents=True, exist_ok=True)
        words = ["train", "--model", start, "--steps", str(config.STEPS_PER_EPOCH), "--config", "VALIDATION_STEPS=0"]
        with tempfile.TemporaryDirectory(dir=FOLDER, prefix=".") as logs:
            code = coco.main([*words, "--logs", logs], sample)
            if code == 130:
                raise KeyboardInterrupt
            if code:
                raise RuntimeError(f"The training of {config.NAME} failed.")
            os.replace(find_last(logs, config.NAME), path)  # in one step, so what is there is whole
    return str(path)


def model(sample, path=None, dataset=None, **settings):
    """A detector for inference, from a score of 0.5 on or what its config says if that is higher.

    It pads images to squares, so that what a notebook draws is what the network sees.

    Args:
        path: of weights: an `.h5` file, one of torchvision or Detectron2 (`.pth`, `.safetensors`, `.pkl`), which is
            converted into ../logs the first time, or a folder of `mrcnn.weights.convert`; None for the notebooks'
            `weights`.
        dataset: whose classes the weights must know.
        settings: changes of the model's config.

    Raises:
        ValueError: weights and `dataset` differ in their number of classes.
        FileNotFoundError, ImportError, ValueError: as `convert.convert_file` and `MaskRCNN.load_weights`.
    """
    if path is None:
        path, config = weights(sample), sample.generated_config()
    else:
        path = convert.h5_file(path, LOGS)
        config = coco.stored_config(path, sample.config)
    if dataset is not None and dataset.num_classes != config.NUM_CLASSES:
        raise ValueError(
            f"{path} knows {config.NUM_CLASSES} classes with the background, the data set {dataset.num_classes}: "
            "set DATASET to a folder with the classes of MODEL."
        )
    config.update(**{"DETECTION_MIN_CONFIDENCE": max(0.5, config.DETECTION_MIN_CONFIDENCE), **settings})
    config.update(IMAGE_RESIZE_MODE="square", IMAGE_MAX_DIM=(config.IMAGE_MAX_DIM or 1024) // 64 * 64)
    model = build_detector("inference", config, LOGS)
    model.load_weights(path, by_name=True)
    return model
