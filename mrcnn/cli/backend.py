"""Which of Keras's backends is used where nobody has said it."""

import importlib.util
import json
import os
import sys
from pathlib import Path

BACKENDS = "tensorflow", "jax", "torch"


def choose() -> None:
    """Set KERAS_BACKEND to the first backend that is installed, where the one that Keras would take is not.

    To be called before Keras is imported; after that, and where KERAS_BACKEND is set, nothing is done.

    Raises:
        ImportError: none is installed; one sentence says what to do.
    """
    if os.environ.get("KERAS_BACKEND") or "keras" in sys.modules:
        return
    wanted = _of_file()
    found = [name for name in (wanted, *BACKENDS) if _installed(name)]
    if not found:
        raise ImportError(
            "mrcnn runs on TensorFlow, JAX or PyTorch, and none of them is installed: "
            'pip install "mask-rcnn-keras[tensorflow]", or [jax], or [torch].'
        )
    if found[0] != wanted:
        os.environ["KERAS_BACKEND"] = found[0]


def _installed(name):
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None  # a mere folder of that name has none


def _of_file():
    """The backend of Keras's own settings, which it writes with "tensorflow" the first time it is used."""
    path = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"), "keras.json")
    try:
        backend = json.loads(path.read_text())["backend"]
    except (OSError, ValueError, LookupError, TypeError):
        return BACKENDS[0]
    return backend if backend in BACKENDS else BACKENDS[0]
