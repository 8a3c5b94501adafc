"""torchvision's FCN: its keys and the settings that compute the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mrcnn.settings import Config, ModernConfig
from mrcnn.weights.convert.body import arrays_of, body_names, check_axes, check_outputs, positive
from mrcnn.weights.convert.torchvision import TORCHVISION

HEADS = {"semantic": "classifier", "semantic_aux": "aux_classifier"}

# The classes of PASCAL VOC, which the published files know.
VOC_CLASSES = """aeroplane bicycle bird boat bottle bus car cat chair cow,diningtable dog horse motorbike person
pottedplant sheep sofa train tvmonitor""".replace(",", " ").split()


def is_semantic(state_dict: Mapping[str, Any]) -> bool:
    """Whether a state dict is of a network for semantic segmentation."""
    return any(key.startswith("classifier.") for key in state_dict)


def translate(state_dict: Mapping[str, Any], epsilon: float = 1e-5) -> tuple[Config, dict[str, dict[str, np.ndarray]]]:
    """The config of a state dict and its weights as {our layer: {weight: array float32}}; see `convert`.

    A file without the auxiliary head gets one of zeros, which only training would use.
    """
    state = {key: np.asarray(value) for key, value in state_dict.items()}
    backbone, names = body_names(state, replace(TORCHVISION, body="backbone."))
    for ours, theirs in HEADS.items():
        names |= {f"{ours}_conv1": f"{theirs}.0", f"{ours}_bn1": f"{theirs}.1", f"{ours}_class": f"{theirs}.4"}
    found = arrays_of(state, names)
    check_axes(found)
    check_outputs(found)
    for arrays in found.values():
        for weight, x in arrays.items():
            if weight == "kernel":
                arrays[weight] = x.transpose(2, 3, 1, 0)
            elif weight == "moving_variance" and epsilon == 0:
                arrays[weight] = positive(x)
    return _config(backbone, len(state["classifier.4.bias"]), epsilon), found


def _config(backbone, classes, epsilon):
    return ModernConfig.from_dict(
        {
            "DETECTOR": "fcn",
            "NAME": "torchvision",
            "BACKBONE": backbone,
            "BATCH_NORM_EPSILON": epsilon,
            "NUM_CLASSES": classes,
            "CLASS_NAMES": ["BG", *VOC_CLASSES] if classes == 21 else (),
            "FCN_HEAD": "dilated",
            "FCN_DROPOUT": 0.1,
            "IMAGE_RESIZE_MODE": "shortest",
            "IMAGE_MIN_DIM": 520,
            "IMAGE_MAX_DIM": 1344,
        }
    )
