"""Exporting a detector: the file, its JSON, and a check of both before they stand in their place."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mrcnn.cli.program import temporary_folder
from mrcnn.export import check
from mrcnn.export.graph import exported_graph
from mrcnn.export.runtime import FORMATS, Exported, fingerprint, format_module, record_path
from mrcnn.ops.files import named

# Modes of resizing of which images of every size come to one canvas.
MODES = ("square", "rect", "shortest", "stretch")

# Packages whose versions decide what a file holds.
PACKAGES = "keras tensorflow onnx tf2onnx onnxruntime openvino nncf ai-edge-litert numpy".split()

# What the JSON says of the outputs.
OUTPUTS = {
    "boxes": "[B, D, 4] float32 (y1, x1, y2, x2) in pixels of the image; detections by score, the rest of D is zero",
    "classes": "[B, D] int32, indices into classes; 0 is no detection",
    "scores": "[B, D] float32",
    "masks": "[B, D, h, w] float32 probabilities, each mask over its box: resize it to the box (bilinear), >= 0.5 is "
    "the object. MASK_PASTE integer rounds the box to whole pixels first.",
    "points": "[B, D, J, 3] float32 (x, y, score) in pixels of the image",
    "keypoints": "[B, D, J, h, w] float32 logits over the box: the highest cell of each map is the point",
    "semantic": "[B, h, w] int32, the class of every pixel of the image",
    "canvas": "[B, H, W, 2] float32, the class and its probability of every pixel of the canvas",
}


def export(
    model: Any,
    path: Path | str,
    format: str = "savedmodel",
    precision: str = "float32",
    images: Sequence[np.ndarray] = (),
    canvas: Sequence[int] | None = None,
    image_size: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Write a detector as a file of another runtime, with a JSON beside it, and check it; see `Detector.export`."""
    path = Path(path)
    check_export(model.config, path, format, precision)
    shape = _canvas(model.config, canvas)
    fixed = (1, *(image_size or shape)) if format == "litert" else None
    model.fold_batch_norm()
    graph = exported_graph(model, shape, fixed)
    record = {
        "format": format,
        "precision": precision,
        "classes": list(model.config.CLASS_NAMES),
        "canvas": list(shape),
        "image": list(fixed) if fixed else None,
        "outputs": {name: OUTPUTS[name] for name in graph.output},
        "versions": _versions(),
        "settings": {name: x for name, x in model.config.to_dict().items() if not callable(x)},
    }
    shown = images or [picture(shape[0], shape[1], model.config.IMAGE_CHANNEL_COUNT)]
    samples = [_inputs(model, image, fixed) for image in shown]
    path.parent.mkdir(parents=True, exist_ok=True)
    with named(path), temporary_folder(f".{path.name}-", path.parent) as folder:
        new = Path(folder) / path.name
        format_module(format).write(graph, new, precision=precision, samples=samples)
        record["sha1"] = fingerprint(new).hex()
        _save(record, new)
        # A batch of several, the same image once more upside down, and one in which nothing is.
        first = samples[0]
        empty = {name: np.zeros_like(x) for name, x in first.items()}
        both = {name: np.concatenate([x, x[:, ::-1] if name == "image" else x]) for name, x in first.items()}
        batches = [empty, *samples[:3], *([] if fixed else [both])]
        lowest = model.config.DETECTION_MIN_CONFIDENCE
        record["differences"] = check.differences(graph, Exported(new).run, batches, lowest)
        words = check.too_far(record["differences"])
        if precision == "float32" and words:
            raise ValueError(f"{path} is not written: its results differ from the model's, {', '.join(words)}.")
        _save(record, new)
        _move(Path(folder), path)
    return record


