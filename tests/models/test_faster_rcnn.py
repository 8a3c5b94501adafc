"""Faster R-CNN: Mask R-CNN without a mask head, on a pyramid or on one map."""

import keras
import numpy as np
import pytest
from kites import Kites
from quick import QuickConfig
from real_data import ROOT

from mrcnn.config import Config
from mrcnn.data.anchors import pyramid_anchors
from mrcnn.model import MaskRCNN
from mrcnn.models.faster_rcnn import FasterRCNN, faster_rcnn_losses
from mrcnn.ops.anchors import generate_anchors

ONE_MAP = {
    "BACKBONE": "resnet18",
    "COMPUTE_BACKBONE_SHAPE": None,
    "BACKBONE_STRIDES": [16],
    "RPN_ANCHOR_SCALES": [[16, 32, 64]],
}


def test_it_is_mask_rcnn_without_masks(tmp_path):
    both = [
        FasterRCNN("inference", QuickConfig(), tmp_path),
        MaskRCNN("inference", QuickConfig().update(USE_MASK=False), tmp_path),
    ]
    both[0].keras_model.get_layer("mrcnn_class_logits").bias.assign([-9.0, 9.0])  # all is a kite
    both[0].save_weights(tmp_path / "weights.h5")
    both[1].load_weights(tmp_path / "weights.h5")
    image = Kites().load_image(1)
    one, two = (model.detect([image])[0] for model in both)
    assert len(one["rois"]) and list(one) == ["rois", "class_ids", "scores"]
    for key, value in one.items():
        np.testing.assert_array_equal(value, two[key])
    assert len(both[0].keras_model.outputs) == 6


def test_losses():
    """One image, three anchors (one neutral), two RoIs, by hand."""
    half = np.log(0.5)
    outputs = {
        "target_rpn_match": np.array([[[1], [-1], [0]]]),
        "rpn_class_logits": np.array([[[0, 0], [0, np.log(3)], [9, -9]]], "float32"),
        "target_rpn_bbox": np.array([[[0.5, 0, 0, 0], [0, 0, 0, 0]]], "float32"),
        "rpn_bbox": np.array([[[0, 0, 0, 3], [7, 7, 7, 7], [7, 7, 7, 7]]], "float32"),
        "target_class_ids": np.array([[1, 0]]),
        "mrcnn_class_logits": np.array([[[0, 0], [np.log(3), 0]]], "float32"),
        "active_class_ids": np.array([[1, 1]]),
        "target_bbox": np.array([[[1, 1, 0, 0], [0, 0, 0, 0]]], "float32"),
        "mrcnn_bbox": np.array([[[[5, 5, 5, 5], [1, 3, 0, 0]], [[5, 5, 5, 5], [5, 5, 5, 5]]]], "float32"),
    }
    outputs = {key: keras.ops.convert_to_tensor(value) for key, value in outputs.items()}
    found = {key: float(value) for key, value in faster_rcnn_losses(outputs).items()}
    assert found == pytest.approx(
        {
            "rpn_class_loss": -(half + np.log(0.25)) / 2,
            "rpn_bbox_loss": (0.125 + 2.5) / 4,
            "mrcnn_class_loss": -(half + np.log(0.75)) / 2,
            "mrcnn_bbox_loss": 1.5 / 4,
        },
        rel=1e-5,
    )
    found = {key: float(value) for key, value in faster_rcnn_losses(outputs, "sample", 0.0).items()}
    assert found["rpn_bbox_loss"] == pytest.approx(3.5 / 2) and found["mrcnn_bbox_loss"] == pytest.approx(2 / 2)


