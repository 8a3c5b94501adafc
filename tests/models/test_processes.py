"""A model in a process that was forked off: one line in the place of a step that never ends."""

import os

import numpy as np
import pytest
import quick

from mrcnn.model import MaskRCNN


def in_a_fork(function):
    """What a function raises in a child of this process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            function()
            words = "nothing"
        except BaseException as error:
            words = f"{type(error).__name__}: {error}"
        os.write(writing, words.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        words = file.read()
    os.waitpid(child, 0)
    return words


@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_forked_process_is_told(tmp_path):
    model = MaskRCNN("inference", quick.QuickConfig(), tmp_path)
    image = np.zeros((64, 64, 3), "uint8")
    for use in (lambda: model.detect([image]), lambda: MaskRCNN("inference", quick.QuickConfig(), tmp_path)):
        words = in_a_fork(use)
        assert words.startswith("RuntimeError: Process ") and "\n" not in words
        assert f"was forked off {os.getpid()}, which had a model before" in words and "'spawn'" in words
