"""Weights files that are no good: one line with the path and the weight, before they fill the memory."""

import io
import pickle
import resource
import zlib
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from foreign import torchvision_state, write_pickle
from keras import layers

from mrcnn import weights
from mrcnn.weights import convert

KERNEL = "conv1/conv1/kernel:0"
KEY, VARIANCE = "backbone.body.conv1.weight", "backbone.body.bn1.running_var"


@pytest.fixture(scope="module")
def model():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, name="conv1"),
            layers.BatchNormalization(name="bn_conv1"),
            layers.Flatten(),
            layers.Dense(3, name="mrcnn_class_logits"),
        ]
    )


@pytest.fixture
def path(tmp_path, model):
    """Weights of the model."""
    groups = []
    for layer in model.layers:
        if layer.weights:
            groups.append(
                (layer.name, {f"{layer.name}/{w.name}:0": np.ones(w.shape, "float32") for w in layer.weights})
            )
    weights.write_groups(tmp_path / "x.h5", groups)
    return tmp_path / "x.h5"


@pytest.fixture
def little_memory():
    """Half a gigabyte more than there is, so that what fills the memory fails at once."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 29), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def put(file, path, **what):
    del file[path]
    file.create_dataset(path, **what)


def value(path, x):
    def change(file):
        array = file[path][()]
        array.flat[1] = x
        file[path][...] = array

    return change


def attribute(path, name, x):
    return lambda file: file[path].attrs.__setitem__(name, x)


def link(to):
    def change(file):
        del file[KERNEL]
        file[KERNEL] = to

    return change


def virtual(file):
    layout = h5py.VirtualLayout((3, 3, 3, 4), "f4")
    layout[...] = h5py.VirtualSource("other.h5", "x", (3, 3, 3, 4))
    del file[KERNEL]
    file.create_virtual_dataset(KERNEL, layout)


BROKEN = {
    "NaN": (value(KERNEL, np.nan), "cannot be used: conv1/kernel is not finite in 1 of 108 values"),
    "infinity": (value(KERNEL, -np.inf), "cannot be used: conv1/kernel is not finite in 1 of 108 values"),
    "of the last layer": (
        value("mrcnn_class_logits/mrcnn_class_logits/bias:0", np.nan),
        "cannot be used: mrcnn_class_logits/bias is not finite in 1 of 3 values",
    ),
    "too large": (
        lambda file: put(file, KERNEL, data=np.full((3, 3, 3, 4), 1e300)),
        "cannot be used: conv1/kernel is not finite in 108 of 108 values",
    ),
    "variance": (value("bn_conv1/bn_conv1/moving_variance:0", -1), "bn_conv1/moving_variance is negative"),
    "group": (lambda file: (file.pop(KERNEL), file.create_group(KERNEL)), f"has a group at /{KERNEL}, where a dataset"),
    "dataset": (
        lambda file: (file.pop("conv1"), file.create_dataset("conv1", data=1.0)),
        "has a dataset at /conv1, where a group",
    ),
    "nothing": (lambda file: file.pop(KERNEL), f"has nothing at /{KERNEL}, where a dataset is expected"),
    "type": (lambda file: (file.pop(KERNEL), file.__setitem__(KERNEL, np.dtype("f4"))), "has a datatype at"),
    "text": (lambda file: put(file, KERNEL, data="hello"), f"has no numbers at /{KERNEL}"),
    "complex": (lambda file: put(file, KERNEL, data=np.ones((3, 3, 3, 4), "c8")), f"has no numbers at /{KERNEL}"),
    "no space": (lambda file: put(file, KERNEL, data=h5py.Empty("f4")), f"has no numbers at /{KERNEL}"),
    "numbers for names": (attribute("/", "layer_names", [1, 2]), "has something else than names in layer_names at /"),
    "number for names": (attribute("/conv1", "weight_names", 5), "than names in weight_names at /conv1"),
    "name for names": (attribute("/", "layer_names", "conv1"), "has something else than names in layer_names at /"),
    "table for names": (attribute("/", "layer_names", np.array([[b"conv1"]])), "than names in layer_names at /"),
    "no names": (lambda file: file["conv1"].attrs.pop("weight_names"), "has no weight_names at /conv1"),
    "not UTF-8": (attribute("/", "layer_names", np.array([b"\xff"])), "is not a readable HDF5 weights file"),
    "link": (link(h5py.SoftLink("/nowhere")), f"has nothing at /{KERNEL}"),
    "circle": (link(h5py.SoftLink("/" + KERNEL)), "is not a readable HDF5 weights file"),
    "other file": (link(h5py.ExternalLink("/dev/zero", "x")), f"only a link to another file at /{KERNEL}"),
    "virtual": (virtual, f"has the values of /{KERNEL} in other files"),
    "a million million": (
        lambda file: put(file, KERNEL, shape=(10**6, 10**6), dtype="f4", chunks=(1000, 1000)),
        f"declares (1000000, 1000000) values at /{KERNEL} and does not hold them",
    ),
    "unwritten": (
        lambda file: put(file, KERNEL, shape=(3, 3, 3, 4), dtype="f4", chunks=(3, 3, 3, 4)),
        f"declares (3, 3, 3, 4) values at /{KERNEL} and does not hold them",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files(kind, path, model):
    change, message = BROKEN[kind]
    with h5py.File(path, "r+") as file:
        change(file)
    before = model.get_weights()
    for strict in (True, False):
        with pytest.raises(ValueError) as error:
            weights.load(model, path, strict=strict)
        assert str(error.value).startswith(f"{path} ") and message in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError):
        weights.read(path)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_has_no_place_is_not_read(path, model, little_memory):
    """Its shape is enough to say so. A gigabyte of zeros packs to a megabyte."""
    with h5py.File(path, "r+") as file:
        side, packed = 2**12, zlib.compress(bytes(2**26))
        put(file, KERNEL, shape=(8 * side, 2 * side), dtype="f4", compression="gzip", chunks=(side, side))
        for i in range(16):
            file[KERNEL].id.write_direct_chunk((i // 2 * side, i % 2 * side), packed)
    report = weights.load(model, path)
    assert report.mismatched == {"conv1": "kernel is (32768, 8192), wanted (3, 3, 3, 4)"}
    assert report.loaded == ["bn_conv1", "mrcnn_class_logits"]


def test_broken_values_of_other_layers_are_no_matter(path, model):
    with h5py.File(path, "r+") as file:
        file.copy("conv1", "extra")
        value("extra/conv1/kernel:0", np.nan)(file)
        file.attrs["layer_names"] = np.array([*file.attrs["layer_names"], b"extra"])
        file["extra"].attrs["weight_names"] = np.array([b"conv1/kernel:0"])
        del file["conv1"]
        file.attrs["layer_names"] = np.array([b"bn_conv1", b"mrcnn_class_logits", b"extra"])
    assert weights.load(model, path, exclude=["conv1"]).excluded == ["conv1"]
    with pytest.raises(ValueError, match="conv1/kernel is not finite"):
        weights.load(model, path)


# Files of other packages


@pytest.fixture(scope="module")
def state():
    return dict(torchvision_state())


def broken(array, x):
    array = array.copy()
    array.flat[1] = x
    return array


@pytest.mark.parametrize("ending", ["pkl", "safetensors", "pth"])
def test_values_of_other_packages(ending, state, tmp_path):
    path = tmp_path / f"model.{ending}"
    variance = "backbone.body.bn1.running_var"
    for key, x, message in (
        (KEY, np.nan, "is not finite in 1 of"),
        (variance, -1, "is negative, which no variance is"),
    ):
        content = {**state, key: broken(state[key], x)}
        if ending == "pkl":
            write_pickle(path, content)
        elif ending == "safetensors":
            pytest.importorskip("safetensors.numpy", reason="safetensors reads .safetensors files").save_file(
                content, path
            )
        else:
            torch = pytest.importorskip("torch", reason="PyTorch is not installed")
            torch.save({name: torch.tensor(value) for name, value in content.items()}, path)
        with pytest.raises(ValueError) as error:
            convert.convert_file(path, tmp_path / "out")
        assert str(error.value).startswith(f"{path} cannot be used: {key} {message}")
    assert not (tmp_path / "out").exists()


def test_tensors_that_declare_more_than_they_hold(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.save({KEY: torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "model.pth")
    with pytest.raises(ValueError, match="it declares .1000000, 1000000. values and does not hold them"):
        convert.read(tmp_path / "model.pth")


class Called:
    """What pickles as a call."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


