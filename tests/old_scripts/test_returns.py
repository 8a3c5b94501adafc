"""Shapes, types and order of what the old functions and methods return, as the original's did.

`api.json` has their signatures (tests/test_imports.py holds them). Where the original's own results were recorded, the
types are theirs; where ours is another, `FLOAT32` says so, as does PORTING.
"""

import numpy as np
import pytest
from conftest import read_golden
from keras import ops
from old_set import OldConfig, old_dataset
from tiny import WEIGHTS

import mrcnn.model as modellib
from mrcnn import utils, visualize

API = read_golden("api.json")
UTILS = read_golden("utils_golden.npz")

# What goes into the network: the original had float64, by accident of MEAN_PIXEL's type.
FLOAT32 = {"mold_image", "molded_images", "image_metas", "compose_image_meta"}

N, K, SIDE = 3, 4, 128
BOXES = np.array([[10, 20, 50, 60], [30, 30, 90, 80], [64, 8, 120, 70]], np.int32)
IDS = np.array([1, 2, 3], np.int32)
SCORES = np.array([0.9, 0.8, 0.7])
MASKS = np.zeros((SIDE, SIDE, N), bool)
for _i, (_y1, _x1, _y2, _x2) in enumerate(BOXES):
    MASKS[_y1:_y2, _x1:_x2, _i] = True
IMAGE = np.full((SIDE, SIDE, 3), 90, np.uint8)
TENSORS = ops.convert_to_tensor(utils.norm_boxes(BOXES, (SIDE, SIDE)))
LEVELS = [[32, 32], [16, 16], [8, 8], [4, 4], [2, 2]]
ANCHORS = utils.generate_pyramid_anchors((8, 16, 32, 64, 128), [0.5, 1, 2], LEVELS, [4, 8, 16, 32, 64], 1)


def described(value):
    """Nested tuples or lists of (shape, dtype); of what is no array its type."""
    if isinstance(value, (tuple, list)):
        return [described(item) for item in value]
    if isinstance(value, dict):
        return {name: described(item) for name, item in value.items()}
    if not hasattr(value, "shape"):
        return type(value).__name__
    array = ops.convert_to_numpy(value) if not isinstance(value, (np.ndarray, np.generic)) else value
    return tuple(array.shape), str(array.dtype)


GT = BOXES, IDS, MASKS
FOUND = BOXES, IDS, SCORES, MASKS
META = modellib.compose_image_meta(0, (SIDE, SIDE, 3), (SIDE, SIDE, 3), (0, 0, SIDE, SIDE), 1.0, np.ones(K))
RPN_META = {
    "image_id": ((1,), "int32"),
    "original_image_shape": ((1, 3), "int32"),
    "image_shape": ((1, 3), "int32"),
    "window": ((1, 4), "int32"),
    "scale": ((1,), "float32"),
    "active_class_ids": ((1, K), "int32"),
}

