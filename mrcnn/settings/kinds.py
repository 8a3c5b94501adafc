"""What a setting may be: its type in words and as a test, its range, and the one type that the package sees."""

from __future__ import annotations

import math
import numbers
import re
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Above these a setting is a slip, or fills any memory: numbers that have no closer limit, instances and classes, sides
# and channels, cells of what is pooled; and a name's bytes, to which a run adds its date and files their endings.
MOST, MOST_INSTANCES, MOST_WIDE, MOST_CELLS, LONGEST_NAME = 10**9, 10**6, 2**16, 1024, 150


def is_function(x: Any) -> bool:
    """Whether a setting is code: a function, or a static method read from a class."""
    return callable(x) or isinstance(x, staticmethod)


def is_text(x: Any) -> bool:
    """Whether it is text."""
    return isinstance(x, str)


def is_flag(x: Any) -> bool:
    """Whether it is true or false, NumPy's included."""
    return isinstance(x, (bool, np.bool_))


def is_flag_or_bit(x: Any) -> bool:
    """Whether it is true or false, or the number 1 or 0."""
    return is_flag(x) or (is_number(x) and x in (0, 1))


def is_name(x: Any) -> bool:
    """Whether it can name a folder, which then lies where it is made and nowhere else."""
    return is_text(x) and re.fullmatch(r"(\w[\w .+-]*)?", x) is not None and len(x.encode()) <= LONGEST_NAME


def is_number(x: Any) -> bool:
    """Whether it is a finite number."""
    return isinstance(x, numbers.Real) and not is_flag(x) and (is_integer(x) or math.isfinite(x))


def is_integer(x: Any) -> bool:
    """Whether it is of a type of whole numbers."""
    return isinstance(x, numbers.Integral) and not is_flag(x)


def is_whole(x: Any) -> bool:
    """Whether it is a whole number of any type."""
    return is_integer(x) or (is_number(x) and float(x).is_integer())


def is_sequence_of(fits: Callable[[Any], bool], count: int | None = None) -> Callable[[Any], bool]:
    """A test for sequences and arrays of so many values, each of which `fits`."""
    return lambda x: (
        isinstance(x, (Sequence, np.ndarray))
        and not isinstance(x, (str, bytes))
        and count in (None, len(x))
        and all(fits(value) for value in x)
    )


# Ranges, which hold for every number of a sequence: in words and as a test.
Range = tuple[str, Callable[[Any], bool]]
SHARE: Range = ("between 0 and 1", lambda x: 0 <= x <= 1)
BELOW_1: Range = ("at least 0 and below 1", lambda x: 0 <= x < 1)
ABOVE_0: Range = ("above 0", lambda x: x > 1e-30)  # less is 0 in float32


def at_least(low: float) -> Range:
    """From `low` on."""
    return f"at least {low}", lambda x: x >= low


@dataclass(frozen=True)
class Kind:
    """What a setting may be: its type in words and as a test, its range, and the one type that the package sees.

    `range` None leaves the numbers free between -`most` and `most`, which `range` cannot leave either; `convert` gives
    back the value itself where there is nothing to do.
    """

    words: str
    fits: Callable[[Any], bool]
    range: Range | None = None
    convert: Callable[[Any], Any] = lambda x: x
    most: int = MOST

    def remedy(self, value: Any) -> str | None:
        """What to do about a value, as half a sentence; None where it is fine."""
        try:
            fits = self.fits(value)
        except Exception:  # of an object that is not what it looks like
            fits = False
        if not fits:
            return f"it must be {self.words}."
        for words, inside in filter(None, (self.range, (f"at most {self.most}", lambda x: abs(x) <= self.most))):
            if not all(inside(x) for x in _numbers_of(value)):
                return f"it must be {words}."
        return None


def _numbers_of(value):
    """Every number in a value of fitting type."""
    if isinstance(value, dict):
        value = list(value.values())
    if is_number(value):
        yield value
    elif isinstance(value, (Sequence, np.ndarray)) and not is_text(value):
        for x in value:
            yield from _numbers_of(x)


@dataclass(frozen=True)
class Choice:
    """A setting that names one of a few ways, in upper or lower case; `true` is what True stands for, if anything."""

    choices: tuple[str, ...]
    true: str | None = None

    def remedy(self, value: Any) -> str | None:
        """As `Kind.remedy`."""
        value = self.convert(value)
        return None if is_text(value) and value in self.choices else f"choose one of {', '.join(self.choices)}."

    def convert(self, value: Any) -> Any:
        """As `Kind.convert`."""
        if value is True:
            return self.true
        return value.lower() if is_text(value) and value not in self.choices else value


LONGEST_SHOWN = 160
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 80
_repr.maxlist = _repr.maxtuple = _repr.maxdict = 8
_repr.maxlevel = 3


def short(value: Any) -> str:
    """What to show of a value, in a part of a line."""
    try:
        text = " ".join(_repr.repr(value).split())
        return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."
    except Exception:  # of the object's own repr, or of a number of thousands of digits
        return f"of type {type(value).__name__}"


def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A dict of the pairs of a JSON object.

    Raises:
        ValueError: two have one name, of which `json` keeps the last without a word.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{short(next(x for x in names if names.count(x) > 1))} is given twice.")
    return values
