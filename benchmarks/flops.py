"""The arithmetic of a network."""

from __future__ import annotations

import contextlib

import keras
import numpy as np
from keras import layers


@contextlib.contextmanager
def flops():
    """While it lasts, the list it gives grows by the floating point operations of every convolution and dense layer."""
    counted, originals = [], {}
    for kind in (layers.Conv2D, layers.Conv2DTranspose, layers.Dense):
        originals[kind] = kind.__call__

        def call(self, x, *args, original=kind.__call__, kind=kind, **kwargs):
            y = original(self, x, *args, **kwargs)
            if getattr(y, "ndim", None) is not None and not keras.backend.is_keras_tensor(y):
                cells = x.shape if kind is layers.Conv2DTranspose else y.shape
                counted.append(2 * int(np.prod(cells[:-1])) * int(np.prod(self.kernel.shape)))
            return y

        kind.__call__ = call
    try:
        yield counted
    finally:
        for kind, original in originals.items():
            kind.__call__ = original
