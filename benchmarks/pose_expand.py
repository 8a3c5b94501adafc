"""How often left and right are mixed up on the generated figures, by the size of the keypoint head's RoI.

    python benchmarks/pose_expand.py

Trains samples/pose.py's network from random weights once for every factor of KEYPOINT_ROI_EXPAND (Degawa, Lu, Kimura
2019), from the same seed and for the same number of steps, and evaluates on the held-out figures.
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
import keras
import pose

from mrcnn import evaluate, weights
from mrcnn.cli import arguments
from mrcnn.model import MaskRCNN
from mrcnn.train.schedules import from_scratch


def measure(factor, epochs, logs, seed=0):
    """Metrics of the keypoints after training with this factor."""
    keras.utils.set_random_seed(seed)
    args = coco.parse_arguments(["train"], pose.POSE)
    train, val = coco.load_dataset(args, "train"), coco.load_dataset(args, "val")
    config = pose.FiguresConfig().update(KEYPOINT_ROI_EXPAND=factor, VALIDATION_STEPS=0)
    model = MaskRCNN("training", config, logs)
    schedule = from_scratch(config.LEARNING_RATE, epochs * config.STEPS_PER_EPOCH)
    model.train(train, None, schedule, epochs, "all", augment=True, seed=seed)
    detector = MaskRCNN("inference", config.update(DETECTION_MIN_CONFIDENCE=0.05), logs)
    weights.copy(model.keras_model, detector.keras_model)
    return evaluate.evaluate(detector, val)["keypoints"]


def main():
    """Print a row for every factor."""
    parser = arguments.Parser(description=__doc__)
    parser.add_argument("--factors", type=arguments.number(1), nargs="+", default=[1.0, 1.25, 1.5])
    parser.add_argument("--epochs", type=arguments.whole(1), default=pose.EPOCHS)
    parser.add_argument("--logs", type=arguments.path, default="logs")
    args = parser.parse_args()
    rows = [(factor, measure(factor, args.epochs, args.logs)) for factor in args.factors]
    print("\nfactor     AP   AP50   AP75   left and right exchanged")
    for factor, found in rows:
        numbers = "".join(f"{found[name]:>7.3f}" for name in ("AP", "AP50", "AP75"))
        print(f"{factor:>6g}{numbers}   {found['swapped']:.1%} of {found['matched']}")


if __name__ == "__main__":
    sys.exit(program.run("pose_expand.py", main))
