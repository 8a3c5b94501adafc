"""From files of other packages to a folder of `config.json` and `weights.h5`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mrcnn.settings import CONFIG, Config
from mrcnn.weights.convert import darknet, efficientnet_lite
from mrcnn.weights.convert.reading import READERS, read
from mrcnn.weights.convert.torchvision import EPSILON_0
from mrcnn.weights.convert.translation import translate
from mrcnn.weights.download import checksum
from mrcnn.weights.h5 import write_groups

# The weights' file of a converted model.
WEIGHTS = "weights.h5"


def convert(
    state_dict: Mapping[str, Any], out: str | Path, epsilon: float = 1e-5, keep_all: bool = False, **settings: Any
) -> Config:
    """Write `config.json` and `weights.h5` of a model of torchvision or Detectron2 to a folder, or of
    an EfficientNet-Lite, as a backbone.

    Args:
        state_dict: {key: array or tensor on the CPU}, as `model.state_dict()` of that package has it.
        out: the folder.
        epsilon: of the source's BatchNorm.
        keep_all: True keeps torchvision's 91 outputs for COCO; False its 80 classes in COCO's order.
        settings: of `Config`, where the source was trained with others than its package's defaults.

    Returns:
        the config, a `ModernConfig`; of a backbone a `Config`.

    Raises:
        ValueError: keys that are missing or unknown, another architecture, or an impossible setting.
        OSError: the folder cannot be written.
    """
    config, layers = translate(state_dict, epsilon, keep_all)
    record = None
    if config.BACKBONE in efficientnet_lite.NAMES:
        record = {"input": {"BACKBONE": config.BACKBONE, **efficientnet_lite.INPUT}}
    return _write(config.update(**settings), layers, Path(out), record)


def _write(config, layers, out, record=None):
    out.mkdir(parents=True, exist_ok=True)
    write_groups(
        out / WEIGHTS,
        ((layer, {f"{layer}/{key}:0": array for key, array in arrays.items()}) for layer, arrays in layers.items()),
        record,
    )
    config.to_json(out / CONFIG)
    return config


def convert_file(source: str | Path, out: str | Path, epsilon: float | None = None, keep_all: bool = False) -> Config:
    """`convert` a file, or one of Darknet with its `.cfg` beside it, which says all; else without `epsilon` it is 1e-5,
    and 0 for the files that torchvision publishes as COCO_V1.

    Raises:
        FileNotFoundError, ImportError, OSError, ValueError: as `read`, `convert` and `darknet.read`.
    """
    if Path(source).suffix == darknet.ENDING:
        return _write(*darknet.read(source), Path(out))
    if epsilon is None:
        epsilon = 0.0 if Path(source).stem in EPSILON_0 else 1e-5
    state = read(source)
    try:
        return convert(state, out, epsilon, keep_all)
    except (ValueError, IndexError) as error:  # the latter of arrays with fewer axes
        raise ValueError(f"{source} cannot be converted: {error}") from error


def h5_file(path: str | Path, folder: str | Path) -> Path:
    """The `.h5` file of what someone gives as weights: that of a folder of `convert`, or of a file of torchvision,
    Detectron2 or Darknet, which is converted the first time, into a folder under `folder` that is named after the file
    and its content; any other path as it is."""
    path = Path(path)
    if path.suffix in (*READERS, darknet.ENDING) and path.is_file():
        parts = darknet.files_of(path) if path.suffix == darknet.ENDING else [path]
        out = Path(folder) / "-".join([path.stem, *(checksum(x)[:12] for x in parts)])
        if not ((out / CONFIG).exists() and (out / WEIGHTS).exists()):
            print(f"Converting {path} to {out}")
            convert_file(path, out)
        path = out
    return path / WEIGHTS if path.is_dir() else path
