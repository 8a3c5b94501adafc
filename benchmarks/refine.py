"""What `refine` does to masks: IoU with the annotated mask before and after, by the size of objects.

    python benchmarks/refine.py path/to/coco                             # the validation images
    python benchmarks/refine.py path/to/coco --subset train --tune       # how the defaults of `refine` were chosen
    python benchmarks/refine.py path/to/nuclei --weights logs/nucleus.../mask_rcnn_nucleus_mean.h5

The first two need no network. An annotated mask goes through the network's 28 x 28 cells in its box, either as it is,
which is the best that a network can do, or with an edge that wanders about the true one by a cell (standard deviation).
`refine` gets these probabilities, or the mask that comes of them, which is all that `detect` gives. The third refines
what a network of benchmarks/nuclei.py finds, where its box has an IoU of at least 0.5 with an annotated one.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "samples"))

from mrcnn.cli import program

program.begin(__name__)

import time

import cv2
import nucleus
import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter
from tqdm.auto import tqdm

from mrcnn.cli import arguments
from mrcnn.data.coco import CocoDataset
from mrcnn.model import MaskRCNN
from mrcnn.ops import boxes, masks
from mrcnn.ops.refine import refine

SIDE = 28
SIZES = {"small": 32**2, "medium": 96**2, "large": np.inf}  # COCO's, areas in pixels up to which they go


def objects(dataset, limit):
    """{size: [(image, mask, box)]} of up to `limit` annotated objects of each size, at random but always alike."""
    found = {size: [] for size in SIZES}
    for image_id in tqdm(dataset.image_ids, desc="reading"):
        image, (mask, class_ids) = dataset.load_image(image_id), dataset.load_mask(image_id)
        rois = masks.extract_bboxes(mask)
        for i in np.flatnonzero((class_ids > 0) & rois.any(axis=1)):  # crowds are negative
            found[size_of(mask[..., i])].append((image, mask[..., i].copy(), rois[i]))
    rng = np.random.default_rng(0)
    return {size: [items[i] for i in rng.permutation(len(items))[:limit]] for size, items in found.items()}


def size_of(mask):
    """ "small", "medium" or "large"."""
    return next(size for size, largest in SIZES.items() if mask.sum() < largest)


def degrade(mask, box, wander, rng):
    """Probabilities [28, 28] of a mask in its box whose edge is off by `wander` cells, or exact averages for 0."""
    y1, x1, y2, x2 = box
    cells = cv2.resize(mask[y1:y2, x1:x2].astype("float32"), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    if not wander:
        return cells
    inside = np.pad(cells >= 0.5, 1)
    distance = (distance_transform_edt(inside) - distance_transform_edt(~inside))[1:-1, 1:-1]
    distance -= 0.5 * np.sign(distance)  # from the edge instead of the next cell's centre
    noise = gaussian_filter(rng.normal(size=cells.shape), 3)
    return 1 / (1 + np.exp(-2 * (distance + wander * noise / noise.std())))


def degraded(items, wander, pasted):
    """(image, mask, box, what `refine` gets) of objects."""
    rng = np.random.default_rng(0)
    for image, mask, box in items:
        given = degrade(mask, box, wander, rng)
        yield image, mask, box, crop(masks.unmold_mask(given, box, mask.shape), box) if pasted else given


def crop(mask, box):
    """A mask's part in a box, whose edges `refine` cuts likewise."""
    y1, x1, y2, x2 = (int(edge) for edge in box)
    return mask[y1:y2, x1:x2]


def detected(dataset, weights):
    """{size: [(image, mask, box, detected mask in the box)]} of what a network finds."""
    model = MaskRCNN("inference", nucleus.config_of(weights).update(**nucleus.INFERENCE), "logs")
    model.load_weights(weights, by_name=True)
    found = {size: [] for size in SIZES}
    for image_id in tqdm(dataset.image_ids, desc="detecting"):
        image, (truth, _) = dataset.load_image(image_id), dataset.load_mask(image_id)
        (result,) = model.detect([image])
        overlaps = boxes.overlaps(result["rois"].astype("float32"), masks.extract_bboxes(truth).astype("float32"))
        for i in np.flatnonzero(overlaps.max(axis=1, initial=0) >= 0.5):
            mask, box = truth[..., overlaps[i].argmax()].copy(), result["rois"][i]
            found[size_of(mask)].append((image, mask, box, crop(result["masks"][..., i], box).copy()))
    return found


def iou(a, b):
    """IoU of two masks."""
    return (a & b).sum() / (a | b).sum()


def report(name, kind, size, cases, count, **options):
    """Print a row: IoUs before and after, the share of masks that got better, the median time of a call."""
    before, after, seconds = [], [], []
    for image, mask, box, given in tqdm(cases, total=count, leave=False):
        start = time.perf_counter()
        refined = refine(image, given, box, **options)
        seconds.append(time.perf_counter() - start)
        before.append(iou(masks.unmold_mask(given, box, mask.shape), mask))
        after.append(iou(refined, mask))
    better = np.mean(np.array(after) > before)
    print(
        f"{name:<12}{kind:<15}{size:<8}{count:>6}{np.mean(before):>12.3f}{np.mean(after):>8.3f}{better:>8.0%}"
        f"{1000 * np.median(seconds):>11.1f}",
        flush=True,
    )


def report_degraded(found, **options):
    """Rows for every kind of input and every size."""
    for wander, name in enumerate(("true", "off by one")):
        for pasted, kind in enumerate(("probabilities", "mask")):
            for size, items in found.items():
                report(name, kind, size, degraded(items, wander, pasted), len(items), **options)


def main():
    """Print the table, or one of it for each setting."""
    parser = arguments.Parser(description=__doc__)
    parser.add_argument("dataset", type=arguments.path, help="folder in COCO's format")
    parser.add_argument("--subset", type=arguments.path, default="val")
    parser.add_argument("--limit", type=arguments.whole(1), default=200, help="at most so many objects of each size")
    parser.add_argument("--tune", action="store_true", help="try settings")
    parser.add_argument(
        "--weights", type=arguments.path, metavar="H5", help="of benchmarks/nuclei.py; the data set is the nuclei"
    )
    args = parser.parse_args()
    header = "edge        given          objects     n  IoU before   after  better  ms a mask"
    if args.weights:
        found = detected(nucleus.load_dataset(args.dataset, args.subset), args.weights)
        print(header)
        for size, cases in found.items():
            if cases:
                report("network's", "mask", size, cases, len(cases))
        return
    dataset = CocoDataset()
    dataset.load_coco(args.dataset, args.subset)
    dataset.prepare()
    found = objects(dataset, args.limit)
    settings = [{"certain": c} for c in (0.7, 0.8, 0.9, 0.95, 0.98)] + [{"margin": m} for m in (0.05, 0.5)]
    for options in settings if args.tune else [{}]:
        print("\n".join([*map(str, [options] if options else []), header]))
        report_degraded(found, **options)


if __name__ == "__main__":
    sys.exit(program.run("refine.py", main))
