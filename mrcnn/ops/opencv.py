"""OpenCV, imported by what needs it alone: on a server without a screen it is often installed but does not import."""

import os
from types import ModuleType


def import_cv2(purpose: str) -> ModuleType:
    """The cv2 module.

    Args:
        purpose: what needs it, in the plural, to begin the message with.

    Raises:
        ImportError: OpenCV is missing or broken; one sentence says what to install.
    """
    # What is wrong with a video is said here; its decoder would add lines of its own.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            f"{purpose} need OpenCV, which did not import ({error}): pip install opencv-python-headless."
        ) from error
    return cv2
