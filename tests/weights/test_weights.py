import os
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tiny
from conftest import read_golden
from keras import layers
from real_data import ROOT

from mrcnn import weights
from mrcnn.config import Config
from mrcnn.model import LAYER_PRESETS, MaskRCNN
from mrcnn.settings import CONFIG
from mrcnn.weights import releases

LAYOUT = read_golden("layer_layout.json")
KEPT_HEADS = ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask"]


class CocoConfig(Config):
    NUM_CLASSES = 1 + 80


@pytest.fixture(scope="module", params=LAYOUT["models"])
def coco_model(request, tmp_path_factory):
    """A whole model and its part of the layout: resnet50 and resnet101, inference and training."""
    backbone, mode = request.param.split("/")
    model = MaskRCNN(mode, CocoConfig().update(BACKBONE=backbone), tmp_path_factory.mktemp("logs"))
    return model, LAYOUT["models"][request.param]


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    return tiny.tiny_model("inference", tmp_path_factory.mktemp("logs"))


def small_model(scale=0.0):
    """Two layers and a nested model, every weight filled with `scale` times its own number."""
    x = keras.Input((2,))
    inner = [layers.Dense(4, name="inner_a"), layers.Dense(5, name="inner_b")]
    model = keras.Model(x, keras.Sequential(inner, name="nested")(layers.Dense(3, name="first")(x)))
    for number, weight in enumerate(model.weights, 1):
        weight.assign(np.full(weight.shape, scale * number))
    return model


def values_of(model):
    return {layer.name: {w.name: w.numpy() for w in layer.weights} for layer in weights.weighted_layers(model)}


def assert_same(found, expected):
    assert {layer: set(ws) for layer, ws in found.items()} == {layer: set(ws) for layer, ws in expected.items()}
    for layer, values in expected.items():
        for name, value in values.items():
            np.testing.assert_array_equal(found[layer][name], value, err_msg=f"{layer}/{name}")


def write_by_hand(path, groups, text=bytes, root=None, **dataset_options):
    """An h5 file from [(layer, [(weight name, array)])]."""
    encode = str.encode if text is bytes else str
    with h5py.File(path, "w") as file:
        file = file.create_group(root) if root else file
        file.attrs["layer_names"] = [encode(layer) for layer, _ in groups]
        for layer, pairs in groups:
            group = file.create_group(layer)
            group.attrs["weight_names"] = [encode(name) for name, _ in pairs]
            for name, value in pairs:
                group.create_dataset(name, data=value, **dataset_options)
    return path


def small_groups(suffix="", colon=":0"):
    """Groups for `write_by_hand` of a `small_model(1.0)`, in an order that is not the model's."""
    values = values_of(small_model(1.0))

    def pairs(layer):
        return [(f"{layer}{suffix}/{name}{colon}", value) for name, value in reversed(values[layer].items())]

    return [("nested", pairs("inner_b") + pairs("inner_a")), ("weightless", []), ("first", pairs("first"))]


# Layout


def test_written_file_has_the_originals_layout(coco_model, tmp_path):
    model, expected = coco_model
    path = tmp_path / "whole.h5"
    model.save_weights(path)
    with h5py.File(path) as file:
        names = list(file.attrs["layer_names"])
        assert all(isinstance(name, bytes) for name in names)
        found = [
            {
                "layer": name.decode(),
                "weights": [[w.decode(), list(file[name][w].shape)] for w in file[name].attrs["weight_names"]],
            }
            for name in names
        ]
        attributes = {name: file.attrs[name] for name in ("backend", "keras_version")}
        assert sorted(file) == sorted(name.decode() for name in names)
    os.remove(path)
    assert found == expected["layers"]
    assert attributes == expected["attrs"]
    assert sum(np.prod(shape, dtype=int) for layer in found for _, shape in layer["weights"]) == expected["params"]


def test_presets_train_the_originals_layers(coco_model):
    model, expected = coco_model
    if model.mode == "inference":
        assert "presets" not in expected
        return
    for preset, wanted in expected["presets"].items():
        model.set_trainable(LAYER_PRESETS[preset], verbose=0)
        assert LAYER_PRESETS[preset] == wanted["regex"]
        trained = [layer for layer in model.get_trainable_layers() if layer.trainable]
        assert sorted(layer.name for layer in trained) == sorted(wanted["layers"])
        assert len(model.keras_model.trainable_weights) == wanted["trainable_weights"]


