import json

import numpy as np
import pytest
import scipy.ndimage

from mrcnn.ops import images, masks

RESIZED = ["none", "square_up", "square_limited", "square_down", "square_scale_1", "square_min_scale", "square_no_min"]
RESIZED += ["pad64", "pad64_up", "pad64_min_scale", "crop", "crop_up"]


def test_extract_bboxes(golden):
    data = golden("utils_golden.npz", "extract_bboxes")
    result = masks.extract_bboxes(data.ins["mask"])
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, data.outs["boxes"])
    np.testing.assert_array_equal(masks.extract_bboxes(data.ins["mask"] * np.uint8(255)), data.outs["boxes"])


@pytest.mark.parametrize("shape", [(0, 0, 0), (5, 6, 0), (0, 0, 3)])
def test_extract_bboxes_of_nothing(shape):
    np.testing.assert_array_equal(masks.extract_bboxes(np.zeros(shape, bool)), np.zeros((shape[2], 4)))


@pytest.mark.parametrize("case, ties", [("minimize_mask", 3), ("minimize_mask_56", 0)])
def test_minimize_mask(golden, case, ties):
    """Equal to the original but where the interpolated value is exactly one half: there its rounding error decided, and
    here a half is inside, as everywhere else a mask is binarised."""
    data = golden("utils_golden.npz", case)
    shape = data.args["mini_shape"]
    result, expected = masks.minimize_mask(data.ins["bbox"], data.ins["mask"], shape), data.outs["mini"]
    assert result.dtype == bool and result.shape == expected.shape
    for i, (y1, x1, y2, x2) in enumerate(data.ins["bbox"]):
        differs = result[:, :, i] != expected[:, :, i]
        value = images.resize(data.ins["mask"][y1:y2, x1:x2, i], shape)
        np.testing.assert_allclose(value[differs], 0.5, rtol=1e-12)
    assert (result != expected).sum() == ties


def test_minimize_mask_of_a_box_without_area(golden):
    """The original raised Exception, "Invalid bounding box with area of zero"; ValueError is one."""
    assert "area of zero" in golden("utils_golden.npz", "minimize_mask_zero_area").raises
    mask = np.ones((10, 10, 2), bool)
    with pytest.raises(ValueError, match=r"Instance 1 has the box \[3, 4, 3, 8\], which covers no pixel"):
        masks.minimize_mask(np.array([[0, 0, 5, 5], [3, 4, 3, 8]]), mask, (28, 28))


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (3, 7), (56, 56), (90, 100)])
def test_full_box_stays_full(size):
    mask = np.zeros((100, 100, 1), bool)
    mask[: size[0], : size[1]] = True
    box = masks.extract_bboxes(mask)
    mini = masks.minimize_mask(box, mask, (56, 56))
    assert mini.all()
    np.testing.assert_array_equal(masks.expand_mask(box, mini, mask.shape), mask)


def test_expand_mask(golden):
    data = golden("utils_golden.npz", "expand_mask")
    result = masks.expand_mask(data.ins["bbox"], data.ins["mini"], data.args["image_shape"])
    assert result.dtype == bool
    np.testing.assert_array_equal(result, data.outs["mask"])


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("kind", ["unmold_mask", "unmold_mask_f32"])
def test_unmold_mask(golden, kind, number):
    data = golden("utils_golden.npz", f"{kind}_{number}")
    result = masks.unmold_mask(data.ins["mask"], data.ins["bbox"], data.args["image_shape"])
    assert result.dtype == bool
    np.testing.assert_array_equal(result, data.outs["mask"])


def test_unmold_mask_of_a_box_without_area():
    assert masks.unmold_mask(np.ones((28, 28)), (4, 4, 4, 9), (20, 30, 3)).sum() == 0


