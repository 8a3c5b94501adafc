"""Mask R-CNN on Keras 3, with the names, weights and numbers of the 2017-2019 original."""

import ctypes
import os

__version__ = "3.0.0"

# TensorFlow leaves oneDNN off on processors without AVX-512, where it trains this network more than twice as fast too.
# It reads the variable when it is imported.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _keep_freed_memory():
    """Let glibc keep the memory that is freed.

    It hands large blocks back to the system at once, and every training step faults them in anew, page by page: on a
    CPU that is up to half of the step. MALLOC_ variables of the environment go before.
    """
    if not any(name.startswith("MALLOC_") for name in os.environ):
        try:
            mallopt = ctypes.CDLL("libc.so.6").mallopt
        except (OSError, AttributeError):  # another system's, or another C library
            return
        mallopt(-4, 0)  # M_MMAP_MAX: no block has a mapping of its own
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: nor does the heap shrink


_keep_freed_memory()
