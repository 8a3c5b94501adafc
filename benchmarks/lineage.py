"""Train every detector on the generated set for the same time, evaluate each with COCO's numbers: a table and a plot.

    python benchmarks/lineage.py
    python benchmarks/lineage.py --minutes 10 --systems retinanet,fcos

All have the same light backbone, random weights, seed and images. What is evaluated is the running mean of the weights.
What was measured is kept under --results, a folder a system with its numbers, weights and config: after an interruption
the same command goes on. The report --output has all that is there, with a plot of speed and accuracy beside it.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "samples"))

from mrcnn.cli import program

program.begin(__name__)

import json
import platform
import time
from dataclasses import dataclass, field

import keras
import numpy as np
import shapes
from clock import detector_of, train_for
from flops import flops
from keras import ops

from mrcnn import evaluate
from mrcnn.cli import arguments
from mrcnn.data.clusters import yolo_anchors
from mrcnn.data.coco import CocoDataset
from mrcnn.data.selective_search import selective_search
from mrcnn.draw.plots import plot_speed
from mrcnn.ops.files import whole
from mrcnn.settings import CONFIG
from mrcnn.settings.checks import CELLS
from mrcnn.settings.detectors import practice
from mrcnn.weights.convert import WEIGHTS

TIMED = 20  # images whose detection is timed


@dataclass
class System:
    """A row of the table.

    Attributes:
        detector, settings: its name, and settings on top of its practice.
        new: what is new in it.
        share: of the minutes for steps; R-CNN needs the rest for what comes behind them.
    """

    detector: str
    new: str
    settings: dict = field(default_factory=dict)
    share: float = 1.0


# It computes at the image's own size: with as many channels as the others it would see a fraction of their images. The
# rest is what it learns these classes with: with 0.002, transposed convolutions and heavy borders it finds objects, and
# not which.
UNET = {
    "BACKBONE_WIDTH": 12,
    "LEARNING_RATE": 0.005,
    "UNET_UNPOOL": "nearest",
    "BORDER_WEIGHT": 0,
    "CLASS_BALANCE": 0.5,
}

SYSTEMS = {
    "rcnn": System("rcnn", "a network on the crop of each proposal, SVMs", share=0.4),
    "fast_rcnn": System("fast_rcnn", "one network for all proposals, RoI pooling", {"ROI_ALIGN": "pool"}),
    "fast_rcnn_align": System("fast_rcnn", "the same with RoIAlign"),
    "faster_rcnn": System("faster_rcnn", "proposals by the network itself"),
    "mask_rcnn": System("mask_rcnn", "masks"),
    "cascade_rcnn": System("cascade_rcnn", "box heads in a row, of rising IoU"),
    "ssd": System("ssd", "no proposals: default boxes on six maps, hard negatives"),
    "retinanet": System("retinanet", "focal loss on a pyramid"),
    "yolo_v1": System("yolo_v1", "one map of cells, each with two boxes and one class"),
    "yolo_v2": System("yolo_v2", "anchors clustered from the data, a passthrough map"),
    "yolo_v3": System("yolo_v3", "anchors on three scales, independent classes"),
    "fcos": System("fcos", "no anchors: distances to the sides, centre-ness"),
    "fcn": System("fcn", "a class for every pixel; objects are connected pixels"),
    "unet": System("unet", "up again beside what was on the way down, weights of borders", UNET),
    "cornernet": System("cornernet", "an object is two points: corners that are alike, pooled from afar"),
    "centernet": System("centernet", "an object is a point: peaks of a heatmap, no suppression"),
}
COLUMNS = ("box AP", "AP50", "AP75", "mask AP", "mIoU", "million weights", "GFLOP", "s/image", "minutes", "steps")


def datasets():
    """The generated set: training images, validation images."""
    folder = shapes.ensure()
    found = []
    for subset in ("train", "val"):
        dataset = CocoDataset()
        dataset.load_coco(folder, subset)
        dataset.prepare()
        found.append(dataset)
    return found


def config_of(system, own):
    config = shapes.ShapesConfig()
    settings = practice(system.detector, config.to_dict())
    least = min(0.05, settings.get("DETECTION_MIN_CONFIDENCE", 1))  # COCO's AP counts what is unsure, too
    common = {"VALIDATION_STEPS": 0, "DETECTION_MIN_CONFIDENCE": least}
    return config.update(**settings | common | system.settings | own)


def arithmetic(model, image):
    """Floating point operations of the network for an image."""
    molded, metas, _ = model.mold_inputs([image])
    regions = np.zeros((1, model.config.POST_NMS_ROIS_INFERENCE, 4), "float32")
    inputs = model.inputs(molded, metas.astype("float32"), *[regions] * model.config.takes_proposals)
    with flops() as counted:
        model.keras_model([ops.convert_to_tensor(x) for x in inputs])
    return sum(counted)


def seconds(model, images):
    """The median time of one image, its proposals included."""
    model.detect(images[:1])
    times = []
    for image in images:
        start = time.time()
        given = {"proposals": [selective_search(image)]} if model.config.takes_proposals else {}
        model.detect([image], **given)
        times.append(time.time() - start)
    return float(np.median(times))


def measure(system, folder, args, train, val):
    """Train, evaluate, and keep weights and config in `folder`; the values of the table by column."""
    own = arguments.parse_settings(args.config)
    config = config_of(system, own)
    if config.DETECTOR in CELLS and "YOLO_ANCHORS" not in own:
        own["YOLO_ANCHORS"] = yolo_anchors(train, config)
        config.update(YOLO_ANCHORS=own["YOLO_ANCHORS"])
    start = time.time()
    model, clock = train_for(args.minutes * system.share, config, train, args.logs, args.seed)
    minutes = (time.time() - start) / 60
    detector = detector_of(model, config_of(system, {**own, "IMAGES_PER_GPU": 1}), args.logs)
    detector.save_weights(folder / WEIGHTS)
    detector.config.to_json(folder / CONFIG)
    metrics = evaluate.evaluate(detector, val)
    images = [val.load_image(i) for i in val.image_ids[:TIMED]]
    box, mask, pixels = metrics["bbox"], metrics.get("segm", {}), metrics.get("semantic", {})
    values = [box["AP"], box["AP50"], box["AP75"], mask.get("AP"), pixels.get("mIoU")]
    values += [detector.keras_model.count_params() / 1e6]
    values += [arithmetic(detector, images[0]) / 1e9, seconds(detector, images), minutes, clock.steps]
    return dict(zip(COLUMNS, values, strict=True)) | {"loss": clock.loss(), "run": run_of(args)}


def run_of(args):
    """What results have to have in common to stand in one table."""
    return {"minutes": args.minutes, "seed": args.seed, "config": args.config}


def table(results):
    """The rows of all systems that were measured, in Markdown."""
    lines = ["| system | " + " | ".join(COLUMNS) + " | new |", "|---" * (len(COLUMNS) + 2) + "|"]
    for name, values in results.items():
        cells = [_cell(values.get(column)) for column in COLUMNS]
        lines.append(f"| `{name}` | {' | '.join(cells)} | {SYSTEMS[name].new} |")
    return "\n".join(lines)


def _cell(value):
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def report(results, args, train, val):
    """Write the table of all results, and the plot beside it."""
    plot = args.output.with_suffix(".png")
    values = results.values()
    with whole(plot) as new:
        plot_speed([x["s/image"] for x in values], [x["box AP"] for x in values], list(results), save=new)
    text = f"""# From R-CNN to today, measured

    python benchmarks/lineage.py --minutes {args.minutes:g} --seed {args.seed}

