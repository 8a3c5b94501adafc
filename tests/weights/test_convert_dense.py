"""State dicts of torchvision's one-stage detectors become our layers, classes and settings."""

import numpy as np
import pytest
from foreign_dense import dense_state, pyramid_state

from mrcnn.weights import convert
from mrcnn.weights.convert.torchvision import COCO_UNUSED

KINDS = ["retinanet", "retinanet_v2", "fcos", "ssd300"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_lands(kind):
    """But for the outputs of the background, of sigmoids; v2's convolutions get a bias of zeros."""
    state = dense_state(kind)
    _, found = convert.translate(state)
    ours = np.sort(np.concatenate([x.ravel() for arrays in found.values() for x in arrays.values()]))
    left = {key for key in state if "cls_logits" in key}
    theirs = [state[key].reshape(-1, 3, *state[key].shape[1:])[:, 1:] if key in left else x for key, x in state.items()]
    theirs = [x.ravel() for key, x in zip(state, theirs, strict=True) if "num_batches" not in key]
    zeros = np.zeros(8 * 4 if kind == "retinanet_v2" else 0)
    np.testing.assert_array_equal(ours, np.sort(np.concatenate([*theirs, zeros]).astype("float32")))


@pytest.mark.parametrize("kind", ["retinanet", "fcos", "ssd300"])
def test_heads(kind):
    """Values of an anchor stand together; boxes come as (y, x), and of the classes the background is left away."""
    state = dense_state(kind)
    _, found = convert.translate(state)
    number = "_1" if kind == "ssd300" else ""
    keys = ("module_list.0",) * 2 if number else ("cls_logits", "bbox_reg")
    classes = state[f"head.classification_head.{keys[0]}.weight"].reshape(-1, 3, *(2, 3, 3) if number else (4, 3, 3))
    kernel = found[f"dense_class_raw{number}"]["kernel"]
    first = 0 if number else 1
    expected = classes[:, first:].reshape(-1, *classes.shape[2:]).transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel, expected)
    biases = state[f"head.regression_head.{keys[1]}.bias"].reshape(-1, 4)
    np.testing.assert_array_equal(found[f"dense_bbox_raw{number}"]["bias"].reshape(-1, 4), biases[:, [1, 0, 3, 2]])


def test_norms():
    state = dense_state("fcos")
    _, found = convert.translate(state)
    np.testing.assert_array_equal(
        found["dense_bbox_gn3"]["gamma"], state["head.regression_head.conv.7.weight"].astype("float32")
    )
    assert set(found["dense_bbox_conv3"]) == {"kernel", "bias"} and len(found["dense_bbox_gn3"]) == 2


def test_both_spellings_of_retinanet():
    new, old = (pyramid_state("retinanet", old=old) for old in (False, True))
    assert "head.classification_head.conv.6.bias" in old and "head.classification_head.conv.3.0.bias" in new
    (config, a), (other, b) = convert.translate(new), convert.translate(old)
    assert list(a) == list(b) and config.to_dict() == other.to_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_coco_has_80_of_91_classes(kind):
    state = dense_state(kind, classes=91)
    config, found = convert.translate(state)
    assert config.NUM_CLASSES == 81
    key = "module_list.0" if kind == "ssd300" else "cls_logits"
    rows = [i for i in range(91) if i not in COCO_UNUSED and (i or kind == "ssd300")]
    layer = found["dense_class_raw_1" if kind == "ssd300" else "dense_class_raw"]["bias"]
    theirs = state[f"head.classification_head.{key}.bias"].reshape(-1, 91)
    np.testing.assert_array_equal(layer, theirs[:, rows].ravel())
    assert convert.translate(state, keep_all=True)[0].NUM_CLASSES == 91


def test_settings():
    configs = {kind: convert.translate(dense_state(kind))[0] for kind in KINDS}
    v1, v2, fcos, ssd = (configs[kind] for kind in KINDS)
    assert [c.DETECTOR for c in configs.values()] == ["retinanet", "retinanet", "fcos", "ssd"]
    assert [c.BACKBONE for c in configs.values()] == ["resnet50"] * 3 + ["vgg16"]
    assert v1.RPN_ANCHOR_SCALES[:2] == [[32, 40, 50], [64, 80, 101]] and v1.RPN_ANCHOR_RATIOS == [2, 1, 0.5]
    assert (v1.DENSE_TOP, v1.DENSE_NORM, v1.DENSE_BOX_LOSS, v1.SMOOTH_L1_BETA) == ("level", "none", "smooth_l1", 0)
    assert (v2.DENSE_TOP, v2.DENSE_NORM, v2.DENSE_BOX_LOSS) == ("map", "group", "giou")
    assert (fcos.DENSE_NORM, fcos.DETECTION_MIN_CONFIDENCE, fcos.DETECTION_NMS_THRESHOLD) == ("group", 0.2, 0.6)
    assert v1.BBOX_STD_DEV.tolist() == [1] * 4 and ssd.BBOX_STD_DEV.tolist() == [0.1, 0.1, 0.2, 0.2]
    assert [c.DETECTION_MAX_INSTANCES for c in configs.values()] == [300, 300, 100, 200]
    assert [c.DENSE_CANDIDATES for c in configs.values()] == [1000, 1000, 1000, 400]
    assert (ssd.IMAGE_RESIZE_MODE, ssd.IMAGE_MAX_DIM, ssd.PIXEL_STD) == ("stretch", 300, 1)
    assert v1.IMAGE_RESIZE_MODE == "shortest" and v1.BATCH_NORM_EPSILON == 1e-5
    assert convert.translate(dense_state("retinanet"), epsilon=0)[0].BATCH_NORM_EPSILON == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_lacks_something_is_refused(kind):
    state = dense_state(kind)
    for key in [key for key in state if key.startswith(("head", "backbone.extra", "backbone.fpn")) and "bias" in key][
        :3
    ]:
        with pytest.raises(ValueError, match=rf"1 keys are missing \({key}\)"):
            convert.translate({name: x for name, x in state.items() if name != key})
    with pytest.raises(ValueError, match=r"1 keys are unknown \(mood\)"):
        convert.translate({**state, "mood": np.ones(1)})


def test_other_heads_are_refused():
    with pytest.raises(ValueError, match="The heads are those of no detector that is known: convert a fcos, retinanet"):
        convert.translate({"head.classification_head.some.weight": np.ones(1)})
