"""The old module's names: their signatures, and the numbers of those that are not plain re-exports."""

import inspect
import sys
import types

import numpy as np
import pytest
from conftest import read_golden
from keras import ops

import mrcnn
from mrcnn import utils
from mrcnn.config import Config
from mrcnn.ops.nms import nms

API = read_golden("api.json")["mrcnn.utils"]
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def parameters(function):
    return [(p.name, p.default) for p in inspect.signature(function).parameters.values()]


def as_written(signature):
    """Parameters of "(a, b=None)"."""
    scope = {}
    exec(f"def function{signature}: pass", scope)
    return parameters(scope["function"])


def check_signature(function, signature):
    old, new = as_written(signature), parameters(function)
    assert new[: len(old)] == old
    for name, default in new[len(old) :]:
        assert default is not inspect.Parameter.empty, f"new parameter {name} has no default"


@pytest.mark.parametrize("name", [name for name, entry in API.items() if isinstance(entry, str)])
def test_function_signature(name):
    assert name in utils.__all__
    check_signature(getattr(utils, name), API[name])


@pytest.mark.parametrize("name", API["Dataset"]["methods"])
def test_dataset_signature(name):
    check_signature(getattr(utils.Dataset, name), API["Dataset"]["methods"][name])


def test_dataset_attributes():
    assert API["Dataset"]["attributes"] == {"image_ids": "property"}
    assert isinstance(utils.Dataset.image_ids, property)


def test_compute_iou(golden):
    data = golden("utils_golden.npz", "iou")
    np.testing.assert_allclose(utils.compute_iou(**data.ins), data.outs["iou"], rtol=1e-9)


@pytest.mark.parametrize("case, rtol", [("overlaps", 1e-9), ("overlaps_float", 1e-5)])
def test_compute_overlaps(golden, case, rtol):
    data = golden("utils_golden.npz", case)
    result = utils.compute_overlaps(**data.ins)
    np.testing.assert_allclose(result, data.outs["overlaps"], rtol=rtol)


def test_box_refinement(golden):
    """Equal but for one target of height -1, no box: the original's log made it nan, here its side counts as 1e-6."""
    data = golden("utils_golden.npz", "box_refinement")
    result, expected = utils.box_refinement(**data.ins), data.outs["deltas"].copy()
    assert result.dtype == np.float32
    row = np.flatnonzero(np.isnan(expected).any(axis=1))
    assert len(row) == 1 and data.ins["gt_box"][row[0]].tolist() == [14, 60, 13, 87]
    expected[row[0], 2] = np.log(1e-6 / 4)
    np.testing.assert_allclose(result, expected, **CLOSE)
    graph = utils.box_refinement_graph(*(ops.convert_to_tensor(a) for a in data.ins.values()))
    np.testing.assert_allclose(ops.convert_to_numpy(graph), expected, **CLOSE)


@pytest.mark.parametrize("case", ["apply_box_deltas", "apply_box_deltas_f32"])
def test_apply_box_deltas(golden, case):
    data = golden("utils_golden.npz", case)
    result = utils.apply_box_deltas(**data.ins)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, data.outs["boxes"], rtol=1e-5, atol=1e-5)


def test_norm_boxes(golden):
    data = golden("utils_golden.npz", "norm_boxes")
    result = utils.norm_boxes(data.ins["boxes"], data.args["shape"])
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, data.outs["boxes"], **CLOSE)


@pytest.mark.parametrize("case", ["denorm_boxes", "denorm_boxes_halves"])
def test_denorm_boxes(golden, case):
    data = golden("utils_golden.npz", case)
    result = utils.denorm_boxes(data.ins["boxes"], data.args["shape"])
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, data.outs["boxes"])


def test_non_max_suppression_is_nms():
    assert utils.non_max_suppression is nms


def test_mold_mask():
    class Tiny(Config):
        NUM_CLASSES = 2

    mask = np.zeros((56, 112, 2), bool)
    mask[:28, :, 0] = mask[:, 56:, 1] = True
    result = utils.mold_mask(mask, Tiny())
    assert result.shape == (28, 28, 2) and result.dtype == bool
    assert result[:14, :, 0].all() and not result[14:, :, 0].any()
    assert result[:, 14:, 1].all() and not result[:, :14, 1].any()


def test_batch_slice():
    a, b = np.arange(12.0).reshape(3, 2, 2), np.arange(3.0)
    total, scaled = utils.batch_slice(
        [ops.convert_to_tensor(a), ops.convert_to_tensor(b)], lambda x, y: (ops.sum(x), x * y), 3, names=["s", "x"]
    )
    np.testing.assert_allclose(ops.convert_to_numpy(total), a.sum(axis=(1, 2)))
    np.testing.assert_allclose(ops.convert_to_numpy(scaled), a * b[:, None, None])
    single = utils.batch_slice(ops.convert_to_tensor(a), lambda x: x + 1, 2)
    np.testing.assert_allclose(ops.convert_to_numpy(single), a[:2] + 1)


def test_download_trained_weights(monkeypatch, capsys):
    calls = []
    fake = types.ModuleType("mrcnn.weights.h5")
    fake.download = lambda *args: calls.append(args)
    monkeypatch.setitem(sys.modules, "mrcnn.weights.h5", fake)
    monkeypatch.setattr(mrcnn, "weights", fake, raising=False)
    utils.download_trained_weights("somewhere.h5", verbose=0)
    assert capsys.readouterr().out == ""
    utils.download_trained_weights("somewhere.h5")
    assert "somewhere.h5" in capsys.readouterr().out
    assert calls == [("coco", "somewhere.h5", 0), ("coco", "somewhere.h5", 1)]
