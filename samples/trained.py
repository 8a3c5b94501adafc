"""Models for the notebooks, with the weights that come with mrcnn.

    import trained

    dataset = trained.dataset(trained.SHAPES, "val")
    model = trained.model(trained.SHAPES)

or with weights and images of your own: `trained.dataset(trained.SHAPES, "val", folder)`, `trained.model(..., path)`.
Paths count from this folder, where Jupyter runs the notebooks. Import it before Keras.
"""

import logging
import os
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

# Without ipywidgets tqdm draws its bars as text, which is fine.
warnings.filterwarnings("ignore", "IProgress not found")

import coco
import pose
import shapes

import mrcnn.weights
from mrcnn.models.detectors import build_detector, load_detector
from mrcnn.settings import CONFIG
from mrcnn.train.run import find_last
from mrcnn.weights import convert

# TensorFlow takes two models in one notebook for a loop that compiles too often.
logging.getLogger("tensorflow").setLevel("ERROR")

LOGS = Path("../logs")
FOLDER = LOGS / "notebooks"


class ShapesConfig(shapes.ShapesConfig):
    """The network of the weights `shapes`, small enough to come with mrcnn."""

    BACKBONE_WIDTH = 16
    TOP_DOWN_PYRAMID_SIZE = 48
    FPN_CLASSIF_FC_LAYERS_SIZE = 128


class FiguresConfig(pose.FiguresConfig):
    """The network of the weights `figures`: the same with a keypoint head."""

    BACKBONE_WIDTH = 16
    TOP_DOWN_PYRAMID_SIZE = 48
    FPN_CLASSIF_FC_LAYERS_SIZE = 128
    KEYPOINT_CONVOLUTIONS = 4
    KEYPOINT_CHANNELS = 48


# coco.py and pose.py on their generated sets with these networks.
SHAPES = replace(coco.COCO, generated_config=ShapesConfig)
POSE = replace(pose.POSE, generated_config=FiguresConfig)


def steps(wanted):
    """`wanted`, or the number in MRCNN_NOTEBOOK_STEPS: a test of the notebooks trains a few steps."""
    return int(os.environ.get("MRCNN_NOTEBOOK_STEPS", wanted))


def dataset(sample, subset, folder=None):
    """The images for "train" or "val" of a folder in COCO's format, or of the generated set; a prepared `Dataset`."""
    words = ["train", "--dataset", str(folder)] if folder else ["train"]
    return coco.load_dataset(coco.parse_arguments(words, sample), subset)


def weights(sample):
    """Path of the sample's weights on its generated set, which come with mrcnn; from here, as it is printed."""
    return os.path.relpath(mrcnn.weights.download(sample.generated_config.NAME))


def detector(name, **settings):
    """The detector of that name for inference, with its weights of the lineage's table where `make lineage` has run,
    or of a training of some minutes, once; it finds the generated shapes.

    Args:
        name: as of --detector; not one that needs proposals.
        settings: changes of the model's config, such as DETECTION_NMS_THRESHOLD.

    Raises:
        KeyboardInterrupt: Ctrl-C or Jupyter's stop button; nothing is kept of this training.
        RuntimeError: the training failed; it has said why.
    """
    path = LOGS / "lineage" / name / convert.WEIGHTS
    if not path.exists():
        path = FOLDER / name / convert.WEIGHTS
        if not path.exists():
            _train(name, path)
    return load_detector(path, LOGS, **{"DETECTION_MIN_CONFIDENCE": 0.5, "IMAGES_PER_GPU": 1, **settings})


def _train(name, path):
    """Train a detector, and keep its weights at `path` and its config beside."""
    print(f"Training {name} for the notebooks, once, for a few minutes.")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix=".") as logs:
        code = coco.main(
            ["train", "--detector", name, "--epochs", "3", "--config", "VALIDATION_STEPS=0", "--logs", logs]
        )
        if code == 130:
            raise KeyboardInterrupt
        if code:
            raise RuntimeError(f"The training of {name} failed.")
        last = Path(find_last(logs, shapes.ShapesConfig.NAME))
        path.parent.mkdir(exist_ok=True)
        os.replace(last.parent / CONFIG, path.parent / CONFIG)
        os.replace(last, path)  # the last step, so what is there is whole


def images(wanted):
    """`wanted`, or as many images as a test of the notebooks looks at."""
    return min(wanted, 2) if "MRCNN_NOTEBOOK_STEPS" in os.environ else wanted


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
    path = weights(sample) if path is None else convert.h5_file(path, LOGS)
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
