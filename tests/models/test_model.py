"""The inference graph against the original's numbers, and what `MaskRCNN` does around it."""

import keras
import numpy as np
import pytest
from golden_detection import OUTPUTS, check_result, check_same, gold, inputs, model, outputs  # noqa: F401  (fixtures)
from keras import ops
from tiny import tiny_model

from mrcnn.layers.roi_align import PyramidROIAlign
from mrcnn.ops.masks import encode_rle


@pytest.fixture(scope="module")
def tensors(model, inputs):
    """Every tensor that the original recorded between image and result, by its name."""
    graph = model.keras_model
    layers = {
        "C1": "tiny_pool1",
        **{f"P{n}_sum": f"fpn_p{n}add" for n in (2, 3, 4)},
        **{f"P{n}": f"fpn_p{n}" for n in (2, 3, 4, 5, 6)},
        "class_shared": "pool_squeeze",
        "rpn_rois": "ROI",
        "detections": "mrcnn_detection",
        **{name: name for name in ("rpn_class", "rpn_bbox", "roi_align_classifier", "mrcnn_class_logits")},
        **{name: name for name in ("mrcnn_class", "mrcnn_bbox", "roi_align_mask")},
    }
    wanted = {name: graph.get_layer(layer).output for name, layer in layers.items()}
    wanted |= {f"C{n}": graph.get_layer(f"fpn_c{n}p{n}").input for n in (2, 3, 4, 5) if n < 5}
    wanted["C5"] = graph.get_layer("fpn_c5p5").input
    # The inference graph has the RPN's logits inside rpn_model only.
    rpn = graph.get_layer("rpn_model")
    wanted["rpn_class_logits"] = ops.concatenate([rpn(wanted[f"P{n}"])[0] for n in (2, 3, 4, 5, 6)], axis=1)
    wanted["mrcnn_mask"] = graph.outputs[3]
    return dict(zip(wanted, keras.Model(graph.inputs, list(wanted.values())).predict_on_batch(inputs), strict=True))


def test_anchors(model, gold):
    normalized = model.get_anchors((128, 128, 3))
    assert normalized.shape == (4092, 4)
    np.testing.assert_allclose(normalized, gold["anchors"], rtol=0, atol=1e-7)
    np.testing.assert_array_equal(model.anchors, gold["anchors_pixels"])


@pytest.mark.parametrize(
    "name",
    [
        "C1",
        "C2",
        "C3",
        "C4",
        "C5",
        "P4_sum",
        "P3_sum",
        "P2_sum",
        "P2",
        "P3",
        "P4",
        "P5",
        "P6",
        "rpn_class_logits",
        "rpn_class",
        "rpn_bbox",
        "rpn_rois",
        "roi_align_classifier",
        "class_shared",
        "mrcnn_class_logits",
        "mrcnn_class",
        "mrcnn_bbox",
        "detections",
        "roi_align_mask",
        "mrcnn_mask",
    ],
)
def test_tensor(name, tensors, gold):
    expected = gold[name]
    # The box head's layers work on all RoIs of all images as one batch.
    result = tensors[name].reshape(expected.shape)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    if name == "detections":
        np.testing.assert_array_equal(result[..., 4], expected[..., 4])


def test_outputs_in_order(outputs, gold):
    assert gold["outputs_order"].tolist() == OUTPUTS
    assert len(outputs) == 7
    for name, value in zip(OUTPUTS, outputs, strict=True):
        assert value.shape == gold[name].shape and value.dtype == "float32"
        np.testing.assert_allclose(value, gold[name], rtol=0, atol=1e-4 * np.abs(gold[name]).max(), err_msg=name)


def test_detect_from_golden_molded_images(model, gold):
    shapes = [gold["image_0"].shape, gold["image_1"].shape]
    results = model._detect_batch(gold["molded_images"], gold["image_metas"], shapes, gold["windows"])
    for i, result in enumerate(results):
        check_result(result, gold, i)


