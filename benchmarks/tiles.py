"""Detection in tiles on a mosaic of nuclei images beside detection in the single images.

    python benchmarks/tiles.py path/to/nuclei --side 6000
    python benchmarks/tiles.py path/to/nuclei --weights logs/nucleus.../mask_rcnn_nucleus_mean.h5

The held-out images (`annotations/instances_val2018.json`) are laid beside each other on black until the side is full,
each as often as needed, in a TIFF that is read tile by tile. Without --weights the objects themselves, moved, grown or
shrunk by a pixel inside their image or as they are, are what is found in a tile: parts of them at its edges, each with
a score of its own. What is then lost is lost by putting parts together, whatever the network; as AP depends on the
draw, there are several.

Prints AP of masks in the mosaic and in the single images, what went wrong as TIDE counts it, how many objects are not
there or there twice, seconds a megapixel, and by how much memory grows.
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
import platform
import tempfile
import time
from datetime import date

import numpy as np
import tifffile
from nucleus import INFERENCE, MAX_DETECTIONS, config_of, load_dataset
from resident import forget_peak, memory
from scipy import ndimage

from mrcnn import evaluate
from mrcnn.cli import arguments
from mrcnn.data.annotations import Annotation, RunLengths
from mrcnn.data.dataset import Dataset
from mrcnn.data.windows import windows
from mrcnn.evaluate.mistakes import judge
from mrcnn.evaluate.results import own_results
from mrcnn.model import MaskRCNN
from mrcnn.models.tiled import detect_tiled
from mrcnn.ops.masks import decode_rle, encode_rle, extract_bboxes, place_rle, stack_masks
from mrcnn.ops.tiles import tile_windows

# All objects of an image count.
MOST = 10**5

# Of an object, a tile with less than this share of its pixels does not show it.
LEAST = 0.1

# What `known` does to masks, with equal chances; the first are moved.
CHANGES = np.asarray, np.asarray, ndimage.binary_dilation, ndimage.binary_erosion


def layout(dataset, side):
    """[(image id, y, x, height, width)] of images in rows that fill a square."""
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
            places.append((i, y, x, height, width))
            x, row = x + width, max(row, height)
        y += row


class Mosaic(Dataset):
    """The images of a mosaic, with their objects in its pixels.

    Each is an image for itself, as pycocotools would take hours for thousands of objects in one. AP is the same, but
    for what is found over an edge between two of them, which counts where its middle is.
    """

    def __init__(self, dataset, places, side, path):
        super().__init__()
        self.class_info, self.side, self.places, self.boxes = dataset.class_info, side, np.array(places), []
        self.parts, self.first = [], [0]  # masks inside their boxes, of all images one after the other
        pixels = np.zeros((side, side, 3), "uint8")
        for k, (i, y, x, height, width) in enumerate(places):
            pixels[y : y + height, x : x + width] = dataset.load_image(i)
            masks = np.moveaxis(dataset.load_mask(i)[0], -1, 0)
            for mask, (y1, x1, y2, x2) in zip(masks, extract_bboxes(np.moveaxis(masks, 0, -1)), strict=True):
                if y2 > y1:
                    self.parts.append(mask[y1:y2, x1:x2].copy())
                    self.boxes.append((y + y1, x + x1, y + y2, x + x2))
            self.first.append(len(self.parts))
            self.add_image("mosaic", k, str(path), height=side, width=side)
        self.boxes = np.array(self.boxes)
        tifffile.imwrite(path, pixels, tile=(256, 256), compression="zlib", photometric="rgb")
        self.prepare()

    def load_annotations(self, image_id):
        """Objects of one of the images."""
        size, chosen = (self.side, self.side), range(*self.first[image_id : image_id + 2])
        codes = (place_rle(*self.boxes[k, :2], self.parts[k], size)["counts"] for k in chosen)
        return [Annotation(k, 1, 1, RunLengths(size, counts), class_id=1) for k, counts in enumerate(codes, 1)]

    def results(self, found):
        """What was found in the mosaic, in COCO's format, by images."""
        middles, (_, top, left, height, width) = (found["rois"][:, :2] + found["rois"][:, 2:]) / 2, self.places.T
        entries = own_results(0, found)
        for entry, (y, x) in zip(entries, middles, strict=True):
            inside = (top <= y) & (y < top + height) & (left <= x) & (x < left + width)
            entry["image_id"] = 1 + int(inside.argmax())
        return entries

    def known(self, window, seed):
        """What a detector finds in a window that knows the objects, but not to the pixel, as `detect` gives it, with
        the numbers of the objects beside."""
        rng, (y1, x1, y2, x2) = np.random.default_rng(seed), window
        masks, objects = [], np.flatnonzero(((self.boxes[:, :2] < (y2, x2)) & (self.boxes[:, 2:] > (y1, x1))).all(1))
        for k in objects:
            masks.append(np.zeros((y2 - y1, x2 - x1), bool))
            top, left, bottom, right = self.boxes[k]
            a, b, c, d = max(top, y1), max(left, x1), min(bottom, y2), min(right, x2)
            part = self.parts[k][a - top : c - top, b - left : d - left]
            if part.sum() >= LEAST * self.parts[k].sum():
                how, (y, x) = rng.integers(4), rng.integers(0, 3, 2)
                y, x = (1, 1) if how else (y, x)
                _, *corner, height, width = self.places[np.searchsorted(self.first, k, "right") - 1]
                seen = *np.maximum(corner, (y1, x1)), *np.minimum(np.add(corner, (height, width)), (y2, x2))
                mask = np.zeros((seen[2] - seen[0] + 2, seen[3] - seen[1] + 2), bool)
                mask[a - seen[0] + y : c - seen[0] + y, b - seen[1] + x : d - seen[1] + x] = part
                inside = slice(seen[0] - y1, seen[2] - y1), slice(seen[1] - x1, seen[3] - x1)
                masks[-1][inside] = CHANGES[how](mask)[1:-1, 1:-1]
        kept = [n for n, mask in enumerate(masks) if mask.any()]
        stack = stack_masks([masks[n] for n in kept], y2 - y1, x2 - x1)
        return {
            "rois": extract_bboxes(stack),
            "class_ids": np.ones(len(kept), "int32"),
            "scores": rng.uniform(0.5, 1, len(kept)).astype("float32"),
            "masks": [encode_rle(masks[n]) for n in kept],
            "objects": objects[kept],
        }


