"""NumPy stays as it is until imgaug is used, or old code imports the old module."""

import subprocess
import sys

from conftest import LIGHT
from real_data import ROOT


def run(code):
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=LIGHT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def test_numpy_is_changed_for_imgaug_alone():
    lines = run(
        """
import importlib.util
import numpy as np
names = ("bool", "complex", "sctypes")
before = [hasattr(np, name) for name in names]
import mrcnn.data.augment, mrcnn.models.mask_rcnn
print([hasattr(np, name) for name in names] == before)
import mrcnn.model
print([hasattr(np, name) for name in names] == before)
if importlib.util.find_spec("imgaug"):
    import imgaug.augmenters
    assert imgaug.augmenters.Fliplr(1).augment_image(np.array([[1, 2]], "uint8")).tolist() == [[2, 1]]
"""
    )
    assert lines == ["True", "True"]
