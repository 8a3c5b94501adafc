"""Files of other packages: their arrays, and nothing that runs."""

import os
import pickle
import sys
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from foreign import write_pickle

from mrcnn.weights import convert


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickles_of_detectron2(tmp_path, protocol):
    state = OrderedDict(a=np.arange(6, dtype="float32").reshape(2, 3), b=np.array(5))
    path = write_pickle(tmp_path / "model.pkl", {"model": state, "__author__": "Detectron2 Model Zoo"}, protocol)
    found = convert.read(path)
    assert list(found) == ["a", "b"] and found["b"] == 5 and found["a"].dtype == "float32"
    np.testing.assert_array_equal(found["a"], state["a"])
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray\n"[:-1]))
    if protocol < 4:  # the name is ended by a line break there, and has no length
        np.testing.assert_array_equal(convert.read(path)["a"], state["a"])


class Call:
    """What pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def raw(*lines):
    """A pickle of protocol 0 from its opcodes."""
    return b"".join(lines) + b"."


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"model": Call(os.system, "touch harm")}),
        pickle.dumps({"model": {"a": Call(eval, "open('harm', 'w')")}}),
        pickle.dumps({"model": {"a": Call(exec, "open('harm', 'w')")}}, protocol=0),
        pickle.dumps([Call(getattr, Path, "home")]),
        pickle.dumps([Call(__import__, "os")]),
        pickle.dumps(Call(Path, "harm")),
        pickle.dumps({"model": {"a": np.array([Call(os.system, "touch harm")], dtype=object)}}),
        raw(b"cposix\nsystem\n", b"(S'touch harm'\ntR"),
        raw(b"cnumpy\nload\n", b"(S'harm'\ntR"),
        raw(b"(S'touch harm'\nios\nsystem\n"),
        # A dotted name, which pickle would look up part by part.
        b"\x80\x04\x8c\x05numpy\x8c\x14dtype.__class__.mro\x93.",
        b"\x80\x04\x8c\x0bcollections\x8c\x1cOrderedDict.fromkeys.__self__\x93.",
        # A codec that was never needed for bytes, a persistent id, and an extension.
        raw(b"c_codecs\nencode\n", b"(S'x'\nS'zlib'\ntR"),
        raw(b"Pharm\n"),
        b"\x80\x02\x82\x01.",
        # Not even a pickle.
        b"",
        b"\x80\x04garbage",
        pickle.dumps({"a": np.zeros(100)})[:60],
    ],
)
def test_crafted_pickles_are_refused(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="model.pkl cannot be read as a weights file: "):
        convert.read(path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.pkl"]


@pytest.mark.parametrize(
    "content",
    [
        # The 50,000,000th object to remember, a number of as many bytes, and an array of bytes.
        b"\x80\x02Nr" + (50_000_000).to_bytes(4, "little") + b".",
        raw(b"cnumpy._core.multiarray\nscalar\n", b"(cnumpy\ndtype\n(S'V50000000'\ntRtR"),
        raw(b"cnumpy._core.multiarray\nscalar\n", b"(cnumpy\ndtype\n(S'V50000000'\ntRS'x'\ntR"),
        b"\x80\x05\x96" + (50_000_000).to_bytes(8, "little") + b"x.",
    ],
)
def test_a_few_bytes_take_little_memory(tmp_path, content):
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(ValueError, match="model.pkl (cannot be read as a weights file: it h|holds something else)"):
        convert.read(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10**6


def test_weights_of_several_gpus(tmp_path):
    path = write_pickle(tmp_path / "model.pkl", {"model": {"module.a.weight": np.ones(2), "module.b": np.ones(1)}})
    assert list(convert.read(path)) == ["a.weight", "b"]


def test_numbers_beside_weights(tmp_path):
    """As training tools keep them; of Python 2 their bytes are text."""
    path = write_pickle(tmp_path / "model.pkl", {"model": {"a": np.ones(2)}, "loss": np.float64(0.5)}, 2)
    assert convert.read(path)["a"].tolist() == [1, 1]


@pytest.mark.parametrize(
    "content", [{"a": np.array(["text"])}, {"a": np.array([{}], dtype=object)}, {"a": 5}, {5: np.ones(1)}, [1], None]
)
def test_pickles_of_something_else(tmp_path, content):
    path = write_pickle(tmp_path / "model.pkl", content)
    with pytest.raises(ValueError, match=r"model.pkl holds something else than arrays of numbers by their names\."):
        convert.read(path)


def test_torch_files(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    values = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(5), "c": torch.ones(2, dtype=torch.bfloat16)}
    values["c"] = torch.nn.Parameter(values["c"])  # as named_parameters() gives them
    for name, content in {"plain.pth": values, "trained.pth": {"model": values, "iteration": 3}}.items():
        torch.save(content, tmp_path / name)
        found = convert.read(tmp_path / name)
        np.testing.assert_array_equal(found["a"], [[0, 1, 2], [3, 4, 5]])
        assert list(found) == ["a", "b", "c"] and found["b"] == 5 and found["c"].tolist() == [1, 1]
    torch.save({"model": Call(os.system, f"touch {tmp_path / 'harm'}")}, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match="bad.pth cannot be read as a weights file: it holds more than tensors"):
        convert.read(tmp_path / "bad.pth")
    assert not (tmp_path / "harm").exists()
    whole = (tmp_path / "plain.pth").read_bytes()
    for content in (b"", whole[:100], b"<html>404</html>"):
        (tmp_path / "cut.pth").write_bytes(content)
        with pytest.raises(ValueError, match="it is cut short, or no file of torch.save$"):
            convert.read(tmp_path / "cut.pth")


def test_safetensors_files(tmp_path):
    library = pytest.importorskip("safetensors.numpy", reason="safetensors reads .safetensors files")
    library.save_file({"a": np.arange(3, dtype="float32")}, tmp_path / "model.safetensors")
    np.testing.assert_array_equal(convert.read(tmp_path / "model.safetensors")["a"], [0, 1, 2])
    (tmp_path / "model.safetensors").write_bytes(b"no such file")
    with pytest.raises(ValueError, match="model.safetensors cannot be read"):
        convert.read(tmp_path / "model.safetensors")


@pytest.mark.parametrize("library, ending", [("torch", "pth"), ("safetensors.numpy", "safetensors")])
def test_missing_libraries(tmp_path, monkeypatch, library, ending):
    monkeypatch.setitem(sys.modules, library, None)
    (tmp_path / f"model.{ending}").write_bytes(b"")
    package = library.split(".")[0]
    with pytest.raises(ImportError, match=f"model.{ending} needs .* to be read: pip install {package}$"):
        convert.read(tmp_path / f"model.{ending}")


def test_other_files(tmp_path):
    with pytest.raises(ValueError, match="model.h5 is no file of .pth, .pt, .safetensors, .pkl"):
        convert.read(tmp_path / "model.h5")
    with pytest.raises(FileNotFoundError, match="not found: .*model.pkl"):
        convert.read(tmp_path / "model.pkl")
