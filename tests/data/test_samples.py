import numpy as np
import pytest
from toy_data import SIDE, Shapes, config

from mrcnn.data.samples import load_image_gt


def test_load_image_gt():
    dataset = Shapes([[(2, 4, 8, 36, 40), (-1, 0, 0, 64, 16)]])
    image, meta, class_ids, boxes, masks = load_image_gt(dataset, config(), 0)
    assert image.dtype == np.uint8 and image.shape == (64, 64, 3) and (image == 1).all()
    assert meta.dtype == np.float32
    np.testing.assert_array_equal(
        meta, [0, 64, 64, 3, 64, 64, 3, 0, 0, 64, 64, 1, 1, 1, 0]
    )  # class 2 is another source's
    assert class_ids.dtype == np.int32 and class_ids.tolist() == [2, -1]
    assert boxes.dtype == np.int32 and boxes.tolist() == [[4, 8, 36, 40], [0, 0, 64, 16]]
    assert masks.dtype == bool
    np.testing.assert_array_equal(masks, dataset.load_mask(0)[0])


def test_load_image_gt_scales_and_pads_image_and_masks_alike():
    dataset = Shapes([[(1, 0, 0, 16, 32)]], size=(16, 32))
    image, meta, _, boxes, masks = load_image_gt(dataset, config(), 0)
    assert boxes.tolist() == [[16, 0, 48, 64]]
    np.testing.assert_array_equal(meta[1:12], [16, 32, 3, 64, 64, 3, 16, 0, 48, 64, 2])
    assert not image[:16].any() and not image[48:].any() and image[17:47, 1:63].all()
    assert masks[:, :, 0].sum() == 32 * 64 * 3 // 4


def test_load_image_gt_mini_masks():
    dataset = Shapes([[(1, 4, 8, 36, 40), (1, 0, 0, 16, 16)]])
    mini = load_image_gt(dataset, config(), 0, use_mini_mask=True)[4]
    expected = np.ones((8, 8), bool)
    expected[:4, :4] = False
    assert mini.shape == (8, 8, 2) and mini.dtype == bool
    np.testing.assert_array_equal(mini[:, :, 0], expected)
    np.testing.assert_array_equal(mini[:, :, 1], expected)


def test_an_instance_without_pixels_is_dropped_with_its_class_id():
    dataset = Shapes([[(1, 4, 8, 4, 8), (2, 0, 0, 16, 16)]])
    for mini in (False, True):
        _, _, class_ids, boxes, masks = load_image_gt(dataset, config(), 0, use_mini_mask=mini)
        assert class_ids.tolist() == [2] and boxes.tolist() == [[0, 0, 16, 16]] and masks.shape[-1] == 1


def test_flip_moves_image_mask_and_boxes_together():
    dataset = Shapes([[(1, 4, 8, 36, 40)]])
    plain = np.tile(np.arange(SIDE, dtype="uint8")[None, :, None], (SIDE, 1, 3))
    dataset.load_image = lambda image_id: plain
    draws = iter([0, 0.4999, 0, 0.5])  # the first of each pair is the crop's
    rng = type("Draw", (), {"random": lambda self: next(draws)})()
    image, _, _, boxes, masks = load_image_gt(dataset, config(), 0, augment=True, rng=rng)
    np.testing.assert_array_equal(image, plain[:, ::-1])
    np.testing.assert_array_equal(masks, dataset.load_mask(0)[0][:, ::-1])
    assert boxes.tolist() == [[4, 64 - 40, 36, 64 - 8]]
    assert not masks[4:20, 40:56].any() and masks[4:20, 24:40].all()  # the missing quarter is on the right now
    image, _, _, boxes, _ = load_image_gt(dataset, config(), 0, augment=True, rng=rng)
    np.testing.assert_array_equal(image, plain)
    assert boxes.tolist() == [[4, 8, 36, 40]]


@pytest.mark.parametrize("empty", [np.zeros((0, 0, 0)), np.zeros((10, 20, 0)), np.zeros((64, 64, 0), bool)])
def test_no_instances_need_no_mask_of_the_right_size(empty):
    dataset = Shapes([[]])
    dataset.load_mask = lambda image_id: (empty, np.zeros(0, "int32"))
    _, _, class_ids, boxes, masks = load_image_gt(dataset, config(), 0, use_mini_mask=True)
    assert class_ids.shape == (0,) and boxes.shape == (0, 4) and masks.shape == (8, 8, 0)
    assert load_image_gt(dataset, config(), 0)[4].shape == (64, 64, 0)


@pytest.mark.parametrize("shape, count", [((64, 32, 2), 2), ((10, 64, 2), 2), ((64, 64, 2), 3), ((64, 64, 2), 0)])
def test_masks_that_do_not_belong_to_the_image(shape, count):
    dataset = Shapes([[]])
    dataset.load_mask = lambda image_id: (np.ones(shape), np.ones(count, "int32"))
    with pytest.raises(ValueError) as error:
        load_image_gt(dataset, config(), 0)
    assert str(error.value) == (
        f"/toy/0.png: the image is 64 x 64 (height x width) with {count} class ids, but its masks are "
        f"{shape[0]} x {shape[1]} x {shape[2]}."
    )


@pytest.mark.parametrize("shape, channels", [((64, 64), 3), ((64, 64, 4), 3), ((64, 64, 3), 1), ((64, 64, 1), 3)])
def test_channels_as_detect_converts_them(shape, channels):
    dataset = Shapes([[]])
    dataset.load_image = lambda image_id: np.full(shape, 7, "uint8")
    toy = config(IMAGE_CHANNEL_COUNT=channels, MEAN_PIXEL=[0.0] * channels)
    image, meta, *_ = load_image_gt(dataset, toy, 0)
    assert image.shape == (64, 64, channels) and (image == 7).all() and meta[3] == channels
