"""A small data set of articulated figures in COCO's person_keypoints format, drawn from a seed on first use.

Nothing is downloaded. Figures face the viewer or turn their backs, bend, overlap and leave the picture. What tells
left from right is in the picture, and stays true in a mirror: a face and a tie are seen from the front alone.

    python samples/figures.py [folder]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mrcnn.cli import program

program.begin(__name__)

import json

import numpy as np
import shapes
from bodies import PARTS, SIDES, figure, shrink, toward
from PIL import Image, ImageFilter
from shapes import box, box_iou, cache, contrasting_colour, coverage, make_once, polygons, texture
from skimage.measure import label
from tqdm.auto import tqdm

from mrcnn.ops.keypoints import COCO_NAMES, COCO_SKELETON

# Part of the cache folder's name: raise it with every change that alters images or annotations.
VERSION = 2

MIN_VISIBLE = 0.4  # share of a figure's full area that is inside the image and not covered
MIN_POINTS = 5  # of a figure inside the image
MAX_IOU = 0.4  # of the boxes of two figures
TINT = 55  # grey levels from a figure's shirt and trousers to the limbs in them, which are lighter or darker


def palette(rng, behind):
    """A colour for every slot [2 * LINE, 3] uint8; clothes stand out from the pixels `behind` [n, 3]."""
    # Not too dark and not too light for the tints.
    shirt, trousers = (np.clip(contrasting_colour(rng, behind), TINT + 20, 235 - TINT) for _ in range(2))
    skin = rng.uniform(140, 245, 3)  # of any hue, light enough for dark marks
    colours = {"torso": shirt, "neck": skin * 0.9, "head": contrasting_colour(rng, skin[None]), "face": skin}
    colours |= {"tie": contrasting_colour(rng, shirt[None])}
    colours |= {"eyes": 0.1 * skin, "nose": 0.6 * skin, "mouth": 0.4 * skin, "nothing": 0 * skin}
    shoes = rng.uniform(20, 235, 3)
    sleeve, leg = shirt + rng.choice([-TINT, TINT]), trousers + rng.choice([-TINT, TINT])
    for side in SIDES:
        colours |= {f"{side}_ear": skin, f"{side}_hand": skin, f"{side}_foot": shoes}
        colours |= {f"{side}_upper_arm": sleeve, f"{side}_forearm": sleeve, f"{side}_thigh": leg, f"{side}_shin": leg}
    fills = np.array([colours[part] for part in PARTS])
    return np.concatenate([fills, 0.4 * fills]).clip(0, 255).astype("uint8")


def covered(figures, share):
    """The `visible` and `points` of `figures` under a new thing that covers `share` [size, size] of each pixel.

    None if one of them loses too much.
    """
    changes = []
    for old in figures:
        visible = np.minimum(old["visible"], 1 - share)
        if (visible > 0.5).sum() < MIN_VISIBLE * old["area"]:
            return None
        points = old["points"].copy()
        x, y, v = points.T
        hidden = share[y.round().astype(int), x.round().astype(int)] > 0.5
        v[(v == 2) & hidden] = 1
        changes.append({"visible": visible, "points": points})
    return changes


def obstacle(rng, size):
    """A bar across the image or a box in it: the share [size, size] of each pixel that it covers."""
    half = size * (rng.uniform(0.02, 0.06) if rng.random() < 0.5 else rng.uniform(0.06, 0.16))
    length = 2 * size if half < 0.06 * size else half * rng.uniform(0.7, 1.5)
    angle = rng.choice([0, 90]) + rng.normal(0, 6)
    a, b = length * toward(angle), half * toward(angle + 90)
    centre = size * rng.uniform(0.15, 0.85, 2)
    return coverage([centre + [a + b, a - b, -a - b, b - a]], size)


def scene(rng, size=128):
    """Draw one image.

    Returns:
        image [size, size, 3] uint8, and its figures from bottom to top: dicts with `points` ([17, 3], COCO's keypoints
        as they are in the file), `facing` (whether it shows its face), `area` (pixels, of the whole figure) and
        `visible` ([size, size] share of each pixel, 0..1).
    """
    canvas = texture(rng, size, rng.uniform(40, 215, 3), rng.uniform(15, 70))
    figures = []
    for _ in range(0 if rng.random() < 0.05 else int(rng.integers(1, 4))):
        for _ in range(30):
            new = figure(rng, size)
            if (new["visible"] > 0.5).sum() < MIN_VISIBLE * new["area"] or (new["points"][:, 2] > 0).sum() < MIN_POINTS:
                continue
            changes = covered(figures, new["visible"])
            if changes is None:
                continue
            boxes = [np.array(box(thing["visible"] > 0.5)) for thing in [*changes, new]]
            if any(box_iou(boxes[-1], other) > MAX_IOU for other in boxes[:-1]):
                continue
            for old, change in zip(figures, changes, strict=True):
                old.update(change)
            x1, y1, x2, y2 = boxes[-1]
            colours = palette(rng, canvas[y1:y2:2, x1:x2:2].reshape(-1, 3))
            paint = shrink(colours[new.pop("sheet")], new.pop("corner"), size)
            canvas = (1 - new["visible"][..., None]) * canvas + paint
            figures.append(new)
            break
    if rng.random() < 0.2:
        share = obstacle(rng, size)
        changes = covered(figures, share)
        if changes is not None:
            for old, change in zip(figures, changes, strict=True):
                old.update(change)
            paint = texture(rng, size, rng.uniform(20, 235, 3), rng.uniform(0, 45))
            canvas = canvas + share[..., None] * (paint - canvas)
    canvas = canvas + rng.normal(0, rng.uniform(0, 6), canvas.shape)
    image = Image.fromarray(np.clip(canvas, 0, 255).astype("uint8"))
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.6)))
    return np.asarray(image), figures


def pieces(visible):
    """COCO polygons as `shapes.polygons` makes them, of parts without holes: it is cut where each hole begins."""
    mask = np.pad(visible, 1) > 0.5
    outside = label(~mask, connectivity=2)
    holes = (outside > 1)[1:-1, 1:-1]  # the corner's region is 1
    if not holes.any():
        return polygons(visible)
    left, right = visible.copy(), visible.copy()
    cut = holes.any(0).argmax()
    left[:, cut:] = right[:, :cut] = 0
    return pieces(left) + pieces(right)


def annotate(thing):
    """COCO's fields that describe a figure of `scene`."""
    segmentation = pieces(thing["visible"])
    corners = np.concatenate(segmentation).reshape(-1, 2)
    (x1, y1), (x2, y2) = corners.min(0), corners.max(0)
    points = thing["points"].round(2)
    return {
        "category_id": 1,
        "segmentation": segmentation,
        "area": int((thing["visible"] > 0.5).sum()),
        "bbox": [round(float(v), 2) for v in (x1, y1, x2 - x1, y2 - y1)],
        "iscrowd": 0,
        "num_keypoints": int((points[:, 2] > 0).sum()),
        "keypoints": [value for x, y, v in points.tolist() for value in (x, y, int(v))],
    }


