import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from kites import KiteConfig, Kites
from whole import whole

from mrcnn import losses
from mrcnn.data.batches import DataGenerator
from mrcnn.data.resizing import resize_image
from mrcnn.data.samples import load_image_gt
from mrcnn.layers.targets import DetectionTargetLayer
from mrcnn.model import MaskRCNN
from mrcnn.ops import boxes, keypoints

SHAPE = (56, 56)


# Cells and points


@pytest.mark.parametrize(
    "box, point, cell",
    [
        # 56 x 56 pixels: a cell is a pixel. Pixel 20 is the first of columns 20 to 75, pixel 10 of rows 10 to 65.
        ((10, 20, 66, 76), (20, 10, 2), 0),
        ((10, 20, 66, 76), (75, 65, 2), 55 * 56 + 55),
        ((10, 20, 66, 76), (21, 10, 1), 1),
        ((10, 20, 66, 76), (20, 11, 2), 56),
        # On the far edge, which is half a pixel beyond the last one's centre: the last cell.
        ((10, 20, 66, 76), (75.5, 65.5, 2), 55 * 56 + 55),
        ((10, 20, 66, 76), (75.5, 30, 2), 20 * 56 + 55),
        # Outside on each side.
        ((10, 20, 66, 76), (76, 30, 2), -1),
        ((10, 20, 66, 76), (19.4, 30, 2), -1),
        ((10, 20, 66, 76), (30, 66, 2), -1),
        ((10, 20, 66, 76), (30, 9.4, 2), -1),
        # No annotation, wherever the point says it is.
        ((10, 20, 66, 76), (30, 30, 0), -1),
        ((0, 0, 66, 76), (0, 0, 0), -1),
        # Cells of 2 rows and of half a column: the centre of pixel 3 is 3.5 / 0.5 = 7 columns in.
        ((0, 0, 112, 28), (3, 5, 2), 2 * 56 + 7),
        # A box without area, as padding has.
        ((0, 0, 0, 0), (0, 0, 2), -1),
    ],
)
def test_encode_by_hand(box, point, cell):
    points, rois = np.array([[point]], "float32"), np.array([box], "float32")
    assert keypoints.encode(points, rois, SHAPE).tolist() == [[cell]]
    tensors = keypoints.encode(ops.convert_to_tensor(points), ops.convert_to_tensor(rois), SHAPE)
    assert ops.convert_to_numpy(tensors).tolist() == [[cell]]
    assert keypoints.encode(points, rois, SHAPE).dtype == np.int32


def peaks(cells, shape=SHAPE, height=8.0):
    """Heatmaps [J, rows, columns] with one cell above the others."""
    maps = np.zeros((len(cells), shape[0] * shape[1]), "float32")
    maps[np.arange(len(cells)), cells] = height
    return maps.reshape(len(cells), *shape)


def test_decode_by_hand():
    """Cells of 2 pixels from (0, 0): the centre of cell (3, 7) is at (7, 15) on the axis of boxes, half a pixel less as
    a point. The softmax of 8 among 3135 zeros is e^8 / (e^8 + 3135)."""
    ((x, y, score),) = keypoints.decode(peaks([3 * 56 + 7]), (0, 0, 112, 112))
    assert (x, y) == (14.5, 6.5) and score == pytest.approx(2980.958 / (2980.958 + 3135), abs=1e-6)
    # Cells of a quarter of a row and of one column.
    ((x, y, _),) = keypoints.decode(peaks([3 * 56 + 7]), (10, 20, 24, 76))
    assert (x, y) == (27, 10 + 3.5 / 4 - 0.5)


def test_decode_finds_the_top_between_cells():
    """Two equal cells beside each other: the point lies between them, to half of a third of a cell."""
    heatmap = peaks([20 * 56 + 30]) + peaks([20 * 56 + 31])
    ((x, y, _),) = keypoints.decode(heatmap, (0, 0, 168, 168))
    assert abs(x - (31 * 3 - 0.5)) <= 0.5 and y == 20.5 * 3 - 0.5


side = st.floats(2, 900)
share = st.floats(1e-6, 1 - 1e-6)  # on the edge itself rounding may put a point outside


