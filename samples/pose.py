"""Train, evaluate and run Mask R-CNN with keypoints, or CenterNet, on COCO's people or on a set in that format.

A folder holds annotations/person_keypoints_<subset><year>.json and the images in <subset><year>/. Without --dataset a
set of drawn figures with 17 joints is generated and used.

    python samples/pose.py train                                              # the generated set, from scratch
    python samples/pose.py evaluate
    python samples/pose.py detect
    python samples/pose.py train --detector centernet                         # joints without regions

    python samples/pose.py train --dataset path/to/coco --model coco          # from COCO's weights for boxes and masks
    python samples/pose.py evaluate --dataset path/to/coco --limit 500
    python samples/pose.py detect --dataset path/to/coco --image people.jpg --output pose.png
    python samples/pose.py detect --dataset path/to/coco --video people.mp4 --output pose.mp4

The flags are those of coco.py. Other objects with other points (faces, hands) need what is here for a person: a Config
with NUM_KEYPOINTS and KEYPOINT_FLIP_PAIRS, and a set in COCO's format or a Dataset with `load_keypoints`.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mrcnn.cli import program

program.begin(__name__)

import coco
import figures
import shapes

from mrcnn.config import Config
from mrcnn.ops import keypoints


class PoseConfig(Config):
    """For COCO's people, with the design of the paper."""

    NAME = "pose"
    NUM_CLASSES = 1 + 1  # background, person
    NUM_KEYPOINTS = len(keypoints.COCO_NAMES)
    KEYPOINT_NAMES = keypoints.COCO_NAMES
    KEYPOINT_FLIP_PAIRS = keypoints.COCO_FLIP_PAIRS
    KEYPOINT_SKELETON = keypoints.COCO_SKELETON
    KEYPOINT_SIGMAS = keypoints.COCO_SIGMAS


class FiguresConfig(PoseConfig, shapes.ShapesConfig):
    """The light network of the generated shapes with a keypoint head, trained from scratch on a CPU."""

    NAME = "figures"
    STEPS_PER_EPOCH = 125  # one pass over 1000 images
    KEYPOINT_CHANNELS = 64
    RPN_ANCHOR_SCALES = (16, 32, 64, 128, 128)
    RPN_ANCHOR_RATIOS = [0.5, 1]  # people are not wide
    DETECTION_MAX_INSTANCES = 20
    # A third of them can be positive; the keypoint head, which runs on those, is two thirds of a step.
    TRAIN_ROIS_PER_IMAGE = 24


# Passes over the generated set in which it is learnt, in under ten minutes on two cores.
EPOCHS = 8

POSE = coco.Sample("pose.py", __doc__, PoseConfig, figures.ensure, FiguresConfig, EPOCHS, keypoints=True)


def main(argv=None):
    """Run a command; see `mrcnn.cli.program.run` for the exit code."""
    return coco.main(argv, POSE)


if __name__ == "__main__":
    sys.exit(main())
