import json
import os
import pickle
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from real_data import ROOT

from mrcnn import weights
from mrcnn.config import Config, ModernConfig
from mrcnn.ops import keypoints
from mrcnn.weights import convert

GOLDEN = ROOT.parent / "shared" / "golden" / "torchvision"

# COCO's ids of its 80 classes.
COCO_IDS = [
    *(*range(1, 12), *range(13, 26), 27, 28, *range(31, 45), *range(46, 66), 67, 70, *range(72, 83), *range(84, 91)),
]


class State(dict):
    """A state dict that is filled by shapes: every array has numbers of its own."""

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def add(self, key, *shape, bias=True):
        self[f"{key}.weight"] = self.rng.normal(size=shape).astype("float32")
        if bias:
            self[f"{key}.bias"] = self.rng.normal(size=shape[0]).astype("float32")

    def add_norm(self, key):
        for name in ("weight", "bias", "running_mean", "running_var"):
            self[f"{key}.{name}"] = self.rng.uniform(0.5, 1.5, 2).astype("float32")

    def add_transposed(self, key, inputs, outputs, size):
        self[f"{key}.weight"] = self.rng.normal(size=(inputs, outputs, size, size)).astype("float32")
        self[f"{key}.bias"] = self.rng.normal(size=outputs).astype("float32")

    def add_heads(self, fc, score, boxes, background):
        """The box head, with `background` rows of boxes that it has for the background."""
        self.add(fc[0], 5, 4 * 49)
        self.add(fc[1], 5, 5)
        self.add(score, self.classes, 5)
        self.add(boxes, 4 * (self.classes - 1 + background), 5)


def torchvision_state(classes=3, blocks=(3, 4, 6, 3), kernel=(64, 64), mask=True, points=0, old=False):
    """A Mask R-CNN of torchvision with two to five channels, its keys as today or as in the published files."""
    state = State()
    state.classes = classes
    between, rpn = ("", "") if old else (".0", ".0.0")
    state.add("backbone.body.conv1", 2, 3, 7, 7, bias=False)
    state.add_norm("backbone.body.bn1")
    for layer, count in enumerate(blocks, start=1):
        for block in range(count):
            key = f"backbone.body.layer{layer}.{block}"
            for i in (1, 2, 3):
                state.add(f"{key}.conv{i}", 3, 2, i, i, bias=False)
                state.add_norm(f"{key}.bn{i}")
            if block == 0:
                state.add(f"{key}.downsample.0", 3, 2, 1, 1, bias=False)
                state.add_norm(f"{key}.downsample.1")
    state["backbone.body.layer1.0.conv2.weight"] = np.broadcast_to(np.float32(0), (*kernel, 3, 3))
    state["backbone.body.bn1.num_batches_tracked"] = np.array(7)
    for i in range(4):
        state.add(f"backbone.fpn.inner_blocks.{i}{between}", 4, 3, 1, 1)
        state.add(f"backbone.fpn.layer_blocks.{i}{between}", 4, 4, 3, 3)
    state.add(f"rpn.head.conv{rpn}", 6, 4, 3, 3)
    state.add("rpn.head.cls_logits", 3, 6, 1, 1)
    state.add("rpn.head.bbox_pred", 12, 6, 1, 1)
    predictor = "roi_heads.box_predictor"
    state.add_heads(
        ("roi_heads.box_head.fc6", "roi_heads.box_head.fc7"), f"{predictor}.cls_score", f"{predictor}.bbox_pred", 1
    )
    if mask:
        for i in range(4):
            state.add(f"roi_heads.mask_head.mask_fcn{i + 1}" if old else f"roi_heads.mask_head.{i}.0", 4, 4, 3, 3)
        state.add_transposed("roi_heads.mask_predictor.conv5_mask", 4, 3, 2)
        state.add("roi_heads.mask_predictor.mask_fcn_logits", classes, 3, 1, 1)
    if points:
        for i in range(2):
            state.add(f"roi_heads.keypoint_head.{2 * i}", 7, 7 if i else 4, 3, 3)
        state.add_transposed("roi_heads.keypoint_predictor.kps_score_lowres", 7, points, 4)
    return state