@pytest.mark.compiled
def test_detect_from_raw_images(model, gold):
    results = model.detect([gold["image_0"], gold["image_1"]])
    check_result(results[0], gold, 0)
    # Image 1 is resized, and scikit-image 0.18 cut some interpolated integers one gray level lower than it does now:
    # that moves one coordinate of 80 by 5 pixels and scores by at most 0.003.
    molded, metas, windows = model.mold_inputs([gold["image_0"], gold["image_1"]])
    assert molded.dtype == "float32"
    np.testing.assert_allclose(molded[0], gold["molded_images"][0], rtol=0, atol=1e-5)
    difference = np.abs(molded[1] - gold["molded_images"][1])
    assert difference.max() < 1.001
    assert 0 < (difference > 1e-3).mean() < 1e-3
    np.testing.assert_allclose(metas, gold["image_metas"], rtol=1e-6)
    np.testing.assert_array_equal(windows, gold["windows"])
    moved = np.abs(results[1]["rois"] - gold["result_1_rois"])
    assert moved.max() <= 5 and (moved > 0).sum() <= 2
    np.testing.assert_array_equal(results[1]["class_ids"], gold["result_1_class_ids"])
    np.testing.assert_allclose(results[1]["scores"], gold["result_1_scores"], rtol=0, atol=3e-3)
    assert (results[1]["masks"] != gold["result_1_masks"]).mean() <= 1e-3


def test_detect_molded_gives_boxes_of_the_molded_image(model, gold):
    results = model.detect_molded(gold["molded_images"], gold["image_metas"])
    check_result(results[0], gold, 0)  # image 0 has the network's size
    assert results[1]["masks"].shape == (128, 128, 20)
    expected = gold["detections"][1, :20, :4] * 127 + [0, 0, 1, 1]
    np.testing.assert_array_equal(results[1]["rois"], np.rint(expected))


@pytest.mark.compiled
def test_detect_any_number_of_images_of_any_size(model, gold):
    assert model.config.BATCH_SIZE == 2
    images = [gold["image_0"], gold["image_1"], gold["image_0"][:100, :60]]
    single = [model.detect([image])[0] for image in images]
    assert [len(x["rois"]) > 0 for x in single] == [True] * 3
    assert [x["masks"].shape[:2] for x in single] == [(128, 128), (96, 112), (100, 60)]
    assert model.detect([]) == []
    for result, expected in zip(model.detect(images), single, strict=True):
        check_same(result, expected)
    for result, expected in zip(model.detect(images[::-1]), single[::-1], strict=True):
        check_same(result, expected)


def test_detect_pads_images_of_different_sizes(tmp_path, gold):
    model = tiny_model("inference", tmp_path, IMAGE_RESIZE_MODE="pad64", IMAGE_MIN_DIM=64)
    # 128x128 fits, 96x112 is padded to 128x128, 60x100 is scaled and padded to 64x128: two shapes.
    images = [gold["image_0"], gold["image_0"][:60, :100], gold["image_1"]]
    results = model.detect(images)
    check_result(results[0], gold, 0)
    assert [x["masks"].shape[:2] for x in results] == [(128, 128), (60, 100), (96, 112)]
    for image, result in zip(images, results, strict=True):
        assert (result["rois"] >= 0).all() and (result["rois"][:, 2:] <= image.shape[:2]).all()
        check_same(result, model.detect([image])[0])
    with pytest.raises(ValueError, match="gives these images different sizes; pass them one by one"):
        model.mold_inputs(images)


def test_detect_in_rectangles(model, tmp_path, gold):
    """As "square" where the image fills the square; else the same scale with less padding, in as few shapes."""
    square, model = model, tiny_model("inference", tmp_path, IMAGE_RESIZE_MODE="rect")
    images = [gold["image_0"], gold["image_0"][:60, :100], gold["image_1"]]
    assert [model._mold(image)[0].shape for image in images] == [(128, 128, 3), (128, 128, 3), (128, 128, 3)]
    wide = np.tile(gold["image_0"], (1, 2, 1))
    molded, meta, window = model._mold(wide)
    assert molded.shape == (64, 128, 3) and window.tolist() == [0, 0, 64, 128]
    (result,), (other,) = model.detect([wide]), square.detect([wide])
    assert result["masks"].shape[:2] == (128, 256) and len(result["rois"]) and len(other["rois"])
    check_result(model.detect(images)[0], gold, 0)


def test_detect_gives_run_lengths(model, gold):
    images = [gold["image_0"], gold["image_1"]]
    for result, expected in zip(model.detect(images, rle=True), model.detect(images), strict=True):
        assert result["masks"] == [encode_rle(mask) for mask in np.moveaxis(expected["masks"], -1, 0)] != []
        for name in ("rois", "class_ids", "scores"):
            np.testing.assert_array_equal(result[name], expected[name])


