"""What the notebooks that look into a trained model did: every stage, from anchors to masks, and activations."""

import numpy as np
import pytest
from conftest import read_golden
from old_set import OldConfig, old_dataset
from tiny import WEIGHTS

import mrcnn.model as modellib
from mrcnn import utils, visualize
from mrcnn.visualize import plt

GOLDEN = "tiny_inference.npz"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    class InferenceConfig(OldConfig):
        DETECTION_MIN_CONFIDENCE = 0.0

    model = modellib.MaskRCNN(
        mode="inference", model_dir=str(tmp_path_factory.mktemp("logs")), config=InferenceConfig()
    )
    model.load_weights(str(WEIGHTS), by_name=True)
    yield model
    plt.close("all")


@pytest.fixture(scope="module")
def image():
    return read_golden(GOLDEN)["image_0"].copy()


@pytest.fixture(scope="module")
def rpn(model, image):
    pillar = model.keras_model.get_layer("ROI").output
    nms_node = model.ancestor(pillar, "ROI/rpn_non_max_suppression:0")
    if nms_node is None:
        nms_node = model.ancestor(pillar, "ROI/rpn_non_max_suppression/NonMaxSuppressionV3:0")
    model.get_anchors(image.shape)
    return model.run_graph(
        [image],
        [
            ("rpn_class", model.keras_model.get_layer("rpn_class").output),
            ("pre_nms_anchors", model.ancestor(pillar, "ROI/pre_nms_anchors:0")),
            ("refined_anchors", model.ancestor(pillar, "ROI/refined_anchors:0")),
            ("refined_anchors_clipped", model.ancestor(pillar, "ROI/refined_anchors_clipped:0")),
            ("post_nms_anchor_ix", nms_node),
            ("proposals", model.keras_model.get_layer("ROI").output),
        ],
    )


def test_targets_of_the_rpn(model):
    dataset = old_dataset()
    image, _, class_ids, bbox, _ = modellib.load_image_gt(dataset, model.config, 0, use_mini_mask=False)
    model.get_anchors(image.shape)
    match, deltas = modellib.build_rpn_targets(image.shape, model.anchors, class_ids, bbox, model.config)
    positive = model.anchors[np.where(match[:] == 1)[0]]
    refined = utils.apply_box_deltas(positive, deltas[: positive.shape[0]] * model.config.RPN_BBOX_STD_DEV)
    assert np.abs(refined[:, None] - bbox).max(-1).min(-1).max() < 0.01
    recall, ids = utils.compute_recall(model.anchors, bbox, 0.5)
    assert recall == 1 and len(ids) >= len(bbox)


def test_stages_of_the_proposals(model, image, rpn):
    """Each stage follows from the one before, and the first from the original's own numbers."""
    golden = read_golden(GOLDEN)
    np.testing.assert_allclose(rpn["rpn_class"][0], golden["rpn_class"][0], atol=1e-4)
    order = np.argsort(-golden["rpn_class"][0, :, 1], kind="stable")[: rpn["pre_nms_anchors"].shape[1]]
    scores = golden["rpn_class"][0, order, 1]
    np.testing.assert_allclose(rpn["pre_nms_anchors"][0, :64], golden["anchors"][order[:64]], atol=1e-5)
    assert rpn["pre_nms_anchors"].shape == (1, model.config.PRE_NMS_LIMIT, 4) and (np.diff(scores) <= 0).all()
    deltas = golden["rpn_bbox"][0, order[:64]] * model.config.RPN_BBOX_STD_DEV
    refined = utils.apply_box_deltas(golden["anchors"][order[:64]], deltas)
    np.testing.assert_allclose(rpn["refined_anchors"][0, :64], refined, atol=1e-4)
    np.testing.assert_array_equal(rpn["refined_anchors_clipped"], rpn["refined_anchors"].clip(0, 1))
    ixs = rpn["post_nms_anchor_ix"]
    count = (rpn["proposals"][0].any(axis=-1)).sum()
    assert ixs.shape == (model.config.POST_NMS_ROIS_INFERENCE,) and ixs.dtype == np.int32
    np.testing.assert_array_equal(rpn["refined_anchors_clipped"][0][ixs[:count]], rpn["proposals"][0, :count])
    assert (ixs[count:] == ixs[count - 1]).all()
    np.testing.assert_allclose(rpn["proposals"][0], golden["rpn_rois"][0], atol=1e-4)


def test_pictures_of_the_proposals(model, image, rpn):
    best = np.argsort(rpn["rpn_class"][:, :, 1].flatten())[::-1]
    fig, axes = plt.subplots(1, 3)
    visualize.draw_boxes(image, boxes=model.anchors[best[:10]], ax=axes[0])
    pixels = {
        name: utils.denorm_boxes(rpn[name][0], image.shape[:2])
        for name in ("pre_nms_anchors", "refined_anchors", "refined_anchors_clipped")
    }
    visualize.draw_boxes(
        image, boxes=pixels["pre_nms_anchors"][:10], refined_boxes=pixels["refined_anchors"][:10], ax=axes[1]
    )
    ixs = rpn["post_nms_anchor_ix"][:50]
    visualize.draw_boxes(image, refined_boxes=pixels["refined_anchors_clipped"][ixs], ax=axes[2])
    assert len(axes[2].patches) == 50
    h, w = model.config.IMAGE_SHAPE[:2]
    visualize.draw_boxes(image, refined_boxes=rpn["proposals"][0, :10] * np.array([h, w, h, w]), ax=axes[0])


