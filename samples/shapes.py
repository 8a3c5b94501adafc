"""A small COCO-format data set of coloured shapes, drawn from a seed on first use; nothing is downloaded.

Classes differ by shape alone. Backgrounds are textured, shapes overlap and are annotated by what is visible of them,
some images hold no object and some a crowd region, as in COCO.

    python samples/shapes.py [folder]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mrcnn.cli import program

program.begin(__name__)

import json
import tempfile

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from skimage.measure import find_contours, label
from tqdm.auto import tqdm

from mrcnn.cli import arguments
from mrcnn.config import Config
from mrcnn.ops.files import cache_folder

# Part of the cache folder's name: raise it with every change that alters images or annotations.
VERSION = 1

# As in COCO, category ids have gaps, so code that takes them for class ids fails here rather than on real data.
CATEGORIES = {1: "disk", 2: "square", 3: "triangle", 5: "star", 8: "cross"}

MIN_VISIBLE = 0.62  # share of an object's full area that is inside the image and not covered
MIN_INSIDE = 0.8  # share of its area that is inside the image
MIN_PIECE = 25  # pixels in every separate piece of a visible object
MAX_IOU = 0.25  # of the boxes of two objects of one class, below the usual threshold of the detector's NMS
SUPERSAMPLING = 4
SIZE = 128  # of images, in pixels
NOISE = 6  # highest standard deviation, of 255
DIAMETERS = (0.16, 0.52)  # of the circles about objects, as shares of the image's side

# Epochs in which a model with `ShapesConfig` learns the set from scratch, in about five minutes on two cores.
EPOCHS = 4


class ShapesConfig(Config):
    """A light network for 128x128 images of five classes, trained from scratch on a CPU."""

    NAME = "shapes"
    NUM_CLASSES = 1 + len(CATEGORIES)
    IMAGES_PER_GPU = 8
    STEPS_PER_EPOCH = 250
    VALIDATION_STEPS = 5

    # Narrow layers: a step takes a fifth of a second.
    BACKBONE = "resnet18"
    BACKBONE_WIDTH = 24
    TOP_DOWN_PYRAMID_SIZE = 48
    RPN_CHANNELS = 48
    MASK_CHANNELS = 32
    FPN_CLASSIF_FC_LAYERS_SIZE = 256

    # Images are small, and so are the objects in them.
    IMAGE_MIN_DIM = 128
    IMAGE_MAX_DIM = 128
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    MINI_MASK_SHAPE = (28, 28)

    # A handful of objects an image needs few anchors, proposals and RoIs.
    MAX_GT_INSTANCES = 20
    RPN_TRAIN_ANCHORS_PER_IMAGE = 128
    PRE_NMS_LIMIT = 1000
    POST_NMS_ROIS_TRAINING = 256
    POST_NMS_ROIS_INFERENCE = 128
    TRAIN_ROIS_PER_IMAGE = 32
    DETECTION_MAX_INSTANCES = 30

    # From random weights BatchNorm learns its statistics, and SGD would need several times the steps.
    TRAIN_BN = True
    OPTIMIZER = "adamw"
    LEARNING_RATE = 0.002


def outline(name, diameter, centre, angle):
    """Vertices [n, 2] (x, y) of a shape within a circle of `diameter` about `centre`, in pixels, turned by `angle`."""
    corners = {"disk": 48, "square": 4, "triangle": 3, "star": 10, "cross": 12}[name]
    turn = np.arange(corners) * 2 * np.pi / corners
    radius = np.ones(corners)
    if name == "star":
        radius[1::2] = 0.45
    elif name == "cross":  # arms 0.36 as wide as the whole: two outer corners and an inner one for each
        half = np.arctan(0.36)
        turn = np.concatenate([[quarter - half, quarter + half, quarter + np.pi / 4] for quarter in turn[::3]])
        radius[2::3] = np.sqrt(2) * np.sin(half)
    return centre + diameter / 2 * radius[:, None] * np.stack([np.cos(turn + angle), np.sin(turn + angle)], axis=1)


def area(vertices):
    """Area of a polygon [n, 2] by the shoelace formula."""
    x, y = vertices.T
    return abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2


def coverage(outlines, size):
    """Share 0..1 of every pixel [size, size] that polygons [n, 2] cover."""
    sheet = Image.new("L", (size * SUPERSAMPLING, size * SUPERSAMPLING))
    for vertices in outlines:
        # PIL puts integers at the pixels' centres
        ImageDraw.Draw(sheet).polygon([tuple(v) for v in vertices * SUPERSAMPLING - 0.5], fill=255)
    return np.asarray(sheet.reduce(SUPERSAMPLING), "float32") / 255


def texture(rng, size, colour, amplitude):
    """A random texture [size, size, 3] about `colour`, along one line of colour space of length `amplitude`."""
    y, x = np.mgrid[:size, :size] / size
    angle = rng.uniform(0, 2 * np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    frequency = rng.uniform(3, 12)
    kind = rng.choice(["gradient", "stripes", "checker", "noise", "blobs"])
    if kind == "gradient":
        field = along - along.mean()
    elif kind == "stripes":
        field = np.clip(rng.uniform(0.5, 3) * np.sin(2 * np.pi * frequency * along), -0.5, 0.5)
    elif kind == "checker":
        waves = np.sin(2 * np.pi * frequency * along) * np.sin(2 * np.pi * frequency * across)
        field = np.clip(4 * waves, -0.5, 0.5)
    else:
        grid = Image.fromarray(rng.normal(0, 0.3, (int(frequency) + 2,) * 2).astype("float32"))
        field = np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC))
        field = np.clip(field * (8 if kind == "blobs" else 1), -0.5, 0.5)
    direction = rng.normal(size=3)
    return colour + amplitude * field[..., None] * direction / np.linalg.norm(direction)


def contrasting_colour(rng, pixels, distance=100):
    """A random colour that is at least `distance` from nearly all of `pixels` [n, 3], or the best of a few dozen."""
    colours = rng.uniform(20, 235, (48, 3))
    gaps = np.linalg.norm(colours[:, None] - pixels, axis=-1)
    gaps = np.quantile(gaps, 0.03, axis=1)
    return colours[np.argmax(gaps >= distance) if gaps.max() >= distance else np.argmax(gaps)]


def box(mask):
    """(x1, y1, x2, y2) around a mask [h, w] that is not empty; x2 and y2 lie outside."""
    ys, xs = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    return xs[0], ys[0], xs[-1] + 1, ys[-1] + 1


def box_iou(a, b):
    """IoU of two boxes (x1, y1, x2, y2)."""
    sides = np.maximum(0, np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]))
    total = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return sides.prod() / (total - sides.prod())


def clean(mask):
    """Whether a mask [h, w] is made of solid pieces: no slivers, and no holes, which COCO's polygons cannot express."""
    pieces = np.bincount(label(mask, connectivity=1).ravel())[1:]
    return pieces.min(initial=MIN_PIECE) >= MIN_PIECE and label(~np.pad(mask, 1), connectivity=2).max() == 1


