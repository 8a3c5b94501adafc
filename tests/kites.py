"""A class of our own with four keypoints: data and a small config."""

import numpy as np

from mrcnn.config import Config
from mrcnn.data.dataset import Dataset


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
    OPTIMIZER = "sgd"  # a step of AdamW takes half as long again where it is not compiled
    NUM_KEYPOINTS = 4
    KEYPOINT_FLIP_PAIRS = [(0, 1), (3, 2)]
    KEYPOINT_POOL_SIZE = 7
    KEYPOINT_MASK_SHAPE = (28, 28)
    KEYPOINT_CONVOLUTIONS = 2
    KEYPOINT_CHANNELS = 24
