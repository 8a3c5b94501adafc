import numpy as np
import pytest
import scipy.ndimage

from mrcnn.ops import images, masks
from mrcnn.ops.refine import refine


def star():
    """An image of a flower whose edge is sharp in colour, its mask, box, and the network's blurred 28 x 28 cells."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:160, :200] - np.array([80, 100])[:, None, None]
    mask = np.hypot(y, x) < 50 + 12 * np.cos(7 * np.arctan2(y, x))
    image = np.where(mask[..., None], (200, 80, 60), (60, 120, 180)) + rng.normal(0, 15, (160, 200, 3))
    box = masks.extract_bboxes(mask[..., None])[0]
    y1, x1, y2, x2 = box
    cells = images.resize(mask[y1:y2, x1:x2], (28, 28), anti_aliasing=True)
    cells = scipy.ndimage.gaussian_filter(cells, 1.5, mode="constant")
    return np.clip(image, 0, 255).astype("uint8"), mask, box, cells


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def test_refine_finds_the_edge_of_colours():
    pytest.importorskip("cv2", reason="OpenCV does not import", exc_type=ImportError)
    image, mask, box, cells = star()
    plain = masks.unmold_mask(cells, box, image.shape)
    refined = refine(image, cells, box)
    assert refined.dtype == bool and refined.shape == mask.shape
    assert iou(plain, mask) < 0.92 and iou(refined, mask) > 0.99
    y1, x1, y2, x2 = box
    assert iou(refine(image, plain[y1:y2, x1:x2], box), mask) > iou(plain, mask) + 0.05
    np.testing.assert_array_equal(refine(image.astype("float32"), cells, tuple(box)), refined)
    assert iou(refine(image[..., :1], cells, box), mask) > 0.99
    assert iou(refine(image, cells, box, certain=0.5), plain) == 1  # nothing is left to decide


def test_refined_masks_stay_in_their_box_and_between_their_seeds():
    pytest.importorskip("cv2", reason="OpenCV does not import", exc_type=ImportError)
    image, _, box, cells = star()
    noise = np.random.default_rng(1).integers(0, 256, image.shape).astype("uint8")
    refined = refine(noise, cells, box, certain=0.8)
    y1, x1, y2, x2 = box
    value = np.zeros(image.shape[:2])
    value[y1:y2, x1:x2] = images.resize(cells, (y2 - y1, x2 - x1))
    assert refined[value > 0.801].all() and not refined[value < 0.199].any()
    assert 0 < refined[(value > 0.2) & (value < 0.8)].mean() < 1


@pytest.mark.parametrize("box", [(0, 0, 160, 200), (5, 5, 5, 9), (5, 5, 6, 6), (150, 190, 160, 200)])
@pytest.mark.parametrize("value", [0.0, 1.0, False, True])
def test_refine_of_nothing_and_of_everything(box, value):
    pytest.importorskip("cv2", reason="OpenCV does not import", exc_type=ImportError)
    image = np.full((160, 200, 3), 100, "uint8")
    mask = np.full((28, 28), value)
    np.testing.assert_array_equal(refine(image, mask, box), masks.unmold_mask(mask, box, image.shape))
