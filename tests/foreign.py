"""State dicts of torchvision and Detectron2 with two to five channels."""

import pickle

import numpy as np


class State(dict):
    """A state dict that is filled by shapes: every array has numbers of its own."""

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def add(self, key, *shape, bias=True):
        self[f"{key}.weight"] = self.rng.normal(size=shape).astype("float32")
        if bias:
            self[f"{key}.bias"] = self.rng.normal(size=shape[0]).astype("float32")

    def add_norm(self, key, channels=2):
        for name in ("weight", "bias", "running_mean", "running_var"):
            self[f"{key}.{name}"] = self.rng.uniform(0.5, 1.5, channels).astype("float32")

    def add_transposed(self, key, inputs, outputs, size):
        self[f"{key}.weight"] = self.rng.normal(size=(inputs, outputs, size, size)).astype("float32")
        self[f"{key}.bias"] = self.rng.normal(size=outputs).astype("float32")

    def add_heads(self, fc, score, boxes, background):
        """The box head, with `background` rows of boxes that it has for the background."""
        self.add(fc[0], 5, 4 * 49)
        for key in fc[1:]:
            self.add(key, 5, 5)
        self.add(score, self.classes, 5)
        self.add(boxes, 4 * (self.classes - 1 + background), 5)


def torchvision_state(classes=3, blocks=(3, 4, 6, 3), kernel=(64, 64), mask=True, points=0, old=False, v2=False):
    """A Mask R-CNN of torchvision with two to five channels, its keys as today or as in the published files; or one of
    its v2 models."""
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
        state.add(f"backbone.fpn.inner_blocks.{i}{between}", 4, 3, 1, 1, bias=not v2)
        state.add(f"backbone.fpn.layer_blocks.{i}{between}", 4, 4, 3, 3, bias=not v2)
        for kind in ("inner", "layer") * v2:
            state.add_norm(f"backbone.fpn.{kind}_blocks.{i}.1", 4)
    state.add(f"rpn.head.conv{rpn}", 6, 4, 3, 3)
    if v2:
        state.add("rpn.head.conv.1.0", 6, 6, 3, 3)
    state.add("rpn.head.cls_logits", 3, 6, 1, 1)
    state.add("rpn.head.bbox_pred", 12, 6, 1, 1)
    predictor = "roi_heads.box_predictor"
    dense = ("roi_heads.box_head.fc6", "roi_heads.box_head.fc7")
    if v2:
        for i in range(4):
            state.add(f"roi_heads.box_head.{i}.0", 4, 4, 3, 3, bias=False)
            state.add_norm(f"roi_heads.box_head.{i}.1", 4)
        dense = ("roi_heads.box_head.5",)
    state.add_heads(dense, f"{predictor}.cls_score", f"{predictor}.bbox_pred", 1)
    if mask:
        for i in range(4):
            key = f"roi_heads.mask_head.mask_fcn{i + 1}" if old else f"roi_heads.mask_head.{i}.0"
            state.add(key, 4, 4, 3, 3, bias=not v2)
            if v2:
                state.add_norm(f"roi_heads.mask_head.{i}.1", 4)
        state.add_transposed("roi_heads.mask_predictor.conv5_mask", 4, 3, 2)
        state.add("roi_heads.mask_predictor.mask_fcn_logits", classes, 3, 1, 1)
    if points:
        for i in range(2):
            state.add(f"roi_heads.keypoint_head.{2 * i}", 7, 7 if i else 4, 3, 3)
        state.add_transposed("roi_heads.keypoint_predictor.kps_score_lowres", 7, points, 4)
    return state


def detectron2_state(classes=3, blocks=(3, 4, 6, 3), kernel=(64, 64), mask=True, points=0, pixels=None, cascade=False):
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
    for stage in (".0", ".1", ".2") if cascade else ("",):
        head, predictor = f"roi_heads.box_head{stage}", f"roi_heads.box_predictor{stage}"
        state.add_heads((f"{head}.fc1", f"{head}.fc2"), f"{predictor}.cls_score", f"{predictor}.bbox_pred", 0)
        if cascade:
            state.add(f"{predictor}.bbox_pred", 4, 5)
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


def write_pickle(path, content, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path
