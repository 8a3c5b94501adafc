"""State dicts of other packages become our layers, classes and settings."""

import numpy as np
import pytest
from foreign import detectron2_state, torchvision_state

from mrcnn.config import ModernConfig
from mrcnn.ops import keypoints
from mrcnn.weights import convert

# COCO's ids of its 80 classes.
COCO_IDS = [
    *(*range(1, 12), *range(13, 26), 27, 28, *range(31, 45), *range(46, 66), 67, 70, *range(72, 83), *range(84, 91)),
]


@pytest.fixture(scope="module")
def torchvision():
    state = torchvision_state(points=17)
    return state, *convert.translate(state)


@pytest.fixture(scope="module")
def detectron2():
    state = detectron2_state(points=17)
    return state, *convert.translate(state)


# Layers


def test_layers_of_the_backbone(torchvision, detectron2):
    for state, _, found in (torchvision, detectron2):
        body = "backbone.body." if state is torchvision[0] else "backbone.bottom_up."
        stem, block, norm, shortcut = (
            ("conv1", "layer2.3", "bn3", "downsample.1")
            if state is torchvision[0]
            else ("stem.conv1", "res3.3", "conv3.norm", "shortcut.norm")
        )
        kernel = found["conv1"]["kernel"]
        assert kernel.shape == (7, 7, 3, 2) and list(found["conv1"]) == ["kernel"]
        assert kernel[1, 2, 0, 1] == state[f"{body}{stem}.weight"][1, 0, 1, 2]
        conv = state[f"{body}{block}.conv2.weight"]
        np.testing.assert_array_equal(found["res3d_branch2b"]["kernel"], np.moveaxis(conv, (0, 1), (3, 2)))
        for ours, theirs in {
            "gamma": "weight",
            "beta": "bias",
            "moving_mean": "running_mean",
            "moving_variance": "running_var",
        }.items():
            np.testing.assert_array_equal(found["bn3d_branch2c"][ours], state[f"{body}{block}.{norm}.{theirs}"])
            key = f"{body}{block[:-1]}0.{shortcut}.{theirs}"
            np.testing.assert_array_equal(found["bn3a_branch1"][ours], state[key])
        names = {f"{kind}{stage}{block}_branch{branch}" for kind, stage, block, branch in _blocks()}
        assert {name for name in found if name.startswith(("res", "bn"))} == names | {"bn_conv1"}


def _blocks():
    for stage, letters in ((2, "abc"), (3, "abcd"), (4, "abcdef"), (5, "abc")):
        for block in letters:
            for branch in ("2a", "2b", "2c", *["1"] * (block == "a")):
                yield from (("res", stage, block, branch), ("bn", stage, block, branch))


def test_layers_of_the_pyramid(torchvision, detectron2):
    for (_, _, found), state, keys in (
        (torchvision, torchvision[0], ("backbone.fpn.inner_blocks.{}.0", "backbone.fpn.layer_blocks.{}.0", 0)),
        (detectron2, detectron2[0], ("backbone.fpn_lateral{}", "backbone.fpn_output{}", 2)),
    ):
        lateral, output, first = keys
        for i, name in enumerate(("fpn_c2p2", "fpn_c3p3", "fpn_c4p4", "fpn_c5p5")):
            np.testing.assert_array_equal(found[name]["bias"], state[f"{lateral.format(first + i)}.bias"])
            np.testing.assert_array_equal(found[f"fpn_p{i + 2}"]["bias"], state[f"{output.format(first + i)}.bias"])


def test_dense_layers_are_convolutions(torchvision):
    """fc6 sees the channels one after the other, the convolution the cells."""
    state, config, found = torchvision
    pooled = np.random.default_rng(1).normal(size=(4, 7, 7)).astype("float32")
    expected = state["roi_heads.box_head.fc6.weight"] @ pooled.ravel()
    kernel = found["mrcnn_class_conv1"]["kernel"]
    assert kernel.shape == (7, 7, 4, 5) and config.POOL_SIZE == 7
    np.testing.assert_allclose(np.einsum("cyx,yxco->o", pooled, kernel), expected, rtol=1e-4)
    assert found["mrcnn_class_conv2"]["kernel"].shape == (1, 1, 5, 5)
    np.testing.assert_array_equal(found["mrcnn_class_conv2"]["kernel"][0, 0], state["roi_heads.box_head.fc7.weight"].T)


