"""The two Keras models of Mask R-CNN: one detects, the other computes its losses and trains."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from mrcnn import losses, weights
from mrcnn.ops.boxes import Tensor
from mrcnn.train.devices import replicas

if TYPE_CHECKING:
    from mrcnn.settings.config import Config


@contextmanager
def precision(name: str) -> Iterator[None]:
    """While it lasts, layers that are made compute in "float32", "bfloat16" or "float16"; their weights are float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name if name == "float32" else f"mixed_{name}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@keras.saving.register_keras_serializable("mrcnn")
class InferenceGraph(keras.Model):
    """The graph that detects: a functional model whose `.h5` weights files have the original's layout."""

    mode = "inference"

    def save_weights(self, filepath: Path | str, overwrite: bool = True, **kwargs: Any) -> None:
        """Write the weights: `*.weights.h5` as Keras does, any other `.h5` in the original's layout."""
        if str(filepath).endswith(".weights.h5"):
            return super().save_weights(filepath, overwrite=overwrite, **kwargs)
        return weights.write(self, filepath, self.mode)


@keras.saving.register_keras_serializable("mrcnn")
class TrainingGraph(InferenceGraph):
    """The graph that trains: its outputs hold predictions beside targets, and the losses are computed from them."""

    mode = "training"

    def set_losses(self, config: Config, outputs: Container[str]) -> None:
        """Take from a `Config` how to compute the losses whose outputs the graph has, their factors (1 if left out) and
        that of the L2 term."""
        names = [name for name in losses.LOSSES if name.removesuffix("_loss") in outputs]
        self.config = config
        self.loss_weights = {name: config.LOSS_WEIGHTS.get(name, 1.0) for name in names}
        # AdamW decays the weights itself.
        in_loss = config.OPTIMIZER == "sgd" and config.WEIGHT_DECAY_BY == "loss"
        self.weight_decay = config.WEIGHT_DECAY if in_loss else 0.0
        self.loss_means = {name: keras.metrics.Mean(name=name) for name in names}

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        # A data pipeline leaves the batch unknown to TensorFlow, which would then compute every shape at run time.
        if isinstance(inputs, dict):
            inputs = [inputs[x.name] for x in self.inputs]
        fixed = None not in self.inputs[0].shape
        inputs = [ops.reshape(x, ref.shape) if fixed else x for x, ref in zip(inputs, self.inputs, strict=True)]
        return super().call(inputs, training=training, mask=mask)

    def regularization(self) -> Tensor:
        """L2 penalty: for each trained kernel and bias the mean square of its values, times the weight decay."""
        decayed = [w for w in self.trainable_variables if w.name not in ("gamma", "beta")]
        return self.weight_decay * sum(ops.mean(ops.square(w)) for w in decayed)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        total = self.regularization()
        for name in self.loss_weights:
            value = losses.LOSSES[name](y_pred, self.config) * self.loss_weights[name]
            self.loss_means[name].update_state(value)
            total = total + value
        # Each device has the mean over its images, and the gradients of all are added.
        return total / replicas()

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing: Keras would run a batch through the model, which fails where devices share it; all is built here."""
