import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from mrcnn.data.coco import index
from mrcnn.evaluate import coco_metrics, metrics, to_coco_results
from mrcnn.ops.masks import encode_rle

NAMES = ["gt_boxes", "gt_class_ids", "gt_masks", "pred_boxes", "pred_class_ids", "pred_scores", "pred_masks"]


@pytest.fixture
def sample(golden):
    """Five instances and eight predictions, in the order of the functions' arguments."""
    ins = golden("utils_golden.npz", "ap").ins
    return [ins[name] for name in NAMES]


def nothing(side, h=64, w=64):
    empty = [np.zeros((0, 4), "int32"), np.zeros(0, "int32"), np.zeros((h, w, 0), bool)]
    return empty if side == "gt" else [empty[0], empty[1], np.zeros(0), empty[2]]


@pytest.mark.parametrize("case", ["overlaps_masks", "overlaps_masks_empty"])
def test_overlaps_masks(golden, case):
    data = golden("utils_golden.npz", case)
    result = metrics.compute_overlaps_masks(data.ins["masks1"], data.ins["masks2"])
    assert result.dtype == np.float32 and result.shape == data.outs["overlaps"].shape
    np.testing.assert_allclose(result, data.outs["overlaps"], rtol=1e-6)


def test_overlaps_of_empty_masks_are_zero():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = metrics.compute_overlaps_masks(np.zeros((4, 4, 1), bool), np.zeros((4, 4, 2), bool))
    np.testing.assert_array_equal(result, [[0, 0]])


def test_trim_zeros(golden):
    data = golden("utils_golden.npz", "trim_zeros")
    np.testing.assert_array_equal(metrics.trim_zeros(data.ins["x"]), data.outs["x"])


@pytest.mark.parametrize("case", ["ap_30", "ap_50", "ap_75", "ap_90"])
def test_matches_and_ap(golden, sample, case):
    data = golden("utils_golden.npz", case)
    gt_match, pred_match, overlaps = metrics.compute_matches(*sample, **data.args)
    np.testing.assert_array_equal(gt_match, data.outs["gt_match"])
    np.testing.assert_array_equal(pred_match, data.outs["pred_match"])
    np.testing.assert_allclose(overlaps, data.outs["overlaps"], rtol=1e-6)
    assert gt_match.dtype == pred_match.dtype == np.float64
    result = metrics.compute_ap(*sample, **data.args)
    for value, name in zip(result, ["mAP", "precisions", "recalls", "overlaps"], strict=True):
        np.testing.assert_allclose(value, data.outs[name], rtol=1e-6, err_msg=name)


def test_padding_is_left_out(golden, sample):
    def pad(rows, array):
        axis = 2 if array.ndim == 3 else 0
        return np.pad(array, [(0, rows if i == axis else 0) for i in range(array.ndim)])

    data = golden("utils_golden.npz", "ap_padded")
    padded = [pad(3, a) for a in sample[:3]] + [pad(2, a) for a in sample[3:]]
    gt_match, pred_match, overlaps = metrics.compute_matches(*padded)
    np.testing.assert_array_equal(gt_match, data.outs["gt_match"])
    np.testing.assert_array_equal(pred_match, data.outs["pred_match"])
    np.testing.assert_allclose(overlaps, data.outs["overlaps"], rtol=1e-6)


def test_score_threshold_is_for_scores(golden, sample):
    """The original compared it with the IoU of candidates: with score_threshold 0.2, below any score and matched IoU
    here, nothing happens in either. With 0.75 it left all eight predictions but cut candidates of IoU < 0.75, which
    leaves one match; here the four predictions of score >= 0.75 match at IoU 0.5 and the others match nothing."""
    data = golden("utils_golden.npz", "ap_score_threshold")
    gt_match, pred_match, _ = metrics.compute_matches(*sample, **data.args)
    np.testing.assert_array_equal(gt_match, data.outs["gt_match"])
    np.testing.assert_array_equal(pred_match, data.outs["pred_match"])
    gt_match, pred_match, _ = metrics.compute_matches(*sample, iou_threshold=0.5, score_threshold=0.75)
    np.testing.assert_array_equal(pred_match, [3, 0, 1, 4, -1, -1, -1, -1])
    np.testing.assert_array_equal(gt_match, [1, 2, -1, 0, 3])


def test_instance_is_matched_once():
    """Two predictions on instance 0: early versions of the original tested `gt_match[0] > 0` and gave it to both."""
    mask, box, ids = np.ones((4, 4, 1), bool), np.array([[0, 0, 4, 4]]), np.array([1])
    twice = [np.repeat(box, 2, axis=0), np.array([1, 1]), np.array([0.6, 0.9]), np.repeat(mask, 2, axis=2)]
    gt_match, pred_match, _ = metrics.compute_matches(box, ids, mask, *twice)
    np.testing.assert_array_equal(gt_match, [0])
    np.testing.assert_array_equal(pred_match, [0, -1])


