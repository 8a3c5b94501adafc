"""Detection in tiles with a detector that finds discs exactly: the whole comes out, each object once."""

import numpy as np
import pytest
import toy_data
from scipy import ndimage

from mrcnn.data.tiles import TiledDataset
from mrcnn.data.windows import windows
from mrcnn.draw.large import draw_large
from mrcnn.model import MaskRCNN
from mrcnn.models.detector import Detector
from mrcnn.models.tiled import Tiled, detect_tiled
from mrcnn.ops.masks import decode_rle, encode_rle, extract_bboxes
from mrcnn.ops.tiles import tile_windows


def discs(shape, circles):
    """An image [h, w, 3] in which disc k, of (y, x, radius), has the value k, and class 1 + k % 2."""
    image = np.zeros((*shape, 3), "uint8")
    y, x = np.mgrid[: shape[0], : shape[1]]
    for k, (cy, cx, radius) in enumerate(circles, 1):
        image[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = k
    return image


def finder(masks=True, shrink=None, score=None):
    """A detector of the discs: `shrink` changes a mask, given the image and k; `score` gives one."""

    def detect(images):
        results = []
        for image in images:
            ids = np.unique(image[image > 0])
            found = [image[..., 0] == k for k in ids]
            if shrink:
                found = [shrink(mask) for mask in found]
            stack = np.stack(found, -1) if found else np.zeros((*image.shape[:2], 0), bool)
            scores = [score(mask, k) if score else 0.5 + k / 1000 for mask, k in zip(found, ids, strict=True)]
            result = {
                "rois": extract_bboxes(stack),
                "class_ids": (1 + ids % 2).astype("int32"),
                "scores": np.array(scores, "float32"),
            }
            if masks:
                result["masks"] = [encode_rle(mask) for mask in found]
            results.append(result)
        return results

    return detect


def tiled(image, detect=None, tile=64, overlap=0.25, **options):
    return detect_tiled(detect or finder(), windows(image), tile, overlap, **options)


def same(one, two):
    assert list(one) == list(two)
    for name in ("rois", "class_ids", "scores"):
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)
        assert one[name].dtype == two[name].dtype
    assert one.get("masks") == two.get("masks")


def whole(image, **options):
    """What the detector finds in the whole image, the best score first."""
    (result,) = finder(**options)([image])
    order = np.argsort(-result["scores"])
    return {n: [v[i] for i in order] if n == "masks" else v[order] for n, v in result.items()}


def test_windows_cover_the_image_evenly():
    assert tile_windows(100, 60, 64, 0.25) == [(0, 0, 64, 60), (36, 0, 100, 60)]
    assert tile_windows(30, 200, 64, 0.25) == [(0, x, 30, x + 64) for x in (0, 45, 91, 136)]
    for overlap in (0, 0.2, 0.5, 0.9):
        ends = tile_windows(1, 1000, 64, overlap)
        assert ends[0][1] == 0 and ends[-1][3] == 1000
        for one, two in zip(ends, ends[1:], strict=False):
            assert one[3] - two[1] >= int(64 * overlap)
    for wrong in ({"tile": 0, "overlap": 0}, {"tile": 8, "overlap": 1}, {"tile": 8, "overlap": -0.1}):
        with pytest.raises(ValueError, match="tile is"):
            tile_windows(9, 9, **wrong)


SMALL = [(y, x, 5) for y in range(8, 200, 13) for x in range(8, 240, 13)]  # 270, some on every seam
LARGE = [(90, 100, 85), (30, 215, 24), (150, 215, 20)]  # one over nearly all tiles


@pytest.mark.parametrize("circles", [SMALL[:250], LARGE, []], ids=["small", "large", "none"])
@pytest.mark.parametrize("overlap", [0.1, 0.25, 0.6])
def test_discs_come_out_whole(circles, overlap):
    image = discs((200, 250), circles)
    found = tiled(image, overlap=overlap, batch=4)
    assert len(found["scores"]) == len(circles)
    same(found, whole(image))