def report(name, mosaic, truth, results):
    """Print AP and what went wrong; returns AP."""
    image_ids = list(range(1, 1 + len(mosaic.places)))
    numbers = evaluate.coco_metrics(truth, results, image_ids, "segm", max_detections=MOST)
    judged = judge(truth, results, image_ids, "segm", max_detections=MOST)
    wrong = ", ".join(f"{count} {kind}" for kind, count in judged.counts().items())
    print(
        f"{name}: mask AP {numbers['AP']:.4f} AP50 {numbers['AP50']:.4f}; {sum(judged.positives.values())} objects, "
        f"{len(results)} found, {int(judged.correct.sum())} of them right; {wrong}",
        flush=True,
    )
    return numbers["AP"]


def network(args):
    """The model of --weights."""
    config = config_of(args.weights or "none").update(**INFERENCE, DETECTION_MIN_CONFIDENCE=args.confidence)
    model = MaskRCNN("inference", config, "logs")
    if args.weights != "none":
        model.load_weights(args.weights)
    model.detect([np.zeros((args.tile, args.tile, 3), "uint8")])  # compiles
    return model


def singles(model, dataset, mosaic, draw):
    """What is found in each of the images by itself, in the mosaic's pixels."""
    entries, kept = [], {}
    for k, (i, y, x, height, width) in enumerate(map(tuple, mosaic.places.tolist())):
        if model is None:
            found = mosaic.known((y, x, y + height, x + width), (1, draw, k))
        else:
            found = dict(kept.setdefault(i, None) or model.detect([dataset.load_image(i)], rle=True)[0])
            kept[i] = found
        found = {name: values for name, values in found.items() if name != "objects"}
        found["rois"] = found["rois"] + np.array([y, x, y, x], "int32")
        found["masks"] = [place_rle(y, x, decode_rle(code), (mosaic.side,) * 2) for code in found["masks"]]
        entries += own_results(k, found)
    return entries


