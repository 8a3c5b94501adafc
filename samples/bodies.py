"""The bodies of the generated figures: poses of joints, and the limbs drawn around them."""

import numpy as np
from PIL import Image, ImageDraw
from shapes import SUPERSAMPLING

from mrcnn.ops.keypoints import COCO_NAMES

AWAY = 0.25  # share of figures that turn their backs

SIDES = {"left": 1, "right": -1}
PARTS = [
    *["nothing", "torso", "tie", "neck", "head", "face", "eyes", "nose", "mouth"],
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
    tie = []
    if np.cos(np.radians(turn)) > 0:
        aside = 0.05 * np.sin(np.radians(turn)) * toward(lean + 90)
        tie.append([("tie", [disk(0.92 * chest + aside, 0.012), disk(0.3 * chest + aside, 0.022)])])
    neck = [("neck", [disk(chest, 0.035 * build), disk(chest - 0.1 * toward(lean), 0.03 * build)])]
    return points, unseen, [*behind, *legs, neck, [("torso", torso + torso[:1])], *tie, *top, *front]


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
