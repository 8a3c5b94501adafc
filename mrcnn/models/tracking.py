"""Objects from frame to frame of a video, by ByteTrack (Zhang et al. 2022, https://arxiv.org/abs/2110.06864) as the
package trackers has it: each has one number as long as it is seen, and for a second after."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

# Detections down to this score go on with what is followed already; ByteTrack's own.
LOWEST = 0.1


def check() -> None:
    """Look whether there is what `Tracker` needs.

    Raises:
        ImportError: there is not; one sentence says what to install.
    """
    for name in ("supervision", "trackers"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ImportError(
                f"Tracking needs the package trackers, which did not import ({error}): "
                'pip install "mask-rcnn-keras[track]".'
            ) from error


class Tracker:
    """Numbers what a detector finds in the frames of one video, which are given one after the other.

    Args:
        rate: frames a second.
        threshold: score from which a detection begins to be followed. What is followed needs `LOWEST` alone.

    Raises:
        ImportError: as `check`.
    """

    def __init__(self, rate: float, threshold: float = 0.5) -> None:
        check()
        import trackers

        self.threshold, self.begun = threshold, False
        self.tracker = trackers.ByteTrackTracker(
            frame_rate=rate, track_activation_threshold=threshold, high_conf_det_threshold=threshold
        )

    def __call__(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """What `detect` returns for the next frame, with `track_ids` int [n] beside: 1, 2, ... by object, 0 for what is
        seen for the first time after the first frame; less what is neither followed nor as sure as `threshold`."""
        import supervision

        y1, x1, y2, x2 = np.asarray(result["rois"], "float32").reshape(-1, 4).T
        scores = np.asarray(result["scores"], "float32")
        found = supervision.Detections(
            xyxy=np.stack([x1, y1, x2, y2], axis=1),
            confidence=scores,
            class_id=np.asarray(result["class_ids"], int),
            data={"row": np.arange(len(scores))},
        )
        if not self.begun:  # an object has its number when it is seen again
            self.tracker.update(found)
            self.begun = True
        followed = self.tracker.update(found)
        ids = np.zeros(len(scores), int)
        if len(followed):
            ids[followed.data["row"]] = followed.tracker_id + 1  # from 0 on, and -1
        kept = np.flatnonzero((ids > 0) | (scores >= self.threshold))
        return {name: _rows(name, values, kept) for name, values in {**result, "track_ids": ids}.items()}


def _rows(name, values, kept):
    if name == "semantic":  # of pixels
        return values
    if isinstance(values, list):
        return [values[i] for i in kept]
    return values[..., kept] if name == "masks" else np.asarray(values)[kept]
