"""Unpicklers that can call nothing but what weights need."""

import pickle
from collections import OrderedDict
from typing import Any

import numpy as np


def is_tuple_of_sizes(x: Any) -> bool:
    """Whether it is a tuple of whole numbers from 0 on that an array can have as sides: no more than PyTorch's 64."""
    return isinstance(x, tuple) and len(x) <= 64 and all(type(side) is int and 0 <= side < 2**40 for side in x)


def _encode(text, encoding):
    """What NumPy's pickles of protocol 2 hold their bytes by."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it wants the encoding {encoding!r}")
    return text.encode(encoding)


def _scalar(kind, data=None):
    """A number of its bytes; NumPy's own function makes one of any size if it is given none."""
    data = data.encode("latin1") if isinstance(data, str) else data
    if not isinstance(kind, np.dtype) or not isinstance(data, bytes) or len(data) != kind.itemsize:
        raise pickle.UnpicklingError("it has a number that is none")
    return np.frombuffer(data, kind)[0]


def _no_bytearray(unpickler):
    raise pickle.UnpicklingError("it holds an array of bytes, which no weights need")


# Stands for the class of arrays, which would make one of any size if it could be called.
_ARRAY = object()


def _reconstruct(kind, shape, code):
    """An array that the pickle then gives its shape and its bytes, which have to fit."""
    if kind is not _ARRAY:
        raise pickle.UnpicklingError("it wants an array of another class")
    return np.ndarray(0, "uint8")


class ArrayUnpickler(pickle._Unpickler):
    """Reads dicts of NumPy arrays and nothing else: a pickle can only call what is in `ALLOWED`.

    It is Python's own, not the one in C, which takes memory for as many objects as a number in the file says: of a few
    bytes gigabytes.
    """

    # It would take the memory of an array of bytes before it reads one.
    dispatch = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: _no_bytearray}

    ALLOWED = {
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): _encode,
        ("numpy", "ndarray"): _ARRAY,
        ("numpy", "dtype"): np.dtype,
        # The module's name before and since NumPy 2.
        **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
        **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    }

    def load(self) -> Any:
        """The object of a pickle.

        Raises:
            pickle.UnpicklingError, EOFError ...: it is damaged, or would call something else.
        """
        try:
            return super().load()
        except (KeyError, IndexError):  # of an instruction that there is not, or of an empty stack
            raise pickle.UnpicklingError("it is no pickle, or damaged") from None

    def find_class(self, module: str, name: str) -> Any:
        """The function of this name, if it is allowed."""
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it would call {module}.{name}, which no weights need")
        return self.ALLOWED[module, name]
