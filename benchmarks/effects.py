"""What the faster ways to detect change in the detections of a trained model: rect images, folding, lower precision.

    python benchmarks/effects.py path/to/nuclei --weights logs/.../mask_rcnn_nucleus_mean.h5

The folder and the weights are those of samples/nucleus.py. Every way is compared with square images in float32: AP on
the held-out images, and of the detections above a score of 0.5 how many are lost and new (no detection of the other has
an IoU of 0.5 with them), the mean IoU and the mean difference in score of the others, and seconds an image.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "samples"))

from mrcnn.cli import program

program.begin(__name__)

import json
import tempfile
import time

import keras
import numpy as np
from nucleus import MAX_DETECTIONS, config_of, load_dataset
from pycocotools import mask as coco_mask

from mrcnn import evaluate
from mrcnn.cli import arguments
from mrcnn.model import MaskRCNN

BASE = {
    "IMAGES_PER_GPU": 1,
    "IMAGE_RESIZE_MODE": "square",
    "IMAGE_MAX_DIM": 1408,
    "DETECTION_MIN_CONFIDENCE": 0.05,
}
# name -> settings, and whether BatchNorm is folded
WAYS = {
    "square": ({}, False),
    "rect": ({"IMAGE_RESIZE_MODE": "rect"}, False),
    "rect, folded": ({"IMAGE_RESIZE_MODE": "rect"}, True),
    "rect, bfloat16": ({"IMAGE_RESIZE_MODE": "rect", "PRECISION": "bfloat16"}, False),
    "rect, bfloat16, folded": ({"IMAGE_RESIZE_MODE": "rect", "PRECISION": "bfloat16"}, True),
    "rect, float16": ({"IMAGE_RESIZE_MODE": "rect", "PRECISION": "float16"}, False),
}


def compare(base, other):
    """(IoUs, score differences, lost, new) of the sure detections of two result files."""
    ious, scores, lost, new = [], [], 0, 0
    for image_id in {r["image_id"] for r in base + other}:
        a, b = ([r for r in results if r["image_id"] == image_id and r["score"] >= 0.5] for results in (base, other))
        table = np.zeros((len(a), len(b)))
        if a and b:
            table = coco_mask.iou([r["bbox"] for r in a], [r["bbox"] for r in b], [0] * len(b))
        before = len(ious)
        while table.size and table.max() >= 0.5:
            i, j = np.unravel_index(table.argmax(), table.shape)
            ious.append(table[i, j])
            scores.append(abs(a[i]["score"] - b[j]["score"]))
            table[i], table[:, j] = -1, -1
        matched = len(ious) - before
        lost, new = lost + len(a) - matched, new + len(b) - matched
    return np.mean(ious), np.mean(scores), lost, new


def main():
    """Print a row for every way."""
    parser = arguments.Parser(description=__doc__)
    parser.add_argument("dataset", type=arguments.path, help="folder of samples/nucleus.py")
    parser.add_argument("--weights", type=arguments.path, required=True)
    parser.add_argument("--limit", type=arguments.whole(1), help="only so many images")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    args = parser.parse_args()
    dataset = load_dataset(args.dataset, "val")
    if args.limit:
        dataset.image_info = dataset.image_info[: args.limit]
        dataset.prepare()
    print(f"{len(dataset.image_ids)} images, Keras {keras.__version__} on {keras.backend.backend()}")
    print(f"{'':24} box AP   AP50 mask AP   AP50   IoU   score  lost   new  s/image")
    base = None
    for name in args.ways:
        settings, fold = WAYS[name]
        model = MaskRCNN("inference", config_of(args.weights).update(**{**BASE, **settings}), "logs")
        model.load_weights(args.weights)
        if fold:
            model.fold_batch_norm()
        path = Path(tempfile.mkdtemp()) / "results.json"
        start = time.perf_counter()
        found = evaluate.evaluate(model, dataset, results_path=path, max_detections=MAX_DETECTIONS, verbose=0)
        seconds = (time.perf_counter() - start) / len(dataset.image_ids)
        results = json.loads(path.read_text())
        base = base or results
        iou, score, lost, new = compare(base, results)
        box, mask = found["bbox"], found["segm"]
        print(
            f"{name:24}{box['AP']:>7.4f}{box['AP50']:>7.4f}{mask['AP']:>8.4f}{mask['AP50']:>7.4f}{iou:>7.4f}"
            f"{score:>7.4f}{lost:>6}{new:>6}{seconds:>9.2f}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(program.run("effects.py", main))