def test_ap_range(golden, sample, capsys):
    data = golden("utils_golden.npz", "ap_range")
    assert metrics.compute_ap_range(*sample) == pytest.approx(data.outs["AP"].item(), rel=1e-6)
    assert capsys.readouterr().out == str(data.outs["printed"])


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_ap_range_thresholds(golden, sample, capsys, kind):
    """An array raised ValueError in the original; it gives what the list of the same numbers gives."""
    assert golden("utils_golden.npz", "ap_range_array").raises.startswith("ValueError")
    data = golden("utils_golden.npz", "ap_range_list")
    result = metrics.compute_ap_range(*sample, iou_thresholds=kind(data.args["iou_thresholds"]), verbose=0)
    assert result == pytest.approx(data.outs["AP"].item(), rel=1e-6)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("case", ["ap_no_pred", "ap_no_gt"])
def test_one_side_empty(golden, sample, case):
    """No predictions: AP 0. No ground truth: undefined, nan, as in the original but without its warning."""
    data = golden("utils_golden.npz", case)
    given = sample[:3] + nothing("pred") if case == "ap_no_pred" else nothing("gt") + sample[3:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = metrics.compute_ap(*given)
    for value, name in zip(result, ["mAP", "precisions", "recalls", "overlaps"], strict=True):
        assert np.shape(value) == data.outs[name].shape
        np.testing.assert_allclose(value, data.outs[name], rtol=1e-6, err_msg=name)


def test_both_sides_empty():
    ap, _, _, overlaps = metrics.compute_ap(*nothing("gt"), *nothing("pred"))
    assert np.isnan(ap) and overlaps.shape == (0, 0)
    assert np.isnan(metrics.compute_ap_range(*nothing("gt"), *nothing("pred"), verbose=0))


@pytest.mark.parametrize("empty", [lambda a: np.array([]), lambda a: np.zeros(a.shape[:-1] + (0,), a.dtype)])
def test_empty_in_other_shapes(sample, empty):
    """np.array([]) and the default `Dataset.load_mask`'s [0, 0, 0] crashed the original."""
    no_boxes, no_masks = np.array([]), np.zeros((0, 0, 0), bool)
    gt_match, pred_match, overlaps = metrics.compute_matches(
        *sample[:3], no_boxes, np.array([]), np.array([]), empty(sample[6])
    )
    np.testing.assert_array_equal(gt_match, [-1] * 5)
    assert pred_match.shape == (0,) and overlaps.shape == (0, 5)
    gt_match, pred_match, overlaps = metrics.compute_matches(no_boxes, np.array([]), no_masks, *sample[3:])
    np.testing.assert_array_equal(pred_match, [-1] * 8)
    assert gt_match.shape == (0,) and overlaps.shape == (8, 0)


@pytest.mark.parametrize("case", ["recall_3", "recall_5", "recall_7"])
def test_recall(golden, case):
    data = golden("utils_golden.npz", case)
    recall, positive_ids = metrics.compute_recall(data.ins["pred_boxes"], data.ins["gt_boxes"], **data.args)
    assert recall == pytest.approx(data.outs["recall"].item(), rel=1e-12)
    np.testing.assert_array_equal(positive_ids, data.outs["positive_ids"])


def test_recall_of_nothing():
    box = np.array([[0, 0, 4, 4]])
    recall, positive_ids = metrics.compute_recall(np.zeros((0, 4)), box, 0.5)
    assert recall == 0 and positive_ids.shape == (0,)
    recall, positive_ids = metrics.compute_recall(box, np.array([]), 0.5)
    assert np.isnan(recall) and positive_ids.shape == (0,)


# AP of classes over many images


def squares(*corners, side=4, size=20):
    """Boxes [N, 4] and masks [size, size, N] of squares with these upper left corners."""
    boxes = np.array([[y, x, y + side, x + side] for y, x in corners], "int32").reshape(-1, 4)
    masks = np.zeros((size, size, len(boxes)), bool)
    for i, (y1, x1, y2, x2) in enumerate(boxes):
        masks[y1:y2, x1:x2, i] = True
    return boxes, masks


def image(gt, gt_ids, found, ids, scores, size=20):
    (gt_boxes, gt_masks), (boxes, masks) = squares(*gt, size=size), squares(*found, size=size)
    return gt_boxes, np.array(gt_ids, int), gt_masks, boxes, np.array(ids, int), np.array(scores, float), masks


def test_ap_per_class_by_hand():
    """Class 1: right 0.9, wrong 0.8, right 0.7 of three instances: precision 1 up to recall 1/3, 2/3 up to 2/3, then 0;
    that is 34 and 33 of 101 recalls. Class 2: all found. Class 3: found where there is none."""
    images = [
        image([(0, 0), (0, 10)], [1, 2], [(0, 0), (0, 10), (10, 0)], [1, 2, 3], [0.9, 0.2, 0.99]),
        image([(0, 0), (10, 10)], [1, 1], [(5, 5), (10, 10)], [1, 1], [0.8, 0.7]),
        image([], [], [], [], []),
    ]
    result = metrics.compute_ap_per_class(iter(images))
    assert list(result) == [1, 2, 3] and np.isnan(result[3])
    assert result[1] == pytest.approx((34 + 33 * 2 / 3) / 101) and result[2] == pytest.approx(1)
    # An image without instances in which something is found costs precision.
    images.append(image([], [], [(5, 5)], [2], [0.9]))
    assert metrics.compute_ap_per_class(images)[2] == pytest.approx(0.5)


def test_what_lies_in_a_crowd_does_not_count():
    sample = image([(0, 0), (10, 10)], [1, -1], [(11, 11), (0, 0)], [1, 1], [0.9, 0.8])
    assert metrics.compute_ap_per_class([sample]) == {1: pytest.approx(1)}  # 9 of 16 pixels lie in the crowd
    sample = image([(0, 0), (10, 10)], [1, -1], [(12, 11), (0, 0)], [1, 1], [0.9, 0.8])
    assert metrics.compute_ap_per_class([sample]) == {1: pytest.approx(0.5)}  # 6 of 16
    sample = image([(0, 0), (10, 10)], [1, -2], [(10, 10), (0, 0)], [1, 1], [0.9, 0.8])
    assert metrics.compute_ap_per_class([sample]) == {1: pytest.approx(0.5)}  # another class's crowd


def test_only_the_best_detections_count():
    sample = image([(0, 0)], [1], [(5, 5), (0, 0)], [1, 1], [0.9, 0.8])
    assert metrics.compute_ap_per_class([sample], max_detections=1) == {1: 0}


@pytest.mark.parametrize("seed", range(4))
def test_mean_of_classes_is_cocos_ap50(seed):
    """Random squares around random instances, some of them crowds, through pycocotools and through ours."""
    rng = np.random.default_rng(seed)
    classes, truth, results, images = 5, [], [], []
    for image_id in range(12):
        gt = rng.integers(0, 26, (rng.integers(0, 8), 2))
        ids = rng.integers(1, classes, len(gt)) * rng.choice([1, 1, 1, -1], len(gt))  # class 5 never occurs
        repeats = rng.integers(0, 3, len(gt))
        found = np.clip(np.repeat(gt, repeats, axis=0) + rng.choice([-1, 0, 0, 0, 1], (repeats.sum(), 2)), 0, 26)
        classes_found = np.where(rng.random(len(found)) < 0.85, np.repeat(np.abs(ids), repeats), classes)
        images.append(image(gt, ids, found, classes_found, rng.permutation(len(found)) + rng.random(), size=30))
        gt_boxes, _, gt_masks, boxes, _, scores, masks = images[-1]
        for (y1, x1, y2, x2), class_id, mask in zip(gt_boxes, ids, np.moveaxis(gt_masks, -1, 0), strict=True):
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": image_id,
                    "category_id": int(abs(class_id)),
                    "segmentation": encode_rle(mask),
                    "area": int(mask.sum()),
                    "bbox": [int(x1), int(y1), int(x2 - x1), int(y2 - y1)],
                    "iscrowd": int(class_id < 0),
                }
            )
        results += to_coco_results(
            SimpleNamespace(
                image_info=[{"id": i} for i in range(12)], class_info=[{"id": i} for i in range(classes + 1)]
            ),
            image_id,
            {"rois": boxes, "class_ids": classes_found, "scores": scores, "masks": masks},
        )
    dataset = {
        "images": [{"id": i, "height": 30, "width": 30} for i in range(12)],
        "annotations": truth,
        "categories": [{"id": i, "name": str(i)} for i in range(1, classes + 1)],
    }
    expected = coco_metrics(index(dataset), results, range(12), "segm")
    ours = metrics.compute_ap_per_class(images)
    for class_id, value in ours.items():
        theirs = expected["per_class"][str(class_id)]["AP50"]
        assert value == pytest.approx(theirs, abs=1e-9) if not np.isnan(value) else theirs == -1
    assert np.nanmean(list(ours.values())) == pytest.approx(expected["AP50"], abs=1e-9)
    assert 0.05 < expected["AP50"] < 0.95
    np.testing.assert_allclose(
        np.nanmean(list(metrics.compute_ap_per_class(images, 0.75).values())), expected["AP75"], atol=1e-9
    )
