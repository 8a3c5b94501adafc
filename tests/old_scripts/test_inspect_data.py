"""What the notebooks that look into data did: anchors, a generator of batches, targets of both stages."""

import random

import numpy as np
import pytest
from matplotlib import patches
from old_set import OldConfig, old_dataset

import mrcnn.model as modellib
from mrcnn import utils, visualize
from mrcnn.model import log
from mrcnn.visualize import display_images, plt

ROIS = 60


@pytest.fixture(scope="module")
def config():
    return OldConfig()


@pytest.fixture(scope="module")
def dataset():
    return old_dataset()


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def pyramid(config):
    shapes = modellib.compute_backbone_shapes(config, config.IMAGE_SHAPE)
    return shapes, utils.generate_pyramid_anchors(
        config.RPN_ANCHOR_SCALES,
        config.RPN_ANCHOR_RATIOS,
        shapes,
        config.BACKBONE_STRIDES,
        config.RPN_ANCHOR_STRIDE,
    )


def test_images_masks_and_statistics(config, dataset, capsys):
    assert "Image Count: %d" % len(dataset.image_ids) == "Image Count: 4"
    for i, info in enumerate(dataset.class_info):
        print("%3d. %-50s" % (i, info["name"]))
    image_id = np.random.choice(dataset.image_ids, 1)[0]
    mask, class_ids = dataset.load_mask(image_id)
    bbox = utils.extract_bboxes(mask)
    log("class_ids", class_ids)
    log("bbox", bbox)
    visualize.display_top_masks(dataset.load_image(image_id), mask, class_ids, dataset.class_names)
    image, window, scale, padding, _ = utils.resize_image(
        dataset.load_image(image_id),
        min_dim=config.IMAGE_MIN_DIM,
        max_dim=config.IMAGE_MAX_DIM,
        mode=config.IMAGE_RESIZE_MODE,
    )
    mask = utils.resize_mask(mask, scale, padding)
    assert mask.shape == image.shape[:2] + (len(class_ids),) and (utils.extract_bboxes(mask) == bbox).all()
    small = utils.minimize_mask(bbox, mask, config.MINI_MASK_SHAPE)
    again = utils.expand_mask(bbox, small, image.shape)
    assert small.shape[:2] == tuple(config.MINI_MASK_SHAPE) and (again == mask).mean() > 0.99
    out = capsys.readouterr().out
    assert "  1. red" in out and "bbox" in out


def test_mini_masks_and_augmentation(config, dataset):
    image, meta, class_ids, bbox, mask = modellib.load_image_gt(dataset, config, 1, augment=True, use_mini_mask=True)
    assert mask.shape == (*config.MINI_MASK_SHAPE, len(class_ids)) and mask.dtype == bool
    display_images([image] + [mask[:, :, i] for i in range(min(mask.shape[-1], 7))])
    expanded = utils.expand_mask(bbox, mask, image.shape)
    visualize.display_instances(image, bbox, expanded, class_ids, dataset.class_names)
    assert plt.get_fignums() == [1]


