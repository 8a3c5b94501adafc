"""Two steps of the tiny model with keypoints on one batch, on as many devices as asked; the weights go to a file.

python two_devices.py 2 weights.npz
"""

import json
import os
import sys
from pathlib import Path

COUNT, OUTPUT = int(sys.argv[1]), Path(sys.argv[2])
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={COUNT}"

import keras  # noqa: E402
import numpy as np  # noqa: E402

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * COUNT)
    # Two steps of one device take less time than compiling them.
    tf.config.run_functions_eagerly(COUNT == 1)

from tiny import GOLDEN, tiny_model  # noqa: E402

INPUTS = ["images", "image_meta", "rpn_match", "rpn_bbox", "gt_class_ids", "gt_boxes", "gt_masks", "keypoints", "rois"]
POINTS = {"NUM_KEYPOINTS": 2, "KEYPOINT_CONVOLUTIONS": 1, "KEYPOINT_CHANNELS": 8}


class Batches(keras.utils.PyDataset):
    """A batch of twice the first image of golden case A: each device has what one has.

    Each time it is in new arrays, as `DataGenerator` gives them. TensorFlow does not copy an array whose memory happens
    to be aligned, and computes in it; the same array would be another batch the next time.
    """

    def __init__(self, graph, golden):
        super().__init__()
        self.first = {}
        for tensor, name in zip(graph.inputs, INPUTS, strict=True):
            first = corners(golden) if name == "keypoints" else array(golden, name)
            self.first[tensor.name] = first.astype(tensor.dtype)

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return ({name: np.concatenate([first, first]) for name, first in self.first.items()},)


def array(golden, name):
    """The first image's."""
    key = f"A_given_rois/in_{name}"
    return golden[alias.get(key, key)][:1]


def corners(golden):
    """Two keypoints of each box: its first and its last pixel."""
    y1, x1, y2, x2 = np.moveaxis(array(golden, "gt_boxes"), -1, 0)
    seen = 2 * (y2 > y1)
    return np.stack([np.stack([x1, y1, seen], -1), np.stack([x2 - 1, y2 - 1, seen], -1)], 2)


golden = np.load(GOLDEN / "tiny_training.npz")
alias = json.loads(str(golden["alias_json"]))  # keys that are not stored are those of others
values = json.loads(str(golden["A_given_rois/config_json"])) | {"GPU_COUNT": COUNT, "IMAGES_PER_GPU": 2 // COUNT}
model = tiny_model("training", OUTPUT.parent, **values, **POINTS)
graph = model.keras_model
rng = np.random.default_rng(0)
for layer in graph.layers:  # the tiny weights have no keypoint head
    if layer.name.startswith("mrcnn_keypoint") and layer.weights:
        layer.set_weights([rng.normal(0, 0.05, w.shape) for w in layer.get_weights()])
model.set_trainable(".*", verbose=0)
model.compile(0.01, 0.9)
history = graph.fit(Batches(graph, golden), epochs=2, verbose=0, shuffle=False).history
weights = {weight.path: np.asarray(weight.numpy()) for weight in graph.trainable_variables}
np.savez(OUTPUT, loss=history["loss"], points=history["mrcnn_keypoint_loss"], **weights)
