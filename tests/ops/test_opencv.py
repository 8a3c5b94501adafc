import sys

import pytest

from mrcnn.ops.opencv import import_cv2


def test_without_opencv_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError) as error:
        import_cv2("Videos")
    message = str(error.value)
    assert message.startswith("Videos need OpenCV, which did not import (") and "\n" not in message
    assert message.endswith("pip install opencv-python-headless.")
