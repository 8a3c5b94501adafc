"""The backbone of a state dict of another package, and whether all of its keys have a place."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from mrcnn.weights.convert.package import Found, Package
from mrcnn.weights.loading import some

# (blocks of a stage, output and input channels of the first 3x3 kernel) -> BACKBONE
BACKBONES = {
    ((3, 4, 6, 3), 64, 64): "resnet50",
    ((3, 4, 23, 3), 64, 64): "resnet101",
    ((3, 4, 6, 3), 128, 4): "resnext50_32x4d",
    ((3, 4, 23, 3), 256, 8): "resnext101_32x8d",
}

# Buffers that follow from settings, or that only training needs.
IGNORED = r".*num_batches_tracked|pixel_(mean|std)|.*anchor_generator\.cell_anchors\.\d+"

CAN = (
    "Convert a Mask, Keypoint, Faster or Cascade R-CNN with a ResNet-50, ResNet-101 or ResNeXt (32x4d, 32x8d) and FPN, "
    "such as torchvision's maskrcnn_resnet50_fpn, also _v2, or Detectron2's mask_rcnn_R_50_FPN_3x (not C4 or DC5)."
)


def body_names(state: Mapping[str, Any], package: Package) -> tuple[str, dict[str, str]]:
    """BACKBONE of a ResNet, and {our layer: beginning of its keys} for its layers.

    Raises:
        ValueError: no ResNet that is known.
    """
    body = package.body
    blocks = tuple(
        sum(f"{body}{stage}.{i}.{package.convolutions[2]}.weight" in state for i in range(100))
        for stage in package.stages
    )
    shape = np.shape(state.get(f"{body}{package.stages[0]}.0.{package.convolutions[1]}.weight", 0))
    backbone = BACKBONES.get((blocks, *shape[:2]))
    if backbone is None:
        raise ValueError(
            f"The backbone, with {blocks} bottlenecks in its stages and a first 3x3 kernel of {shape}, is none that is "
            f"known. {CAN}"
        )
    names = {"conv1": body + package.stem[0], "bn_conv1": body + package.stem[1]}
    for stage, (theirs, count) in enumerate(zip(package.stages, blocks, strict=True), start=2):
        for index in range(count):
            branches = zip(("2a", "2b", "2c", "1"), package.convolutions, package.norms, strict=True)
            for branch, convolution, norm in list(branches)[: 4 if index == 0 else 3]:
                name = f"{stage}{chr(ord('a') + index)}_branch{branch}"
                names[f"res{name}"] = f"{body}{theirs}.{index}.{convolution}"
                names[f"bn{name}"] = f"{body}{theirs}.{index}.{norm}"
    return backbone, names


def weight_names(layer: str, layers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """(our weight, theirs) of one of `layers`; a convolution has no bias if a BatchNorm is behind it."""
    if layer == "dense_l2scale":
        return (("scale", "scale_weight"),)
    if "_gn" in layer:
        return ("gamma", "weight"), ("beta", "bias")
    if "bn" in layer:
        return (
            ("gamma", "weight"),
            ("beta", "bias"),
            ("moving_mean", "running_mean"),
            ("moving_variance", "running_var"),
        )
    normed = {f"{layer}_bn", layer.replace("conv", "bn")} & (layers.keys() - {layer})
    if normed or layer.startswith(("conv1", "res")):
        return (("kernel", "weight"),)
    return ("kernel", "weight"), ("bias", "bias")


def arrays_of(state: Mapping[str, np.ndarray], names: Mapping[str, str]) -> Found:
    """The arrays of a state, as {our layer: {weight: array float32}}, axes as they are.

    Args:
        state: {key: array}.
        names: {our layer: beginning of its keys}.

    Raises:
        ValueError: the state has not just these keys.
    """
    check_keys(state, names)
    return {
        layer: {
            ours: state[f"{prefix}.{theirs}"].astype("float32", copy=False)
            for ours, theirs in weight_names(layer, names)
        }
        for layer, prefix in names.items()
    }


def check_keys(state: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Raise ValueError unless the keys of a state are those of {our layer: beginning of its keys}, and no others."""
    wanted = {f"{prefix}.{theirs}" for layer, prefix in names.items() for _, theirs in weight_names(layer, names)}
    unknown = {key for key in state.keys() - wanted if not re.fullmatch(IGNORED, key)}
    problems = [
        f"{len(keys)} keys are {what} ({some(sorted(keys), 3)})"
        for what, keys in (("missing", wanted - state.keys()), ("unknown", unknown))
        if keys
    ]
    if problems:
        raise ValueError(f"{' and '.join(problems)}. {CAN}")


def positive(variances: np.ndarray) -> np.ndarray:
    """Variances to which no epsilon is added: TensorFlow takes what is smaller than these for zero, which it cannot
    divide by."""
    return np.maximum(variances, np.finfo("float32").tiny)


def check_axes(found: Found) -> None:
    """Check that kernels are those of dense layers or of convolutions, and other weights vectors.

    Raises:
        ValueError: they are not.
    """
    for layer, arrays in found.items():
        for weight, x in arrays.items():
            if x.ndim not in ((2, 4) if weight == "kernel" else (1,)) or not x.size:
                raise ValueError(f"{layer} would get a {weight} of shape {x.shape}. {CAN}")


def check_outputs(found: Found) -> None:
    """Check that a layer's weights are of one number of outputs.

    Raises:
        ValueError: they are not.
    """
    for layer, arrays in found.items():
        # Transposed kernels have outputs second.
        counts = {x.shape[weight == "kernel" and "deconv" in layer] for weight, x in arrays.items()}
        if len(counts) > 1:
            raise ValueError(f"{layer} would get weights for {' and '.join(map(str, sorted(counts)))} outputs. {CAN}")
