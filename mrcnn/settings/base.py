"""What every config can do: check itself, change as a whole, go to JSON and come back."""

from __future__ import annotations

import copy
import difflib
import json
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mrcnn.ops.files import whole
from mrcnn.settings.checks import DETECTORS, LOSSES, MORE_LOSSES, PROPOSALS_GIVEN, SETTINGS
from mrcnn.settings.kinds import once, short
from mrcnn.settings.rules import problems

if TYPE_CHECKING:
    from typing_extensions import Self  # in typing from Python 3.11 on

# The file in which settings lie beside weights.
CONFIG = "config.json"

# Computed from other settings; old code reads them as attributes.
DERIVED = ("BATCH_SIZE", "IMAGE_SHAPE", "IMAGE_META_SIZE")


class Settings:
    """The base of `Config`, whose class attributes are the settings."""

    def __init__(self) -> None:
        for name in settings(self):
            if name not in SETTINGS and name not in DERIVED:
                close = _close(name, SETTINGS)
                if close:
                    warnings.warn(
                        f"{type(self).__name__}.{name} is not a setting; did you mean {close[0]}?", stacklevel=2
                    )
        self._derive()
        c: Any = self
        losses = LOSSES + MORE_LOSSES
        others = [x for x in c.LOSS_WEIGHTS if x not in losses and not re.fullmatch(r"mrcnn_\d+_(class|bbox)_loss", x)]
        if others:
            warnings.warn(
                f"{type(self).__name__}.LOSS_WEIGHTS: {', '.join(others)} weighs nothing; the losses are "
                f"{', '.join(losses)}.",
                stacklevel=2,
            )

    def _derive(self) -> None:
        """Check the values, bring them to their types and compute those that follow from others."""
        self._check(model=False)
        for name, kind in SETTINGS.items():
            value = getattr(self, name)
            converted = kind.convert(value)
            if converted is not value:
                setattr(self, name, converted)
        c: Any = self
        if c.MEAN_PIXEL.ndim == 0:
            c.MEAN_PIXEL = np.full(c.IMAGE_CHANNEL_COUNT, c.MEAN_PIXEL)
        self.BATCH_SIZE: int = c.IMAGES_PER_GPU * c.GPU_COUNT
        side = c.IMAGE_MIN_DIM if c.IMAGE_RESIZE_MODE == "crop" else c.IMAGE_MAX_DIM
        self.IMAGE_SHAPE: Any = np.array([side, side, c.IMAGE_CHANNEL_COUNT])  # with None where IMAGE_MAX_DIM is
        # image id, original shape, shape, window, scale, active classes
        self.IMAGE_META_SIZE: int = 1 + 3 + 3 + 4 + 1 + c.NUM_CLASSES

    @property
    def finds(self) -> tuple[str, ...]:
        """What the detector finds, as COCO calls it: "bbox", and "segm" and "keypoints" where it has their heads;
        "semantic" where every pixel has a class."""
        c: Any = self
        wanted = {"bbox": True, "segm": c.USE_MASK or self.by_pixels, "keypoints": c.NUM_KEYPOINTS, "semantic": True}
        return tuple(kind for kind in DETECTORS[c.DETECTOR] if wanted[kind])

    @property
    def by_pixels(self) -> bool:
        """Whether the network gives every pixel a class, and learns from no mask by itself."""
        c: Any = self
        return "semantic" in DETECTORS[c.DETECTOR]

    @property
    def takes_proposals(self) -> bool:
        """Whether the detector looks at boxes that come with the images."""
        c: Any = self
        return c.DETECTOR in PROPOSALS_GIVEN

    def validate(self) -> None:
        """Raise ValueError with one sentence if a setting is impossible, or too little to make a model of."""
        self._check(model=True)

    def _check(self, model: bool) -> None:
        for problem in problems(self, model):
            raise ValueError(f"{type(self).__name__}: {problem}")

    def update(self, /, **values: Any) -> Self:
        """Set attributes by name on this instance, check them, recompute what depends on them; all of it or nothing.

        Raises:
            ValueError: unknown name (the message holds the nearest known one), a name of what is computed from others,
                or an impossible value. The config is then as it was.
        """
        known = set(settings(self)) - set(DERIVED)
        for name in values:
            if name in DERIVED:
                raise ValueError(f"{name} is computed from other settings.")
            if name not in known:
                raise ValueError(_unknown(name, known))
        trial = copy.copy(self)
        for name, value in values.items():
            setattr(trial, name, value)
        trial._derive()
        vars(self).update(vars(trial))
        return self

    def to_dict(self) -> dict[str, Any]:
        """All settings, own attributes and derived values as a dict of plain Python values; sequences as lists."""
        return {name: _plain(getattr(self, name)) for name in settings(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """An instance with these settings; what is left out has the class's value, derived values are computed anew.

        Of other classes' own attributes a warning says that they are left out.

        Raises:
            ValueError: an impossible value, a name that no setting can have, or one that is nearly a setting's.
        """
        values = {name: value for name, value in values.items() if name not in DERIVED}
        for name in values:
            if not _is_name(name):
                raise ValueError(f"{_shown(name)} is not a setting: their names are in upper case.")
        config, own = cls.__new__(cls), set(settings(cls))
        vars(config).update({name: value for name, value in values.items() if name in own})
        cls.__init__(config)
        known = set(settings(config))
        foreign = [name for name in values if name not in known]
        for name in foreign:
            if _close(name, known):
                raise ValueError(_unknown(name, known))
        if foreign:
            warnings.warn(f"{', '.join(foreign)}: not of {cls.__name__}, and so left out.", stacklevel=2)
        # Anew, as a subclass may set some when it is made.
        return config.update(**{name: value for name, value in values.items() if name in known})

    def to_json(self, path: Path | str) -> None:
        """Write `to_dict` to a file, whole or not at all, without functions, which JSON cannot hold."""
        values = {name: value for name, value in self.to_dict().items() if not callable(value)}
        text = json.dumps(values, indent=1) + "\n"
        with whole(path) as new:
            new.write_text(text, encoding="utf8")

    @classmethod
    def from_json(cls, path: Path | str) -> Self:
        """An instance with the settings of a file of `to_json`.

        Raises:
            ValueError: not such a file, or an impossible value in it; the message names it.
        """
        with open(path, encoding="utf-8-sig") as file:
            try:
                values = json.load(file, object_pairs_hook=once)
                if not isinstance(values, dict):
                    raise ValueError(f"it is a {type(values).__name__!r} object, not settings by their names")
                return cls.from_dict(values)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path} is no config that can be used: {error}") from error

    def display(self) -> None:
        """Print every setting, one a line."""
        print("\nConfigurations:")
        for name, value in self.to_dict().items():
            print(f"{name:30} {value}")
        print("\n")


def _is_name(name):
    return isinstance(name, str) and name.isidentifier() and name.isupper() and not name.startswith("_")


def _close(name, known):
    return difflib.get_close_matches(name, known, n=1, cutoff=0.85)


def _shown(name):
    return short(name).strip("'")


def _unknown(name, known):
    close = difflib.get_close_matches(name.upper(), sorted(set(known) - set(DERIVED)), n=1)
    return f"{_shown(name)} is not a setting of Config" + (f"; did you mean {close[0]}?" if close else ".")


def _plain(value):
    """A setting without NumPy's types and tuples."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return [_plain(x) for x in value] if isinstance(value, (list, tuple)) else value


def settings(config: Settings | type[Settings] | None = None) -> list[str]:
    """Names of the settings that a config, or a class of configs, has: all in upper case. Without one, `Config`'s."""
    return sorted(SETTINGS) if config is None else [name for name in dir(config) if _is_name(name)]