RECONSTRUCT = np.zeros(1).__reduce__()[0]


@pytest.mark.parametrize(
    "array",
    [
        Called(np.ndarray, (2**28,)),
        Called(RECONSTRUCT, (np.ndarray, (2**28,), b"d"), (1, (2**28,), np.dtype("f8"), False, b"12345678")),
        Called(RECONSTRUCT, (int, (0,), b"b")),
    ],
)
def test_pickles_of_arrays_that_they_do_not_hold(array, tmp_path, little_memory):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({KEY: array}, 2))
    with pytest.raises(ValueError, match=f"{path} cannot be read as a weights file"):
        convert.read(path)


@pytest.mark.parametrize(
    "key, shape, message",
    [
        (KEY, (3,), "conv1 would get a kernel of shape (3,)"),
        (KEY, (0, 3, 7, 7), "conv1 would get a kernel of shape (0, 3, 7, 7)"),
        ("backbone.body.bn1.running_var", (3,), "bn_conv1 would get weights for"),
        ("roi_heads.box_predictor.cls_score.bias", (), "mrcnn_class_logits would get a bias of shape ()"),
        ("roi_heads.box_predictor.bbox_pred.weight", (7,), "mrcnn_bbox_fc would get a kernel of shape (7,)"),
        ("roi_heads.mask_predictor.conv5_mask.bias", (5,), "mrcnn_mask_deconv would get weights for"),
    ],
)
def test_shapes_of_other_packages(key, shape, message, state, tmp_path):
    source = write_pickle(tmp_path / "model.pkl", {**state, key: np.ones(shape, "float32")})
    with pytest.raises(ValueError) as error:
        convert.convert_file(source, tmp_path / "out")
    assert str(error.value).startswith(f"{source} cannot be converted: {message}")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_files_of_one_name_are_converted_each(state, tmp_path, capsys):
    found = []
    for x in (0.5, 0.25):
        folder = tmp_path / str(x)
        folder.mkdir()
        content = {**state, KEY: np.full_like(state[KEY], x)}
        path = convert.h5_file(write_pickle(folder / "model_final.pkl", content), tmp_path / "logs")
        assert path.name == "weights.h5" and path.parent.name.startswith("model_final-")
        assert "Converting" in capsys.readouterr().out
        found.append(float(weights.read(path)["conv1"]["kernel"].flat[0]))
        assert convert.h5_file(folder / "model_final.pkl", tmp_path / "logs") == path  # kept
        assert capsys.readouterr().out == ""
    assert found == [0.5, 0.25]