# name: (call, what it returns)
FUNCTIONS = {
    "utils.extract_bboxes": (lambda: utils.extract_bboxes(MASKS), ((N, 4), "int32")),
    "utils.compute_iou": (
        lambda: utils.compute_iou(BOXES[0], BOXES, 1600, np.array([1600, 3000, 3472])),
        ((N,), "float64"),
    ),
    "utils.compute_overlaps": (lambda: utils.compute_overlaps(BOXES, BOXES[:2]), ((N, 2), "float64")),
    "utils.compute_overlaps_masks": (lambda: utils.compute_overlaps_masks(MASKS, MASKS[..., :2]), ((N, 2), "float32")),
    "utils.non_max_suppression": (lambda: utils.non_max_suppression(BOXES, SCORES, 0.5), ((N,), "int32")),
    "utils.apply_box_deltas": (lambda: utils.apply_box_deltas(BOXES, np.zeros((N, 4))), ((N, 4), "float32")),
    "utils.box_refinement": (lambda: utils.box_refinement(BOXES, BOXES + 1), ((N, 4), "float32")),
    "utils.box_refinement_graph": (lambda: utils.box_refinement_graph(TENSORS, TENSORS), ((N, 4), "float32")),
    "utils.norm_boxes": (lambda: utils.norm_boxes(BOXES, (SIDE, SIDE)), ((N, 4), "float32")),
    "utils.denorm_boxes": (lambda: utils.denorm_boxes(BOXES / SIDE, (SIDE, SIDE)), ((N, 4), "int32")),
    "utils.resize_image": (
        lambda: utils.resize_image(IMAGE, 128, 192, 1.5),
        [((192, 192, 3), "uint8"), ["int"] * 4, "float", [["int"] * 2] * 3, "NoneType"],
    ),
    "utils.resize_mask": (lambda: utils.resize_mask(MASKS, 1, [(2, 2), (0, 4), (0, 0)]), ((132, 132, N), "bool")),
    "utils.minimize_mask": (lambda: utils.minimize_mask(BOXES, MASKS, (28, 28)), ((28, 28, N), "bool")),
    "utils.expand_mask": (
        lambda: utils.expand_mask(BOXES, np.ones((28, 28, N), bool), IMAGE.shape),
        ((SIDE, SIDE, N), "bool"),
    ),
    "utils.unmold_mask": (
        lambda: utils.unmold_mask(np.ones((28, 28), "float32"), BOXES[0], IMAGE.shape),
        ((SIDE, SIDE), "bool"),
    ),
    "utils.generate_anchors": (lambda: utils.generate_anchors(32, [0.5, 1, 2], [4, 4], 8, 1), ((48, 4), "float64")),
    "utils.generate_pyramid_anchors": (lambda: ANCHORS, ((4092, 4), "float64")),
    "utils.trim_zeros": (lambda: utils.trim_zeros(np.pad(BOXES, [(0, 2), (0, 0)])), ((N, 4), "int32")),
    "utils.compute_matches": (
        lambda: utils.compute_matches(*GT, *FOUND),
        [((N,), "float64"), ((N,), "float64"), ((N, N), "float32")],
    ),
    "utils.compute_ap": (
        lambda: utils.compute_ap(*GT, *FOUND),
        [((), "float64"), ((N + 2,), "float64"), ((N + 2,), "float64"), ((N, N), "float32")],
    ),
    "utils.compute_ap_range": (lambda: utils.compute_ap_range(*GT, *FOUND, verbose=0), ((), "float64")),
    "utils.compute_recall": (lambda: utils.compute_recall(BOXES, BOXES, 0.5), ["float", ((N,), "int64")]),
    "utils.resize": (lambda: utils.resize(IMAGE / 255, (64, 64)), ((64, 64, 3), "float64")),
    "utils.batch_slice": (
        lambda: utils.batch_slice([TENSORS[None], TENSORS[None]], lambda a, b: (a + b, a[:, 0]), 1),
        [((1, N, 4), "float32"), ((1, N), "float32")],
    ),
    "model.compute_backbone_shapes": (
        lambda: modellib.compute_backbone_shapes(type("C", (OldConfig,), {"BACKBONE": "resnet50"})(), (SIDE, SIDE, 3)),
        ((5, 2), "int64"),
    ),
    "model.load_image_gt": (
        lambda: modellib.load_image_gt(old_dataset(), OldConfig(), 1),
        [
            ((SIDE, SIDE, 3), "uint8"),
            ((12 + K,), "float32"),
            ((N,), "int32"),
            ((N, 4), "int32"),
            ((SIDE, SIDE, N), "bool"),
        ],
    ),
    "model.build_rpn_targets": (
        lambda: modellib.build_rpn_targets(IMAGE.shape, ANCHORS, IDS, BOXES, OldConfig()),
        [((4092,), "int32"), ((64, 4), "float64")],
    ),
    "model.build_detection_targets": (
        lambda: modellib.build_detection_targets(BOXES, IDS, BOXES, MASKS, OldConfig().update(USE_MINI_MASK=False)),
        [((N, 4), "int32"), ((N,), "int32"), ((N, K, 4), "float32"), ((N, 28, 28, K), "float32")],
    ),
    "model.generate_random_rois": (
        lambda: modellib.generate_random_rois(IMAGE.shape, 20, IDS, BOXES),
        ((20, 4), "int32"),
    ),
    "model.data_generator": (
        lambda: next(
            modellib.data_generator(
                old_dataset(), OldConfig(), batch_size=2, random_rois=20, detection_targets=True, shuffle=False
            )
        ),
        [
            [
                ((2, SIDE, SIDE, 3), "float32"),
                ((2, 12 + K), "float32"),
                ((2, 4092, 1), "int32"),
                ((2, 64, 4), "float32"),
                ((2, 8), "int32"),
                ((2, 8, 4), "int32"),
                ((2, 56, 56, 8), "bool"),
                ((2, 20, 4), "int32"),
                ((2, 200, 4), "int32"),
            ],
            [((2, 200, 1), "int32"), ((2, 200, K, 4), "float32"), ((2, 200, 28, 28, K), "float32")],
        ],
    ),
    "model.compose_image_meta": (lambda: META, ((12 + K,), "float32")),
    "model.parse_image_meta": (lambda: modellib.parse_image_meta(META[None]), RPN_META),
    "model.parse_image_meta_graph": (
        lambda: modellib.parse_image_meta_graph(ops.convert_to_tensor(META[None])),
        list(RPN_META),
    ),
    "model.mold_image": (lambda: modellib.mold_image(IMAGE, OldConfig()), ((SIDE, SIDE, 3), "float32")),
    "model.unmold_image": (
        lambda: modellib.unmold_image(IMAGE.astype("float32") - 100, OldConfig()),
        ((SIDE, SIDE, 3), "uint8"),
    ),
    "model.norm_boxes_graph": (lambda: modellib.norm_boxes_graph(TENSORS, (SIDE, SIDE)), ((N, 4), "float32")),
    "model.denorm_boxes_graph": (lambda: modellib.denorm_boxes_graph(TENSORS, (SIDE, SIDE)), ((N, 4), "int32")),
    "model.apply_box_deltas_graph": (lambda: modellib.apply_box_deltas_graph(TENSORS, TENSORS), ((N, 4), "float32")),
    "model.clip_boxes_graph": (
        lambda: modellib.clip_boxes_graph(TENSORS, ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0])),
        ((N, 4), "float32"),
    ),
    "model.overlaps_graph": (lambda: modellib.overlaps_graph(TENSORS, TENSORS[:2]), ((N, 2), "float32")),
    "model.smooth_l1_loss": (lambda: modellib.smooth_l1_loss(TENSORS, TENSORS), ((N, 4), "float32")),
    "model.trim_zeros_graph": (lambda: modellib.trim_zeros_graph(TENSORS), [((N, 4), "float32"), ((N,), "bool")]),
    "model.batch_pack_graph": (
        lambda: modellib.batch_pack_graph(TENSORS[None], [2], 1),
        ((2, 4), "float32"),
    ),
    "model.log2_graph": (lambda: modellib.log2_graph(TENSORS), ((N, 4), "float32")),
    "model.refine_detections_graph": (
        lambda: modellib.refine_detections_graph(
            TENSORS, np.eye(N, K, 1, "float32"), np.zeros((N, K, 4), "float32"), np.array([0, 0, 1, 1.0]), OldConfig()
        ),
        ((24, 6), "float32"),
    ),
    "model.detection_targets_graph": (
        lambda: modellib.detection_targets_graph(
            TENSORS, IDS, TENSORS, np.ones((56, 56, N), bool), OldConfig().update(TRAIN_ROIS_PER_IMAGE=20)
        ),
        [((20, 4), "float32"), ((20,), "int32"), ((20, 4), "float32"), ((6, 28, 28), "float32")],
    ),
    "visualize.random_colors": (lambda: visualize.random_colors(N), [["float"] * 3] * N),
    "visualize.apply_mask": (
        lambda: visualize.apply_mask(IMAGE.copy(), MASKS[..., 0], (1, 0, 0)),
        ((SIDE, SIDE, 3), "uint8"),
    ),
    "visualize.draw_box": (
        lambda: visualize.draw_box(IMAGE.copy(), BOXES[0], [255, 0, 0]),
        ((SIDE, SIDE, 3), "uint8"),
    ),
    "visualize.display_table": (lambda: visualize.display_table([["a", 1]]), "NoneType"),
}

