"""The tiny model whose every tensor the original has computed (tests/golden)."""

import json
from pathlib import Path

import keras
import numpy as np
from keras import layers

from mrcnn.config import Config
from mrcnn.layers.batch_norm import BatchNorm
from mrcnn.model import MaskRCNN

GOLDEN = Path(__file__).parent / "golden"
WEIGHTS = GOLDEN / "tiny_weights_gz.h5"
INFO = json.loads(str(np.load(GOLDEN / "tiny_inference.npz")["info_json"]))


def backbone(input_image, stage5=True, train_bn=True):
    x, maps = input_image, []
    for op in INFO["backbone"]:
        if op["op"] == "conv":
            x = layers.Conv2D(op["filters"], op["kernel"], strides=op["strides"], padding="same", name=op["name"])(x)
        elif op["op"] == "bn":
            x = BatchNorm(epsilon=INFO["bn_epsilon"], name=op["name"])(x, training=train_bn)
        elif op["op"] == "relu":
            x = layers.Activation("relu")(x)
        else:
            x = layers.MaxPooling2D(op["pool"], strides=op["strides"], padding="same", name=op["name"])(x)
        if "out" in op:
            maps.append(x)
    return maps


def backbone_shapes(image_shape):
    return [[-(-side // stride) for side in image_shape[:2]] for stride in (4, 8, 16, 32, 64)]


class TinyConfig(Config):
    BACKBONE = backbone
    COMPUTE_BACKBONE_SHAPE = backbone_shapes


for _name, _value in INFO["config"].items():
    if _name in dir(Config):
        setattr(TinyConfig, _name, _value)


def tiny_model(mode, model_dir, **changes):
    """A `MaskRCNN` with the original's tiny weights; `changes` are config values."""
    model = MaskRCNN(mode, TinyConfig().update(**changes), model_dir)
    model.load_weights(WEIGHTS, by_name=True)
    return model


def value_and_gradients(function, *arrays):
    """A function of tensors that gives a scalar: its value, and its gradient with respect to each of the arrays."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tensors = [tf.convert_to_tensor(x) for x in arrays]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        found = tape.gradient(value, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    elif keras.backend.backend() == "torch":
        import torch

        tensors = [torch.tensor(x, requires_grad=np.issubdtype(np.asarray(x).dtype, np.floating)) for x in arrays]
        value = function(*tensors)
        grads = torch.autograd.grad(value, tensors, allow_unused=True) if value.requires_grad else [None] * len(arrays)
        found = [np.zeros_like(x) if grad is None else grad for x, grad in zip(arrays, grads, strict=True)]
        value = value.detach()
    else:
        import jax

        def stateless(*tensors):
            with keras.StatelessScope():
                return function(*tensors)

        # Compiled as one: each operation by itself takes longer.
        value, found = jax.jit(jax.value_and_grad(stateless, argnums=tuple(range(len(arrays)))))(*arrays)
    return float(value), [np.asarray(x) for x in found]
