"""The head of one-stage detectors and its detections, the maps of SSD, VGG: shapes, and numbers computed by hand."""

import keras
import numpy as np
import pytest
from keras import ops
from whole import whole

from mrcnn.layers.dense_detections import DenseDetectionLayer, best_of_each_class, best_pairs
from mrcnn.layers.dense_head import Predictor, Tower, joined, prior_bias
from mrcnn.layers.ssd_maps import L2Scale, ssd_maps
from mrcnn.layers.vgg import vgg_graph
from mrcnn.ops import boxes

META = np.array([[0, 100, 100, 3, 100, 100, 3, 0, 0, 100, 100, 1, 1, 1, 1]], "float32")


def tensor(x, dtype="float32"):
    return ops.convert_to_tensor(np.asarray(x, dtype))


# The head


@pytest.mark.parametrize("group_norm", [False, True])
def test_levels_share_a_tower(group_norm):
    maps = [keras.Input((n, n, 6)) for n in (4, 2)]
    said = Predictor("class", 3, 2, prior_bias())(Tower("class", 2, 12, group_norm)(maps))
    model = keras.Model(maps, joined(said, "logits"))
    names = {layer.name for layer in model.layers if layer.weights}
    norms = {"dense_class_gn1", "dense_class_gn2"} if group_norm else set()
    assert names == {"dense_class_conv1", "dense_class_conv2", "dense_class_raw"} | norms
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(2, n, n, 6)).astype("float32") for n in (4, 2)]
    logits = model.predict_on_batch(images)
    assert logits.shape == (2, (16 + 4) * 2, 3)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), 0.01, atol=0.005)  # what is there before all learning
    # The same map on the other level says the same: at place (1, 0) the third and fourth anchor of row 1.
    tiled = model.predict_on_batch([np.zeros_like(images[0]), images[0][:, 1:3, 1:3]])[:, 32:]
    alone = keras.Model(maps[1], said[1]).predict_on_batch(images[0][:, 1:3, 1:3])
    np.testing.assert_allclose(tiled, alone, rtol=1e-5)
    if group_norm:
        assert model.get_layer("dense_class_gn1").groups == 4  # of 12 channels; 32 of 256


def test_anchors_of_a_place_stand_together():
    """Value v of anchor a at place p is channel a * values + v of the convolution there."""
    x = keras.Input((2, 2, 1))
    predictor = Predictor("bbox", 4, 3)
    model = keras.Model(x, predictor([x])[0])
    predictor.layer.set_weights([np.zeros((3, 3, 1, 12)), np.arange(12)])
    np.testing.assert_array_equal(
        model.predict_on_batch(np.zeros((1, 2, 2, 1)))[0], np.tile(np.arange(12), 4).reshape(12, 4)
    )


# Detections


def detect(scores, anchors, sizes=None, **options):
    """Detections of one image of 100 x 100 pixels; anchors in pixels become the boxes. `sizes` of levels."""
    scores, anchors = np.asarray(scores, "float32"), np.asarray(anchors, "float32") / 100
    ends = np.cumsum(sizes or [len(scores)])[:-1]
    levels = [tensor(x)[None] for x in np.split(scores, ends)]
    numbers = [ops.zeros((1, x.shape[1], 4)) for x in levels]
    layer = DenseDetectionLayer(**{"max_instances": 4, "min_confidence": 0.3, "nms_threshold": 0.5, **options})
    found = ops.convert_to_numpy(whole(layer)([levels, numbers, tensor(anchors)[None], tensor(META)]))[0]
    return [(tuple(np.rint(x[:4] * 100).astype(int)), int(x[4]), round(float(x[5]), 4)) for x in found if x[4]]


A, B, C, OUT = (10, 10, 40, 40), (12, 10, 42, 40), (60, 60, 120, 90), (-30, 0, 0, 20)


def test_detections_are_pairs_of_a_place_and_a_class():
    scores = [[0.9, 0.5], [0.8, 0.6], [0.29, 0.4], [0.9, 0.9]]
    found = detect(scores, [A, B, C, OUT])
    clipped = (60, 60, 100, 90)
    assert found == [(A, 1, 0.9), (B, 2, 0.6), (clipped, 2, 0.4)]  # suppressed in each class; OUT has no area
    assert detect(scores, [A, B, C, OUT], nms_threshold=0.95)[:2] == [(A, 1, 0.9), (B, 1, 0.8)]
    assert len(detect(scores, [A, B, C, OUT], nms_threshold=0.95)) == 4


def test_the_limit_is_for_each_level():
    scores = [[0.9, 0.8], [0.7, 0.6], [0.5, 0.4]]
    assert detect(scores, [A, C, B], sizes=[2, 1], candidates=1) == [(A, 1, 0.9)] + [(B, 1, 0.5)][:0]
    far = (60, 10, 80, 40)
    assert detect(scores, [A, C, far], sizes=[2, 1], candidates=1) == [(A, 1, 0.9), (far, 1, 0.5)]


def test_the_limit_is_for_each_class():
    scores = [[0.9, 0.8], [0.7, 0.6], [0.5, 0.85]]
    far = (60, 10, 80, 40)
    found = detect(scores, [A, C, far], candidates=1, limit="class")
    assert found == [(A, 1, 0.9), (far, 2, 0.85)]


