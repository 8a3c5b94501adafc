"""Weights files: the original's .h5 layout in and out, pretrained weights.

In that layout every layer is a group at the root with an attribute `weight_names`; a weight is keyed here by (layer,
weight), such as ("conv1", "kernel"), and never by its position in the file.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import posixpath
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import keras
import numpy as np

from mrcnn.ops.files import whole
from mrcnn.weights.values import check_values

# {layer: {weight: array}}, and the same not yet read.
Layers = dict[str, dict[str, np.ndarray]]
Stored = dict[str, dict[str, h5py.Dataset]]

# The attribute of a checkpoint that holds what its run has learned beside weights, as JSON.
RECORD = "training_record"

# How many times as large as a file values can be: deflate, which h5py has, packs no closer than 1032 to 1.
MOST_PACKED = 1100


class Origin(NamedTuple):
    """What is known of the network of a file that Keras published."""

    epsilon: float  # of its BatchNorm


KERAS = Origin(1.001e-5)  # keras.applications today
KERAS_1 = Origin(1e-3)  # its BatchNormalization's default


def _text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def _keras_applications_name(layer):
    """The original's name of a layer of today's `keras.applications` ResNets; other names unchanged."""
    layer = {"conv1_conv": "conv1", "conv1_bn": "bn_conv1"}.get(layer, layer)
    match = re.fullmatch(r"conv(\d)_block(\d+)_(\d)_(conv|bn)", layer)
    if not match:
        return layer
    stage, block, part, kind = match.groups()
    branch = {"0": "1", "1": "2a", "2": "2b", "3": "2c"}[part]
    return f"{'res' if kind == 'conv' else 'bn'}{stage}{chr(ord('a') + int(block) - 1)}_branch{branch}"


# Keras 1, whose ImageNet files are still about, wrote "conv1_W" without a scope.
_KERAS_1 = {
    "W": "kernel",
    "b": "bias",
    "gamma": "gamma",
    "beta": "beta",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",  # it holds the variance
}


def _keys(layer, names):
    """(layer, weight) of each name in the group of a layer or nested model."""
    keys = []
    for name in names:
        *scopes, weight = name.split(":")[0].split("/")
        old = re.fullmatch(rf".+_({'|'.join(_KERAS_1)})(_\d+)?", weight)
        keys.append((scopes[-1] if scopes else layer, _KERAS_1[old[1]] if old and not scopes else weight))
    # A second model in one TensorFlow 1 session got the scopes conv1_1, rpn_conv_shared_1 and so on.
    counts = {re.findall(r"(_\d+)?$", owner)[0] for owner, _ in keys}
    if len(counts) == 1 and layer not in {owner for owner, _ in keys}:
        keys = [(owner.removesuffix(*counts), weight) for owner, weight in keys]
    return [(_keras_applications_name(owner), weight) for owner, weight in keys]


def read(path: Path | str) -> Layers:
    """All weights of an .h5 file in the original's layout.

    Files of `save_weights` and of full saves (a `model_weights` group) are read, names as bytes or str, nested models,
    the names that a second model in one session got, and those of Keras's own ResNets, of Keras 1 and today. The
    latter two get their first convolution turned from BGR to RGB.

    Returns:
        {layer: {weight: array}}.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not HDF5, cut short, another layout, or weights that are no finite numbers; the message names them.
    """
    with opened(path) as (stored, origin):
        return values(path, stored, origin)


@contextlib.contextmanager
def opened(path: Path | str) -> Iterator[tuple[Stored, Origin | None]]:
    """The weights of a file, which are not read yet, and what is known of the network if it is one of Keras's own.

    Raises:
        FileNotFoundError, ValueError: as `read`, but for the values.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"Weights file not found: {path}")
    with contextlib.ExitStack() as stack:
        try:
            found = _stored(stack.enter_context(h5py.File(path, "r")), path)
        except _Unusable as error:
            raise ValueError(f"{path} {error}.") from None
        except Exception as error:  # h5py has many for what is damaged
            raise ValueError(
                f"{path} is not a readable HDF5 weights file: damaged, cut short or another format."
            ) from error
        yield found


class _Unusable(ValueError):
    """What is wrong with a file, in words that follow its path."""


def _stored(file, path):
    """As `opened`."""
    root = file.get("model_weights", file)
    if "layer_names" not in root.attrs:
        hint = " (a Keras 3 file: use keras_model.load_weights)" if str(path).endswith(".weights.h5") else ""
        raise _Unusable(f"holds no Keras weights in the layer_names layout{hint}")
    found: Stored = {}
    origin = None
    for layer in _names(root, "layer_names"):
        group = _member(root, layer, h5py.Group)
        names = _names(group, "weight_names")
        for name, (owner, weight) in zip(names, _keys(layer, names), strict=True):
            dataset = _member(group, name, h5py.Dataset)
            _check_storage(dataset)
            found.setdefault(owner, {})[weight] = dataset
        if layer == "conv1_conv":
            origin = KERAS
        elif any(re.match("conv1_W", name) for name in names):
            origin = KERAS_1
    return found, origin


