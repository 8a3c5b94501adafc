"""Weights files: the original's .h5 layout in and out, pretrained weights.

In that layout every layer is a group at the root with an attribute `weight_names`; a weight is keyed here by (layer,
weight), such as ("conv1", "kernel"), and never by its position in the file.
"""

import http.client
import os
import re
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from tqdm.auto import tqdm

RELEASES = "https://github.com/matterport/Mask_RCNN/releases/download"
KERAS_APPLICATIONS = "https://storage.googleapis.com/tensorflow/keras-applications/resnet"

# name -> (file, URL, what it is)
PRETRAINED = {
    "coco": ("mask_rcnn_coco.h5", f"{RELEASES}/v2.0/mask_rcnn_coco.h5", "ResNet-101, COCO's 80 classes"),
    "balloon": ("mask_rcnn_balloon.h5", f"{RELEASES}/v2.1/mask_rcnn_balloon.h5", "ResNet-101, balloons"),
    "imagenet-resnet50": (
        "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        f"{KERAS_APPLICATIONS}/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "ResNet-50, ImageNet, without its classifier",
    ),
    "imagenet-resnet101": (
        "resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5",
        f"{KERAS_APPLICATIONS}/resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "ResNet-101, ImageNet, without its classifier",
    ),
}


def default_folder():
    """Where downloads land: `weights/` beside the package in a checkout, else MRCNN_CACHE or ~/.cache/mrcnn."""
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "setup.cfg").exists():
        return checkout / "weights"
    return Path(os.environ.get("MRCNN_CACHE", Path.home() / ".cache" / "mrcnn")) / "weights"


