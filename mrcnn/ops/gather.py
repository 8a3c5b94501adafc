"""Rows of a batch by their indices, and the index of the largest value."""

from keras import ops

from mrcnn.ops.boxes import Tensor


def gather(x: Tensor, index: Tensor) -> Tensor:
    """Rows of each of a batch: [B, N, ...] and indices [B, n] into its N, all in 0..N-1, to [B, n, ...].

    As `ops.take_along_axis` with the indices repeated over the last axes, which on TensorFlow is ten times as many
    operations.
    """
    batch, count = ops.shape(x)[:2]
    starts = ops.arange(batch, dtype="int32") * count
    return ops.take(ops.reshape(x, (-1, *x.shape[2:])), ops.cast(index, "int32") + starts[:, None], axis=0)


def largest(x: Tensor) -> Tensor:
    """Indices [...] int32 of the largest values along the last axis of [..., n], of equal ones the first.

    `ops.argmax` of floats looks at their bits on TensorFlow, for which ONNX and others have nothing. Where the value is
    wanted as well, `ops.top_k(x, 1)` gives both.
    """
    return ops.argmax(ops.cast(ops.equal(x, ops.max(x, axis=-1, keepdims=True)), "int32"), axis=-1)
