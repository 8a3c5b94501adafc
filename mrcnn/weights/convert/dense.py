"""torchvision's one-stage detectors: their keys and the settings that compute the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrcnn.settings import Config, ModernConfig
from mrcnn.settings.detectors import ssd_settings
from mrcnn.weights.convert.body import arrays_of, body_names, positive
from mrcnn.weights.convert.torchvision import COCO_UNUSED, TORCHVISION

CLASSES, BOXES = "head.classification_head.", "head.regression_head."

State = dict[str, np.ndarray]
Names = dict[str, str]


@dataclass(frozen=True)
class System:
    """What a detector's files look like.

    Attributes:
        mark: a key that only it has.
        names: function of the state that gives BACKBONE and {our layer: beginning of its keys}.
        settings: function of the state that gives settings on top of `ModernConfig`.
        background: whether classes include the background.
    """

    mark: str
    names: Callable[[State], tuple[str, Names]]
    settings: Callable[[State], dict[str, Any]]
    background: bool = False


def is_dense(state_dict: Mapping[str, Any]) -> bool:
    """Whether a state dict is of a one-stage detector."""
    return any(key.startswith((CLASSES, BOXES)) for key in state_dict)


def translate(
    state_dict: Mapping[str, Any], epsilon: float = 1e-5, keep_all: bool = False
) -> tuple[Config, dict[str, dict[str, np.ndarray]]]:
    """The config of a state dict and its weights as {our layer: {weight: array float32}}; see `convert`.

    Of the outputs of sigmoids that for the background, which stands for nothing, is left away.
    """
    state = {key: np.asarray(value) for key, value in state_dict.items()}
    system = next((name for name, x in SYSTEMS.items() if x.mark in state), None)
    if system is None:
        raise ValueError(
            f"The heads are those of no detector that is known: convert a {', '.join(SYSTEMS)} of torchvision."
        )
    for pattern, today in {**TORCHVISION.old_keys, **OLD_KEYS.get(system, {})}.items():
        state = {re.sub(rf"^{pattern}$", today, key): value for key, value in state.items()}
    backbone, names = SYSTEMS[system].names(state)
    normed = [prefix for layer, prefix in names.items() if layer.replace("_conv", "_gn") in names.keys() - {layer}]
    if not any(f"{prefix}.bias" in state for prefix in normed):
        # RetinaNet v2's convolutions before GroupNorm have none; ours always do.
        state |= {f"{prefix}.bias": np.zeros(len(state[f"{prefix}.weight"]), "float32") for prefix in normed}
    found = arrays_of(state, names)
    settings = SYSTEMS[system].settings(state)
    for layer, arrays in found.items():
        found[layer] = {weight: _turned(layer, weight, x, epsilon) for weight, x in arrays.items()}
    kept = _kept(settings["NUM_CLASSES"], SYSTEMS[system].background, keep_all)
    for layer, arrays in found.items():
        if re.fullmatch(r"dense_class_raw(_\d)?", layer):
            for weight, x in arrays.items():
                each = x.reshape(*x.shape[:-1], -1, settings["NUM_CLASSES"])[..., kept]
                arrays[weight] = each.reshape(*x.shape[:-1], -1)
    settings["NUM_CLASSES"] = len(kept) + (not SYSTEMS[system].background)
    general = {"DETECTOR": system, "NAME": "torchvision", "BACKBONE": backbone, "BATCH_NORM_EPSILON": epsilon}
    return ModernConfig.from_dict({**general, **TESTED, **settings}), found


def _turned(layer, weight, x, epsilon):
    """An array in our order of axes, and boxes in ours: (x, y) of whatever kind become (y, x)."""
    if re.fullmatch(r"dense_bbox_raw(_\d)?", layer):
        x = x.reshape(-1, 4, *x.shape[1:])[:, [1, 0, 3, 2]].reshape(x.shape)
    if weight == "kernel":
        x = x.transpose(2, 3, 1, 0)
    return positive(x) if weight == "moving_variance" and epsilon == 0 else x


def _kept(outputs, background, keep_all):
    """Outputs for classes that are kept, of so many."""
    left = {*([] if background else [0]), *(COCO_UNUSED if outputs == 91 and not keep_all else [])}
    return [i for i in range(outputs) if i not in left]


# What torchvision does with images and boxes of all these detectors.
TESTED = {
    "IMAGE_RESIZE_MODE": "shortest",
    "IMAGE_MIN_DIM": 800,
    "IMAGE_MAX_DIM": 1344,  # 1333 in multiples of 64
    "MASK_PASTE": "torchvision",
    "RPN_ANCHORS": "rounded",
    "BACKBONE_STRIDES": [8, 16, 32, 64, 128],
}


def _pyramid_names(state, towers, outputs):
    """BACKBONE and the layers of a detector on a pyramid from P3 on.

    `towers` has, for a number from 0 on, the keys of a tower's convolution and its GroupNorm.
    """
    backbone, names = body_names(state, TORCHVISION)
    for i in range(3):
        names[f"fpn_c{i + 3}p{i + 3}"] = f"backbone.fpn.inner_blocks.{i}.0"
        names[f"fpn_p{i + 3}"] = f"backbone.fpn.layer_blocks.{i}.0"
    names |= {f"fpn_p{level}": f"backbone.fpn.extra_blocks.p{level}" for level in (6, 7)}
    for ours, theirs in (("class", CLASSES), ("bbox", BOXES)):
        for i in range(100):
            convolution, norm = (f"{theirs}conv.{key}" for key in towers(i))
            if f"{convolution}.weight" not in state:
                break
            names[f"dense_{ours}_conv{i + 1}"] = convolution
            if f"{norm}.weight" in state:
                names[f"dense_{ours}_gn{i + 1}"] = norm
    return backbone, names | {f"dense_{ours}_raw": theirs for ours, theirs in outputs.items()}


def _retinanet_names(state):
    outputs = {"class": f"{CLASSES}cls_logits", "bbox": f"{BOXES}bbox_reg"}
    return _pyramid_names(state, lambda i: (f"{i}.0", f"{i}.1"), outputs)


def _pyramid_settings(state):
    channels = len(state["backbone.fpn.layer_blocks.0.0.bias"])
    return {
        "TOP_DOWN_PYRAMID_SIZE": channels,
        "DENSE_TOP": "level" if state["backbone.fpn.extra_blocks.p6.weight"].shape[1] == channels else "map",
        "DENSE_CANDIDATES": 1000,
    }


def _retinanet_settings(state):
    norm = f"{CLASSES}conv.0.1.weight" in state  # v2
    return {
        **_pyramid_settings(state),
        "NUM_CLASSES": len(state[f"{CLASSES}cls_logits.bias"]) // 9,
        "DENSE_CONVOLUTIONS": sum(f"{CLASSES}conv.{i}.0.weight" in state for i in range(100)),
        "DENSE_NORM": "group" if norm else "none",
        "DENSE_BOX_LOSS": "giou" if norm else "smooth_l1",
        "SMOOTH_L1_BETA": 0,
        "RPN_ANCHOR_SCALES": [[int(2 ** (i + octave / 3)) for octave in range(3)] for i in range(5, 10)],
        "RPN_ANCHOR_RATIOS": [2, 1, 0.5],  # width / height of 0.5, 1, 2, which are height / width
        "BBOX_STD_DEV": (1.0, 1.0, 1.0, 1.0),
        "DETECTION_MIN_CONFIDENCE": 0.05,
        "DETECTION_NMS_THRESHOLD": 0.5,
        "DETECTION_MAX_INSTANCES": 300,
    }


def _fcos_names(state):
    outputs = {"class": f"{CLASSES}cls_logits", "bbox": f"{BOXES}bbox_reg", "centerness": f"{BOXES}bbox_ctrness"}
    return _pyramid_names(state, lambda i: (str(3 * i), str(3 * i + 1)), outputs)


def _fcos_settings(state):
    return {
        **_pyramid_settings(state),
        "NUM_CLASSES": len(state[f"{CLASSES}cls_logits.bias"]),
        "DENSE_CONVOLUTIONS": sum(f"{CLASSES}conv.{3 * i}.weight" in state for i in range(100)),
        "DENSE_NORM": "group",
        "RPN_ANCHOR_SCALES": TESTED["BACKBONE_STRIDES"],
        "RPN_ANCHOR_RATIOS": [1],
        "DETECTION_MIN_CONFIDENCE": 0.2,
        "DETECTION_NMS_THRESHOLD": 0.6,
    }


def _ssd_names(state):
    names: Names = {}
    numbers = iter((0, 2, 5, 7, 10, 12, 14, 17, 19, 21))
    for block, count in enumerate((2, 2, 3, 3), start=1):
        names |= {f"block{block}_conv{i + 1}": f"backbone.features.{next(numbers)}" for i in range(count)}
    names |= {f"block5_conv{i + 1}": f"backbone.extra.0.{2 * i + 1}" for i in range(3)}
    names |= {"dense_l2scale": "backbone", "dense_fc6": "backbone.extra.0.7.1", "dense_fc7": "backbone.extra.0.7.3"}
    for i in range(1, 5):
        names |= {f"dense_conv{i + 7}_1": f"backbone.extra.{i}.0", f"dense_conv{i + 7}_2": f"backbone.extra.{i}.2"}
    for i in range(6):
        names[f"dense_class_raw_{i + 1}"] = f"{CLASSES}module_list.{i}"
        names[f"dense_bbox_raw_{i + 1}"] = f"{BOXES}module_list.{i}"
    return "vgg16", names


def _ssd_settings(state):
    """Those of SSD300; pixels are centred and not scaled."""
    return {
        "NUM_CLASSES": len(state[f"{CLASSES}module_list.0.bias"]) // 4,
        **ssd_settings(300),
        "IMAGE_MIN_DIM": 300,
        "IMAGE_MAX_DIM": 300,
        "MEAN_PIXEL": [122.99925, 116.9991, 103.9992],
        "PIXEL_STD": 1.0,
        "SMOOTH_L1_BETA": 1.0,
        "BBOX_STD_DEV": (0.1, 0.1, 0.2, 0.2),
        "DETECTION_MAX_INSTANCES": 200,
    }


# Published files that are older than torchvision's modules: pattern -> today's key.
OLD_KEYS = {
    "retinanet": {
        rf"(head\.(?:classification|regression)_head\.conv)\.{2 * i}\.(weight|bias)": rf"\1.{i}.0.\2" for i in range(4)
    }
}

# The first whose mark is there.
SYSTEMS = {
    "fcos": System(f"{BOXES}bbox_ctrness.weight", _fcos_names, _fcos_settings),
    "retinanet": System(f"{BOXES}bbox_reg.weight", _retinanet_names, _retinanet_settings),
    "ssd": System(f"{BOXES}module_list.0.weight", _ssd_names, _ssd_settings, background=True),
}