def generate(folder, train=1000, val=100, size=128, seed=0):
    """Write the set in COCO's layout: {train,val}2017/*.jpg, annotations/person_keypoints_{train,val}2017.json.

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
    category = {"id": 1, "name": "person", "supercategory": "person", "keypoints": COCO_NAMES}
    category["skeleton"] = [[a + 1, b + 1] for a, b in COCO_SKELETON]
    with tqdm(total=train + val, desc="Drawing figures", unit="image") as progress:
        for split, (subset, count) in enumerate([("train", train), ("val", val)]):
            (folder / f"{subset}2017").mkdir(exist_ok=True)
            images, annotations = [], []
            for i in range(count):
                pixels, figures = scene(np.random.default_rng([seed, split, i]), size)
                image_id = split * 100_000 + i + 1
                name = f"{image_id:012d}.jpg"
                Image.fromarray(pixels).save(folder / f"{subset}2017" / name, quality=95, subsampling=0)
                images.append({"id": image_id, "file_name": name, "height": size, "width": size, "license": 1})
                for thing in figures:
                    ids = {"id": split * 1_000_000 + len(annotations) + 1, "image_id": image_id}
                    annotations.append(ids | annotate(thing))
                progress.update()
            content = {
                "info": {"description": f"mrcnn figures, seed {seed}", "version": str(VERSION), "year": 2017},
                "licenses": [{"id": 1, "name": "CC0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}],
                "categories": [category],
                "images": images,
                "annotations": annotations,
            }
            (folder / "annotations" / f"person_keypoints_{subset}2017.json").write_text(json.dumps(content))
    return folder


def default_folder():
    """Where the set lives: in `shapes.cache`, in a folder named with the generator's version."""
    return cache(f"figures-v{VERSION}")


def ensure(folder=None, **options):
    """Generate the set unless it is there already (`shapes.make_once`); `options` are those of `generate`."""
    return make_once(folder or default_folder(), generate, "person_keypoints_val2017.json", "figures", **options)


if __name__ == "__main__":
    sys.exit(shapes.main(None, "figures", ensure, default_folder))
