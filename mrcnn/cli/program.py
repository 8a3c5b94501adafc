"""How every program begins and ends: quiet libraries, Ctrl-C at any moment, exit codes, one line for what goes wrong.

This room imports nothing that takes time, so that it is there before anything that does.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from mrcnn.cli import quiet

# Exit codes. FAILED: some of the work could not be done; MISTAKE: an argument or a file is wrong.
FAILED, MISTAKE, STOPPED = 1, 2, 130

# Seconds that the work has to tidy up after Ctrl-C; a library that swallows it would go on for hours.
GRACE = 5.0

# What Ctrl-C calls for its hint, and then ends the program at once: of the `ending` blocks that run.
_endings: list[Callable[[], str]] = []

# Characters of a message.
LONGEST = 500

# What TensorFlow raises for files and folders.
_OF_FILES = ("PermissionDeniedError", "NotFoundError", "FailedPreconditionError", "AlreadyExistsError")

# Lines of TensorFlow's messages that are about its graph, and what it and Keras add to what they say.
_OF_GRAPHS = re.compile(
    r"Graph execution error|Detected at node|Stack trace for op|File \"|Hint: |\[\[|<stdin>|\d+ root"
)
_OF_LAYERS = re.compile(r"\x1b\[[\d;]*m|Arguments received by.*|\{\{function_node \S*\}\} | \[Op:.*", re.DOTALL)


def begin(name: str) -> None:
    """The first call of a program's file, before it imports what takes time.

    Args:
        name: `__name__` of the file. Where it is the program, Ctrl-C ends it at once until `run` begins, as libraries
            swallow the KeyboardInterrupt that they get while they are imported; and what they raise then, such as
            for a KERAS_BACKEND that is none, is one line; what TensorFlow says of itself meanwhile is left out.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "train" in sys.argv:  # TensorFlow leaves oneDNN off without AVX-512; it is faster for batches, not for one image
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if name == "__main__":
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names of files may be no text
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, _leave)
        sys.excepthook = _report
        sys.meta_path.insert(0, quiet.TensorFlow())