def test_anchors_of_one_cell_of_each_level(config, dataset):
    shapes, anchors = pyramid(config)
    per_cell = len(config.RPN_ANCHOR_RATIOS)
    counts = [per_cell * h * w // config.RPN_ANCHOR_STRIDE**2 for h, w in shapes]
    assert sum(counts) == len(anchors) == 4092
    image = modellib.load_image_gt(dataset, config, 0)[0]
    fig, ax = plt.subplots(1, figsize=(5, 5))
    ax.imshow(image)
    drawn = []
    for level, color in enumerate(visualize.random_colors(len(shapes))):
        start = sum(counts[:level])
        center = shapes[level] // 2
        cell = int(per_cell * (center[0] * shapes[level][1] / config.RPN_ANCHOR_STRIDE**2 + center[1]))
        for i, rect in enumerate(anchors[start : start + counts[level]][cell : cell + per_cell]):
            y1, x1, y2, x2 = rect
            drawn.append(((y1 + y2) / 2, (x1 + x2) / 2))
            shade = (i + 1) * np.array(color) / per_cell
            ax.add_patch(patches.Rectangle((x1, y1), x2 - x1, y2 - y1, facecolor="none", edgecolor=shade))
    np.testing.assert_allclose(drawn, 64)


def test_batches_with_targets_of_both_stages(config, dataset):
    _, anchors = pyramid(config)
    g = modellib.data_generator(dataset, config, shuffle=True, random_rois=ROIS, batch_size=4, detection_targets=True)
    inputs, outputs = next(g)
    [normalized_images, image_meta, rpn_match, rpn_bbox, gt_class_ids, gt_boxes, gt_masks, rpn_rois, rois] = inputs
    [mrcnn_class_ids, mrcnn_bbox, mrcnn_mask] = outputs
    b = 0
    image_id = modellib.parse_image_meta(image_meta)["image_id"][b]
    assert dataset.image_reference(image_id) == str(image_id)
    mrcnn_class_ids = mrcnn_class_ids[:, :, 0]

    # The first stage: anchors, and what moves them onto the objects.
    sample_image = modellib.unmold_image(normalized_images[b], config)
    assert (sample_image == dataset.load_image(image_id)).all()
    indices = np.where(rpn_match[b] == 1)[0]
    refined_anchors = utils.apply_box_deltas(anchors[indices], rpn_bbox[b, : len(indices)] * config.RPN_BBOX_STD_DEV)
    boxes = gt_boxes[b][gt_class_ids[b] != 0]
    assert np.abs(refined_anchors[:, None] - boxes).max(-1).min(-1).max() < 0.01
    fig, ax = plt.subplots(1, figsize=(8, 8))
    visualize.draw_boxes(sample_image, boxes=anchors[indices], refined_boxes=refined_anchors, ax=ax)
    visualize.draw_boxes(sample_image, boxes=anchors[np.where(rpn_match[b] == -1)[0]][:10], ax=ax)
    visualize.draw_boxes(sample_image, boxes=anchors[np.random.choice(np.where(rpn_match[b] == 0)[0], 10)], ax=ax)

    # The second: RoIs, and what makes them the objects' boxes and masks.
    assert np.bincount(mrcnn_class_ids[b].flatten()).sum() == rois.shape[1] == config.TRAIN_ROIS_PER_IMAGE
    specific = mrcnn_bbox[b, np.arange(mrcnn_bbox.shape[1]), mrcnn_class_ids[b], :]
    refined_rois = utils.apply_box_deltas(rois[b].astype(np.float32), specific[:, :4] * config.BBOX_STD_DEV)
    masks = mrcnn_mask[b, np.arange(mrcnn_mask.shape[1]), :, :, mrcnn_class_ids[b]]
    positive = mrcnn_class_ids[b] > 0
    assert 0 < positive.sum() <= 0.34 * len(positive)
    assert np.abs(refined_rois[positive][:, None] - boxes).max(-1).min(-1).max() < 0.01
    visualize.draw_rois(sample_image, rois[b], refined_rois, masks, mrcnn_class_ids[b], dataset.class_names)
    rows = np.ascontiguousarray(rois[b]).view(np.dtype((np.void, rois.dtype.itemsize * rois.shape[-1])))
    assert 1 < len(np.unique(rows)) <= rois.shape[1]
    images, titles = [], []
    for i in random.sample(range(rois.shape[1]), 4):
        image = visualize.draw_box(sample_image.copy(), rois[b, i, :4].astype(np.int32), [255, 0, 0])
        images.append(visualize.draw_box(image, refined_rois[i].astype(np.int64), [0, 255, 0]))
        titles.append("ROI {}".format(i))
        images.append(masks[i] * 255)
        titles.append(dataset.class_names[mrcnn_class_ids[b, i]][:20])
    display_images(images, titles, cols=4, cmap="Blues", interpolation="none")
    assert [ax.get_title() for ax in plt.gcf().axes] == titles


def test_share_of_positive_rois(config, dataset):
    g = modellib.data_generator(dataset, config, shuffle=True, random_rois=ROIS, batch_size=1, detection_targets=True)
    total = 0
    for _ in range(4):
        _, [ids, _, _] = next(g)
        total += np.sum(ids[0] > 0)
    assert 0 < total / (4 * ids.shape[1]) < 0.34


def test_random_order_and_one_batch_without_rois(config, dataset):
    g = modellib.data_generator(dataset, config, shuffle=False, batch_size=2)
    inputs, outputs = next(g)
    assert len(inputs) == 7 and outputs == []
    assert modellib.parse_image_meta(inputs[1])["image_id"].tolist() == [0, 1]
    next(g)
    assert modellib.parse_image_meta(next(g)[0][1])["image_id"].tolist() == [0, 1]  # and on from the beginning
