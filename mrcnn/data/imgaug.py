"""imgaug, imported by what needs it alone."""

from types import ModuleType

import numpy as np

# What imgaug 0.4.0, its last release, reads and NumPy removed: np.sctypes at import, np.bool and np.complex in its
# weather.
REMOVED = {
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


def restore_numpy_names() -> None:
    """Give NumPy the names back that imgaug reads, for the whole process.

    `import_imgaug` does so, and `import mrcnn.model` for old scripts that import imgaug after it; nothing else does.
    """
    for name, value in REMOVED.items():
        if not hasattr(np, name):
            setattr(np, name, value)


def import_imgaug() -> ModuleType:
    """The imgaug module, after `restore_numpy_names`.

    Raises:
        ImportError: imgaug or what it needs is missing; one sentence says what to install.
    """
    restore_numpy_names()
    try:
        import imgaug
        import imgaug.augmenters
    except ImportError as error:
        raise ImportError(
            f"augmentation= needs imgaug, which did not import ({error}): pip install imgaug, and if libGL is missing, "
            "pip install opencv-python-headless or apt-get install libgl1."
        ) from error
    return imgaug
