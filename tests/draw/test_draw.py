import numpy as np
import pytest
from scenes import CORNER, NAMES, assert_inside_and_disjoint, crowd, limb_paints, people, scene

from mrcnn.config import Config
from mrcnn.draw import instances as draw
from mrcnn.ops import boxes as box_math
from mrcnn.ops import keypoints

# Colours and masks


def test_random_colors_are_distinct_and_always_the_same():
    colors = draw.random_colors(50)
    assert len(set(colors)) == 50 and colors == draw.random_colors(50)
    assert all(max(color) == 1.0 and min(color) == 0.0 for color in colors)
    assert all(max(color) == pytest.approx(0.7) for color in draw.random_colors(5, bright=False))
    assert colors != sorted(colors)
    assert draw.random_colors(0) == []


def test_apply_mask_blends_exactly_and_in_place():
    image = np.full((2, 2, 3), (100, 101, 0), "uint8")
    mask = np.array([[1, 0], [0, 0]])
    returned = draw.apply_mask(image, mask, (1.0, 0.5, 0.0), alpha=0.25)
    assert returned is image
    # 100 * 0.75 + 0.25 * 255 = 138.75 and 101 * 0.75 + 0.25 * 127.5 = 107.625, cut
    assert image[0, 0].tolist() == [138, 107, 0]
    assert image[1, 1].tolist() == image[0, 1].tolist() == [100, 101, 0]


def test_apply_mask_keeps_fractions_of_float_images():
    image = draw.apply_mask(np.full((1, 1, 3), 101.0), np.ones((1, 1), bool), (1, 0, 0))
    assert image[0, 0].tolist() == [178.0, 50.5, 50.5]


def test_draw_box_paints_two_pixels_and_forgives_the_edge():
    image = draw.draw_box(np.zeros((10, 10, 3), "uint8"), np.array([2, 3, 7, 8]), [9, 9, 9])
    painted = image[..., 0] == 9
    assert painted[2:4, 3:8].all() and painted[7:9, 3:8].all() and painted[2:7, 3:5].all() and painted[2:7, 8:10].all()
    assert painted.sum() == 10 + 10 + 2 * 3 + 2 * 5
    assert draw.draw_box(np.zeros((10, 10, 3)), np.array([-3, -3, 20, 20]), [1, 1, 1])[:2].all()


# Line widths and labels


@pytest.mark.parametrize(
    ("score", "threshold", "width"),
    [(0.05, 0, 1), (0.1, 0, 1), (0.95, 0, 10), (1.0, 0, 10), (0.8, 0.7, 1), (0.81, 0.7, 2), (1, 0.7, 3), (0.2, 0.7, 1),
     (np.float32(0.9), 0.0, 9), (None, 0.7, 2)],
)  # fmt: skip
def test_line_width_counts_tenths_of_score_above_the_threshold(score, threshold, width):
    assert draw.line_width(score, threshold) == width


def test_line_width_counts_from_the_default_confidence():
    assert draw.SCORE_THRESHOLD == Config.DETECTION_MIN_CONFIDENCE
    assert [draw.line_width(score) for score in (0.3, 0.75, 0.85, 0.95)] == [1, 1, 2, 3]


def test_labels_want_to_be_above_their_boxes():
    places = draw.place_labels([[50, 20, 80, 60], [5, 60, 60, 99]], [[10, 30], [10, 30]], (100, 100))
    assert places.tolist() == [[40, 20, 50, 50], [0, 60, 10, 90]]


def test_labels_of_equal_boxes_are_stacked():
    places = draw.place_labels([[50, 20, 80, 60]] * 3, [[10, 30]] * 3, (100, 100))
    assert places[:, 0].tolist() == [40, 30, 50]
    assert places[:, 1].tolist() == [20, 20, 20]


def test_a_label_at_the_edge_leaves_its_small_object_free():
    large, small = draw.place_labels([[0, 20, 40, 60], [0, 70, 8, 78]], [[12, 30], [12, 30]], (100, 100))
    assert large.tolist() == [0, 20, 12, 50]  # a quarter of the object
    assert small.tolist() == [9, 69, 21, 99]  # on the grid of three pixels


def test_small_boxes_that_leave_the_image_keep_labels_off_their_part_in_it():
    (place,) = draw.place_labels([[-10, -5, 8, 8]], [[12, 30]], (100, 100))
    assert place.tolist() == [0, 9, 12, 39]


