"""What is advised for a set: against all anchors of a config, and by hand."""

import shlex
from array import array
from pathlib import Path

import numpy as np
import pytest
from kites import KiteConfig

from mrcnn.cli.arguments import parse_settings
from mrcnn.data.advice import advise, best_ious, boxes_of, objects_of, pasted
from mrcnn.data.anchors import pyramid_anchors
from mrcnn.data.annotations import Annotation
from mrcnn.data.dataset import Dataset
from mrcnn.ops.boxes import overlaps


def annotated(images, shape=(128, 128)):
    """A set of images with boxes (x, y, width, height)."""
    dataset = Dataset()
    dataset.add_class("a", 1, "thing")
    for i, boxes in enumerate(images):
        objects = [Annotation(k, i, 1, (), box=array("d", box)) for k, box in enumerate(boxes)]
        dataset.add_image("a", i, None, height=shape[0], width=shape[1], annotations=objects)
    dataset.load_annotations = lambda i: dataset.image_info[i]["annotations"]
    dataset.prepare()
    return dataset


def config(**settings):
    return KiteConfig().update(**{"IMAGE_MIN_DIM": 128, "IMAGE_MAX_DIM": 128, **settings})


def test_boxes_are_where_the_network_sees_them():
    """Twice as large, and 32 pixels further down, where an image of 32 x 64 lies in a square of 128."""
    crowd = Annotation(5, 0, 1, (), box=array("d", [0, 0, 9, 9]), crowd=True)
    dataset = annotated([[(10, 4, 20, 8)], []], shape=(32, 64))
    dataset.image_info[0]["annotations"].append(crowd)
    found = boxes_of(dataset, config(IMAGE_MIN_DIM=64))
    np.testing.assert_allclose(found.pixels, [(32 + 8, 20, 32 + 24, 60)])
    assert found.scale == 2 and [len(x.boxes) for x in objects_of(dataset)] == [1, 0]


