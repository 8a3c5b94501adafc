"""A class of our own with four keypoints: data, a small config, and what a model of it must do."""

import keras
import numpy as np

from mrcnn.config import Config
from mrcnn.data.dataset import Dataset
from mrcnn.evaluate import evaluate, format_classes, format_table
from mrcnn.model import MaskRCNN


class Kites(Dataset):
    """Dark images with one or two bright rectangles. Their corners are the points: a blue, a green, a red and a white
    one, clockwise from the upper left."""

    def __init__(self, count=12, keypoints=True):
        super().__init__()
        self.keypoints = keypoints
        self.add_class("kites", 1, "kite")
        for i in range(count):
            self.add_image("kites", i, None, height=64, width=64)
        self.prepare()

    def boxes(self, image_id):
        rng = np.random.default_rng(image_id)
        for x in (2, 34)[: 1 + image_id % 2]:
            y1, x1 = rng.integers(0, 28), x + rng.integers(0, 6)
            yield y1, x1, y1 + rng.integers(18, 30), x1 + rng.integers(16, 24)

    def load_image(self, image_id):
        image = np.full((64, 64, 3), 20, "uint8")
        for y1, x1, y2, x2 in self.boxes(image_id):
            image[y1:y2, x1:x2] = 110
            image[y1 : y1 + 6, x1 : x1 + 6] = 20, 20, 255
            image[y1 : y1 + 6, x2 - 6 : x2] = 20, 255, 20
            image[y2 - 6 : y2, x2 - 6 : x2] = 255, 20, 20
            image[y2 - 6 : y2, x1 : x1 + 6] = 255
        return image

    def load_mask(self, image_id):
        boxes = list(self.boxes(image_id))
        mask = np.zeros((64, 64, len(boxes)), bool)
        for i, (y1, x1, y2, x2) in enumerate(boxes):
            mask[y1:y2, x1:x2, i] = True
        return mask, np.ones(len(boxes), "int32")

    def load_keypoints(self, image_id):
        if not self.keypoints:
            return None
        corners = [[(x1, y1), (x2 - 1, y1), (x2 - 1, y2 - 1), (x1, y2 - 1)] for y1, x1, y2, x2 in self.boxes(image_id)]
        points = np.concatenate([np.array(corners), np.full((len(corners), 4, 1), 2)], axis=2)
        points[..., :2] += (np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * 3).astype(int)
        return points


class KiteConfig(Config):
    NAME = "kites"
    NUM_CLASSES = 2
    IMAGES_PER_GPU = 4
    STEPS_PER_EPOCH = 3
    VALIDATION_STEPS = 0
    BACKBONE = "resnet18"
    BACKBONE_WIDTH = 8
    TOP_DOWN_PYRAMID_SIZE = 16
    RPN_CHANNELS = 16
    MASK_CHANNELS = 8
    FPN_CLASSIF_FC_LAYERS_SIZE = 32
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    RPN_ANCHOR_SCALES = (12, 24, 48, 64, 64)
    PRE_NMS_LIMIT = 200
    POST_NMS_ROIS_TRAINING = 60
    POST_NMS_ROIS_INFERENCE = 20
    TRAIN_ROIS_PER_IMAGE = 12
    MAX_GT_INSTANCES = 4
    DETECTION_MAX_INSTANCES = 6
    DETECTION_MIN_CONFIDENCE = 0.0
    TRAIN_BN = True
    OPTIMIZER = "adamw"
    NUM_KEYPOINTS = 4
    KEYPOINT_FLIP_PAIRS = [(0, 1), (3, 2)]
    KEYPOINT_POOL_SIZE = 7
    KEYPOINT_MASK_SHAPE = (28, 28)
    KEYPOINT_CONVOLUTIONS = 2
    KEYPOINT_CHANNELS = 24


def train_and_detect(folder, masks, points):
    """Train for two steps, with or without a mask and a keypoint head, and check what is detected and evaluated."""
    config = KiteConfig().update(NUM_KEYPOINTS=points, USE_MASK=masks, KEYPOINT_FLIP_PAIRS=[], STEPS_PER_EPOCH=2)
    model = MaskRCNN("training", config, folder)
    kept = keras.callbacks.History()
    model.train(Kites(), None, 0.001, 1, "all", custom_callbacks=[kept])
    assert ("mrcnn_keypoint_loss" in kept.history) == (points > 0)
    assert ("mrcnn_mask_loss" in kept.history) == masks
    assert np.isfinite(kept.history["loss"][0])
    detector = MaskRCNN("inference", config, folder)
    detector.load_weights(model.find_last())
    assert not detector.load_report.left
    detector.keras_model.get_layer("mrcnn_class_logits").bias.assign([-9.0, 9.0])  # all is a kite
    (result,) = detector.detect([Kites().load_image(1)])
    count = len(result["rois"])
    assert count and ("masks" in result) == masks and ("keypoints" in result) == (points > 0)
    if masks:
        assert result["masks"].shape == (64, 64, count)
    if points:
        assert result["keypoints"].shape == (count, 4, 3) and result["keypoints"].dtype == np.float32
        assert (result["keypoints"][..., 2] > 0).all()
    outputs = detector.keras_model.outputs
    assert len(outputs) == 6 + masks + (points > 0)
    if points:
        assert tuple(outputs[-1].shape) == (None, 6, 4, 28, 28)
    metrics = evaluate(detector, Kites(2), verbose=0)
    assert list(metrics) == ["bbox", *["segm"] * masks, *["keypoints"] * (points > 0)]
    assert ("keypoint" in format_table(metrics)) == (points > 0) and "kite" in format_classes(metrics)
