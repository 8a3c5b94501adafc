"""A generated set, its config and its model as people wrote them in 2018, on the tiny model of tests/tiny.py."""

import numpy as np
from tiny import TinyConfig

from mrcnn import utils


class OldConfig(TinyConfig):
    NAME = "old"
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    STEPS_PER_EPOCH = 1
    VALIDATION_STEPS = 1


class OldDataset(utils.Dataset):
    """Images of 128 x 128 with two or three blocks, each a class of its own."""

    def load_blocks(self, count):
        for i, name in enumerate(["red", "green", "blue"]):
            self.add_class("blocks", i + 1, name)
        rng = np.random.RandomState(0)
        for i in range(count):
            blocks = [(c, *rng.randint(0, 70, 2), *rng.randint(24, 56, 2)) for c in range(2 + i % 2)]
            self.add_image("blocks", image_id=i, path=None, blocks=blocks)

    def image_reference(self, image_id):
        info = self.image_info[image_id]
        return str(info["id"]) if info["source"] == "blocks" else super().image_reference(image_id)

    def load_image(self, image_id):
        image = np.full((128, 128, 3), 90, np.uint8)
        for c, y, x, h, w in self.image_info[image_id]["blocks"]:
            image[y : y + h, x : x + w, c] = 220
        return image

    def load_mask(self, image_id):
        blocks = self.image_info[image_id]["blocks"]
        mask = np.zeros((128, 128, len(blocks)), np.uint8)
        for i, (_, y, x, h, w) in enumerate(blocks):
            mask[y : y + h, x : x + w, i] = 1
        return mask.astype(bool), np.array([c + 1 for c, *_ in blocks], dtype=np.int32)


def old_dataset(count=4):
    dataset = OldDataset()
    dataset.load_blocks(count)
    dataset.prepare()
    return dataset