def test_the_best_of_all_anchors():
    """As comparing with every anchor says, for boxes that do not reach the border."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(20, 60, (40, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(4, 40, (40, 2))], axis=1)
    for settings in ({}, {"RPN_ANCHOR_STRIDE": 2}, {"RPN_ANCHORS": "rounded"}):
        c = config(**settings)
        every = overlaps(boxes, pyramid_anchors(c, (128, 128))).max(axis=1)
        np.testing.assert_allclose(best_ious(boxes, c.RPN_ANCHOR_SCALES, c.RPN_ANCHOR_RATIOS, c), every)


def test_anchors_that_fit_stay():
    boxes = [(64 - side / 2, 64 - side / 2, side, side) for side in (16, 32, 64)]
    c = config(RPN_ANCHOR_SCALES=(8, 16, 32, 64, 128))
    found = advise(annotated([boxes]), c)
    assert found.settings == {}
    line = "0.0% of the objects are matched by no anchor at an IoU of 0.5; the mean of the best IoU is 1.000."
    assert f"At IMAGE_MAX_DIM = 128 {line}" in found.lines


def test_anchors_for_tall_objects():
    """Ten times as high as wide: no anchor of the ratios 0.5 to 2 shares a half with them."""
    boxes = [(20 + 12 * i, 24, 8, 80) for i in range(6)]
    c = config(RPN_ANCHOR_SCALES=(8, 16, 32, 64, 128), RPN_ANCHOR_RATIOS=[0.5, 1, 2])
    found = advise(annotated([boxes]), c)
    assert any("100.0% of the objects are matched by no anchor" in line for line in found.lines)
    assert found.settings["RPN_ANCHOR_RATIOS"] == [0.1, 0.1, 0.1]
    scales = found.settings["RPN_ANCHOR_SCALES"]
    assert len(scales) == 5 and min(abs(scale - np.sqrt(640)) for scale in scales) < 4
    c.update(**found.settings)
    assert advise(annotated([boxes]), c).settings == {}


def test_anchors_for_lines():
    """Of 2 by 500 pixels: a ratio of 0.004 is not 0, which no config has."""
    c = config(IMAGE_MIN_DIM=512, IMAGE_MAX_DIM=512, RPN_ANCHOR_RATIOS=[1])
    found = advise(annotated([[(11 + 20 * i, 10, 2, 500) for i in range(5)]], shape=(512, 512)), c)
    assert found.settings["RPN_ANCHOR_RATIOS"] == [0.004]


def test_anchors_for_two_shapes():
    """Wide and tall ones, ten to one: no ratio between these."""
    boxes = [(24, 20 + 12 * i, 80, 8) for i in range(3)] + [(20 + 12 * i, 24, 8, 80) for i in range(3)]
    found = advise(annotated([boxes]), config(RPN_ANCHOR_SCALES=(8, 16, 32, 64, 128), RPN_ANCHOR_RATIOS=[0.5, 1, 2]))
    assert set(found.settings["RPN_ANCHOR_RATIOS"]) == {0.1, 10.0}
    assert "Those below leave 0.0% unmatched" in found.lines[-1]


def test_how_many_objects():
    """61 objects: GT_INSTANCES up to the next ten, detections half as many more."""
    images = [[(64, 64, 32, 32)] * 61, [(64, 64, 32, 32)] * 3]
    limits = {"DETECTION_MAX_INSTANCES": 73, "POST_NMS_ROIS_INFERENCE": 73}
    c = config(MAX_GT_INSTANCES=60, **limits, RPN_ANCHOR_SCALES=(8, 16, 32, 64, 128))
    found = advise(annotated(images), c)
    assert found.settings == {"MAX_GT_INSTANCES": 70, **dict.fromkeys(limits, 100)}
    assert "The most objects in an image are 61; the mean is 32.0." in found.lines
    c.update(MAX_GT_INSTANCES=61, **dict.fromkeys(limits, 74))
    assert advise(annotated(images), c).settings == {}
    c.update(DETECTOR="retinanet", USE_MASK=False, DENSE_CANDIDATES=50, POST_NMS_ROIS_INFERENCE=1)
    assert advise(annotated(images), c).settings == {"DENSE_CANDIDATES": 100}


def test_of_a_box_beyond_the_image_the_part_in_it_counts():
    """16 of 40 pixels across; one outside counts nothing."""
    found = boxes_of(annotated([[(112, 8, 40, 20), (-30, 0, 20, 20)]]), config())
    np.testing.assert_allclose(found.pixels, [(8, 112, 28, 128)])


def test_crops_show_a_part_of_the_objects():
    """Of 4 x 8 squares of 20 pixels, 64 apart, a crop of 128 shows 3 x 3 at most where it begins beside one."""
    boxes = [(64 * x + 22, 64 * y + 22, 20, 20) for x in range(8) for y in range(4)]
    crop = config(IMAGE_RESIZE_MODE="crop", MAX_GT_INSTANCES=5, DETECTION_MAX_INSTANCES=10)
    found = advise(annotated([boxes, []], shape=(256, 512)), crop)
    assert "The most objects in an image are 32, and in a part of 128 pixels 9; the mean is 16.0." in found.lines
    assert found.settings["MAX_GT_INSTANCES"] == 10
    assert found.settings["DETECTION_MAX_INSTANCES"] == 50  # of whole images


def test_anchors_for_images_of_many_sizes():
    """Squares of 32 pixels are 38, 51, 64, 77 and 90 in these; an anchor of 32 is the first one's alone."""
    dataset = annotated([[(48, 48, 32, 32)]])
    settings = {"RPN_ANCHOR_SCALES": (4, 8, 32, 256, 512), "RPN_ANCHOR_RATIOS": (1,)}
    assert "RPN_ANCHOR_SCALES" not in advise(dataset, config(**settings)).settings
    found = advise(dataset, config(**settings, SCALE_JITTER=(1, 3)))
    (line,) = [x for x in found.lines if "SCALE_JITTER" in x]
    assert line.startswith("At IMAGE_MAX_DIM = 128 and SCALE_JITTER = 1,3 80.0% of the objects")
    assert "Those below leave 0.0% unmatched" in found.lines[-1]
    # What is larger than the image is cut to it.
    assert boxes_of(dataset, config(IMAGE_RESIZE_MODE="crop", IMAGE_MIN_DIM=64)).pixels.tolist() == [[48, 48, 80, 80]]


