"""Videos are written whole, and never onto the one that is read."""

import os

import numpy as np
import pytest

from mrcnn.draw import video

cv2 = pytest.importorskip("cv2", reason="OpenCV does not import", exc_type=ImportError)
FRAMES = 6


@pytest.fixture
def source(tmp_path):
    """A video of small frames."""
    path = tmp_path / "in.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (64, 48))
    for i in range(FRAMES):
        writer.write(np.full((48, 64, 3), 40 * i, "uint8"))
    writer.release()
    return path


def count(path):
    reader = cv2.VideoCapture(str(path))
    return int(reader.get(cv2.CAP_PROP_FRAME_COUNT))


def same(frame):
    return frame


def test_whole(source, tmp_path):
    assert video.convert(source, tmp_path / "new" / "out.mp4", same, verbose=0)[0] == FRAMES
    assert count(tmp_path / "new" / "out.mp4") == FRAMES
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("way", ["path", "link", "hard link", "dots"])
def test_never_onto_its_input(source, tmp_path, way):
    content, target = source.read_bytes(), tmp_path / "same.mp4"
    if way == "path":
        target = source
    elif way == "link":
        os.symlink(source, target)
    elif way == "hard link":
        os.link(source, target)
    else:
        target = tmp_path / "new" / ".." / source.name
    with pytest.raises(OSError, match=f"{target.name} is the video that is read; write to another file."):
        video.convert(source, target, same, verbose=0)
    assert source.read_bytes() == content


@pytest.mark.parametrize("name", ["no.avi", "text.mp4"])
def test_what_has_no_frame_is_refused_before_the_work(tmp_path, name):
    path = tmp_path / name
    cv2.VideoWriter(str(tmp_path / "no.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 5, (64, 48)).release()
    (tmp_path / "text.mp4").write_text("text")
    with pytest.raises(OSError, match=f"{name} (has no frame|is no video) that can be read"):
        video.check(path)


def after(frames, event):
    """A function of frames to which something happens after so many of them."""
    seen = []

    def function(frame):
        seen.append(0)
        return event(frame) if len(seen) > frames else frame

    return function


def stop(frame):
    raise KeyboardInterrupt


def fail(frame):
    raise ValueError("no such frame")


def test_an_interruption_leaves_the_frames_so_far(source, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        video.convert(source, tmp_path / "out.mp4", after(4, stop), verbose=0)
    assert count(tmp_path / "out.mp4") == 4


@pytest.mark.parametrize(
    "function, message", [(after(2, fail), "no such frame"), (after(2, lambda x: x[:40]), "out.mp4 cannot be written")]
)
def test_an_error_leaves_what_was_there(source, tmp_path, function, message):
    (tmp_path / "out.mp4").write_text("old")
    with pytest.raises((ValueError, OSError), match=message):
        video.convert(source, tmp_path / "out.mp4", function, verbose=0)
    assert (tmp_path / "out.mp4").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]
