"""Weights of torchvision and Detectron2 for this package: `python -m mrcnn.weights.convert SOURCE OUT`.

SOURCE is a `.pth`, `.safetensors` or `.pkl` file of a Mask, Keypoint or Faster R-CNN with a ResNet-50 or -101 or a
ResNeXt of 32 groups and a feature pyramid. OUT becomes a folder of `weights.h5` and of a `config.json` whose settings
compute what the source's package does; `MaskRCNN.from_pretrained(OUT)` is that model.
"""

import argparse
import math
import os
import pickle
import re
import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.ops import keypoints
from mrcnn.settings.config import CONFIG, Config, ModernConfig
from mrcnn.weights.h5 import write_groups
from mrcnn.weights.loading import some


@dataclass(frozen=True)
class Package:
    """The keys under which a package keeps our layers."""

    name: str
    body: str  # the beginning of the ResNet's keys
    stem: tuple  # convolution and BatchNorm
    stages: tuple
    convolutions: tuple  # of a bottleneck: 1x1, 3x3, 1x1, and the shortcut's
    norms: tuple  # their BatchNorm
    layers: dict  # pyramid, RPN and box head
    mask_layers: dict
    keypoint_layer: object  # function of a convolution's number from 1 on
    keypoint_deconv: str
    old_keys: dict = field(default_factory=dict)  # pattern -> today's key


def _pyramid(lateral, output):
    """The layers of the pyramid; `lateral` and `output` are keys with a place for the level, counted from 0."""
    names = ("fpn_c2p2", "fpn_c3p3", "fpn_c4p4", "fpn_c5p5")
    return {
        **{name: lateral(i) for i, name in enumerate(names)},
        **{f"fpn_p{i + 2}": output(i) for i in range(4)},
    }


TORCHVISION = Package(
    name="torchvision",
    body="backbone.body.",
    stem=("conv1", "bn1"),
    stages=("layer1", "layer2", "layer3", "layer4"),
    convolutions=("conv1", "conv2", "conv3", "downsample.0"),
    norms=("bn1", "bn2", "bn3", "downsample.1"),
    layers={
        **_pyramid("backbone.fpn.inner_blocks.{}.0".format, "backbone.fpn.layer_blocks.{}.0".format),
        "rpn_conv_shared": "rpn.head.conv.0.0",
        "rpn_class_raw": "rpn.head.cls_logits",
        "rpn_bbox_pred": "rpn.head.bbox_pred",
        "mrcnn_class_conv1": "roi_heads.box_head.fc6",
        "mrcnn_class_conv2": "roi_heads.box_head.fc7",
        "mrcnn_class_logits": "roi_heads.box_predictor.cls_score",
        "mrcnn_bbox_fc": "roi_heads.box_predictor.bbox_pred",
    },
    mask_layers={
        **{f"mrcnn_mask_conv{i}": f"roi_heads.mask_head.{i - 1}.0" for i in range(1, 5)},
        "mrcnn_mask_deconv": "roi_heads.mask_predictor.conv5_mask",
        "mrcnn_mask": "roi_heads.mask_predictor.mask_fcn_logits",
    },
    keypoint_layer=lambda i: f"roi_heads.keypoint_head.{2 * i - 2}",
    keypoint_deconv="roi_heads.keypoint_predictor.kps_score_lowres",
    # The published files are older than the modules between; see torchvision's FeaturePyramidNetwork.
    old_keys={
        r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d)(\.\w+)": r"\1.0\2",
        r"(rpn\.head\.conv)(\.\w+)": r"\1.0.0\2",
        **{rf"(roi_heads\.mask_head)\.mask_fcn{i + 1}(\.\w+)": rf"\1.{i}.0\2" for i in range(4)},
    },
)