def check_export(config: Any, path: Path, format: str, precision: str) -> None:
    """As `check_format`; and raise ValueError if a model of this config cannot be exported."""
    check_format(path, format, precision)
    if config.PRECISION != "float32":
        raise ValueError(f"PRECISION is {config.PRECISION}; export a float32 model and name the precision of the file.")
    if config.IMAGE_RESIZE_MODE not in MODES:
        raise ValueError(f"IMAGE_RESIZE_MODE {config.IMAGE_RESIZE_MODE!r} has no fixed size; set 'square'.")


def check_format(path: Path, format: str, precision: str) -> None:
    """Look at what needs no model.

    Raises:
        ValueError: whatever the model, it cannot be exported so.
        ImportError: a package is missing.
    """
    if format not in FORMATS:
        raise ValueError(f"Format {format!r} is unknown; choose {', '.join(FORMATS)}.")
    module = format_module(format)
    if precision not in module.PRECISIONS:
        raise ValueError(f"{format} is written in {', '.join(module.PRECISIONS)}, not in {precision!r}.")
    if path.suffix != module.ENDING and module.ENDING:
        raise ValueError(f"A file of {format} ends in {module.ENDING}; {path} does not.")
    if module.ENDING and path.is_dir() or not module.ENDING and path.is_file():
        raise ValueError(f"{path} is there already, and is {'a folder' if path.is_dir() else 'no folder'}.")
    if path.is_dir() and not (path / "saved_model.pb").exists() and any(path.iterdir()):
        raise ValueError(f"{path} is a folder with other things in it.")
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"Exporting needs KERAS_BACKEND=tensorflow; this is {keras.backend.backend()}.")
    for package in module.NEEDS:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ImportError(
                f"Exporting to {format} needs {package}: pip install 'mask-rcnn-keras[export]' ({error})."
            ) from error


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    """An image [height, width, channels] uint8 to try a model with where there is none."""
    y, x = np.mgrid[:height, :width]
    waves = [127 + 127 * np.sin(y / (11 + 9 * i) + x / (47 - 9 * (i % 4))) for i in range(channels)]
    return np.stack(waves, axis=-1).astype("uint8")


def _canvas(config, canvas):
    """(H, W) of what the network sees."""
    shape = tuple(int(side) for side in (canvas or config.IMAGE_SHAPE[:2] if config.IMAGE_MAX_DIM else canvas or ()))
    if len(shape) != 2:
        raise ValueError("IMAGE_MAX_DIM is None: set it to the side of the canvas.")
    if canvas and config.IMAGE_RESIZE_MODE == "stretch" and list(shape) != list(config.IMAGE_SHAPE[:2]):
        raise ValueError(f"A {config.DETECTOR} sees images of {config.IMAGE_MAX_DIM} pixels squared, no other canvas.")
    if config.IMAGE_RESIZE_MODE != "stretch" and any(side % 64 for side in shape):
        raise ValueError(f"The canvas is {shape[0]}x{shape[1]}; the network wants multiples of 64.")
    return shape


def _inputs(model, image, fixed):
    """The graph's inputs for one image."""
    image = np.asarray(image, "uint8")[None]
    if fixed:
        padded = np.zeros((1, *fixed[1:], image.shape[-1]), "uint8")
        height, width = (min(pair) for pair in zip(image.shape[1:3], fixed[1:], strict=True))
        padded[:, :height, :width] = image[:, :height, :width]
        image = padded
    inputs = {"image": image}
    if model.config.takes_proposals:
        rng, sides = np.random.default_rng(0), np.tile(image.shape[1:3], 2)
        corners = np.sort(rng.random((1, model.config.POST_NMS_ROIS_INFERENCE, 2, 2)), axis=2)
        inputs["proposals"] = (corners.reshape(*corners.shape[:2], 4) * sides).astype("float32")
    return inputs


def _versions():
    """{package: version} of those that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _save(record, path):
    record_path(path).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _move(folder, path):
    """What was written, into its place; the JSON, which says that it is whole, comes last."""
    if path.is_dir():
        shutil.rmtree(path)
    for file in sorted(folder.iterdir(), key=lambda file: file.suffix == ".json"):
        os.replace(file, path.parent / file.name)
