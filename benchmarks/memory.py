"""Whether memory grows: one image detected, one step trained, one evaluation, one training, again and again.

    python benchmarks/memory.py

Each is called in parts; printed is the least growth from one part to the next, for each call, in bytes of the process
and in Python objects. Allocators take more now and then; a leak takes it in every part. An image is 49 kB; the graph of
a training is some 60,000 objects.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "samples"))

from mrcnn.cli import program

program.begin(__name__)

import contextlib
import gc
import io

import keras
import numpy as np
import shapes
from tqdm import tqdm

from mrcnn.cli import arguments
from mrcnn.data.batches import DataGenerator
from mrcnn.data.coco import CocoDataset
from mrcnn.evaluate import evaluate
from mrcnn.model import MaskRCNN

IMAGES = 8


class MemoryConfig(shapes.ShapesConfig):
    """So small that calls take little time."""

    BACKBONE_WIDTH = 8
    IMAGES_PER_GPU = 1
    STEPS_PER_EPOCH = 2
    VALIDATION_STEPS = 0


def resident():
    """Bytes of memory that this process holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def growth(name, function, calls, parts=4):
    """The least growth from one part to the next, for each call: bytes, objects."""
    seen = []
    with tqdm(total=calls * parts, desc=name, leave=False) as bar, contextlib.redirect_stdout(io.StringIO()):
        for _ in range(parts):
            for i in range(calls):
                function(i)
                bar.update()
            gc.collect()
            seen.append((resident(), len(gc.get_objects())))
    return np.diff(seen, axis=0).min(axis=0) / calls


def main():
    """Measure all four."""
    parser = arguments.Parser("memory.py", __doc__)
    parser.add_run("logs")
    args = parser.parse_args()
    keras.utils.set_random_seed(0)
    dataset = CocoDataset()
    dataset.load_coco(shapes.ensure(), "val")
    dataset.prepare()
    config = MemoryConfig().update(**arguments.parse_settings(args.config))
    detector, model = (MaskRCNN(mode, config, args.logs) for mode in ("inference", "training"))
    images = [dataset.load_image(i) for i in range(IMAGES)]
    generator = DataGenerator(dataset, config, encoders=model.encoders(config))
    model.compile(0.001, 0.9)
    batches = [generator[i][0] for i in range(IMAGES)]
    cases = {
        "detect": (lambda i: detector.detect([images[i % IMAGES]]), 100),
        "train_on_batch": (lambda i: model.keras_model.train_on_batch(batches[i % IMAGES]), 100),
        "evaluate": (lambda i: evaluate(detector, dataset, limit=1, verbose=0), 100),
        "train": (lambda i: model.train(dataset, None, 0.001, model.epoch + 1, "all"), 1),
    }
    print(f"{'':16}{'bytes':>12}{'objects':>10}   for each call")
    for name, (function, calls) in cases.items():
        size, objects = growth(name, function, calls)
        print(f"{name:16}{size:12,.0f}{objects:10,.1f}", flush=True)


if __name__ == "__main__":
    sys.exit(program.run("memory.py", main))
