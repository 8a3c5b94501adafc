"""What must hold for any input: boxes, masks, run lengths, resizing (hypothesis looks for counterexamples)."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from pycocotools import mask as rle

from mrcnn.data.resizing import resize_image
from mrcnn.ops import boxes, masks
from mrcnn.ops.nms import nms

settings.register_profile("here", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("here")

shapes = st.tuples(st.integers(1, 40), st.integers(1, 40))
mask = shapes.flatmap(lambda shape: npst.arrays(bool, shape))
stack = st.tuples(shapes, st.integers(0, 4)).flatmap(lambda x: npst.arrays(bool, (*x[0], x[1])))
side = st.floats(0.5, 300, width=32)
corner = st.floats(-100, 500, width=32)
box = st.tuples(corner, corner, side, side).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])
some_boxes = st.lists(box, min_size=1, max_size=8).map(lambda rows: np.array(rows, "float64"))


@given(some_boxes, some_boxes)
def test_overlaps(a, b):
    iou = boxes.overlaps(a, b)
    assert iou.shape == (len(a), len(b)) and (iou >= 0).all() and (iou <= 1 + 1e-6).all()
    np.testing.assert_allclose(iou, boxes.overlaps(b, a).T, atol=1e-6)
    np.testing.assert_allclose(np.diag(boxes.overlaps(a, a)), 1, atol=1e-5)


@given(st.lists(st.tuples(box, box), min_size=1, max_size=8))
def test_decode_undoes_encode(pairs):
    a, b = (np.array([pair[k] for pair in pairs], "float64") for k in (0, 1))
    deltas = boxes.encode(a, b)
    # Deltas of sides are cut at log(1000 / 16).
    fits = (deltas[:, 2:] <= np.log(1000 / 16)).all(axis=1)
    np.testing.assert_allclose(boxes.decode(a, deltas)[fits], b[fits], rtol=1e-4, atol=1e-2)


@given(st.lists(st.tuples(*[st.integers(0, 400)] * 2, *[st.integers(1, 400)] * 2), min_size=1), shapes)
def test_denormalize_undoes_normalize(rows, shape):
    pixels = np.array([[y, x, y + h, x + w] for y, x, h, w in rows])
    shape = shape[0] + 1, shape[1] + 1  # one pixel alone has no scale
    np.testing.assert_array_equal(boxes.denormalize(boxes.normalize(pixels, shape), shape), pixels)


@given(some_boxes, st.floats(0.1, 0.9))
def test_nms(rows, threshold):
    scores = np.linspace(1, 0, len(rows))
    kept = np.asarray(nms(rows, scores, threshold))
    assert kept[0] == 0 and len(set(kept.tolist())) == len(kept)
    iou = boxes.overlaps(rows, rows)
    assert (iou[np.ix_(kept, kept)][~np.eye(len(kept), dtype=bool)] <= threshold + 1e-6).all()
    gone = sorted(set(range(len(rows))) - set(kept.tolist()))
    assert all((iou[i, kept[kept < i]] > threshold - 1e-6).any() for i in gone)


@given(mask)
def test_run_lengths(x):
    code = masks.encode_rle(x)
    np.testing.assert_array_equal(masks.decode_rle(code), x)
    assert rle.area(code) == x.sum()


@given(stack)
def test_boxes_of_masks_are_tight(x):
    for (y1, x1, y2, x2), one in zip(masks.extract_bboxes(x), np.moveaxis(x, -1, 0), strict=True):
        assert one[y1:y2, x1:x2].sum() == one.sum()
        if one.any():
            inside = one[y1:y2, x1:x2]
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
        else:
            assert (y1, x1, y2, x2) == (0, 0, 0, 0)


@given(stack, st.tuples(st.integers(1, 30), st.integers(1, 30)))
def test_mini_masks_of_full_boxes(x, mini):
    """A mask that fills its box fills its mini mask and comes back as it was."""
    found = masks.extract_bboxes(x)
    found = found[boxes.area(found) > 0]
    full = np.zeros((*x.shape[:2], len(found)), bool)
    for i, (y1, x1, y2, x2) in enumerate(found):
        full[y1:y2, x1:x2, i] = True
    small = masks.minimize_mask(found, full, (56, 56))
    assert small.all()
    np.testing.assert_array_equal(masks.expand_mask(found, small, x.shape), full)


@given(shapes, st.sampled_from(["square", "rect", "pad64", "none"]), st.integers(1, 2), st.integers(0, 3))
def test_resize_image(shape, mode, scale, seed):
    """The window holds the whole image at the scale that is given back, and masks follow it exactly."""
    image = np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype="uint8")
    resized, window, factor, padding, crop = resize_image(image, 64 * scale, 128, mode=mode)
    y1, x1, y2, x2 = window
    if mode == "square":
        assert resized.shape == (128, 128, 3)
    if mode == "rect":
        square, (top, left, _, _), *same = resize_image(image, 64 * scale, 128)
        assert same[0] == factor and max(resized.shape) <= 128
        height, width = y2 - y1, x2 - x1
        np.testing.assert_array_equal(resized[y1:y2, x1:x2], square[top : top + height, left : left + width])
    if mode in ("rect", "pad64"):
        assert resized.shape[0] % 64 == resized.shape[1] % 64 == 0
    assert abs(y2 - y1 - shape[0] * factor) <= 1 and abs(x2 - x1 - shape[1] * factor) <= 1
    outside = np.ones(resized.shape[:2], bool)
    outside[y1:y2, x1:x2] = False
    assert not resized[outside].any()
    full = masks.resize_mask(np.ones((*shape, 1), bool), factor, padding, crop)
    assert full.shape[:2] == resized.shape[:2]
    np.testing.assert_array_equal(full[..., 0] != 0, ~outside)