@pytest.fixture
def traces(monkeypatch):
    """Grows each time that a graph with RoIAlign is traced, which is once for each compilation."""
    calls, original = [], PyramidROIAlign.call

    def call(self, inputs):
        calls.append(self.name)
        return original(self, inputs)

    monkeypatch.setattr(PyramidROIAlign, "call", call)
    return calls


@pytest.mark.compiled
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch runs the graph as it is, without compiling")
def test_detect_compiles_once(model, gold, traces):
    for graph in model.compiled:
        graph.forget()
    for _ in range(2):
        model.detect([gold["image_0"], gold["image_1"]])
        first = list(traces)
        assert {"roi_align_classifier", "roi_align_mask"} <= set(first)
    for _ in range(4):
        model.detect([gold["image_1"], gold["image_0"]])
    assert traces == first


def test_mask_head_runs_on_real_detections_only(model, gold, inputs, monkeypatch):
    full = model.keras_model.predict_on_batch(inputs)
    few = np.where((np.arange(24) < 3)[None, :, None], full[0], 0)
    detector, heads = model.compiled
    seen = []

    def run_heads(given):
        seen.append(given[0].shape)
        return heads(given)

    run_heads.graph = heads.graph
    monkeypatch.setattr(model, "compiled", [lambda given: [few, *detector(given)[1:]], run_heads])
    results = model.detect_molded(gold["molded_images"], gold["image_metas"])
    assert seen == [(2, 4, 4)]  # for 3 detections the mask head ran on 4 boxes, not on 24
    for i, result in enumerate(results):
        _, _, _, masks = model.unmold_detections(full[0][i], full[3][i], *[(128, 128, 3)] * 2, (0, 0, 128, 128))
        assert (result["masks"] != masks[..., :3]).mean() <= 1e-4

    few[:] = 0
    for result in model.detect_molded(gold["molded_images"], gold["image_metas"]):
        assert [result[key].shape for key in ("rois", "class_ids", "scores", "masks")] == [
            (0, 4),
            (0,),
            (0,),
            (128, 128, 0),
        ]
    assert len(seen) == 1  # no box needed a mask


def test_unmold_detections(model):
    detections = np.zeros((5, 6), "float32")
    # Pixels of the molded 128x128 image, of which rows 16..112 show the 48x64 image at twice its size.
    pixels = np.array([[16, 0, 112, 128], [40, 20, 40, 60], [36, 40, 76, 60]])
    detections[:3, :4] = (pixels - [0, 0, 1, 1]) / 127
    detections[:3, 4:] = [[1, 0.9], [2, 0.8], [3, 0.7]]
    masks = np.zeros((5, 28, 28, 4), "float32")
    masks[0, :, :14, 1] = 1
    masks[2, :, :, 3] = 1
    rois, class_ids, scores, full = model.unmold_detections(
        detections, masks, (48, 64, 3), (128, 128, 3), (16, 0, 112, 128)
    )
    # The second box has no height in pixels and is left out.
    np.testing.assert_array_equal(rois, [[0, 0, 48, 64], [10, 20, 30, 30]])
    np.testing.assert_array_equal(class_ids, [1, 3])
    np.testing.assert_allclose(scores, [0.9, 0.7])
    expected = np.zeros((48, 64, 2), bool)
    expected[:, :32, 0] = True
    expected[10:30, 20:30, 1] = True
    np.testing.assert_array_equal(full, expected)


def test_run_graph(model, gold, capsys):
    layer = model.keras_model.get_layer
    wanted = [("proposals", layer("ROI").output), ("P4", layer("fpn_p4").output)]
    values = model.run_graph(gold["molded_images"], wanted, gold["image_metas"])
    assert list(values) == ["proposals", "P4"]
    np.testing.assert_allclose(values["proposals"], gold["rpn_rois"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(values["P4"], gold["P4"], rtol=0, atol=1e-4 * np.abs(gold["P4"]).max())
    assert "proposals" in capsys.readouterr().out
    raw = model.run_graph([gold["image_0"]], wanted[1:])
    np.testing.assert_allclose(raw["P4"], gold["P4"][:1], rtol=0, atol=1e-4 * np.abs(gold["P4"]).max())


def test_ancestor(model):
    graph = model.keras_model
    assert model.ancestor(graph.outputs[0], "ROI") is graph.get_layer("ROI").output
    assert model.ancestor(graph.get_layer("fpn_p5").output, "ROI") is None
