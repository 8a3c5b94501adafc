"""How many images a second the loader prepares at 1024 pixels with mini masks, beside the time of one training step; or
what a set of COCO's size costs.

    python benchmarks/data.py path/to/coco
    python benchmarks/data.py --generated
    python benchmarks/data.py --generated --images 10000        # a tenth of it
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mrcnn.cli import program

program.begin(__name__)

import os
import statistics
import time

import coco_size
import keras

from mrcnn.cli import arguments
from mrcnn.config import Config
from mrcnn.data.batches import DataGenerator
from mrcnn.data.coco import CocoDataset
from mrcnn.model import MaskRCNN

REPEATS = 7


class BenchmarkConfig(Config):
    """The configuration of COCO with ResNet-50, one image a step."""

    NAME = "benchmark"
    NUM_CLASSES = 1 + 80
    BACKBONE = "resnet50"
    IMAGES_PER_GPU = 1


def median_seconds(function):
    """Median time of `REPEATS` calls, after one that warms up."""
    function(0)
    times = []
    for i in range(1, REPEATS + 1):
        start = time.perf_counter()
        function(i)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def loader(folder):
    """Measure the loader alone, with augmentation, and a step."""
    dataset = CocoDataset()
    dataset.load_coco(folder, "train")
    dataset.prepare()
    config = BenchmarkConfig().update(NUM_CLASSES=dataset.num_classes)
    print(f"Keras {keras.__version__} on {keras.backend.backend()}, {os.cpu_count()} cores, medians of {REPEATS}")
    for augmentation in (None, "flip,scale,colour"):
        generator = DataGenerator(dataset, config, augmentation=augmentation)
        seconds = median_seconds(generator.__getitem__)
        print(f"loader, augmentation {augmentation or 'none'}: {seconds:.3f} s an image, {1 / seconds:.1f} images/s")
    model = MaskRCNN("training", config, "logs")
    model.set_trainable(".*", verbose=0)
    model.compile(config.LEARNING_RATE, config.LEARNING_MOMENTUM)
    (batch,) = DataGenerator(dataset, config)[0]
    step = median_seconds(lambda i: model.keras_model.train_on_batch(batch))
    print(f"training step: {step:.2f} s an image; the loader with augmentation takes {seconds / step:.3f} of that")


def main():
    """One or the other."""
    parser = arguments.Parser(description=__doc__)
    parser.add_argument("dataset", type=arguments.path, nargs="?", help="folder in COCO's format")
    parser.add_argument("--generated", action="store_true", help="a set of COCO's size")
    parser.add_argument(
        "--images", type=arguments.whole(1), default=100_000, help="of the generated set (default: 100000)"
    )
    args = parser.parse_args()
    if args.generated == bool(args.dataset):
        parser.error("give a folder, or --generated.")
    if args.generated:
        coco_size.main(args.images)
    else:
        loader(args.dataset)


if __name__ == "__main__":
    sys.exit(program.run("data.py", main))
