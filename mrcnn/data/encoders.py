"""What a model's targets need of an image beside its ground truth: encoders, which every batch's images go through."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from mrcnn.data.anchors import pyramid_anchors
from mrcnn.data.random_rois import generate_random_rois
from mrcnn.data.rpn_targets import rpn_targets
from mrcnn.data.samples import Sample
from mrcnn.ops.matching import AnchorBlocks
from mrcnn.settings import Config

# Function of a sample, with all of its instances, and a random generator: {input of the graph: array of the image}.
Encoder = Callable[[Sample, np.random.Generator], dict[str, np.ndarray]]


class RpnTargets:
    """Encoder of what the RPN should say: input_rpn_match [A, 1] int32 and input_rpn_bbox [count, 4] float32.

    Args:
        anchors: [A, 4] pixels.
        count, std_dev: as of `rpn_targets`.
    """

    def __init__(self, anchors: np.ndarray, count: int, std_dev: ArrayLike) -> None:
        self.blocks, self.count, self.std_dev = AnchorBlocks(anchors), count, std_dev

    def __call__(self, sample: Sample, rng: np.random.Generator) -> dict[str, np.ndarray]:
        match, deltas = rpn_targets(self.blocks, sample.class_ids, sample.boxes, self.count, self.std_dev, rng)
        return {"input_rpn_match": match[:, None].astype("int32"), "input_rpn_bbox": deltas.astype("float32")}


class RandomRois:
    """Encoder of RoIs that stand in for proposals: input_rois [count, 4] float32 pixels."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self, sample: Sample, rng: np.random.Generator) -> dict[str, np.ndarray]:
        rois = generate_random_rois(sample.image.shape, self.count, sample.class_ids, sample.boxes, rng)
        return {"input_rois": rois.astype("float32")}


class GivenRois:
    """Encoder of the proposals that come with an image: input_rois [count, 4] float32 pixels, zero-padded."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self, sample: Sample, rng: np.random.Generator) -> dict[str, np.ndarray]:
        rois = np.zeros((self.count, 4), "float32")
        kept = sample.proposals[: self.count]
        rois[: len(kept)] = kept
        return {"input_rois": rois}


def two_stage_encoders(config: Config, random_rois: int | None = None) -> list[Encoder]:
    """Those of a detector with an RPN; with USE_RPN_ROIS False it gets RoIs, as many as `random_rois` or
    POST_NMS_ROIS_TRAINING says."""
    anchors = pyramid_anchors(config, config.IMAGE_SHAPE)
    encoders: list[Encoder] = [RpnTargets(anchors, config.RPN_TRAIN_ANCHORS_PER_IMAGE, config.RPN_BBOX_STD_DEV)]
    if not config.USE_RPN_ROIS:
        encoders.append(RandomRois(random_rois or config.POST_NMS_ROIS_TRAINING))
    return encoders