def _names(group, attribute):
    """A list of names that is an attribute of a group."""
    if attribute not in group.attrs:
        raise _Unusable(f"has no {attribute} at {group.name}")
    names = np.asarray(group.attrs[attribute])
    if names.ndim == 1 and all(isinstance(name, (str, bytes)) for name in names.tolist()):
        return [_text(name) for name in names.tolist()]
    raise _Unusable(f"has something else than names in {attribute} at {group.name}")


def _member(group, path, kind):
    """The group or dataset at a path in a group, in the same file."""
    found, place = group, posixpath.join(group.name, path)
    for name in path.split("/"):
        if isinstance(found, h5py.Group) and isinstance(found.get(name, getlink=True), h5py.ExternalLink):
            raise _Unusable(f"has only a link to another file at {place}")
        found = found.get(name) if isinstance(found, h5py.Group) else None
    if not isinstance(found, kind):
        expected = f"at {place}, where a {kind.__name__.lower()} is expected"
        if found is None:
            raise _Unusable(f"has nothing {expected}: it is damaged, cut short or of another format")
        raise _Unusable(f"has a {type(found).__name__.lower()} {expected}")
    return found


def _check_storage(dataset):
    """A few bytes can declare any number of values, which would fill the memory."""
    if dataset.dtype.kind not in "fiu" or dataset.shape is None:
        raise _Unusable(f"has no numbers at {dataset.name}")
    if dataset.external or dataset.is_virtual:
        raise _Unusable(f"has the values of {dataset.name} in other files")
    if dataset.nbytes > MOST_PACKED * dataset.id.get_storage_size():
        raise _Unusable(f"declares {dataset.shape} values at {dataset.name} and does not hold them")


def values(path: Path | str, stored: Stored, origin: Origin | None) -> Layers:
    """Read weights of `opened`.

    Returns:
        {layer: {weight: array}}; of Keras's ImageNet networks the first convolution in RGB.

    Raises:
        ValueError: they are damaged, or `check_values`; the message has the path and the layer.
    """
    found: Layers = {}
    for layer, datasets in stored.items():
        for weight, dataset in datasets.items():
            try:
                array = dataset[()]
            except Exception as error:  # as in `opened`
                raise ValueError(f"{path} is damaged: {layer}/{weight} cannot be read.") from error
            try:
                check_values(f"{layer}/{weight}", array)
            except ValueError as error:
                raise ValueError(f"{path} cannot be used: {error}.") from None
            found.setdefault(layer, {})[weight] = array
    if origin and "kernel" in found.get("conv1", {}):
        # Keras's ImageNet networks were trained on BGR; with RGB less MEAN_PIXEL they now see the same.
        found["conv1"]["kernel"] = found["conv1"]["kernel"][..., ::-1, :]
    return found


