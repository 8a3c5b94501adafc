"""What exported files are worth: AP, size and seconds of each format and precision, and speed beside torchvision.

    python benchmarks/export.py accuracy --model logs/.../mask_rcnn_shapes_0030.h5       # of make demo
    python benchmarks/export.py speed --formats openvino --precisions float32 int8 --peer

accuracy: a file of each kind is written and evaluated on the validation images of the generated set. speed: ResNet-50
with random weights that finds --detections objects in a photo of 640 x 427, which the network sees as 704 x 1024;
calls of the model itself, of each file and, with --peer, of torchvision's maskrcnn_resnet50_fpn come in turn, round
after round, and medians are given. Ratios mean more than seconds where other work runs beside.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mrcnn.cli import program

program.begin(__name__)

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "samples"))

import contextlib
import tempfile
import time

import coco
from inference import build, peer, photo, rounds

from mrcnn.cli import arguments
from mrcnn.evaluate import evaluate
from mrcnn.export import Exported
from mrcnn.export.runtime import FORMATS, files_of, format_module
from mrcnn.models.detectors import load_detector

CANVAS = 704, 1024


def kinds(args):
    """(format, precision) of the files to write."""
    return [(x, p) for x in args.formats for p in args.precisions if p in format_module(x).PRECISIONS]


def write(model, folder, kind, images, **size):
    """The exported model of a kind, its differences from the model, and MiB."""
    path = Path(folder) / f"{'-'.join(kind)}{format_module(kind[0]).ENDING}"
    record = model.export(path, *kind, images=images, **size)
    return Exported(path), record["differences"], sum(file.stat().st_size for file in files_of(path)) / 2**20


def accuracy(args):
    """Print a row for the model and each kind of file."""
    words = ["evaluate", *(["--dataset", args.dataset] if args.dataset else [])]
    train_set, val_set = (coco.load_dataset(coco.parse_arguments(words), name) for name in ("train", "val"))
    model = load_detector(args.model, DETECTION_MIN_CONFIDENCE=0.05)
    model.fold_batch_norm()
    calibration = [train_set.load_image(i) for i in train_set.image_ids[: args.calibrate]]
    images = [val_set.load_image(i) for i in val_set.image_ids[: args.limit]]
    model.detect(images[:1])
    print(f"{len(images)} images, batches of {model.config.BATCH_SIZE}; LiteRT one by one")
    print(f"{'':24}{'box AP':>8}{'mask AP':>9}{'MiB':>8}{'s/image':>9}{'ratio':>7}   differences")
    first = None
    with tempfile.TemporaryDirectory() as folder:
        for kind in [None, *kinds(args)]:
            runs, far, size = (model, {}, 0.0) if kind is None else write(model, folder, kind, calibration)
            runs.detect(images[:20])  # compiles for batches of both sizes
            start = time.perf_counter()
            runs.detect(images[:20])
            seconds = (time.perf_counter() - start) / len(images[:20])
            first = first or seconds
            found = evaluate(runs, val_set, limit=args.limit, verbose=0)
            numbers = "".join(f"{found[name]['AP']:>9.4f}" if name in found else " " * 9 for name in ("bbox", "segm"))
            some = ", ".join(f"{name} {value:.2g}" for name, value in far.items())
            title = "detect" if kind is None else " ".join(kind)
            print(f"{title:23}{numbers}{size:>8.1f}{seconds:>9.4f}{seconds / first:>7.2f}   {some}", flush=True)


def speed(args):
    """Print medians of the model, each kind of file and torchvision."""
    case = {"backbone": "resnet50", "mode": "rect", "batch": 1, "precision": "float32", "fold": True}
    model, image = build(case, args.detections), photo(427, 640)
    calibration = [photo(427, 640)[:, ::-1], image, photo(427, 640)[::-1]]
    functions, sizes = {"detect": lambda: model.detect([image])}, {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        for kind in kinds(args):
            options = {"canvas": CANVAS, "image_size": image.shape[:2]}
            runs, _, sizes[" ".join(kind)] = write(model, folder, kind, calibration, **options)
            functions[" ".join(kind)] = lambda runs=runs: runs.detect([image])
        if args.peer:
            version, function = stack.enter_context(peer(args.peer_python, args.detections, 427, 640))
            functions[version] = function
        found = rounds(functions, args.repeats)
    print(f"ResNet-50, {CANVAS[0]}x{CANVAS[1]}, {args.detections} detections, medians of {args.repeats}")
    print(f"{'':28}{'seconds':>9}{'of detect':>11}{'of peer':>9}{'MiB':>8}")
    last = found[version] if args.peer else float("nan")
    for name, seconds in found.items():
        print(
            f"{name:28}{seconds:>9.3f}{seconds / found['detect']:>11.2f}{seconds / last:>9.2f}"
            f"{sizes.get(name, 0):>8.1f}"
        )


def main():
    """Print a table."""
    parser, count = arguments.Parser(description=__doc__), arguments.whole(1)
    parser.add_argument("what", choices=["accuracy", "speed"])
    parser.add_argument("--model", default="last", help="an .h5 file, with its config.json beside it")
    parser.add_argument("--dataset", help="a folder in COCO's format; default: the generated set")
    parser.add_argument("--limit", type=count, default=100, help="images to evaluate")
    parser.add_argument("--calibrate", type=count, default=50, help="images of the training set to calibrate int8 with")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    precisions = ["float32", "float16", "int8"]
    parser.add_argument("--precisions", nargs="+", choices=precisions, default=precisions)
    parser.add_argument("--detections", type=count, default=100, help="objects found in the photo")
    parser.add_argument("--repeats", type=count, default=5)
    parser.add_argument("--peer", action="store_true", help="torchvision's model in the same rounds")
    parser.add_argument("--peer-python", default=sys.executable)
    args = parser.parse_args()
    return accuracy(args) if args.what == "accuracy" else speed(args)


if __name__ == "__main__":
    sys.exit(program.run("export.py", main))
