"""Mask R-CNN on Keras 3, with the names, weights and numbers of the 2017-2019 original."""

import os

__version__ = "3.0.0"

# TensorFlow leaves oneDNN off on processors without AVX-512, where it trains this network more than twice as fast too.
# It reads the variable when it is imported.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