def read_record(path: Path | str) -> Any:
    """What a checkpoint holds beside weights, as it was given to `write`; {} where there is nothing.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    with h5py.File(path, "r") as file:
        return json.loads(file.attrs.get(RECORD, "{}"))


def weighted_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Every layer of a model that holds weights of the network, those of nested models too, in order."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from weighted_layers(layer)
        elif named_weights(layer):
            yield layer


def named_weights(layer: keras.layers.Layer) -> dict[str, keras.Variable]:
    """The weights of a layer by name, without the states of random generators."""
    found = [v for v in layer.weights if "seed_generator" not in v.path]
    # Weights without a name of their own are numbered by Keras through the session; here, in their layer.
    return {re.sub(r"^variable(_\d+)?$", f"variable_{i}", v.name): v for i, v in enumerate(found)}


# Order of the layers behind the pyramid in the original's files; {n} counts on from the backbone's activations.
_TAIL = {
    "inference": """rpn_model rpn_class rpn_bbox input_anchors ROI input_image_meta roi_align_classifier
        mrcnn_class_conv1 mrcnn_class_bn1 activation_{1} mrcnn_class_conv2 mrcnn_class_bn2 activation_{2} pool_squeeze
        mrcnn_class_logits mrcnn_bbox_fc mrcnn_class mrcnn_bbox mrcnn_detection lambda_3 roi_align_mask
        mrcnn_mask_conv1 mrcnn_mask_bn1 activation_{4} mrcnn_mask_conv2 mrcnn_mask_bn2 activation_{5}
        mrcnn_mask_conv3 mrcnn_mask_bn3 activation_{6} mrcnn_mask_conv4 mrcnn_mask_bn4 activation_{7}
        mrcnn_mask_deconv mrcnn_mask""",
    "training": """rpn_model rpn_class rpn_bbox anchors input_gt_boxes ROI input_gt_class_ids lambda_1 input_gt_masks
        proposal_targets input_image_meta roi_align_mask mrcnn_mask_conv1 mrcnn_mask_bn1 activation_{4}
        mrcnn_mask_conv2 roi_align_classifier mrcnn_mask_bn2 mrcnn_class_conv1 activation_{5} mrcnn_class_bn1
        mrcnn_mask_conv3 activation_{1} mrcnn_mask_bn3 mrcnn_class_conv2 activation_{6} mrcnn_class_bn2
        mrcnn_mask_conv4 activation_{2} mrcnn_mask_bn4 pool_squeeze activation_{7} mrcnn_bbox_fc mrcnn_mask_deconv
        rpn_class_logits mrcnn_class_logits mrcnn_bbox mrcnn_mask input_rpn_match input_rpn_bbox lambda_4 mrcnn_class
        output_rois rpn_class_loss rpn_bbox_loss mrcnn_class_loss mrcnn_bbox_loss mrcnn_mask_loss""",
}


def _layout(model, mode):
    """Layer names of the original's file for this model, weightless ones included, with our layer or None for each."""
    ours = {layer.name: layer for layer in model.layers}
    names = list(ours)
    if not {"fpn_c5p5", "rpn_model", "mrcnn_class_logits"} <= set(names):
        return list(ours.items())  # nothing that the original had
    # Without the RPN's proposals (USE_RPN_ROIS False) the heads' layers lie between those of the pyramid.
    backbone = [
        name
        for place, name in enumerate(names)
        if name.startswith("fpn_")
        or (place < names.index("fpn_c5p5") and not re.match("input_(?!image$)|anchors", name))
    ]
    counts: dict[str, int] = {}
    layout: list[tuple[str, keras.layers.Layer | None]] = []
    for name in backbone:
        automatic = re.fullmatch(r"(activation|add|zero_padding2d|max_pooling2d)(_\d+)?", name)
        if automatic:
            kind = automatic[1]
            counts[kind] = counts.get(kind, 0) + 1
            layout.append((f"{kind}_{counts[kind]}", None))
        elif hasattr(ours[name], "layers"):  # a model within a network of keras.applications
            layout += [(inner.name, inner) for inner in weighted_layers(ours[name])]
        else:
            layout.append((name, ours[name]))
    first = counts.get("activation", 0)
    # Index 3 is the classes' softmax, which the original numbered and then named.
    tail = _TAIL[mode].format(*(first + i for i in range(8))).split()
    # Layers that the original did not have follow.
    known = {name for name, _ in layout} | set(tail)
    tail += [x.name for x in model.layers if x.name not in known and not hasattr(x, "layers") and named_weights(x)]
    return layout + [(name, ours.get(name)) for name in tail]


def write(model: keras.Model, path: Path | str, mode: str, record: dict[str, Any] | None = None) -> None:
    """Write a model's weights in the original's layout, which the 2019 package reads too.

    The file appears under its name only when it is whole.

    Args:
        model: graph of `MaskRCNN`, training or inference.
        path: file to write.
        mode: "training" or "inference"; they order their layers differently.
        record: what `read_record` is to give.
    """

    def groups():
        for name, layer in _layout(model, mode):
            owners = [] if layer is None else list(weighted_layers(layer)) if hasattr(layer, "layers") else [layer]
            pairs = [(x.name, key, weight) for x in owners for key, weight in named_weights(x).items()]
            yield name, {f"{owner}/{key}:0": np.asarray(weight.numpy()) for owner, key, weight in pairs}

    write_groups(path, groups(), record)


def write_groups(
    path: Path | str, groups: Iterable[tuple[str, dict[str, np.ndarray]]], record: dict[str, Any] | None = None
) -> None:
    """Write an .h5 file of pairs (layer or nested model, {"layer/weight:0": array}), whole or not at all; `record` as
    of `write`."""
    content, names = io.BytesIO(), []
    with h5py.File(content, "w") as file:
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.2.5"
        if record:
            file.attrs[RECORD] = json.dumps(record)
        for name, arrays in groups:
            names.append(name.encode())
            group = file.create_group(name)
            # Keras 2 wants bytes of fixed length, which h5py writes for arrays and not for lists.
            group.attrs["weight_names"] = np.array([key.encode() for key in arrays])
            for key, array in arrays.items():
                group.create_dataset(key, data=array)
        file.attrs["layer_names"] = np.array(names)
    # HDF5 itself does not survive a full disk.
    with whole(path) as new:
        new.write_bytes(content.getbuffer())


if __name__ == "__main__":
    for path in sys.argv[1:]:
        for layer, arrays in read(path).items():
            print(layer, {name: value.shape for name, value in arrays.items()})
