"""Weights into a model, by layer and weight name, with a report of what fitted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from mrcnn.weights.adapt import Pixels, adapt
from mrcnn.weights.h5 import named_weights, opened, values, weighted_layers

# Layers behind the backbone.
HEADS = "(fpn|rpn|mrcnn|dense|semantic)_"


@dataclass
class LoadReport:
    """Which layers a file gave to a model, and which it did not, with the reason.

    Lists and keys are names of layers: `unused` of those in the file that the model has not.
    """

    path: str
    loaded: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    mismatched: dict[str, str] = field(default_factory=dict)
    adapted: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    classes: tuple[int, int] | None = None  # of the file and of the model, background included, where they differ

    @property
    def left(self) -> list[str]:
        """Names of the layers that are as they were before."""
        return self.excluded + self.missing + list(self.mismatched)

    def __str__(self) -> str:
        rows = [f"Loaded {len(self.loaded)} layers from {self.path}"]
        if self.excluded:
            rows.append(f"  excluded by request: {', '.join(self.excluded)}")
        if self.missing:
            rows.append(f"  not in the file, left as they were: {some(self.missing)}")
        if self.classes:
            rows.append(
                "  the file has {} classes, this model {}: the heads are left as they were".format(*self.classes)
            )
        for how in dict.fromkeys(self.adapted.values()):
            rows.append(f"  adapted, {how}: {some([name for name, x in self.adapted.items() if x == how])}")
        if self.unused:
            rows.append(f"  in the file, but not in this model: {some(self.unused)}")
        rows += [f"  other shape, left as it was: {layer}: {why}" for layer, why in self.mismatched.items()]
        return "\n".join(rows)


def some(names: Sequence[str], count: int = 12) -> str:
    """The first names of many, as text."""
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")


def load(
    model: keras.Model,
    path: Path | str,
    exclude: Iterable[str] | None = (),
    strict: bool = False,
    pixels: Pixels | None = None,
) -> LoadReport:
    """Load an .h5 file in the original's layout into a model, by layer and weight name.

    What computes the same in another form is changed to the model's, see `mrcnn.weights.adapt.adapt`.

    Args:
        model: a `keras.Model`.
        path: the file.
        exclude: layer names to leave as they are. The first convolution of an RGB file fits any number of channels.
        strict: raise if any layer cannot be loaded.
        pixels: what the model sees of an image, to which Keras's ImageNet networks are changed; None leaves their first
            convolution to Keras's pixels, in RGB.

    Returns:
        A `LoadReport`.

    Raises:
        FileNotFoundError, ValueError: as `read` and `adapt`; no layer at all fits; the file is of another backbone, of
            which less than half fits, or of Keras's ImageNet networks not all; or `strict` and a layer does not fit.
    """
    with opened(path) as (stored, origin):
        return _load(model, path, stored, origin, exclude, strict, pixels)


def _load(model, path, stored, origin, exclude, strict, pixels):
    excluded = set(exclude or ())
    for layer in model.layers:
        if layer.name in excluded and hasattr(layer, "layers"):
            excluded |= {inner.name for inner in weighted_layers(layer)}
    layers = {layer.name: layer for layer in weighted_layers(model)}
    wanted = {name: layer for name, layer in layers.items() if name not in excluded}
    # What cannot fit is not read: it may be of any size.
    possible = {name: stored[name] for name in wanted if name in stored and _may_fit(stored[name], layers[name])}
    try:
        adapted, notes = adapt(values(path, possible, origin), wanted, origin, pixels)
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} does not fit: {error}") from None
    report = LoadReport(str(path), excluded=[name for name in layers if name in excluded])
    report.unused = [name for name in stored if name not in layers]
    report.missing = [name for name in wanted if name not in stored]
    for name, layer in wanted.items():
        if name not in stored:
            continue
        wrong = _wrong(adapted.get(name, stored[name]), named_weights(layer))
        if wrong:
            report.mismatched[name] = wrong
        else:
            report.loaded.append(name)
    report.adapted = {name: how for name, how in notes.items() if name in report.loaded}
    if "mrcnn_class_logits" in report.mismatched and "bias" in stored["mrcnn_class_logits"]:
        sizes = stored["mrcnn_class_logits"]["bias"].size, layers["mrcnn_class_logits"].bias.shape[0]
        report.classes = sizes if sizes[0] != sizes[1] else None
    _check_backbone(report, stored, wanted, origin)
    if strict and (report.missing or report.mismatched):
        raise ValueError(f"{report}\nPass by_name=True to load only what fits.")
    for name in report.loaded:
        for key, weight in named_weights(layers[name]).items():
            weight.assign(adapted[name][key])
    return report


def _may_fit(stored, layer):
    """Whether a layer's stored weights have the size of its own; a kernel of RGB has three times that for gray."""
    largest = max(np.prod(weight.shape) for weight in named_weights(layer).values())
    return all(dataset.size <= 3 * largest for dataset in stored.values())


def _wrong(values, weights):
    """Why a layer's stored values do not fit its weights; empty if they do."""
    return "; ".join(
        [
            f"{key} is {np.shape(values[key]) if key in values else 'missing'}, wanted {tuple(weight.shape)}"
            for key, weight in weights.items()
            if key not in values or np.shape(values[key]) != tuple(weight.shape)
        ]
        + [
            f"{key} is {np.shape(value)}, which has no place here"
            for key, value in values.items()
            if key not in weights
        ]
    )


def _check_backbone(report, stored, wanted, origin):
    """Raise ValueError if a file fits nothing, or is of another backbone."""
    if not report.loaded:
        raise ValueError(
            f"{report.path} fits no layer of this model. The file holds {some(list(stored))}; the model wants "
            f"{some(list(wanted))}."
        )
    backbone = [name for name in wanted if not re.match(HEADS, name)]
    loaded = sum(name in report.loaded for name in backbone)
    if loaded < (len(backbone) if origin else len(backbone) / 2) and not all(re.match(HEADS, name) for name in stored):
        left = [name for name in backbone if name not in report.loaded]
        raise ValueError(
            f"{report.path} is of another backbone: it fits {loaded} of {len(backbone)} layers, not {some(left, 3)}. "
            "Choose the BACKBONE and the settings that it was trained with, or exclude what it need not fit."
        )


def copy(source: keras.Model, target: keras.Model) -> None:
    """Copy the weights of one graph to another that has the same layers, as from training to inference.

    The values get memory of their own: on JAX a step of either graph gives the arrays that its weights held to the
    compiler, to write the new ones into.
    """
    ours = {layer.name: layer for layer in weighted_layers(source)}
    for layer in weighted_layers(target):
        if getattr(layer, "folded", False):
            raise ValueError(f"{layer.name} is folded (fold_batch_norm) and would not use these weights; build anew.")
        values = named_weights(ours[layer.name])
        for name, weight in named_weights(layer).items():
            weight.assign(np.array(values[name].numpy()))
