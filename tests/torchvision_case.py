"""torchvision's own numbers for its models with seeded weights, in ../shared beside the checkout, beside ours."""

import keras
import numpy as np
import pytest
from keras import ops
from real_data import ROOT, seeded_weights

from mrcnn.models.detectors import load_detector
from mrcnn.models.graph import Compiled
from mrcnn.ops import boxes
from mrcnn.ops.meta import compose_image_meta
from mrcnn.weights.convert import convert

FOLDER = ROOT.parent / "shared" / "golden" / "torchvision"
needs_numbers = pytest.mark.skipif(not FOLDER.is_dir(), reason="torchvision's numbers are not in ../shared")


class Case:
    """torchvision's numbers for one of its models, and our model with the same weights run on the same two images.

    Args:
        kind: the part of the file's name behind "torchvision_".
        folder: where the weights are converted to.
        wanted: function of the model that gives tensors of its graph by name, whose values are in `found`.
        settings: changes of the config.
    """

    def __init__(self, kind, folder, wanted, **settings):
        path = FOLDER / f"torchvision_{kind}.npz"
        self.kind, self.gold = kind, dict(np.load(path))
        convert(seeded_weights(FOLDER)["state_dict"](path), folder, epsilon=1e-5, keep_all=True)
        self.model = load_detector(folder, folder / "logs", IMAGES_PER_GPU=2, **settings)
        batch = self.gold["batch"].transpose(0, 2, 3, 1)
        self.shape = batch.shape[1:]
        self.images = [self.gold["image_0"], self.gold["image_1"]]
        sizes = np.broadcast_to(self.gold.get("image_sizes", self.shape[:2]), (2, 2))
        windows = [(0, 0, *size) for size in sizes.tolist()]
        classes = np.zeros(self.model.config.NUM_CLASSES, "int32")
        metas = [
            compose_image_meta(0, image.shape, self.shape, window, 1, classes)
            for image, window in zip(self.images, windows, strict=True)
        ]
        self.metas = np.stack(metas).astype("float32")
        self._keep(wanted(self.model))
        shapes = [image.shape for image in self.images]
        self.results = self.model._detect_batch(batch, self.metas, shapes, windows)

    def _keep(self, wanted):
        """What the network computes on the way to the results is kept too: it runs once for both."""
        detector = self.model.compiled[0].graph
        both = Compiled(keras.Model(detector.inputs, [detector.output, wanted]))

        def run(inputs):
            outputs, found = both(inputs)
            self.found = {name: ops.convert_to_numpy(x) for name, x in found.items()}
            return outputs

        self.model.compiled[0] = run

    def pairs(self, i):
        """(ours, theirs) of the detections of image i that are one: of the same class, best IoU first."""
        ours, theirs = self.results[i], self.gold
        overlaps = boxes.overlaps(ours["rois"], theirs[f"result_{i}_boxes"][:, [1, 0, 3, 2]])
        overlaps[ours["class_ids"][:, None] != theirs[f"result_{i}_labels"]] = 0
        while overlaps.max() > 0.98:
            a, b = np.unravel_index(overlaps.argmax(), overlaps.shape)
            overlaps[a], overlaps[:, b] = 0, 0
            yield a, b

    def close(self, i):
        """How many of the pairs of image i have scores within 0.005 of each other."""
        theirs = self.gold[f"result_{i}_scores"]
        return sum(abs(self.results[i]["scores"][a] - theirs[b]) < 0.005 for a, b in self.pairs(i))


def check(result, expected, tolerance=1e-3):
    """Every number within `tolerance` of the largest."""
    np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance * np.abs(expected).max())