def place(rng, size, crowd, diameters=DIAMETERS):
    """A random object: category id, outlines and whether it is a crowd, a cluster of tiny shapes."""
    category = int(rng.choice(list(CATEGORIES)))
    diameter = rng.uniform(9, 12) if crowd else rng.uniform(*diameters) * size
    centres = rng.uniform(0.25, 0.75, (1, 2)) * size if crowd else rng.uniform(0.08, 0.92, (1, 2)) * size
    if crowd:
        rows, columns = rng.integers(3, 6, 2)
        grid = np.stack(np.mgrid[:rows, :columns], axis=-1).reshape(-1, 2) - [(rows - 1) / 2, (columns - 1) / 2]
        centres = centres + diameter * (1.1 * grid + rng.uniform(-0.15, 0.15, grid.shape))
    outlines = [outline(CATEGORIES[category], diameter, c, rng.uniform(0, 2 * np.pi)) for c in centres]
    return {"category": category, "outlines": outlines, "crowd": crowd}


def covered(objects, new):
    """The visible parts [size, size] of `objects` once `new` lies on top, or None if one loses too much."""
    parts = []
    for old in objects:
        part = np.minimum(old["visible"], 1 - new["visible"])
        mask = part > 0.5
        touched = not np.array_equal(mask, old["visible"] > 0.5)
        if touched and (mask.sum() < MIN_VISIBLE * old["area"] or not (old["crowd"] or clean(mask))):
            return None
        parts.append(part)
    return parts


