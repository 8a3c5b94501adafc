"""Files of torch.save before PyTorch 1.6, written here opcode by opcode, and crafted ones."""

import pickle
from collections import OrderedDict

import numpy as np
import pytest

from mrcnn.weights import convert
from mrcnn.weights.convert import torch_legacy

MACHINE = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


class Name:
    """What pickles as a name in a module."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Reference:
    """What pickles as a persistent id."""

    def __init__(self, *pid):
        self.pid = pid


class Call:
    """What pickles as a call."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments


def opcodes(x):
    """The pickle of a value with such objects in it, without its first and last opcode."""
    if isinstance(x, Name):
        return f"c{x.module}\n{x.name}\n".encode()
    if isinstance(x, Reference):
        return opcodes(x.pid) + b"Q"
    if isinstance(x, Call):
        return opcodes(x.function) + opcodes(x.arguments) + b"R"
    if isinstance(x, tuple):
        return b"(" + b"".join(map(opcodes, x)) + b"t"
    if isinstance(x, list):
        return b"](" + b"".join(map(opcodes, x)) + b"e"
    if isinstance(x, dict):
        return b"}(" + b"".join(opcodes(key) + opcodes(value) for key, value in x.items()) + b"u"
    return pickle.dumps(x, protocol=2)[2:-1]


def storage(key, count, kind="FloatStorage"):
    return Reference("storage", Name("torch", kind), key, "cpu", count, None)


def tensor(key, count, shape, strides, offset=0, kind="FloatStorage"):
    flags = False, Call(Name("collections", "OrderedDict"))
    return Call(Name("torch._utils", "_rebuild_tensor_v2"), storage(key, count, kind), offset, shape, strides, *flags)


def legacy(path, state, values=(), keys=None, machine=MACHINE, version=1001):
    """A file of such a state; `values` are {key: array} of its storages."""
    values = dict(values)
    parts = [pickle.dumps(x, protocol=2) for x in (0x1950A86A20F9469CFC6C, version, machine)]
    parts += [b"\x80\x02" + opcodes(state) + b".", pickle.dumps(keys or sorted(values), protocol=2)]
    parts += [len(x).to_bytes(8, "little") + x.tobytes() for _, x in sorted(values.items())]
    path.write_bytes(b"".join(parts))
    return path


def test_values_in_their_order(tmp_path):
    """A whole tensor, a transposed one from the middle of a shared storage, halves, whole numbers, none at all.

    bfloat16 is the upper half of float32: 1.5 is 0x3FC00000, -2 is 0xC0000000."""
    a = np.arange(12, dtype="float32")
    state = {
        "whole": tensor("7", 12, (2, 6), (6, 1)),
        "turned": tensor("7", 12, (2, 3), (1, 2), offset=4),
        "half": tensor("5", 2, (2,), (1,), kind="HalfStorage"),
        "upper": tensor("8", 4, (2,), (2,), offset=1, kind="BFloat16Storage"),
        "count": tensor("6", 1, (), (), kind="LongStorage"),
        "none": tensor("7", 12, (0, 3), (3, 1)),
    }
    values = {"7": a, "5": np.array([0.5, -2], "float16"), "6": np.array([42])}
    values["8"] = np.array([0, 0x3FC0, 0, 0xC000], "uint16")
    found = convert.read(legacy(tmp_path / "old.pth", {"model": state, "epoch": 3}, values))
    np.testing.assert_array_equal(found["whole"], a.reshape(2, 6))
    np.testing.assert_array_equal(found["turned"], [[4, 6, 8], [5, 7, 9]])
    assert found["half"].dtype == "float32" and found["half"].tolist() == [0.5, -2]
    assert found["upper"].dtype == "float32" and found["upper"].tolist() == [1.5, -2]
    assert found["count"] == 42 and found["none"].shape == (0, 3)


def test_an_ordered_dict_with_attributes(tmp_path):
    """As `state_dict` gives it: its `_metadata` is no weight."""
    path = legacy(tmp_path / "old.pth", {"a": tensor("1", 2, (2,), (1,))}, {"1": np.ones(2, "float32")})
    plain, ordered = opcodes({"a": tensor("1", 2, (2,), (1,))}), opcodes(Call(Name("collections", "OrderedDict")))
    meta = ordered + plain[1:] + opcodes({"_metadata": {"version": 1}}) + b"b"
    path.write_bytes(path.read_bytes().replace(plain, meta))
    assert convert.read(path)["a"].tolist() == [1, 1]


ONE = {"1": np.ones(4, "float32")}


