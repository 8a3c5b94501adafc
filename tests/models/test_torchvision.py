"""Converted weights of torchvision compute what torchvision computes: every stage, and what is found in the end."""

import functools

import numpy as np
import pytest
from keras import ops
from torchvision_case import Case, check, needs_numbers

from mrcnn.layers.roi_align import PyramidROIAlign
from mrcnn.ops import boxes

pytestmark = needs_numbers


def wanted(model):
    """Every stage."""
    layer = model.keras_model.get_layer
    norm = "_bn" if model.config.FPN_BN else ""
    stages = {f"P{n}": f"fpn_p{n}{norm if n < 6 else ''}" for n in (2, 3, 4, 5, 6)}
    stages |= {name: name for name in ("rpn_class", "rpn_bbox", "ROI", "mrcnn_class", "mrcnn_bbox")}
    return {name: layer(ours).output for name, ours in stages.items()}


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """A function of the kind that gives its `Case`."""

    def make(kind):
        # The keypoint head is by far the slowest part.
        fewer = {"DETECTION_MAX_INSTANCES": 25} if kind == "keypoint" else {}
        return Case(kind, tmp_path_factory.mktemp(kind), wanted, IMAGE_MAX_DIM=448, **fewer)

    return functools.cache(make)


@pytest.fixture(params=["mask", "keypoint", "mask_v2"])
def case(request, cases):
    return cases(request.param)


@pytest.mark.parametrize("level", ["P2", "P3", "P4", "P5", "P6"])
def test_pyramid(level, case):
    theirs = level if level in case.gold else {"P6": "feature_pool"}.get(level, f"feature_{int(level[1]) - 2}")
    check(case.found[level][..., :16], case.gold[theirs].transpose(0, 2, 3, 1))


def test_rpn(case):
    logits = np.concatenate(
        [case.gold[f"rpn_logits_{i}"].transpose(0, 2, 3, 1).reshape(2, -1) for i in range(5)], axis=1
    )
    check(case.found["rpn_class"][..., 0], 1 / (1 + np.exp(-logits)))
    deltas = np.concatenate(
        [case.gold[f"rpn_deltas_{i}"].transpose(0, 2, 3, 1).reshape(2, -1, 4) for i in range(5)], axis=1
    )
    check(case.found["rpn_bbox"], deltas[..., [1, 0, 3, 2]])


def test_proposals(case):
    for i in range(2):
        ours = boxes.to_pixels(case.found["ROI"][i], case.shape, "edges")
        theirs = case.gold[f"proposals_{i}"][:, [1, 0, 3, 2]]
        same = (boxes.overlaps(ours, theirs).max(axis=0) > 0.99).mean()
        assert same >= 0.99, same


@pytest.mark.parametrize("kind", ["mask", "keypoint"])
def test_pooled(kind, cases):
    case = cases(kind)
    theirs = case.gold["proposals_0"][:40, [1, 0, 3, 2]]
    rois = boxes.normalize(theirs, case.shape, "edges")[None]
    maps = [case.found[f"P{n}"][:1] for n in (2, 3, 4, 5)]
    align = PyramidROIAlign((7, 7), sampling="bins", rounding="floor")
    pooled = ops.convert_to_numpy(align([ops.convert_to_tensor(x) for x in (rois, case.metas[:1], *maps)]))
    check(pooled[0, ..., :16], case.gold["box_pooled_16ch_first40"].transpose(0, 2, 3, 1))


def test_box_head(case):
    """The class probabilities and deltas of torchvision's own first proposals, at ours that are these."""
    ours = boxes.to_pixels(case.found["ROI"][0], case.shape, "edges")
    count = len(case.gold["box_deltas"])
    theirs = case.gold["proposals_0"][:count, [1, 0, 3, 2]]
    overlaps = boxes.overlaps(ours, theirs)
    row, same = overlaps.argmax(axis=0), overlaps.max(axis=0) > 0.9999
    assert same.mean() > 0.95
    logits = case.gold["class_logits"][:count].astype("float32")
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(case.found["mrcnn_class"][0][row[same]], probs[same], atol=2e-3)  # float16 logits
    deltas = case.gold["box_deltas"].reshape(count, -1, 4)[..., [1, 0, 3, 2]]
    check(case.found["mrcnn_bbox"][0][row[same]], deltas[same], 1e-4)


def test_detections(case):
    count = case.model.config.DETECTION_MAX_INSTANCES
    for i in range(2):
        assert len(case.gold[f"result_{i}_scores"]) == 100 and len(case.results[i]["scores"]) == count
        assert case.close(i) >= 0.98 * count


@pytest.mark.parametrize("kind", ["mask", "mask_v2"])
def test_masks(kind, cases):
    case = cases(kind)
    for i, image in enumerate(case.images):
        height, width = image.shape[:2]
        theirs = np.unpackbits(case.gold[f"result_{i}_masks_bits"])[: 100 * height * width]
        theirs = theirs.reshape(100, height, width).astype(bool)
        ious = []
        for a, b in case.pairs(i):
            mine, other = case.results[i]["masks"][..., a], theirs[b]
            union = (mine | other).sum()
            ious.append((mine & other).sum() / union if union else 1.0)
        assert np.mean(ious) > 0.98, np.mean(ious)


def test_keypoints(cases):
    case = cases("keypoint")
    near = []
    for i in range(2):
        for a, b in case.pairs(i):
            # torchvision counts from the corner of a pixel, COCO and we from its centre.
            difference = case.results[i]["keypoints"][a, :, :2] + 0.5 - case.gold[f"result_{i}_keypoints"][b, :, :2]
            near += (np.abs(difference).max(axis=1) <= 0.5).tolist()
    assert np.mean(near) >= 0.97, np.mean(near)
