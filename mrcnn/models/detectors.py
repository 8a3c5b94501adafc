"""The detectors by name, as the setting DETECTOR and `--detector` have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mrcnn.models.cascade_rcnn import CascadeRCNN
from mrcnn.models.centernet import CenterNet
from mrcnn.models.cornernet import CornerNet
from mrcnn.models.detector import Detector
from mrcnn.models.fast_rcnn import FastRCNN
from mrcnn.models.faster_rcnn import FasterRCNN
from mrcnn.models.fcn import FCN
from mrcnn.models.fcos import FCOS
from mrcnn.models.mask_rcnn import MaskRCNN
from mrcnn.models.rcnn import RCNN
from mrcnn.models.retinanet import RetinaNet
from mrcnn.models.ssd import SSD
from mrcnn.models.unet import UNet
from mrcnn.models.yolo_v1 import YOLOv1
from mrcnn.models.yolo_v2 import YOLOv2
from mrcnn.models.yolo_v3 import YOLOv3
from mrcnn.settings import CONFIG, Config
from mrcnn.weights.convert import h5_file

# DETECTOR -> its class. What each may find is in `mrcnn.settings.checks.DETECTORS`.
DETECTORS: dict[str, type[Detector]] = {
    cls.name: cls
    for cls in (
        *(MaskRCNN, FasterRCNN, CascadeRCNN, FastRCNN, RCNN, RetinaNet, FCOS, SSD, YOLOv1, YOLOv2, YOLOv3),
        *(CornerNet, CenterNet, FCN, UNet),
    )
}


def build_detector(mode: str, config: Config, model_dir: Path | str) -> Detector:
    """The detector that a config asks for; arguments as of `Network`."""
    return DETECTORS[config.DETECTOR](mode, config, model_dir)


def detector_of(settings: dict[str, Any], path: Path | str, model_dir: Path | str = "logs") -> Detector:
    """A detector by the values of `Config.to_dict` and its weights file, ready to detect: BatchNorm is folded."""
    model = build_detector("inference", Config.from_dict(settings), model_dir)
    model.load_weights(path, by_name=True)
    model.fold_batch_norm()
    return model


def load_detector(
    path: Path | str, model_dir: Path | str = "logs", mode: str = "inference", **settings: Any
) -> Detector:
    """The detector of a folder of `mrcnn.weights.convert` or of an `.h5` file of a run, whichever it is; see
    `Network.from_pretrained`."""
    path = h5_file(path, model_dir)
    config = Config.from_json(path.parent / CONFIG)
    return DETECTORS[config.DETECTOR].from_pretrained(path, model_dir, mode, **settings)