# Held elsewhere: graphs and losses by tests/layers, tests/losses and tests/models with the original's numbers, figures
# by test_pictures.py, downloads by tests/test_utils.py; `mold_mask` did nothing in the original.
ELSEWHERE = """fpn_classifier_graph build_fpn_mask_graph build_rpn_model rpn_graph resnet_graph conv_block
identity_block mrcnn_bbox_loss_graph mrcnn_class_loss_graph mrcnn_mask_loss_graph rpn_bbox_loss_graph
rpn_class_loss_graph log display_differences display_images display_instances display_top_masks display_weight_stats
draw_boxes draw_rois plot_overlaps plot_precision_recall download_trained_weights mold_mask""".split()


def test_every_function_is_looked_at():
    functions = {f"{module[6:]}.{name}" for module in API for name, entry in API[module].items() if type(entry) is str}
    looked_at = {name for name in functions if name.partition(".")[2] in ELSEWHERE}
    assert functions - looked_at == set(FUNCTIONS) and len(looked_at) == len(ELSEWHERE)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_a_function_returns(name):
    call, expected = FUNCTIONS[name]
    found = described(call())
    assert (list(found) if name == "model.parse_image_meta_graph" else found) == expected


# case of the golden data -> function, where both have one result of the same name
RECORDED = {
    "extract_bboxes/out_boxes": "utils.extract_bboxes",
    "iou/out_iou": "utils.compute_iou",
    "overlaps/out_overlaps": "utils.compute_overlaps",
    "overlaps_masks/out_overlaps": "utils.compute_overlaps_masks",
    "nms_3/out_keep": "utils.non_max_suppression",
    "apply_box_deltas/out_boxes": "utils.apply_box_deltas",
    "box_refinement/out_deltas": "utils.box_refinement",
    "norm_boxes/out_boxes": "utils.norm_boxes",
    "denorm_boxes/out_boxes": "utils.denorm_boxes",
    "resize_mask_none/out_mask": "utils.resize_mask",
    "minimize_mask/out_mini": "utils.minimize_mask",
    "expand_mask/out_mask": "utils.expand_mask",
    "unmold_mask_0/out_mask": "utils.unmold_mask",
    "anchors_square/out_anchors": "utils.generate_pyramid_anchors",
    "backbone_shapes_0/out_shapes": "model.compute_backbone_shapes",
    "random_rois/out_rois": "model.generate_random_rois",
    "unmold_image/out_image": "model.unmold_image",
    "mold_image/out_image": "model.mold_image",
    "compose_image_meta/out_meta": "model.compose_image_meta",
}