@settings(deadline=None)
@given(st.floats(-50, 500), st.floats(-50, 500), side, side, st.lists(st.tuples(share, share), min_size=1, max_size=4))
def test_decode_inverts_encode_to_half_a_cell(y, x, height, width, places):
    box = np.array([y, x, y + height, x + width])
    points = np.array([(x + u * width - 0.5, y + v * height - 0.5, 2) for u, v in places])
    cells = keypoints.encode(points, box, SHAPE)
    assert (cells >= 0).all()
    found = keypoints.decode(peaks(cells), box)
    assert (np.abs(found[:, :2] - points[:, :2]) <= 0.5 * np.array([width, height]) / 56 + 1e-3).all()


@pytest.mark.parametrize("size", [(64, 96), (200, 200), (427, 640), (1500, 2000)])
@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_from_the_image_to_the_network_and_back(size, factor):
    """A point of an image that is resized and padded, its cell in a box there, and back: within half a cell."""
    model = MaskRCNN.__new__(MaskRCNN)  # without its graph
    model.config = KiteConfig().update(KEYPOINT_ROI_EXPAND=factor)
    config = {"min_dim": 256, "max_dim": 256, "mode": "square"}
    molded, window, scale, padding, _ = resize_image(np.zeros((*size, 3), "uint8"), **config)
    rng = np.random.default_rng(0)
    for _ in range(20):
        y1, x1, y2, x2 = window
        box = np.sort(rng.uniform((y1, x1), (y2, x2), (2, 2)), axis=0).ravel() + (0, 0, 4, 4)
        roi = boxes.to_pixels(boxes.expand(boxes.normalize(box, molded.shape), factor), molded.shape)
        low, high = np.maximum(roi[:2], (y1, x1)), np.minimum(roi[2:], (y2, x2))
        places = rng.uniform(low, high, (4, 2)) - 0.5
        points = keypoints.restore(np.column_stack([places[:, ::-1], np.full(4, 2)]), size, window)
        again = keypoints.resize(points, size, scale, padding)
        np.testing.assert_allclose(again[:, :2], places[:, ::-1], atol=1e-3)
        cells = keypoints.encode(again, roi, (28, 28))
        assert (cells >= 0).all()
        detection = np.array([[*boxes.normalize(box, molded.shape), 1, 0.9]], "float32")
        found = model.unmold_keypoints(detection, peaks(cells, (28, 28))[None], (*size, 3), molded.shape, window)
        cell = (roi[2:] - roi[:2])[::-1] / 28 / scale
        assert (np.abs(found[0, :, :2] - points[:, :2]) <= 0.5 * cell + 0.02).all()


def test_swap_and_mirror():
    points = np.array([[[1, 2, 2], [3, 4, 1], [5, 6, 2]]], "float32")
    swapped = keypoints.swap(points, [(1, 2)])
    assert swapped[0].tolist() == [[1, 2, 2], [5, 6, 2], [3, 4, 1]]
    np.testing.assert_array_equal(keypoints.swap(points, []), points)
    # Column 0 of 10 becomes column 9.
    mirrored = keypoints.mirror(points, 10, [(1, 2)])
    assert mirrored[0].tolist() == [[8, 2, 2], [4, 6, 2], [6, 4, 1]]
    np.testing.assert_array_equal(keypoints.mirror(mirrored, 10, [(1, 2)]), points)


def test_resize():
    """Twice the size: pixel 3 covers pixels 6 and 7, whose middle is 6.5; then padding is added or a crop taken."""
    points = np.array([[3, 5, 2]], "float32")
    none = [(0, 0), (0, 0), (0, 0)]
    assert keypoints.resize(points, (20, 30), 2, none).tolist() == [[6.5, 10.5, 2]]
    assert keypoints.resize(points, (20, 30), 2, [(4, 4), (1, 0), (0, 0)]).tolist() == [[7.5, 14.5, 2]]
    assert keypoints.resize(points, (20, 30), 2, none, (3, 2, 16, 16)).tolist() == [[4.5, 7.5, 2]]


def test_drop_outside():
    points = np.array([[-0.5, 3, 2], [-0.6, 3, 2], [19.4, 9.4, 1], [19.5, 3, 2], [3, 9.5, 2], [3, 3, 0]])
    points = np.concatenate([points, [[np.nan, np.nan, 0]]])
    kept = keypoints.drop_outside(points, (10, 20, 3))
    assert kept[:, 2].tolist() == [2, 0, 1, 0, 0, 0, 0] and not kept[kept[:, 2] == 0].any()


