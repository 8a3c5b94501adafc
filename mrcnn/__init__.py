"""Mask R-CNN on Keras 3, with the names, weights and numbers of the 2017-2019 original."""

__version__ = "3.0.0"