def transposed_convolution(x, kernel, bias, stride, padding):
    """PyTorch's, in its order: x [in, h, w], kernel [in, out, k, k]."""
    size, (height, width) = kernel.shape[-1], x.shape[1:]
    full = np.zeros((kernel.shape[1], stride * (height - 1) + size, stride * (width - 1) + size))
    for y in range(height):
        for z in range(width):
            spread = np.einsum("i,iokl->okl", x[:, y, z], kernel)
            full[:, stride * y : stride * y + size, stride * z : stride * z + size] += spread
    return full[:, padding : full.shape[1] - padding, padding : full.shape[2] - padding] + bias[:, None, None]


@pytest.mark.parametrize(
    "layer, key, padding",
    [
        ("mrcnn_mask_deconv", "roi_heads.mask_predictor.conv5_mask", 0),
        ("mrcnn_keypoint_deconv", "roi_heads.keypoint_predictor.kps_score_lowres", 1),
    ],
)
def test_transposed_convolutions(torchvision, layer, key, padding):
    import keras

    state, _, found = torchvision
    kernel, bias = state[f"{key}.weight"], state[f"{key}.bias"]
    x = np.random.default_rng(1).normal(size=(kernel.shape[0], 3, 4)).astype("float32")
    mode = "same" if padding else "valid"
    ours = keras.layers.Conv2DTranspose(len(bias), kernel.shape[-1], strides=2, padding=mode)
    ours.build((None, 3, 4, len(x)))
    ours.set_weights([found[layer]["kernel"], found[layer]["bias"]])
    y = keras.ops.convert_to_numpy(ours(x.transpose(1, 2, 0)[None]))[0].transpose(2, 0, 1)
    np.testing.assert_allclose(y, transposed_convolution(x, kernel, bias, 2, padding), rtol=1e-3, atol=1e-4)


def test_deltas(torchvision, detectron2):
    """From (dx, dy, dw, dh) to (dy, dx, dh, dw), of each anchor and of each class."""
    state, _, found = torchvision
    order = [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10]
    np.testing.assert_array_equal(found["rpn_bbox_pred"]["bias"], state["rpn.head.bbox_pred.bias"][order])
    kernel = state["rpn.head.bbox_pred.weight"][order, :, 0, 0].T
    np.testing.assert_array_equal(found["rpn_bbox_pred"]["kernel"][0, 0], kernel)
    np.testing.assert_array_equal(
        found["mrcnn_bbox_fc"]["bias"], state["roi_heads.box_predictor.bbox_pred.bias"][order]
    )
    kernel = state["roi_heads.box_predictor.bbox_pred.weight"][order].T
    np.testing.assert_array_equal(found["mrcnn_bbox_fc"]["kernel"], kernel)
    state, _, found = detectron2
    np.testing.assert_array_equal(
        found["rpn_bbox_pred"]["bias"], state["proposal_generator.rpn_head.anchor_deltas.bias"][order]
    )


def test_objectness_is_one_number(torchvision):
    state, _, found = torchvision
    assert found["rpn_class_raw"]["kernel"].shape == (1, 1, 6, 3)
    np.testing.assert_array_equal(found["rpn_class_raw"]["bias"], state["rpn.head.cls_logits.bias"])


