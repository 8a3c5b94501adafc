"""Detection in tiles on a mosaic of nuclei images beside detection in the single images.

    python benchmarks/tiles.py path/to/nuclei logs/nucleus.../mask_rcnn_nucleus_mean.h5
    python benchmarks/tiles.py path/to/nuclei weights.h5 --side 3000 --tile 512

The held-out images (`annotations/instances_val2018.json`) are laid beside each other on black until the side is full,
each as often as needed. Prints AP of masks in the mosaic and in the single images, how many objects are found twice in
each, as TIDE counts duplicates, and seconds a megapixel. mosaic.tif is written beside the weights and read by tiles.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "samples"))

from mrcnn.cli import program

program.begin(__name__)

import itertools
import resource
import time

import numpy as np
import tifffile
from nucleus import INFERENCE, MAX_DETECTIONS, NucleusConfig, load_dataset

from mrcnn import evaluate
from mrcnn.cli import arguments
from mrcnn.data.annotations import Annotation, RunLengths
from mrcnn.data.dataset import Dataset
from mrcnn.evaluate.mistakes import judge
from mrcnn.evaluate.results import own_results
from mrcnn.model import MaskRCNN
from mrcnn.ops.masks import decode_rle, place_rle

# All objects of the mosaic count.
MOST = 10**5


def layout(dataset, side):
    """[(image id, y, x)] of images in rows that fill a square."""
    places, y = [], 0
    images = itertools.cycle(map(int, dataset.image_ids))
    while True:
        x, row = 0, 0
        while True:
            i = next(images)
            height, width = (dataset.image_info[i][name] for name in ("height", "width"))
            if y + height > side:
                return places
            if x + width > side:
                break
            places.append((i, y, x))
            x, row = x + width, max(row, height)
        y += row


class Mosaic(Dataset):
    """One image of many, with their objects."""

    def __init__(self, dataset, places, side, path):
        super().__init__()
        self.class_info = dataset.class_info
        self.masks, pixels = [], np.zeros((side, side, 3), "uint8")
        for i, y, x in places:
            image = dataset.load_image(i)
            pixels[y : y + image.shape[0], x : x + image.shape[1]] = image
            for annotation in dataset.load_annotations(i):
                mask = annotation.mask(*image.shape[:2])
                self.masks.append((annotation, place_rle(y, x, mask, (side, side))))
        tifffile.imwrite(path, pixels, tile=(256, 256), compression="zlib", photometric="rgb")
        self.add_image("mosaic", 1, str(path), height=side, width=side)
        self.prepare()

    def load_annotations(self, image_id):
        """Objects of all images, in the mosaic's pixels."""
        return [
            Annotation(k, 1, a.category_id, RunLengths(tuple(code["size"]), code["counts"]), class_id=a.class_id)
            for k, (a, code) in enumerate(self.masks, 1)
        ]


def report(name, truth, results, image_ids):
    """Print AP and what is found twice."""
    numbers = evaluate.coco_metrics(truth, results, image_ids, "segm", max_detections=MOST)
    judged = judge(truth, results, image_ids, "segm", max_detections=MOST)
    counts = judged.counts()
    print(
        f"{name}: mask AP {numbers['AP']:.3f} AP50 {numbers['AP50']:.3f}, {sum(judged.positives.values())} objects, "
        f"{len(results)} found, {int(judged.correct.sum())} of them right, {counts['duplicate']} twice",
        flush=True,
    )
    return numbers["AP"]


def main():
    """Detect in the single images and in the mosaic, compare."""
    parser, path = arguments.Parser(description=__doc__), arguments.path
    parser.add_argument("dataset", type=path, help="folder in COCO's format")
    parser.add_argument("weights", type=path, help="an .h5 file of benchmarks/nuclei.py")
    parser.add_argument("--side", type=arguments.whole(256, 60000), default=6000, help="of the mosaic, in pixels")
    parser.add_argument("--tile", type=arguments.whole(64, 10**4), default=512)
    parser.add_argument("--overlap", type=arguments.number(0, 0.9), default=0.2)
    parser.add_argument("--confidence", type=arguments.number(0, 1), default=0.05)
    args = parser.parse_args()
    config = NucleusConfig().update(**INFERENCE, DETECTION_MIN_CONFIDENCE=args.confidence)
    model = MaskRCNN("inference", config, "logs")
    model.load_weights(args.weights)
    dataset = load_dataset(args.dataset, "val")
    places = layout(dataset, args.side)
    mosaic = Mosaic(dataset, places, args.side, Path(args.weights).with_name("mosaic.tif"))
    print(f"{len(places)} images in {args.side} x {args.side}, tiles of {args.tile}, at most {MAX_DETECTIONS} each")
    model.detect([np.zeros((args.tile, args.tile, 3), "uint8")])  # compiles
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.time()
    found = model.detect_tiled(mosaic.image_info[0]["path"], args.tile, args.overlap, verbose=1)
    seconds = time.time() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{seconds:.0f} s, {seconds / (args.side**2 / 1e6):.2f} s a megapixel; {(after - before) / 1024:.0f} MB more")
    singles = {i: model.detect([dataset.load_image(i)], rle=True)[0] for i in sorted({i for i, _, _ in places})}
    truth = evaluate.ground_truth(mosaic)
    one = report("mosaic", truth, own_results(0, found), [1])
    # The same objects, each found in its own image: what differs is the seams alone.
    moved = []
    for i, y, x in places:
        result = dict(singles[i])
        result["rois"] = result["rois"] + np.array([y, x, y, x], "int32")
        result["masks"] = [place_rle(y, x, decode_rle(code), (args.side, args.side)) for code in result["masks"]]
        moved += own_results(0, result)
    two = report("single images", truth, moved, [1])
    print(f"AP of the mosaic less that of single images: {one - two:+.4f}")


if __name__ == "__main__":
    sys.exit(program.run("tiles.py", main))