def scene(rng, size=SIZE, count=None, diameters=DIAMETERS, noise=NOISE):
    """Draw one image.

    Args:
        size: side in pixels.
        count: objects to place, where there is room; None for the 1 to 5 of the generated set, with its empty images
            and crowds.
        diameters: (least, most) of objects, as shares of `size`.
        noise: the most standard deviation of the pixels' noise.

    Returns:
        image [size, size, 3] uint8, and its objects from bottom to top: dicts with `category` (id), `outlines` (list of
        [n, 2] vertices, whole, also where hidden), `area` (of the outlines), `visible` ([size, size] share of each
        pixel, 0..1) and `crowd`.
    """
    canvas = texture(rng, size, rng.uniform(40, 215, 3), rng.uniform(15, 70))
    empty, crowd = rng.random() < 0.08, rng.random() < 0.06
    wanted = [] if empty else [True] * crowd + [False] * int(rng.integers(1, 6))
    wanted = wanted if count is None else [False] * count
    objects = []
    for is_crowd in wanted:
        for _ in range(30):
            new = place(rng, size, is_crowd, diameters)
            new["area"] = sum(area(vertices) for vertices in new["outlines"])
            new["visible"] = coverage(new["outlines"], size)
            mask = new["visible"] > 0.5
            if mask.sum() < MIN_INSIDE * new["area"]:
                continue
            new["box"] = np.array(box(mask))
            rivals = [old for old in objects if old["category"] == new["category"]]
            if any(box_iou(old["box"], new["box"]) > MAX_IOU for old in rivals):
                continue
            parts = covered(objects, new)
            if parts is None:
                continue
            for old, part in zip(objects, parts, strict=True):
                old["visible"] = part
            x1, y1, x2, y2 = new["box"]
            colour = contrasting_colour(rng, canvas[y1:y2:2, x1:x2:2].reshape(-1, 3))
            paint = texture(rng, size, colour, rng.choice([0, rng.uniform(15, 45)]))
            canvas = canvas + new["visible"][..., None] * (paint - canvas)
            objects.append(new)
            break
    canvas = canvas + rng.normal(0, rng.uniform(0, noise), canvas.shape)
    image = Image.fromarray(np.clip(canvas, 0, 255).astype("uint8"))
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.6)))
    return np.asarray(image), objects


def polygons(visible):
    """COCO polygons [[x1, y1, x2, y2, ...], ...] in pixels around the parts of [h, w] shares that are above one half.

    Every crossing of the pixel grid is kept, to three decimals: pycocotools then gives back exactly those pixels.
    """
    contours = [c[:-1, ::-1] - 0.5 for c in find_contours(np.pad(visible, 1), 0.5)]  # pixel centres lie at .5
    return [c.round(3).ravel().tolist() for c in contours]


def rle(mask):
    """COCO's uncompressed run lengths of a mask [h, w], column by column and starting with the zeros."""
    flat = np.concatenate([[False], mask.T.ravel()])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    return {"counts": np.diff(np.concatenate([[0], ends, [mask.size]])).tolist(), "size": list(mask.shape)}


def annotate(thing):
    """COCO's fields that describe the visible part of an object of `scene`."""
    mask = thing["visible"] > 0.5
    segmentation = rle(mask) if thing["crowd"] else polygons(thing["visible"])
    if thing["crowd"]:
        x1, y1, x2, y2 = (float(v) for v in box(mask))
    else:
        points = np.concatenate(segmentation).reshape(-1, 2)
        (x1, y1), (x2, y2) = points.min(0), points.max(0)
    return {
        "category_id": thing["category"],
        "segmentation": segmentation,
        "area": int(mask.sum()),
        "bbox": [round(float(v), 2) for v in (x1, y1, x2 - x1, y2 - y1)],
        "iscrowd": int(thing["crowd"]),
    }


