"""Generated rectangles for the tests of data: exact masks, images that can be made to fail, a small config."""

import numpy as np

from mrcnn.config import Config
from mrcnn.data.dataset import Dataset

SIDE = 64


class Toy(Config):
    NUM_CLASSES = 3
    BACKBONE = "resnet18"
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = SIDE
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    MAX_GT_INSTANCES = 4
    MINI_MASK_SHAPE = (8, 8)
    TRAIN_ROIS_PER_IMAGE = 20


class Shapes(Dataset):
    """Images with instances given as (class id, y1, x1, y2, x2); of every box the upper left quarter is missing.

    Pixels are the image's id + 1; ids in `bad` cannot be read.
    """

    def __init__(self, instances, size=(SIDE, SIDE), bad=()):
        super().__init__()
        self.instances, self.size, self.bad, self.read = instances, size, set(bad), []
        self.add_class("toy", 1, "one")
        self.add_class("other", 1, "two")
        for i in range(len(instances)):
            self.add_image("toy" if i % 2 == 0 else "other", i, f"/toy/{i}.png")
        self.prepare()

    def load_image(self, image_id):
        self.read.append(int(image_id))
        if image_id in self.bad:
            raise OSError(f"broken {image_id}")
        size = self.size[image_id] if isinstance(self.size, list) else self.size
        return np.full((*size, 3), image_id + 1, "uint8")

    def load_mask(self, image_id):
        size = self.size[image_id] if isinstance(self.size, list) else self.size
        boxes = self.instances[image_id]
        mask = np.zeros((*size, len(boxes)), bool)
        for i, (_, y1, x1, y2, x2) in enumerate(boxes):
            mask[y1:y2, x1:x2, i] = True
            mask[y1 : (y1 + y2) // 2, x1 : (x1 + x2) // 2, i] = False
        return mask, np.array([box[0] for box in boxes], "int32")


def shapes(count=5, **options):
    """`count` images with one instance each, further down in every one."""
    return Shapes([[(1 + i % 2, 2 * i, 8, 2 * i + 32, 40)] for i in range(count)], **options)


def config(**values):
    return Toy().update(**values)


def ids(batch):
    return batch[0]["input_image_meta"][:, 0].astype(int).tolist()


def assert_same(one, two):
    assert list(one[0]) == list(two[0])
    for name, value in one[0].items():
        np.testing.assert_array_equal(value, two[0][name], err_msg=name)
