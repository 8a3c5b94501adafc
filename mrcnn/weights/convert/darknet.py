"""Weights of Darknet: a `.weights` file, which is numbers alone, by the `.cfg` beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.ops.darknet import EPSILON, Layer, Network, read_cfg
from mrcnn.settings import Config, ModernConfig
from mrcnn.weights.values import check_values

# The ending of the files, and the bytes of a .cfg at most.
ENDING, LONGEST = ".weights", 10**6


def cfg_of(path: str | Path) -> Path:
    """The `.cfg` that belongs to a `.weights` file: of the same name, in the same folder."""
    return Path(path).with_suffix(".cfg")


def files_of(path: str | Path) -> list[Path]:
    """The files that are read of a `.weights` file, itself first."""
    path = Path(path)
    return [path, *(x for x in (cfg_of(path), path.with_suffix(".names")) if x.is_file())]


def read(path: str | Path) -> tuple[Config, dict[str, dict[str, np.ndarray]]]:
    """The config of a `.weights` file and its weights as {our layer: {weight: array float32}}.

    Raises:
        FileNotFoundError: it is not there, or its .cfg is not.
        ValueError: one of them cannot be read, is of another network, or holds values that are not finite; the message
            names the file.
    """
    path, cfg = Path(path), cfg_of(path)
    if not path.is_file():
        raise FileNotFoundError(f"Weights file not found: {path}")
    if not cfg.is_file():
        raise FileNotFoundError(f"{path} holds numbers alone; put the network's {cfg.name} beside it.")
    try:
        if cfg.stat().st_size > LONGEST:
            raise ValueError("it is far too long.")
        text = cfg.read_text(encoding="utf-8-sig")
        network = read_cfg(text)
    except ValueError as error:  # UnicodeDecodeError is one
        raise ValueError(f"{cfg} cannot be used: {error}") from None
    try:
        return _config(network, text, _names(path, network.classes)), _layers(network, path)
    except ValueError as error:
        raise ValueError(f"{path} cannot be used with {cfg.name}: {error}") from None


def _names(path, count):
    """Names of the classes with the background, of a .names file beside the weights; empty where there is none."""
    names = path.with_suffix(".names")
    if not names.is_file():
        return []
    try:
        found = [line.strip() for line in names.read_bytes()[:LONGEST].decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise ValueError(f"{names.name} is no text in UTF-8.") from None
    found = [name for name in found if name]
    if len(found) != count:
        raise ValueError(f"{names.name} has {len(found)} names, the network {count} classes.")
    return ["BG", *found]


def _numbers(path, count):
    """The weights of a file, behind its version and the images that it has seen."""
    head = np.fromfile(path, "<i4", 3)
    if len(head) < 3 or (head < 0).any() or head[0] > 1000:
        raise ValueError("it does not begin as a file of Darknet.")
    major, minor, _ = head.tolist()
    start = 12 + (8 if major * 10 + minor >= 2 else 4)
    size = path.stat().st_size - start
    if size != 4 * count:
        raise ValueError(f"it holds {size} bytes of weights; the network has {4 * count}.")
    return np.fromfile(path, "<f4", offset=start)


def _sources(network):
    """The channels that come into each convolution, by its number."""
    found = {}
    for i, layer in enumerate(network.layers):
        if layer.kind == "convolutional":
            (source,) = layer.sources
            found[i] = network.layers[source].channels if source >= 0 else 3
    return found


def _layers(network: Network, path: Path) -> dict[str, dict[str, np.ndarray]]:
    incoming = _sources(network)
    sizes = {i: _count(network.layers[i], channels) for i, channels in incoming.items()}
    numbers = _numbers(path, sum(sizes.values()))
    levels = {network.layers[i].sources[0]: level for level, i in enumerate(network.heads, start=1)}
    found: dict[str, dict[str, np.ndarray]] = {}
    start = 0
    for i, channels in incoming.items():
        layer, own = network.layers[i], numbers[start : start + sizes[i]]
        start += sizes[i]
        convolution, norm = _weights(layer, channels, own)
        if i in levels:
            found |= _head(levels[i], convolution, network.classes)
            continue
        found[f"darknet_{i}_conv"] = convolution
        if norm:
            found[f"darknet_{i}_bn"] = norm
    for name, weights in found.items():
        for key, array in weights.items():
            check_values(f"{name}/{key}", array)
    return found


def _count(layer: Layer, channels: int) -> int:
    return layer.channels * (channels * layer.size**2 + (4 if layer.norm else 1))


def _weights(layer, channels, numbers):
    """{weight: array} of a convolution and of its BatchNorm: beta or bias, gamma, mean, variance, kernel."""
    count = layer.channels * (4 if layer.norm else 1)
    rows, kernel = numbers[:count].reshape(-1, layer.channels), numbers[count:]
    convolution = {"kernel": kernel.reshape(layer.channels, channels, layer.size, layer.size).transpose(2, 3, 1, 0)}
    if not layer.norm:
        return {**convolution, "bias": rows[0]}, {}
    return convolution, dict(zip(("beta", "gamma", "moving_mean", "moving_variance"), rows, strict=True))


def _head(level, convolution, classes):
    """The three layers in the place of the last convolution: each anchor has x, y, w, h, objectness and classes."""
    found = {}
    for name, rows in (("bbox", [1, 0, 3, 2]), ("object", [4]), ("class", range(5, 5 + classes))):
        each = {key: x.reshape(*x.shape[:-1], -1, 5 + classes)[..., list(rows)] for key, x in convolution.items()}
        found[f"dense_{name}_raw_{level}"] = {key: x.reshape(*x.shape[:-2], -1) for key, x in each.items()}
    return found


def _config(network: Network, text: str, names: list[str]) -> Config:
    """Settings with which our model computes what Darknet does; images become squares of the longer side."""
    heads, side = [network.layers[i] for i in network.heads], max(network.height, network.width)
    strides = [int(layer.stride) for layer in heads]
    settings: dict[str, Any] = {
        "DETECTOR": f"yolo_v{network.version}",
        "NAME": "darknet",
        "DARKNET": text,
        "NUM_CLASSES": 1 + network.classes,
        "CLASS_NAMES": names,
        "BATCH_NORM_EPSILON": EPSILON,
        "IMAGE_MIN_DIM": side,
        "IMAGE_MAX_DIM": side,
        "MEAN_PIXEL": [0, 0, 0],
        "PIXEL_STD": 255,
        "BACKBONE_STRIDES": strides,
        "RPN_ANCHOR_SCALES": strides,
        "YOLO_ANCHORS": [[list(size) for size in layer.anchors] for layer in heads],
        "YOLO_IGNORE": 0.6 if network.version == 2 else 0.5,
        "DETECTION_NMS_THRESHOLD": 0.45,
    }
    return ModernConfig.from_dict(settings)
