"""Types for argparse, options of some commands, files to write."""

import argparse
import os

import pytest

from mrcnn.cli import arguments
from mrcnn.cli.arguments import Parser

DIGITS = "9" * 5000


def refused(kind, text):
    """What a type says of a text that it refuses; None if it takes it."""
    try:
        kind(text)
    except argparse.ArgumentTypeError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    "text", ["0", "-1", "1.5", "x", "", " ", "nan", "inf", "1e3", "0x10", "6", DIGITS, f"-{DIGITS}"]
)
def test_whole_numbers_have_bounds(text):
    message = refused(arguments.whole(1, 5), text)
    assert message.endswith("is not a whole number, 1 to 5") and text[:50] in message and len(message) < 120


def test_whole_numbers():
    assert [arguments.whole(1, 5)(text) for text in ("1", "5", " 3 ")] == [1, 5, 3]
    assert arguments.whole(1)("1" + "0" * 30) == 10**30
    assert refused(arguments.whole(0), "-1") == "'-1' is not a whole number, at least 0"


@pytest.mark.parametrize("text", ["-0.1", "1.1", "nan", "inf", "-inf", "1e400", "x", ""])
def test_numbers_are_finite_and_have_bounds(text):
    assert refused(arguments.number(0, 1), text) == f"{text!r} is not a number, 0 to 1"


def test_numbers_without_an_upper_bound_are_finite():
    assert arguments.number(0)("1e300") == 1e300
    assert refused(arguments.number(0), "inf") and refused(arguments.number(0), "nan")


@pytest.mark.parametrize(
    "text, found",
    [("a", ["a"]), ("a,b c", ["a", "b c"]), (" a , b", ["a", "b"]), ('"salt, pepper",b', ["salt, pepper", "b"])],
)
def test_names(text, found):
    assert arguments.names()(text) == found


@pytest.mark.parametrize("text", ["", " ", ",", "a,", ",a", "a,,b", "a,a", "\n", "a" * 200_000])
def test_lists_without_names_are_refused(text):
    assert refused(arguments.names(), text)


def test_known_names():
    assert arguments.names({"flip": 1, "turn": 2})("turn,flip") == ["turn", "flip"]
    assert refused(arguments.names(["flip", "turn"]), "fly") == "there is no 'fly'; known are flip, turn"


def test_layers_are_presets_or_regular_expressions():
    for text in ("heads", "3+", "5+", "all", "(mrcnn_.*)|(rpn_.*)"):
        assert arguments.layers(text) == text
    for text in ("", "(", "[", "*", "a{99999999999999}", "(" * 5000, "(?P<x", "\\"):
        assert refused(arguments.layers, text), text


def test_years_are_parts_of_names():
    assert [arguments.year(text) for text in ("2017", "", "my-set_2")] == ["2017", "", "my-set_2"]
    assert all(refused(arguments.year, text) for text in ("../..", "/", "20 17"))


def test_settings_are_literals_or_text():
    found = arguments.parse_settings(["A=3", "B=(1, 2)", "C=x", "D=", "E=a=b"])
    assert found == {"A": 3, "B": (1, 2), "C": "x", "D": "", "E": "a=b"}
    assert arguments.parse_settings(["A=" + "[" * 10000, "B=" + DIGITS]) == {"A": "[" * 10000, "B": DIGITS}


@pytest.mark.parametrize("words", [["A"], [""], ["=3"], ["A=1", "A=2"]])
def test_settings_have_a_name_once(words):
    with pytest.raises(ValueError, match="--config "):
        arguments.parse_settings(words)


# The parser


@pytest.fixture
def parser():
    parser = Parser("do.py", "What it does.")
    parser.add_argument("command", choices=["train", "detect", "look"])
    parser.add_count("--epochs", only="train", default=3, help="how many")
    parser.add_argument("--refine", only="train detect", action="store_true", help="more")
    parser.add_run("logs")
    return parser


def test_options_go_with_their_commands(parser, capsys):
    assert parser.parse_args(["train", "--epochs", "7", "--refine"]).epochs == 7
    assert parser.parse_args(["detect", "--refine"]).epochs == 3
    for words, message in (
        (["detect", "--epochs", "7"], "--epochs goes with train, not with detect"),
        (["look", "--refine"], "--refine goes with train or detect, not with look"),
        (["fly"], "argument command: invalid choice: 'fly'"),
        (["train", "--epochs", "0"], "argument --epochs: '0' is not a whole number, 1 to 1000000000"),
        (["train", "--epochs"], "argument --epochs: expected one argument"),
        (["train", "--logs", ""], "argument --logs: '' is not a path"),
        (["train", "more"], "unrecognized arguments: more"),
    ):
        with pytest.raises(SystemExit) as end:
            parser.parse_args(words)
        error = capsys.readouterr().err
        assert end.value.code == 2 and error.count("\n") == 1 and error.startswith(f"do.py: error: {message}")
    assert "train, detect: more" in parser.format_help()


def test_settings_of_several_options_add_up(parser):
    words = ["train", "--config", "A=1", "B=2", "--epochs", "1", "--config", "C=3"]
    assert parser.parse_args(words).config == ["A=1", "B=2", "C=3"]
    assert parser.parse_args(["train"]).config == []


# Files to write


def test_what_can_be_written_leaves_nothing_behind(tmp_path):
    arguments.check_output(tmp_path / "new" / "folder" / "a.PNG", [".png"])
    arguments.check_output(tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
    (tmp_path / "old.png").write_text("kept")
    arguments.check_output(tmp_path / "old.png", [".png"], [None, tmp_path / "other.png"])
    assert (tmp_path / "old.png").read_text() == "kept"


@pytest.mark.parametrize(
    "name, error",
    [
        ("folder.png", OSError),
        ("file.txt/a.png", OSError),
        ("file.txt/new/a.png", OSError),
        ("a" * 300 + ".png", OSError),
        ("a" * 300 + "/new/a.png", OSError),
        ("a.mp4", ValueError),
        ("a", ValueError),
        ("link.png", ValueError),
        ("hard.png", ValueError),
    ],
)
def test_what_cannot_be_written(tmp_path, name, error):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file.txt").write_text("")
    (tmp_path / "input.png").write_text("kept")
    (tmp_path / "link.png").symlink_to("input.png")
    (tmp_path / "hard.png").hardlink_to(tmp_path / "input.png")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error) as raised:
        arguments.check_output(tmp_path / name, [".png"], [tmp_path / "input.png"])
    assert str(tmp_path) in str(raised.value) and "\n" not in str(raised.value)
    assert sorted(tmp_path.iterdir()) == before and (tmp_path / "input.png").read_text() == "kept"


@pytest.mark.parametrize("file", ["/dev/null", "/proc/a.png", "/dev/null/a.png"])
def test_devices_are_no_files(file):
    if os.path.exists(os.path.dirname(file)):
        with pytest.raises(OSError):
            arguments.check_output(file)
