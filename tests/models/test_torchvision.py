"""Converted weights of torchvision compute what torchvision computes: every stage, and what is found in the end.

The numbers are those of torchvision itself with seeded weights, in ../shared beside the checkout.
"""

import functools
import sys

import keras
import numpy as np
import pytest
from keras import ops
from real_data import ROOT

from mrcnn.layers.roi_align import PyramidROIAlign
from mrcnn.model import MaskRCNN
from mrcnn.ops import boxes
from mrcnn.ops.meta import compose_image_meta
from mrcnn.weights.convert import convert

FOLDER = ROOT.parent / "shared" / "golden" / "torchvision"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="torchvision's numbers are not in ../shared")


class Case:
    """torchvision's numbers for one of its models, and our model with the same weights run on the same batch."""

    def __init__(self, kind, folder):
        sys.path.insert(0, str(FOLDER))
        import seeded_weights

        path = FOLDER / f"torchvision_{kind}.npz"
        self.gold = dict(np.load(path))
        convert(seeded_weights.state_dict(path), folder, epsilon=1e-5, keep_all=True)
        self.model = MaskRCNN.from_pretrained(folder, folder / "logs", IMAGES_PER_GPU=2, IMAGE_MAX_DIM=448)
        self.batch = self.gold["batch"].transpose(0, 2, 3, 1)
        self.shape = self.batch.shape[1:]
        self.images = [self.gold["image_0"], self.gold["image_1"]]
        self.windows = [(0, 0, *size) for size in self.gold["image_sizes"].tolist()]
        classes = np.zeros(self.model.config.NUM_CLASSES, "int32")
        metas = [
            compose_image_meta(0, image.shape, self.shape, window, 1, classes)
            for image, window in zip(self.images, self.windows, strict=True)
        ]
        self.metas = np.stack(metas).astype("float32")
        graph = self.model.keras_model
        norm = "_bn" if self.model.config.FPN_BN else ""
        wanted = {f"P{n}": graph.get_layer(f"fpn_p{n}{norm if n < 6 else ''}").output for n in (2, 3, 4, 5, 6)}
        wanted |= {name: graph.get_layer(name).output for name in ("rpn_class", "rpn_bbox", "ROI", "mrcnn_class")}
        wanted |= {name: graph.get_layer(name).output for name in ("mrcnn_bbox", "mrcnn_detection")}
        anchors = np.stack([self.model.get_anchors(self.shape)] * 2)
        found = keras.Model(graph.inputs, wanted)([self.batch, self.metas, anchors], training=False)
        self.found = {name: ops.convert_to_numpy(x) for name, x in found.items()}
        shapes = [image.shape for image in self.images]
        self.results = self.model._detect_batch(self.batch, self.metas, shapes, self.windows)

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


@pytest.fixture(params=["mask", "keypoint", "mask_v2"])
def case(request, cases):
    return cases(request.param)


def check(result, expected, tolerance=1e-3):
    """Every number within `tolerance` of the largest."""
    np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("level", ["P2", "P3", "P4", "P5", "P6"])
def test_pyramid(level, case):
    theirs = level if level in case.gold else {"P6": "feature_pool"}.get(level, f"feature_{int(level[1]) - 2}")
    check(case.found[level][..., :16], case.gold[theirs].transpose(0, 2, 3, 1))


def test_rpn(case):
    logits = np.concatenate(
        [case.gold[f"rpn_logits_{i}"].transpose(0, 2, 3, 1).reshape(2, -1) for i in range(5)], axis=1
    )
    check(case.found["rpn_class"][..., 0], 1 / (1 + np.exp(-logits)))
    deltas = np.concatenate(
        [case.gold[f"rpn_deltas_{i}"].transpose(0, 2, 3, 1).reshape(2, -1, 4) for i in range(5)], axis=1
    )
    check(case.found["rpn_bbox"], deltas[..., [1, 0, 3, 2]])


def test_proposals(case):
    for i in range(2):
        ours = boxes.to_pixels(case.found["ROI"][i], case.shape, "edges")
        theirs = case.gold[f"proposals_{i}"][:, [1, 0, 3, 2]]
        same = (boxes.overlaps(ours, theirs).max(axis=0) > 0.99).mean()
        assert same >= 0.99, same


@pytest.mark.parametrize("kind", ["mask", "keypoint"])
def test_pooled(kind, cases):
    case = cases(kind)
    theirs = case.gold["proposals_0"][:40, [1, 0, 3, 2]]
    rois = boxes.normalize(theirs, case.shape, "edges")[None]
    maps = [case.found[f"P{n}"][:1] for n in (2, 3, 4, 5)]
    align = PyramidROIAlign((7, 7), sampling="bins", rounding="floor")
    pooled = ops.convert_to_numpy(align([ops.convert_to_tensor(x) for x in (rois, case.metas[:1], *maps)]))
    check(pooled[0, ..., :16], case.gold["box_pooled_16ch_first40"].transpose(0, 2, 3, 1))


def test_box_head(case):
    """The class probabilities and deltas of torchvision's own first proposals, at ours that are these."""
    ours = boxes.to_pixels(case.found["ROI"][0], case.shape, "edges")
    count = len(case.gold["box_deltas"])
    theirs = case.gold["proposals_0"][:count, [1, 0, 3, 2]]
    overlaps = boxes.overlaps(ours, theirs)
    row, same = overlaps.argmax(axis=0), overlaps.max(axis=0) > 0.9999
    assert same.mean() > 0.95
    logits = case.gold["class_logits"][:count].astype("float32")
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(case.found["mrcnn_class"][0][row[same]], probs[same], atol=2e-3)  # float16 logits
    deltas = case.gold["box_deltas"].reshape(count, -1, 4)[..., [1, 0, 3, 2]]
    check(case.found["mrcnn_bbox"][0][row[same]], deltas[same], 1e-4)


def test_detections(case):
    for i in range(2):
        scores = case.gold[f"result_{i}_scores"]
        assert len(scores) == len(case.results[i]["scores"]) == 100
        close = [abs(case.results[i]["scores"][a] - scores[b]) < 0.005 for a, b in case.pairs(i)]
        assert sum(close) >= 98, sum(close)


@pytest.mark.parametrize("kind", ["mask", "mask_v2"])
def test_masks(kind, cases):
    case = cases(kind)
    for i, image in enumerate(case.images):
        height, width = image.shape[:2]
        theirs = np.unpackbits(case.gold[f"result_{i}_masks_bits"])[: 100 * height * width]
        theirs = theirs.reshape(100, height, width).astype(bool)
        ious = []
        for a, b in case.pairs(i):
            mine, other = case.results[i]["masks"][..., a], theirs[b]
            union = (mine | other).sum()
            ious.append((mine & other).sum() / union if union else 1.0)
        assert np.mean(ious) > 0.98, np.mean(ious)


def test_keypoints(cases):
    case = cases("keypoint")
    near = []
    for i in range(2):
        for a, b in case.pairs(i):
            # torchvision counts from the corner of a pixel, COCO and we from its centre.
            difference = case.results[i]["keypoints"][a, :, :2] + 0.5 - case.gold[f"result_{i}_keypoints"][b, :, :2]
            near += (np.abs(difference).max(axis=1) <= 0.5).tolist()
    assert np.mean(near) >= 0.97, np.mean(near)
