"""A generated set of COCO's size, and what it costs: seconds and MiB of loading, of the check that `train` makes, of
the first batch, and of evaluating the results of 5,000 images; run by data.py.

Objects have polygons of 43 numbers, as COCO's on average; all images show the same.
"""

import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from mrcnn.config import Config
from mrcnn.data.batches import DataGenerator
from mrcnn.data.coco import CocoDataset
from mrcnn.evaluate import coco_metrics, ground_truth

CLASSES, WIDTH, HEIGHT = 80, 640, 480
OBJECTS = 8.6  # in an image
RESULTS = 5000  # images with results
DETECTIONS = 2.3  # for each object
LINKS = 10_000  # names for one file, of which file systems allow only so many


class CocoSizeConfig(Config):
    """The configuration of COCO."""

    NAME = "coco"
    NUM_CLASSES = 1 + CLASSES


def mib():
    """MiB that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def peak():
    """MiB that it held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def write(folder, images, rng):
    """A folder in COCO's format; ids of images and annotations begin at 0."""
    count = round(images * OBJECTS)
    shapes = []  # a choice of objects, as they stand in the file
    for _ in range(2000):
        corners = int(rng.integers(8, 36))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        size = np.exp(rng.uniform(np.log(6), np.log(200), 2))
        x = rng.uniform(0, WIDTH) + size[0] / 2 * np.cos(angles)
        y = rng.uniform(0, HEIGHT) + size[1] / 2 * np.sin(angles)
        points = np.stack([x.clip(0, WIDTH), y.clip(0, HEIGHT)], axis=1).round(2)
        low, extent = points.min(axis=0), np.ptp(points, axis=0) + 0.01
        box = [*low.tolist(), *extent.round(2).tolist()]
        shape = {"segmentation": [points.ravel().tolist()], "area": round(float(extent.prod() * 0.8), 2), "bbox": box}
        shapes.append(json.dumps({**shape, "iscrowd": 0, "category_id": int(rng.integers(1, CLASSES + 1))})[:-1])
    (folder / "annotations").mkdir()
    (folder / "train2017").mkdir()
    for i in range(images):
        path = folder / "train2017" / f"{i}.jpg"
        if i % LINKS:
            path.hardlink_to(folder / "train2017" / f"{i - i % LINKS}.jpg")
        else:
            Image.new("RGB", (WIDTH, HEIGHT)).save(path)
    kinds, places = rng.integers(len(shapes), size=count), np.sort(rng.integers(images, size=count))
    with open(folder / "annotations" / "instances_train2017.json", "w") as file:
        size = f'"height": {HEIGHT}, "width": {WIDTH}}}'
        file.write('{"images": [' + ", ".join(f'{{"id": {i}, "file_name": "{i}.jpg", {size}' for i in range(images)))
        file.write('], "annotations": [')
        file.write(
            ", ".join(
                f'{shapes[kind]}, "id": {i}, "image_id": {place}}}'
                for i, (kind, place) in enumerate(zip(kinds.tolist(), places.tolist(), strict=True))
            )
        )
        categories = [{"id": i, "name": f"class {i}"} for i in range(1, CLASSES + 1)]
        file.write(f'], "categories": {json.dumps(categories)}}}')


def results_of(dataset, rng):
    """Detections in the first images: every object, moved by some pixels, and others of random classes beside it."""
    found = []
    for i in dataset.image_ids[:RESULTS]:
        for annotation in dataset.load_annotations(i):
            code, box = annotation.rle(HEIGHT, WIDTH), np.array(annotation.box)
            for k in range(int(rng.poisson(DETECTIONS))):
                class_id = int(rng.integers(1, CLASSES + 1)) if k else annotation.class_id
                entry = {"image_id": int(i) + 1, "category_id": class_id, "score": float(rng.random())}
                found.append(
                    {**entry, "bbox": (box + rng.normal(0, 3, 4) * (1, 1, 0, 0)).tolist(), "segmentation": code}
                )
    return found


def main(images):
    """Write the set, then print a line for each step."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), images, rng)
        size = Path(folder, "annotations", "instances_train2017.json").stat().st_size
        print(f"{images:,} images, {round(images * OBJECTS):,} annotations, a file of {size / 2**20:.0f} MiB")
        print(f"{'':42}{'seconds':>9}{'MiB':>8}{'at most':>9}")
        start, dataset = mib(), CocoDataset()

        def timed(name, function):
            begin = time.perf_counter()
            value = function()
            print(f"{name:42}{time.perf_counter() - begin:9.2f}{mib() - start:8.0f}{peak() - start:9.0f}", flush=True)
            return value

        def load():
            dataset.load_coco(folder, "train")
            dataset.prepare()

        timed("load", load)
        held = (mib() - start) * 2**20 / round(images * OBJECTS)
        problems = timed("quick check", lambda: dataset.validate(quick=True, verbose=0))
        timed("first batch", lambda: DataGenerator(dataset, CocoSizeConfig())[0])
        results = results_of(dataset, rng)
        ids = [int(i) + 1 for i in dataset.image_ids[:RESULTS]]
        truth = timed(
            f"ground truth of {len(ids):,} images", lambda: ground_truth(dataset, dataset.image_ids[:RESULTS])
        )
        for kind in ("bbox", "segm"):
            metrics = timed(
                f"evaluate {len(results):,} results, {kind}", lambda kind=kind: coco_metrics(truth, results, ids, kind)
            )
        print(f"{held:.0f} bytes an annotation with all else, {len(problems)} problems, AP {metrics['AP']:.3f}")
