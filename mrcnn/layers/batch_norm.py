"""BatchNorm that can stay frozen and be folded into the convolution before it."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from mrcnn.ops.boxes import Tensor


@keras.saving.register_keras_serializable("mrcnn")
class BatchNorm(layers.BatchNormalization):
    """BatchNorm that can stay frozen: its statistics are then the stored ones in training too; gamma and beta train.

    Args:
        frozen: True for that. Building a graph with `BatchNorm(...)(x, training=False)`, as old code does, sets it: a
            Keras 3 model in training overrides the argument of the call.

    Attributes:
        folded: the layer adds beta at most, as its other numbers are in the convolution before it; see `fold`.
    """

    def __init__(self, frozen: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.frozen = frozen
        self.folded = False

    def __call__(self, inputs: Tensor, training: bool | None = None, **kwargs: Any) -> Tensor:
        if training is False and keras.backend.is_keras_tensor(inputs):
            self.frozen = True
        return super().__call__(inputs, training=training, **kwargs)

    def call(self, inputs: Tensor, training: bool | None = None, mask: Any = None) -> Tensor:
        if self.folded:
            return inputs if self._before().use_bias else inputs + ops.cast(self.beta, inputs.dtype)
        return super().call(inputs, training=False if self.frozen else training, mask=mask)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "frozen": self.frozen}

    def fold(self) -> bool:
        """Move the stored statistics, gamma and beta into the convolution before, for inference.

        That convolution must have no activation, and be followed by nothing else. If it has no bias, beta stays here
        as one. The weights can be saved and loaded as ever.

        Returns:
            whether that was done.
        """
        conv = self._before()
        if self.folded or not isinstance(conv, layers.Conv2D):
            return False
        if conv.activation is not keras.activations.linear or not (self.scale and self.center):
            return False
        if any(node.operation is not self for node in conv._outbound_nodes):
            return False  # others see the convolution's own output
        gamma, beta, mean, variance = (
            w.numpy() for w in (self.gamma, self.beta, self.moving_mean, self.moving_variance)
        )
        scale = gamma / np.sqrt(variance + self.epsilon)
        conv.kernel.assign(conv.kernel.numpy() * scale)
        if conv.use_bias:
            conv.bias.assign((conv.bias.numpy() - mean) * scale + beta)
            beta = np.zeros_like(beta)
        else:
            beta = beta - mean * scale
        self.gamma.assign(np.ones_like(gamma))
        self.beta.assign(beta)
        self.moving_mean.assign(np.zeros_like(mean))
        self.moving_variance.assign(np.full_like(variance, 1 - self.epsilon))
        self.folded = True
        return True

    def _before(self):
        return self._inbound_nodes[0].input_tensors[0]._keras_history.operation


def batch_norm(x: Tensor, name: str, train_bn: bool | None, epsilon: float = 0.001) -> Tensor:
    """BatchNorm with stored statistics if `train_bn` is False, else with those of the batch while training."""
    return BatchNorm(frozen=train_bn is False, epsilon=epsilon, name=name)(x)
