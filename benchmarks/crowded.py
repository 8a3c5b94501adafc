"""Thousands of objects in one image: seconds and memory of its batch, a training step, a detection and its AP.

    python benchmarks/crowded.py --objects 2000

Discs of 17 pixels in an image of 1024 x 1024, a small network of random weights that says of everything it looks at
that it is an object. AP is that of the objects themselves, a pixel off. Memory is by how much more than before a part
began the process has at most (Linux).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mrcnn.cli import program

program.begin(__name__)

import contextlib
import math
import os
import platform
import time
from datetime import date

import keras
import numpy as np
from resident import forget_peak, memory

from mrcnn import evaluate
from mrcnn.cli import arguments
from mrcnn.config import Config
from mrcnn.data.batches import DataGenerator
from mrcnn.data.dataset import Dataset
from mrcnn.evaluate.coco import ENGINES, check_engine
from mrcnn.evaluate.results import own_results
from mrcnn.model import MaskRCNN
from mrcnn.ops.masks import place_rle

SIDE, RADIUS = 1024, 8


def settings(objects):
    """The config: room for so many objects."""
    return Config().update(
        NAME="crowded",
        NUM_CLASSES=2,
        IMAGES_PER_GPU=1,
        BACKBONE="resnet18",
        BACKBONE_WIDTH=16,
        TOP_DOWN_PYRAMID_SIZE=32,
        RPN_CHANNELS=32,
        MASK_CHANNELS=16,
        FPN_CLASSIF_FC_LAYERS_SIZE=64,
        RPN_ANCHOR_SCALES=(16, 32, 64, 128, 256),
        PRE_NMS_LIMIT=4 * objects,
        POST_NMS_ROIS_TRAINING=objects,
        POST_NMS_ROIS_INFERENCE=objects,
        MAX_GT_INSTANCES=objects,
        DETECTION_MAX_INSTANCES=objects,
        DETECTION_MIN_CONFIDENCE=0,
        DETECTION_NMS_THRESHOLD=1,
    )


class Discs(Dataset):
    """An image of discs on a grid."""

    def __init__(self, objects):
        super().__init__()
        self.add_class("discs", 1, "disc")
        self.add_image("discs", 0, "discs", height=SIDE, width=SIDE)
        columns = math.ceil(math.sqrt(objects))
        pitch = SIDE // columns
        if pitch <= 2 * RADIUS:
            raise ValueError(f"{objects} objects have no room in {SIDE} x {SIDE} pixels.")
        self.corners = [(k // columns * pitch, k % columns * pitch) for k in range(objects)]
        y, x = np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1]
        self.disc = np.hypot(y, x) <= RADIUS
        self.prepare()

    def load_mask(self, image_id):
        masks = np.zeros((len(self.corners), SIDE, SIDE), bool)
        for mask, (y, x) in zip(masks, self.corners, strict=True):
            mask[y : y + len(self.disc), x : x + len(self.disc)] = self.disc
        return np.moveaxis(masks, 0, -1), np.ones(len(masks), "int32")

    def load_image(self, image_id):
        image = np.zeros((SIDE, SIDE, 3), "uint8")
        for y, x in self.corners:
            image[y : y + len(self.disc), x : x + len(self.disc)][self.disc] = 200
        return image

    def found(self):
        """The discs a pixel to the right, in COCO's format."""
        boxes = np.array([(y, x + 1, y + len(self.disc), x + 1 + len(self.disc)) for y, x in self.corners])
        codes = [place_rle(y, x, self.disc, (SIDE, SIDE)) for y, x in boxes[:, :2]]
        scores = np.linspace(1, 0.5, len(boxes))
        return own_results(0, {"rois": boxes, "class_ids": np.ones(len(boxes), int), "scores": scores, "masks": codes})


@contextlib.contextmanager
def measured(name):
    """Print what the lines within took."""
    forget_peak()
    before, start = memory("VmRSS"), time.time()
    yield
    print(f"{name}: {time.time() - start:.1f} s, {memory('VmHWM') - before:.0f} MB", flush=True)


def main():
    """Measure all parts."""
    parser = arguments.Parser(description=__doc__)
    parser.add_argument("--objects", type=arguments.whole(1, 3000), default=2000)
    args = parser.parse_args()
    backend = f"Keras {keras.__version__} on {keras.backend.backend()}"
    print(f"$ python benchmarks/crowded.py --objects {args.objects}")
    print(
        f"{date.today()}, {os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}, {backend}"
    )
    keras.utils.set_random_seed(0)
    config, dataset = settings(args.objects), Discs(args.objects)
    with measured("batch"):
        (batch,) = DataGenerator(dataset, config, shuffle=False)[0]
    print(f"  {np.count_nonzero(batch['input_gt_class_ids'])} objects in it")
    model = MaskRCNN("training", config, "logs")
    model.compile(0.001, 0.9)
    for name in ("first step, compiled", "second step"):
        with measured(name):
            model.keras_model.train_on_batch(batch)
    model = MaskRCNN("inference", config, "logs")
    model.keras_model.get_layer("mrcnn_class_logits").bias.assign([-9.0, 9.0])
    image = dataset.load_image(0)
    for name in ("first detection, compiled", "second detection"):
        with measured(name):
            (found,) = model.detect([image], rle=True)
    print(f"  {len(found['scores'])} found")
    truth, results = evaluate.ground_truth(dataset), dataset.found()
    for engine in ENGINES:
        with contextlib.suppress(ImportError):
            check_engine(engine)
            for kind in ("bbox", "segm"):
                with measured(f"AP of {kind}, {engine}"):
                    numbers = evaluate.coco_metrics(truth, results, [1], kind, None, args.objects, engine=engine)
                print(f"  AP {numbers['AP']:.3f}, recall {numbers['AR100']:.3f}")


if __name__ == "__main__":
    sys.exit(program.run("crowded.py", main))
