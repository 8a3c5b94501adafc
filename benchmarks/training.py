"""Seconds of a training step with ResNet-50 and COCO's heads: the data, the forward pass, forward and backward.

    python benchmarks/training.py
    python benchmarks/training.py --precision float32 bfloat16

128x128 pixels with 8 images and 512x512 with one, 32 RoIs an image, every layer trained, pictures of generated shapes.
The cases are measured in turn, round after round, and medians are given. Peak memory is that of a process of its own
for each case.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "samples"))

from mrcnn.cli import program

program.begin(__name__)

import argparse
import itertools
import json
import subprocess
import tempfile

import keras
import shapes
from inference import SIDE, matrix_product, processor, rate, resident_peak, rounds

from mrcnn.cli import arguments
from mrcnn.config import Config
from mrcnn.data.batches import DataGenerator
from mrcnn.data.coco import CocoDataset
from mrcnn.model import MaskRCNN


class TrainingConfig(Config):
    """COCO's configuration with fewer RoIs."""

    NAME = "benchmark"
    NUM_CLASSES = 1 + 80
    BACKBONE = "resnet50"
    TRAIN_ROIS_PER_IMAGE = 32


def steps(case):
    """Functions to time, by name."""
    keras.utils.set_random_seed(0)
    side = case["side"]
    config = TrainingConfig().update(
        IMAGES_PER_GPU=case["batch"], IMAGE_MIN_DIM=side, IMAGE_MAX_DIM=side, PRECISION=case["precision"]
    )
    folder = tempfile.mkdtemp()
    shapes.generate(folder, train=16, val=1, size=side)
    dataset = CocoDataset()
    dataset.load_coco(folder, "train")
    while len(dataset.class_info) < config.NUM_CLASSES:
        dataset.add_class("coco", 1000 + len(dataset.class_info), f"class {len(dataset.class_info)}")
    dataset.prepare()
    generator = DataGenerator(dataset, config)
    model = MaskRCNN("training", config, "logs")
    model.set_trainable(".*", verbose=0)
    model.compile(config.LEARNING_RATE, config.LEARNING_MOMENTUM)
    (batch,) = generator[0]
    return {
        "data": lambda: generator[1],
        "forward": lambda: model.keras_model.test_on_batch(batch),
        "step": lambda: model.keras_model.train_on_batch(batch),
    }


def main():
    """Print a row for every case."""
    parser = arguments.Parser(description=__doc__)
    parser.add_argument("--precision", nargs="+", default=["float32"])
    parser.add_argument("--repeats", type=arguments.whole(1), default=7)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory:
        steps(json.loads(args.memory))["step"]()
        print(resident_peak())
        return
    cases = [
        {"side": side, "batch": batch, "precision": name}
        for (side, batch), name in itertools.product([(128, 8), (512, 1)], args.precision)
    ]
    print(f"Keras {keras.__version__} on {keras.backend.backend()}, {os.cpu_count()} CPUs, {processor()}")
    functions = {(i, name): f for i, case in enumerate(cases) for name, f in steps(case).items()}
    found = rounds({"product": matrix_product(), **functions}, args.repeats)
    print(f"product of float32 matrices of {SIDE} x {SIDE}: {rate(found['product']) / 1e9:.0f} GFLOP/s")
    print(f"medians of {args.repeats}, seconds")
    print(f"{'':28}{'data':>9}{'forward':>9}{'backward':>9}{'step':>9}{'MiB':>7}")
    for i, case in enumerate(cases):
        data, forward, step = (found[i, name] for name in ("data", "forward", "step"))
        command = [sys.executable, __file__, "--memory", json.dumps(case)]
        memory = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        name = f"{case['side']}x{case['side']} x{case['batch']} {case['precision']}"
        print(f"{name:28}{data:>9.3f}{forward:>9.3f}{step - forward:>9.3f}{step:>9.3f}{memory:>7}", flush=True)


if __name__ == "__main__":
    sys.exit(program.run("training.py", main))