def test_cocos_person():
    assert len(keypoints.COCO_NAMES) == len(keypoints.COCO_SIGMAS) == 17 and len(keypoints.COCO_SKELETON) == 19
    for left, right in keypoints.COCO_FLIP_PAIRS:
        assert keypoints.COCO_NAMES[left].replace("left", "right") == keypoints.COCO_NAMES[right]
    assert sum(name.startswith("left") for name in keypoints.COCO_NAMES) == len(keypoints.COCO_FLIP_PAIRS)


def test_expand():
    np.testing.assert_allclose(boxes.expand(np.array([[10.0, 20, 30, 60]]), 1.5), [[5, 10, 35, 70]])


# Targets and loss


def target_layer(**options):
    return DetectionTargetLayer(
        rois_per_image=6, positive_ratio=0.5, mask_shape=None, keypoint_shape=SHAPE, image_shape=(101, 201), **options
    )


def targets(layer, points, class_ids=(1, 2)):
    """Cells [J] by class id of two instances that are their own proposals: (0, 0, 56, 56) and (10, 100, 66, 156)."""
    pixels = np.array([[[0, 0, 56, 56], [10, 100, 66, 156]]], "float32")
    normalized = (pixels - [0, 0, 1, 1]) / [100, 200, 100, 200]
    inputs = [normalized.astype("float32"), np.array([class_ids], "int32"), normalized.astype("float32"), points]
    _, ids, _, cells = (ops.convert_to_numpy(x) for x in whole(layer)([ops.convert_to_tensor(x) for x in inputs]))
    assert cells.shape == (1, 3, points.shape[2]) and cells.dtype == np.int32
    assert (cells[0, 2] == -1).all()  # the third slot is empty
    return dict(zip(ids[0, :2].tolist(), cells[0, :2].tolist(), strict=True))


POINTS = np.array([[[[0, 0, 2], [55, 1, 1], [60, 1, 2]], [[100, 10, 2], [101, 10, 0], [0, 0, 0]]]], "float32")


def test_targets_are_the_cells_of_the_matched_instance():
    assert targets(target_layer(), POINTS) == {1: [0, 56 + 55, -1], 2: [0, -1, -1]}


def test_targets_only_of_classes_with_keypoints():
    assert targets(target_layer(keypoint_classes=[2]), POINTS) == {1: [-1, -1, -1], 2: [0, -1, -1]}


def test_targets_in_a_larger_roi():
    """Twice the normalised box, that is from pixel -27.5 to 82.5 + 1 on both axes: 111 pixels on 56 cells."""
    cell = int((27.5 + 0.5) * 56 / 111)
    found = targets(target_layer(roi_expand=2.0), POINTS)
    assert found[1][0] == cell * 56 + cell
    assert found[1][2] == int((27.5 + 1.5) * 56 / 111) * 56 + int((27.5 + 60.5) * 56 / 111)  # inside now


