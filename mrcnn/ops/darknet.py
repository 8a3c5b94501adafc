"""Networks as Darknet's .cfg files describe them (Redmon 2013-2018), read into one checked form."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

# More than any published network has.
MOST_LAYERS, MOST_CHANNELS, MOST_SIDE = 1000, 2**14, 2**13

# What Darknet adds to the root of a variance, it being near enough to the variance itself.
EPSILON = 1e-6

# The slope of its leaky ReLU below 0.
SLOPE = 0.1


@dataclass(frozen=True)
class Layer:
    """A section of a network.

    Attributes:
        kind: its name: convolutional, maxpool, route, shortcut, upsample, reorg, region or yolo.
        sources: numbers of the layers that it takes, from 0 behind [net]; -1 is the image.
        channels, stride: of what comes out; the latter against the image.
        size, step: of a convolution's or pooling's window, and the step between two; of upsample and reorg the latter.
        padding: pixels around, (before, after).
        norm: whether there is BatchNorm behind a convolution.
        leaky: whether what comes out goes through a leaky ReLU.
        anchors: of region and yolo, (width, height) in pixels.
        classes: of region and yolo.
    """

    kind: str
    sources: tuple[int, ...]
    channels: int
    stride: float
    size: int = 1
    step: int = 1
    padding: tuple[int, int] = (0, 0)
    norm: bool = False
    leaky: bool = False
    anchors: tuple[tuple[float, float], ...] = ()
    classes: int = 0


@dataclass
class Network:
    """The layers of a .cfg file, and the sides of its images in pixels."""

    height: int
    width: int
    layers: list[Layer] = field(default_factory=list)

    @property
    def version(self) -> int:
        """2 of YOLO where there is a region layer, else 3."""
        return 2 if any(layer.kind == "region" for layer in self.layers) else 3

    @property
    def heads(self) -> list[int]:
        """Numbers of the region or yolo layers, that of the finest map first."""
        found = [i for i, layer in enumerate(self.layers) if layer.kind in HEADS]
        return sorted(found, key=lambda i: self.layers[i].stride)

    @property
    def classes(self) -> int:
        """Without the background."""
        return self.layers[self.heads[0]].classes


HEADS = ("region", "yolo")


class _Section:
    """The settings of a section; what is asked for is checked."""

    def __init__(self, kind: str, line: int) -> None:
        self.kind, self.line = kind, line
        self.values: dict[str, str] = {}

    def error(self, words: str) -> ValueError:
        return ValueError(f"[{self.kind}] in line {self.line} {words}")

    def numbers(self, name: str, convert: Callable[[str], Any] = int) -> list[Any]:
        """Those of a list; empty where it is not there."""
        try:
            return [convert(x) for x in self.values.get(name, "").split(",") if x.strip()]
        except ValueError:
            raise self.error(f"has {name}={self.values[name][:40]!r}, which are no numbers.") from None

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        given = self.numbers(name) or [default]
        if len(given) != 1 or not low <= given[0] <= high:
            said = f"has {name}={self.values[name][:40]}" if name in self.values else f"has no {name}"
            raise self.error(f"{said}; it must be one number of {low} to {high}.")
        return given[0]

    def only(self, name: str, *allowed: str) -> str:
        """A value that may be one of a few, the first where it is not there."""
        value = self.values.get(name, allowed[0])
        if value not in allowed:
            raise self.error(f"has {name}={value[:40]}; what is known is {' and '.join(allowed)}.")
        return value


def read_cfg(text: str) -> Network:
    """The network that the text of a .cfg file describes: of YOLO v2, v3, their tiny siblings, or another one of the
    same layers.

    Raises:
        ValueError: no such text, a layer of another kind, or one that does not fit those before it; the message names
            the section and its line.
    """
    sections = _sections(text)
    if not sections or sections[0].kind not in ("net", "network"):
        raise ValueError("it does not begin with [net], as a .cfg of Darknet does.")
    net, *rest = sections
    sides = [net.whole(name, 0, 1, MOST_SIDE) for name in ("height", "width")]
    if net.whole("channels", 3, 1, MOST_CHANNELS) != 3:
        raise net.error("is not for images of 3 channels.")
    if len(rest) > MOST_LAYERS:
        raise ValueError(f"it has {len(rest)} layers; {MOST_LAYERS} are the most.")
    network = Network(*sides)
    for section in rest:
        if section.kind not in KINDS:
            raise section.error(f"is of an unknown kind; known are {', '.join(KINDS)}.")
        if section.kind != "route" and network.layers and network.layers[-1].kind in HEADS:
            raise section.error("follows a layer of detections; only a [route] can.")
        network.layers.append(KINDS[section.kind](section, network.layers))
    _check_heads(network)
    return network


def _sections(text):
    found: list[_Section] = []
    for number, line in enumerate(text.splitlines(), start=1):
        line = re.split("[#;]", line)[0].strip()
        if not line:
            continue
        name, equals, value = line.partition("=")
        if line.startswith("[") and line.endswith("]"):
            found.append(_Section(line[1:-1].strip().lower()[:40], number))
        elif equals and found:
            found[-1].values[name.strip()] = value.strip()
        else:
            raise ValueError(f"line {number} is neither a [section] nor a key=value: {line[:40]!r}.")
    return found


def _check_heads(network):
    heads = [network.layers[i] for i in network.heads]
    if not heads:
        raise ValueError("it has no [region] or [yolo] layer, so it detects nothing.")
    if len({x.kind for x in heads}) > 1 or (heads[0].kind == "region" and len(heads) > 1):
        raise ValueError("it has a [region] layer and others; such networks have one alone.")
    if len({x.stride for x in heads}) < len(heads) or len({x.classes for x in heads}) > 1:
        raise ValueError("its [yolo] layers must be of different strides, and of equally many classes.")


def _before(layers):
    """Channels and stride of the layer before; at first those of the image."""
    return (layers[-1].channels, layers[-1].stride) if layers else (3, 1.0)


def _convolutional(section, layers):
    size, step = section.whole("size", 1, 1, 15), section.whole("stride", 1, 1, 4)
    pad = size // 2 if section.whole("pad", 0, 0, 1) else section.whole("padding", 0, 0, 15)
    if size % 2 == 0 or pad != size // 2:
        raise section.error(f"has size={size} and padding {pad}; known are odd sizes with half of that as padding.")
    section.only("groups", "1")
    return Layer(
        "convolutional",
        (len(layers) - 1,),
        section.whole("filters", 1, 1, MOST_CHANNELS),
        _before(layers)[1] * step,
        size,
        step,
        (pad, pad),
        section.only("batch_normalize", "0", "1") == "1",
        section.only("activation", "linear", "leaky") == "leaky",
    )


def _maxpool(section, layers):
    (channels, stride), step = _before(layers), section.whole("stride", 1, 1, 4)
    size = section.whole("size", step, 1, 31)
    total = section.whole("padding", size - 1, 0, 31)
    if total != size - 1:
        raise section.error(f"has padding={total}; known is size - 1.")
    return Layer("maxpool", (len(layers) - 1,), channels, stride * step, size, step, (total // 2, total - total // 2))


def _sources(section, layers, name):
    found = [len(layers) + i if i < 0 else i for i in section.numbers(name)]
    if not found or any(not 0 <= i < len(layers) or layers[i].kind in HEADS for i in found):
        raise section.error(f"has {name}={section.values.get(name, '')[:40]}, which names no layer before it.")
    if len({layers[i].stride for i in found}) > 1:
        raise section.error("joins maps of different sizes.")
    return tuple(found)


def _route(section, layers):
    sources = _sources(section, layers, "layers")
    section.only("groups", "1")
    channels = sum(layers[i].channels for i in sources)
    if channels > MOST_CHANNELS:
        raise section.error(f"gives {channels} channels; {MOST_CHANNELS} are the most.")
    return Layer("route", sources, channels, layers[sources[0]].stride)


def _shortcut(section, layers):
    (other,) = _sources(section, layers, "from")[:1]
    leaky = section.only("activation", "linear", "leaky") == "leaky"
    channels, stride = _before(layers)
    if (layers[other].channels, layers[other].stride) != (channels, stride):
        raise section.error("adds maps of different shapes.")
    return Layer("shortcut", (len(layers) - 1, other), channels, stride, leaky=leaky)


def _upsample(section, layers):
    (channels, stride), step = _before(layers), section.whole("stride", 2, 1, 4)
    section.only("scale", "1", "1.0")
    return Layer("upsample", (len(layers) - 1,), channels, stride / step, step=step)


def _reorg(section, layers):
    (channels, stride), step = _before(layers), section.whole("stride", 1, 1, 4)
    section.only("reverse", "0")
    if channels % step**2 or channels * step**2 > MOST_CHANNELS:
        raise section.error(f"takes apart {channels} channels in steps of {step}, which does not come out even.")
    return Layer("reorg", (len(layers) - 1,), channels * step**2, stride * step, step=step)


def _head(section, layers):
    """A region or yolo layer; it must follow what is made for it."""
    (channels, stride), last = _before(layers), layers[-1] if layers else None
    section.only("scale_x_y", "1", "1.0", "1.")
    section.only("new_coords", "0")
    section.only("coords", "4")
    if "tree" in section.values:
        raise section.error("has a tree of classes, which is not known.")
    classes, count = section.whole("classes", 20, 1, MOST_CHANNELS), section.whole("num", 1, 1, 100)
    flat = section.numbers("anchors", float)
    if len(flat) != 2 * count or not all(0 < x < MOST_SIDE for x in flat):
        raise section.error(f"has {len(flat)} numbers as anchors; num={count} needs {2 * count}, all above 0.")
    chosen = section.numbers("mask") or list(range(count))
    if not all(0 <= i < count for i in chosen):
        raise section.error(f"has mask={section.values['mask'][:40]}; there are {count} anchors, from 0 on.")
    plain = ("convolutional", 1, 1, False, False)
    if last is None or (last.kind, last.size, last.step, last.norm, last.leaky) != plain:
        raise section.error("does not follow a linear convolution 1x1.")
    if channels != len(chosen) * (5 + classes) or stride != int(stride):
        raise section.error(f"needs {len(chosen)} x (5 + {classes}) filters before it, not {channels}.")
    unit = 1.0
    if section.kind == "region":
        if not section.whole("softmax", 0, 0, 1):
            raise section.error("has no softmax=1, which all published ones have.")
        unit = stride  # its anchors are in cells
    anchors = tuple((flat[2 * i] * unit, flat[2 * i + 1] * unit) for i in chosen)
    return Layer(section.kind, (len(layers) - 1,), channels, stride, anchors=anchors, classes=classes)


KINDS: dict[str, Callable[[_Section, list[Layer]], Layer]] = {
    "convolutional": _convolutional,
    "maxpool": _maxpool,
    "route": _route,
    "shortcut": _shortcut,
    "upsample": _upsample,
    "reorg": _reorg,
    "region": _head,
    "yolo": _head,
}