def test_the_originals_file_comes_back_unchanged(tiny_model, tmp_path):
    path = tmp_path / "again.h5"
    tiny_model.save_weights(path)
    with h5py.File(path) as ours, h5py.File(tiny.WEIGHTS) as original:
        for name in original.attrs:
            assert ours.attrs.get_id(name).get_type().get_class() == original.attrs.get_id(name).get_type().get_class()
            assert ours.attrs.get_id(name).dtype.kind == original.attrs.get_id(name).dtype.kind
        weighted = [
            [layer for layer in file.attrs["layer_names"] if len(file[layer].attrs["weight_names"])]
            for file in (ours, original)
        ]
        assert weighted[0] == weighted[1]
        for layer in weighted[0]:
            names = original[layer].attrs["weight_names"]
            assert list(ours[layer].attrs["weight_names"]) == list(names)
            for name in names:
                assert ours[layer][name].dtype == original[layer][name].dtype
                np.testing.assert_array_equal(ours[layer][name][()], original[layer][name][()])


def test_training_and_inference_files_are_interchangeable(tiny_model, tmp_path):
    training = tiny.tiny_model("training", tmp_path)
    for layer in training.get_trainable_layers():
        for weight in layer.weights:
            weight.assign(weight + 1)
    training.save_weights(tmp_path / "training.h5")
    model = tiny.tiny_model("inference", tmp_path)
    model.load_weights(tmp_path / "training.h5")
    assert_same(values_of(model.keras_model), values_of(training.keras_model))
    before = values_of(tiny_model.keras_model)["tiny_conv1"]["kernel"]
    np.testing.assert_array_equal(values_of(model.keras_model)["tiny_conv1"]["kernel"], before + 1)


def test_keras_model_save_weights_by_suffix(tiny_model, tmp_path):
    """Old code calls `model.keras_model.save_weights("x.h5")`; "x.weights.h5" is Keras 3's own name for its format."""
    graph = tiny_model.keras_model
    graph.save_weights(tmp_path / "old.h5")
    assert_same(weights.read(tmp_path / "old.h5"), values_of(graph))
    graph.save_weights(tmp_path / "new.weights.h5")
    with h5py.File(tmp_path / "new.weights.h5") as file:
        assert "layer_names" not in file.attrs and "layers" in file
    expected = values_of(graph)
    kernel = graph.get_layer("tiny_conv1").kernel
    kernel.assign(kernel * 0)
    graph.load_weights(tmp_path / "new.weights.h5")
    assert_same(values_of(graph), expected)


