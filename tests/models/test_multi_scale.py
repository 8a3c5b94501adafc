"""Several views of an image put together, by hand, and through a detector that knows where its objects are."""

from types import SimpleNamespace

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.models.multi_scale import MultiScale, together
from mrcnn.ops.masks import encode_rle


def result(*objects, points=None):
    """What `detect` gives for objects (box, class, score), each with its box as mask, in an image of 20 x 30."""
    boxes, class_ids, scores = (list(x) for x in zip(*objects, strict=True)) if objects else ([], [], [])
    masks = np.zeros((len(boxes), 20, 30), bool)
    for mask, (y1, x1, y2, x2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
    found = {
        "rois": np.array(boxes, "int32").reshape(-1, 4),
        "class_ids": np.array(class_ids, "int32"),
        "scores": np.array(scores, "float32"),
        "masks": [encode_rle(mask) for mask in masks],
    }
    return found if points is None else {**found, "keypoints": np.array(points, "float32")}


def test_boxes_and_masks_vote():
    """Two views of one object, 0.75 and 0.25 of the votes; another class and another place stay by themselves."""
    one = result(((0, 0, 10, 10), 1, 0.9), ((0, 0, 10, 10), 2, 0.5))
    two = result(((0, 0, 10, 14), 1, 0.3), ((10, 20, 20, 30), 1, 0.2))
    found = together([one, two], 0.5, 100)
    assert found["class_ids"].tolist() == [1, 2, 1]
    np.testing.assert_allclose(found["scores"], [0.9, 0.5, 0.2])
    np.testing.assert_allclose(found["rois"][0], [0, 0, 10, 11], atol=1e-5)
    np.testing.assert_allclose(found["rois"][1:], [(0, 0, 10, 10), (10, 20, 20, 30)])
    assert found["masks"][0].sum() == 100  # a quarter of the votes for the rest
    assert together([one, two], 0.8, 100)["class_ids"].tolist() == [1, 2, 1, 1]  # an IoU of 100 / 140
    assert len(together([one, two], 0.5, 2)["scores"]) == 2


def test_with_nms_of_all_classes_the_best_class_wins():
    """The other class at its place goes without a vote, of whatever view."""
    one = result(((0, 0, 10, 10), 1, 0.9), ((10, 20, 20, 30), 2, 0.2))
    two = result(((0, 0, 10, 14), 2, 0.5))
    found = together([one, two], 0.5, 100, across=True)
    assert found["class_ids"].tolist() == [1, 2]
    np.testing.assert_allclose(found["rois"], [(0, 0, 10, 10), (10, 20, 20, 30)])


def test_nothing_found():
    found = together([result(), result()], 0.5, 100)
    assert found["rois"].shape == (0, 4) and found["masks"] == []


class Known:
    """A detector that sees the bright pixels of an image as one object, whose left point is its left edge."""

    def __init__(self):
        self.config = Config().update(NUM_KEYPOINTS=2, KEYPOINT_FLIP_PAIRS=[(0, 1)])
        self.config.update(IMAGE_MIN_DIM=128, IMAGE_MAX_DIM=192)
        self.keras_model, self.sizes, self.least = None, [], []

    def detect(self, images, rle):
        self.sizes.append((self.config.IMAGE_MIN_DIM, self.config.IMAGE_MAX_DIM))
        self.least.append(self.config.IMAGE_MIN_SCALE)
        found = []
        for image in images:
            y, x = np.nonzero(image[..., 0])
            box = (y.min(), x.min(), y.max() + 1, x.max() + 1)
            found.append(result((box, 1, 0.5), points=[[(x.min(), 5, 1), (x.max(), 5, 1)]]))
        return found


def test_mirrored_views_are_turned_back():
    image = np.zeros((20, 30, 3), "uint8")
    image[2:8, 4:10] = 255
    detector = Known()
    (found,) = MultiScale(detector, (0.5, 1.0)).detect([image])
    assert detector.sizes == [(64, 128)] * 2 + [(128, 192)] * 2 and detector.config.IMAGE_MAX_DIM == 192
    np.testing.assert_allclose(found["rois"], [(2, 4, 8, 10)])
    np.testing.assert_array_equal(found["masks"][..., 0], image[..., 0] > 0)
    np.testing.assert_allclose(found["keypoints"], [[(4, 5, 1), (9, 5, 1)]])  # left stays left
    assert found["rois"].dtype == found["keypoints"].dtype == np.float32


def test_objects_without_keypoints_have_none_in_a_mirror():
    """As of a class that KEYPOINT_CLASSES leaves out."""
    detector = Known()
    detector.detect = lambda images, rle: [result(((2, 4, 8, 10), 1, 0.5), points=np.zeros((1, 2, 3)))]
    (found,) = MultiScale(detector, (1.0,)).detect([np.zeros((20, 30, 3), "uint8")])
    assert not found["keypoints"].any()


def test_one_of_the_sizes_is_the_images_own():
    """800 is no multiple of 64, and need not be one, unless the shorter side is padded to it."""
    image = np.full((20, 30, 3), 255, "uint8")
    seen = {}
    for mode, least in (("square", 800), ("pad64", 768)):
        detector = Known()
        detector.config.update(IMAGE_RESIZE_MODE=mode, IMAGE_MIN_DIM=least, IMAGE_MAX_DIM=1024, IMAGE_MIN_SCALE=2.0)
        MultiScale(detector, (1.0, 0.55), flip=False).detect([image])
        seen[mode] = detector.sizes, detector.least
    assert seen["square"] == ([(800, 1024), (440, 576)], [2, 1.1])
    assert seen["pad64"] == ([(768, 1024), (448, 576)], [2, 1.1])
    detector.config.update(IMAGE_RESIZE_MODE="none")
    with pytest.raises(ValueError, match="IMAGE_RESIZE_MODE is 'none'"):
        MultiScale(detector)


def test_detectors_of_one_size_are_refused():
    config = SimpleNamespace(DETECTOR="ssd", by_pixels=False, takes_proposals=False)
    with pytest.raises(ValueError, match="A ssd does not look at several sizes"):
        MultiScale(SimpleNamespace(config=config, keras_model=None))


@pytest.mark.parametrize(
    "scales, words",
    [
        (0.5, "0.5; it must be a sequence of numbers."),
        ([], r"\[\]; it must be a sequence of numbers."),
        ("1", "'1'; it must be a sequence of numbers."),
        ((1, 0), r"\(1, 0\); it must be above 0."),
    ],
)
def test_scales_that_cannot_be(scales, words):
    with pytest.raises(ValueError, match=f"^scales is {words}$"):
        MultiScale(Known(), scales)
    assert MultiScale(Known(), np.array([1, 0.5])).scales == (1, 0.5)
