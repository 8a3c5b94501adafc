"""R-CNN's linear models on the features of regions: an SVM and a box regression for each class.

Their weights are fitted when the network is trained (`mrcnn.train.linear_models`), and no gradient changes them.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from mrcnn.ops.boxes import Tensor


class _PerClass(layers.Layer):
    """A linear function of features [B, N, F], with `outputs` numbers for each class that is not the background."""

    outputs = 1

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.num_classes = num_classes

    def build(self, input_shape: Any) -> None:
        count = (self.num_classes - 1) * self.outputs
        features = (input_shape[0] if isinstance(input_shape[0], (list, tuple)) else input_shape)[-1]
        self.kernel = self.add_weight((features, count), "zeros", trainable=False, name="kernel")
        self.bias = self.add_weight((count,), "zeros", trainable=False, name="bias")

    def linear(self, features: Tensor) -> Tensor:
        return ops.matmul(features, self.kernel) + self.bias

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes}


@keras.saving.register_keras_serializable("mrcnn")
class ClassSvms(_PerClass):
    """Scores of regions by a linear SVM for each class (Girshick et al. 2014, section 2.3).

    A score is the sigmoid of the SVM's margin. It ranks the regions of a class and lies in 0..1, but it is no
    probability: an SVM is not fitted to one. Until the SVMs are fitted the scores are the softmax's probabilities.

    Args:
        num_classes: K.

    Inputs: [features [B, N, F], probabilities [B, N, K] of the softmax].
    Output: [B, N, K]; of the background, one minus the highest of the others.
    """

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        features, probabilities = inputs
        scores = ops.sigmoid(self.linear(features))
        scores = ops.concatenate([1 - ops.max(scores, axis=-1, keepdims=True), scores], axis=-1)
        return ops.where(ops.any(ops.not_equal(self.kernel, 0)), scores, probabilities)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple:
        return tuple(input_shape[1])


@keras.saving.register_keras_serializable("mrcnn")
class BoxRegression(_PerClass):
    """Box deltas of regions by a linear function for each class (Girshick et al. 2014, appendix C).

    Args:
        num_classes: K.

    Input: features [B, N, F].
    Output: [B, N, K, 4] deltas in units of BBOX_STD_DEV; 0 for the background, and until they are fitted.
    """

    outputs = 4

    def call(self, features: Tensor) -> Tensor:
        deltas = self.linear(features)
        deltas = ops.concatenate([ops.zeros_like(deltas[..., :4]), deltas], axis=-1)
        return ops.reshape(deltas, (-1, ops.shape(features)[1], self.num_classes, 4))

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple:
        return (*input_shape[:2], self.num_classes, 4)