def test_the_v2_models_of_torchvision():
    """BatchNorm in pyramid and heads, whose convolutions have no bias; two convolutions in the RPN, four in the box
    head and one dense layer."""
    state = torchvision_state(v2=True)
    config, found = convert.translate(state)
    assert changed(config) == {
        **{key: value for key, value in SMALL.items() if key != "IMAGE_SHAPE"},
        **{"IMAGE_SHAPE": [1344, 1344, 3], "NAME": "torchvision", "BACKBONE": "resnet50", "MASK_CHANNELS": 4},
        **{"ROI_ALIGN": "bins", "MASK_PASTE": "torchvision"},
        **{"FPN_BN": True, "BOX_HEAD_BN": True, "MASK_HEAD_BN": True, "RPN_CONVOLUTIONS": 2},
        **{"BOX_DENSE_LAYERS": 1, "BOX_CONVOLUTIONS": 4, "BOX_CHANNELS": 4},
    }
    assert list(found["fpn_c3p3"]) == list(found["mrcnn_mask_conv4"]) == list(found["mrcnn_box_conv1"]) == ["kernel"]
    for ours, theirs in {
        "fpn_c3p3_bn": "backbone.fpn.inner_blocks.1.1",
        "fpn_p5_bn": "backbone.fpn.layer_blocks.3.1",
        "mrcnn_mask_bn2": "roi_heads.mask_head.1.1",
        "mrcnn_box_bn4": "roi_heads.box_head.3.1",
    }.items():
        np.testing.assert_array_equal(found[ours]["gamma"], state[f"{theirs}.weight"])
        np.testing.assert_array_equal(found[ours]["moving_variance"], state[f"{theirs}.running_var"])
    kernel = state["roi_heads.box_head.2.0.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(found["mrcnn_box_conv3"]["kernel"], kernel)
    np.testing.assert_array_equal(found["rpn_conv_shared2"]["bias"], state["rpn.head.conv.1.0.bias"])
    assert found["mrcnn_class_conv1"]["kernel"].shape == (7, 7, 4, 5) and "mrcnn_class_conv2" not in found


def test_both_spellings_of_torchvision():
    new, old = (torchvision_state(old=old) for old in (False, True))
    assert "roi_heads.mask_head.mask_fcn4.bias" in old and "rpn.head.conv.bias" in old
    (_, a), (_, b) = convert.translate(new), convert.translate(old)
    assert list(a) == list(b)
    for layer, arrays in a.items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, b[layer][name])


def test_a_cascade_of_detectron2():
    """Three box heads, whose boxes are the same for all classes."""
    state = detectron2_state(cascade=True)
    config, found = convert.translate(state)
    assert config.DETECTOR == "cascade_rcnn" and config.NUM_CLASSES == 3 and config.USE_MASK
    for stage, prefix in enumerate(("mrcnn", "mrcnn_2", "mrcnn_3")):
        key = f"roi_heads.box_predictor.{stage}"
        np.testing.assert_array_equal(found[f"{prefix}_bbox_fc"]["bias"], state[f"{key}.bbox_pred.bias"][[1, 0, 3, 2]])
        np.testing.assert_array_equal(
            found[f"{prefix}_class_logits"]["bias"], state[f"{key}.cls_score.bias"][[2, 0, 1]]
        )
        assert found[f"{prefix}_class_conv1"]["kernel"].shape == (7, 7, 4, 5)
        np.testing.assert_array_equal(
            found[f"{prefix}_class_conv2"]["kernel"][0, 0], state[f"roi_heads.box_head.{stage}.fc2.weight"].T
        )
    assert not found["mrcnn_mask"]["kernel"][..., 0].any() and found["mrcnn_mask"]["kernel"].shape[-1] == 3


# Classes


def test_detectron2_has_the_background_last(detectron2):
    state, config, found = detectron2
    assert config.NUM_CLASSES == 3
    scores = state["roi_heads.box_predictor.cls_score.bias"]
    np.testing.assert_array_equal(found["mrcnn_class_logits"]["bias"], scores[[2, 0, 1]])
    weight = state["roi_heads.box_predictor.cls_score.weight"]
    np.testing.assert_array_equal(found["mrcnn_class_logits"]["kernel"], weight[[2, 0, 1]].T)
    boxes = state["roi_heads.box_predictor.bbox_pred.bias"][[1, 0, 3, 2, 5, 4, 7, 6]]
    np.testing.assert_array_equal(found["mrcnn_bbox_fc"]["bias"], [0, 0, 0, 0, *boxes])
    assert found["mrcnn_bbox_fc"]["kernel"].shape == (5, 12) and not found["mrcnn_bbox_fc"]["kernel"][:, :4].any()
    masks = state["roi_heads.mask_head.predictor.bias"]
    np.testing.assert_array_equal(found["mrcnn_mask"]["bias"], [0, *masks])
    assert found["mrcnn_mask"]["kernel"].shape == (1, 1, 3, 3) and not found["mrcnn_mask"]["kernel"][..., 0].any()