def test_settings():
    config = KiteConfig().update(KEYPOINT_SIGMAS=np.full(4, 0.1), KEYPOINT_CLASSES=np.array([1]))
    assert keypoints.sigmas(config.KEYPOINT_SIGMAS, 4).tolist() == [0.1] * 4
    assert keypoints.sigmas((), 4).tolist() == [keypoints.DEFAULT_SIGMA] * 4
    for name, value, message in [
        ("KEYPOINT_SIGMAS", [0.1], "KEYPOINT_SIGMAS has 1 entries for NUM_KEYPOINTS = 4; give 4 or none."),
        ("KEYPOINT_FLIP_PAIRS", [(0, 4)], r"KEYPOINT_FLIP_PAIRS has \[\(0, 4\)\]; the indices of 4 .* 0 to 3."),
        ("KEYPOINT_SKELETON", [0, 1], "KEYPOINT_SKELETON is .*; it must be a sequence of pairs of indices."),
        ("KEYPOINT_CLASSES", [2], r"KEYPOINT_CLASSES has \[2\]; the ids of the classes are 1 to 1."),
        ("KEYPOINT_CLASSES", [], "KEYPOINT_CLASSES is empty; None stands for all classes."),
        ("KEYPOINT_MASK_SHAPE", (56, 56), r"KEYPOINT_POOL_SIZE = 7, so it must be \(28, 28\)."),
        ("KEYPOINT_ROI_EXPAND", 0.5, "KEYPOINT_ROI_EXPAND is 0.5; it must be at least 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            KiteConfig().update(**{name: value})


def test_loss_by_hand():
    logits = np.zeros((1, 2, 2, 4, 4), "float32")
    logits[0, 0, 0, 1, 2] = 3
    cells = np.array([[[6, -1], [-1, -1]]])
    value = losses.keypoint_loss(ops.convert_to_tensor(cells), ops.convert_to_tensor(logits))
    assert float(value) == pytest.approx(-np.log(np.exp(3) / (np.exp(3) + 15)), rel=1e-5)
    # The mean over the points that there are: one right as above, one on a flat map of 16 cells.
    cells = np.array([[[6, -1], [0, -1]]])
    both = losses.keypoint_loss(ops.convert_to_tensor(cells), ops.convert_to_tensor(logits))
    assert float(both) == pytest.approx((float(value) + np.log(16)) / 2, rel=1e-5)
    none = losses.keypoint_loss(ops.convert_to_tensor(np.full((1, 2, 2), -1)), ops.convert_to_tensor(logits))
    assert float(none) == 0


# A class of our own with four points


def test_data_of_a_batch():
    config = KiteConfig()
    dataset = Kites()
    image, _, class_ids, boxes, _, points = load_image_gt(dataset, config, 1)
    assert points.shape == (2, 4, 3) and points.dtype == np.float32 and len(class_ids) == 2
    (batch,) = DataGenerator(dataset, config, shuffle=False)[0]
    assert batch["input_gt_keypoints"].shape == (4, 4, 4, 3)
    np.testing.assert_array_equal(batch["input_gt_keypoints"][1, :2], points)
    assert not batch["input_gt_keypoints"][1, 2:].any()
    # A mirror makes the blue corner, a left one, a right one: its pair, the green one, takes its name.
    colours = np.array([[20, 20, 255], [20, 255, 20], [255, 20, 20], [255, 255, 255]])
    seen = set()
    for seed in range(8):
        image, *_, points = load_image_gt(dataset, config, 1, augment=True, rng=np.random.default_rng(seed))
        mirrored = not np.array_equal(image, dataset.load_image(1))
        columns, rows = np.round(points[..., :2]).astype(int).reshape(-1, 2).T
        named = colours[[1, 0, 3, 2]] if mirrored else colours
        np.testing.assert_array_equal(image[rows, columns], [*named, *named])
        assert (points[:, 0, 0] < points[:, 1, 0]).all()
        seen.add(mirrored)
    assert seen == {False, True}


def test_wrong_number_of_points():
    with pytest.raises(ValueError, match=r"its keypoints are \(1, 4, 3\); for 1 .* NUM_KEYPOINTS = 5 .* \(1, 5, 3\)"):
        load_image_gt(Kites(), KiteConfig().update(NUM_KEYPOINTS=5, KEYPOINT_FLIP_PAIRS=[]), 0)


def test_classes_without_keypoints(tmp_path):
    config = KiteConfig().update(NUM_CLASSES=3, KEYPOINT_CLASSES=[2])
    detector = MaskRCNN("inference", config, tmp_path)
    detections = np.array([[0, 0, 0.5, 0.5, 1, 0.9], [0.2, 0.2, 0.8, 0.8, 2, 0.8], [0] * 6], "float32")
    heatmaps = np.stack([peaks([30] * 4, (28, 28))] * 2)
    found = detector.unmold_keypoints(detections, heatmaps, (64, 64, 3), (64, 64, 3), (0, 0, 64, 64))
    assert found.shape == (2, 4, 3) and not found[0].any() and (found[1, :, 2] > 0.3).all()


@pytest.mark.parametrize("size", [(9.7, 120.2), (56, 56), (0.3, 200)])
def test_decode_in_pixels_of_the_box(size):
    """The cubic is that of OpenCV and PyTorch, on the box in whole pixels."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV does not import", exc_type=ImportError)
    heatmaps = np.random.default_rng(0).normal(0, 3, (3, 56, 56)).astype("float32")
    height, width = np.ceil(np.maximum(size, 1)).astype(int)
    points = keypoints.decode(heatmaps, (2.5, 4, 2.5 + size[0], 4 + size[1]), "pixels")
    for point, heatmap in zip(points, heatmaps, strict=True):
        large = cv2.resize(heatmap, (int(width), int(height)), interpolation=cv2.INTER_CUBIC)
        y, x = np.unravel_index(large.argmax(), large.shape)
        expected = 4 + (x + 0.5) * size[1] / width - 0.5, 2.5 + (y + 0.5) * size[0] / height - 0.5
        np.testing.assert_allclose(point[:2], expected, atol=1e-4)
