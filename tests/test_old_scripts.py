"""Scripts as people wrote them in 2018 (tests/old_scripts) run unchanged, each in a process and folder of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mrcnn.data import augment

HERE = Path(__file__).parent

# A few steps take less time than compiling them, and a shallow ResNet-50, narrow heads and few proposals least.
EAGERLY = """
import os, runpy, sys
from mrcnn.config import Config
from mrcnn.layers.resnet import BACKBONES, ResNet
BACKBONES["resnet50"] = ResNet((3, 1, 1, 1))
for name in ("TOP_DOWN_PYRAMID_SIZE", "RPN_CHANNELS", "MASK_CHANNELS", "FPN_CLASSIF_FC_LAYERS_SIZE"):
    setattr(Config, name, 8)
Config.PRE_NMS_LIMIT, Config.POST_NMS_ROIS_TRAINING, Config.POST_NMS_ROIS_INFERENCE = 500, 100, 50
Config.DETECTION_MAX_INSTANCES = 10
if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
    import tensorflow as tf
    tf.config.run_functions_eagerly(True)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(name, folder):
    done = subprocess.run(
        [sys.executable, "-c", EAGERLY, HERE / "old_scripts" / name, folder],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_shapes(tmp_path):
    out = run("shapes.py", tmp_path)
    assert re.search(r"Training \d+ of \d+ layers \(heads\) from epoch 0 to 1", out)
    assert re.search(r"Training \d+ of \d+ layers \(all\) from epoch 1 to 2", out)
    assert "original_image" in out and "(128, 128, 3)" in out and "Processing 1 images" in out
    assert "not in the file" not in out and "other shape" not in out
    assert 0 <= float(re.search(r"mAP: +([\d.]+)", out)[1]) <= 1
    assert sorted(p.name for p in tmp_path.glob("logs/shapes*/*.h5")) == [
        "mask_rcnn_shapes_0001.h5",
        "mask_rcnn_shapes_0002.h5",
    ]
    assert (tmp_path / "logs" / "mask_rcnn_shapes.h5").exists()


def test_boxes(tmp_path):
    try:
        augment.import_imgaug()
    except ImportError as error:
        pytest.skip(str(error))
    out = run("boxes.py", tmp_path)
    assert "Train: 4" in out and "epochs seen: [0, 1, 2]" in out
    assert 0 <= float(re.search(r"Test mAP: ([\d.]+)", out)[1]) <= 1
    assert "warned: ['images[0]: An image has negative values, as if mold_image had been applied" in out
    nodes = re.search(r"nodes: (.*)", out)[1]
    assert nodes == (
        "{'rpn_class': (1, 4092, 2), 'proposals': (1, 50, 4), 'res2c_out': (1, 32, 32, 256), "
        "'roi_align_mask': (1, 10, 14, 14, 8)}"
    )