def test_boxes_without_labels_stay_free_too():
    places = draw.place_labels([[50, 20, 90, 90], [42, 25, 48, 45]], [[10, 30], [0, 0]], (100, 100))
    assert places.tolist() == [[30, 20, 40, 50], [0, 0, 0, 0]]


def test_crowded_labels_hide_neither_each_other_nor_small_objects():
    image, r = crowd(40, 480, 640)
    places = draw.place_labels(r["rois"], [[16, 100]] * 40, image.shape)
    assert places.any(axis=1).all()
    assert_inside_and_disjoint(places, image.shape)
    areas = np.prod(r["rois"][:, 2:] - r["rois"][:, :2], axis=1)
    small = r["rois"][areas < draw.SMALL * 16 * 100]
    assert len(small) == 29 and (small[:, 0] == 0).any() and (small[:, 3] == 640).any()
    assert box_math.overlaps(places, small).max() == 0
    moved = np.abs(places[:, :2] - r["rois"][:, :2] + (16, 0)).sum(axis=1)
    assert np.median(moved) < 40 and moved.max() < 160


def test_labels_without_room_are_left_out():
    places = draw.place_labels([[40, 40, 90, 90]] * 40, [[10, 30]] * 40, (100, 100))
    there = places.any(axis=1)
    assert 25 <= there.sum() <= 30 and there[:25].all() and not there[30:].any()
    assert_inside_and_disjoint(places[there], (100, 100))
    everywhere = [[y, x, y + 10, x + 10] for y in range(0, 100, 10) for x in range(0, 100, 10)]
    assert not draw.place_labels(everywhere, [[10, 30]] * 100, (100, 100)).any()
    assert draw.place_labels([[0, 0, 40, 90]], [[12, 300]], (40, 90)).tolist() == [[0, 0, 12, 90]]  # cut
    assert draw.place_labels(np.zeros((0, 4)), [], (10, 10)).shape == (0, 4)


# draw_instances


def test_draw_instances_blends_masks_and_leaves_the_rest():
    image, r = scene(2, 200, 300, 60)
    r["rois"] = np.array([[50, 20, 110, 80], [50, 150, 110, 210]], "int32")
    r["masks"][:] = False
    r["masks"][60:100, 30:70, 0] = r["masks"][40:100, 160:200, 1] = True  # the second reaches out of its box
    before = image.copy()
    drawn = draw.draw_instances(image, r, NAMES, threshold=0.7)
    assert (image == before).all() and drawn.shape == image.shape and drawn.dtype == np.uint8

    colors = draw.random_colors(2)
    paints = [np.round(255 * np.array(color)) for color in colors]
    for paint, color, (y1, x1, y2, x2) in zip(paints, colors, [(60, 30, 100, 70), (50, 160, 100, 200)], strict=True):
        inner = drawn[y1 + 3 : y2 - 1, x1 + 1 : x2 - 1]
        expected = (before[y1 + 3 : y2 - 1, x1 + 1 : x2 - 1] * 0.5 + 0.5 * np.array(color) * 255).astype("uint8")
        assert (inner == expected).all()
        assert (drawn[y2 - 1, x1:x2] == paint).all()  # outline
    assert (drawn[80, 40] != drawn[80, 170]).any()

    for paint, (y1, x1, y2, x2), width in zip(paints, r["rois"], (3, 1), strict=True):
        assert (drawn[y1, x1:x2] == paint).all()
        assert (drawn[y2 - 1 : y2 - 1 + width, x1:x2] == paint).all()
        assert (drawn[y1:y2, x1 - width + 1 : x1 + 1] == paint).all()
        assert (drawn[y1:y2, x2 - 1 : x2 - 1 + width] == paint).all()
        assert (drawn[y2 - 10, x1 + 1 : x1 + 9] == before[y2 - 10, x1 + 1 : x1 + 9]).all()
    changed = (drawn != before).any(-1)
    changed[48:112, 18:82] = changed[50:110, 150:210] = False
    y, x = np.nonzero(changed)  # what is left are the labels, above the boxes
    assert y.size and y.min() >= 30 and y.max() == 49 and x.min() == 20 and x.max() < 270


