"""The tiny model that detects, with the original's numbers for it, and what two results must have in common."""

import numpy as np
import pytest
from tiny import tiny_model

OUTPUTS = ["detections", "mrcnn_class", "mrcnn_bbox", "mrcnn_mask", "rpn_rois", "rpn_class", "rpn_bbox"]


@pytest.fixture(scope="module")
def gold(golden):
    return golden("tiny_inference.npz")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model("inference", tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="module")
def inputs(model, gold):
    anchors = np.stack([model.get_anchors((128, 128, 3))] * 2)
    return [gold["molded_images"].astype("float32"), gold["image_metas"].astype("float32"), anchors]


@pytest.fixture(scope="module")
def outputs(model, inputs):
    return model.keras_model.predict_on_batch(inputs)


def check_result(result, gold, i):
    """A result is the golden one: boxes and classes exactly, scores to 1e-4, masks but for 0.1 % of pixels."""
    assert [result[key].dtype for key in ("rois", "class_ids", "scores", "masks")] == [
        "int32",
        "int32",
        "float32",
        bool,
    ]
    np.testing.assert_array_equal(result["rois"], gold[f"result_{i}_rois"])
    np.testing.assert_array_equal(result["class_ids"], gold[f"result_{i}_class_ids"])
    np.testing.assert_allclose(result["scores"], gold[f"result_{i}_scores"], rtol=0, atol=1e-4)
    assert result["masks"].shape == gold[f"result_{i}_masks"].shape
    assert (result["masks"] != gold[f"result_{i}_masks"]).mean() <= 1e-3


def check_same(result, expected):
    np.testing.assert_array_equal(result["rois"], expected["rois"])
    np.testing.assert_array_equal(result["class_ids"], expected["class_ids"])
    np.testing.assert_allclose(result["scores"], expected["scores"], rtol=0, atol=1e-5)
    assert result["masks"].shape == expected["masks"].shape
    assert (result["masks"] != expected["masks"]).mean() <= 1e-4