@pytest.mark.parametrize(
    "box", [(3, 4, 17, 25), (0, 0, 20, 30), (0, 5, 20, 9), (5, 0, 20, 30), (19, 29, 20, 30), (0, 0, 1, 1), (4, 4, 4, 9)]
)
@pytest.mark.parametrize("fill", [None, 0.0, 1.0])
def test_unmold_mask_rle(box, fill):
    mask = np.random.default_rng(0).random((28, 28)) if fill is None else np.full((28, 28), fill)
    expected = masks.encode_rle(masks.unmold_mask(mask, box, (20, 30, 3)))
    assert masks.unmold_mask_rle(mask.astype("float32"), np.array(box, "int32"), (20, 30, 3)) == expected


@pytest.mark.parametrize("case", RESIZED)
def test_resize_mask(golden, case):
    image, data = (golden("utils_golden.npz", f"{kind}_{case}") for kind in ("resize_image", "resize_mask"))
    mask = golden("utils_golden.npz", "resize_mask").ins["mask"]
    crop = tuple(image.outs["crop"]) or None
    result = masks.resize_mask(mask, image.outs["scale"].item(), image.outs["padding"], crop)
    assert result.dtype == bool
    np.testing.assert_array_equal(result, data.outs["mask"])


@pytest.mark.parametrize("scale", [0.31, 0.5, 1.0, 1.77, 3.0])
def test_resize_mask_is_zoom(scale):
    """The original's zoom (mode "constant") takes the last column for outside at some scales, by rounding errors of its
    coordinates, and fills it with zeros: 37 x 50 pixels at scale 3 lose theirs. Mode "nearest" is free of that."""
    mask = np.random.default_rng(1).random((37, 50, 2)) > 0.5
    expected = scipy.ndimage.zoom(mask, (scale, scale, 1), order=0, mode="nearest")
    np.testing.assert_array_equal(masks.resize_mask(mask, scale, [(0, 0)] * 3), expected)


def test_resize_mask_without_instances():
    assert masks.resize_mask(np.zeros((75, 110, 0), bool), 1.5, [(1, 2), (3, 4), (0, 0)]).shape == (115, 172, 0)


def test_rle():
    mask = np.random.default_rng(2).random((13, 17)) > 0.6
    rle = json.loads(json.dumps(masks.encode_rle(mask)))
    np.testing.assert_array_equal(masks.decode_rle(rle), mask)
    # COCO's runs go down the columns and begin with zeros
    assert masks.encode_rle(np.array([[0, 1], [1, 1]])) == {"size": [2, 2], "counts": "13"}
    np.testing.assert_array_equal(masks.decode_rle({"size": [2, 3], "counts": [1, 3, 2]}), [[0, 1, 0], [1, 1, 0]])


def test_polygons():
    square, other = [2, 1, 6, 1, 6, 5, 2, 5], [[8, 0], [10, 0], [10, 3], [8, 3]]
    expected = np.zeros((8, 12), bool)
    expected[1:5, 2:6] = expected[0:3, 8:10] = True
    np.testing.assert_array_equal(masks.polygons_to_mask([square, other, [1, 1, 2, 2]], 8, 12), expected)
    assert masks.polygons_to_mask([], 8, 12).shape == (8, 12)
    assert not masks.polygons_to_mask([[0, 0, 5, 5]], 8, 12).any()


def test_paste_exact_by_hand():
    # The left half is object. Its edge, where the values fall through one half, is the middle.
    mask = np.zeros((28, 28), "float32")
    mask[:, :14] = 1
    pasted = masks.unmold_mask(mask, (2.0, 3.0, 8.0, 11.0), (12, 16), "exact")
    expected = np.zeros((12, 16), bool)
    expected[2:8, 3:7] = True
    np.testing.assert_array_equal(pasted, expected)
    # A box that ends within a pixel: its centre decides.
    whole = np.ones((28, 28), "float32")
    for end, last in ((6.4, 6), (6.6, 7)):
        pasted = masks.unmold_mask(whole, (2.0, 2.0, end, 6.0), (10, 10), "exact")
        np.testing.assert_array_equal(np.nonzero(pasted.any(axis=1))[0][[0, -1]], [2, last - 1])
    assert not masks.unmold_mask(whole, (3.0, 3.0, 3.0, 9.0), (10, 10), "exact").any()


