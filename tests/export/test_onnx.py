"""ONNX's words for what graphs have."""

import keras
import numpy as np
import pytest

from mrcnn.export import onnx as written
from mrcnn.layers.upsampling import Nearest


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_enlarged_maps(factor, tmp_path, capfd):
    """The same values, and nothing that ONNX Runtime warns of."""
    for package in written.NEEDS:
        pytest.importorskip(package, reason="ONNX Runtime is not installed")
    given = keras.Input((3, 5, 4), name="image")
    model = keras.Model({"image": given}, {"found": Nearest(factor)(given)})
    values = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype("float32")
    written.write(model, tmp_path / "model.onnx", "float32", [])
    capfd.readouterr()
    found = written.load(tmp_path / "model.onnx")({"image": values})["found"]
    np.testing.assert_array_equal(found, values.repeat(factor, axis=1).repeat(factor, axis=2))
    assert "deprecated" not in capfd.readouterr().err
