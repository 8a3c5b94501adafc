"""Two steps of a small model with keypoints on one batch, on one device and on two: losses and weights into files.

python two_devices.py folder
"""

import os
import sys
from pathlib import Path

FOLDER = Path(sys.argv[1])
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import ops  # noqa: E402

TENSORFLOW = keras.backend.backend() == "tensorflow"
if TENSORFLOW:
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from kites import Kites  # noqa: E402
from quick import QuickConfig  # noqa: E402

from mrcnn.data.batches import DataGenerator  # noqa: E402
from mrcnn.model import MaskRCNN  # noqa: E402

# All RoIs are given, and as few as the sample may hold, even if all are positive: chance has no part in it. Nor have
# statistics of a batch, which amplify rounding.
SETTINGS = {"NUM_KEYPOINTS": 4, "OPTIMIZER": "sgd", "GRADIENT_CLIP_NORM": 1.0, "TRAIN_BN": False}
SETTINGS |= {"USE_RPN_ROIS": False, "POST_NMS_ROIS_TRAINING": 10, "APPEND_GT_ROIS": True}
SETTINGS |= {"TRAIN_ROIS_PER_IMAGE": 28, "ROI_POSITIVE_RATIO": 0.5}


class Batches(keras.utils.PyDataset):
    """A batch of twice the same image: each device has what one has.

    Each time it is in new arrays, as `DataGenerator` gives them. TensorFlow does not copy an array whose memory happens
    to be aligned, and computes in it; the same array would be another batch the next time.
    """

    def __init__(self, first):
        super().__init__()
        self.first = first

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return ({name: np.concatenate([first, first]) for name, first in self.first.items()},)


def weights_of(graph):
    return {weight.path: ops.convert_to_numpy(weight).copy() for weight in graph.trainable_variables}


def train(count):
    """Two steps on `count` devices, from the weights of the first model; losses and weights go to a file."""
    config = QuickConfig().update(**SETTINGS, GPU_COUNT=count, IMAGES_PER_GPU=2 // count)
    model = MaskRCNN("training", config, FOLDER)
    graph = model.keras_model
    rng = np.random.default_rng(0)
    for layer in graph.layers:  # with biases that are not 0: one that no loss moves would be compared with rounding
        if layer.name.startswith("mrcnn_keypoint") and layer.weights:
            layer.set_weights([rng.normal(0, 0.05, w.shape) for w in layer.get_weights()])
    if STARTS:
        graph.set_weights(STARTS[0])
    STARTS.append(graph.get_weights())
    model.set_trainable(".*", verbose=0)
    np.savez(FOLDER / "start.npz", **weights_of(graph))
    model.compile(RATE, 0.9)
    if TENSORFLOW:  # two steps of one device take less time than compiling them
        tf.config.run_functions_eagerly(count == 1)
    history = graph.fit(Batches(BATCH), epochs=2, verbose=0, shuffle=False).history
    points = history["mrcnn_keypoint_loss"]
    np.savez(FOLDER / f"{count}.npz", loss=history["loss"], points=points, **weights_of(graph))


keras.utils.set_random_seed(0)
RATE, STARTS = 0.1, []
BATCH = DataGenerator(Kites(), QuickConfig().update(**SETTINGS, IMAGES_PER_GPU=1), shuffle=False, seed=0)[1][0]
for count in (1, 2):
    train(count)
