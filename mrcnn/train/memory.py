"""What the process does with freed memory."""

import ctypes
import functools
import os

from mrcnn.train.devices import accelerated


@functools.cache
def keep_freed_memory() -> None:
    """Let glibc keep the memory that is freed, for all of the process and the rest of its life.

    The first `train` or `detect` calls it; it does nothing where there is an accelerator, without glibc, or where a
    MALLOC_ variable of the environment says what to do. Otherwise glibc hands large blocks back to the system at once,
    and every step faults them in anew, page by page: on a CPU that is up to half of a training step and a fifth of a
    detection. The price is that memory, once used, stays with the process.
    """
    if accelerated() or any(name.startswith("MALLOC_") for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another system's, or another C library
        return
    mallopt(-4, 0)  # M_MMAP_MAX: no block has a mapping of its own
    mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: nor does the heap shrink
