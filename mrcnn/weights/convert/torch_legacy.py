"""The older layout of PyTorch's files, that of torch.save before version 1.6, read without PyTorch.

It is five pickles and then numbers: a magic number, the protocol's version, facts about the machine, the object with a
reference in the place of every storage, and the storages' keys; then, for each key, how many values there are, and the
values.
"""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from mrcnn.weights.convert.unpickling import ArrayUnpickler, is_tuple_of_sizes

# The first pickle as torch.save writes it, and the number in the second.
MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
VERSION = 1001

# Names of types of storages, and what their values are in NumPy.
STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",  # the upper halves of float32
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
}

# How many times as many values as the file tensors may have together: some share a storage.
SHARED = 2


class Storage(NamedTuple):
    """A reference to values further behind in the file."""

    kind: str
    key: str
    size: int  # values


class Tensor(NamedTuple):
    """Some values of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _tensor(storage, offset, shape, strides, *flags):
    """What `torch._utils._rebuild_tensor_v2` is called with; flags are of gradients."""
    sizes = is_tuple_of_sizes(shape) and is_tuple_of_sizes(strides) and is_tuple_of_sizes((offset,))
    if not isinstance(storage, Storage) or not sizes or len(shape) != len(strides):
        raise pickle.UnpicklingError("it has a tensor that is none")
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if math.prod(shape) > storage.size or (math.prod(shape) and last >= storage.size):
        raise pickle.UnpicklingError(f"it declares {shape} values and does not hold them")
    return Tensor(storage, offset, shape, strides)


def _parameter(tensor, *flags):
    return tensor


class TorchUnpickler(ArrayUnpickler):
    """Reads dicts of tensors and nothing else; tensors become `Tensor`s, whose values come later."""

    ALLOWED = {
        ("collections", "OrderedDict"): ArrayUnpickler.ALLOWED["collections", "OrderedDict"],
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_parameter"): _parameter,
        **{("torch", name): name for name in STORAGES},
    }

    def persistent_load(self, pid: Any) -> Storage:
        """The storage that a reference stands for."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise pickle.UnpicklingError("it refers to something else than a storage")
        _, kind, key, _, count, *view = pid
        if kind not in STORAGES or not isinstance(key, str) or not is_tuple_of_sizes((count,)) or any(view):
            raise pickle.UnpicklingError("it refers to a storage that is none")
        return Storage(kind, key, count)


def is_legacy(path: str | Path) -> bool:
    """Whether a file begins as one of the older layout."""
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read(path: str | Path) -> Any:
    """The object of a file, with arrays in the place of tensors.

    Raises:
        ValueError, pickle.UnpicklingError, EOFError ...: it is damaged, or holds more than dicts of tensors.
    """
    with open(path, "rb") as file:
        _, version, machine, found, keys = (TorchUnpickler(file).load() for _ in range(5))
        if version != VERSION or not isinstance(machine, dict) or machine.get("little_endian") is not True:
            raise ValueError("it was written by another version, or by a machine with another order of bytes")
        tensors = list(_tensors(found))
        storages = {tensor.storage.key: tensor.storage for tensor in tensors}
        if any(storages[tensor.storage.key] != tensor.storage for tensor in tensors):
            raise ValueError("it has two storages of one key")
        if sum(math.prod(tensor.shape) for tensor in tensors) > SHARED * sum(x.size for x in storages.values()):
            raise ValueError("it declares more values than it holds")
        values = _values(file, keys, storages)
    return _filled(found, values)


def _tensors(found: Any) -> Iterator[Tensor]:
    """The tensors in dicts, one in the other as `read` of this package wants them at most."""
    for value in found.values() if isinstance(found, dict) else ():
        yield from [value] if isinstance(value, Tensor) else []
        if isinstance(value, dict):
            yield from (x for x in value.values() if isinstance(x, Tensor))


def _values(file: BinaryIO, keys: Any, storages: dict[str, Storage]) -> dict[str, np.ndarray]:
    """{key: values} of the storages, which follow each other in the order of the keys."""
    if not isinstance(keys, list) or sorted(keys) != sorted(storages):
        raise ValueError("it holds more than a state dict: its list of storages is another than its tensors have")
    found, size = {}, os.fstat(file.fileno()).st_size
    for key in keys:
        count, kind = storages[key].size, np.dtype(STORAGES[storages[key].kind])
        if int.from_bytes(file.read(8), "little") != count or count * kind.itemsize > size - file.tell():
            raise ValueError("it is cut short, or damaged")
        values = np.frombuffer(file.read(count * kind.itemsize), kind)
        if storages[key].kind == "BFloat16Storage":
            values = (values.astype("<u4") << 16).view("<f4")
        found[key] = values
    return found


def _filled(value: Any, values: dict[str, np.ndarray], depth: int = 0) -> Any:
    if isinstance(value, dict) and depth < 2:
        return {key: _filled(x, values, depth + 1) for key, x in value.items()}
    if not isinstance(value, Tensor):
        return value
    flat = values[value.storage.key][value.offset :]
    strides = tuple(stride * flat.itemsize for stride in value.strides)
    array = np.lib.stride_tricks.as_strided(flat, value.shape, strides, writeable=False)
    return array.astype("float32") if array.dtype.kind == "f" else array
