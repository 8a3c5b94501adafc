"""The loss of keypoints."""

from keras import ops

from mrcnn.losses.classes import cross_entropy
from mrcnn.losses.means import masked_mean
from mrcnn.ops.boxes import Tensor


def keypoint_loss(target_cells: Tensor, pred_keypoints: Tensor) -> Tensor:
    """Softmax cross-entropy over the cells of each heatmap, over the points that have one.

    Points that are annotated but hidden (v = 1) count like visible ones.

    Args:
        target_cells: [B, P, J] int, row * columns + column; -1 where there is no point to learn.
        pred_keypoints: [B, P, J, h, w] logits.
    """
    _, slots, points, rows, columns = pred_keypoints.shape
    logits = ops.reshape(pred_keypoints, (-1, slots, points, rows * columns))
    return masked_mean(cross_entropy(ops.maximum(target_cells, 0), logits), target_cells >= 0)
