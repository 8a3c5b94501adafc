"""What differs from package to package: `Package`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# {our layer: {weight: array}}, every array in the source's order of axes until `translate` turns it.
Found = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Package:
    """The keys under which a package keeps our layers, the order of its classes, and settings that compute the same.

    `settings(state, backbone)` gives settings on top of `ModernConfig`, `background(found)` puts the background first,
    and `unused` has, for a number of outputs, those that stand for no class.
    """

    name: str
    body: str  # the beginning of the ResNet's keys
    stem: tuple[str, str]  # convolution and BatchNorm
    stages: tuple[str, ...]
    convolutions: tuple[str, ...]  # of a bottleneck: 1x1, 3x3, 1x1, and the shortcut's
    norms: tuple[str, ...]  # their BatchNorms
    layers: dict[str, str]  # pyramid and RPN
    box_heads: tuple[dict[str, str], ...]  # the ways to a box head, the usual first
    parts: tuple[dict[str, str], ...]  # what a model has whole or not at all
    keypoint_layer: Callable[[int], str]  # of a convolution's number from 1 on
    keypoint_deconv: str
    settings: Callable[[Mapping[str, np.ndarray], str], dict[str, Any]]
    background: Callable[[Found], None] = lambda found: None
    unused: dict[int, tuple[int, ...]] = field(default_factory=dict)
    old_keys: dict[str, str] = field(default_factory=dict)  # pattern -> today's key


def pyramid(lateral: Callable[[int], str], output: Callable[[int], str]) -> dict[str, str]:
    """The layers of the pyramid; `lateral` and `output` give the key of a level, counted from 0."""
    names = ("fpn_c2p2", "fpn_c3p3", "fpn_c4p4", "fpn_c5p5")
    return {
        **{name: lateral(i) for i, name in enumerate(names)},
        **{f"fpn_p{i + 2}": output(i) for i in range(4)},
    }


def norms(layers: dict[str, str], ours: Callable[[str], str], theirs: Callable[[str], str]) -> dict[str, str]:
    """The BatchNorm of each of `layers`, by functions from a layer's name and key to those of its BatchNorm."""
    return {ours(name): theirs(key) for name, key in layers.items()}


def outputs(found: Found, layer: str) -> int:
    """How many outputs a layer of the source has, none of them transposed unless it has a bias."""
    return len(found[layer]["bias" if "bias" in found[layer] else "kernel"])


# Layers that have outputs for each class, and how many.
PER_CLASS = {"mrcnn_class_logits": 1, "mrcnn_bbox_fc": 4, "mrcnn_mask": 1}


def each_class(found: Found, change: Callable[[np.ndarray], np.ndarray], layers: Mapping[str, int] = PER_CLASS) -> None:
    """Change the outputs of the layers that have some for each class; `change` gets and gives [K, ...]."""
    for layer, each in layers.items():
        for weight, x in found.get(layer, {}).items():
            found[layer][weight] = change(x.reshape(-1, each, *x.shape[1:])).reshape(-1, *x.shape[1:])
