"""A small model of masks and keypoints to export, and images in which it finds nothing, one thing and many."""

import importlib.util

import keras
import numpy as np
import pytest
from quick import QuickConfig

from mrcnn.models.detectors import build_detector
from mrcnn.settings.detectors import practice

SIDE = 64

# Format -> the name of its file, and what it needs beside TensorFlow: the packages, and what they are called.
FILES = {
    "savedmodel": ("folder", (), ""),
    "onnx": ("m.onnx", ("tf2onnx", "onnxruntime"), "ONNX Runtime"),
    "openvino": ("m.xml", ("openvino",), "OpenVINO"),
    "litert": ("m.tflite", ("ai_edge_litert",), "LiteRT"),
}

JOINTS = {"NUM_KEYPOINTS": 4, "KEYPOINT_FLIP_PAIRS": [], "KEYPOINT_CONVOLUTIONS": 1, "KEYPOINT_CHANNELS": 4}


def file_of(format):
    """The name of a format's file; skips the test where it cannot be."""
    name, packages, words = FILES[format]
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{words} is not installed")
    return name


def small_model(name, folder, **changes):
    """A detector with random weights that are not too sure: equal scores have no order."""
    keras.utils.set_random_seed(1)
    config = QuickConfig()
    config.update(**practice(name, config.to_dict()))
    settings = {"IMAGE_MIN_DIM": 48, "POST_NMS_ROIS_INFERENCE": 12, "CLASS_NAMES": ["BG", "kite"]}
    model = build_detector("inference", config.update(**{**settings, **changes}), folder)
    for layer in model.get_trainable_layers():
        rng = np.random.default_rng(len(layer.name))
        if layer.name.startswith("mrcnn") and layer.name.endswith("class_logits"):
            layer.kernel.assign(rng.normal(0, 0.1, layer.kernel.shape))
            layer.bias.assign([-1, *[1] * (config.NUM_CLASSES - 1)])
        if layer.name.endswith("bbox_fc"):  # boxes near the regions
            layer.kernel.assign(rng.normal(0, 0.04, layer.kernel.shape))
        if layer.name == "dense_class_raw":
            layer.kernel.assign(3 * layer.kernel.numpy())
        if layer.name == "semantic_class":  # of a unet
            layer.kernel.assign(0.2 * layer.kernel.numpy())
        if layer.name == "semantic_class_8":  # of an fcn; a coarser map has one object in all of the image
            layer.kernel.assign(rng.normal(0, 0.3, layer.kernel.shape))
        if layer.name == "dense_size_raw":  # of a centernet, in cells
            layer.bias.assign([4, 5])
        if hasattr(layer, "moving_mean"):  # as if it were trained
            layer.moving_mean.assign(rng.normal(0, 0.1, layer.moving_mean.shape))
            layer.moving_variance.assign(rng.uniform(0.8, 1.2, layer.moving_variance.shape))
    return model


def images(count=12, height=40, width=56):
    """Images of different brightness."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (count, height, width, 3))
    return [(x * (i + 1) / count).astype("uint8") for i, x in enumerate(noise)]


def counted(model, images, **given):
    """A score above which there are images with nothing, one thing and more, and these: {0: .., 1: .., 2: ..}."""
    scores = [[*found["scores"], 0.0, 0.0] for found in model.detect(images, **given)]
    for first, second, *_ in scores:
        threshold = (first + second) / 2
        counts = [min(2, sum(score > threshold for score in x)) for x in scores]
        near = min(abs(score - threshold) for x in scores for score in x)
        if set(counts) == {0, 1, 2} and near > 1e-4:
            return float(threshold), {n: images[counts.index(n)] for n in (0, 1, 2)}
    raise AssertionError(f"No score has images with nothing, one thing and many: {scores}")


def example(name, folder, proposals=(), **changes):
    """A detector; images by the number of things in them, and one of another size; and what it finds in them."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)  # what the model itself finds needs no compiling
    try:
        model = small_model(name, folder, DETECTION_MIN_CONFIDENCE=0.0, **changes)
        every = images()
        given = {"proposals": [proposals] * len(every)} if model.config.takes_proposals else {}
        threshold, found = counted(model, every, **given)
        model = small_model(name, folder, DETECTION_MIN_CONFIDENCE=threshold, **changes)
        pictures = [*found.values(), found[2][:33]]
        return model, pictures, model.detect(pictures, **{name: x[:4] for name, x in given.items()})
    finally:
        tf.config.run_functions_eagerly(False)


def assert_same(expected, found, masks=0.002):
    """Results of `detect` that are the same but for rounding."""
    assert expected.keys() == found.keys()
    np.testing.assert_array_equal(expected["class_ids"], found["class_ids"])
    np.testing.assert_allclose(expected["scores"], found["scores"], atol=1e-3)
    np.testing.assert_allclose(expected["rois"], found["rois"], atol=1)
    if "masks" in expected:
        assert expected["masks"].shape == found["masks"].shape and found["masks"].dtype == bool
        assert np.mean(expected["masks"] != found["masks"]) <= masks if expected["masks"].size else True
    if "keypoints" in expected:
        assert expected["keypoints"].shape == found["keypoints"].shape
        np.testing.assert_allclose(expected["keypoints"][..., 2], found["keypoints"][..., 2], rtol=0.01)
        np.testing.assert_allclose(expected["keypoints"][..., :2], found["keypoints"][..., :2], atol=1)
    for name, value in expected.items():
        assert value.dtype == found[name].dtype
