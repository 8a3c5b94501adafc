"""What weights can be: finite numbers."""

import numpy as np


def check_values(name: str, array: np.ndarray) -> None:
    """Check the values of a weight, such as "conv1/kernel".

    Raises:
        ValueError: they are no numbers, not finite as float32, or negative where they are variances.
    """
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} holds no numbers but {array.dtype}")
    with np.errstate(over="ignore"):
        broken = array.size - np.count_nonzero(np.isfinite(array.astype("float32", copy=False)))
    if broken:
        raise ValueError(
            f"{name} is not finite in {broken} of {array.size} values, so nothing would be found; take weights from "
            "before that, such as an earlier checkpoint"
        )
    if name.endswith(("moving_variance", "running_var")) and array.size and array.min() < 0:
        raise ValueError(f"{name} is negative, which no variance is")