def compare(args, model, dataset, mosaic, tiff, draw):
    """AP of the mosaic less that of the single images; prints what is behind it."""
    tiles = iter(enumerate(tile_windows(args.side, args.side, args.tile, args.overlap)))

    def known(images):
        number, window = next(tiles)
        return [mosaic.known(window, (0, draw, number))]

    forget_peak()
    before, start = memory("VmRSS"), time.time()
    if model:
        found = model.detect_tiled(tiff, args.tile, args.overlap, verbose=1)
    else:
        found = detect_tiled(known, windows(tiff), args.tile, args.overlap)
    seconds = time.time() - start
    print(
        f"{seconds:.0f} s, {seconds / (args.side**2 / 1e6):.2f} s a megapixel; "
        f"at most {memory('VmHWM') - before:.0f} MB more than before",
        flush=True,
    )
    if not model:
        times = np.bincount(found["objects"], minlength=len(mosaic.parts))
        print(f"Of {len(times)} objects {(times == 0).sum()} are not there, {(times > 1).sum()} more than once.")
    truth = evaluate.ground_truth(mosaic)
    one = report("mosaic", mosaic, truth, mosaic.results(found))
    return one - report("single images", mosaic, truth, singles(model, dataset, mosaic, draw))


def main():
    """Detect in the single images and in the mosaic, compare."""
    parser, path = arguments.Parser(description=__doc__), arguments.path
    parser.add_argument("dataset", type=path, help="folder in COCO's format")
    parser.add_argument("--weights", type=path, help="an .h5 file of benchmarks/nuclei.py, or none; default: the truth")
    parser.add_argument("--side", type=arguments.whole(256, 60000), default=6000, help="of the mosaic, in pixels")
    parser.add_argument("--tile", type=arguments.whole(64, 10**4), default=512)
    parser.add_argument("--overlap", type=arguments.number(0, 0.9), default=0.2)
    parser.add_argument("--confidence", type=arguments.number(0, 1), default=0.05)
    parser.add_argument("--draws", type=arguments.whole(1, 100), default=3, help="of how the truth is seen")
    args = parser.parse_args()
    print(
        f"$ python benchmarks/tiles.py {' '.join(sys.argv[1:])}\n{date.today()}, {os.cpu_count()} CPUs "
        f"({platform.machine()}), Python {platform.python_version()}"
    )
    model = network(args) if args.weights else None
    dataset = load_dataset(args.dataset, "val")
    with tempfile.TemporaryDirectory() as folder:
        tiff = Path(folder, "mosaic.tif")
        mosaic = Mosaic(dataset, layout(dataset, args.side), args.side, tiff)
        tiles = tile_windows(args.side, args.side, args.tile, args.overlap)
        print(
            f"{len(mosaic.places)} images in {args.side} x {args.side}, {len(tiles)} tiles of {args.tile}, "
            + (f"at most {MAX_DETECTIONS} found in each" if model else "the truth, less a pixel, in each")
        )
        differences = [compare(args, model, dataset, mosaic, tiff, draw) for draw in range(1 if model else args.draws)]
    print(
        f"AP of the mosaic less that of the single images: {np.mean(differences):+.4f}"
        + (f", of single draws {min(differences):+.4f} to {max(differences):+.4f}" if len(differences) > 1 else "")
    )


if __name__ == "__main__":
    sys.exit(program.run("tiles.py", main))