def test_mask_box_and_label_of_an_instance_have_its_color():
    image, r = scene(3, 200, 400)
    r["rois"] = np.array([[50, 20, 150, 120], [50, 150, 150, 250], [50, 280, 150, 380]], "int32")
    r["masks"] = np.zeros((200, 400, 3), bool)
    for i, (y1, x1, y2, x2) in enumerate(r["rois"]):
        r["masks"][y1 + 20 : y2 - 20, x1 + 20 : x2 - 20, i] = True
    drawn = draw.draw_instances(image, r, NAMES, alpha=1.0)
    paints = (255 * np.array(draw.random_colors(3))).tolist()
    assert sorted(paints) == [[0, 0, 255], [0, 255, 0], [255, 0, 0]]
    for paint, (y1, x1, _, x2) in zip(paints, r["rois"], strict=True):
        assert (drawn[y1 + 30 : y1 + 70, x1 + 30 : x1 + 70] == paint).all()
        assert (drawn[y1, x1:x2] == paint).all()
        assert (drawn[y1 - 14 : y1, x1] == paint).all()  # left of the text
        text = drawn[y1 - 14 : y1, x1 : x1 + 50].reshape(-1, 3)
        assert 0.5 < (text == paint).all(axis=1).mean() < 0.95


def test_small_objects_are_in_front_of_large_ones():
    image, r = scene(2, 200, 200)
    r["rois"] = np.array([[50, 50, 70, 70], [10, 10, 190, 190]], "int32")
    r["masks"][:] = False
    r["masks"][50:70, 50:70, 0] = r["masks"][10:190, 10:190, 1] = True
    drawn = draw.draw_instances(image, r, NAMES, colors=[(1, 0, 0), (0, 1, 0)], alpha=1.0)
    assert (drawn[50:70, 50:70] == (255, 0, 0)).all() and (drawn[100, 20:180] == (0, 255, 0)).all()


def test_lines_of_boxes_at_the_edge_are_as_thick_inside():
    image, r = scene(1, 200, 200)
    r["rois"], r["masks"] = np.array([[0, 0, 200, 200]], "int32"), None
    drawn = draw.draw_instances(np.zeros_like(image), r, NAMES, colors=[(1, 0, 0)], threshold=0.5)
    assert r["scores"].tolist() == [np.float32(0.99)]  # five tenths above
    assert [(drawn[line] == (255, 0, 0)).all() for line in (195, 199, 194)] == [True, True, False]


def test_draw_instances_without_detections_masks_or_names():
    image, r = scene(0)
    drawn = draw.draw_instances(image, r, NAMES)
    assert (drawn == image).all() and drawn is not image
    image, r = scene(2)
    boxes_only = draw.draw_instances(image, {"rois": r["rois"], "class_ids": r["class_ids"]})
    assert (boxes_only != image).any()


def test_draw_instances_takes_gray_images_boxes_outside_and_empty_boxes():
    image, r = scene(3)
    r["rois"] = np.array([[-5, -5, 500, 500], [10, 10, 10, 40], [119, 159, 120, 160]], "int32")
    drawn = draw.draw_instances(image[..., 0], r, NAMES)
    assert drawn.shape == (120, 160, 3)
    assert draw.draw_instances(image.astype("float32"), r, NAMES).dtype == np.uint8


# Keypoints


def changed(result, **options):
    """[H, W] bool: which pixels the points change, and the picture."""
    image = people()[0]
    bare = draw.draw_instances(image, {**result, "keypoints": None})
    drawn = draw.draw_instances(image, result, **options)
    return (drawn != bare).any(-1), drawn


def test_limbs_and_dots_land_on_their_pixels():
    image, r = people()
    marks, drawn = changed(r, skeleton=CORNER)
    assert drawn.dtype == np.uint8 and drawn.shape == image.shape
    across, down = limb_paints(2)
    assert (drawn[30, 36:125] == across).all() and (drawn[36:85, 130] == down).all()
    for x, y in ((30, 30), (130, 30), (130, 90)):
        assert drawn[y, x].tolist() == [255, 255, 255]
    # pixel centres are whole numbers: what is above and below, left and right of a limb is the same
    assert (drawn[25:30, 60:80] == drawn[35:30:-1, 60:80]).all()
    assert (drawn[50:70, 125:130] == drawn[50:70, 135:130:-1]).all()
    marks[25:36, 25:136] = marks[25:96, 125:136] = False
    assert not marks.any()


