"""ModernConfig as a whole: it trains, detects and evaluates, and sets every setting that has such a choice."""

import keras
import numpy as np
from kites import KiteConfig, Kites

from mrcnn.config import Config, ModernConfig
from mrcnn.evaluate import evaluate
from mrcnn.model import MaskRCNN
from mrcnn.settings import SETTINGS, Choice

# What kites.py says of size and data, on top of today's numerics.
OWN = {name: value for name, value in vars(KiteConfig).items() if name.isupper() and name not in vars(ModernConfig)}
ModernKites = type("ModernKites", (ModernConfig,), {**OWN, "RPN_CHANNELS": 16, "TRAIN_ROIS_PER_IMAGE": 16})


# Prefixes of the settings of other detectors.
OTHERS = "DENSE_", "FCN_", "UNET_", "YOLO_", "CENTERNET_", "HEATMAP_"


def test_every_choice_is_made():
    same = {"IMAGE_RESIZE_MODE", "OPTIMIZER", "PRECISION", "CHANNEL_ORDER", "DETECTION_NMS", "DETECTOR", "HEAD_NORM"}
    same |= {name for name in SETTINGS if name.startswith(OTHERS)}
    modern, original = (base.from_dict({"NUM_CLASSES": 2}).to_dict() for base in (ModernConfig, Config))
    changed = {name for name in SETTINGS if modern[name] != original[name]}
    assert {name for name, kind in SETTINGS.items() if isinstance(kind, Choice)} - same <= changed
    assert {"APPEND_GT_ROIS", "BOX_HEAD_BN", "MASK_HEAD_BN", "RESNET_BIAS", "SMOOTH_L1_BETA", "WARMUP_STEPS"} <= changed


def test_train_detect_evaluate(tmp_path):
    keras.utils.set_random_seed(0)
    config = ModernKites().update(STEPS_PER_EPOCH=4, WARMUP_STEPS=2, OPTIMIZER="adamw")
    model = MaskRCNN("training", config, tmp_path)
    names = [layer.name for layer in model.get_trainable_layers()]
    assert not any(name.startswith(("mrcnn_class_bn", "mrcnn_mask_bn")) for name in names)
    history = keras.callbacks.History()
    model.train(Kites(), None, 0.003, 2, "all", custom_callbacks=[history], workers=1)
    losses = history.history
    assert losses["loss"][1] < losses["loss"][0]
    assert all(losses[name][1] < losses[name][0] for name in ("rpn_class_loss", "mrcnn_class_loss", "mrcnn_mask_loss"))

    detector = MaskRCNN("inference", config, tmp_path)
    detector.load_weights(model.find_last())
    assert not detector.load_report.left
    (result,) = detector.detect([Kites().load_image(1)])
    count = len(result["rois"])
    assert count and result["rois"].dtype == "float32" and result["masks"].shape == (64, 64, count)
    assert (result["rois"] >= 0).all() and (result["rois"] <= 64).all()
    assert (result["rois"] != np.rint(result["rois"])).any()
    assert list(evaluate(detector, Kites(2), verbose=0)) == ["bbox", "segm", "keypoints"]
    # Of unknown size, with levels that end at run time, the same.
    wide = MaskRCNN("inference", ModernKites().update(IMAGE_RESIZE_MODE="rect"), tmp_path)
    wide.load_weights(model.find_last())
    (same,) = wide.detect([Kites().load_image(1)])
    for name in ("rois", "scores", "keypoints"):
        np.testing.assert_allclose(same[name], result[name], rtol=1e-4, atol=1e-4)
