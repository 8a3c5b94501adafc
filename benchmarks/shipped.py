"""The weights that come with the package: networks small enough to be kept beside the code, and trained well.

    python benchmarks/shipped.py --minutes 30

Four times as many images as the samples generate, and the same 100 held out; figures begin with the weights of the
shapes. Written are weights/shapes and weights/figures: an .h5 file in float16, whose AP is printed, and its config.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "samples"))

from mrcnn.cli import program

program.begin(__name__)

import coco
import figures
import h5py
import shapes
import trained
from clock import detector_of, train_for

from mrcnn import evaluate
from mrcnn.cli import arguments
from mrcnn.models.detectors import load_detector
from mrcnn.ops.files import whole
from mrcnn.settings import CONFIG

SAMPLES = {"shapes": (trained.SHAPES, shapes), "figures": (trained.POSE, figures)}
IMAGES = 4000


def dataset(sample, module, subset):
    """A subset of the large set."""
    folder = module.default_folder()
    folder = module.ensure(folder.with_name(f"{folder.name}-{IMAGES}"), train=IMAGES)
    return coco.load_dataset(coco.parse_arguments(["train", "--dataset", str(folder)], sample), subset)


def halve(source, path):
    """Write an .h5 file with its large arrays as float16; small ones hold variances, which may be beyond its range."""
    with whole(path) as new, h5py.File(source) as old, h5py.File(new, "w") as file:
        file.attrs.update({key: value for key, value in old.attrs.items() if key in ("layer_names", "backend")})

        def visit(name, found):
            if isinstance(found, h5py.Dataset):
                large = found.size > 4096  # packed, fewer values would take more bytes
                values = found[()].astype("float16") if large else found[()]
                file.create_dataset(name, data=values, compression="gzip" if large else None)
            else:
                file.require_group(name).attrs.update(found.attrs)

        old.visititems(visit)


def make(name, args):
    """Train, write, and evaluate what was written."""
    sample, module = SAMPLES[name]
    config = sample.generated_config()
    train = dataset(sample, module, "train")
    start = None if name == "shapes" else file_of("shapes")
    model, clock = train_for(args.minutes, config, train, args.logs, args.seed, start)
    config.update(CLASS_NAMES=train.class_names, DETECTION_MIN_CONFIDENCE=0.7)
    detector = detector_of(model, config, args.logs)
    path = file_of(name)
    path.parent.mkdir(exist_ok=True)
    detector.save_weights(Path(model.log_dir) / path.name)
    halve(Path(model.log_dir) / path.name, path)
    config.to_json(path.parent / CONFIG)
    shipped = load_detector(path, args.logs, DETECTION_MIN_CONFIDENCE=0.05)
    found = evaluate.format_table(evaluate.evaluate(shipped, dataset(sample, module, "val")))
    print(f"{name}: {clock.steps} steps, {path.stat().st_size / 1e6:.2f} MB\n{found}", flush=True)


def file_of(name):
    """Where the weights are written."""
    return ROOT / "weights" / name / f"mask_rcnn_{name}.h5"


def main():
    """Make what is asked for."""
    parser = arguments.Parser("shipped.py", __doc__)
    parser.add_argument("--samples", type=arguments.names(SAMPLES), default=list(SAMPLES), metavar="A,B,...")
    parser.add_argument("--minutes", type=arguments.number(0.01), default=30, help="of training each (default: 30)")
    parser.add_argument("--seed", type=arguments.whole(0, 2**31 - 1), default=0)
    parser.add_run("logs")
    args = parser.parse_args()
    arguments.check_folder(args.logs)
    for name in args.samples:
        make(name, args)


if __name__ == "__main__":
    sys.exit(program.run("shipped.py", main))