@pytest.mark.parametrize("box", [(1.3, 2.2, 15.7, 20.1), (0, 0, 20, 30), (-3.0, 5.5, 8.2, 33.0), (19.2, 29.1, 20, 30)])
def test_paste_exact_against_scipy(box):
    rng = np.random.default_rng(0)
    mask = scipy.ndimage.gaussian_filter(rng.uniform(size=(28, 28)), 2).astype("float32")
    mask = (mask - mask.min()) / np.ptp(mask)
    y1, x1, y2, x2 = box
    y = (np.arange(20) + 0.5 - y1) / (y2 - y1) * 28 - 0.5
    x = (np.arange(30) + 0.5 - x1) / (x2 - x1) * 28 - 0.5
    padded = np.pad(mask, 1)
    values = scipy.ndimage.map_coordinates(padded, np.meshgrid(y + 1, x + 1, indexing="ij"), order=1, cval=0.0)
    pasted = masks.unmold_mask(mask, box, (20, 30), "exact")
    clear = np.abs(values - 0.5) > 1e-4
    np.testing.assert_array_equal(pasted[clear], values[clear] >= 0.5)
    assert masks.unmold_mask_rle(mask, box, (20, 30), "exact") == masks.encode_rle(pasted)


@pytest.mark.parametrize("box", [(1.3, 2.2, 15.7, 20.1), (0, 0, 20, 30), (3.9, 5.5, 4.2, 29.9), (19.2, 29.1, 20, 30)])
def test_paste_as_torchvision(box):
    """Step by step: a border, a box grown by it and cut to integers, a bilinear resize of both to whole pixels."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV does not import", exc_type=ImportError)
    mask = np.random.default_rng(0).uniform(size=(28, 28)).astype("float32")
    y1, x1, y2, x2 = box
    cy, cx, hy, hx = (y1 + y2) / 2, (x1 + x2) / 2, (y2 - y1) / 2 * 30 / 28, (x2 - x1) / 2 * 30 / 28
    top, left, bottom, right = (int(v) for v in (cy - hy, cx - hx, cy + hy, cx + hx))
    large = cv2.resize(np.pad(mask, 1), (right - left + 1, bottom - top + 1), interpolation=cv2.INTER_LINEAR)
    full = np.zeros((60, 70))
    full[20 + top : 21 + bottom, 20 + left : 21 + right] = large
    values = full[20:40, 20:50]
    pasted = masks.unmold_mask(mask, box, (20, 30), "torchvision")
    clear = np.abs(values - 0.5) > 1e-4
    np.testing.assert_array_equal(pasted[clear], values[clear] > 0.5)
    assert masks.unmold_mask_rle(mask, box, (20, 30), "torchvision") == masks.encode_rle(pasted)


def test_parts_of_run_lengths():
    """A part placed in an image, and windows of it, without the mask of the whole."""
    random = np.random.default_rng(0)
    for shape in ((9, 7), (20, 31)):
        for density in (0, 0.1, 0.5, 1):
            mask = random.random(shape) < density
            whole = np.zeros((25, 40), bool)
            whole[4 : 4 + shape[0], 8 : 8 + shape[1]] = mask
            code = masks.place_rle(4, 8, mask, (25, 40, 3))
            assert code == masks.encode_rle(whole)
            for y1, x1, y2, x2 in [(0, 0, 25, 40), (5, 9, 6, 10), (0, 0, 4, 8), (3, 7, 20, 30), (0, 39, 25, 40)]:
                part = masks.crop_rle(code, (y1, x1, y2, x2))
                np.testing.assert_array_equal(part, whole[y1:y2, x1:x2])
    assert masks.crop_rle({"size": [2, 3], "counts": [1, 2, 3]}, (0, 0, 2, 2)).tolist() == [
        [False, True],
        [True, False],
    ]