DETECTRON2 = Package(
    name="Detectron2",
    body="backbone.bottom_up.",
    stem=("stem.conv1", "stem.conv1.norm"),
    stages=("res2", "res3", "res4", "res5"),
    convolutions=("conv1", "conv2", "conv3", "shortcut"),
    norms=("conv1.norm", "conv2.norm", "conv3.norm", "shortcut.norm"),
    layers={
        **_pyramid(lambda i: f"backbone.fpn_lateral{i + 2}", lambda i: f"backbone.fpn_output{i + 2}"),
        "rpn_conv_shared": "proposal_generator.rpn_head.conv",
        "rpn_class_raw": "proposal_generator.rpn_head.objectness_logits",
        "rpn_bbox_pred": "proposal_generator.rpn_head.anchor_deltas",
        "mrcnn_class_conv1": "roi_heads.box_head.fc1",
        "mrcnn_class_conv2": "roi_heads.box_head.fc2",
        "mrcnn_class_logits": "roi_heads.box_predictor.cls_score",
        "mrcnn_bbox_fc": "roi_heads.box_predictor.bbox_pred",
    },
    mask_layers={
        **{f"mrcnn_mask_conv{i}": f"roi_heads.mask_head.mask_fcn{i}" for i in range(1, 5)},
        "mrcnn_mask_deconv": "roi_heads.mask_head.deconv",
        "mrcnn_mask": "roi_heads.mask_head.predictor",
    },
    keypoint_layer=lambda i: f"roi_heads.keypoint_head.conv_fcn{i}",
    keypoint_deconv="roi_heads.keypoint_head.score_lowres",
)

# The weights' file of a converted model.
WEIGHTS = "weights.h5"

# (blocks of a stage, output and input channels of the first 3x3 kernel) -> BACKBONE
BACKBONES = {
    ((3, 4, 6, 3), 64, 64): "resnet50",
    ((3, 4, 23, 3), 64, 64): "resnet101",
    ((3, 4, 6, 3), 128, 4): "resnext50_32x4d",
    ((3, 4, 23, 3), 256, 8): "resnext101_32x8d",
}

# Buffers that follow from settings, or that only training needs.
IGNORED = r".*num_batches_tracked|pixel_(mean|std)|.*anchor_generator\.cell_anchors\.\d+"

# Of torchvision's 91 outputs those that COCO has no class for.
COCO_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)

# Files that torchvision runs with an epsilon of 0, as they were trained.
EPSILON_0 = (
    "maskrcnn_resnet50_fpn_coco-bf2d0c1e",
    "keypointrcnn_resnet50_fpn_coco-fc266e95",
    "fasterrcnn_resnet50_fpn_coco-258fb6c6",
)

CAN = (
    "Convert a Mask, Keypoint or Faster R-CNN with a ResNet-50, ResNet-101 or ResNeXt (32x4d, 32x8d) and FPN, such as "
    "torchvision's maskrcnn_resnet50_fpn (not _v2) or Detectron2's mask_rcnn_R_50_FPN_3x (not C4, DC5 or Cascade)."
)


def convert(
    state_dict: Mapping[str, Any], out: str | Path, epsilon: float = 1e-5, keep_all: bool = False, **settings: Any
) -> Config:
    """Write `config.json` and `weights.h5` of a model of torchvision or Detectron2 to a folder.

    Args:
        state_dict: {key: array or tensor on the CPU}, as `model.state_dict()` of that package has it.
        out: the folder.
        epsilon: of the source's BatchNorm.
        keep_all: True keeps torchvision's 91 outputs for COCO; False its 80 classes in COCO's order.
        settings: of `Config`, where the source was trained with others than its package's defaults.

    Returns:
        the config, a `ModernConfig`.

    Raises:
        ValueError: keys that are missing or unknown, another architecture, or an impossible setting.
        OSError: the folder cannot be written.
    """
    config, layers = translate(state_dict, epsilon, keep_all)
    config.update(**settings)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    write_groups(
        out / WEIGHTS,
        ((layer, {f"{layer}/{key}:0": array for key, array in arrays.items()}) for layer, arrays in layers.items()),
    )
    config.to_json(out / CONFIG)
    return config


