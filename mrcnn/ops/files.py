"""Files that are whole or not there, and what one process has for itself."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def cache_folder() -> Path:
    """Where this package keeps what it can make or fetch again: MRCNN_CACHE, else ~/.cache/mrcnn."""
    return Path(os.environ.get("MRCNN_CACHE") or Path.home() / ".cache" / "mrcnn")


@contextlib.contextmanager
def named(path: Path | str) -> Iterator[None]:
    """Within it an error of writing names the file, which that of a full disk does not."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextlib.contextmanager
def whole(path: Path | str) -> Iterator[Path]:
    """The path of a new file beside `path`, this thread's own, to which it is moved when the block ends; an error
    leaves nothing of it.

    Raises:
        OSError: it cannot be written; the message names `path`.
    """
    path = Path(path)
    new = path.with_name(f"{path.stem}.{os.getpid()}-{threading.get_ident()}.new{path.suffix}")
    try:
        with named(path):
            yield new
            os.replace(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


def lock(file: int | IO, wait: bool = False) -> bool:
    """Whether a file or folder that is open is this process's from now on, until it is closed or the process ends.

    Args:
        file: the open file, or its descriptor.
        wait: True waits until no other process has it.
    """
    if fcntl:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            pass
    return True
