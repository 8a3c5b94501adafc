"""The joints of CenterNet beside those of the keypoint head, trained on the generated figures for the same time.

    python benchmarks/poses.py --minutes 7

Both have the light backbone of samples/pose.py, random weights, seed and images; the keypoint head is Mask R-CNN's,
without masks. What is evaluated is the running mean of the weights.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "samples"))

from mrcnn.cli import program

program.begin(__name__)

import coco
import pose
from clock import detector_of, train_for

from mrcnn import evaluate
from mrcnn.cli import arguments
from mrcnn.settings.detectors import practice

SYSTEMS = {"mask_rcnn": {"USE_MASK": False}, "centernet": {}}


def measure(name, args):
    """Metrics of the system, and the steps that it took."""
    words = coco.parse_arguments(["train"], pose.POSE)
    train, val = (coco.load_dataset(words, subset) for subset in ("train", "val"))
    settings = {**practice(name, pose.FiguresConfig().to_dict()), **SYSTEMS[name], "VALIDATION_STEPS": 0}
    config = pose.FiguresConfig().update(**settings)
    config.update(DETECTION_MIN_CONFIDENCE=min(0.05, config.DETECTION_MIN_CONFIDENCE))
    config.update(**arguments.parse_settings(args.config))
    model, clock = train_for(args.minutes, config, train, args.logs, args.seed)
    detector = detector_of(model, config, args.logs)
    detector.save_weights(Path(model.log_dir) / "mean.h5")
    print(f"The weights of the mean are in {model.log_dir}")
    return evaluate.evaluate(detector, val), clock.steps


def main():
    """Print a row for every system."""
    parser = arguments.Parser("poses.py", __doc__)
    parser.add_argument("--systems", type=arguments.names(SYSTEMS), default=list(SYSTEMS), metavar="A,B,...")
    parser.add_argument("--minutes", type=arguments.number(0.01), default=7, help="of training each (default: 7)")
    parser.add_argument("--seed", type=arguments.whole(0, 2**31 - 1), default=0)
    parser.add_run("logs")
    args = parser.parse_args()
    arguments.check_folder(args.logs)
    rows = [(name, *measure(name, args)) for name in args.systems]
    print("\n           keypoint AP   AP50   AP75   box AP  left and right exchanged   steps")
    for name, found, steps in rows:
        points = found["keypoints"]
        numbers = f"{points['AP']:>11.3f}{points['AP50']:>7.3f}{points['AP75']:>7.3f}{found['bbox']['AP']:>9.3f}"
        print(f"{name:11}{numbers}   {points['swapped']:>11.1%} of {points['matched']:<4}{steps:>14}")


if __name__ == "__main__":
    sys.exit(program.run("poses.py", main))