def test_candidates():
    scores = tensor([[[0.1, 0.9, 0.3], [0.8, 0.2, 0.7]]])
    values, places, classes = (ops.convert_to_numpy(x)[0] for x in best_pairs(scores, 4))
    np.testing.assert_allclose(values, [0.9, 0.8, 0.7, 0.3])
    assert places.tolist() == [0, 1, 1, 0] and classes.tolist() == [1, 0, 2, 2]
    assert best_pairs(scores, 100)[0].shape == (1, 6)
    values, places, classes = (ops.convert_to_numpy(x)[0] for x in best_of_each_class(scores, 1))
    np.testing.assert_allclose(values, [0.8, 0.9, 0.7])
    assert places.tolist() == [1, 0, 1] and classes.tolist() == [0, 1, 2]


def test_sizes_may_be_unknown():
    """A graph for images of any size gives what one for these images gives, fewer places than the limit or not."""
    rng = np.random.default_rng(0)
    scores, numbers = rng.uniform(size=(1, 30, 2)), rng.normal(0, 0.1, (1, 30, 4))
    corners = rng.uniform(0, 0.6, (1, 30, 2))
    anchors = np.concatenate([corners, corners + 0.3], axis=-1)
    found = []
    for count in (30, None):
        inputs = [keras.Input((count, n)) for n in (2, 4, 4)] + [keras.Input((15,))]
        layer = DenseDetectionLayer(20, 0.1, candidates=50)
        model = keras.Model(inputs, layer([inputs[:1], inputs[1:2], *inputs[2:]]))
        found.append(model.predict_on_batch([scores, numbers, anchors, META]))
    assert (found[0][0, :, 4] > 0).sum() > 5
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


@pytest.mark.parametrize("coding, decode", [("deltas", boxes.decode), ("sides", boxes.decode_sides)])
def test_codings(coding, decode):
    numbers = np.array([[[0.2, 0.1, 0.3, 0.1]]], "float32")
    anchors = np.array([[[0.2, 0.2, 0.6, 0.6]]], "float32")
    layer = DenseDetectionLayer(1, 0.1, coding=coding, std_dev=(0.1, 0.1, 0.2, 0.2))
    inputs = [[tensor([[[0.5, 0.1]]])], [tensor(numbers)], tensor(anchors), tensor(META)]
    found = ops.convert_to_numpy(whole(layer)(inputs))[0, 0, :4]
    scaled = numbers * np.array([0.1, 0.1, 0.2, 0.2], "float32") if coding == "deltas" else numbers
    np.testing.assert_allclose(found, decode(anchors, scaled)[0, 0], rtol=1e-5)


# The maps of SSD


def test_l2_scale():
    layer = L2Scale(start=20.0)
    x = np.array([[[[3.0, 4.0], [0.0, 0.0]]]], "float32")
    np.testing.assert_allclose(ops.convert_to_numpy(layer(tensor(x))), [[[[12, 16], [0, 0]]]], rtol=1e-6)
    half = L2Scale(start=20.0, dtype="float16")  # one over the length of nothing is more than it can hold
    np.testing.assert_allclose(ops.convert_to_numpy(half(tensor(x))), [[[[12, 16], [0, 0]]]], rtol=1e-3)
    layer.scale.assign([1.0, 10.0])
    np.testing.assert_allclose(ops.convert_to_numpy(layer(tensor(x)))[0, 0, 0], [0.6, 8], rtol=1e-6)


@pytest.mark.parametrize(
    "side, sides", [(300, (38, 19, 10, 5, 3, 1)), (128, (32, 16, 8, 4, 2, 1)), (512, (64, 32, 16, 8, 4, 2, 1))]
)
def test_maps_of_ssd(side, sides):
    from mrcnn.ops.anchors import backbone_shapes
    from mrcnn.settings.detectors import ssd_settings

    settings = ssd_settings(side)
    shapes = backbone_shapes((side, side), settings["BACKBONE_STRIDES"]).tolist()
    assert shapes == [[n, n] for n in sides]
    assert len(settings["SSD_SCALES"]) == len(sides) + 1 and len(settings["SSD_RATIOS"]) == len(sides)
    maps = ssd_maps(keras.Input((sides[0], sides[0], 4)), keras.Input((sides[1], sides[1], 4)), shapes, width=2)
    assert [x.shape[1:] for x in maps] == [(n, n, c) for n, c in zip(sides, (4, 32, 16, *[8] * 9), strict=False)]


def test_ssd300_has_the_settings_of_the_paper():
    from mrcnn.settings import Config
    from mrcnn.settings.detectors import ssd_settings

    settings = ssd_settings(300)
    assert settings["BACKBONE_STRIDES"] == [8, 16, 32, 64, 100, 300]
    assert settings["SSD_SCALES"] == list(Config.SSD_SCALES)
    assert [tuple(x) for x in settings["SSD_RATIOS"]] == list(Config.SSD_RATIOS)


def test_a_map_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"a map of \(3, 3\) of one of \(19, 19\); change BACKBONE_STRIDES"):
        ssd_maps(keras.Input((38, 38, 2)), keras.Input((19, 19, 2)), [(38, 38), (19, 19), (3, 3)], width=2)


def test_vgg():
    image = keras.Input((75, 64, 3))
    model = keras.Model(image, vgg_graph(image, width=2))
    shapes = [tuple(x.shape[1:]) for x in model.outputs]
    assert shapes == [(38, 32, 4), (19, 16, 8), (10, 8, 16), (5, 4, 16), (3, 2, 16)]
    names = [layer.name for layer in model.layers if layer.weights]
    assert names == [f"block{b}_conv{i}" for b, n in enumerate((2, 2, 3, 3, 3), start=1) for i in range(1, n + 1)]
