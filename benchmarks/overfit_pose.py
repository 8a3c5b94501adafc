"""Train from random weights on six real images of people until keypoint AP50 on those six exceeds 0.9.

    python benchmarks/overfit_pose.py path/to/coco

The folder is in COCO's format, with annotations/person_keypoints_val2017.json; the images are the first six of `val`
with one to four people, each with at least five keypoints, and no crowd.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mrcnn.cli import program

program.begin(__name__)

from overfit import OverfitConfig, load, overfit, take

from mrcnn.ops import keypoints


class OverfitPoseConfig(OverfitConfig):
    """The light network of overfit.py with a keypoint head."""

    NAME = "overfit_pose"
    NUM_CLASSES = 1 + 1
    IMAGES_PER_GPU = 3
    NUM_KEYPOINTS = len(keypoints.COCO_NAMES)
    KEYPOINT_FLIP_PAIRS = keypoints.COCO_FLIP_PAIRS
    KEYPOINT_SIGMAS = keypoints.COCO_SIGMAS
    KEYPOINT_CHANNELS = 64


def main():
    """Pick the images, train, report."""
    args, dataset = load(__doc__, keypoints=True)
    fit = []
    for i, info in enumerate(dataset.image_info):
        people = info["annotations"]
        if 1 <= len(people) <= 4 and all(a["num_keypoints"] >= 5 and not a["iscrowd"] for a in people):
            fit.append(i)
    take(dataset, fit[:6])
    overfit(OverfitPoseConfig(), dataset, ("bbox", "keypoints"), args.logs)


if __name__ == "__main__":
    sys.exit(program.run("overfit_pose.py", main))
