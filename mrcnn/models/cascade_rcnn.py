"""Cascade R-CNN (Cai and Vasconcelos 2018) as in its figure 3 d: box heads in a row, each on the boxes of the last.

Every stage learns from positives of a higher IoU, to which the regions have risen by then.
"""

from __future__ import annotations

from typing import Any

import keras

from mrcnn.layers.cascade import RefineBoxes, ScaledGradient
from mrcnn.models import parts
from mrcnn.models.faster_rcnn import box_losses, faster_rcnn_losses
from mrcnn.models.mask_rcnn import MaskRCNN, instance_losses
from mrcnn.ops.boxes import Tensor
from mrcnn.settings import Config


class CascadeRCNN(MaskRCNN):
    """Cascade R-CNN, with the heads of Mask R-CNN as USE_MASK and NUM_KEYPOINTS say; CASCADE_IOUS has its stages.

    Boxes are those of the last stage, one for all classes; scores are the mean of all stages. As in Detectron2, masks
    are learnt on the regions of the first stage and found in the boxes of the last.
    """

    name = "cascade_rcnn"

    def find(self, config: Config, rois: Tensor, levels: list[Tensor], meta: Tensor) -> dict[str, Tensor]:
        probs, last = [], len(config.CASCADE_IOUS)
        for stage in range(last + 1):
            found = parts.box_head(config, stage, class_agnostic=True)(rois, levels, meta)
            probs.append(found[f"{parts.stage_prefix(stage)}_class"])
            deltas = found[f"{parts.stage_prefix(stage)}_bbox"]
            if stage < last:
                rois = _refine(config, stage, rois, deltas, meta)
        mean = sum(probs[1:], probs[0]) / len(probs)
        detections = parts.detection_layer(config, last)([rois, mean, deltas, meta])
        return {"detections": detections, "mrcnn_class": mean, "mrcnn_bbox": deltas}

    def learn(
        self,
        config: Config,
        sampled: parts.SampledRois,
        truth: dict[str, Tensor],
        levels: list[Tensor],
        meta: Tensor,
    ) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = {}
        stages = len(config.CASCADE_IOUS) + 1
        levels = [ScaledGradient(1 / stages, name=f"mrcnn_p{i}")(x) for i, x in enumerate(levels, start=2)]
        for stage in range(stages):
            if stage:
                rois = _refine(config, stage - 1, sampled.rois, outputs[f"{parts.stage_prefix(stage - 1)}_bbox"], meta)
                sampled = parts.relabelled_rois(config, stage, rois, truth)
            outputs |= {
                **sampled.outputs(stage),
                **parts.box_head(config, stage, class_agnostic=True)(sampled.rois, levels, meta),
            }
        return outputs

    def criterion(self, config: Config) -> tuple[Any, dict[str, Any], list[str]]:
        _, arguments, names = super().criterion(config)
        later = [parts.stage_prefix(stage + 1) for stage in range(len(config.CASCADE_IOUS))]
        names += [f"{prefix}_{kind}" for prefix in later for kind in ("class", "bbox")]
        return cascade_rcnn_losses, {**arguments, "stages": len(later) + 1}, names


def _refine(config, stage, rois, deltas, meta):
    """The boxes that a stage makes of its regions."""
    layer = RefineBoxes(parts.stage_std_dev(config, stage), name=f"{parts.stage_prefix(stage)}_boxes")
    return layer([rois, deltas, *parts.proposal_windows(config, meta)])


@keras.saving.register_keras_serializable("mrcnn")
def cascade_rcnn_losses(
    outputs: dict[str, Tensor],
    mean: str = "positives",
    beta: float = 1.0,
    mask_logits: bool = False,
    stages: int = 3,
) -> dict[str, Tensor]:
    """The losses: those of the RPN, of every stage (equation 8 of the paper), and of the further heads.

    Args:
        outputs: predictions and targets by name.
        mean, beta, mask_logits: as of `mask_rcnn_losses`.
        stages: number of stages.
    """
    found = faster_rcnn_losses(outputs, mean, beta)
    for stage in range(1, stages):
        found |= box_losses(outputs, mean, beta, stage)
    return found | instance_losses(outputs, mask_logits)
