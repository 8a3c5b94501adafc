"""A small data set of articulated figures in COCO's person_keypoints format, drawn from a seed on first use.

Nothing is downloaded. Figures face the viewer or turn their backs, bend, overlap and leave the picture. What tells
left from right is in the picture, whatever the colours: left limbs are lighter than the shirt and the trousers they
belong to, right limbs darker.

    python samples/figures.py [folder]
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from skimage.measure import label
from tqdm.auto import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from shapes import SUPERSAMPLING, box, box_iou, cache, contrasting_colour, coverage, make_once, polygons, texture

from mrcnn.ops.keypoints import COCO_NAMES, COCO_SKELETON

# Part of the cache folder's name: raise it with every change that alters images or annotations.
VERSION = 1

MIN_VISIBLE = 0.4  # share of a figure's full area that is inside the image and not covered
MIN_POINTS = 5  # of a figure inside the image
MAX_IOU = 0.4  # of the boxes of two figures
AWAY = 0.25  # share of figures that turn their backs
TINT = 55  # grey levels from a figure's shirt and trousers to its left limbs, and the other way to its right limbs

SIDES = {"left": 1, "right": -1}
PARTS = [
    *["nothing", "torso", "neck", "head", "face", "eyes", "nose", "mouth"],
    *[f"{s}_{p}" for s in SIDES for p in ["ear", "upper_arm", "forearm", "hand", "thigh", "shin", "foot"]],
]
SLOT = {part: i for i, part in enumerate(PARTS)}
LINE = len(PARTS)  # what a part's slot and its line's differ by

# What a point lies on; it is hidden where another part of the same figure is on top.
_FACE = ("head", "face", "eyes", "nose", "mouth")
BASES = {
    "nose": _FACE,
    "eye": _FACE,
    "ear": ("ear",),
    "shoulder": ("torso", "upper_arm"),
    "elbow": ("upper_arm", "forearm"),
    "wrist": ("forearm", "hand"),
    "hip": ("torso", "thigh"),
    "knee": ("thigh", "shin"),
    "ankle": ("shin", "foot"),
}


def toward(degrees):
    """The unit vector (x, y) that is turned by `degrees` from straight down to the right of the picture."""
    return np.array([np.sin(np.radians(degrees)), np.cos(np.radians(degrees))])


def disk(centre, radius):
    """(x, y, radius) of a disk about a point."""
    return [*centre, radius]


def head(rng, chest, turn, lean):
    """The head of `pose` over a body that is turned and leans by degrees: points, unseen, groups."""
    tilt = 0.7 * lean + rng.normal(0, 12)
    gaze = turn + rng.uniform(-30, 30)
    up, across = -toward(tilt), toward(tilt + 90)
    centre = chest + 0.14 * up

    def place(left, height, radius):
        """Where the point is that lies `left` degrees to the left of the face's middle, and how near: -1 to 1."""
        angle = np.radians(gaze + left)
        return centre + radius * np.sin(angle) * across + height * up, np.cos(angle)

    face = []
    middle, near = place(0, -0.014, 0.022)
    if near > 0:
        face.append([("face", [disk(middle + 0.016 * up, 0.05), disk(middle - 0.016 * up, 0.048)])])
        face.append([("mouth", [disk(place(left, -0.042, 0.05)[0], 0.002) for left in (-15, 15)])])
    points, unseen, ears = {}, set(), {True: [], False: []}
    for side, sign in SIDES.items():
        name = f"{side}_ear"
        points[name], near = place(sign * 95, -0.008, 0.076)
        ears[bool(near > -0.2)].append([(name, [disk(points[name], 0.017)])])
    for name, part, left, height, radius in [
        ("left_eye", "eyes", 27, 0.006, 0.058),
        ("right_eye", "eyes", -27, 0.006, 0.058),
        ("nose", "nose", 0, -0.018, 0.062),
    ]:
        points[name], near = place(left, height, radius)
        if near > 0.1:
            face.append([(part, [disk(points[name], 0.008)])])
        else:
            unseen.add(name)
    skull = [("head", [disk(centre + 0.02 * up, 0.064), disk(centre - 0.02 * up, 0.06)])]
    return points, unseen, [*ears[False], skull, *ears[True], *face]


