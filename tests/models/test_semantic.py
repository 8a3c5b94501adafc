"""What FCN and U-Net get to learn, and what they give, beside what all detectors are tested for."""

import keras
import numpy as np
import pytest
from kites import Kites
from quick import QuickConfig

from mrcnn.data.batches import DataGenerator
from mrcnn.data.samples import load_sample
from mrcnn.data.semantic_targets import SemanticTargets
from mrcnn.models.detectors import build_detector
from mrcnn.models.fcn import FCN
from mrcnn.models.semantic import semantic_losses
from mrcnn.models.unet import UNet
from mrcnn.ops.results import Place
from mrcnn.ops.semantic import balanced, border_weights, paint, topmost
from mrcnn.settings.detectors import practice


def config_of(name, **changes):
    config = QuickConfig()
    return config.update(**{**practice(name, config.to_dict()), **changes})


class Touching(Kites):
    """The second kite begins where the first ends; a third is a crowd."""

    def boxes(self, image_id):
        yield from ((10, 8, 40, 30), (12, 30, 44, 52), (50, 5, 60, 60))

    def load_mask(self, image_id):
        masks, class_ids = super().load_mask(image_id)
        return masks, class_ids * [1, 1, -1]


def test_what_pixels_should_be():
    sample = load_sample(Touching(), config_of("unet"), 0, rng=np.random.default_rng(0))
    plain = SemanticTargets()(sample, None)
    classes = paint(sample.masks, sample.class_ids)
    np.testing.assert_array_equal(plain["input_semantic"], classes == 1)
    np.testing.assert_array_equal(plain["input_semantic_weights"], classes != -1)
    found = SemanticTargets(10, 5)(sample, None)
    top = topmost(sample.masks, sample.class_ids)
    top[12:40, 29] = -1
    np.testing.assert_array_equal(found["input_semantic"], (top == 0) | (top == 1))
    expected = (1 + border_weights(top, 10, 5)) * (classes != -1)
    np.testing.assert_allclose(found["input_semantic_weights"], expected, rtol=1e-6)
    both = SemanticTargets(10, 5, 0.5)(sample, None)["input_semantic_weights"]
    share = balanced(np.where(classes == -1, -1, found["input_semantic"]), 0.5)
    np.testing.assert_allclose(both, share + border_weights(top, 10, 5) * (classes != -1), rtol=1e-6)
    assert found["input_semantic_weights"][20, 29] == pytest.approx(1 + 10 * np.exp(-((1 + 1) ** 2) / 50))


def test_padding_does_not_count():
    class Wide(Kites):
        def load_image(self, image_id):
            return super().load_image(image_id)[:32]

        def load_mask(self, image_id):
            masks, class_ids = super().load_mask(image_id)
            return masks[:32], class_ids

        def load_annotations(self, image_id):
            return []

    dataset = Wide()
    for info in dataset.image_info:
        info["height"] = 32
    (batch,) = DataGenerator(dataset, config_of("fcn"), encoders=[SemanticTargets()])[0]
    assert batch["input_semantic_weights"].shape == (2, 64, 64) and "input_gt_masks" not in batch
    np.testing.assert_array_equal(batch["input_semantic_weights"][0].any(axis=1), (np.arange(64) // 16 + 1) // 2 == 1)


def test_an_earlier_map_weighs_half():
    rng = np.random.default_rng(0)
    outputs = {name: rng.normal(size=(1, 4, 4, 2)).astype("float32") for name in ("semantic_logits",)}
    outputs["semantic_aux_logits"] = outputs["semantic_logits"]
    outputs["target_semantic"] = np.ones((1, 4, 4), "int32")
    outputs |= {"target_weights": np.ones((1, 4, 4), "float32"), "active_class_ids": np.ones((1, 2), "float32")}
    losses = semantic_losses({name: keras.ops.convert_to_tensor(x) for name, x in outputs.items()})
    assert float(losses["semantic_aux_loss"]) == pytest.approx(float(losses["semantic_loss"]) / 2)


def test_vgg_has_the_papers_pools(tmp_path):
    config = config_of("fcn", BACKBONE="vgg16", BACKBONE_WIDTH=2, COMPUTE_BACKBONE_SHAPE=None)
    assert practice("fcn", config.to_dict())["FCN_CHANNELS"] == 128
    image = keras.Input((64, 64, 3))
    maps = FCN.maps(None, config, image)
    assert [tuple(x.shape[1:]) for x in maps] == [(8, 8, 8), (4, 4, 16), (2, 2, 16)]
    model = keras.Model(image, maps)
    again = [model.get_layer(f"block{i}_pool").output for i in (3, 4, 5)]
    values = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    for x, y in zip(model.predict_on_batch(values), keras.Model(image, again).predict_on_batch(values), strict=True):
        np.testing.assert_array_equal(x, y)


def test_objects_are_connected_pixels(tmp_path):
    """Of the image without its padding, at its own size."""
    model = build_detector("inference", config_of("unet", DETECTION_MIN_CONFIDENCE=0.5), tmp_path)
    classes, scores = np.zeros((64, 64), int), np.full((64, 64), 0.9, "float32")
    classes[0:8, 10:20], scores[0:8, 10:20] = 1, 0.3  # unsure
    classes[20:30, 4:14] = 1
    classes[20:30, 15:25], scores[20:30, 15:25] = 1, 0.7  # one pixel of background between them
    classes[31:33, 0:2] = 1  # small
    classes[50:, 30:50] = 1  # beyond the window
    place = Place((96, 128, 3), (64, 64, 3), (0, 0, 48, 64))
    found = model.result({"classes": classes, "scores": scores}, place)
    assert found["rois"].tolist() == [[40, 8, 60, 28], [40, 30, 60, 50]]
    np.testing.assert_allclose(found["scores"], [0.9, 0.7], rtol=1e-6)
    assert found["class_ids"].tolist() == [1, 1] and found["masks"].shape == (96, 128, 2)
    assert found["masks"].sum(axis=(0, 1)).tolist() == [400, 400]
    np.testing.assert_array_equal(found["semantic"], classes[:48].repeat(2, axis=0).repeat(2, axis=1))
    codes = model.result({"classes": classes, "scores": scores}, place, rle=True)["masks"]
    assert [code["size"] for code in codes] == [[96, 128]] * 2


def test_torchvisions_head_needs_a_resnet():
    with pytest.raises(ValueError, match="FCN_HEAD 'dilated' needs a ResNet"):
        config_of("fcn", FCN_HEAD="dilated")
    with pytest.raises(ValueError, match="FCN_STRIDE is 4; it must be 8, 16 or 32"):
        config_of("fcn", FCN_STRIDE=4)


def test_the_dilated_head(tmp_path):
    by_name = {"BACKBONE": "resnet18", "COMPUTE_BACKBONE_SHAPE": None}
    model = build_detector("training", config_of("fcn", FCN_HEAD="dilated", FCN_DROPOUT=0.1, **by_name), tmp_path)
    assert set(model.keras_model.loss_weights) == {"semantic_loss", "semantic_aux_loss"}
    shapes = {name: tuple(x.shape) for name, x in model.keras_model.output.items() if name.endswith("_logits")}
    assert shapes == dict.fromkeys(("semantic_logits", "semantic_aux_logits"), (2, 64, 64, 2))


def test_a_unet_has_nothing_of_imagenet():
    with pytest.raises(ValueError, match="A unet has no backbone"):
        UNet.get_imagenet_weights(None)
