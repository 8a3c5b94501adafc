"""Pictures of what a model finds while it trains: a row an image, in the folder of the run."""

from types import SimpleNamespace

import numpy as np
from squares import Squares

from mrcnn.config import Config
from mrcnn.data.reading import read_image
from mrcnn.draw.examples import SIDE, Examples


class Found:
    """A detector that finds the left half of each image, and a second thing that it is not sure of."""

    config = Config()

    def detect(self, images):
        (image,) = images
        height, width = image.shape[:2]
        masks = np.zeros((height, width, 2), bool)
        masks[:, : width // 2] = True
        rois = np.array([[0, 0, height, width // 2]] * 2)
        return [{"rois": rois, "class_ids": np.array([1, 1]), "scores": np.array([0.9, 0.2]), "masks": masks}]


def test_a_row_an_image(tmp_path):
    dataset = Squares()
    model = SimpleNamespace(log_dir=tmp_path, config=Config().update(TRACKERS=["csv"]))
    evaluation = SimpleNamespace(every=2, detector=Found(), dataset=dataset, rcnn=model)
    examples = Examples(evaluation, count=2)
    examples.on_epoch_end(0)
    assert not list(tmp_path.iterdir())
    examples.on_epoch_end(1)
    (path,) = tmp_path.iterdir()
    sheet = read_image(path)
    assert path.name == "examples_0002.png" and sheet.shape == (2 * SIDE, 2 * SIDE, 3)
    truth, found = sheet[:SIDE, :SIDE], sheet[:SIDE, SIDE:]
    assert (truth != found).any() and len(np.unique(found.reshape(-1, 3), axis=0)) > 2