@pytest.mark.parametrize("case", RECORDED)
def test_types_are_the_recorded_ones(case):
    shape, dtype = FUNCTIONS[RECORDED[case]][1]
    recorded = UTILS[case]
    assert recorded.ndim == len(shape)
    assert dtype == ("float32" if RECORDED[case].partition(".")[2] in FLOAT32 else str(recorded.dtype))


def test_the_order_of_targets_is_the_recorded_one():
    for case, name in {"detection_targets_full": "model.build_detection_targets"}.items():
        recorded = [UTILS[f"{case}/out_{part}"] for part in ("rois", "class_ids", "bboxes", "masks")]
        for (shape, dtype), array in zip(FUNCTIONS[name][1], recorded, strict=True):
            assert array.ndim == len(shape) and array.dtype.kind == np.dtype(dtype).kind


# Methods


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    model = modellib.MaskRCNN("inference", OldConfig(), str(tmp_path_factory.mktemp("logs")))
    model.load_weights(str(WEIGHTS), by_name=True)
    yield model


def test_methods_of_the_model(model):
    golden = read_golden("tiny_inference.npz")
    images = [golden["image_0"], golden["image_1"]]
    anchors = model.get_anchors(images[0].shape)
    assert described(anchors) == described(golden["anchors"]) == ((4092, 4), "float32")
    np.testing.assert_allclose(anchors, golden["anchors"], atol=1e-6)
    assert described(model.anchors) == described(golden["anchors_pixels"]) == ((4092, 4), "float64")
    molded, metas, windows = model.mold_inputs(images)
    assert described([molded, metas]) == [((2, 128, 128, 3), "float32"), ((2, 16), "float32")]
    assert described(windows) == described(golden["windows"]) == ((2, 4), "int64")
    # The second image is resized, by another scikit-image.
    np.testing.assert_allclose(molded[0], golden["molded_images"][0], atol=1e-5)
    assert np.abs(molded - golden["molded_images"]).max() < 1.01
    np.testing.assert_allclose(metas, golden["image_metas"], rtol=1e-6)
    for i, result in enumerate(model.detect(images)):
        assert list(result) == ["rois", "class_ids", "scores", "masks"]
        for name, value in result.items():
            assert described(value) == described(golden[f"result_{i}_{name}"]), name
    outputs = model.keras_model.predict([molded, metas, np.stack([anchors] * 2)], verbose=0)
    assert type(outputs) is list
    for name, value in zip(golden["outputs_order"], outputs, strict=True):
        assert described(value) == described(golden[str(name)]), name
    rois, class_ids, scores, masks = model.unmold_detections(
        outputs[0][1], outputs[3][1], images[1].shape, molded[1].shape, windows[1]
    )
    for name, value in {"rois": rois, "class_ids": class_ids, "scores": scores, "masks": masks}.items():
        assert described(value) == described(golden[f"result_1_{name}"]), name
    values = model.run_graph(images, [("b", model.keras_model.outputs[4]), ("a", model.keras_model.outputs[0])])
    assert described(values) == {"b": ((2, 64, 4), "float32"), "a": ((2, 24, 6), "float32")} and list(values) == [
        "b",
        "a",
    ]
    molded_result = model.detect_molded(molded[:1], metas[:1])[0]
    assert described(molded_result["rois"])[1] == "int32" and molded_result["masks"].shape[:2] == (128, 128)