def test_coco_has_80_of_91_classes():
    state = torchvision_state(classes=91)
    rows = [0, *COCO_IDS]
    assert len(rows) == 81
    config, found = convert.translate(state)
    assert config.NUM_CLASSES == 81
    scores = state["roi_heads.box_predictor.cls_score.weight"]
    np.testing.assert_array_equal(found["mrcnn_class_logits"]["kernel"], scores[rows].T)
    boxes = state["roi_heads.box_predictor.bbox_pred.bias"].reshape(91, 4)[rows][:, [1, 0, 3, 2]]
    np.testing.assert_array_equal(found["mrcnn_bbox_fc"]["bias"], boxes.ravel())
    masks = state["roi_heads.mask_predictor.mask_fcn_logits.weight"]
    np.testing.assert_array_equal(found["mrcnn_mask"]["kernel"][0, 0], masks[rows, :, 0, 0].T)
    config, found = convert.translate(state, keep_all=True)
    assert config.NUM_CLASSES == 91 and found["mrcnn_mask"]["bias"].shape == (91,)
    np.testing.assert_array_equal(found["mrcnn_class_logits"]["kernel"], scores.T)


# Settings


def changed(config):
    """The settings that are not ModernConfig's."""
    modern = ModernConfig.from_dict({"NUM_CLASSES": config.NUM_CLASSES}).to_dict()
    return {name: value for name, value in config.to_dict().items() if value != modern[name]}


SMALL = {
    "FPN_CLASSIF_FC_LAYERS_SIZE": 5,
    "TOP_DOWN_PYRAMID_SIZE": 4,
    "RPN_CHANNELS": 6,
    "RPN_BBOX_STD_DEV": [1.0, 1.0, 1.0, 1.0],
    "RPN_ANCHOR_RATIOS": [2, 1, 0.5],
    "IMAGE_RESIZE_MODE": "shortest",
    "IMAGE_MAX_DIM": 1344,
    "IMAGE_SHAPE": [1344, 1344, 3],
}
POINTS = {
    "NUM_KEYPOINTS": 17,
    "KEYPOINT_CONVOLUTIONS": 2,
    "KEYPOINT_CHANNELS": 7,
    "KEYPOINT_NAMES": keypoints.COCO_NAMES,
    "KEYPOINT_FLIP_PAIRS": [list(pair) for pair in keypoints.COCO_FLIP_PAIRS],
    "KEYPOINT_SKELETON": [list(pair) for pair in keypoints.COCO_SKELETON],
    "KEYPOINT_SIGMAS": keypoints.COCO_SIGMAS,
}


def test_settings_of_torchvision(torchvision):
    assert changed(torchvision[1]) == {
        **SMALL,
        **POINTS,
        "NAME": "torchvision",
        "BACKBONE": "resnet50",
        "MASK_CHANNELS": 4,
        "ROI_ALIGN": "bins",
        "MASK_PASTE": "torchvision",
    }
    assert torchvision[1].RPN_ANCHORS == "rounded" and torchvision[1].RESNET_STRIDE == "3x3"


def test_settings_of_detectron2(detectron2):
    caffe = {"CHANNEL_ORDER": "bgr", "PIXEL_STD": [1.0, 1.0, 1.0], "RESNET_STRIDE": "1x1", "RPN_ANCHORS": "exact"}
    assert changed(detectron2[1]).items() >= {"BACKBONE": "resnet50", **caffe, **POINTS, **SMALL}.items()
    assert detectron2[1].ROI_ALIGN == "aligned" and list(detectron2[1].MEAN_PIXEL) == [123.675, 116.28, 103.53]
    config, _ = convert.translate(detectron2_state(blocks=(3, 4, 23, 3), kernel=(256, 8)))
    assert (config.BACKBONE, config.RESNET_STRIDE) == ("resnext101_32x8d", "3x3")
    assert config.CHANNEL_ORDER == "bgr" and list(config.PIXEL_STD) == [58.395, 57.12, 57.375]


def test_pixels_of_the_file_count():
    bgr = (101.5, 102.25, 103.125), (57.375, 57.12, 58.395)
    config, _ = convert.translate(detectron2_state(pixels=bgr))
    assert config.MEAN_PIXEL.tolist() == [103.125, 102.25, 101.5] and config.PIXEL_STD == [58.395, 57.12, 57.375]
    assert config.RESNET_STRIDE == "3x3"


