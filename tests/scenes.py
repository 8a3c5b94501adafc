"""Generated images with instances and people, for the tests of drawing."""

import sys
import types

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import Rectangle

from mrcnn.draw import instances as draw
from mrcnn.ops import boxes as box_math

NAMES = ["BG", "balloon", "traffic light", "dog"]
CORNER = [(0, 1), (1, 2)]


def scene(n, height=120, width=160, side=24):
    """An image of gray noise and a result with `n` square objects, some overlapping, some at the image's edge."""
    rng = np.random.default_rng(n)
    image = rng.integers(80, 120, (height, width, 3)).astype("uint8")
    corners = rng.integers(0, (height - side + 1, width - side + 1), (n, 2))
    corners[:1], corners[1:2] = 0, (height - side, width - side)
    rois = np.concatenate([corners, corners + side], axis=1).astype("int32")
    masks = np.zeros((height, width, n), bool)
    for i, (y1, x1, y2, x2) in enumerate(rois):
        masks[y1 + 4 : y2 - 4, x1 + 4 : x2 - 4, i] = True
    class_ids = (np.arange(n) % 3 + 1).astype("int32")
    scores = np.linspace(0.99, 0.71, n).astype("float32")
    return image, {"rois": rois, "class_ids": class_ids, "scores": scores, "masks": masks}


def crowd(n, height, width):
    """As `scene`, with `n` ellipses in boxes of 8 to 180 pixels, most of them small, half of them at the borders."""
    rng = np.random.default_rng(n)
    image, result = scene(n, height, width)
    sides = np.exp(rng.uniform(np.log(8), np.log(180), (n, 1)) + rng.uniform(-0.3, 0.3, (n, 2))).astype(int)
    room = (height, width) - sides
    corners = rng.integers(0, room + 1)
    for side in range(4):  # top, left, bottom, right
        some, axis = slice(side, None, 8), side % 2
        corners[some, axis] = room[some, axis] if side > 1 else 0
    result["rois"] = np.concatenate([corners, corners + sides], axis=1).astype("int32")
    y, x = np.ogrid[:height, :width]
    for i, (y1, x1, y2, x2) in enumerate(result["rois"]):
        across, down = (2 * x + 1 - x1 - x2) / (x2 - x1), (2 * y + 1 - y1 - y2) / (y2 - y1)
        result["masks"][..., i] = across**2 + down**2 <= 1
    return image, result


def people(*rois, height=120, width=160):
    """A gray image and a result without masks: in each box three points, a corner, that `CORNER` joins."""
    rois = np.array(rois or [(20, 20, 100, 140)], "int32")
    y1, x1, y2, x2 = rois.T[:, :, None] + np.array([10, 10, -10, -10])[:, None, None]
    xs, ys = np.concatenate([x1, x2, x2], axis=1), np.concatenate([y1, y1, y2], axis=1)
    points = np.stack([xs, ys, np.full(xs.shape, 0.5)], axis=-1).astype("float32")
    ids = np.ones(len(rois), "int32")
    return np.full((height, width, 3), 100, "uint8"), {"rois": rois, "class_ids": ids, "keypoints": points}


def limb_paints(n):
    """The colours of n limbs, 0..255."""
    return [[round(255 * channel) for channel in color] for color in draw.part_colors(n)]


def assert_inside_and_disjoint(labels, shape, slack=0.0):
    assert (labels[:, :2] >= -slack).all() and (labels[:, 2:] <= np.array(shape[:2]) + slack).all()
    overlaps = box_math.overlaps(labels + (slack, slack, -slack, -slack), labels + (slack, slack, -slack, -slack))
    assert overlaps[~np.eye(len(labels), dtype=bool)].max(initial=0) == 0


@pytest.fixture(autouse=True)
def no_state():
    """No window opens, and nothing is left behind in pyplot but the last figure."""
    matplotlib.use("agg")
    settings = dict(matplotlib.rcParams)
    yield
    assert len(plt.get_fignums()) <= 1
    plt.close("all")
    assert dict(matplotlib.rcParams) == settings


def rectangles(ax):
    return [patch for patch in ax.patches if isinstance(patch, Rectangle)]


def fake_notebook(monkeypatch):
    """A stand-in for IPython in a notebook; returns what was displayed, and the shell."""
    shown, shell = [], types.SimpleNamespace(kernel=object(), execution_count=1)
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: shell
    display.display, display.Image, display.HTML = shown.append, lambda data: data, lambda data: data
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return shown, shell