def test_boxes_without_masks():
    """In a strip the boxes of one object agree, however large the whole is."""
    image = discs((200, 250), [(30, 64, 12), (100, 128, 50), (170, 60, 20), (30, 200, 12)])
    same(tiled(image, finder(masks=False)), whole(image, masks=False))


def test_neighbours_stay_apart():
    """The halves of two discs that touch at a seam are not one; their boxes overlap."""
    image = discs((64, 120), [(32, 52, 9), (32, 71, 9), (14, 61, 10)])
    same(tiled(image), whole(image))


def test_parts_that_do_not_fit_to_the_pixel():
    """The network sees less of what a seam cuts; what counts is the detection with most room around it."""

    def shrink(mask):
        y1, x1, y2, x2 = extract_bboxes(mask[..., None])[0]
        cut = mask.copy()
        if x2 == 64:
            cut[:, 63:] = False  # ends a pixel before the seam
        return cut

    image = discs((64, 100), [(32, 52, 14)])
    same(tiled(image, finder(shrink=shrink, score=lambda mask, k: 0.9)), whole(image, score=lambda mask, k: 0.9))


def test_small_objects_seen_a_pixel_apart_are_one():
    """Discs of five pixels, which have an IoU of 0.44 then; neighbours stay apart."""

    def apart(mask):
        """The second tile, in which they lie to the left, sees them a pixel to the right."""
        return np.roll(mask, extract_bboxes(mask[..., None])[0][1] < 30, axis=1)

    image = discs((64, 112), [(20, 52, 2), (40, 52, 2), (20, 58, 2)])
    found = tiled(image, finder(shrink=apart))
    assert len(found["scores"]) == 3 and sorted(found["class_ids"]) == [1, 2, 2]


def in_the_left(image):
    """Whether the left one of two tiles sees a disc that is in both: to the right of its middle."""
    return extract_bboxes(image[..., None])[0][1] > 30


def test_one_seen_too_small_and_too_large_is_one():
    """No seam cuts them, and the IoU of the two masks is 1 / 13 to 5 / 21."""

    def change(mask):
        return (ndimage.binary_erosion if in_the_left(mask) else ndimage.binary_dilation)(mask)

    found = tiled(discs((64, 112), [(20, 55, 2), (40, 55, 2), (20, 59, 1)]), finder(shrink=change))
    assert sorted(found["class_ids"]) == [1, 2, 2]


def test_a_few_pixels_off_is_one_where_nothing_else_is_near():
    """Two pixels down and to the right, of five. Two discs that both tiles see stay two."""

    def change(mask):
        return np.roll(mask, 2 * in_the_left(mask), (0, 1))

    assert len(tiled(discs((64, 112), [(20, 54, 2)]), finder(shrink=change))["scores"]) == 1
    assert len(tiled(discs((64, 112), [(20, 52, 2), (21, 57, 2)]), finder(shrink=change))["scores"]) == 2


@pytest.mark.parametrize("masks", [True, False])
def test_rims_are_up_to_the_tile_that_sees_more(masks):
    """The right tiles have two columns of a disc and find them too far right, the left ones find it too small: no pixel
    is in both. Above and below each other, too, the tiles overlap: there are two rims. A neighbour touches them."""

    def change(mask):
        return np.roll(mask, 1, axis=1) if mask[:, :3].any() else ndimage.binary_erosion(mask)

    found = tiled(discs((112, 112), [(56, 40, 9), (5, 90, 3), (74, 54, 8)]), finder(masks, shrink=change))
    assert sorted(found["rois"][:, 1]) == [32, 47, 88]


def test_what_is_cut_for_one_tile_goes_where_another_sees_it_whole():
    """A pixel from the seam it may be cut; and it covers more than twice what the other tile sees of it."""

    def change(mask):
        return (ndimage.binary_dilation if in_the_left(mask) else ndimage.binary_erosion)(mask)

    found = tiled(discs((64, 120), [(32, 60, 2)]), finder(shrink=change), overlap=0.1)
    assert [decode_rle(code).sum() for code in found["masks"]] == [5]