def test_a_failing_write_leaves_the_old_file(tiny_model, tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.h5"
    path.write_bytes(b"the old file")

    def full_disk(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(h5py.Group, "create_dataset", full_disk)
    with pytest.raises(OSError, match="No space left"):
        tiny_model.save_weights(path)
    assert path.read_bytes() == b"the old file"


# Reading


@pytest.mark.parametrize(
    "options",
    [{}, {"text": str}, {"root": "model_weights"}, {"compression": "gzip"}],
    ids=["bytes", "str", "full save", "gzip"],
)
@pytest.mark.parametrize("colon", [":0", ""])
def test_read_goes_by_name(tmp_path, options, colon):
    path = write_by_hand(tmp_path / "x.h5", small_groups(colon=colon), **options)
    expected = values_of(small_model(1.0))
    assert_same(weights.read(path), expected)
    model = small_model()
    report = weights.load(model, path, strict=True)
    assert_same(values_of(model), expected)
    assert sorted(report.loaded) == ["first", "inner_a", "inner_b"]


def test_read_names_of_a_second_model_in_one_session(tmp_path):
    """TensorFlow 1 counted on: variables like fpn_c5p5_3/kernel:0 stand in matterport/Mask_RCNN issue 1154."""
    path = write_by_hand(tmp_path / "x.h5", small_groups(suffix="_3"))
    assert_same(weights.read(path), values_of(small_model(1.0)))
    numbered = [("dense_3", [("dense_3/kernel:0", np.ones((2, 2)))]), ("odd", [("a_1/b:0", [1]), ("c/b:0", [2])])]
    assert list(weights.read(write_by_hand(tmp_path / "y.h5", numbered))) == ["dense_3", "a_1", "c"]


def test_read_a_full_save_of_keras_3(tmp_path):
    model = small_model(1.0)
    model.save(tmp_path / "full.h5")
    assert_same(weights.read(tmp_path / "full.h5"), values_of(model))


def test_exclude(tmp_path):
    path = write_by_hand(tmp_path / "x.h5", small_groups())
    model = small_model()
    report = weights.load(model, path, exclude=["nested"])
    assert (report.loaded, report.excluded) == (["first"], ["inner_a", "inner_b"])
    assert not np.any(values_of(model)["inner_a"]["kernel"]) and np.all(values_of(model)["first"]["kernel"] == 1)
    assert "excluded by request: inner_a, inner_b" in str(report)


def test_exclude_the_rpn(tiny_model):
    rpn = ["rpn_conv_shared", "rpn_class_raw", "rpn_bbox_pred"]
    with pytest.warns(UserWarning, match=f"meaningless detections, in {', '.join(rpn)}, mrcnn_mask."):
        tiny_model.load_weights(str(tiny.WEIGHTS), exclude=["rpn_model", "mrcnn_mask"])
    assert tiny_model.load_report.excluded == [*rpn, "mrcnn_mask"]
    assert not tiny_model.load_report.missing and not tiny_model.load_report.mismatched


def test_another_number_of_classes_leaves_the_heads(tmp_path, capsys):
    model = MaskRCNN("inference", tiny.TinyConfig().update(NUM_CLASSES=6), tmp_path)
    before = values_of(model.keras_model)
    with pytest.warns(UserWarning, match=f"Random weights.*in {', '.join(KEPT_HEADS)}."):
        model.load_weights(tiny.WEIGHTS, by_name=True)
    report, after, stored = model.load_report, values_of(model.keras_model), weights.read(tiny.WEIGHTS)
    assert list(report.mismatched) == KEPT_HEADS and not report.missing
    assert_same({k: after[k] for k in KEPT_HEADS}, {k: before[k] for k in KEPT_HEADS})
    assert_same({k: after[k] for k in report.loaded}, {k: stored[k] for k in report.loaded})
    out = capsys.readouterr().out
    assert "mrcnn_class_logits: kernel is (32, 4), wanted (32, 6); bias is (4,), wanted (6,)" in out
    assert "mrcnn_bbox_fc: kernel is (32, 16), wanted (32, 24)" in out
    assert "the file has 4 classes, this model 6: the heads are left as they were" in out
    with pytest.raises(ValueError, match="by_name=True to load only what fits"):
        model.load_weights(tiny.WEIGHTS)


def test_strict_and_lax(tmp_path):
    path = write_by_hand(tmp_path / "x.h5", small_groups()[:2])
    model = small_model()
    with pytest.raises(ValueError, match="not in the file, left as they were: first"):
        weights.load(model, path, strict=True)
    assert not np.any(values_of(model)["inner_a"]["kernel"])  # nothing was loaded
    report = weights.load(model, path)
    assert (report.missing, report.loaded) == (["first"], ["inner_a", "inner_b"])


def test_layers_of_the_file_that_the_model_lacks(tmp_path):
    more = [("more", [("more/kernel:0", np.ones((2, 2)))])]
    report = weights.load(small_model(), write_by_hand(tmp_path / "x.h5", small_groups() + more), strict=True)
    assert report.unused == ["more"] and "in the file, but not in this model: more" in str(report)


def test_a_file_of_another_backbone(tmp_path):
    """Heads alone may be loaded, and less than half of the backbone may not."""
    x = keras.Input((2,))
    y = x
    for name in ("a", "b", "c", "fpn_a", "mrcnn_b"):
        y = layers.Dense(2, name=name)(y)
    model, new = keras.Model(x, y), {"kernel": np.full((2, 2), 7.0), "bias": np.full(2, 7.0)}

    def file(*names):
        groups = [(name, [(f"{name}/{key}:0", value) for key, value in new.items()]) for name in names]
        return write_by_hand(tmp_path / "x.h5", groups)

    with pytest.raises(ValueError, match=r"x.h5 is of another backbone: it fits 1 of 3 layers, not b, c\. Choose"):
        weights.load(model, file("a", "fpn_a", "mrcnn_b"))
    with pytest.raises(ValueError, match="fits 0 of 3 layers"):
        weights.load(model, file("d", "fpn_a", "mrcnn_b"))
    assert not np.any(values_of(model)["fpn_a"]["kernel"] == 7)
    assert weights.load(model, file("a", "fpn_a"), exclude=["b", "c"]).loaded == ["a", "fpn_a"]
    assert weights.load(model, file("fpn_a", "mrcnn_b")).loaded == ["fpn_a", "mrcnn_b"]
    assert weights.load(model, file("a", "b")).missing == ["c", "fpn_a", "mrcnn_b"]


# Files that cannot be used


def test_a_file_that_matches_nothing(tmp_path):
    path = write_by_hand(tmp_path / "x.h5", [("dense_7", [("dense_7/kernel:0", np.ones((2, 3)))])])
    with pytest.raises(ValueError) as error:
        weights.load(small_model(), path)
    assert str(error.value) == (
        f"{path} fits no layer of this model. The file holds dense_7; the model wants first, inner_a, inner_b."
    )


def bad_file(kind, folder):
    path = folder / ("x.weights.h5" if kind == "keras 3" else "x.h5")
    if kind == "text":
        path.write_text("<html>404 Not Found</html>")
    elif kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind == "keras 3":
        small_model().save_weights(path)
    elif kind == "group gone":
        with h5py.File(write_by_hand(path, small_groups()), "a") as file:
            del file["nested"]
    elif kind.startswith("cut"):
        whole = tiny.WEIGHTS.read_bytes()
        path.write_bytes(whole[: len(whole) * int(kind[4:]) // 100])
    return path


@pytest.mark.parametrize(
    "kind, error, message",
    [
        ("missing", FileNotFoundError, "Weights file not found"),
        ("folder", FileNotFoundError, "Weights file not found"),
        ("text", ValueError, "not a readable HDF5 weights file"),
        ("empty", ValueError, "not a readable HDF5 weights file"),
        ("cut 1", ValueError, "damaged, cut short"),
        ("cut 50", ValueError, "damaged, cut short"),
        ("cut 99", ValueError, "damaged, cut short"),
        ("group gone", ValueError, "damaged, cut short"),
        ("keras 3", ValueError, "a Keras 3 file: use keras_model.load_weights"),
    ],
)
def test_one_clear_line_for_a_bad_file(tmp_path, kind, error, message):
    path = bad_file(kind, tmp_path)
    with pytest.raises(error, match=message) as raised:
        weights.load(small_model(), path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


# Download


def test_the_table_is_in_the_readme():
    assert weights.table() in (ROOT / "weights" / "README.md").read_text()


def test_unknown_name(tmp_path):
    with pytest.raises(ValueError, match="There are no weights named 'cocoo'; known are coco, balloon, imagenet-"):
        weights.download("cocoo", tmp_path / "x.h5")


def test_download_into_the_default_folder(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(releases, "default_folder", lambda: tmp_path)
    monkeypatch.setattr(releases, "fetch", lambda *args: calls.append(args))
    weights.download("coco")
    weights.download("balloon", "mine.h5", verbose=0)
    release, other = weights.PRETRAINED["coco"], weights.PRETRAINED["balloon"]
    assert calls == [(release.url, tmp_path / release.file, release.sha256, 1), (other.url, "mine.h5", None, 0)]


def test_some_come_with_the_package(tmp_path, monkeypatch):
    path = Path(weights.download("shapes"))
    assert path == ROOT / "weights" / "shapes" / "mask_rcnn_shapes.h5" and (path.parent / CONFIG).exists()
    monkeypatch.setattr(releases, "__file__", str(tmp_path / "mrcnn" / "weights" / "releases.py"))
    with pytest.raises(FileNotFoundError, match="mask_rcnn_shapes.h5 should be there; install the package anew"):
        weights.download("shapes")
    installed = tmp_path / "mrcnn_weights" / "shapes" / path.name
    installed.parent.mkdir(parents=True)
    installed.touch()
    assert weights.download("shapes") == str(installed)


def test_imagenet_weights_only_for_named_backbones(tiny_model):
    with pytest.raises(ValueError, match="No ImageNet weights for BACKBONE .*; there are some for resnet50, "):
        tiny_model.get_imagenet_weights()
