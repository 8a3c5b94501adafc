"""Train from random weights on eight real images until box and mask AP50 on those eight exceed 0.9.

A detector whose targets, losses or boxes are wrong somewhere cannot do that.

    python benchmarks/overfit.py path/to/coco

The folder is in COCO's format; the images are the first eight of `val` with two to eight objects, none of them a crowd.
"""

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import keras

from mrcnn import evaluate, weights
from mrcnn.coco import CocoDataset
from mrcnn.config import Config
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
    """Evaluates after every epoch and ends training at the bar."""

    def __init__(self, model, dataset):
        super().__init__()
        self.detector, self.dataset = model, dataset
        self.start = time.time()

    def on_epoch_end(self, epoch, logs=None):
        weights.copy(self.model, self.detector.keras_model)
        metrics = evaluate.evaluate(self.detector, self.dataset, verbose=0)
        box, mask = metrics["bbox"]["AP50"], metrics["segm"]["AP50"]
        steps = int(self.model.optimizer.iterations.numpy())
        minutes = (time.time() - self.start) / 60
        print(
            f"\n{steps} steps, {minutes:.1f} minutes: loss {logs['loss']:.3f}, box AP50 {box:.3f}, mask AP50 {mask:.3f}"
        )
        if box > BAR and mask > BAR:
            print(evaluate.format_table(metrics))
            self.model.stop_training = True


def main():
    """Pick the images, train, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="folder in COCO's format")
    parser.add_argument("--logs", default="logs")
    args = parser.parse_args()
    keras.utils.set_random_seed(0)
    dataset = CocoDataset()
    dataset.load_coco(args.dataset, "val")
    dataset.prepare()
    objects = [dataset.coco.imgToAnns[info["id"]] for info in dataset.image_info]
    fit = [i for i, found in enumerate(objects) if 2 <= len(found) <= 8 and not any(a["iscrowd"] for a in found)]
    dataset.image_info = [dataset.image_info[i] for i in fit[:8]]
    dataset.prepare()
    count = sum(len(dataset.coco.imgToAnns[info["id"]]) for info in dataset.image_info)
    print(f"Images {[info['id'] for info in dataset.image_info]} with {count} objects")
    config = OverfitConfig().update(NUM_CLASSES=dataset.num_classes)
    detector = MaskRCNN("inference", config, args.logs)
    MaskRCNN("training", config, args.logs).train(
        dataset, None, config.LEARNING_RATE, 200, "all", custom_callbacks=[Until(detector, dataset)]
    )


if __name__ == "__main__":
    main()
