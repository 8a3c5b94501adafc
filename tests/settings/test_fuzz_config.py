"""A config's JSON with any setting replaced: it loads as what it says, or is refused in one line."""

import json

import pytest
from fuzz import BAD, files, is_line, places

from mrcnn.config import Config
from mrcnn.settings.base import DERIVED


class Settings(Config):
    NUM_CLASSES = 2


GOOD = {name: value for name, value in Settings().to_dict().items() if not callable(value)}


def read(path, text):
    """The config that a file's text gives, or the line by which it is refused."""
    path.write_text(text)
    try:
        return Settings.from_json(path)
    except ValueError as error:
        assert is_line(str(error), path), repr(error)
        return str(error)


def test_the_file_as_it_is(tmp_path):
    config = read(tmp_path / "config.json", json.dumps(GOOD))
    assert config.to_dict() == Settings().to_dict()


@pytest.mark.parametrize("name", sorted(set(GOOD) - set(DERIVED)))
def test_any_setting(tmp_path, name):
    path = tmp_path / "config.json"
    refused = 0
    for place in [(name, *more) for more in [(), *list(places(GOOD[name]))[:6]]]:
        for value, text in files(GOOD, place):
            config = read(path, text)
            if isinstance(config, str):
                assert name in config, (value, config)
                refused += 1
                continue
            # What it took is what it writes, and what it writes it takes.
            config.to_json(path)
            assert json.loads(path.read_text()) == json.loads(json.dumps(config.to_dict()))
            assert read(path, path.read_text()).to_dict() == config.to_dict()
    assert refused > 4


@pytest.mark.parametrize(
    "text", ["", "null", "5", "[]", '"a"', "{", "[" * 100_000, '{"NAME": ' + "1" * 5000 + "}", "\0"]
)
def test_other_files(tmp_path, text):
    assert isinstance(read(tmp_path / "config.json", text), str)


@pytest.mark.parametrize("name", ["to_json", "__class__", "update", "name", "", "Name", "_X", "IMAGE SHAPE"])
def test_what_is_no_setting(tmp_path, name):
    for value in BAD[:5]:
        assert isinstance(read(tmp_path / "config.json", json.dumps(GOOD | {name: value})), str)
