"""A state dict of another package becomes our layers and the settings that compute the same."""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from mrcnn.ops import keypoints
from mrcnn.settings import Config, ModernConfig
from mrcnn.weights.convert import dense, efficientnet_lite, semantic
from mrcnn.weights.convert.body import CAN, arrays_of, body_names, check_axes, check_outputs, positive
from mrcnn.weights.convert.detectron2 import DETECTRON2
from mrcnn.weights.convert.package import each_class, outputs
from mrcnn.weights.convert.torchvision import TORCHVISION
from mrcnn.weights.loading import some


def translate(
    state_dict: Mapping[str, Any], epsilon: float = 1e-5, keep_all: bool = False
) -> tuple[Config, dict[str, dict[str, np.ndarray]]]:
    """The config of a state dict and its weights as {our layer: {weight: array float32}}; see `convert`."""
    if dense.is_dense(state_dict):
        return dense.translate(state_dict, epsilon, keep_all)
    if efficientnet_lite.is_efficientnet_lite(state_dict):
        return efficientnet_lite.translate(state_dict)
    if semantic.is_semantic(state_dict):
        return semantic.translate(state_dict, epsilon)
    package = _package(state_dict)
    state = {}
    for key, value in state_dict.items():
        for pattern, today in package.old_keys.items():
            key = re.sub(rf"^{pattern}$", today, key)
        state[key] = np.asarray(value)
    backbone, names = _names(state, package)
    found = arrays_of(state, names)
    check_axes(found)
    package.background(found)
    _check_shapes(found)
    check_outputs(found)
    if not keep_all:
        unused = package.unused.get(outputs(found, "mrcnn_class_logits"), ())
        each_class(found, lambda rows: np.delete(rows, unused, axis=0))
    config = _config(package, backbone, state, found, epsilon)
    for layer, arrays in found.items():
        for weight, x in arrays.items():
            if layer.endswith(("bbox_pred", "bbox_fc")):
                # (dx, dy, dw, dh) -> (dy, dx, dh, dw)
                x = x.reshape(-1, 4, *x.shape[1:])[:, [1, 0, 3, 2]].reshape(x.shape)
            if weight == "kernel":
                x = _kernel(layer, x, config.POOL_SIZE)
            if weight == "moving_variance" and epsilon == 0:
                x = positive(x)
            arrays[weight] = x
    return config, found


def _package(state_dict):
    for package in (TORCHVISION, DETECTRON2):
        if any(key.startswith(package.body) for key in state_dict):
            return package
    if any(key.startswith("backbone.res2.") for key in state_dict):
        kind = "C4" if any(key.startswith("roi_heads.res5.") for key in state_dict) else "DC5"
        raise ValueError(f"This is one of Detectron2's {kind} models, which have no pyramid. {CAN}")
    raise ValueError(f"The keys ({some(list(state_dict), 3) or 'none'}) are those of no detector that is known. {CAN}")


def _names(state, package):
    """BACKBONE, and {our layer: beginning of its keys}."""
    backbone, names = body_names(state, package)
    names.update(package.layers)
    names.update(max(package.box_heads, key=lambda part: _present(part, state)))
    for part in package.parts:
        if _present(part, state):
            names.update(part)
    if f"{package.keypoint_deconv}.weight" in state:
        convolutions = sum(f"{package.keypoint_layer(i)}.weight" in state for i in range(1, 100))
        names.update({f"mrcnn_keypoint_conv{i}": package.keypoint_layer(i) for i in range(1, convolutions + 1)})
        names["mrcnn_keypoint_deconv"] = package.keypoint_deconv
    return backbone, names


def _present(part, state):
    """How many of a part's layers a state has."""
    return sum(f"{prefix}.weight" in state for prefix in part.values())


def _check_shapes(found):
    classes = outputs(found, "mrcnn_class_logits")
    expected = {"rpn_class_raw": 3, "rpn_bbox_pred": 3 * 4, "mrcnn_bbox_fc": classes * 4, "mrcnn_mask": classes}
    if "mrcnn_2_bbox_fc" in found:
        expected.update({layer: 4 for layer in found if layer.endswith("bbox_fc")})
        expected.update({layer: classes for layer in found if layer.endswith("class_logits")})
    for layer, count in expected.items():
        if layer in found and outputs(found, layer) != count:
            raise ValueError(
                f"{layer} would get {outputs(found, layer)} outputs instead of {count} (three anchors in a cell, "
                f"boxes and masks for each of {classes} classes). {CAN}"
            )


