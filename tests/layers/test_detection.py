"""DetectionLayer: from probabilities and deltas to detections, on cases made by hand."""

import numpy as np
import pytest
from keras import ops
from whole import whole

from mrcnn.layers.detections import DetectionLayer
from mrcnn.ops import boxes
from mrcnn.ops.nms import nms

WINDOW = [0, 0, 101, 101]  # normalised: 0, 0, 1, 1


def meta_of(window=WINDOW, shape=(101, 101, 3), classes=4):
    """image_meta of a molded image."""
    return np.array([0, *shape, *shape, *window, 1, *[1] * classes], "float32")


def detect(rois, probs, deltas=None, window=WINDOW, **options):
    """Detections of one image; `rois` in hundredths, deltas the same for all classes."""
    rois = np.asarray(rois, "float32")[None] / 100
    probs = np.asarray(probs, "float32")[None]
    deltas = np.zeros((*probs.shape, 4), "float32") if deltas is None else np.asarray(deltas, "float32")[None]
    options = {"max_instances": 6, "min_confidence": 0.5, "nms_threshold": 0.3, **options}
    inputs = [ops.convert_to_tensor(x) for x in (rois, probs, deltas, meta_of(window)[None])]
    return ops.convert_to_numpy(whole(DetectionLayer(**options))(inputs))[0]


def rows(detections):
    """Detections as (box in hundredths, class, score), without padding."""
    return [(tuple(np.rint(x[:4] * 100).astype(int)), int(x[4]), round(float(x[5]), 4)) for x in detections if x[4]]


A, B, C = (10, 10, 40, 40), (11, 10, 41, 40), (60, 60, 90, 90)


def test_suppression_is_by_class():
    # A and B overlap: of one class the better one stays, of two classes both.
    assert rows(detect([A, B], [[0.1, 0.7, 0.1, 0.1], [0, 0.8, 0.1, 0.1]])) == [(B, 1, 0.8)]
    assert rows(detect([A, B], [[0.1, 0.7, 0.1, 0.1], [0, 0.1, 0.8, 0.1]])) == [(B, 2, 0.8), (A, 1, 0.7)]
    above = detect([A, B], [[0.1, 0.7, 0.1, 0.1], [0, 0.8, 0.1, 0.1]], nms_threshold=0.95)
    assert rows(above) == [(B, 1, 0.8), (A, 1, 0.7)]


def test_a_suppressed_box_suppresses_nothing():
    # The middle one overlaps both others, which do not overlap each other by more than the threshold.
    chain = [(0, 0, 30, 10), (15, 0, 45, 10), (30, 0, 60, 10)]
    probs = [[0, 0.9, 0.1, 0], [0.1, 0.8, 0.1, 0], [0.2, 0.7, 0.1, 0]]
    assert rows(detect(chain, probs)) == [(chain[0], 1, 0.9), (chain[2], 1, 0.7)]


def test_order_confidence_and_background():
    probs = [
        [0.4, 0.6, 0, 0],
        [0.9, 0.1, 0, 0],  # background
        [0.3, 0.2, 0.5, 0],  # exactly the lowest score
        [0.3, 0.2, 0.01, 0.49],  # below it
        [0, 0, 0.05, 0.95],
    ]
    rois = [(20 * i, 20 * i, 20 * i + 15, 20 * i + 15) for i in range(5)]
    result = detect(rois, probs)
    assert result.shape == (6, 6) and result.dtype == "float32"
    assert rows(result) == [(rois[4], 3, 0.95), (rois[0], 1, 0.6), (rois[2], 2, 0.5)]
    np.testing.assert_array_equal(result[3:], 0)
    assert rows(detect(rois, probs, max_instances=2)) == [(rois[4], 3, 0.95), (rois[0], 1, 0.6)]
    assert not detect(rois, probs, min_confidence=0.99).any()
    assert len(rows(detect(rois, probs, min_confidence=0))) == 4


def test_padding_rows_are_no_detections():
    # The head may say anything of a row of zeros.
    result = detect([(0, 0, 0, 0), A, (0, 0, 0, 0)], [[0, 1, 0, 0], [0.2, 0.8, 0, 0], [0, 0, 0, 1]])
    assert rows(result) == [(A, 1, 0.8)]
    big = np.full((3, 4, 4), 3.0)
    assert rows(detect(np.zeros((3, 4)), [[0, 1, 0, 0]] * 3, big)) == []


def test_deltas_of_the_best_class_apply():
    deltas = np.zeros((1, 4, 4))
    deltas[0, 1], deltas[0, 2], deltas[0, 3] = 50, (1, -1, 0, np.log(0.5) / 0.2), 70
    result = detect([C], [[0.1, 0, 0.9, 0]], deltas)
    # Centre (75, 75) moves by 0.1 of 30, height stays, width halves.
    np.testing.assert_allclose(result[0, :4] * 100, [63, 64.5, 93, 79.5], atol=1e-3)
    np.testing.assert_allclose(result[0, 4:], [2, 0.9], rtol=1e-6)
    result = detect([C], [[0.1, 0, 0.9, 0]], deltas, std_dev=(0, 0.2, 0.2, 0))
    np.testing.assert_allclose(result[0, :4] * 100, [60, 54, 90, 84], atol=1e-3)


def test_boxes_are_clipped_to_the_window():
    # Rows 20..81 of the molded image are image.
    result = detect([(5, 5, 95, 95)], [[0, 1, 0, 0]], window=[20, 0, 81, 101])
    np.testing.assert_allclose(result[0, :4], [0.2, 0.05, 0.8, 0.95], atol=1e-6)
    deltas = np.full((1, 4, 4), 20.0)
    result = detect([(5, 5, 95, 95)], [[0, 1, 0, 0]], deltas, window=[20, 0, 81, 101])
    assert (result[0, :2] >= [0.2, 0]).all() and (result[0, 2:4] <= [0.8 + 1e-6, 1]).all()


