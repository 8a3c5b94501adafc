"""What TensorFlow's C++ says while it is imported, before anything can ask it for silence (TF_CPP_MIN_LOG_LEVEL is not
read yet): that it is information, in lines that look like errors; and what its Python says of images of several shapes.
Those are left out; all else passes."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

# Lines of severity I of both its ways of logging, that there are such, and the second line of one.
INFORMATION = re.compile(
    rb"I\d{4} |\d{4}-\d\d-\d\d [\d:.]+: I |WARNING: All log messages before absl::InitializeLog|To enable the following"
)

END = b"\0\n"


class TensorFlow:
    """Finds TensorFlow as it is found without this, and has it imported `without_information`, the first time. Then its
    logger tells only what `is_news`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def quietly(module: ModuleType) -> None:
                with without_information():
                    execute(module)
                logging.getLogger(name).addFilter(is_news)

            spec.loader.exec_module = quietly  # type: ignore[method-assign]
        return spec


def is_news(record: logging.LogRecord) -> bool:
    """Whether TensorFlow says anything else than that a graph is made anew, as it is for images of another shape."""
    return "triggered tf.function retracing" not in record.getMessage()


@contextlib.contextmanager
def without_information() -> Iterator[None]:
    """Within, what C++ or Python writes to stderr goes through a process that leaves lines of `INFORMATION` out.

    A process, as it passes on what is said last where this one crashes. Where there is no fork nothing is left out.
    """
    if not hasattr(os, "fork"):
        yield
        return
    try:
        stderr = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    out, into = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(into)
            _pass_on(out)
        finally:
            os._exit(0)
    os.close(out)
    os.dup2(into, 2)
    os.close(into)
    try:
        yield
    finally:
        os.write(2, END)  # not its closing, as processes begun within may have it open
        os.dup2(stderr, 2)
        os.close(stderr)
        os.waitpid(child, 0)


def _pass_on(source):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program has it, too, and may say so
    with os.fdopen(source, "rb") as lines:
        for line in lines:
            text = line.removesuffix(END)
            if text and not INFORMATION.match(text):
                os.write(2, text)
            if line.endswith(END):
                return
