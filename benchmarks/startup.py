"""Seconds until a model is there: importing Keras, importing this package, building ResNet-101 to detect, loading
weights, the first detection and the second.

    python benchmarks/startup.py

Every repetition is a process of its own; medians are given.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mrcnn.cli import program

program.begin(__name__)

import json
import os
import statistics
import subprocess

from mrcnn.cli import arguments

PROGRAM = """
import time
marks = [("start", time.perf_counter())]
def mark(name): marks.append((name, time.perf_counter()))
import keras
mark("import keras")
import mrcnn.model
mark("import mrcnn.model")
import tempfile
import numpy as np
from mrcnn.config import Config
class CocoConfig(Config):
    NUM_CLASSES = 81
    IMAGE_RESIZE_MODE = "rect"
    IMAGES_PER_GPU = 1
    DETECTION_MIN_CONFIDENCE = 0.0
model = mrcnn.model.MaskRCNN("inference", CocoConfig(), tempfile.mkdtemp())
mark("build resnet101")
path = tempfile.mkdtemp() + "/weights.h5"
model.save_weights(path)
mark("save weights")
import contextlib, io
with contextlib.redirect_stdout(io.StringIO()):
    model.load_weights(path)
mark("load weights")
image = np.zeros((427, 640, 3), "uint8")
model.detect([image])
mark("first detection")
model.detect([image])
mark("second detection")
import json
print(json.dumps([(name, b - a) for (_, a), (name, b) in zip(marks, marks[1:])]))
"""


def main():
    """Print a line for every step."""
    parser = arguments.Parser(description=__doc__)
    parser.add_argument("--repeats", type=arguments.whole(1), default=5)
    args = parser.parse_args()
    runs = []
    for _ in range(args.repeats):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
        )
        runs.append(dict(json.loads(run.stdout.splitlines()[-1])))
    for name in runs[0]:
        print(f"{name:<20}{statistics.median(run[name] for run in runs):8.2f}")


if __name__ == "__main__":
    sys.exit(program.run("startup.py", main))