{len(train.image_ids)} training images, {len(val.image_ids)} held out; {machine()}.

{table(results)}

![Box AP over seconds an image]({plot.name})
"""
    with whole(args.output) as new:
        new.write_text(text)
    print(f"\n{text}\nin {args.output}")


def machine():
    """What the numbers depend on beside the code."""
    parts = f"{os.cpu_count()} CPUs", f"Python {platform.python_version()}", f"Keras {keras.__version__}"
    return ", ".join([*parts, f"on {keras.backend.backend()}"])


def main():
    """Measure what is not measured yet, and write the report."""
    parser = arguments.Parser("lineage.py", __doc__)
    parser.add_argument("--systems", type=arguments.names(SYSTEMS), default=list(SYSTEMS), metavar="A,B,...")
    parser.add_argument("--minutes", type=arguments.number(0.01), default=5, help="of training a system (default: 5)")
    parser.add_argument("--seed", type=arguments.whole(0, 2**31 - 1), default=0)
    parser.add_argument("--results", type=arguments.path, default="logs/lineage", metavar="DIR")
    parser.add_argument("--output", type=arguments.path, default=Path(__file__).with_suffix(".md"), metavar="MD")
    parser.add_run("logs")
    args = parser.parse_args()
    args.output = Path(args.output)
    arguments.check_folder(args.logs)
    arguments.check_output(args.output, [".md"])
    train, val = datasets()
    results = {}
    for name, system in SYSTEMS.items():
        folder = Path(args.results, name)
        path = folder / "results.json"
        found = json.loads(path.read_text()) if path.exists() else {}
        if name in args.systems and found.get("run") != run_of(args):
            print(f"\n{name}: {args.minutes:g} minutes", flush=True)
            folder.mkdir(parents=True, exist_ok=True)
            found = measure(system, folder, args, train, val)
            with whole(path) as new:
                new.write_text(json.dumps(found, indent=1))
        if found.get("run") == run_of(args):
            results[name] = found
    report(results, args, train, val)


if __name__ == "__main__":
    sys.exit(program.run("lineage.py", main))