def test_outputs_of_layers_by_name(model):
    """Those that notebooks ask for, of one image."""
    golden = read_golden("tiny_inference.npz")
    names = [
        "rpn_class",
        "rpn_bbox",
        "mrcnn_class",
        "mrcnn_bbox",
        "mrcnn_mask",
        "roi_align_classifier",
        "roi_align_mask",
    ]
    graph = model.keras_model
    values = model.run_graph([golden["image_0"]], [(name, graph.get_layer(name).output) for name in names])
    for name in names:
        np.testing.assert_allclose(values[name][0], golden[name][0], atol=2e-4, err_msg=name)
        assert values[name].shape[1:] == golden[name].shape[1:]
    proposals = model.run_graph([golden["image_0"]], [("ROI", graph.get_layer("ROI").output)])["ROI"]
    np.testing.assert_allclose(proposals[0], golden["rpn_rois"][0], atol=1e-5)


def test_methods_without_results(model, tmp_path):
    assert model.set_log_dir() is None and model.set_trainable(".*", verbose=0) is None
    assert model.load_weights(str(WEIGHTS), by_name=True) is None
    assert type(model.get_trainable_layers()) is list
    layer = model.get_trainable_layers()[0]
    assert model.find_trainable_layer(layer) is layer


def test_methods_of_the_data_set():
    dataset = old_dataset()
    assert described(dataset.image_ids) == ((4,), "int64") and described(dataset.class_ids) == ((K,), "int64")
    assert type(dataset.class_names) is list and type(dataset.sources) is list and dataset.num_images == 4
    assert described(dataset.load_image(0)) == ((SIDE, SIDE, 3), "uint8")
    assert described(list(utils.Dataset.load_mask(dataset, 0))) == [((0, 0, 0), "bool"), ((0,), "int32")]
    assert dataset.map_source_class_id("blocks.2") == 2 and dataset.get_source_class_id(2, "blocks") == 2
    assert utils.Dataset.image_reference(dataset, 0) == "" and dataset.source_image_link(0) is None