@pytest.mark.parametrize(
    "state, more, message",
    [
        ({"a": Call(Name("posix", "system"), "touch harm")}, {}, "it would call posix.system"),
        ({"a": Call(Name("builtins", "eval"), "open('harm', 'w')")}, {}, "it would call builtins.eval"),
        ({"a": Call(Name("torch", "load"), "harm")}, {}, "it would call torch.load"),
        ({"a": Call(Name("numpy", "ndarray"), (10**9,))}, {}, "it would call numpy.ndarray"),
        ({"a": Call(Name("torch", "FloatStorage"), 10**9)}, {}, "not callable"),
        (
            {"a": Call(Name("torch._utils", "_rebuild_tensor_v2"), "1", 0, (1,), (1,))},
            {},
            "it has a tensor that is none",
        ),
        ({"a": tensor("1", 4, (2**31, 2**31), (0, 0))}, ONE, "declares .* values and does not hold them"),
        ({"a": tensor("1", 4, (4,), (0,), offset=4)}, ONE, "declares .* values and does not hold them"),
        ({"a": tensor("1", 4, (2, 2), (3, 1))}, ONE, "declares .* values and does not hold them"),
        ({"a": tensor("1", 4, (2,), (-1,), offset=3)}, ONE, "it has a tensor that is none"),
        ({"a": tensor("1", 4, (2.0,), (1,))}, ONE, "it has a tensor that is none"),
        ({"a": tensor("1", 4, (2**39,) * 65, (1,) * 65)}, ONE, "it has a tensor that is none"),
        ({"a": tensor("1", 4, (2, 2), (1,))}, ONE, "it has a tensor that is none"),
        ({str(i): tensor("1", 4, (4,), (1,)) for i in range(3)}, ONE, "declares more values than it holds"),
        ({"a": tensor("1", 4, (4,), (1,)), "b": tensor("1", 2, (2,), (1,))}, ONE, "two storages of one key"),
        ({"a": tensor("1", 10**12, (10**12,), (1,))}, ONE, "it is cut short"),
        ({"a": tensor("1", 5, (5,), (1,))}, ONE, "it is cut short"),
        ({"a": tensor("2", 4, (4,), (1,))}, ONE, "it holds more than a state dict"),
        ({"a": tensor("1", 4, (4,), (1,))}, {**ONE, "2": np.ones(1, "float32")}, "it holds more than a state dict"),
        ({"a": tensor("1", 4, (4,), (1,), kind="QInt8Storage")}, ONE, "it would call torch.QInt8Storage"),
        ({"a": Reference("module", "torch", "harm.py", "")}, {}, "it refers to something else than a storage"),
        ({"a": Reference("storage", "FloatStorage", 5, "cpu", 4)}, {}, "it refers to a storage that is none"),
    ],
)
def test_crafted_files_are_refused(tmp_path, monkeypatch, state, more, message):
    monkeypatch.chdir(tmp_path)
    path = legacy(tmp_path / "bad.pth", state, more)
    with pytest.raises(ValueError, match=f"bad.pth cannot be read as a weights file: .*{message}") as raised:
        convert.read(path)
    assert "\n" not in str(raised.value)
    assert [file.name for file in tmp_path.iterdir()] == ["bad.pth"]


def test_other_versions_and_machines(tmp_path):
    state = {"a": tensor("1", 4, (4,), (1,))}
    for wrong in ({"version": 1000}, {"machine": {**MACHINE, "little_endian": False}}, {"machine": None}):
        with pytest.raises(ValueError, match="bad.pth cannot be read as a weights file: it was written by another"):
            convert.read(legacy(tmp_path / "bad.pth", state, ONE, **wrong))


@pytest.mark.parametrize(
    "state",
    [
        {"a": storage("1", 4)},
        {"a": {"b": {"c": tensor("1", 4, (4,), (1,))}}},
        {"a": 5},
        {3: tensor("1", 4, (4,), (1,))},
    ],
)
def test_more_than_a_state_dict(tmp_path, state):
    with pytest.raises(ValueError, match="bad.pth (holds something else|cannot be read as a weights file: it)"):
        convert.read(legacy(tmp_path / "bad.pth", state, ONE))


def test_files_cut_short_at_any_byte(tmp_path):
    path = legacy(tmp_path / "bad.pth", {"a": tensor("1", 4, (4,), (1,))}, ONE)
    whole = path.read_bytes()
    for length in range(len(torch_legacy.MAGIC), len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="bad.pth cannot be read as a weights file: "):
            convert.read(path)


def test_names_that_a_file_may_use():
    """One function of PyTorch's and its wrapper become ours; types of storages are text."""
    allowed = torch_legacy.TorchUnpickler.ALLOWED
    assert {module for module, _ in allowed} == {"collections", "torch._utils", "torch"}
    assert allowed["collections", "OrderedDict"] is OrderedDict
    assert all(isinstance(x, str) for (module, _), x in allowed.items() if module == "torch")
