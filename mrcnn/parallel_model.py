"""The name of the 2017-2019 package's `mrcnn.parallel_model`. Devices live in `mrcnn.train.devices`."""

from typing import Any

import keras

from mrcnn.compat.names import lend
from mrcnn.train.devices import strategy

__getattr__, _LENT = lend(__name__, "K KL KM tf")

__all__ = ["ParallelModel", "keras", *_LENT]


class ParallelModel:
    """The original's wrapper: a copy of a Keras model, with its weights, that trains on `gpu_count` devices.

    Everything but the names below is asked of the copy. `MaskRCNN` needs no wrapping; GPU_COUNT does it.

    Args:
        keras_model: the model to copy.
        gpu_count: number of devices.

    Raises:
        ValueError: there are fewer devices.
    """

    def __init__(self, keras_model: keras.Model, gpu_count: int) -> None:
        self.inner_model = keras_model
        self.gpu_count = gpu_count
        self.parallel = self.make_parallel()

    def make_parallel(self) -> keras.Model:
        """The copy."""
        with strategy(self.gpu_count).scope():
            copy = keras.models.clone_model(self.inner_model)
            copy.set_weights(self.inner_model.get_weights())
        return copy

    def summary(self, *args: Any, **kwargs: Any) -> None:
        """Print the model's layers."""
        self.inner_model.summary(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["parallel"], name)
