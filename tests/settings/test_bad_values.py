"""Values from outside: whatever comes in the place of a setting, from code or JSON, is right or one line."""

import inspect
import re

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.settings import settings
from mrcnn.settings.checks import ARGUMENTS, check_arguments


class Toy(Config):
    NAME = "toy"
    NUM_CLASSES = 3


@pytest.mark.parametrize(
    "name",
    [
        "a/b",
        "../a",
        "..",
        ".",
        "a\\b",
        "/a",
        "C:a",
        "{a}",
        "a{epoch}",
        "a\n",
        "a\0",
        " ",
        "-a",
        "~",
        "a*",
        "x" * 151,
        "\ud800",
    ],
)
def test_a_name_is_a_name(name):
    """It is the beginning of a folder's name, and a part of a pattern."""
    with pytest.raises(ValueError, match="^Toy: NAME is .*; it must be a name of at most 150 bytes: letters, digits"):
        Toy().update(NAME=name)


def test_names_of_any_language():
    for name in ("my model-2.1", "köpfe", "2017", "", None, "x" * 150):
        assert name == Toy().update(NAME=name).NAME


class Odd:
    """What raises as soon as somebody looks at it."""

    __len__ = __eq__ = __float__ = __hash__ = __repr__ = lambda *_: 1 / 0


def nested(depth):
    return [nested(depth - 1)] if depth else []


# With these in the place of a setting, most configs are impossible.
VALUES = {
    "huge": 10**400,
    "very huge": 10**5000,
    "large": 1e300,
    "negative": -3,
    "zero": 0,
    "fraction": 0.3,
    "NaN": float("nan"),
    "infinite": float("-inf"),
    "complex": 1j,
    "true": True,
    "none": None,
    "empty text": "",
    "text": "12",
    "bytes": b"12",
    "path": "../x",
    "empty": [],
    "texts": ["1", "2", "3"],
    "NaNs": [float("nan")] * 5,
    "huge ones": [10**400] * 5,
    "negative ones": [-1.5] * 4,
    "nested": nested(900),
    "array": np.ones((2, 2, 2)),
    "dict": {"mrcnn_mask_loss": "1"},
    "dict of lists": {"mrcnn_mask_loss": [[]]},
    "set": {1, 2, 3},
    "range": range(3),
    "odd": Odd(),
    "class": Odd,
}


@pytest.mark.parametrize("kind", VALUES)
def test_any_value_in_place_of_any_setting(kind):
    """It is taken, or refused in one line that names the setting, and then nothing is changed. Each value comes one of
    three ways, which meet in one check."""
    config, taken = Toy(), []
    before = dict(vars(config))
    ways = (
        lambda values: config.update(**values),
        Toy.from_dict,
        lambda values: type("Own", (Toy,), values)(),
    )
    for k, name in enumerate(settings(), list(VALUES).index(kind)):
        make = ways[k % 3]
        try:
            made = make({name: VALUES[kind]})
        except ValueError as error:
            line = str(error)
            assert name in line and "\n" not in line and len(line) < 400
            assert vars(config).keys() == before.keys() and all(vars(config)[x] is before[x] for x in before)
        else:
            taken.append(name)
            made.to_dict()
            config.update(**{name: getattr(Toy, name)})
            before = dict(vars(config))
    if kind in ("huge", "very huge", "large", "NaN", "infinite", "huge ones", "nested", "bytes", "complex", "odd"):
        assert taken == []


@pytest.mark.parametrize(
    "text, reason",
    [
        ("{", "Expecting property name"),
        ("[1]", "'list' object"),
        ('{"NUM_CLASSES": 0}', "NUM_CLASSES is 0; it must be"),
        ('{"NUM_CLASSES": ' + "9" * 5000 + "}", "Exceeds the limit"),
        ('{"MEAN_PIXEL": ' + "[" * 10**5 + "]" * 10**5 + "}", "recursion"),
        ('{"to_json": 5}', "to_json is not a setting: their names are in upper case."),
        ('{"A B": 5}', "A B is not a setting"),
        ('{"LEARNING_RAT": 5}', "LEARNING_RAT is not a setting of Config; did you mean LEARNING_RATE?"),
        ('{"LEARNING_RATE": 1, "LEARNING_RATE": 2}', "'LEARNING_RATE' is given twice."),
        ('{"LEARNING_RATE": NaN}', "LEARNING_RATE is nan; it must be a number."),
        ('{"NAME": "../x"}', "NAME is '../x'; it must be a name"),
        ("\xff", "'utf-8' codec can't decode"),
    ],
)
def test_a_broken_file_is_named(tmp_path, text, reason):
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(ValueError, match=f"{path} is no config that can be used: .*{re.escape(reason)}") as error:
        Toy.from_json(path)
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_is_none_of_the_text(tmp_path):
    (tmp_path / "x.json").write_bytes(b"\xef\xbb\xbf" + b'{"LEARNING_RATE": 0.5}')
    assert Toy.from_json(tmp_path / "x.json").LEARNING_RATE == 0.5


def test_scales_that_no_memory_holds():
    """Images are resized by them before they are cut."""
    for name, value in (("SCALE_JITTER", [1, 1e9]), ("IMAGE_MIN_SCALE", 1e9)):
        with pytest.raises(ValueError, match=f"{name} is .*; it must be at most"):
            Toy().update(**{name: value})


def test_what_is_the_name_of_an_argument():
    with pytest.raises(ValueError, match="self is not a setting of Config"):
        Toy().update(**{"self": 5})


def test_only_settings_are_set():
    for values in ({"validate": None}, {"update": 1}, {"__class__": int}):
        with pytest.raises(ValueError, match=f"{[*values][0]} is not a setting"):
            Toy.from_dict(values)


# Arguments of functions


@check_arguments
def probe(tile, overlap=0.2, other=None, **more):
    return tile, overlap, other, more


def test_arguments_come_in_one_type():
    for given in (64, 64.0, np.int32(64), np.float32(64)):
        tile, overlap, other, more = probe(given, 0, other="x", tiles=-1)
        assert (tile, type(tile), overlap, other, more) == (64, int, 0, "x", {"tiles": -1})
    with pytest.raises(TypeError, match=r"probe\(\) missing 1 required positional argument: 'tile'"):
        probe()


@pytest.mark.parametrize("name", ARGUMENTS)
def test_any_value_in_place_of_any_argument(name):
    """It is taken, or refused in one line that names the argument."""

    def function(value):
        return value

    function.__signature__ = inspect.Signature([inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)])
    taken = set()
    for kind, value in VALUES.items():
        try:
            check_arguments(function)(value)
        except ValueError as error:
            assert re.match(rf"{name} is .*; it must be .*\.$", str(error)) and len(str(error)) < 400
        else:
            taken.add(kind)
    assert taken <= {"negative", "zero", "fraction", "none"} | ({"class"} if name == "learning_rate" else set())
