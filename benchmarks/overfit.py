"""Train from random weights on eight real images until box and mask AP50 on those eight exceed 0.9.

A detector whose targets, losses or boxes are wrong somewhere cannot do that.

    python benchmarks/overfit.py path/to/coco

The folder is in COCO's format; the images are the first eight of `val` with two to eight objects, none of them a crowd.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mrcnn.cli import program

program.begin(__name__)

import time

import keras

from mrcnn import evaluate, weights
from mrcnn.cli import arguments
from mrcnn.config import Config
from mrcnn.data.coco import CocoDataset
from mrcnn.evaluate.tables import KINDS
from mrcnn.model import MaskRCNN

BAR = 0.9


class OverfitConfig(Config):
    """A light network, images of 256 pixels, all eight in two batches."""

    NAME = "overfit"
    NUM_CLASSES = 1 + 80
    IMAGES_PER_GPU = 4
    STEPS_PER_EPOCH = 50
    VALIDATION_STEPS = 0
    BACKBONE = "resnet18"
    BACKBONE_WIDTH = 32
    TOP_DOWN_PYRAMID_SIZE = 64
    RPN_CHANNELS = 64
    MASK_CHANNELS = 64
    FPN_CLASSIF_FC_LAYERS_SIZE = 256
    IMAGE_MIN_DIM = 256
    IMAGE_MAX_DIM = 256
    RPN_ANCHOR_SCALES = (16, 32, 64, 128, 256)
    PRE_NMS_LIMIT = 2000
    POST_NMS_ROIS_TRAINING = 300
    POST_NMS_ROIS_INFERENCE = 200
    TRAIN_ROIS_PER_IMAGE = 64
    MAX_GT_INSTANCES = 20
    DETECTION_MIN_CONFIDENCE = 0.05
    TRAIN_BN = True
    OPTIMIZER = "adamw"
    LEARNING_RATE = 0.001


class Until(keras.callbacks.Callback):
    """Evaluates after every epoch and ends training when AP50 of every kind ("bbox" ...) is above the bar."""

    def __init__(self, model, dataset, kinds):
        super().__init__()
        self.detector, self.dataset, self.kinds = model, dataset, kinds
        self.start = time.time()

    def on_epoch_end(self, epoch, logs=None):
        weights.copy(self.model, self.detector.keras_model)
        metrics = evaluate.evaluate(self.detector, self.dataset, verbose=0)
        found = [metrics[kind]["AP50"] for kind in self.kinds]
        steps = int(self.model.optimizer.iterations.numpy())
        minutes = (time.time() - self.start) / 60
        line = ", ".join(
            f"{name} AP50 {metrics[kind]['AP50']:.3f}" for name, kind in KINDS.items() if kind in self.kinds
        )
        print(f"\n{steps} steps, {minutes:.1f} minutes: loss {logs['loss']:.3f}, {line}")
        if min(found) > BAR:
            print(evaluate.format_table(metrics))
            self.model.stop_training = True


def take(dataset, image_ids):
    """Leave only these images in a data set."""
    dataset.image_info = [dataset.image_info[i] for i in image_ids]
    dataset.prepare()
    count = sum(len(info["annotations"]) for info in dataset.image_info)
    print(f"Images {[info['id'] for info in dataset.image_info]} with {count} objects")


def overfit(config, dataset, kinds, logs):
    """Train on a data set from random weights until it is known by heart."""
    detector = MaskRCNN("inference", config, logs)
    MaskRCNN("training", config, logs).train(
        dataset, None, config.LEARNING_RATE, 200, "all", custom_callbacks=[Until(detector, dataset, kinds)]
    )


def load(description, **options):
    """The arguments of the command line, and `val` of the folder that they name; options are those of `load_coco`."""
    parser = arguments.Parser(description=description)
    parser.add_argument("dataset", type=arguments.path, help="folder in COCO's format")
    parser.add_argument("--logs", type=arguments.path, default="logs")
    args = parser.parse_args()
    keras.utils.set_random_seed(0)
    dataset = CocoDataset()
    dataset.load_coco(args.dataset, "val", **options)
    dataset.prepare()
    return args, dataset


def main():
    """Pick the images, train, report."""
    args, dataset = load(__doc__)
    objects = [info["annotations"] for info in dataset.image_info]
    fit = [i for i, found in enumerate(objects) if 2 <= len(found) <= 8 and not any(a["iscrowd"] for a in found)]
    take(dataset, fit[:8])
    overfit(OverfitConfig().update(NUM_CLASSES=dataset.num_classes), dataset, ("bbox", "segm"), args.logs)


if __name__ == "__main__":
    sys.exit(program.run("overfit.py", main))
