"""Memory and frames per second of detection in a video of 500 frames of 320 x 240 pixels.

    python benchmarks/video.py

The network is the light one of the generated shapes with random weights, and draws eight objects into each frame. The
resident memory is printed after every hundred frames.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "samples"))

from mrcnn.cli import program

program.begin(__name__)

import resource
import tempfile

import cv2
import numpy as np
from shapes import ShapesConfig

from mrcnn.draw import video
from mrcnn.draw.instances import draw_instances
from mrcnn.model import MaskRCNN

FRAMES = 500


def resident():
    """MiB that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main():
    """Write a video, detect in it, report."""
    folder = Path(tempfile.mkdtemp())
    writer = cv2.VideoWriter(str(folder / "in.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, (320, 240))
    y, x = np.mgrid[:240, :320]
    for i in range(FRAMES):
        wave = np.sin((x + 3 * i) / 20) + np.cos((y - i) / 15)
        writer.write(np.repeat((60 * wave + 127).clip(0, 255).astype("uint8")[..., None], 3, axis=2))
    writer.release()
    config = ShapesConfig().update(
        IMAGES_PER_GPU=1, DETECTION_MIN_CONFIDENCE=0.0, DETECTION_MAX_INSTANCES=8, IMAGE_RESIZE_MODE="rect"
    )
    model = MaskRCNN("inference", config, folder)
    model.keras_model.get_layer("mrcnn_class_logits").bias.assign([-9.0, *[0.0] * (config.NUM_CLASSES - 1)])
    names, marks = ["BG", *map(str, range(1, config.NUM_CLASSES))], []

    def draw(frame):
        (result,) = model.detect([frame])
        marks.append(resident())
        return draw_instances(frame, result, names)

    count, rate = video.convert(folder / "in.mp4", folder / "out.mp4", draw, verbose=0)
    print(f"{count} frames, {rate:.1f} a second")
    for i in (1, *range(100, FRAMES + 1, 100)):
        print(f"frame {i:>4}: {marks[i - 1]:7.0f} MiB")


if __name__ == "__main__":
    sys.exit(program.run("video.py", main))