def _kernel(layer, weight, side):
    """A kernel in the order of Keras; `side` are the cells along a pooled RoI.

    Convolutions [out, in, h, w] become [h, w, in, out], transposed ones [in, out, h, w] become [h, w, out, in]. The box
    head's first dense layer sees [channels, h, w] in a row, and is a convolution here.
    """
    if layer.endswith("class_conv1"):
        weight = weight.reshape(len(weight), -1, side, side)
    elif layer.endswith("class_conv2"):
        weight = weight[:, :, None, None]
    return weight.T if weight.ndim == 2 else weight.transpose(2, 3, 1, 0)


def _config(package, backbone, state, found, epsilon):
    """The settings that compute what the package does."""
    convolutions = [layer for layer in found if layer.startswith("mrcnn_box_conv")]
    pooled = outputs(found, convolutions[-1] if convolutions else "fpn_p2")
    finds_more = "mrcnn_mask" in found or "mrcnn_keypoint_deconv" in found
    plain = "mask_rcnn" if finds_more else "faster_rcnn"
    settings = {
        "DETECTOR": "cascade_rcnn" if "mrcnn_2_bbox_fc" in found else plain,
        "NUM_CLASSES": outputs(found, "mrcnn_class_logits"),
        "NAME": package.name.lower(),
        "BACKBONE": backbone,
        "BATCH_NORM_EPSILON": epsilon,
        "TOP_DOWN_PYRAMID_SIZE": outputs(found, "fpn_p2"),
        "RPN_CHANNELS": outputs(found, "rpn_conv_shared"),
        "RPN_BBOX_STD_DEV": (1.0, 1.0, 1.0, 1.0),
        "RPN_ANCHOR_RATIOS": [2, 1, 0.5],  # width / height of 0.5, 1, 2, which are height / width
        "FPN_CLASSIF_FC_LAYERS_SIZE": outputs(found, "mrcnn_class_conv1"),
        "POOL_SIZE": math.isqrt(found["mrcnn_class_conv1"]["kernel"].shape[1] // pooled),
        "BOX_DENSE_LAYERS": 1 + ("mrcnn_class_conv2" in found),
        "BOX_CONVOLUTIONS": len(convolutions),
        "FPN_BN": "fpn_p2_bn" in found,
        "BOX_HEAD_BN": "mrcnn_box_bn1" in found,
        "MASK_HEAD_BN": "mrcnn_mask_bn1" in found,
        "RPN_CONVOLUTIONS": 1 + ("rpn_conv_shared2" in found),
        "USE_MASK": "mrcnn_mask" in found,
        "IMAGE_RESIZE_MODE": "shortest",
        "IMAGE_MIN_DIM": 800,
        "IMAGE_MAX_DIM": 1344,  # 1333 in multiples of 64
        **package.settings(state, backbone),
    }
    if convolutions:
        settings["BOX_CHANNELS"] = pooled
    if settings["USE_MASK"]:
        settings["MASK_CHANNELS"] = outputs(found, "mrcnn_mask_conv1")
    if "mrcnn_keypoint_deconv" in found:
        count = outputs(found, "mrcnn_keypoint_deconv")
        settings["NUM_KEYPOINTS"] = count
        settings["KEYPOINT_CONVOLUTIONS"] = sum(layer.startswith("mrcnn_keypoint_conv") for layer in found)
        settings["KEYPOINT_CHANNELS"] = outputs(found, "mrcnn_keypoint_conv1")
        if count == len(keypoints.COCO_NAMES):
            settings["KEYPOINT_NAMES"] = keypoints.COCO_NAMES
            settings["KEYPOINT_FLIP_PAIRS"] = keypoints.COCO_FLIP_PAIRS
            settings["KEYPOINT_SKELETON"] = keypoints.COCO_SKELETON
            settings["KEYPOINT_SIGMAS"] = keypoints.COCO_SIGMAS
    return ModernConfig.from_dict(settings)
