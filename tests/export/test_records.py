"""The JSON beside an exported model, and the model: broken, missing or of another model, all is one line."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from fuzz import DELETED, changed
from quick import QuickConfig

from mrcnn.export import Exported, runtime

GOOD = {
    "format": "onnx",
    "canvas": [64, 64],
    "image": None,
    "outputs": {"boxes": ""},
    "settings": {k: x for k, x in QuickConfig().to_dict().items() if not callable(x)},
}


def model(folder, record=GOOD, **more):
    """The path of a model with its JSON."""
    path = folder / "m.onnx"
    path.write_bytes(b"model")
    runtime.record_path(path).write_text(record if isinstance(record, str) else json.dumps({**record, **more}))
    return path


@pytest.fixture
def loaded(monkeypatch):
    """Has files loaded by a function of their path."""
    return lambda load: monkeypatch.setattr(runtime, "format_module", lambda name: SimpleNamespace(load=load))


@pytest.mark.parametrize("text", ["", "7", "[]", "{", "[" * 10**5, "\xff", '{"format": "onnx"}'])
def test_what_is_no_record(tmp_path, text):
    with pytest.raises(ValueError, match="m.onnx.json is not of an exported model: ") as error:
        Exported(model(tmp_path, text))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "way, values",
    [
        (("format",), [DELETED, None, ["onnx"], "pickle"]),
        (("canvas",), [DELETED, None, "64", [64], [64, -64], [64, 64.0], [True, 64], [10**9, 64]]),
        (("image",), [DELETED, 7, [64, 64], [0, 64, 64], "a"]),
        (("outputs",), [DELETED]),
        (("settings",), [DELETED, None, [], "a", {}]),
        (("settings", "NUM_CLASSES"), [DELETED, 0, "2"]),
        (("settings", "DETECTION_MIN_CONFIDENCE"), [DELETED, None, "0.5", 2, [0.5]]),
    ],
)
def test_any_field_of_a_record(tmp_path, loaded, way, values):
    loaded(lambda path: pytest.fail("it was loaded"))
    for value in values:
        with pytest.raises(ValueError, match="m.onnx.json is not of an exported model: ") as error:
            Exported(model(tmp_path, changed(GOOD, way, value)))
        assert "\n" not in str(error.value), value


def test_a_model_that_its_runtime_does_not_know(tmp_path, loaded):
    """Each has errors of its own, of many lines."""

    class Fail(Exception):
        pass

    def load(path):
        raise Fail("[ONNXRuntimeError] : 7\n INVALID_PROTOBUF")

    loaded(load)
    with pytest.raises(ValueError, match=r"m.onnx is broken, or no model of onnx: \[ONNXRuntimeError\] : 7 INVALID"):
        Exported(model(tmp_path))


def test_the_record_of_another_model(tmp_path, loaded):
    """Its classes and its canvas would be taken for this one's."""
    loaded(lambda path: lambda inputs: {"masks": 0})
    image = [np.zeros((4, 4, 3), "uint8")]
    path = model(tmp_path, sha1=runtime.fingerprint(model(tmp_path)).hex())
    (tmp_path / "m.bin").write_bytes(b"of an m.xml beside it")
    with pytest.raises(ValueError, match="m.onnx gives no boxes, which its .json has: export it again"):
        Exported(path).detect(image)
    path.write_bytes(b"another")
    with pytest.raises(ValueError, match="m.onnx.json is not of the .*m.onnx beside it, which was"):
        Exported(path)
    with pytest.raises(ValueError, match="gives no boxes"):  # a record of before has no digest
        Exported(model(tmp_path)).detect(image)


def test_half_of_a_model(tmp_path):
    """An .xml is nothing without its .bin."""
    path = model(tmp_path).rename(tmp_path / "m.xml")
    runtime.record_path(tmp_path / "m.onnx").rename(runtime.record_path(path))
    with pytest.raises(FileNotFoundError, match=r"There is no .*m\.bin; the files of an exported model lie beside"):
        Exported(path)
