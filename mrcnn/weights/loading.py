"""Weights into a model, by layer and weight name, with a report of what fitted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from mrcnn.weights.h5 import named_weights, read, weighted_layers


@dataclass
class LoadReport:
    """Which layers a file gave to a model, and which it did not, with the reason."""

    path: str
    loaded: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    mismatched: dict[str, str] = field(default_factory=dict)
    adapted: dict[str, str] = field(default_factory=dict)
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
        rows += [f"  adapted: {layer}: {how}" for layer, how in self.adapted.items()]
        rows += [f"  other shape, left as it was: {layer}: {why}" for layer, why in self.mismatched.items()]
        return "\n".join(rows)


def some(names: Sequence[str], count: int = 12) -> str:
    """The first names of many, as text."""
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")


def load(model: keras.Model, path: Path | str, exclude: Iterable[str] | None = (), strict: bool = False) -> LoadReport:
    """Load an .h5 file in the original's layout into a model, by layer and weight name.

    Args:
        model: a `keras.Model`.
        path: the file.
        exclude: layer names to leave as they are. The first convolution of an RGB file fits any number of channels.
        strict: raise if any layer cannot be loaded.

    Returns:
        A `LoadReport`.

    Raises:
        FileNotFoundError, ValueError: as `read`; no layer at all fits; or `strict` and one does not.
    """
    stored = read(path)
    excluded = set(exclude or ())
    for layer in model.layers:
        if layer.name in excluded and hasattr(layer, "layers"):
            excluded |= {inner.name for inner in weighted_layers(layer)}
    report = LoadReport(str(path))
    ours = {layer.name: layer for layer in weighted_layers(model)}
    first = next(iter(ours), None)
    for name, layer in ours.items():
        weights, values = named_weights(layer), stored.get(name)
        if name in excluded:
            report.excluded.append(name)
        elif values is None:
            report.missing.append(name)
        else:
            if name == first and _is_rgb(values.get("kernel"), weights.get("kernel")):
                channels = weights["kernel"].shape[2]
                values = {**values, "kernel": adapt_channels(values["kernel"], channels)}
                report.adapted[name] = f"from 3 input channels to {channels}"
            wrong = [
                f"{key} is {np.shape(values[key]) if key in values else 'missing'}, wanted {tuple(weight.shape)}"
                for key, weight in weights.items()
                if key not in values or np.shape(values[key]) != tuple(weight.shape)
            ]
            if wrong:
                report.mismatched[name] = "; ".join(wrong)
                continue
            for key, weight in weights.items():
                weight.assign(values[key])
            report.loaded.append(name)
    if "mrcnn_class_logits" in report.mismatched:
        stored_bias = stored["mrcnn_class_logits"].get("bias", ())
        sizes = len(stored_bias), ours["mrcnn_class_logits"].bias.shape[0]
        report.classes = sizes if sizes[0] != sizes[1] else None
    if not report.loaded:
        raise ValueError(
            f"{path} fits no layer of this model. The file holds {some(list(stored))}; the model wants "
            f"{some(list(ours))}."
        )
    if strict and (report.missing or report.mismatched):
        raise ValueError(f"{report}\nPass by_name=True to load only what fits.")
    return report


def _is_rgb(stored, kernel):
    """Whether a stored convolution kernel is that of RGB images where the model's has another number of channels."""
    if stored is None or kernel is None or len(kernel.shape) != 4 or stored.ndim != 4:
        return False
    same = stored.shape[:2] + stored.shape[3:] == tuple(kernel.shape[:2]) + tuple(kernel.shape[3:])
    return same and stored.shape[2] == 3 and kernel.shape[2] != 3


def adapt_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """A first convolution's RGB kernel [h, w, 3, n] for another number of input channels.

    Channel c gets the kernel of RGB's channel c modulo 3, times 3 / channels, so that the response to an image whose
    channels are all alike stays as it was; a single channel gets the sum of the three. The rule is timm's
    (https://github.com/huggingface/pytorch-image-models).
    """
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    return kernel[:, :, np.arange(channels) % 3] * np.float32(3 / channels)


def copy(source: keras.Model, target: keras.Model) -> None:
    """Copy the weights of one graph to another that has the same layers, as from training to inference."""
    ours = {layer.name: layer for layer in weighted_layers(source)}
    for layer in weighted_layers(target):
        if getattr(layer, "folded", False):
            raise ValueError(f"{layer.name} is folded (fold_batch_norm) and would not use these weights; build anew.")
        for name, weight in named_weights(layer).items():
            weight.assign(named_weights(ours[layer.name])[name])
