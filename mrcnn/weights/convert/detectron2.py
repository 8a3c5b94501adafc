"""Detectron2's detectors: its keys, classes and settings."""

import numpy as np

from mrcnn.settings import ModernConfig
from mrcnn.weights.convert.package import PER_CLASS, Package, each_class, pyramid


def _box_head(prefix, stage=""):
    """A box head; `stage` is part of the keys of a cascade."""
    return {
        f"{prefix}_class_conv1": f"roi_heads.box_head{stage}.fc1",
        f"{prefix}_class_conv2": f"roi_heads.box_head{stage}.fc2",
        f"{prefix}_class_logits": f"roi_heads.box_predictor{stage}.cls_score",
        f"{prefix}_bbox_fc": f"roi_heads.box_predictor{stage}.bbox_pred",
    }


def _background_first(found):
    """It has the background's score last, and no boxes and masks for it: zeros. A cascade's boxes are of no class."""
    for layer, arrays in found.items():
        if layer.endswith("class_logits"):
            arrays.update({weight: np.roll(x, 1, axis=0) for weight, x in arrays.items()})
    layers = {"mrcnn_mask"} if "mrcnn_2_bbox_fc" in found else {"mrcnn_mask", "mrcnn_bbox_fc"}
    each_class(
        found,
        lambda rows: np.concatenate([np.zeros_like(rows[:1]), rows]),
        {layer: PER_CLASS[layer] for layer in layers},
    )


def _settings(state, backbone):
    """Pixels are BGR there, and a model of Detectron2's own files has their mean and deviation in its state."""

    def rgb(key, default):
        return [round(float(x), 3) for x in state[key].ravel()[::-1]] if key in state else default

    std = rgb("pixel_std", ModernConfig.PIXEL_STD if backbone.startswith("resnext") else (1.0, 1.0, 1.0))
    return {
        "RPN_ANCHORS": "exact",
        "ROI_ALIGN": "aligned",
        "CHANNEL_ORDER": "bgr",
        "MEAN_PIXEL": rgb("pixel_mean", ModernConfig.MEAN_PIXEL),
        "PIXEL_STD": std,
        # Networks from Caffe see pixels that are divided by nothing, and have their stride in the 1x1 convolution.
        "RESNET_STRIDE": "1x1" if set(std) == {1.0} else "3x3",
    }


DETECTRON2 = Package(
    name="Detectron2",
    body="backbone.bottom_up.",
    stem=("stem.conv1", "stem.conv1.norm"),
    stages=("res2", "res3", "res4", "res5"),
    convolutions=("conv1", "conv2", "conv3", "shortcut"),
    norms=("conv1.norm", "conv2.norm", "conv3.norm", "shortcut.norm"),
    layers={
        **pyramid(lambda i: f"backbone.fpn_lateral{i + 2}", lambda i: f"backbone.fpn_output{i + 2}"),
        "rpn_conv_shared": "proposal_generator.rpn_head.conv",
        "rpn_class_raw": "proposal_generator.rpn_head.objectness_logits",
        "rpn_bbox_pred": "proposal_generator.rpn_head.anchor_deltas",
    },
    box_heads=(
        _box_head("mrcnn"),
        {**_box_head("mrcnn", ".0"), **_box_head("mrcnn_2", ".1"), **_box_head("mrcnn_3", ".2")},
    ),
    parts=(
        {
            **{f"mrcnn_mask_conv{i}": f"roi_heads.mask_head.mask_fcn{i}" for i in range(1, 5)},
            "mrcnn_mask_deconv": "roi_heads.mask_head.deconv",
            "mrcnn_mask": "roi_heads.mask_head.predictor",
        },
    ),
    keypoint_layer=lambda i: f"roi_heads.keypoint_head.conv_fcn{i}",
    keypoint_deconv="roi_heads.keypoint_head.score_lowres",
    settings=_settings,
    background=_background_first,
)
