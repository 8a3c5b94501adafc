"""Sizes of a set's boxes, and the anchors that k-means finds in them."""

from array import array

import numpy as np
import pytest
from kites import KiteConfig, Kites

from mrcnn.data.annotations import Annotation, RunLengths
from mrcnn.data.clusters import anchor_sizes, box_sizes, yolo_anchors
from mrcnn.data.dataset import Dataset
from mrcnn.ops.masks import encode_rle


def annotated(*objects, shape=(32, 64)):
    """A set of one image."""
    dataset = Dataset()
    dataset.add_class("a", 1, "thing")
    dataset.add_image("a", 0, None, height=shape[0], width=shape[1], annotations=list(objects))
    dataset.prepare()
    return dataset


def test_sizes_are_where_the_network_sees_them():
    mask = np.zeros((32, 64), bool)
    mask[3:8, 10:30] = True
    dataset = annotated(
        Annotation(1, 0, 1, (), box=array("d", [0, 0, 10, 4])),
        Annotation(2, 0, 1, (), box=array("d", [0, 0, 30, 4]), crowd=True),
        Annotation(3, 0, 1, (array("d", [1, 2, 7, 2, 7, 10]),)),
        Annotation(4, 0, 1, RunLengths((32, 64), encode_rle(mask)["counts"])),
    )
    config = KiteConfig().update(IMAGE_MIN_DIM=64, IMAGE_MAX_DIM=128)
    np.testing.assert_allclose(box_sizes(dataset, config), 2 * np.array([(10, 4), (6, 8), (20, 5)]))
    config.update(IMAGE_RESIZE_MODE="stretch", DETECTOR="yolo_v1", BACKBONE_STRIDES=[16], RPN_ANCHOR_SCALES=[16])
    np.testing.assert_allclose(box_sizes(dataset, config), np.array([(10, 4), (6, 8), (20, 5)]) * [2, 4])


def test_masks_alone_are_enough():
    config, (y1, x1, y2, x2) = KiteConfig(), next(Kites().boxes(0))
    np.testing.assert_array_equal(box_sizes(Kites(1), config), [(x2 - x1, y2 - y1)])


def test_anchors_for_a_set():
    rows = [(10, 20), (11, 21), (40, 30), (41, 30), (100, 100), (101, 101)] * 5
    objects = [Annotation(i, 0, 1, (), box=array("d", [0, 0, *size])) for i, size in enumerate(rows)]
    dataset = annotated(*objects, shape=(128, 128))
    config = KiteConfig().update(IMAGE_MAX_DIM=128, YOLO_ANCHORS=[[[1, 1]]] * 3)
    sizes, iou = anchor_sizes(dataset, config, 3)
    np.testing.assert_allclose(sizes, [(10.5, 20.5), (40.5, 30), (100.5, 100.5)])
    assert 0.95 < iou < 1
    assert yolo_anchors(dataset, config) == [[[10.5, 20.5]], [[40.5, 30.0]], [[100.5, 100.5]]]
    config.update(YOLO_ANCHORS=[[[1, 1]] * 3] * 3)
    assert yolo_anchors(dataset, config) == config.YOLO_ANCHORS  # of more sizes than there are
    with pytest.raises(ValueError, match="objects of 6 sizes alone"):
        anchor_sizes(dataset, config, 9)
    with pytest.raises(ValueError, match="no objects"):
        anchor_sizes(annotated(), config, 3)