def pose(rng):
    """A random figure about the middle of its hips at (0, 0); 1 is its height when upright, y points down.

    Returns:
        points: the place (x, y) of each of `COCO_NAMES`, by name.
        unseen: names of the points that are on the far side of the head.
        groups: what to draw, from bottom to top; lists of (part, disks [n, 3] of (x, y, radius)); the part is all
            that lies between one disk and the next. A group's parts share one line around them.
    """
    turn = rng.uniform(-35, 35) + 180 * (rng.random() < AWAY)  # 0 faces the viewer, 90 the right of the picture
    lean = np.clip(rng.normal(0, 14), -35, 35)
    build = rng.uniform(1, 1.4)
    chest = -0.29 * toward(lean)
    points, unseen, top = head(rng, chest, turn, lean)
    behind, front, legs, torso = [], [], [], []
    for side, sign in SIDES.items():
        across = sign * np.cos(np.radians(turn))
        near = -sign * np.sin(np.radians(turn))
        out = np.sign(across)  # an angle times `out` opens away from the body
        # A limb that points at the viewer or away looks shorter.
        lengths = np.array([0.17, 0.15, 0.235, 0.235]) * (1 - 0.4 * rng.random(4) ** 2)

        shoulder = chest + 0.1 * build * across * toward(lean + 90)
        swing = rng.uniform(-15, 70) if rng.random() < 0.6 else rng.uniform(70, 165)
        bend = rng.uniform(-45, 130)
        forearm = toward(lean + out * (swing + bend))
        elbow = shoulder + lengths[0] * toward(lean + out * swing)
        wrist = elbow + lengths[1] * forearm
        arm = [
            (f"{side}_hand", [disk(wrist + 0.03 * forearm, 0.026 * build)]),
            (f"{side}_upper_arm", [disk(shoulder, 0.034 * build), disk(elbow, 0.03 * build)]),
            (f"{side}_forearm", [disk(elbow, 0.03 * build), disk(wrist, 0.024 * build)]),
        ]
        (front if near > rng.uniform(-0.8, 0.1) else behind).append(arm)

        hip = 0.055 * build * across * toward(lean / 3 + 90)
        spread = rng.uniform(-8, 40) if rng.random() < 0.85 else rng.uniform(40, 85)
        bend = rng.uniform(-12, 30) if rng.random() < 0.7 else rng.uniform(30, 90)
        shin = lean / 3 + out * (spread - bend)
        knee = hip + lengths[2] * toward(lean / 3 + out * spread)
        ankle = knee + lengths[3] * toward(shin)
        toes = ankle + 0.055 * toward(shin + out * 50)
        leg = [
            (f"{side}_foot", [disk(ankle, 0.026 * build), disk(toes, 0.026 * build)]),
            (f"{side}_thigh", [disk(hip, 0.05 * build), disk(knee, 0.04 * build)]),
            (f"{side}_shin", [disk(knee, 0.04 * build), disk(ankle, 0.028 * build)]),
        ]
        legs.insert(len(legs) if near > 0 else 0, leg)

        torso += [disk(shoulder, 0.034 * build), disk(hip, 0.045 * build)][::sign]
        joints = {"shoulder": shoulder, "elbow": elbow, "wrist": wrist, "hip": hip, "knee": knee, "ankle": ankle}
        points |= {f"{side}_{joint}": place for joint, place in joints.items()}
    neck = [("neck", [disk(chest, 0.035 * build), disk(chest - 0.1 * toward(lean), 0.03 * build)])]
    return points, unseen, [*behind, *legs, neck, [("torso", torso + torso[:1])], *top, *front]