def test_scores_and_classes():
    """The score is that of the detection that counts; of parts of an object the best. Other classes stay apart."""

    def score(mask, k):
        return mask.sum() / 10000

    image = discs((64, 100), [(32, 50, 10)])
    found = tiled(image, finder(score=score))
    assert found["scores"].tolist() == pytest.approx([(image[..., 0] == 1).sum() / 10000])

    calls = iter([1, 2])

    def fickle(images):
        results = finder()(images)
        for result in results:
            result["class_ids"][:] = next(calls)
        return results

    assert tiled(image, fickle)["class_ids"].tolist() == [1, 2]


def test_keypoints_move_with_their_tile():
    def detect(images):
        results = finder()(images)
        for result, image in zip(results, images, strict=True):
            points = [(*np.argwhere(image[..., 0] == 1).mean(axis=0)[::-1], 0.5) for _ in result["scores"]]
            result["keypoints"] = np.array(points, "float32").reshape(-1, 1, 3)
        return results

    found = tiled(discs((150, 150), [(120, 100, 6)]), detect)
    assert found["keypoints"].tolist() == [[[100, 120, 0.5]]]


def test_masks_are_of_the_whole_image():
    image = discs((130, 150), [(64, 70, 30)])
    found = tiled(image)
    np.testing.assert_array_equal(decode_rle(found["masks"][0]), image[..., 0] == 1)


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"tile": 63.5}, r"tile is 63\.5; it must be a whole number."),
        ({"tile": "64"}, "tile is '64'; it must be a whole number."),
        ({"tile": -64}, "tile is -64; it must be at least 1."),
        ({"overlap": True}, "overlap is True; it must be a number."),
        ({"overlap": 1}, "overlap is 1; it must be at least 0 and below 1."),
    ],
)
def test_sizes_that_cannot_be(wrong, words):
    for function in (Detector.detect_tiled, Tiled, TiledDataset):
        with pytest.raises(ValueError, match=f"^{words}$"):
            function(None, *[None] * (function is Detector.detect_tiled), **wrong)


def test_whole_numbers_of_any_type():
    """A tile of 64.0 failed somewhere within."""
    image = discs((100, 100), LARGE[1:])
    for tile in (64.0, np.int64(64), np.float32(64)):
        same(tiled(image, tile=tile, overlap=np.float32(0.25)), tiled(image))


class Fake:
    """What `Tiled` needs of a model."""

    config = keras_model = None

    def detect_tiled(self, image, tile, overlap, verbose):
        return tiled(image, tile=tile, overlap=overlap)


def test_lists_of_images_for_evaluation():
    images = [discs((150, 150), LARGE[:1]), discs((100, 80), SMALL[:20])]
    for found, image in zip(Tiled(Fake(), 64, 0.25).detect(images, rle=True), images, strict=True):
        same(found, whole(image))


def test_a_model_detects_in_tiles(tmp_path):
    """A model of random weights: what one tile as large as the image gives is what `detect` gives."""
    config = toy_data.config(BACKBONE_WIDTH=8, DETECTION_MIN_CONFIDENCE=0, DETECTION_NMS_THRESHOLD=0.01)
    model = MaskRCNN("inference", config, tmp_path)
    model.keras_model.get_layer("mrcnn_class_logits").bias.assign([-9.0, 9.0, -9.0])
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), "uint8")
    (expected,) = model.detect([image], rle=True)
    found = model.detect_tiled(image, tile=64)
    kept = [i for i, code in enumerate(expected["masks"]) if decode_rle(code).any()]
    assert len(found["scores"]) == len(kept) > 0
    np.testing.assert_array_equal(found["scores"], expected["scores"][kept])
    assert model.detect_tiled(np.tile(image, (1, 2, 1)), tile=64, overlap=0.5)["rois"][:, 3].max() > 64


def test_a_small_picture_of_a_large_image():
    image = discs((400, 300), [(100, 100, 60), (320, 240, 20)])
    picture = draw_large(windows(image), tiled(image), side=200)
    assert picture.shape == (200, 150, 3)
    for y, x in ((50, 50), (160, 120)):
        assert np.ptp(picture[y, x]) > 100  # the colour of a mask
    assert not picture[20, 140].any()
