"""The rounding of today's GPUs, whose products of float32 matrices keep 11 bits of each factor, on any machine."""

import functools

import keras
from keras import ops


def round_to_11_bits(x):
    """Floats with 11 bits left, by Veltkamp's splitting; everything else as it is."""
    if not hasattr(x, "dtype") or not keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype)):
        return x
    shifted = x * (2.0**13 + 1)
    return shifted - (shifted - x)


def round_products(monkeypatch):
    """From here on in a test, the contractions of `keras.ops` round their factors."""

    def rounding(function):
        return functools.wraps(function)(lambda *args, **options: function(*map(round_to_11_bits, args), **options))

    for name in ("einsum", "matmul", "dot", "tensordot", "inner"):
        monkeypatch.setattr(ops, name, rounding(getattr(ops, name)))
    product = ops.einsum("ab,b->a", ops.eye(2), ops.convert_to_tensor([4097.0, 4099.0]))
    assert ops.convert_to_numpy(product).tolist() == [4096.0, 4100.0]
