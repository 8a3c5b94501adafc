"""Videos in, videos out, frame by frame."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from mrcnn.ops.opencv import import_cv2


def convert(
    source: Path | str, target: Path | str, function: Callable[[np.ndarray], np.ndarray], verbose: int = 1
) -> tuple[int, float]:
    """Write a video whose frames are those of another one after a function.

    An interruption leaves the frames so far as a whole video.

    Args:
        source: video file.
        target: .mp4 file to write, at the same rate.
        function: takes and gives a frame [H, W, 3] uint8, RGB; it may change its size, but to one size for all.
        verbose: 0 for no progress bar.

    Returns:
        number of frames, and frames per second.

    Raises:
        ImportError: OpenCV is missing.
        OSError: `source` is no video, or `target` cannot be written; the message names it.
    """
    cv2 = import_cv2("Videos")
    reader = _open(source)
    total = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
    rate = reader.get(cv2.CAP_PROP_FPS) or 25
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    writer, count, start = None, 0, time.time()
    try:
        with tqdm(total=total if total > 0 else None, desc=Path(source).name, unit="frame", disable=not verbose) as bar:
            while True:
                good, frame = reader.read()
                if not good:
                    break
                frame = np.ascontiguousarray(function(frame[..., ::-1])[..., ::-1])
                if writer is None:
                    size = frame.shape[1], frame.shape[0]
                    writer = cv2.VideoWriter(str(target), cv2.VideoWriter_fourcc(*"mp4v"), rate, size)
                    if not writer.isOpened():
                        raise OSError(f"{target} cannot be written.")
                writer.write(frame)
                count += 1
                bar.update()
    finally:
        reader.release()
        if writer is not None:
            writer.release()
    return count, count / max(time.time() - start, 1e-9)


def check(source: Path | str) -> None:
    """Open a video file.

    Raises:
        ImportError: OpenCV is missing.
        OSError: it is no video; the message names it.
    """
    _open(source).release()


def _open(source):
    reader = import_cv2("Videos").VideoCapture(str(source)) if Path(source).is_file() else None
    if reader is None or not reader.isOpened():
        raise OSError(f"{source} is no video that can be read.")
    return reader