def test_a_full_disk_leaves_the_old_weights(path, monkeypatch):
    """That is said in one line with the path; HDF5 writes into memory."""
    before = path.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limit[1]))
    try:
        with pytest.raises(OSError, match=f"File too large: '{path}'"):
            weights.write_groups(path, [("conv1", {"conv1/kernel:0": np.ones(len(before))})])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == ["x.h5"]


def test_optimizer_states_that_are_no_good(tmp_path, model):
    from mrcnn.train.checkpoints import restore_optimizer

    model.compile("adam")
    model.optimizer.build(model.trainable_variables)
    good = {f"{i:04d}|{v.path}": v.numpy() for i, v in enumerate(model.optimizer.variables)}
    path = tmp_path / "mask_rcnn_x_0001.optimizer.npz"
    content = io.BytesIO()
    np.savez(content, **good)
    momentum = next(key for key, x in good.items() if x.ndim == 4)
    with_nan, with_text = (io.BytesIO() for _ in range(2))
    np.savez(with_nan, **{**good, momentum: np.full_like(good[momentum], np.nan)})
    np.savez(with_text, **{**good, momentum: np.full(good[momentum].shape, "text")})
    for bad in (b"", b"abc", content.getvalue()[:-500], with_nan.getvalue(), with_text.getvalue()):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=f"{path} is damaged .*; delete it to go on with momentum from zero"):
            restore_optimizer(model, tmp_path / "mask_rcnn_x_0001.h5")
    path.write_bytes(content.getvalue())
    assert restore_optimizer(model, tmp_path / "mask_rcnn_x_0001.h5") == 0
