"""Videos in, videos out, frame by frame."""

import time
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from mrcnn.ops.files import whole
from mrcnn.ops.opencv import import_cv2


def convert(
    source: Path | str, target: Path | str, function: Callable[[np.ndarray], np.ndarray], verbose: int = 1
) -> tuple[int, float]:
    """Write a video whose frames are those of another one after a function.

    An interruption leaves the frames so far as a whole video; an error leaves what was at `target`.

    Args:
        source: video file.
        target: .mp4 file to write, at the same rate.
        function: takes and gives a frame [H, W, 3] uint8, RGB; it may change its size, but to one size for all.
        verbose: 0 for no progress bar.

    Returns:
        number of frames, and frames per second.

    Raises:
        ImportError: OpenCV is missing.
        OSError: `source` is no video, `target` is the same file or cannot be written; the message names it.
    """
    cv2, rate = import_cv2("Videos"), check(source)
    target, start, every = Path(target), time.time(), frames(source, verbose)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and target.samefile(source):
            raise OSError(f"{target} is the video that is read; write to another file.")
        with whole(target) as new:
            changed = (np.ascontiguousarray(function(frame)[..., ::-1]) for frame in every)
            count, whole_source = _write(cv2, changed, new, rate)
            if not _holds(cv2, new, count):
                raise OSError(
                    f"{target} cannot be written; choose an .mp4 file on a disk with room, and frames of one size."
                )
    finally:
        every.close()
    if not whole_source:
        raise KeyboardInterrupt
    return count, count / max(time.time() - start, 1e-9)


def frames(source: Path | str, verbose: int = 1) -> Generator[np.ndarray, None, None]:
    """The frames [H, W, 3] uint8, RGB, of a video file; see `convert`."""
    reader = _open(source)
    total = int(reader.get(import_cv2("Videos").CAP_PROP_FRAME_COUNT))
    shown = tqdm(total=total if total > 0 else None, desc=Path(source).name, unit="frame", disable=not verbose)
    try:
        with shown as bar:
            while True:
                good, frame = reader.read()
                if not good:
                    return
                yield frame[..., ::-1]
                bar.update()
    finally:
        reader.release()


def _write(cv2, frames, path, rate):
    """Write frames to a video; gives their number, and whether that is all: an interruption ends them."""
    writer, count = None, 0
    try:
        for frame in frames:
            if writer is None:
                size = frame.shape[1], frame.shape[0]
                writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, size)
            writer.write(frame)
            count += 1
    except KeyboardInterrupt:
        if not count:
            raise
        return count, False
    finally:
        if writer is not None:
            writer.release()
    return count, True


def _holds(cv2, path, count):
    """Whether a video has so many frames: OpenCV says nothing of those that it could not write."""
    reader = cv2.VideoCapture(str(path))
    try:
        return reader.isOpened() and int(reader.get(cv2.CAP_PROP_FRAME_COUNT)) == count
    finally:
        reader.release()


def check(source: Path | str) -> float:
    """Open a video file. Returns its frames a second, 25 where it does not say.

    Raises:
        ImportError: OpenCV is missing.
        OSError: it is no video, or has no frame; the message names it.
    """
    reader = _open(source)
    try:
        if not reader.read()[0]:
            raise OSError(f"{source} has no frame that can be read.")
        return reader.get(import_cv2("Videos").CAP_PROP_FPS) or 25
    finally:
        reader.release()


def _open(source):
    reader = import_cv2("Videos").VideoCapture(str(source)) if Path(source).is_file() else None
    if reader is None or not reader.isOpened():
        raise OSError(f"{source} is no video that can be read.")
    return reader
