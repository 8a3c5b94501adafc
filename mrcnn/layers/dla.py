"""DLA (Yu et al. 2018): blocks of a ResNet in trees, whose roots see every block below them."""

from __future__ import annotations

from dataclasses import dataclass

from keras import layers

from mrcnn.layers.resnet import Variant, conv_norm
from mrcnn.ops.boxes import Tensor


@dataclass(frozen=True)
class DLA:
    """How deep the trees of the stages 2 to 5 are; each level doubles the blocks."""

    depths: tuple[int, ...]


BACKBONES = {"dla34": DLA((1, 2, 2, 1))}


def dla_graph(
    input_image: Tensor,
    architecture: str = "dla34",
    train_bn: bool | None = True,
    width: int = 64,
    epsilon: float = 0.001,
) -> list[Tensor]:
    """Feature maps [C1, C2, C3, C4, C5] of strides 2, 4, 8, 16, 32.

    Layers are named as those of ResNets: res2... to res5... and bn2... to bn5... are those of C2 to C5. Convolutions
    have no bias and are padded alike on all sides.

    Args:
        input_image: [B, H, W, C], sides divisible by 32.
        architecture: a name in `BACKBONES`.
        train_bn: False uses stored BatchNorm statistics.
        width: channels of C2; C1 has half as many, C3 to C5 have 2, 4 and 8 times as many.
        epsilon: of BatchNorm.
    """
    variant = Variant(train_bn, bias=False, padding="symmetric", epsilon=epsilon)
    quarter = max(1, width // 4)
    x = _conv(input_image, quarter, 7, "_conv1", variant)
    x = _conv(x, quarter, 3, "0", variant)
    x = _conv(x, 2 * quarter, 3, "1", variant, strides=(2, 2))
    maps = [x]
    for stage, depth in enumerate(BACKBONES[architecture].depths, start=2):
        pooled = layers.MaxPooling2D(2, strides=2)(x)
        children = [pooled] if stage > 2 else []
        x = _tree(x, depth, width * 2 ** (stage - 2), str(stage), variant, children, pooled)
        maps.append(x)
    return maps


def _conv(x, filters, size, name, variant, strides=(1, 1)):
    return layers.Activation("relu")(conv_norm(x, filters, size, name, variant, strides))


def _tree(x, depth, filters, name, variant, children, pooled=None):
    """Two subtrees, or blocks at the bottom, and the root that sees both and the `children` from outside, in the order
    of the published weights. With `pooled`, the map at half its size, the first block halves it."""
    if depth > 1:
        first = _tree(x, depth - 1, filters, name + "a", variant, [], pooled)
        return _tree(first, depth - 1, filters, name + "b", variant, [*children, first])
    shortcut = x if pooled is None else pooled
    if shortcut.shape[-1] != filters:
        shortcut = conv_norm(shortcut, filters, 1, f"{name}a_branch1", variant)
    first = _block(x, shortcut, filters, name + "a", variant, (1, 1) if pooled is None else (2, 2))
    second = _block(first, first, filters, name + "b", variant)
    inputs = layers.Concatenate()([second, first, *children])
    return _conv(inputs, filters, 1, f"{name}_root", variant)


def _block(x, shortcut, filters, name, variant, strides=(1, 1)):
    """The basic block of a ResNet with a shortcut from outside."""
    x = _conv(x, filters, 3, f"{name}_branch2a", variant, strides)
    x = conv_norm(x, filters, 3, f"{name}_branch2b", variant)
    return layers.Activation("relu", name=f"res{name}_out")(layers.Add()([x, shortcut]))
