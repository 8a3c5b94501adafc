"""Mask R-CNN on Keras 3, with the names, weights and numbers of the 2017-2019 original."""

import sys

from mrcnn.cli import backend
from mrcnn.data.imgaug import prepare_for_imgaug

__version__ = "3.0.0"

# `python -m mrcnn.weights.convert` looks for its program, and imports much on the way to it.
if sys.argv[:1] == ["-m"] and "mrcnn.weights.convert" in sys.orig_argv:
    from mrcnn.cli import program

    program.begin("__main__")

backend.choose()
prepare_for_imgaug()
