"""Converted weights of torchvision's one-stage detectors compute what torchvision computes.

The numbers are those of torchvision itself with seeded weights, in ../shared beside the checkout.
"""

import functools
import sys

import keras
import numpy as np
import pytest
from keras import ops
from real_data import ROOT

from mrcnn.models.detectors import load_detector
from mrcnn.ops import boxes
from mrcnn.ops.meta import compose_image_meta
from mrcnn.weights.convert import convert

FOLDER = ROOT.parent / "shared" / "golden" / "torchvision"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="torchvision's numbers are not in ../shared")

# The maps of each, by the names of our layers.
PYRAMID = {f"feature_{name}": f"fpn_p{level}" for name, level in (("0", 3), ("1", 4), ("2", 5), ("p6", 6), ("p7", 7))}
KINDS = {"retinanet": PYRAMID, "retinanet_v2": PYRAMID, "fcos": PYRAMID}
KINDS["ssd300"] = {
    f"feature_{i}": name
    for i, name in enumerate(("dense_l2scale", "dense_fc7", *(f"dense_conv{n}_2" for n in (8, 9, 10, 11))))
}


class Case:
    """torchvision's numbers for one of its models, and our model with the same weights run on the same batch."""

    def __init__(self, kind, folder):
        sys.path.insert(0, str(FOLDER))
        import seeded_weights

        path = FOLDER / f"torchvision_{kind}.npz"
        self.kind, self.gold = kind, dict(np.load(path))
        convert(seeded_weights.state_dict(path), folder, epsilon=1e-5, keep_all=True)
        self.model = load_detector(folder, folder / "logs", IMAGES_PER_GPU=2, **self.settings())
        batch = self.gold["batch"].transpose(0, 2, 3, 1)
        images = [self.gold["image_0"], self.gold["image_1"]]
        windows = [(0, 0, *size) for size in self.gold["image_sizes"].tolist()]
        classes = np.zeros(self.model.config.NUM_CLASSES, "int32")
        metas = np.stack(
            [
                compose_image_meta(0, image.shape, batch.shape[1:], window, 1, classes)
                for image, window in zip(images, windows, strict=True)
            ]
        ).astype("float32")
        graph = self.model.keras_model
        maps = {theirs: graph.get_layer(ours).output for theirs, ours in KINDS[kind].items()}
        names = [layer.name for layer in graph.layers if layer.name in ("dense_class_logits", "dense_bbox")]
        names += ["dense_centerness"] * ("fcos" in kind)
        outputs = {name: graph.get_layer(name).output for name in names}
        inputs = self.model.inputs(batch, metas)
        found = keras.Model(graph.inputs, maps | outputs)(inputs, training=False)
        self.found = {name: ops.convert_to_numpy(x) for name, x in found.items()}
        shapes = [image.shape for image in images]
        self.results = self.model._detect_batch(batch, metas, shapes, windows)
        self.anchors = self.model.anchors

    def settings(self):
        return {} if self.kind == "ssd300" else {"IMAGE_MAX_DIM": 448}

    def pairs(self, i):
        """(ours, theirs) of the detections of image i that are one: of the same class, best IoU first."""
        ours, theirs = self.results[i], self.gold
        overlaps = boxes.overlaps(ours["rois"], theirs[f"result_{i}_boxes"][:, [1, 0, 3, 2]])
        overlaps[ours["class_ids"][:, None] != theirs[f"result_{i}_labels"]] = 0
        while overlaps.max() > 0.98:
            a, b = np.unravel_index(overlaps.argmax(), overlaps.shape)
            overlaps[a], overlaps[:, b] = 0, 0
            yield a, b


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """A function of the kind that gives its `Case`."""
    return functools.cache(lambda kind: Case(kind, tmp_path_factory.mktemp(kind)))


@pytest.fixture(params=list(KINDS))
def case(request, cases):
    return cases(request.param)


def check(result, expected, tolerance=1e-3):
    """Every number within `tolerance` of the largest."""
    np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def test_maps(case):
    for theirs in KINDS[case.kind]:
        check(case.found[theirs][..., :16], case.gold[theirs].transpose(0, 2, 3, 1))


def test_anchors(case):
    np.testing.assert_allclose(case.anchors, case.gold["anchors_0"][:, [1, 0, 3, 2]], atol=1e-3)


def test_head(case):
    logits = case.gold["head_cls_logits"].astype("float32")  # of float16
    check(
        case.found["dense_class_logits"], logits[..., logits.shape[-1] - case.found["dense_class_logits"].shape[-1] :]
    )
    if case.kind == "fcos":
        check(case.found["dense_centerness"], case.gold["head_bbox_ctrness"])
    check(case.found["dense_bbox"], case.gold["head_bbox_regression"][..., [1, 0, 3, 2]])


def test_detections(case):
    """torchvision reports boxes beside the image too, cut down to nothing; here they are no detections."""
    for i in range(2):
        scores, found = case.gold[f"result_{i}_scores"], case.gold[f"result_{i}_boxes"]
        there = int((boxes.area(found) > 0).sum())
        assert len(case.results[i]["scores"]) == len(scores) and there >= 0.85 * len(scores)
        close = [abs(case.results[i]["scores"][a] - scores[b]) < 0.005 for a, b in case.pairs(i)]
        assert sum(close) >= 0.98 * there, (sum(close), there)
