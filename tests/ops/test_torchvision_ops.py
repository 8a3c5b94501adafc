"""torchvision's own operations on the same arrays: suppression, overlaps, RoIAlign."""

import numpy as np
import pytest
from keras import ops
from real_data import ROOT
from whole import whole

from mrcnn.ops import boxes
from mrcnn.ops.nms import nms, nms_indices
from mrcnn.ops.roi_align import crop_and_resize

PATH = ROOT.parent / "shared" / "golden" / "torchvision" / "torchvision_ops.npz"
pytestmark = pytest.mark.skipif(not PATH.is_file(), reason="torchvision's numbers are not in ../shared")


@pytest.fixture(scope="module")
def gold():
    return dict(np.load(PATH))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_suppression(threshold, gold):
    given, scores = gold["boxes_x1y1x2y2"][:, [1, 0, 3, 2]], gold["scores"]
    np.testing.assert_array_equal(nms(given, scores, threshold), gold[f"nms_{threshold}"])
    order = np.argsort(-scores)
    for groups, expected in ((None, f"nms_{threshold}"), (gold["groups"][order][None], f"batched_nms_{threshold}")):
        kept, valid = nms_indices(
            ops.convert_to_tensor(given[order][None].astype("float32")),
            ops.ones((1, len(order)), "bool"),
            threshold,
            len(order),
            None if groups is None else ops.convert_to_tensor(groups),
        )
        kept = order[ops.convert_to_numpy(kept)[0][ops.convert_to_numpy(valid)[0]]]
        np.testing.assert_array_equal(kept, gold[expected])


def test_overlaps(gold):
    given = gold["boxes_x1y1x2y2"][:, [1, 0, 3, 2]].astype(float)
    np.testing.assert_allclose(boxes.overlaps(given, given), gold["soft_iou"], atol=1e-6)


@pytest.mark.parametrize("sampling, aligned", [("bins", False), ("aligned", True)])
def test_roi_align(sampling, aligned, gold):
    maps, rois = gold["feature_nchw"].transpose(0, 2, 3, 1), gold["rois_b_x1y1x2y2"]
    expected = gold[f"roi_align_7_scale_1_16_aligned_{aligned}_samples_2"].transpose(0, 2, 3, 1)
    height, width = maps.shape[1:3]
    for i, x in enumerate(maps):
        own = np.flatnonzero(rois[:, 0] == i)
        given = rois[own][:, [2, 1, 4, 3]] / 16 / (height, width, height, width)
        cells = np.ones((1, len(own)), "int32")
        arrays = [x.reshape(1, -1, x.shape[-1]), cells * 0, cells * height, cells * width, given[None]]
        arrays[-1] = arrays[-1].astype("float32")
        found = whole(lambda *x: crop_and_resize(*x, (7, 7), sampling))(*map(ops.convert_to_tensor, arrays))
        np.testing.assert_allclose(ops.convert_to_numpy(found)[0], expected[own], atol=1e-4)
