"""Backbones of keras.applications."""

from __future__ import annotations

import re
from collections import Counter

import keras
from keras import layers

from mrcnn.layers.batch_norm import BatchNorm
from mrcnn.ops.boxes import Tensor

# Of the maps of an image of 128 x 128, by their strides.
_SIZES = [(128 // stride, 128 // stride) for stride in (2, 4, 8, 16, 32)]


def names() -> list[str]:
    """The networks of `keras.applications`."""
    return [name for name, network in vars(keras.applications).items() if callable(network)]


def applications_graph(input_image: Tensor, architecture: str, train_bn: bool | None = True) -> list[Tensor]:
    """Feature maps [C1, C2, C3, C4, C5] of a network of `keras.applications`, with random weights.

    They are the last outputs of stride 2 (4 where there is none), 4, 8, 16 and 32. The network's layers get its name
    before theirs. It sees pixels as they come, less MEAN_PIXEL and over PIXEL_STD: what scaling it begins with is left
    out. BatchNorm has the network's own epsilon.

    Args:
        input_image: [B, H, W, C], sides divisible by 32.
        architecture: a name in `keras.applications`, as "MobileNetV2".
        train_bn: False uses stored BatchNorm statistics.

    Raises:
        ValueError: unknown architecture, or one that has not all of these strides.
    """
    if architecture not in names():
        raise ValueError(f"keras.applications has no network {architecture!r}.")
    channels = input_image.shape[-1]
    try:
        network = getattr(keras.applications, architecture)(
            include_top=False, weights=None, input_shape=(None, None, channels)
        )
        tensors = [operation.output for operation in network.operations]
        sizes = keras.Model(network.input, tensors).compute_output_shape((1, 128, 128, channels))
    except ValueError as error:
        raise ValueError(f"BACKBONE {architecture!r} is not built for images of any size: {error}") from error
    last = {128 // size[1]: x for size, x in zip(sizes, tensors, strict=True) if size[1:3] in _SIZES}
    lacking = [stride for stride in (4, 8, 16, 32) if stride not in last]
    if lacking:
        raise ValueError(
            f"BACKBONE {architecture!r} has no feature map of stride {' or '.join(map(str, lacking))}, which the "
            "pyramid is built on; choose another network."
        )
    maps = [last.get(2, last[4]), *(last[stride] for stride in (4, 8, 16, 32))]
    counts: Counter[str] = Counter()

    def clone(layer):
        name = layer.name
        kind = re.sub(r"_\d+$", "", name)
        if kind.replace("_", "") == type(layer).__name__.lower():
            # Keras numbers layers without a name through the whole session, and weights are stored by names.
            counts[kind] += 1
            name = f"{kind}_{counts[kind]}"
        config = {**layer.get_config(), "name": f"{architecture.lower()}_{name}"}
        if isinstance(layer, layers.BatchNormalization):
            return BatchNorm.from_config({**config, "frozen": train_bn is False})
        if isinstance(layer, (layers.Rescaling, layers.Normalization)):
            return layers.Activation("linear", name=config["name"])
        return type(layer).from_config(config)

    cloned = keras.models.clone_model(
        keras.Model(network.input, maps), input_tensors=input_image, clone_function=clone, recursive=True
    )
    return cloned.outputs
