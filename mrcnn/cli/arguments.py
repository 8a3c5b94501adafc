"""What arguments may be: types for argparse with bounds, options that go with some commands alone, files to write."""

from __future__ import annotations

import argparse
import ast
import csv
import math
import os
import re
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

N = TypeVar("N", int, float)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and whose options can belong to some commands.

    `add_argument` takes `only`, the commands, by name with spaces between, that an option goes with.
    """

    def __init__(self, prog: str | None = None, description: str | None = None) -> None:
        super().__init__(prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        self._only: list[tuple[argparse.Action, list[str]]] = []
        self._negative_number_matcher = re.compile(r"-\.?\d")  # the beginning of -1,0,0 too is no option

    def add_argument(self, *names: str, only: str = "", **options: Any) -> argparse.Action:
        """As argparse's; see the class."""
        action = super().add_argument(*names, **options)
        if only:
            self._only.append((action, only.split()))
            action.help = f"{', '.join(only.split())}: {action.help}"
        return action

    def add_count(self, name: str, **options: Any) -> argparse.Action:
        """An option that counts something, from 1 on."""
        return self.add_argument(name, type=whole(1, 10**9), metavar="N", **options)

    def add_seed(self) -> None:
        """The option --seed of programs that train."""
        seeded = "of random weights, order and augmentation: a run is repeated with the same one (default: 0)"
        self.add_argument("--seed", type=whole(0, 2**31 - 1), default=0, only="train", metavar="N", help=seeded)

    def add_run(self, logs: str | Path, only: str = "") -> None:
        """The options --logs and --config, which every program with a model has."""
        self.add_argument(
            "--logs", type=path, default=logs, only=only, metavar="DIR", help="folder of runs (default: logs)"
        )
        self.add_argument(
            "--config",
            only=only,
            nargs="+",
            action="extend",
            default=[],
            metavar="KEY=VALUE",
            help="settings of mrcnn.config, as BACKBONE=resnet50",
        )

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse's; an option that does not go with the command is an error."""
        found = super().parse_args(args, namespace)
        for action, commands in self._only:
            if getattr(found, action.dest) != action.default and found.command not in commands:
                self.error(f"{action.option_strings[0]} goes with {' or '.join(commands)}, not with {found.command}")
        return found

    def error(self, message: str) -> NoReturn:
        """End with exit code 2 and one line."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())} (--help shows what there is)\n")


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """A type for argparse: a whole number from `low` to `high`."""
    return _number(int, "a whole number", low, high)


def number(low: float, high: float | None = None) -> Callable[[str], float]:
    """A type for argparse: a finite number from `low` to `high`."""
    return _number(float, "a number", low, high)


def affine(text: str) -> list[float]:
    """A type for argparse: six numbers with commas between, of an affine map."""
    one = number(-1e15, 1e15)
    values = [one(word) for word in text.split(",")]
    if len(values) != 6:
        raise argparse.ArgumentTypeError(f"{_short(text)} is not six numbers with commas between")
    return values


def _number(kind: type[N], words: str, low: N, high: N | None) -> Callable[[str], N]:
    bounds = f"at least {low}" if high is None else f"{low} to {high}"

    def read(text: str) -> N:
        try:
            value = kind(text)
        except ValueError:  # of too many digits too
            value = kind(low) - 1
        if not (low <= value < math.inf and (high is None or value <= high)):
            raise argparse.ArgumentTypeError(f"{_short(text)} is not {words}, {bounds}")
        return value

    return read


def names(known: Collection[str] = ()) -> Callable[[str], list[str]]:
    """A type for argparse: names with commas between, each once; one with a comma in it stands in double quotes.

    Args:
        known: what there is; any name if it is empty.
    """

    def read(text: str) -> list[str]:
        try:
            found = [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]
        except csv.Error:
            found = []
        if not found or not all(found):
            raise argparse.ArgumentTypeError(f"{_short(text)} is no list of names with commas between")
        for name in found:
            if known and name not in known:
                raise argparse.ArgumentTypeError(f"there is no {_short(name)}; known are {', '.join(known)}")
            if found.count(name) > 1:
                raise argparse.ArgumentTypeError(f"{_short(name)} is there twice")
        return found

    return read


def text(words: str, pattern: str = r".+") -> Callable[[str], str]:
    """A type for argparse: text that a regular expression fits, by default any; `words` say what it must be."""

    def read(value: str) -> str:
        if not re.fullmatch(pattern, value, re.DOTALL):
            raise argparse.ArgumentTypeError(f"{_short(value)} is not {words}")
        return value

    return read


# Of a file or a folder, there or not; what stands for the year in the names of files.
path = text("a path")
year = text("a year as in names of files", r"[\w-]*")


def layers(value: str) -> str:
    """A type for argparse: heads, 3+, 4+, 5+, all or a regular expression."""
    try:
        re.compile(value if value not in ("3+", "4+", "5+") else "")
    except (re.error, OverflowError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{_short(value)} is no regular expression: {error}") from None
    return path(value)


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Settings from KEY=VALUE words; values are Python literals or plain text.

    Raises:
        ValueError: a word without "=", or a setting twice.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not key or not separator:
            raise ValueError(f"--config takes KEY=VALUE, not {_short(pair)}.")
        if key in values:
            raise ValueError(f"--config has {key} twice.")
        try:
            values[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):  # the last two of thousands of brackets
            values[key] = value
    return values


def _short(value: str) -> str:
    return repr(value if len(value) <= 60 else f"{value[:57]}...")


def check_output(file: str | Path, endings: Sequence[str] = (), inputs: Sequence[str | Path | None] = ()) -> None:
    """Try whether a file can be written, before the work for it begins; nothing is left behind.

    Args:
        file: in a folder that need not be there.
        endings: that its name must have one of, such as ".mp4".
        inputs: files and folders that are read: it must be none of the files, and none that these folders have.

    Raises:
        ValueError: another ending, or of `inputs`.
        OSError: it cannot be written.
    """
    file = Path(file)
    if endings and file.suffix.lower() not in endings:
        raise ValueError(f"{file} cannot be written: its name must end in {', '.join(endings)}.")
    if file.exists() and not file.is_file():
        raise OSError(f"{file} cannot be written: it is no file.")
    given = [Path(x) for x in inputs if x is not None]
    if file.exists() and any(x.exists() and file.samefile(x) or x.resolve() in file.resolve().parents for x in given):
        raise ValueError(f"{file} is what is read, or in a folder that is; give the output another name.")
    check_folder(file.parent)  # files are written beside and moved
    if file.exists():
        with open(file, "ab"):
            pass
    elif file.parent.is_dir():
        with open(file, "xb"):
            pass
        file.unlink()


def check_folder(folder: str | Path) -> None:
    """Try whether files can be written into a folder, or the folder be made; nothing is left behind.

    Raises:
        OSError: not so.
    """
    try:
        with tempfile.TemporaryFile(dir=_there(Path(folder).absolute())):
            pass
    except OSError as error:
        raise OSError(f"{folder} cannot be written: {error.strerror or error}.") from error


def _there(folder):
    """The folder, or the nearest above it that is there."""
    try:
        os.stat(folder)
    except FileNotFoundError:
        return _there(folder.parent)
    return folder