def translate(
    state_dict: Mapping[str, Any], epsilon: float = 1e-5, keep_all: bool = False
) -> tuple[Config, dict[str, dict[str, np.ndarray]]]:
    """The config of a state dict and its weights as {our layer: {weight: array float32}}; see `convert`."""
    package = _package(state_dict)
    state = {}
    for key, value in state_dict.items():
        for pattern, today in package.old_keys.items():
            key = re.sub(rf"^{pattern}$", today, key)
        state[key] = np.asarray(value)
    backbone, names = _names(state, package)
    _check_keys(state, names)
    found = {
        layer: {ours: state[f"{prefix}.{theirs}"].astype("float32", copy=False) for ours, theirs in _weights(layer)}
        for layer, prefix in names.items()
    }
    if package is DETECTRON2:
        _background_first(found)
    _check_shapes(found)
    if package is TORCHVISION and _outputs(found, "mrcnn_class_logits") == 91 and not keep_all:
        used = [i for i in range(91) if i not in COCO_UNUSED]
        _each_class(found, lambda rows: rows[used])
    channels = _outputs(found, "fpn_p2")
    for layer, arrays in found.items():
        for weight, x in arrays.items():
            if layer in ("rpn_bbox_pred", "mrcnn_bbox_fc"):
                # (dx, dy, dw, dh) -> (dy, dx, dh, dw)
                x = x.reshape(-1, 4, *x.shape[1:])[:, [1, 0, 3, 2]].reshape(x.shape)
            if weight == "kernel":
                x = _kernel(layer, x, channels)
            if weight == "moving_variance" and epsilon == 0:
                # TensorFlow takes what is smaller for zero, which it cannot divide by.
                x = np.maximum(x, np.finfo("float32").tiny)
            arrays[weight] = x
    return _config(package, backbone, state, found, epsilon), found


def _package(state_dict):
    for package in (TORCHVISION, DETECTRON2):
        if any(key.startswith(package.body) for key in state_dict):
            return package
    raise ValueError(f"The keys ({some(list(state_dict), 3) or 'none'}) are those of no detector that is known. {CAN}")


def _names(state, package):
    """BACKBONE, and {our layer: beginning of its keys}."""
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
    names.update(package.layers)
    if any(f"{prefix}.weight" in state for prefix in package.mask_layers.values()):
        names.update(package.mask_layers)
    if f"{package.keypoint_deconv}.weight" in state:
        convolutions = sum(f"{package.keypoint_layer(i)}.weight" in state for i in range(1, 100))
        names.update({f"mrcnn_keypoint_conv{i}": package.keypoint_layer(i) for i in range(1, convolutions + 1)})
        names["mrcnn_keypoint_deconv"] = package.keypoint_deconv
    return backbone, names


def _weights(layer):
    """(our weight, theirs) of a layer."""
    if layer.startswith("bn"):
        return (
            ("gamma", "weight"),
            ("beta", "bias"),
            ("moving_mean", "running_mean"),
            ("moving_variance", "running_var"),
        )
    if layer.startswith(("conv1", "res")):
        return (("kernel", "weight"),)
    return ("kernel", "weight"), ("bias", "bias")


def _check_keys(state, names):
    wanted = {f"{prefix}.{theirs}" for layer, prefix in names.items() for _, theirs in _weights(layer)}
    unknown = {key for key in state.keys() - wanted if not re.fullmatch(IGNORED, key)}
    problems = [
        f"{len(keys)} keys are {what} ({some(sorted(keys), 3)})"
        for what, keys in (("missing", wanted - state.keys()), ("unknown", unknown))
        if keys
    ]
    if problems:
        raise ValueError(f"{' and '.join(problems)}. {CAN}")


def _check_shapes(found):
    classes = _outputs(found, "mrcnn_class_logits")
    expected = {"rpn_class_raw": 3, "rpn_bbox_pred": 3 * 4, "mrcnn_bbox_fc": classes * 4, "mrcnn_mask": classes}
    for layer, outputs in expected.items():
        if layer in found and _outputs(found, layer) != outputs:
            raise ValueError(
                f"{layer} would get {_outputs(found, layer)} outputs instead of {outputs} (three anchors in a cell, "
                f"boxes and masks for each of {classes} classes). {CAN}"
            )


def _outputs(found, layer):
    return len(found[layer]["bias"])


def _each_class(found, change):
    """Change the outputs of the layers that have some for each class; `change` gets and gives [K, ...]."""
    for layer, each in {"mrcnn_class_logits": 1, "mrcnn_bbox_fc": 4, "mrcnn_mask": 1}.items():
        for weight, x in found.get(layer, {}).items():
            found[layer][weight] = change(x.reshape(-1, each, *x.shape[1:])).reshape(-1, *x.shape[1:])


def _background_first(found):
    """Detectron2 has the background's score last, and no boxes and masks for it: zeros."""
    scores = {weight: np.roll(x, 1, axis=0) for weight, x in found["mrcnn_class_logits"].items()}
    _each_class(found, lambda rows: np.concatenate([np.zeros_like(rows[:1]), rows]))
    found["mrcnn_class_logits"] = scores


