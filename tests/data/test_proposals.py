"""Proposals that come with images: they move along with them, and are searched where there are none."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from kites import Kites
from toy_data import config, shapes

from mrcnn.data import proposals
from mrcnn.data.samples import load_sample


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MRCNN_CACHE", str(tmp_path))
    return tmp_path


def test_corners():
    boxes = np.array([[1, 2, 5, 9.5], [0, 0, 10, 20]])
    points = proposals.as_points(boxes)
    np.testing.assert_allclose(points[0], [[1.5, 0.5, 2], [9, 0.5, 2], [9, 4.5, 2], [1.5, 4.5, 2]])
    np.testing.assert_allclose(proposals.from_points(points, (10, 20)), boxes)
    np.testing.assert_allclose(proposals.from_points(points, (4, 6)), [[1, 2, 4, 6], [0, 0, 4, 6]])
    assert proposals.from_points(points - [30, 0, 0], (10, 20)).shape == (0, 4)  # left the image
    points[0, 2] = 0  # a corner that was lost
    np.testing.assert_allclose(proposals.from_points(points, (10, 20)), boxes[1:])
    assert proposals.from_points(proposals.as_points(np.zeros((0, 4))), (10, 20)).shape == (0, 4)


@pytest.mark.parametrize("augmentation", [None, "flip", "turn", "scale", "flip,turn,scale"])
@pytest.mark.parametrize("size", [(64, 64), (48, 96)])
def test_they_move_along_with_the_objects(augmentation, size):
    """The objects' own boxes as proposals stay their boxes."""
    data = shapes(size=size)
    truth = {i: [box[1:] for box in data.instances[i]] for i in range(5)}
    fast = config(DETECTOR="fast_rcnn", IMAGE_MIN_DIM=128, IMAGE_MAX_DIM=128)
    for i in range(5):
        sample = load_sample(
            proposals.WithProposals(data, truth), fast, i, augmentation=augmentation, rng=np.random.default_rng(i)
        )
        assert sample.proposals.dtype == np.float32 and len(sample.proposals) == len(sample.boxes) == 1
        np.testing.assert_allclose(sample.proposals, sample.boxes, atol=1.01)  # masks are of whole pixels
    assert load_sample(data, config(), 0).proposals.shape == (0, 4)


def test_what_a_data_set_gives_is_checked():
    for given, said in (
        (np.zeros(4), r"its proposals are \(4,\); they must be \[n, 4\]"),
        ([[0, 0, 9, np.nan]], "its proposals are not finite"),
        ("abcd", "its proposals are no numbers"),
        ([[0, 0, 9, 9], [1]], "its proposals are no numbers"),
    ):
        data = proposals.WithProposals(Kites(), {0: given})
        with pytest.raises(ValueError, match=said):
            proposals.load_proposals(data, 0, data.load_image(0))
    assert proposals.checked([], "a.png").shape == (0, 4)


def test_they_are_searched_once(cache, monkeypatch):
    kites = Kites(2)
    image = kites.load_image(0)
    found = proposals.load_proposals(kites, 0, image)
    assert len(found) and found.dtype == np.float32
    monkeypatch.setattr(proposals, "selective_search", None)
    np.testing.assert_array_equal(proposals.load_proposals(kites, 0, image), found)
    with pytest.raises(TypeError):
        proposals.load_proposals(kites, 1, kites.load_image(1))


@pytest.mark.parametrize("content", [b"", b"text", "half"])
def test_a_damaged_file_in_the_cache_is_searched_anew(cache, content):
    image = Kites(1).load_image(0)
    found, path = proposals.search(image), proposals._path(image)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    np.testing.assert_array_equal(proposals.search(image), found)
    assert path.read_bytes() == whole


def test_an_image_that_cannot_be_searched_is_left(cache, monkeypatch):
    kites = Kites(4)
    kites.load_image = lambda image_id: 1 / 0 if image_id == 1 else Kites.load_image(kites, image_id)
    given = proposals.WithProposals(kites, {2: np.zeros((1, 4))})
    with monkeypatch.context() as patch:
        patch.setattr(proposals, "selective_search", lambda image: 1 / 0)
        proposals.prepare(given, workers=1)
    assert not list(cache.rglob("*.npy"))
    proposals.prepare(given, workers=1)
    monkeypatch.setattr(proposals, "selective_search", None)
    assert len(proposals.search(kites.load_image(0)))
    assert len(list(cache.rglob("*.npy"))) == 2 and not list(cache.rglob("*.new*"))


SCRIPT = """
from pathlib import Path
import numpy as np
from mrcnn.data import proposals
from mrcnn.data.dataset import Dataset

class Mine(Dataset):
    def load_image(self, image_id):
        waiting.append(len(waiting) + 1 - len(list(Path().rglob("*.npy"))))
        return np.random.default_rng(image_id).integers(0, 255, (32, 32, 3), "uint8")

data, waiting = Mine(), []
for i in range(12):
    data.add_image("mine", i, None)
data.prepare()
proposals.prepare(data, workers=2)
print(len(waiting), max(waiting))
"""


def test_processes_are_given_a_few_images_and_leave_the_script_alone(cache):
    """It has no guard for `__main__`, and runs once; memory holds two images for each process, and one that is read."""
    script = cache / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, script], cwd=cache, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, most = map(int, done.stdout.split())
    assert count == 12 and most <= 2 * 2 + 1
    assert len(list(cache.rglob("*.npy"))) == 12 and "100%" in done.stderr


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_training_and_detection_search_the_same(cache, channels, dtype):
    """Whatever the image is, and whatever the network sees of it."""
    kites = Kites(1)
    planes = np.concatenate([kites.load_image(0), kites.load_image(0)[..., :2]], axis=-1)[..., :channels]
    image = planes if dtype == "uint8" else planes.astype("uint16") * 257
    kites.load_image = lambda image_id: image
    found = proposals.search(image)
    assert len(found)
    np.testing.assert_array_equal(found, proposals.search(planes))
    for count in {1, 3, channels} if channels in (1, 3) else {channels}:
        fast = config(DETECTOR="fast_rcnn", IMAGE_CHANNEL_COUNT=count, MEAN_PIXEL=[9] * count)
        assert len(load_sample(kites, fast, 0).proposals) <= len(found)
    assert len(list(cache.rglob("*.npy"))) == 1