def generate(folder, train=1000, val=100, size=SIZE, seed=0):
    """Write the set to `folder` in COCO's layout: {train,val}2017/*.jpg, annotations/instances_{train,val}2017.json.

    The same arguments give the same bytes; image i depends neither on the number of images nor on those before it.

    Args:
        folder: made if missing.
        train, val: number of images.
        size: side of the images in pixels.
        seed: of all randomness.

    Returns:
        `folder` as a Path.
    """
    folder = Path(folder)
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    with tqdm(total=train + val, desc="Drawing shapes", unit="image") as progress:
        for split, (subset, count) in enumerate([("train", train), ("val", val)]):
            (folder / f"{subset}2017").mkdir(exist_ok=True)
            images, annotations = [], []
            for i in range(count):
                pixels, objects = scene(np.random.default_rng([seed, split, i]), size)
                image_id = split * 100_000 + i + 1
                name = f"{image_id:012d}.jpg"
                Image.fromarray(pixels).save(folder / f"{subset}2017" / name, quality=95, subsampling=0)
                images.append({"id": image_id, "file_name": name, "height": size, "width": size, "license": 1})
                for thing in objects:
                    ids = {"id": split * 1_000_000 + len(annotations) + 1, "image_id": image_id}
                    annotations.append(ids | annotate(thing))
                progress.update()
            content = {
                "info": {"description": f"mrcnn shapes, seed {seed}", "version": str(VERSION), "year": 2017},
                "licenses": [{"id": 1, "name": "CC0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}],
                "categories": [{"id": i, "name": n, "supercategory": "shape"} for i, n in CATEGORIES.items()],
                "images": images,
                "annotations": annotations,
            }
            (folder / "annotations" / f"instances_{subset}2017.json").write_text(json.dumps(content))
    return folder


def cache(name):
    """Where the set `name` lives: $MRCNN_CACHE, else ~/.cache/mrcnn, then a folder of that name."""
    return cache_folder() / name


def default_folder():
    """Where the set lives: in `cache`, in a folder named with the generator's version."""
    return cache(f"shapes-v{VERSION}")


def ensure(folder=None, **options):
    """Generate the set unless it is there already (`make_once`); `options` are those of `generate`."""
    return make_once(folder or default_folder(), generate, "instances_val2017.json", "shapes", **options)


def make_once(folder, generate, last, name, **options):
    """Call `generate(folder, **options)` unless the file that it writes last, annotations/`last`, is there already.

    It is drawn beside `folder` and moved there in one step when complete, so nothing half-made is ever found under that
    name, and of two processes at once the slower one takes the set of the faster.

    Returns:
        the folder as a Path.

    Raises:
        FileExistsError: `folder` holds something else.
    """
    folder = Path(folder).expanduser()
    complete = folder / "annotations" / last
    if complete.exists():
        return folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists but holds no {name} data set; name another folder or remove it.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        made = generate(Path(temporary) / "made", **options)
        try:
            if folder.exists():
                folder.rmdir()
            made.rename(folder)
        except OSError:
            if not complete.exists():
                raise
    return folder


def main(argv=None, name="shapes", ensure=ensure, default_folder=default_folder):
    """Draw a generated set, this one or another; see `mrcnn.cli.program.run` for the exit code."""
    parser = arguments.Parser(f"{name}.py", f"Draw the {name} data set where it is not there yet.")
    parser.add_argument("folder", type=arguments.path, nargs="?", help=f"where to put it (default: {default_folder()})")
    return program.run(f"{name}.py", lambda: print(f"The data set is in {ensure(parser.parse_args(argv).folder)}"))


if __name__ == "__main__":
    sys.exit(main())
