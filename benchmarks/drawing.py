"""Milliseconds for a picture of 1024 x 1024 pixels with 20 instances: as an image, for video, and as a figure.

python benchmarks/drawing.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mrcnn.cli import program

program.begin(__name__)

import statistics
import time

import matplotlib
import numpy as np

from mrcnn import visualize

SIDE, COUNT, REPEATS = 1024, 20, 15
NAMES = ["BG", "balloon", "traffic light", "dog"]


def scene(seed=0):
    """An image of noise, and a result as of `detect`: ellipses in boxes with sides of 40 to 500 pixels."""
    rng = np.random.default_rng(seed)
    sides = np.exp(rng.uniform(np.log(40), np.log(500), (COUNT, 2))).astype(int)
    corners = rng.integers(0, SIDE - sides + 1)
    rois = np.concatenate([corners, corners + sides], axis=1).astype("int32")
    places, centres = np.arange(SIDE) + 0.5, corners + sides / 2
    y, x = (((places - centres[:, axis, None]) / (sides[:, axis, None] / 2)) ** 2 for axis in (0, 1))
    masks = np.moveaxis(y[:, :, None] + x[:, None, :] <= 1, 0, -1)  # planes in one piece, as `detect` gives them
    scores = np.sort(rng.uniform(0.7, 1, COUNT))[::-1].astype("float32")
    class_ids = rng.integers(1, len(NAMES), COUNT).astype("int32")
    image = rng.integers(0, 256, (SIDE, SIDE, 3), dtype="uint8")
    return image, {"rois": rois, "masks": masks, "class_ids": class_ids, "scores": scores}


def milliseconds(function):
    """Median of `REPEATS` calls after one, and the fastest."""
    times = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - start))
    return f"{statistics.median(times[1:]):.1f} ms (fastest {min(times[1:]):.1f})"


def main():
    """Print a line for each way of drawing."""
    matplotlib.use("agg")
    image, result = scene()
    boxes = {key: value for key, value in result.items() if key != "masks"}
    arguments = (result[key] for key in ("rois", "masks", "class_ids"))
    arguments = (image, *arguments, NAMES, result["scores"])
    print(f"{COUNT} instances in {SIDE} x {SIDE} pixels, median of {REPEATS}")
    print(f"draw_instances                {milliseconds(lambda: visualize.draw_instances(image, result, NAMES))}")
    print(f"draw_instances without masks  {milliseconds(lambda: visualize.draw_instances(image, boxes, NAMES))}")
    print(f"display_instances             {milliseconds(lambda: visualize.display_instances(*arguments))}")


if __name__ == "__main__":
    sys.exit(program.run("drawing.py", main))
