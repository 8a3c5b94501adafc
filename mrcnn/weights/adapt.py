"""Stored weights as a model needs them, where there is a change that computes the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike

from mrcnn.weights.h5 import Layers, Origin, named_weights

# What Keras's ImageNet networks take off RGB pixels of 0..255; see keras.applications.imagenet_utils, mode "caffe".
KERAS_MEAN = (123.68, 116.779, 103.939)


class Pixels(NamedTuple):
    """What a network sees of a pixel: (pixel - mean) / std in RGB, then the channels in this order.

    A number, or one for each channel; order is "rgb" or "bgr".
    """

    mean: ArrayLike
    std: ArrayLike = 1.0
    order: str = "rgb"


def adapt(
    stored: Layers, layers: Mapping[str, keras.layers.Layer], origin: Origin | None, pixels: Pixels | None
) -> tuple[Layers, dict[str, str]]:
    """Weights of a file, changed so that a model computes with them what their own network does.

    - A first convolution of RGB goes to another number of input channels, see `adapt_channels`.
    - A bias goes into the BatchNorm behind it where the model's convolution has none (mean' = mean - bias), and is zero
      where the file has none.
    - Of a file of Keras's ImageNet networks, the first convolution goes to the `pixels` that the model sees, its border
      aside, where zeros are padded; and statistics to the model's epsilon.

    Args:
        stored: {layer: {weight: array}}; not modified.
        layers: the model's, by name, in their order.
        origin: what is known of the file's network.
        pixels: what the model sees; None leaves the first convolution alone.

    Returns:
        the weights, and {layer: what was done, in words}.

    Raises:
        ValueError: the file's network has its stride in other convolutions.
    """
    found = {layer: dict(values) for layer, values in stored.items()}
    notes: dict[str, str] = {}
    if origin:
        _check_stride(layers)
    first = next(iter(layers), "")
    if first in found:
        _first_convolution(first, found, named_weights(layers[first]), notes, pixels if origin else None)
    for name, layer in layers.items():
        if name not in found:
            continue
        if origin and isinstance(layer, keras.layers.BatchNormalization) and layer.epsilon != origin.epsilon:
            found[name] = _to_epsilon(found[name], origin.epsilon, layer.epsilon)
            notes[name] = f"from epsilon {origin.epsilon} to {layer.epsilon}"
        _bias(name, layer, layers, found, notes)
    return found, notes


def _check_stride(layers):
    first = layers.get("res3a_branch2a")  # a 1x1 convolution, but in networks of basic blocks
    if first is not None and first.kernel_size == (1, 1) and first.strides == (1, 1):
        raise ValueError(
            "Keras's ImageNet networks have the stride of a block in its first 1x1 convolution: set RESNET_STRIDE to "
            "'1x1' to load them."
        )


def _first_convolution(name, found, weights, notes, pixels):
    """RGB to the model's input channels, and Keras's pixels to the model's."""
    kernel, wanted = found[name].get("kernel"), weights.get("kernel")
    if kernel is None or wanted is None or kernel.ndim != 4 or len(wanted.shape) != 4 or kernel.shape[2] != 3:
        return
    channels = wanted.shape[2]
    adapted, how = kernel, []
    if channels != 3:
        adapted = adapt_channels(kernel, channels)
        how.append(f"from 3 input channels to {channels}")
    if pixels:
        mean, std = (np.broadcast_to(np.asarray(x, float), (channels,)) for x in (pixels.mean, pixels.std))
        shift = _shares(channels) * (mean[:, None] - KERAS_MEAN)
        bias = found[name].get("bias", 0) + np.einsum("hwsn,cs->n", kernel.astype(float), shift)
        adapted = adapted * std[:, None]
        found[name]["bias"] = bias.astype("float32")
        how.append("to MEAN_PIXEL and PIXEL_STD")
        if pixels.order == "bgr":
            adapted = adapted[:, :, ::-1]
            how.append("to BGR")
    if how:
        found[name]["kernel"] = adapted.astype("float32")
        notes[name] = ", ".join(how)


def _shares(channels):
    """[channels, 3]: how much of each of RGB's kernels a channel gets."""
    shares = np.tile(np.eye(3), (channels // 3 + 1, 1))[:channels] * 3 / channels
    return np.ones((1, 3)) if channels == 1 else shares


def adapt_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """A first convolution's RGB kernel [h, w, 3, n] for another number of input channels.

    Channel c gets the kernel of RGB's channel c modulo 3, times 3 / channels, so that the response to an image whose
    channels are all alike stays as it was; a single channel gets the sum of the three. The rule is timm's
    (https://github.com/huggingface/pytorch-image-models).
    """
    return np.einsum("hwsn,cs->hwcn", kernel, _shares(channels)).astype(kernel.dtype)


def _to_epsilon(values: Mapping[str, np.ndarray], stored: float, wanted: float) -> dict[str, np.ndarray]:
    """BatchNorm's weights for another epsilon: gamma / sqrt(variance + epsilon) stays as it was.

    The variance makes up for the difference; where it would fall below 0, gamma does.
    """
    if not {"gamma", "moving_variance"} <= values.keys():
        return dict(values)
    whole = values["moving_variance"].astype(float) + stored
    variance = np.maximum(whole - wanted, 0)
    gamma = values["gamma"] * np.sqrt((variance + wanted) / whole)
    return {**values, "gamma": gamma.astype("float32"), "moving_variance": variance.astype("float32")}


def _bias(name, layer, layers, found, notes):
    """A bias that the model's layer lacks, or that the file lacks."""
    values, wanted = found[name], getattr(layer, "use_bias", None)
    if wanted and "kernel" in values and "bias" not in values:
        values["bias"] = np.zeros(layer.bias.shape, "float32")
        notes[name] = _and(notes.get(name), "zeros for the bias that the file lacks")
    norm = _norm_behind(layer)
    if wanted is False and "bias" in values and norm in layers:
        statistics = found.get(norm, {})
        if np.shape(statistics.get("moving_mean")) == values["bias"].shape:
            statistics["moving_mean"] = statistics["moving_mean"] - values.pop("bias")
            notes[name] = _and(notes.get(name), "bias into the BatchNorm behind it")


def _norm_behind(layer):
    """Name of the BatchNorm that alone sees what a layer computes, or None."""
    behind = [node.operation for node in layer._outbound_nodes]
    linear = getattr(layer, "activation", None) in (None, keras.activations.linear)
    return behind[0].name if linear and len(behind) == 1 and hasattr(behind[0], "moving_mean") else None


def _and(*texts):
    return ", ".join(text for text in texts if text)