def capsule(a, b):
    """Vertices [n, 2] of the outline of two disks (x, y, radius) and of what lies between them."""
    x, y = b[:2] - a[:2]
    distance = np.hypot(x, y)
    if distance <= abs(a[2] - b[2]):  # one is inside the other
        a = b = max(a, b, key=lambda disk: disk[2])
    middle = np.arctan2(y, x)
    half = np.arccos((a[2] - b[2]) / distance) if distance else np.pi / 2  # of the arc that belongs to `b`
    turn = np.linspace(middle - half, middle - half + 2 * np.pi, 24)
    ends = np.where((turn < middle + half)[:, None], b, a)
    return ends[:, :2] + ends[:, 2:] * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def render(groups, line):
    """Draw the groups of `pose`, in pixels, with lines `line` wide around them.

    Returns:
        sheet: [h * SUPERSAMPLING, w * SUPERSAMPLING] the `SLOT` of the part on top, plus `LINE` on its line.
        corner: (x, y) of the sheet's upper left corner, whole pixels.
    """
    everything = np.concatenate([disks for group in groups for _, disks in group])
    reach = everything[:, 2:] + line
    corner = np.floor((everything[:, :2] - reach).min(0)).astype(int)
    far = np.ceil((everything[:, :2] + reach).max(0)).astype(int)
    sheet = Image.new("L", tuple(((far - corner) * SUPERSAMPLING).tolist()))
    draw = ImageDraw.Draw(sheet)
    for group in groups:
        for grow, offset in [(line, LINE), (0, 0)]:
            for part, disks in group:
                disks = disks + [*-corner, grow]
                following = disks[1:] if len(disks) > 1 else disks
                outlines = [capsule(a, b) for a, b in zip(disks, following, strict=False)]
                if len(disks) > 2:
                    outlines.append(disks[:, :2])
                for vertices in outlines:
                    # PIL puts integers at the pixels' centres
                    draw.polygon((vertices * SUPERSAMPLING - 0.5).ravel().tolist(), fill=SLOT[part] + offset)
    return np.asarray(sheet), corner


def shrink(sheet, corner, size):
    """The part of a sheet [h, w] or [h, w, 3] of `render` that is in the image, [size, size, ...] float32, 0..255."""
    small = np.asarray(Image.fromarray(sheet).reduce(SUPERSAMPLING), "float32")
    result = np.zeros((size, size, *small.shape[2:]), "float32")
    (x1, y1), (y2, x2) = np.maximum(corner, 0), np.minimum(corner[::-1] + small.shape[:2], size)
    result[y1:y2, x1:x2] = small[y1 - corner[1] : y2 - corner[1], x1 - corner[0] : x2 - corner[0]]
    return result


def figure(rng, size):
    """A random figure as if it were alone in the image, without colours: the dict of `scene`, `sheet`, `corner`."""
    height = size * np.exp(rng.uniform(np.log(0.45), np.log(1.3)))
    hips = size * rng.uniform([0.08, 0.3], [0.92, 0.85])
    points, unseen, groups = pose(rng)
    groups = [[(part, height * np.array(disks) + [*hips, 0]) for part, disks in group] for group in groups]
    sheet, corner = render(groups, max(0.6, 0.008 * height))
    keypoints = np.zeros((len(COCO_NAMES), 3))
    for row, name in zip(keypoints, COCO_NAMES, strict=True):
        place = height * points[name] + hips
        x, y = place - 0.5  # COCO's points count from the centre of the upper left pixel
        if min(x, y) >= 0 and max(x, y) <= size - 1:
            i, j = ((place - corner) * SUPERSAMPLING).astype(int)
            part = PARTS[sheet[j, i] % LINE]
            side, _, joint = name.rpartition("_")
            bases = [base if base in SLOT else f"{side}_{base}" for base in BASES[joint]]
            row[:] = x, y, 2 if name not in unseen and part in bases else 1
    return {
        "points": keypoints,
        "facing": not {"left_eye", "right_eye"} <= unseen,
        "area": np.count_nonzero(sheet) / SUPERSAMPLING**2,
        "visible": shrink(np.where(sheet, 255, 0).astype("uint8"), corner, size) / 255,
        "sheet": sheet,
        "corner": corner,
    }


def palette(rng, behind):
    """A colour for every slot [2 * LINE, 3] uint8; clothes stand out from the pixels `behind` [n, 3]."""
    # Not too dark and not too light for the tints.
    shirt, trousers = (np.clip(contrasting_colour(rng, behind), TINT + 20, 235 - TINT) for _ in range(2))
    skin = rng.uniform(140, 245, 3)  # of any hue, light enough for dark marks
    colours = {"torso": shirt, "neck": skin * 0.9, "head": contrasting_colour(rng, skin[None]), "face": skin}
    colours |= {"eyes": 0.1 * skin, "nose": 0.6 * skin, "mouth": 0.4 * skin, "nothing": 0 * skin}
    shoes = rng.uniform(20, 235, 3)
    for side, sign in SIDES.items():
        sleeve, leg = shirt + sign * TINT, trousers + sign * TINT
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
    parser = argparse.ArgumentParser(description="Draw the figures data set where it is not there yet.")
    parser.add_argument("folder", nargs="?", help=f"where to put it (default: {default_folder()})")
    print(f"The data set is in {ensure(parser.parse_args().folder)}")
