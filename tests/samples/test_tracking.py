"""detect --video --track: discs that move through a small video, of which a detector has the boxes."""

import csv
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from real_data import ROOT

sys.path.insert(0, str(ROOT / "samples"))

import coco
import pictures

from mrcnn.config import Config
from mrcnn.draw.instances import track_colors
from mrcnn.models.tracking import LOWEST

cv2 = pytest.importorskip("cv2", reason="OpenCV does not import", exc_type=ImportError)
HEIGHT, WIDTH, FRAMES, RADIUS = 160, 240, 12, 20

# (y, x) of each disc in a frame, and the frames in which it is missed.
PATHS = [lambda t: (35, 30 + 14 * t), lambda t: (85, 210 - 13 * t), lambda t: (130, 60 + 5 * t)]
MISSED = {1: (5, 6), 2: (8,)}


def seen_in(t):
    return [k for k in range(3) if t not in MISSED.get(k, ())]


def discs(t, chosen=range(3)):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    masks = [np.hypot(y - PATHS[k](t)[0], x - PATHS[k](t)[1]) <= RADIUS for k in chosen]
    return np.stack(masks, -1)


@pytest.fixture
def source(tmp_path):
    """The video."""
    pytest.importorskip("trackers", reason="trackers is not installed")
    path = tmp_path / "discs.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (WIDTH, HEIGHT))
    for t in range(FRAMES):
        writer.write(np.where(discs(t).any(-1)[..., None], 200, 60).astype("uint8").repeat(3, axis=-1))
    writer.release()
    return path


def detect(source, output):
    """The program's work on the video, with what is in it in the place of a network's detections."""
    frames = iter(range(FRAMES))

    def known(images):
        t = next(frames)
        seen = seen_in(t)[:: 1 if t % 2 else -1]
        rois = np.array([np.add(PATHS[k](t) * 2, (-RADIUS, -RADIUS, RADIUS + 1, RADIUS + 1)) for k in seen], "int32")
        scores = np.array([0.9 - 0.1 * k for k in seen], "float32")
        return [{"rois": rois, "class_ids": np.ones(len(seen), int), "scores": scores, "masks": discs(t, seen)}]

    args = coco.parse_arguments(["detect", "--video", str(source), "--track", "--output", str(output)])
    pictures.check_detect(args)
    model = SimpleNamespace(detect=known, config=Config().update(DETECTION_MIN_CONFIDENCE=LOWEST))
    assert not pictures.detect(args, model, None, ["BG", "disc"])


def test_one_colour_in_all_frames(source, tmp_path):
    """Colours are read off the masks' middles; the codec blurs them a little."""
    detect(source, tmp_path / "found.mp4")
    reader, colors = cv2.VideoCapture(str(tmp_path / "found.mp4")), np.array(track_colors([1, 2, 3]))
    which = {k: set() for k in range(3)}
    for t in range(FRAMES):
        good, frame = reader.read()
        assert good
        for k in seen_in(t):
            y, x = PATHS[k](t)
            color = 2 * (frame[y - 2 : y + 3, x - 2 : x + 3, ::-1].mean(axis=(0, 1)) - 100) / 255
            distances = np.abs(colors - color).max(axis=1)
            assert distances.min() < 0.25
            which[k].add(int(distances.argmin()))
    assert sorted(which.values(), key=min) == [{0}, {1}, {2}]


def rows_of(path):
    """(frame, x of the box's middle, number) of everything in a file of data."""
    if path.suffix == ".csv":
        with open(path, newline="") as text:
            return [
                (int(row["page"]), float(row["x"]) + float(row["width"]) / 2, int(row["track_id"]))
                for row in csv.DictReader(text)
            ]
    content = json.loads(path.read_text())
    if path.suffix == ".geojson":
        found = [(feature["properties"], feature["geometry"]["coordinates"][0]) for feature in content["features"]]
        return [(p["page"], np.mean([min(ring)[0], max(ring)[0]]), p["track_id"]) for p, ring in found]
    pages = {image["id"]: image["page"] for image in content["images"]}
    assert list(pages.values()) == list(range(FRAMES))
    return [(pages[a["image_id"]], a["bbox"][0] + a["bbox"][2] / 2, a["track_id"]) for a in content["annotations"]]


@pytest.mark.parametrize("ending", [".json", ".csv", ".geojson"])
def test_numbers_are_among_the_data(ending, source, tmp_path):
    detect(source, tmp_path / f"found{ending}")
    rows = rows_of(tmp_path / f"found{ending}")
    numbers = {}
    for t, x, number in rows:
        (k,) = (k for k in seen_in(t) if abs(PATHS[k](t)[1] + 0.5 - x) < 1)
        numbers.setdefault(k, []).append(number)
    assert sorted((set(n) for n in numbers.values()), key=min) == [{1}, {2}, {3}]
    assert [len(numbers[k]) for k in range(3)] == [FRAMES, FRAMES - 2, FRAMES - 1]