def detectron2_state(classes=3, blocks=(3, 4, 6, 3), kernel=(64, 64), mask=True, points=0, pixels=None):
    state = State()
    state.classes = classes
    state.add("backbone.bottom_up.stem.conv1", 2, 3, 7, 7, bias=False)
    state.add_norm("backbone.bottom_up.stem.conv1.norm")
    for stage, count in enumerate(blocks, start=2):
        for block in range(count):
            key = f"backbone.bottom_up.res{stage}.{block}"
            for name in ("conv1", "conv2", "conv3", *["shortcut"] * (block == 0)):
                state.add(f"{key}.{name}", 3, 2, 1, 1, bias=False)
                state.add_norm(f"{key}.{name}.norm")
    state["backbone.bottom_up.res2.0.conv2.weight"] = np.broadcast_to(np.float32(0), (*kernel, 3, 3))
    for level in (2, 3, 4, 5):
        state.add(f"backbone.fpn_lateral{level}", 4, 3, 1, 1)
        state.add(f"backbone.fpn_output{level}", 4, 4, 3, 3)
    state["proposal_generator.anchor_generator.cell_anchors.0"] = np.zeros((3, 4), "float32")
    head = "proposal_generator.rpn_head"
    state.add(f"{head}.conv", 6, 4, 3, 3)
    state.add(f"{head}.objectness_logits", 3, 6, 1, 1)
    state.add(f"{head}.anchor_deltas", 12, 6, 1, 1)
    predictor = "roi_heads.box_predictor"
    state.add_heads(
        ("roi_heads.box_head.fc1", "roi_heads.box_head.fc2"), f"{predictor}.cls_score", f"{predictor}.bbox_pred", 0
    )
    if mask:
        for i in (1, 2, 3, 4):
            state.add(f"roi_heads.mask_head.mask_fcn{i}", 4, 4, 3, 3)
        state.add_transposed("roi_heads.mask_head.deconv", 4, 3, 2)
        state.add("roi_heads.mask_head.predictor", classes - 1, 3, 1, 1)
    if points:
        for i in (1, 2):
            state.add(f"roi_heads.keypoint_head.conv_fcn{i}", 7, 7 if i == 2 else 4, 3, 3)
        state.add_transposed("roi_heads.keypoint_head.score_lowres", 7, points, 4)
    if pixels:
        state["pixel_mean"], state["pixel_std"] = (np.reshape(x, (3, 1, 1)).astype("float32") for x in pixels)
    return state


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


def test_both_spellings_of_torchvision():
    new, old = (torchvision_state(old=old) for old in (False, True))
    assert "roi_heads.mask_head.mask_fcn4.bias" in old and "rpn.head.conv.bias" in old
    (_, a), (_, b) = convert.translate(new), convert.translate(old)
    assert list(a) == list(b)
    for layer, arrays in a.items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, b[layer][name])


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
            {**without(torchvision_state(), "fc6"), "roi_heads.box_head.0.0.weight": np.ones(1)},
            r"2 keys are missing .* and 1 keys are unknown .*not _v2",
        ),
        (torchvision_state(blocks=(3, 8, 36, 3)), r"The backbone, with \(3, 8, 36, 3\) bottlenecks"),
        (torchvision_state(kernel=(128, 128)), r"first 3x3 kernel of \(128, 128, 3, 3\)"),
        (without(detectron2_state(), "res5"), r"The backbone, with \(3, 4, 6, 0\) bottlenecks .*not C4"),
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


# Files


