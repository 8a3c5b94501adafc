"""Names of other packages that old scripts took from the original's modules; imported when they are asked for."""

import importlib
import sys
from collections.abc import Callable
from typing import Any

# Where a name is that is not the name of a module: in a module, or what stands behind the colon in it.
PLACES = {
    "np": "numpy",
    "tf": "tensorflow",
    "K": "keras.backend",
    "KE": "keras",  # keras.engine of Keras 2: Layer, Model, Input, InputSpec
    "KL": "keras.layers",
    "KM": "keras.models",
    "plt": "matplotlib.pyplot",
    "patches": "matplotlib.patches",
    "lines": "matplotlib.lines",
    "Polygon": "matplotlib.patches:Polygon",
    "find_contours": "skimage.measure:find_contours",
    "utils": "mrcnn.utils",
    "urllib": "urllib.request",
    "IPython": "IPython.display",
    "OrderedDict": "collections:OrderedDict",
    "LooseVersion": "packaging.version:Version",  # distutils, which it was of, is gone
}

# Neither is needed by `import *` unless something else has loaded it.
OPTIONAL = {"tf": "tensorflow", "IPython": "IPython"}


def lend(module: str, names: str) -> tuple[Callable[[str], Any], list[str]]:
    """Names of other packages for a module of ours.

    Returns:
        The module's `__getattr__`, which imports what is asked for; and those names that belong in its `__all__`.
    """
    lent = names.split()

    def find(name: str) -> Any:
        if name not in lent:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        place, _, part = PLACES.get(name, name).partition(":")
        found = importlib.import_module(place)
        if place.startswith(f"{name}."):  # as `import urllib.request` gives urllib
            return sys.modules[name]
        return getattr(found, part) if part else found

    return find, [name for name in lent if OPTIONAL.get(name, "sys") in sys.modules]
