"""Weights of torchvision, Detectron2 and Darknet for this package: `python -m mrcnn.weights.convert SOURCE OUT`."""

from mrcnn.weights.convert.command import main
from mrcnn.weights.convert.files import WEIGHTS, convert, convert_file, h5_file
from mrcnn.weights.convert.reading import READERS, ArrayUnpickler, read
from mrcnn.weights.convert.translation import translate

__all__ = ["READERS", "WEIGHTS", "ArrayUnpickler", "convert", "convert_file", "h5_file", "main", "read", "translate"]
