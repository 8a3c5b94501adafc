"""LiteRT (once TensorFlow Lite), for phones and small devices: images of one size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mrcnn.cli.program import temporary_folder
from mrcnn.export import savedmodel

ENDING = ".tflite"
NEEDS = ("tensorflow", "ai_edge_litert")
PRECISIONS = ("float32", "float16", "int8")


def write(graph: Any, path: Path, precision: str = "float32", **_: Any) -> None:
    """Write the file. "float16" are weights that are stored so; "int8" are weights alone too, by LiteRT's dynamic range
    quantisation: activations follow from each image."""
    import tensorflow as tf

    with temporary_folder("mrcnn-") as folder:
        savedmodel.write(graph, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        path.write_bytes(converter.convert())


def load(path: Path) -> Any:
    """A function of {input: array} that gives {output: array}; needs LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=str(path)).get_signature_runner("serving_default")
    return lambda inputs: {name: x.copy() for name, x in runner(**inputs).items()}