def write_pickle(path, content, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickles_of_detectron2(tmp_path, protocol):
    state = OrderedDict(a=np.arange(6, dtype="float32").reshape(2, 3), b=np.array(5))
    path = write_pickle(tmp_path / "model.pkl", {"model": state, "__author__": "Detectron2 Model Zoo"}, protocol)
    found = convert.read(path)
    assert list(found) == ["a", "b"] and found["b"] == 5 and found["a"].dtype == "float32"
    np.testing.assert_array_equal(found["a"], state["a"])
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray\n"[:-1]))
    if protocol < 4:  # the name is ended by a line break there, and has no length
        np.testing.assert_array_equal(convert.read(path)["a"], state["a"])


class Call:
    """What pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def raw(*lines):
    """A pickle of protocol 0 from its opcodes."""
    return b"".join(lines) + b"."


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"model": Call(os.system, "touch harm")}),
        pickle.dumps({"model": {"a": Call(eval, "open('harm', 'w')")}}),
        pickle.dumps({"model": {"a": Call(exec, "open('harm', 'w')")}}, protocol=0),
        pickle.dumps([Call(getattr, Path, "home")]),
        pickle.dumps([Call(__import__, "os")]),
        pickle.dumps(Call(Path, "harm")),
        pickle.dumps({"model": {"a": np.array([Call(os.system, "touch harm")], dtype=object)}}),
        raw(b"cposix\nsystem\n", b"(S'touch harm'\ntR"),
        raw(b"cnumpy\nload\n", b"(S'harm'\ntR"),
        raw(b"(S'touch harm'\nios\nsystem\n"),
        # A dotted name, which pickle would look up part by part.
        b"\x80\x04\x8c\x05numpy\x8c\x14dtype.__class__.mro\x93.",
        b"\x80\x04\x8c\x0bcollections\x8c\x1cOrderedDict.fromkeys.__self__\x93.",
        # A codec that was never needed for bytes, a persistent id, and an extension.
        raw(b"c_codecs\nencode\n", b"(S'x'\nS'zlib'\ntR"),
        raw(b"Pharm\n"),
        b"\x80\x02\x82\x01.",
        # Not even a pickle.
        b"",
        b"\x80\x04garbage",
        pickle.dumps({"a": np.zeros(100)})[:60],
    ],
)
def test_crafted_pickles_are_refused(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="model.pkl cannot be read as a weights file: "):
        convert.read(path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.pkl"]


@pytest.mark.parametrize(
    "content", [{"a": np.array(["text"])}, {"a": np.array([{}], dtype=object)}, {"a": 5}, {5: np.ones(1)}, [1], None]
)
def test_pickles_of_something_else(tmp_path, content):
    path = write_pickle(tmp_path / "model.pkl", content)
    with pytest.raises(ValueError, match=r"model.pkl holds something else than arrays of numbers by their names\."):
        convert.read(path)


def test_torch_files(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch reads .pth files")
    values = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(5), "c": torch.ones(2, dtype=torch.bfloat16)}
    for name, content in {"plain.pth": values, "trained.pth": {"model": values, "iteration": 3}}.items():
        torch.save(content, tmp_path / name)
        found = convert.read(tmp_path / name)
        np.testing.assert_array_equal(found["a"], [[0, 1, 2], [3, 4, 5]])
        assert list(found) == ["a", "b", "c"] and found["b"] == 5 and found["c"].tolist() == [1, 1]
    torch.save({"model": Call(os.system, f"touch {tmp_path / 'harm'}")}, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match="bad.pth cannot be read as a weights file: it holds more than tensors"):
        convert.read(tmp_path / "bad.pth")
    assert not (tmp_path / "harm").exists()


def test_safetensors_files(tmp_path):
    library = pytest.importorskip("safetensors.numpy", reason="safetensors reads .safetensors files")
    library.save_file({"a": np.arange(3, dtype="float32")}, tmp_path / "model.safetensors")
    np.testing.assert_array_equal(convert.read(tmp_path / "model.safetensors")["a"], [0, 1, 2])
    (tmp_path / "model.safetensors").write_bytes(b"no such file")
    with pytest.raises(ValueError, match="model.safetensors cannot be read"):
        convert.read(tmp_path / "model.safetensors")


@pytest.mark.parametrize("library, ending", [("torch", "pth"), ("safetensors.numpy", "safetensors")])
def test_missing_libraries(tmp_path, monkeypatch, library, ending):
    monkeypatch.setitem(sys.modules, library, None)
    (tmp_path / f"model.{ending}").write_bytes(b"")
    package = library.split(".")[0]
    with pytest.raises(ImportError, match=f"model.{ending} needs .* to be read: pip install {package}$"):
        convert.read(tmp_path / f"model.{ending}")


def test_other_files(tmp_path):
    with pytest.raises(ValueError, match="model.h5 is no file of .pth, .pt, .safetensors, .pkl"):
        convert.read(tmp_path / "model.h5")
    with pytest.raises(FileNotFoundError, match="not found: .*model.pkl"):
        convert.read(tmp_path / "model.pkl")


# The command


def test_command(tmp_path, capsys):
    state = torchvision_state(points=5)
    source = write_pickle(tmp_path / "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pkl", dict(state))
    out = tmp_path / "new" / "out"
    assert convert.main([str(source), str(out)]) == 0
    assert f"{out}: resnet50, 3 classes with the background, boxes, masks, keypoints." in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "weights.h5"]
    config = Config.from_json(out / "config.json")
    assert config.BATCH_NORM_EPSILON == 0 and config.NUM_KEYPOINTS == 5 and config.KEYPOINT_NAMES == []
    assert config.RPN_SCORE == "sigmoid" and config.PIXEL_STD == [58.395, 57.12, 57.375]
    stored = weights.read(out / "weights.h5")
    _, expected = convert.translate(state, epsilon=0)
    assert stored.keys() == expected.keys()
    for layer, arrays in expected.items():
        assert stored[layer].keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(stored[layer][name], array)

    assert convert.main([str(source), str(out), "--epsilon", "0.25"]) == 0
    assert Config.from_json(out / "config.json").BATCH_NORM_EPSILON == 0.25


def test_command_keeps_all_classes(tmp_path):
    source = write_pickle(tmp_path / "model.pkl", dict(torchvision_state(classes=91)))
    for options, classes in ((["--all-classes"], 91), ([], 81)):
        assert convert.main([str(source), str(tmp_path), *options]) == 0
        assert json.loads((tmp_path / "config.json").read_text())["NUM_CLASSES"] == classes


def test_command_says_in_one_line_what_is_wrong(tmp_path, capsys):
    source = write_pickle(tmp_path / "model.pkl", {"a": np.ones(1)})
    for path in (source, tmp_path / "none.pkl", tmp_path / "model.h5"):
        assert convert.main([str(path), str(tmp_path / "out")]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_settings_can_be_given(tmp_path):
    config = convert.convert(detectron2_state(), tmp_path, CHANNEL_ORDER="rgb", NAME="mine")
    assert (config.CHANNEL_ORDER, config.NAME) == ("rgb", "mine")
    assert Config.from_json(tmp_path / "config.json").CHANNEL_ORDER == "rgb"
    with pytest.raises(ValueError, match="CHANEL is not a setting"):
        convert.convert(detectron2_state(), tmp_path, CHANEL="rgb")


def test_from_pretrained_takes_files_of_a_run_too(tmp_path):
    from mrcnn.model import MaskRCNN

    small = {"TOP_DOWN_PYRAMID_SIZE": 8, "RPN_CHANNELS": 8, "FPN_CLASSIF_FC_LAYERS_SIZE": 8, "MASK_CHANNELS": 8}
    size = {"IMAGE_MIN_DIM": 64, "IMAGE_MAX_DIM": 64, "BACKBONE": "resnet18", "BACKBONE_WIDTH": 2, "NUM_CLASSES": 3}
    config = Config.from_dict({**small, **size})
    model = MaskRCNN("inference", config, tmp_path)
    model.save_weights(tmp_path / "model.h5")
    with pytest.raises(FileNotFoundError, match="config.json"):
        MaskRCNN.from_pretrained(tmp_path / "model.h5", tmp_path)
    config.to_json(tmp_path / "config.json")
    again = MaskRCNN.from_pretrained(tmp_path / "model.h5", tmp_path, DETECTION_MIN_CONFIDENCE=0.125)
    assert again.mode == "inference" and again.config.to_dict() == {
        **config.to_dict(),
        "DETECTION_MIN_CONFIDENCE": 0.125,
    }
    for a, b in zip(model.keras_model.get_weights(), again.keras_model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


# torchvision's models in full


@pytest.fixture(scope="module", params=["mask", "keypoint"])
def golden_state(request):
    if not GOLDEN.exists():
        pytest.skip("torchvision's own numbers are not in ../shared/golden/torchvision")
    sys.path.insert(0, str(GOLDEN))
    try:
        from seeded_weights import state_dict
    finally:
        sys.path.remove(str(GOLDEN))
    return request.param, state_dict(GOLDEN / f"torchvision_{request.param}.npz")


def test_every_tensor_of_torchvision_lands(golden_state):
    kind, state = golden_state
    config, found = convert.translate(state, keep_all=True)
    assert sum(len(arrays) for arrays in found.values()) == len(state)
    assert sum(x.size for arrays in found.values() for x in arrays.values()) == sum(x.size for x in state.values())
    sums = sorted(float(np.sum(x, dtype="float64")) for arrays in found.values() for x in arrays.values())
    np.testing.assert_allclose(sums, sorted(float(np.sum(x, dtype="float64")) for x in state.values()), atol=1e-9)
    expected = {"mask": (91, 0, True), "keypoint": (2, 17, False)}[kind]
    assert expected == (config.NUM_CLASSES, config.NUM_KEYPOINTS, config.USE_MASK)
    assert found["mrcnn_class_conv1"]["kernel"].shape == (7, 7, 256, 1024)


def test_the_model_takes_every_tensor(golden_state):
    from mrcnn.model import MaskRCNN

    kind, state = golden_state
    with tempfile.TemporaryDirectory() as folder:
        convert.convert(state, folder)
        model = MaskRCNN.from_pretrained(folder, folder, IMAGE_MAX_DIM=64, IMAGE_MIN_DIM=64)
    assert not model.load_report.left and len(model.load_report.loaded) == {"mask": 127, "keypoint": 130}[kind]
    assert {"mask": 81, "keypoint": 2}[kind] == model.config.NUM_CLASSES


def test_weights_as_samples_take_them(tmp_path, capsys):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    state = torchvision_state()
    source = tmp_path / "my model.pth"
    torch.save({key: torch.tensor(value) for key, value in state.items()}, source)
    expected = tmp_path / "logs" / "my model" / "weights.h5"
    assert convert.h5_file(source, tmp_path / "logs") == expected and expected.is_file()
    assert "Converting" in capsys.readouterr().out
    assert convert.h5_file(source, tmp_path / "logs") == expected  # the first one is kept
    assert capsys.readouterr().out == ""
    assert convert.h5_file(expected.parent, tmp_path) == expected
    assert convert.h5_file(tmp_path / "other.h5", tmp_path) == tmp_path / "other.h5"
