"""What all losses share: the mean over what they concern, and the prediction of one class of many."""

from keras import ops

from mrcnn.ops.boxes import Tensor


def masked_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of `values` where `weights`, of the same shape and 0 or 1, is 1; 0 if there is none."""
    weights = ops.cast(weights, values.dtype)
    return ops.sum(values * weights) / ops.maximum(ops.sum(weights), 1)


def of_class(predictions: Tensor, class_ids: Tensor, axis: int) -> Tensor:
    """Predictions [B, N, ...] of each row's class [B, N], without the axis of the classes; padding (-1) as background.

    They are gathered: a product with a one-hot vector would round them on devices that multiply with 11 bits.
    """
    shape = tuple(predictions.shape)
    rows = ops.reshape(predictions, (-1, *shape[axis + 1 :]))
    first = ops.reshape(ops.arange(0, ops.shape(rows)[0], shape[axis], dtype="int32"), (-1, *shape[1:axis]))
    class_ids = ops.reshape(ops.maximum(ops.cast(class_ids, "int32"), 0), (-1, shape[1], *[1] * (axis - 2)))
    return ops.take(rows, first + class_ids, axis=0)