def _report(kind, error, trace):
    code = exit_code(error)
    if code is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print(f"{os.path.basename(sys.argv[0])}: error: {one_line(error)}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(code)


def logs(file: str) -> Path:
    """The folder of runs of a program's file: logs in its checkout; where it is installed, in the current folder."""
    checkout = Path(file).resolve().parent.parent
    return checkout / "logs" if (checkout / "setup.cfg").exists() else Path("logs")


def leave(hint: str = "", code: int = STOPPED) -> NoReturn:
    """End the process as Ctrl-C does, without waiting for its threads; `hint` says how to go on."""
    with contextlib.suppress(Exception):  # it may be just writing
        sys.stdout.flush()
    os.write(2, f"\n{f'Stopped. {hint}'.rstrip()}\n".encode())
    os._exit(code)


def _leave(number, frame):
    leave()


def _unraisable(lost: Any) -> None:
    """Say nothing of a KeyboardInterrupt that came in a callback, out of which none passes: `GRACE` ends the work."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)


def run(name: str, work: Callable[[], int | None]) -> int:
    """Do a program's work, whatever comes.

    Args:
        name: of the program, for what it says of an error.
        work: gives an exit code, or None for 0. The text of a KeyboardInterrupt that it raises is printed as a hint.

    Returns:
        the exit code: that of `work`; 2 for a mistake in arguments or files, 1 for work that fails for another reason,
        such as a loss that is not finite or too little memory, each with one line on stderr; 130 for Ctrl-C. Other
        errors pass: they are ours.
    """
    before = signal.getsignal(signal.SIGINT)
    begun = before is _leave  # else this is a test, a notebook, or within another program
    grace = threading.Timer(GRACE, leave)
    grace.daemon = True

    def interrupt(number, frame):
        if grace.ident:  # for the second time
            leave()
        if _endings:
            leave(_end())
        grace.start()
        raise KeyboardInterrupt

    code: int | None = STOPPED
    try:
        if begun:
            signal.signal(signal.SIGINT, interrupt)
            sys.unraisablehook = _unraisable
        code = work() or 0
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt)
        if stopped or grace.ident:  # of which libraries make errors of their own
            hint = str(error) if stopped else ""
            if begun:
                leave(hint)  # at its own end the interpreter may crash, among the threads of a library
            if before in (signal.default_int_handler, signal.SIG_IGN):  # else the outer program says it
                print(f"\nStopped. {hint}".rstrip(), file=sys.stderr)
        else:
            if isinstance(error, BrokenPipeError):  # whoever read what is printed has gone
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = exit_code(error)
            if code is None:
                raise
            print(f"{name}: error: {one_line(error)}", file=sys.stderr)
    finally:
        grace.cancel()
        if begun:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            signal.signal(signal.SIGINT, lambda *_: os._exit(code or 0))  # the interpreter's own end, in silence
    return code or 0


def _end():
    """Do what has to be done before the end; the innermost hint."""
    hints = [end() for end in reversed(_endings)]
    return next(filter(None, hints), "")


@contextlib.contextmanager
def ending(end: Callable[[], str]) -> Iterator[None]:
    """Within it SIGTERM and SIGHUP, and in a program of `run` Ctrl-C, end the process at once, whatever a library is
    doing: an exception would be lost in a callback out of C++.

    Args:
        end: does what has to be done before, and gives the hint for `leave`. Of several the inner ones come first.
    """
    names = ("SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]  # Windows has the first alone
    numbers = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]  # nohup ignores the second
    for number in numbers:
        signal.signal(number, lambda number, _: leave(_end(), 128 + number))
    _endings.append(end)
    try:
        yield
    finally:
        _endings.remove(end)
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def temporary_folder(prefix: str, place: str | Path | None = None) -> Iterator[str]:
    """A new folder, in that of temporary files or in `place`, that goes when the block ends, or the process by Ctrl-C,
    SIGTERM or SIGHUP."""
    folder = tempfile.mkdtemp(prefix=prefix, dir=place)

    def remove():
        for _ in range(3):  # a thread may be just writing
            shutil.rmtree(folder, ignore_errors=True)
        return ""

    with ending(remove):
        try:
            yield folder
        finally:
            remove()


@contextlib.contextmanager
def resumable(model: Any, hint: str) -> Iterator[None]:
    """Within it a model trains; Ctrl-C gives the hint how to go on if the run has a checkpoint to go on from.

    It ends at once, see `ending`: TensorFlow may crash where a KeyboardInterrupt comes in the middle of making a graph.
    What is half written in the run's folder goes.
    """

    def end():
        path = model.checkpoint_path.format(epoch=model.epoch)
        for half in glob.glob(os.path.join(glob.escape(os.path.dirname(path)), f"*.{os.getpid()}-*.new*")):
            with contextlib.suppress(OSError):
                os.unlink(half)
        return hint if os.path.exists(path) else ""

    with ending(end):
        try:
            yield
        except KeyboardInterrupt:
            raise KeyboardInterrupt(end()) from None


def exit_code(error: BaseException) -> int | None:
    """That of a program which ends with this error; None for an error in the code."""
    backend = _of_backend(error)
    if isinstance(error, (MemoryError, RuntimeError, FloatingPointError)):
        return FAILED
    if backend:
        return MISTAKE if type(error).__name__ in _OF_FILES else FAILED
    return MISTAKE if isinstance(error, (ValueError, OSError, ImportError)) else None


def one_line(error: BaseException) -> str:
    """What an error says, in one line of `LONGEST` characters at most, without what backends tell of their graphs."""
    text = _OF_LAYERS.sub("", str(error))
    if _of_backend(error):
        text = " ".join(line for line in text.splitlines() if not _OF_GRAPHS.match(line.strip())) or text
    text = " ".join(text.split()) or type(error).__name__
    exhausted = type(error).__name__ in ("ResourceExhaustedError", "OutOfMemoryError")
    if isinstance(error, MemoryError) or (exhausted and "No space left" not in text):  # TensorFlow says so of disks too
        text = f"Out of memory: lower IMAGES_PER_GPU or the size of images. ({text})"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."


def _of_backend(error):
    return type(error).__module__.split(".")[0] in ("tensorflow", "jax", "jaxlib", "torch", "onnxruntime")