def _kernel(layer, weight, channels):
    """A kernel in the order of Keras; `channels` are those of the pyramid.

    Convolutions [out, in, h, w] become [h, w, in, out], transposed ones [in, out, h, w] become [h, w, out, in]. The box
    head's first dense layer sees [channels, h, w] in a row, and is a convolution here.
    """
    if layer == "mrcnn_class_conv1":
        side = math.isqrt(weight.shape[1] // channels)
        weight = weight.reshape(-1, channels, side, side)
    elif layer == "mrcnn_class_conv2":
        weight = weight[:, :, None, None]
    return weight.T if weight.ndim == 2 else weight.transpose(2, 3, 1, 0)


def _config(package, backbone, state, found, epsilon):
    """The settings that compute what the package does."""
    config = ModernConfig.from_dict({"NUM_CLASSES": _outputs(found, "mrcnn_class_logits")}).update(
        NAME=package.name.lower(),
        BACKBONE=backbone,
        BATCH_NORM_EPSILON=epsilon,
        TOP_DOWN_PYRAMID_SIZE=_outputs(found, "fpn_p2"),
        RPN_CHANNELS=_outputs(found, "rpn_conv_shared"),
        RPN_BBOX_STD_DEV=(1.0, 1.0, 1.0, 1.0),
        RPN_ANCHOR_RATIOS=[2, 1, 0.5],  # width / height of 0.5, 1, 2, which are height / width
        FPN_CLASSIF_FC_LAYERS_SIZE=_outputs(found, "mrcnn_class_conv1"),
        POOL_SIZE=len(found["mrcnn_class_conv1"]["kernel"]),
        USE_MASK="mrcnn_mask" in found,
        IMAGE_RESIZE_MODE="shortest",
        IMAGE_MIN_DIM=800,
        IMAGE_MAX_DIM=1344,  # 1333 in multiples of 64
    )
    if config.USE_MASK:
        config.update(MASK_CHANNELS=_outputs(found, "mrcnn_mask_conv1"))
    if "mrcnn_keypoint_deconv" in found:
        config.update(
            NUM_KEYPOINTS=_outputs(found, "mrcnn_keypoint_deconv"),
            KEYPOINT_CONVOLUTIONS=sum(layer.startswith("mrcnn_keypoint_conv") for layer in found),
            KEYPOINT_CHANNELS=_outputs(found, "mrcnn_keypoint_conv1"),
        )
        if len(keypoints.COCO_NAMES) == config.NUM_KEYPOINTS:
            config.update(
                KEYPOINT_NAMES=keypoints.COCO_NAMES,
                KEYPOINT_FLIP_PAIRS=keypoints.COCO_FLIP_PAIRS,
                KEYPOINT_SKELETON=keypoints.COCO_SKELETON,
                KEYPOINT_SIGMAS=keypoints.COCO_SIGMAS,
            )
    if package is TORCHVISION:
        return config.update(RPN_ANCHORS="rounded", ROI_ALIGN="bins", MASK_PASTE="torchvision")

    def rgb(key, default):
        return [round(float(x), 3) for x in state[key].ravel()[::-1]] if key in state else default

    std = rgb("pixel_std", config.PIXEL_STD if backbone.startswith("resnext") else (1.0, 1.0, 1.0))
    return config.update(
        RPN_ANCHORS="exact",
        ROI_ALIGN="aligned",
        CHANNEL_ORDER="bgr",
        MEAN_PIXEL=rgb("pixel_mean", config.MEAN_PIXEL),
        PIXEL_STD=std,
        # Networks from Caffe see pixels that are divided by nothing, and have their stride in the 1x1 convolution.
        RESNET_STRIDE="1x1" if set(std) == {1.0} else "3x3",
    )


# Reading


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The state dict of a `.pth`, `.safetensors` or `.pkl` file, {key: array}. No file can make it run code.

    Raises:
        FileNotFoundError: no such file.
        ImportError: PyTorch, or safetensors, is missing.
        ValueError: another kind of file, a broken one, or one that holds more than arrays.
    """
    path = Path(path)
    if path.suffix not in READERS:
        raise ValueError(f"{path} is no file of {', '.join(READERS)}.")
    if not path.is_file():
        raise FileNotFoundError(f"Weights file not found: {path}")
    try:
        state = READERS[path.suffix](path)
    except ImportError:
        raise
    except Exception as error:  # a broken or crafted file can raise anything
        raise ValueError(f"{path} cannot be read as a weights file: {error}") from error
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, np.ndarray) and value.dtype.kind in "fiu"
        for key, value in state.items()
    ):
        raise ValueError(f"{path} holds something else than arrays of numbers by their names.")
    return state


def _read_torch(path):
    try:
        import torch
    except ImportError:
        raise ImportError(f"{path} needs PyTorch to be read: pip install torch") from None

    def arrays(x):
        if isinstance(x, dict):
            return {key: arrays(value) for key, value in x.items()}
        return (x.float() if x.is_floating_point() else x).numpy() if torch.is_tensor(x) else x

    try:
        return arrays(torch.load(path, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError:
        raise ValueError("it holds more than tensors; have torch.save write the model.state_dict() alone") from None


def _read_safetensors(path):
    try:
        from safetensors.numpy import load_file
    except ImportError:
        raise ImportError(f"{path} needs safetensors to be read: pip install safetensors") from None

    return load_file(path)


def _read_pickle(path):
    with open(path, "rb") as file:
        return ArrayUnpickler(file, encoding="latin1").load()


READERS = {".pth": _read_torch, ".pt": _read_torch, ".safetensors": _read_safetensors, ".pkl": _read_pickle}


def _encode(text, encoding):
    """What NumPy's pickles of protocol 2 hold their bytes by."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it wants the encoding {encoding!r}")
    return text.encode(encoding)


class ArrayUnpickler(pickle.Unpickler):
    """Reads dicts of NumPy arrays and nothing else: a pickle can only call what is in `ALLOWED`."""

    ALLOWED = {
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): _encode,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        # The module's name before and since NumPy 2.
        **{(f"numpy.{core}.multiarray", "_reconstruct"): np.zeros(1).__reduce__()[0] for core in ("core", "_core")},
        **{(f"numpy.{core}.multiarray", "scalar"): np.float32(1).__reduce__()[0] for core in ("core", "_core")},
    }

    def find_class(self, module: str, name: str) -> Any:
        """The function of this name, if it is allowed."""
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it would call {module}.{name}, which no weights need")
        return self.ALLOWED[module, name]