def test_images_for_small_objects():
    """Sides of 4 pixels in images of 512, seen at 256 as 2, where 16 are wanted; at most twice the image."""
    found = advise(annotated([[(100, 100, 4, 4)]], shape=(512, 512)), config(IMAGE_MIN_DIM=256, IMAGE_MAX_DIM=256))
    assert found.settings["IMAGE_MAX_DIM"] == 1024 and found.settings["IMAGE_MIN_DIM"] == 1024
    assert any("100% of them are under 16 pixels, and 100% under 8, which" in line for line in found.lines)
    assert any(line.startswith("At IMAGE_MAX_DIM = 1024 ") for line in found.lines)  # anchors are for these


def test_images_for_objects_that_are_not_tiny():
    found = advise(annotated([[(100, 100, 12, 12)]], shape=(256, 256)), config(IMAGE_MIN_DIM=256, IMAGE_MAX_DIM=256))
    assert found.settings["IMAGE_MAX_DIM"] == 384
    assert any("100% of them are under 16 pixels, and 0% under 8, which" in line for line in found.lines)


def test_one_thumbnail_keeps_no_images_small():
    """Of 32 pixels, which grow eight times, where the others are halved."""
    dataset = annotated([[(100, 100, 12, 12)]] * 9 + [[(4, 4, 9, 9)]], shape=(512, 512))
    dataset.image_info[-1].update(height=32, width=32)
    found = advise(dataset, config(IMAGE_MIN_DIM=256, IMAGE_MAX_DIM=256))
    assert found.settings["IMAGE_MAX_DIM"] == 704  # 6 pixels come to 16


def test_smaller_images_for_large_objects():
    """128 pixels in images enlarged 16 times: 64 in 8 times as large ones; twice the image would leave 16."""
    found = advise(annotated([[(10, 10, 8, 8)]], shape=(64, 64)), config(IMAGE_MIN_DIM=1024, IMAGE_MAX_DIM=1024))
    assert any("images of 512 would do, at 25% of the work" in line for line in found.lines)


@pytest.mark.parametrize("shape, sides, wanted", [(512, (256, 1024), 1024), (128, (0, 512), 256)])
def test_images_that_do_not_fill_the_square(shape, sides, wanted):
    """A larger square brings padding alone where IMAGE_MIN_DIM asks for no larger image: both sides are advised."""
    c = config(IMAGE_MIN_DIM=sides[0], IMAGE_MAX_DIM=sides[1])
    dataset = annotated([[(60, 60, 6, 6)]], shape=(shape, shape))
    found = advise(dataset, c)
    sizes = {name: value for name, value in found.settings.items() if name.startswith("IMAGE")}
    assert sizes == {"IMAGE_MIN_DIM": wanted, "IMAGE_MAX_DIM": wanted}
    assert sides[1] == c.IMAGE_MAX_DIM
    y1, _, y2, _ = boxes_of(dataset, c.update(**sizes)).pixels[0]
    assert y2 - y1 == 12  # twice the image, at most
    assert not any(name.startswith("IMAGE") for name in advise(dataset, c).settings)


def test_images_that_cannot_be_read_are_passed_over():
    dataset = annotated([[(64, 64, 32, 32)], [(64, 64, 8, 8)]])
    load = dataset.load_annotations
    dataset.load_annotations = lambda i: load(i) if i == 0 else Path("no/such.png").read_bytes()
    assert advise(dataset, config()).lines[0].startswith("1 objects in 2 images")
    dataset.load_annotations, dataset.image_info[1]["height"] = load, None  # whose size the file alone would say
    assert advise(dataset, config()).lines[0].startswith("1 objects in 2 images")


def test_sets_and_detectors_without():
    with pytest.raises(ValueError, match="The set has no objects"):
        advise(annotated([[]]), config())
    lines = advise(annotated([[(64, 64, 32, 32)]]), config(DETECTOR="centernet", USE_MASK=False)).lines
    assert not any("anchor" in line for line in lines)


def test_lines_to_paste():
    settings = {"RPN_ANCHOR_SCALES": [8.0, 16.5], "MAX_GT_INSTANCES": 70}
    assert pasted(settings) == '"RPN_ANCHOR_SCALES=[8.0,16.5]" MAX_GT_INSTANCES=70'
    assert parse_settings(shlex.split(pasted(settings))) == settings