def download(name, path=None, verbose=1):
    """Path of a pretrained weights file, downloaded first if it is not there.

    Args:
        name: a key of `PRETRAINED`.
        path: file to write; default is the name of the release in `default_folder()`.
        verbose: 0 for silence.

    Raises:
        OSError: no network; the message says where to put the file by hand.
    """
    file_name, url, _ = PRETRAINED[name]
    path = Path(path) if path else default_folder() / file_name
    if path.exists():
        return str(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        with urllib.request.urlopen(url, timeout=30) as response, open(part, "wb") as file:
            size = int(response.headers.get("Content-Length") or 0)
            with tqdm(total=size or None, unit="B", unit_scale=True, desc=path.name, disable=not verbose) as progress:
                while chunk := response.read(1 << 20):
                    file.write(chunk)
                    progress.update(len(chunk))
            if size and file.tell() != size:
                raise OSError(f"the connection ended after {file.tell()} of {size} bytes")
    except (OSError, http.client.HTTPException) as error:
        raise OSError(f"Could not download {url} ({error}); fetch it yourself and put it at {path}.") from error
    os.replace(part, path)
    return str(path)


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
    counts = {re.search(r"(_\d+)?$", owner)[0] for owner, _ in keys}
    if len(counts) == 1 and layer not in {owner for owner, _ in keys}:
        keys = [(owner.removesuffix(*counts), weight) for owner, weight in keys]
    return [(_keras_applications_name(owner), weight) for owner, weight in keys]


def read(path):
    """All weights of an .h5 file in the original's layout.

    Files of `save_weights` and of full saves (a `model_weights` group) are read, names as bytes or str, nested models,
    the names that a second model in one session got, and those of Keras's own ResNets, of Keras 1 and today.

    Returns:
        {layer: {weight: array}}.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not HDF5, cut short, or another layout.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"Weights file not found: {path}")
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            if "layer_names" not in root.attrs:
                hint = " (a Keras 3 file: use keras_model.load_weights)" if str(path).endswith(".weights.h5") else ""
                raise ValueError(f"{path} holds no Keras weights in the layer_names layout{hint}.")
            found = {}
            for layer in map(_text, root.attrs["layer_names"]):
                names = [_text(name) for name in root[layer].attrs["weight_names"]]
                for name, (owner, weight) in zip(names, _keys(layer, names), strict=True):
                    found.setdefault(owner, {})[weight] = root[layer][name][()]
            return found
    except (OSError, KeyError) as error:
        raise ValueError(
            f"{path} is not a readable HDF5 weights file: damaged, cut short or another format."
        ) from error


def weighted_layers(model):
    """Every layer of a model that holds weights of the network, those of nested models too, in order."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from weighted_layers(layer)
        elif _named_weights(layer):
            yield layer


def _named_weights(layer):
    return {v.name: v for v in layer.weights if "seed_generator" not in v.path}


@dataclass
class LoadReport:
    """Which layers a file gave to a model, and which it did not, with the reason."""

    path: str
    loaded: list = field(default_factory=list)
    excluded: list = field(default_factory=list)
    missing: list = field(default_factory=list)
    mismatched: dict = field(default_factory=dict)

    def __str__(self):
        rows = [f"Loaded {len(self.loaded)} layers from {self.path}"]
        if self.excluded:
            rows.append(f"  excluded by request: {', '.join(self.excluded)}")
        if self.missing:
            rows.append(f"  not in the file, left as they were: {_some(self.missing)}")
        rows += [f"  other shape, left as it was: {layer}: {why}" for layer, why in self.mismatched.items()]
        return "\n".join(rows)


def _some(names, count=12):
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")


def load(model, path, exclude=(), strict=False):
    """Load an .h5 file in the original's layout into a model, by layer and weight name.

    Args:
        model: a `keras.Model`.
        path: the file.
        exclude: layer names to leave as they are.
        strict: raise if any layer cannot be loaded.

    Returns:
        A `LoadReport`.

    Raises:
        FileNotFoundError, ValueError: as `read`; no layer at all fits; or `strict` and one does not.
    """
    stored = read(path)
    excluded = set(exclude or ())
    for layer in model.layers:
        if layer.name in excluded and hasattr(layer, "layers"):
            excluded |= {inner.name for inner in weighted_layers(layer)}
    report = LoadReport(str(path))
    for layer in weighted_layers(model):
        weights, values = _named_weights(layer), stored.get(layer.name)
        if layer.name in excluded:
            report.excluded.append(layer.name)
        elif values is None:
            report.missing.append(layer.name)
        else:
            wrong = [
                f"{name} is {np.shape(values.get(name)) if name in values else 'missing'}, wanted {tuple(weight.shape)}"
                for name, weight in weights.items()
                if name not in values or np.shape(values[name]) != tuple(weight.shape)
            ]
            if wrong:
                report.mismatched[layer.name] = "; ".join(wrong)
                continue
            for name, weight in weights.items():
                weight.assign(values[name])
            report.loaded.append(layer.name)
    if not report.loaded:
        raise ValueError(
            f"{path} fits no layer of this model. The file holds {_some(list(stored))}; the model wants "
            f"{_some([x.name for x in weighted_layers(model)])}."
        )
    if strict and (report.missing or report.mismatched):
        raise ValueError(f"{report}\nPass by_name=True to load only what fits.")
    return report


def copy(source, target):
    """Copy the weights of one graph to another that has the same layers, as from training to inference."""
    ours = {layer.name: layer for layer in weighted_layers(source)}
    for layer in weighted_layers(target):
        for name, weight in _named_weights(layer).items():
            weight.assign(_named_weights(ours[layer.name])[name])


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
    names = [layer.name for layer in model.layers]
    # Without the RPN's proposals (USE_RPN_ROIS False) the heads' layers lie between those of the pyramid.
    backbone = [
        name
        for place, name in enumerate(names)
        if name.startswith("fpn_")
        or (place < names.index("fpn_c5p5") and not re.match("input_(?!image$)|anchors", name))
    ]
    counts, layout = {}, []
    for name in backbone:
        automatic = re.fullmatch(r"(activation|add|zero_padding2d|max_pooling2d)(_\d+)?", name)
        if automatic:
            kind = automatic[1]
            counts[kind] = counts.get(kind, 0) + 1
            layout.append((f"{kind}_{counts[kind]}", None))
        else:
            layout.append((name, ours[name]))
    first = counts.get("activation", 0)
    # Index 3 is the classes' softmax, which the original numbered and then named.
    tail = _TAIL[mode].format(*(first + i for i in range(8))).split()
    return layout + [(name, ours.get(name)) for name in tail]


def write(model, path, mode):
    """Write a model's weights in the original's layout, which the 2019 package reads too.

    The file appears under its name only when it is whole.

    Args:
        model: graph of `MaskRCNN`, training or inference.
        path: file to write.
        mode: "training" or "inference"; they order their layers differently.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    layout = _layout(model, mode)
    with h5py.File(part, "w") as file:
        # Keras 2 wants bytes of fixed length, which h5py writes for arrays and not for lists.
        file.attrs["layer_names"] = np.array([name.encode() for name, _ in layout])
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.2.5"
        for name, layer in layout:
            group = file.create_group(name)
            owners = [] if layer is None else list(weighted_layers(layer)) if hasattr(layer, "layers") else [layer]
            pairs = [(f"{x.name}/{key}:0", weight) for x in owners for key, weight in _named_weights(x).items()]
            group.attrs["weight_names"] = np.array([key.encode() for key, _ in pairs])
            for key, weight in pairs:
                group.create_dataset(key, data=np.asarray(weight.numpy()))
    os.replace(part, path)


if __name__ == "__main__":
    for path in sys.argv[1:]:
        for layer, values in read(path).items():
            print(layer, {name: value.shape for name, value in values.items()})