def convert_file(source: str | Path, out: str | Path, epsilon: float | None = None, keep_all: bool = False) -> Config:
    """`convert` a file; without `epsilon` it is 1e-5, and 0 for the files that torchvision publishes as COCO_V1.

    Raises:
        as `read` and `convert`.
    """
    if epsilon is None:
        epsilon = 0.0 if Path(source).stem in EPSILON_0 else 1e-5
    return convert(read(source), out, epsilon, keep_all)


def h5_file(path: str | Path, folder: str | Path) -> Path:
    """The `.h5` file of what someone gives as weights: that of a folder of `convert`, or of a file of torchvision or
    Detectron2, which is converted into a folder of its name under `folder` the first time; any other path as it is."""
    path = Path(path)
    if path.suffix in READERS:
        out = Path(folder) / path.stem
        if not (out / CONFIG).exists():
            print(f"Converting {path} to {out}")
            convert_file(path, out)
        path = out
    return path / WEIGHTS if path.is_dir() else path


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m mrcnn.weights.convert", description=__doc__.split("\n\n")[1])
    parser.add_argument("source", help="a .pth, .safetensors or .pkl file")
    parser.add_argument("out", help="folder to write")
    parser.add_argument(
        "--all-classes", action="store_true", help="keep torchvision's 91 outputs for COCO's 80 classes"
    )
    parser.add_argument(
        "--epsilon", type=float, help="of BatchNorm; default 1e-5, and 0 for torchvision's COCO_V1 files"
    )
    args = parser.parse_args(arguments)
    try:
        print(f"Reading {args.source}")
        config = convert_file(args.source, args.out, args.epsilon, args.all_classes)
    except (ValueError, OSError, ImportError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    heads = ["boxes", *["masks"] * config.USE_MASK, *["keypoints"] * bool(config.NUM_KEYPOINTS)]
    print(
        f"{args.out}: {config.BACKBONE}, {config.NUM_CLASSES} classes with the background, {', '.join(heads)}. "
        f"Use it as MaskRCNN.from_pretrained({os.fspath(args.out)!r})."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
