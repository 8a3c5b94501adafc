"""torchvision's detectors: its keys, classes and settings."""

from mrcnn.weights.convert.package import Package, norms, pyramid

# Of its 91 outputs for COCO those that have no class.
COCO_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)

# Files that it runs with an epsilon of 0, as they were trained.
EPSILON_0 = (
    "maskrcnn_resnet50_fpn_coco-bf2d0c1e",
    "keypointrcnn_resnet50_fpn_coco-fc266e95",
    "fasterrcnn_resnet50_fpn_coco-258fb6c6",
    "retinanet_resnet50_fpn_coco-eeacb38b",
)


_PYRAMID = pyramid("backbone.fpn.inner_blocks.{}.0".format, "backbone.fpn.layer_blocks.{}.0".format)
_BOX = {f"mrcnn_box_conv{i}": f"roi_heads.box_head.{i - 1}.0" for i in range(1, 5)}
_PREDICTOR = {
    "mrcnn_class_logits": "roi_heads.box_predictor.cls_score",
    "mrcnn_bbox_fc": "roi_heads.box_predictor.bbox_pred",
}
_MASK = {f"mrcnn_mask_conv{i}": f"roi_heads.mask_head.{i - 1}.0" for i in range(1, 5)}


def _norms(layers, ours):
    """Of v2 models: a convolution's key ends in 0, its BatchNorm's in 1."""
    return norms(layers, ours, lambda key: key[:-1] + "1")


def _head_norm(name):
    return name.replace("conv", "bn")


def _settings(state, backbone):
    return {"RPN_ANCHORS": "rounded", "ROI_ALIGN": "bins", "MASK_PASTE": "torchvision"}


TORCHVISION = Package(
    name="torchvision",
    body="backbone.body.",
    stem=("conv1", "bn1"),
    stages=("layer1", "layer2", "layer3", "layer4"),
    convolutions=("conv1", "conv2", "conv3", "downsample.0"),
    norms=("bn1", "bn2", "bn3", "downsample.1"),
    layers={
        **_PYRAMID,
        "rpn_conv_shared": "rpn.head.conv.0.0",
        "rpn_class_raw": "rpn.head.cls_logits",
        "rpn_bbox_pred": "rpn.head.bbox_pred",
    },
    box_heads=(
        {"mrcnn_class_conv1": "roi_heads.box_head.fc6", "mrcnn_class_conv2": "roi_heads.box_head.fc7", **_PREDICTOR},
        {**_BOX, **_norms(_BOX, _head_norm), "mrcnn_class_conv1": "roi_heads.box_head.5", **_PREDICTOR},
    ),
    parts=(
        {
            **_MASK,
            "mrcnn_mask_deconv": "roi_heads.mask_predictor.conv5_mask",
            "mrcnn_mask": "roi_heads.mask_predictor.mask_fcn_logits",
        },
        {"rpn_conv_shared2": "rpn.head.conv.1.0"},
        _norms(_PYRAMID, "{}_bn".format),
        _norms(_MASK, _head_norm),
    ),
    keypoint_layer=lambda i: f"roi_heads.keypoint_head.{2 * i - 2}",
    keypoint_deconv="roi_heads.keypoint_predictor.kps_score_lowres",
    # The published files are older than the modules between; see torchvision's FeaturePyramidNetwork.
    old_keys={
        r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d)(\.\w+)": r"\1.0\2",
        r"(rpn\.head\.conv)(\.\w+)": r"\1.0.0\2",
        **{rf"(roi_heads\.mask_head)\.mask_fcn{i + 1}(\.\w+)": rf"\1.{i}.0\2" for i in range(4)},
    },
    settings=_settings,
    unused={91: COCO_UNUSED},
)