def test_heads_step_by_step(model, image):
    """From the RoIs to the detections by hand, as the notebook had it, and as `detect` has them."""
    get = model.keras_model.get_layer
    mrcnn = model.run_graph(
        [image],
        [
            ("proposals", get("ROI").output),
            ("probs", get("mrcnn_class").output),
            ("deltas", get("mrcnn_bbox").output),
            ("masks", get("mrcnn_mask").output),
            ("detections", get("mrcnn_detection").output),
        ],
    )
    ids = mrcnn["detections"][0, :, 4].astype(np.int32)
    det_count = np.count_nonzero(ids)
    det_ids, detections = ids[:det_count], mrcnn["detections"][0, :det_count]
    captions = ["{} {:.3f}".format("abcd"[int(c)], s) if c > 0 else "" for c, s in detections[:, 4:6]]
    visualize.draw_boxes(
        image,
        refined_boxes=utils.denorm_boxes(detections[:, :4], image.shape[:2]),
        visibilities=[2] * len(detections),
        captions=captions,
    )

    h, w = model.config.IMAGE_SHAPE[:2]
    proposals = np.around(mrcnn["proposals"][0] * np.array([h, w, h, w])).astype(np.int32)
    roi_ids = np.argmax(mrcnn["probs"][0], axis=1)
    roi_scores = mrcnn["probs"][0, np.arange(roi_ids.shape[0]), roi_ids]
    specific = mrcnn["deltas"][0, np.arange(proposals.shape[0]), roi_ids]
    refined = utils.apply_box_deltas(proposals, specific * model.config.BBOX_STD_DEV).astype(np.int32)
    keep = np.where(roi_ids > 0)[0]
    keep = np.array(list(set(keep) & set(np.where(roi_scores >= model.config.DETECTION_MIN_CONFIDENCE)[0])))
    nms_keep = []
    for class_id in np.unique(roi_ids[keep]):
        ixs = np.where(roi_ids[keep] == class_id)[0]
        kept = utils.non_max_suppression(
            refined[keep][ixs], roi_scores[keep][ixs], model.config.DETECTION_NMS_THRESHOLD
        )
        nms_keep += [keep[ixs[i]] for i in kept]
    nms_keep = np.array(sorted(nms_keep, key=lambda i: -roi_scores[i])[: model.config.DETECTION_MAX_INSTANCES])
    # Rounded boxes suppress a little differently; what scores best is the same.
    assert (roi_ids[nms_keep][:5] == det_ids[:5]).all()
    np.testing.assert_allclose(roi_scores[nms_keep][:5], detections[:5, 5], atol=1e-6)

    result = model.detect([image])[0]
    assert (result["class_ids"] == det_ids).all()
    np.testing.assert_allclose(result["scores"], detections[:, 5])
    masks = np.array([mrcnn["masks"][0, i, :, :, c] for i, c in enumerate(det_ids)])
    full = np.array([utils.unmold_mask(m, result["rois"][i], image.shape) for i, m in enumerate(masks)])
    np.testing.assert_array_equal(np.moveaxis(full, 0, -1), result["masks"])


def test_activations(model, image):
    """PORTING's line for the input image, in the place of `tf.identity(...)`."""
    get = model.keras_model.get_layer
    activations = model.run_graph(
        [image],
        [
            ("input_image", get("input_image").output),
            ("C2", get("tiny_conv2").output),
            ("rpn_bbox", get("rpn_bbox").output),
            ("roi", get("ROI").output),
        ],
    )
    assert (modellib.unmold_image(activations["input_image"][0], model.config) == image).all()
    plt.imshow(modellib.unmold_image(activations["input_image"][0], model.config))
    maps = np.transpose(activations["C2"][0, :, :, :4], [2, 0, 1])
    visualize.display_images(maps, cols=4)
    assert len(plt.gcf().axes) == 4


def test_what_an_ancestor_is(model):
    graph = model.keras_model
    detections = graph.outputs[0]
    assert model.ancestor(detections, "ROI") is graph.get_layer("ROI").output
    assert model.ancestor(detections, "rpn_class/concat:0") is graph.get_layer("rpn_class").output
    assert model.ancestor(detections, "ROI/refined_anchors:0").shape[2:] == (4,)
    for path in ("ROI/nothing:0", "rpn_model/rpn_conv_shared", "mrcnn_mask", "nothing:0"):
        assert model.ancestor(detections, path) is None


def test_a_search_in_vain_ends_soon():
    """In a graph with two ways through each of 40 blocks."""
    import keras

    x = inputs = keras.Input((4,), name="first")
    for _ in range(40):
        x = keras.layers.add([keras.layers.Dense(4)(x), x])
    assert modellib.MaskRCNN.ancestor(None, x, "nothing") is None
    assert modellib.MaskRCNN.ancestor(None, x, "first") is inputs


def test_weights(model, capsys):
    visualize.display_weight_stats(model)
    assert "WEIGHT NAME" in capsys.readouterr().out
    layers = [layer for layer in model.get_trainable_layers() if layer.__class__.__name__ in ["Conv2D"]]
    fig, ax = plt.subplots(2, 2)
    for row, layer in enumerate(layers[:2]):
        for column, values in enumerate(layer.get_weights()):
            ax[row, column].set_title(layer.weights[column].name)
            ax[row, column].hist(values.flatten(), 50)
    assert [a.get_title() for a in ax[0]] == ["kernel", "bias"]
