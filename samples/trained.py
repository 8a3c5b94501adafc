"""Models for the notebooks: their weights are trained once, in a few minutes, and kept in logs/notebooks.

    import trained

    dataset = trained.dataset(trained.SHAPES, "val")
    model = trained.model(trained.SHAPES)

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

import coco  # noqa: E402
import pose  # noqa: E402

from mrcnn.model import MaskRCNN  # noqa: E402
from mrcnn.training import find_last  # noqa: E402

# TensorFlow takes two models in one notebook for a loop that compiles too often.
logging.getLogger("tensorflow").setLevel("ERROR")

FOLDER = Path("../logs/notebooks")


class FiguresConfig(pose.FiguresConfig):
    """A smaller keypoint head, which learns enough to look at in half the time."""

    KEYPOINT_CONVOLUTIONS = 4
    KEYPOINT_CHANNELS = 48


# What coco.py and pose.py train on their generated sets; keypoints for a shorter time.
SHAPES = coco.COCO
POSE = replace(pose.POSE, generated_config=FiguresConfig, generated_epochs=5)


def steps(wanted):
    """`wanted`, or the number in MRCNN_NOTEBOOK_STEPS: a test of the notebooks trains a few steps."""
    return int(os.environ.get("MRCNN_NOTEBOOK_STEPS", wanted))


def dataset(sample, subset):
    """The images of the generated set for "train" or "val", a prepared `Dataset`."""
    return coco.load_dataset(coco.parse_arguments(["train"], sample), subset)


def weights(sample):
    """Path of the sample's weights on its generated set. Where they are missing they are trained first.

    Raises:
        KeyboardInterrupt: Ctrl-C or Jupyter's stop button; nothing is kept.
        RuntimeError: the training failed; it has said why.
    """
    config = sample.generated_config()
    config.STEPS_PER_EPOCH = steps(config.STEPS_PER_EPOCH)
    settings = json.dumps([config.to_dict(), sample.generated_epochs])
    path = FOLDER / f"{config.NAME}-{hashlib.sha1(settings.encode()).hexdigest()[:8]}.h5"
    if not path.exists():
        print(f"Training the weights of {config.NAME} for all notebooks, once, for a few minutes.")
        FOLDER.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FOLDER, prefix=".") as logs:
            code = coco.main(["train", "--logs", logs, "--steps", str(config.STEPS_PER_EPOCH)], sample)
            if code == 130:
                raise KeyboardInterrupt
            if code:
                raise RuntimeError(f"The training of {config.NAME} failed.")
            os.replace(find_last(logs, config.NAME), path)  # in one step, so what is there is whole
    return str(path)


def model(sample, **settings):
    """A `MaskRCNN` that detects, with `weights`; `settings` are changes of its config."""
    model = MaskRCNN("inference", sample.generated_config().update(**settings), model_dir="../logs")
    model.load_weights(weights(sample))
    return model
