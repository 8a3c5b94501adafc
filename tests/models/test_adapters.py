"""Detections in supervision and SAHI, where these are installed."""

import types

import numpy as np
import pytest

from mrcnn.models.adapters import sahi_model, to_supervision
from mrcnn.ops.masks import encode_rle

NAMES = ["BG", "cat", "Hündin"]


def result(height=40, width=60):
    masks = np.zeros((height, width, 2), bool)
    masks[4:14, 5:25, 0] = masks[20:30, 30:40, 1] = True
    rois = np.array([[4, 5, 14, 25], [20, 30, 30, 40]])
    return {"rois": rois, "class_ids": np.array([2, 1]), "scores": np.array([0.9, 0.2]), "masks": masks}


def test_supervision_has_boxes_masks_scores_and_names():
    supervision = pytest.importorskip("supervision", reason="supervision is not installed")
    found = to_supervision(result(), NAMES)
    assert isinstance(found, supervision.Detections) and len(found) == 2
    assert found.xyxy.tolist() == [[5, 4, 25, 14], [30, 20, 40, 30]] and found.class_id.tolist() == [2, 1]
    assert found.mask.shape == (2, 40, 60) and found.mask[0].sum() == 200
    assert found["class_name"].tolist() == ["Hündin", "cat"]
    assert found[found.confidence > 0.5].area.tolist() == [200]
    empty = {"rois": np.zeros((0, 4)), "class_ids": np.zeros(0, int), "scores": np.zeros(0)}
    assert len(to_supervision(empty)) == 0 and to_supervision(empty).mask is None


def test_sahi_puts_slices_together():
    """A bright square in a large image, found in slices by its brightness."""
    pytest.importorskip("sahi", reason="SAHI is not installed")
    from sahi.predict import get_sliced_prediction

    def detect(images):
        (image,) = images
        mask = image[..., 0] > 100
        if not mask.any():
            return [
                {"rois": np.zeros((0, 4)), "class_ids": [], "scores": [], "masks": np.zeros((*mask.shape, 0), bool)}
            ]
        (y1, x1), (y2, x2) = np.argwhere(mask).min(axis=0), np.argwhere(mask).max(axis=0) + 1
        return [{"rois": np.array([[y1, x1, y2, x2]]), "class_ids": [1], "scores": [0.9], "masks": mask[..., None]}]

    image = np.zeros((200, 300, 3), "uint8")
    image[70:90, 110:140] = 200  # whole in several slices
    model = sahi_model(types.SimpleNamespace(detect=detect), NAMES)
    found = get_sliced_prediction(
        image,
        model,
        slice_height=100,
        slice_width=100,
        overlap_height_ratio=0.5,
        overlap_width_ratio=0.5,
        perform_standard_pred=False,
        verbose=0,
    ).object_prediction_list
    (one,) = found
    assert one.bbox.to_xyxy() == [110, 70, 140, 90] and one.category.name == "cat"
    assert one.mask.bool_mask[75, 120] and not one.mask.bool_mask[60, 120]


def test_supervision_has_tracks_and_masks_as_run_lengths():
    """As `detect` gives them for large images, and --track for videos; 0 there is an object that nobody follows."""
    supervision = pytest.importorskip("supervision", reason="supervision is not installed")
    whole = result()
    codes = [encode_rle(whole["masks"][..., k]) for k in range(2)]
    found = to_supervision({**whole, "masks": codes, "track_ids": np.array([7, 0])}, NAMES)
    assert isinstance(found, supervision.Detections)
    assert (found.mask == np.moveaxis(whole["masks"], -1, 0)).all() and found.tracker_id.tolist() == [7, -1]
    empty = {"rois": np.zeros((0, 4)), "class_ids": [], "scores": [], "masks": []}
    assert len(to_supervision(empty, NAMES)) == 0