def test_images_of_a_batch_have_their_own_windows():
    rois = np.array([[A, C], [C, A]], "float32") / 100
    probs = np.array([[[0, 0.9, 0.1, 0], [0, 0.2, 0.8, 0]], [[0.9, 0.1, 0, 0], [0, 0, 0.3, 0.7]]], "float32")
    meta = np.stack([meta_of(), meta_of([0, 0, 31, 31])])
    inputs = [ops.convert_to_tensor(x) for x in (rois, probs, np.zeros((2, 2, 4, 4), "float32"), meta)]
    first, second = ops.convert_to_numpy(whole(DetectionLayer(3, 0.5))(inputs))
    assert rows(first) == [(A, 1, 0.9), (C, 2, 0.8)]
    assert rows(second) == [((10, 10, 30, 30), 3, 0.7)]


@pytest.mark.parametrize("seed", range(3))
def test_against_numpy(seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 0.7, (80, 2))
    rois = np.concatenate([corners, corners + rng.uniform(0.05, 0.4, (80, 2))], axis=1).astype("float32")
    probs = rng.dirichlet([0.3] * 4, 80).astype("float32")
    deltas = rng.normal(0, 1, (80, 4, 4)).astype("float32")
    window = [10, 5, 96, 101]
    result = detect(rois * 100, probs, deltas, window, max_instances=20, min_confidence=0.6)

    class_ids, scores = probs.argmax(axis=1), probs.max(axis=1)
    std = np.array([0.1, 0.1, 0.2, 0.2], "float32")
    refined = boxes.decode(rois, deltas[np.arange(80), class_ids] * std)
    refined = boxes.clip(refined, np.array([0.1, 0.05, 0.95, 1], "float32"))
    kept = []
    for class_id in (1, 2, 3):
        members = np.nonzero((class_ids == class_id) & (scores >= 0.6))[0]
        kept += list(members[nms(refined[members], scores[members], 0.3)])
    kept = np.array(sorted(kept, key=lambda i: -scores[i])[:20])
    assert len(kept) >= 10
    np.testing.assert_allclose(result[: len(kept), :4], refined[kept], atol=1e-5)
    np.testing.assert_array_equal(result[: len(kept), 4], class_ids[kept])
    np.testing.assert_allclose(result[: len(kept), 5], scores[kept], rtol=1e-6)
    assert not result[len(kept) :].any()


def test_all_classes_of_an_roi():
    probs = [[0.1, 0.3, 0.6, 0], [0, 0.55, 0.05, 0.4], [0.9, 0.1, 0, 0]]
    rois = [A, B, C]
    assert rows(detect(rois, probs, classes="all", min_confidence=0.3)) == [
        (A, 2, 0.6),
        (B, 1, 0.55),  # which suppresses A as class 1
        (B, 3, 0.4),
    ]
    assert rows(detect(rois, probs, classes="all", min_confidence=0.05, nms_threshold=0.95)) == [
        (A, 2, 0.6),
        (B, 1, 0.55),
        (B, 3, 0.4),
        (A, 1, 0.3),
        (C, 1, 0.1),
        (B, 2, 0.05),
    ]
    # Each class has its own deltas.
    deltas = np.zeros((1, 4, 4))
    deltas[0, 1, 0], deltas[0, 2, 1] = 1, -1
    found = rows(detect([C], [[0, 0.4, 0.6, 0]], deltas, classes="all", min_confidence=0.1))
    assert found == [((60, 57, 90, 87), 2, 0.6), ((63, 60, 93, 90), 1, 0.4)]
    # Rows of padding are none.
    assert rows(detect([(0, 0, 0, 0)], [[0, 0.5, 0.5, 0]], classes="all", min_confidence=0.0)) == []


def test_suppression_among_all_or_none():
    probs = [[0.1, 0.7, 0.1, 0.1], [0, 0.1, 0.8, 0.1], [0.2, 0.8, 0, 0]]
    everything = rows(detect([A, B, C], probs, suppression="all"))
    assert everything == [(B, 2, 0.8), (C, 1, 0.8)] or everything == [(C, 1, 0.8), (B, 2, 0.8)]
    probs[1] = [0, 0.85, 0.1, 0.05]
    assert rows(detect([A, B, C], probs, suppression="none")) == [(B, 1, 0.85), (C, 1, 0.8), (A, 1, 0.7)]
    twins = rows(detect([A, A], [[0, 0.9, 0.1, 0], [0.2, 0.8, 0, 0]], suppression="none"))
    assert twins == [(A, 1, 0.9), (A, 1, 0.8)]


def test_windows_by_edges():
    result = detect([(5, 5, 95, 95)], [[0, 1, 0, 0]], window=[20.2, 0, 80.8, 101], normalization="edges")
    np.testing.assert_allclose(result[0, :4], [0.2, 0.05, 0.8, 0.95], atol=1e-6)


def test_config_and_shape():
    other = DetectionLayer(classes="all", suppression="none", normalization="edges")
    assert DetectionLayer.from_config(other.get_config()).get_config() == other.get_config()
    layer = DetectionLayer(7, 0.4, 0.2, [1, 2, 3, 4], name="detection")
    copy = DetectionLayer.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert (copy.max_instances, copy.min_confidence, copy.nms_threshold) == (7, 0.4, 0.2)
    assert (copy.std_dev, copy.name) == ((1, 2, 3, 4), "detection")
    assert layer.compute_output_shape([(None, 64, 4), (None, 64, 4), (None, 64, 4, 4), (None, 16)]) == (None, 7, 6)
