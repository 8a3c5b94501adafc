"""imgaug, imported by what needs it alone."""

import sys
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any


def restore_numpy_names() -> None:
    """Give NumPy the names back, for the whole process, that imgaug 0.4.0, its last release, reads: np.sctypes at
    import, np.bool and np.complex in its weather."""
    import numpy as np

    removed = {
        "bool": bool,
        "complex": complex,
        "sctypes": {
            "int": [np.int8, np.int16, np.int32, np.int64],
            "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
            "float": [np.float16, np.float32, np.float64],
            "complex": [np.complex64, np.complex128],
            "others": [bool, object, bytes, str, np.void],
        },
    }
    for name, value in removed.items():
        if not hasattr(np, name):
            setattr(np, name, value)


class BeforeImgaug(MetaPathFinder):
    """Finds no module; when Python looks for imgaug it restores NumPy's names first."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname == "imgaug":
            restore_numpy_names()


def prepare_for_imgaug() -> None:
    """Let `import imgaug` work from now on. `import mrcnn` calls this, so any part of the package does; NumPy stays as
    it is until imgaug is imported."""
    if not any(isinstance(finder, BeforeImgaug) for finder in sys.meta_path):
        sys.meta_path.insert(0, BeforeImgaug())


def import_imgaug() -> ModuleType:
    """The imgaug module.

    Raises:
        ImportError: imgaug or what it needs is missing; one sentence says what to install.
    """
    try:
        import imgaug
        import imgaug.augmenters
    except ImportError as error:
        raise ImportError(
            f"augmentation= needs imgaug, which did not import ({error}): pip install imgaug, and if libGL is missing, "
            "pip install opencv-python-headless or apt-get install libgl1."
        ) from error
    return imgaug