@pytest.mark.parametrize(
    "blocks, kernel, name",
    [
        ((3, 4, 6, 3), (64, 64), "resnet50"),
        ((3, 4, 23, 3), (64, 64), "resnet101"),
        ((3, 4, 6, 3), (128, 4), "resnext50_32x4d"),
        ((3, 4, 23, 3), (256, 8), "resnext101_32x8d"),
    ],
)
def test_backbones(blocks, kernel, name):
    for state in (torchvision_state, detectron2_state):
        config, found = convert.translate(state(blocks=blocks, kernel=kernel, mask=False))
        assert name == config.BACKBONE and not config.USE_MASK and config.NUM_KEYPOINTS == 0
        assert "mrcnn_mask" not in found and found["res2a_branch2b"]["kernel"].shape == (3, 3, kernel[1], kernel[0])


def test_without_epsilon_no_variance_is_zero_to_tensorflow():
    state = torchvision_state()
    state["backbone.body.bn1.running_var"] = np.array([1e-44, 1], "float32")
    config, found = convert.translate(state, epsilon=0)
    assert config.BATCH_NORM_EPSILON == 0
    np.testing.assert_array_equal(found["bn_conv1"]["moving_variance"], [np.finfo("float32").tiny, 1])
    config, found = convert.translate(state)
    assert config.BATCH_NORM_EPSILON == 1e-5 and found["bn_conv1"]["moving_variance"][0] < 1e-40


# What cannot be converted


def without(state, *parts):
    return {key: value for key, value in state.items() if not any(part in key for part in parts)}


@pytest.mark.parametrize(
    "state, message",
    [
        (
            without(torchvision_state(), "fc7", "cls_logits.w"),
            r"3 keys are missing \(roi_heads.box_head.fc7.bias, .*fc7",
        ),
        ({**torchvision_state(), "mood": np.ones(1)}, r"^1 keys are unknown \(mood\)\. Convert a Mask, "),
        (
            {**without(torchvision_state(v2=True), "box_head.2"), "roi_heads.box_head.fc6.bias": np.ones(1)},
            r"5 keys are missing \(roi_heads.box_head.2.0.weight.* and 1 keys are unknown .*box_head.fc6",
        ),
        (torchvision_state(blocks=(3, 8, 36, 3)), r"The backbone, with \(3, 8, 36, 3\) bottlenecks"),
        (torchvision_state(kernel=(128, 128)), r"first 3x3 kernel of \(128, 128, 3, 3\)"),
        (without(detectron2_state(), "res5"), r"The backbone, with \(3, 4, 6, 0\) bottlenecks .*not C4"),
        ({"backbone.res2.0.x": np.ones(1), "roi_heads.res5.0.x": np.ones(1)}, "^This is one of Detectron2's C4 models"),
        ({"backbone.res2.0.x": np.ones(1), "roi_heads.box_head.fc1.x": np.ones(1)}, "Detectron2's DC5 models"),
        (without(detectron2_state(cascade=True), "box_predictor.2"), "4 keys are missing .*box_predictor.2.bbox_pred"),
        (
            {**detectron2_state(cascade=True), "roi_heads.box_predictor.1.bbox_pred.bias": np.ones(8)},
            "mrcnn_2_bbox_fc would get 8 outputs instead of 4",
        ),
        ({"fc.weight": np.ones(1)}, r"^The keys \(fc.weight\) are those of no detector that is known"),
        ({}, r"The keys \(none\)"),
        (
            {**torchvision_state(), "rpn.head.cls_logits.bias": np.ones(15)},
            "rpn_class_raw would get 15 outputs instead of 3",
        ),
        (
            {**detectron2_state(5), "roi_heads.box_predictor.bbox_pred.bias": np.ones(4)},
            "mrcnn_bbox_fc would get 8 outputs instead of 20",
        ),
    ],
)
def test_other_models_are_refused(state, message):
    with pytest.raises(ValueError, match=message) as error:
        convert.translate(state)
    assert "\n" not in str(error.value)