def test_one_map(tmp_path):
    """Nine anchors a place on the backbone's map of stride 16; no pyramid."""
    config = QuickConfig().update(**ONE_MAP)
    model = FasterRCNN("training", config, tmp_path)
    names = [layer.name for layer in model.keras_model.layers]
    assert not any(name.startswith("fpn_") for name in names) and not any(name.startswith("res5") for name in names)
    assert model.keras_model.get_layer("rpn_class").output.shape[1:] == (4 * 4 * 9, 2)
    model.train(Kites(), None, 0.001, 1, "all")
    detector = FasterRCNN("inference", config, tmp_path)
    detector.load_weights(model.find_last())
    detector.keras_model.get_layer("mrcnn_class_logits").bias.assign([-9.0, 9.0])
    assert detector.get_anchors(config.IMAGE_SHAPE).shape == (4 * 4 * 9, 4)
    (result,) = detector.detect([Kites().load_image(1)])
    assert len(result["rois"])


def test_vgg16_on_one_map(tmp_path):
    """The network of the paper: the last map of VGG-16 is of stride 16."""
    config = QuickConfig().update(**{**ONE_MAP, "BACKBONE": "VGG16"})
    graph = FasterRCNN("inference", config, tmp_path).keras_model
    assert graph.get_layer("rpn_model").input.shape[-1] == 512
    names = [layer.name for layer in graph.layers if layer.weights]
    assert [name for name in names if name.startswith("vgg16")][-1] == "vgg16_block5_conv3"


def test_anchors_of_several_scales():
    config = Config.from_dict({"NUM_CLASSES": 2, "BACKBONE_STRIDES": [16], "RPN_ANCHOR_SCALES": [[128, 256, 512]]})
    anchors = pyramid_anchors(config, (128, 192))
    assert anchors.shape == (8 * 12 * 9, 4)
    # In a place: by ratio, then by scale. Width / height is 0.5 first, the area that of the scale.
    sides = anchors[:9, 2:] - anchors[:9, :2]
    np.testing.assert_allclose(sides[:, 1] / sides[:, 0], np.repeat([0.5, 1, 2], 3))
    np.testing.assert_allclose(np.sqrt(sides.prod(axis=1)), [128, 256, 512] * 3)


def test_anchors_of_torchvision():
    path = ROOT.parent / "shared" / "golden" / "torchvision" / "torchvision_ops.npz"
    if not path.is_file():
        pytest.skip("torchvision's numbers are not in ../shared")
    theirs = np.load(path)["one_map_anchors_stride16_300x400"]
    # 19 x 25 cells; height / width of 0.5, 1, 2.
    ours = generate_anchors([128, 256, 512], [2, 1, 0.5], (19, 25), (300 // 19, 400 // 25), 1, rounded=True)
    np.testing.assert_array_equal(ours, theirs[:, [1, 0, 3, 2]])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"BACKBONE_STRIDES": [12], "RPN_ANCHOR_SCALES": [8]}, "single map has a stride of 4, 8, 16, 32"),
        (
            {"RPN_ANCHOR_SCALES": [[8, 16], [32], [64], [64], [64]]},
            "a sequence of numbers, or of as many",
        ),
        ({"RPN_ANCHOR_SCALES": [[8, 16], [32, 0], [64, 1], [64, 1], [64, 1]]}, "must be above 0"),
        ({"RPN_ANCHOR_SCALES": [[8, 16, 32, 64, 64]]}, "RPN_ANCHOR_SCALES has 1 values for 5 pyramid levels"),
    ],
)
def test_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        QuickConfig().update(**settings)


def test_several_scales_on_a_pyramid(tmp_path):
    config = QuickConfig().update(RPN_ANCHOR_SCALES=[[s, 1.3 * s] for s in (8, 16, 24, 32, 48)])
    config.to_json(tmp_path / "config.json")
    model = FasterRCNN("training", QuickConfig.from_json(tmp_path / "config.json"), tmp_path)
    assert model.keras_model.get_layer("rpn_bbox").output.shape[1] == (16**2 + 8**2 + 4**2 + 2**2 + 1) * 6
    model.train(Kites(), None, 0.001, 1, "all")