def test_draw_instances_with_keypoints_changes_neither_image_nor_result():
    image, r = people()
    before = image.copy(), {key: value.copy() for key, value in r.items()}
    assert (draw.draw_instances(image, r, skeleton=CORNER) != image).any()
    assert (image == before[0]).all() and r.keys() == before[1].keys()
    assert all((r[key] == before[1][key]).all() for key in r)
    with_masks = {**r, "masks": np.ones((*image.shape[:2], 1), bool)}
    drawn = draw.draw_instances(image, with_masks, skeleton=CORNER)
    assert drawn[30, 80].tolist() == limb_paints(2)[0]  # above the mask


def test_points_between_pixels_and_slanted_limbs_are_smooth():
    _, r = people()
    r["keypoints"][0] = [(30.5, 40, 1), (99, 83, 1), (0, 0, 0)]
    _, drawn = changed(r, skeleton=CORNER)
    assert (drawn[30:50, 25:31] == drawn[30:50, 36:30:-1])[:8].all()  # the limb leaves downwards
    middle = drawn[40:83, 45:85].reshape(-1, 3)
    assert len(np.unique(middle, axis=0)) > 20


def test_points_below_the_threshold_and_their_limbs_are_left_out():
    _, r = people()
    r["keypoints"][0, :, 2] = (0.3, 0.2, 0.0)
    seen = changed(r, skeleton=CORNER, keypoint_threshold=0.2)[0]
    assert seen[30, 30] and seen[30, 80] and seen[30, 130] and not seen[50:].any()
    one = changed(r, skeleton=CORNER, keypoint_threshold=0.25)[0]
    assert one[30, 30] and not one[:, 50:].any()
    assert not changed(r, skeleton=CORNER, keypoint_threshold=0.31)[0].any()
    assert not changed(r, skeleton=CORNER, keypoint_threshold=0)[0][85:95, 125:135].any()  # a score of 0 never shows
    r["keypoints"][0, :, 2] = draw.KEYPOINT_THRESHOLD
    assert changed(r)[0][90, 130]
    r["keypoints"][0, :, 2] = 0.9 * draw.KEYPOINT_THRESHOLD, np.nan, -1
    assert not changed(r)[0].any()


def test_without_a_skeleton_dots_have_colors():
    _, r = people()
    marks, drawn = changed(r)
    assert [drawn[y, x].tolist() for x, y in ((30, 30), (130, 30), (130, 90))] == limb_paints(3)
    assert not marks[:, 40:120].any() and not marks[40:80].any()
    # as many points as COCO's persons have are no reason to take them for COCO's, unless asked
    person = np.resize(r["keypoints"], (1, len(keypoints.COCO_NAMES), 3))
    assert not changed({**r, "keypoints": person})[0][:, 40:120].any()
    assert changed({**r, "keypoints": person}, skeleton=None)[0][:, 40:120].any()


def test_limbs_are_as_wide_as_people_are_large_and_small_people_are_in_front():
    image, r = people((0, 0, 60, 60), (0, 0, 900, 900), (30, 450, 30, 480), height=900, width=900)
    r["keypoints"][2] = r["keypoints"][1]
    r["keypoints"][0] = [(400, 2, 1), (400, 200, 1), (0, 0, 0)]
    r["keypoints"][1] = [(300, 100, 1), (500, 100, 1), (0, 0, 0)]
    drawn = draw.draw_instances(image, r, skeleton=[(0, 1)])
    limb = limb_paints(1)[0]
    thin, thick = ((line == limb).all(-1).sum() for line in (drawn[150, 380:420], drawn[80:120, 350]))
    assert (thin, thick) == (1, 11)  # of 1.5 and 12 pixels, those that the limb covers wholly
    assert (drawn[95:105, 399] != limb).any(-1).all()  # the rim of the small person's limb


def test_left_and_right_have_clearly_different_colors():
    limbs = [frozenset(limb) for limb in keypoints.COCO_SKELETON]
    mirror = dict([*keypoints.COCO_FLIP_PAIRS, *((j, i) for i, j in keypoints.COCO_FLIP_PAIRS)])
    colors = np.array(draw.part_colors(len(limbs)))
    assert len({tuple(color) for color in colors}) == len(limbs)
    for limb, color in zip(limbs, colors, strict=True):
        other = limbs.index(frozenset(mirror.get(j, j) for j in limb))
        assert limbs[other] == limb or np.abs(color - colors[other]).max() > 0.5


def test_points_far_outside_the_image_do_no_harm():
    _, r = people()
    r["keypoints"][0, 0, :2] = (-1e6, 30)
    r["keypoints"][0, 2, :2] = (1e9, 1e9)
    assert changed(r, skeleton=[(0, 1)])[0][30, :120].all()
