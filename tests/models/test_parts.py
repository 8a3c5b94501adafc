"""Parts of the house in other houses: what a Cascade R-CNN, a RetinaNet and an FCN need is there, with no new copy."""

import re

import keras
import numpy as np
import pytest
from keras import layers, ops

from mrcnn.layers.box_head import BoxHead
from mrcnn.layers.fpn import build_fpn, convolved_level_top, convolved_map_top, pooled_top
from mrcnn.layers.mask_head import MaskHead
from mrcnn.layers.roi_align import PyramidROIAlign
from mrcnn.layers.targets import DetectionTargetLayer
from mrcnn.models.network import LAYER_PRESETS
from mrcnn.ops import boxes

CLASSES, CHANNELS, SIDE = 4, 8, 128
STD = np.array([0.1, 0.1, 0.2, 0.2], "float32")


def backbone_maps(*strides):
    image = keras.Input((SIDE, SIDE, 3), name="input_image")
    return image, [layers.AveragePooling2D(s)(layers.Conv2D(CHANNELS, 1, name=f"c{s}")(image)) for s in strides]


def metas(count):
    meta = np.zeros((count, 12 + CLASSES), "float32")
    meta[:, 4:7], meta[:, 7:11] = (SIDE, SIDE, 3), (0, 0, SIDE, SIDE)
    return meta


def test_three_cascade_stages():
    image, maps = backbone_maps(4, 8, 16, 32)
    levels = build_fpn(maps, CHANNELS)[:4]
    meta, rois = keras.Input((12 + CLASSES,)), keras.Input((20, 4))
    ids, truth = keras.Input((3,), dtype="int32"), keras.Input((3, 4))
    found, outputs = rois, {}
    for stage, (prefix, iou) in enumerate(zip(("mrcnn", "mrcnn_2", "mrcnn_3"), (0.5, 0.6, 0.7), strict=True)):
        sampler = DetectionTargetLayer(
            20, 0.5, None, std_dev=STD / (stage + 1), iou_threshold=iou, append_gt=True, name=f"{prefix}_targets"
        )
        sampled, class_ids, _ = sampler([found, ids, truth])
        head = BoxHead(7, CLASSES, channels=16, norm=None, class_agnostic=True, prefix=prefix)
        outputs |= {**head(sampled, levels, meta), f"{prefix}_ids": class_ids, f"{prefix}_rois": sampled}
        found = boxes.decode(sampled, outputs[f"{prefix}_bbox"][:, :, 0] * ops.convert_to_tensor(STD / (stage + 1)))
    mask = MaskHead(14, CLASSES, channels=CHANNELS, prefix="mrcnn_3")(found, levels, meta)
    model = keras.Model([image, meta, rois, ids, truth], outputs | mask)
    names = [layer.name for layer in model.layers if layer.weights]
    heads = [name for name in names if re.fullmatch(LAYER_PRESETS["heads"], name) and not name.startswith("fpn_")]
    assert len(heads) == 3 * 4 + 4 + 4 + 2 and len(set(names)) == len(names)

    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 0.5, (2, 20, 2))
    given = np.concatenate([corners, corners + rng.uniform(0.2, 0.5, (2, 20, 2))], axis=-1).astype("float32")
    # The first proposal overlaps the instance by 0.55: positive in the first stage alone, beside the truth itself.
    gt = np.zeros((2, 3, 4), "float32")
    gt[:, 0] = given[:, 0]
    gt[:, 0, 2] = gt[:, 0, 0] + 0.55 * (gt[:, 0, 2] - gt[:, 0, 0])
    images = rng.normal(0, 1, (2, SIDE, SIDE, 3)).astype("float32")
    y = model.predict_on_batch([images, metas(2), given, np.array([[2, 0, 0]] * 2), gt])
    assert [y[f"{p}_bbox"].shape for p in ("mrcnn", "mrcnn_2", "mrcnn_3")] == [(2, 20, 1, 4)] * 3
    assert y["mrcnn_3_class"].shape == (2, 20, CLASSES) and y["mrcnn_3_mask"].shape == (2, 20, 28, 28, CLASSES)
    overlaps = {p: boxes.overlaps(y[f"{p}_rois"], gt)[..., 0] for p in ("mrcnn", "mrcnn_2", "mrcnn_3")}
    for prefix, iou in zip(overlaps, (0.5, 0.6, 0.7), strict=True):
        positive = y[f"{prefix}_ids"] == 2
        assert positive.any(axis=1).all()  # the truth is among the proposals
        np.testing.assert_array_equal(positive, (overlaps[prefix] >= iou) & (y[f"{prefix}_ids"] >= 0))
    assert ((overlaps["mrcnn"] > 0.5) & (overlaps["mrcnn"] < 0.6)).any()


@pytest.mark.parametrize(
    "top, levels",
    [(pooled_top, (3, 4, 5, 6)), (convolved_map_top, (3, 4, 5, 6, 7)), (convolved_level_top, range(3, 8))],
)
def test_a_pyramid_from_the_third_level_on(top, levels):
    image, maps = backbone_maps(8, 16, 32)
    model = keras.Model(image, build_fpn(maps, 6, first=3, top=top))
    assert [tuple(x.shape[1:]) for x in model.outputs] == [(SIDE // 2**n,) * 2 + (6,) for n in levels]
    weighted = {layer.name for layer in model.layers if layer.weights and layer.name.startswith("fpn")}
    convolved = {"fpn_p6", "fpn_p7"} if len(levels) == 5 else set()
    assert weighted == {f"fpn_c{n}p{n}" for n in (3, 4, 5)} | {f"fpn_p{n}" for n in (3, 4, 5)} | convolved
    if convolved:
        assert model.get_layer("fpn_p6").kernel.shape[2] == (CHANNELS if top is convolved_map_top else 6)
    # P7 sees P6 through a ReLU, with one cell of zeros on every side.
    if convolved:
        p6, p7 = keras.Model(image, model.outputs[-2:]).predict_on_batch(np.ones((1, SIDE, SIDE, 3)))
        kernel, bias = model.get_layer("fpn_p7").get_weights()
        seen = np.pad(np.maximum(p6[0], 0), ((1, 1), (1, 1), (0, 0)))
        np.testing.assert_allclose(p7[0, 0, 0], np.einsum("hwc,hwcd->d", seen[:3, :3], kernel) + bias, atol=1e-4)


def test_a_pyramid_without_a_top():
    image, maps = backbone_maps(4, 8)
    model = keras.Model(image, build_fpn(maps, 6, top=None))
    assert [x.shape[1] for x in model.outputs] == [32, 16]


def test_roi_align_on_other_levels():
    """With levels from the third on, small boxes are read from P3."""
    maps = [np.full((1, SIDE // 2**n, SIDE // 2**n, 1), n, "float32") for n in range(3, 7)]
    sides = np.array([10, 112, 224, 448, 4000]) / SIDE
    rois = np.stack([np.zeros(5), np.zeros(5), sides, sides], axis=-1)[None].astype("float32")
    found = PyramidROIAlign((2, 2), first_level=3)([rois, metas(1), *maps])
    np.testing.assert_array_equal(ops.convert_to_numpy(found)[0, :, 0, 0, 0], [3, 3, 4, 5, 6])
