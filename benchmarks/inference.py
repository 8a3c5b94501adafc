"""Seconds of `detect` by stage, for ResNet-50 and -101, photo-shaped and square, one image and four.

    python benchmarks/inference.py
    python benchmarks/inference.py --precision float32 bfloat16 --fold 1
    python benchmarks/inference.py --backbones resnet50 --modes rect --batches 1 --peer

The network has random weights and is made to find as many objects as --detections says, so that all stages have real
work. All cases are measured in turn in one process, round after round, and medians are given: on a shared machine their
ratios mean more than the seconds. Peak memory is that of a process of its own for each case. Floating point operations
are those of convolutions and dense layers, two for each multiplication. --peer runs torchvision's
maskrcnn_resnet50_fpn on the same photo in the same rounds, where it is installed (--peer-python names its Python, if
that is another).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mrcnn.cli import program

program.begin(__name__)

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import time

import keras
import numpy as np
from flops import flops
from keras import ops

from mrcnn.cli import arguments
from mrcnn.config import Config
from mrcnn.model import MaskRCNN


class InferenceConfig(Config):
    """COCO's configuration."""

    NAME = "benchmark"
    NUM_CLASSES = 1 + 80
    DETECTION_MIN_CONFIDENCE = 0.0


def photo(height, width):
    """A picture [height, width, 3] uint8 without meaning."""
    y, x = np.mgrid[:height, :width]
    return np.stack([127 + 127 * np.sin(y / a + x / b) for a, b in ((31, 47), (11, 90), (70, 23))], -1).astype("uint8")


def build(case, detections):
    """A model that detects so many objects in anything."""
    keras.utils.set_random_seed(0)
    config = InferenceConfig().update(
        BACKBONE=case["backbone"],
        IMAGE_RESIZE_MODE=case["mode"],
        IMAGES_PER_GPU=case["batch"],
        PRECISION=case["precision"],
        DETECTION_MAX_INSTANCES=detections,
    )
    model = MaskRCNN("inference", config, "logs")
    model.keras_model.get_layer("mrcnn_class_logits").bias.assign([-9.0] + [0.0] * 80)  # never background
    if case["fold"]:
        model.fold_batch_norm()
    return model


def stages(model, image):
    """Functions to time: the whole, and the parts that come before each other, by name."""
    images = [image] * model.config.BATCH_SIZE
    molded, metas, windows = model.mold_inputs(images)
    inputs = [molded, metas.astype("float32"), np.stack([model.get_anchors(molded.shape[1:])] * len(molded))]
    graph = model.keras_model
    ends = {
        "backbone": [graph.get_layer(f"fpn_c{n}p{n}").input for n in (2, 3, 4, 5) if n < 5]
        + [graph.get_layer("fpn_c5p5").input],
        "FPN": [graph.get_layer(f"fpn_p{n}").output for n in (2, 3, 4, 5)],
        "RPN": [graph.get_layer(name).output for name in ("rpn_class", "rpn_bbox")],
        "box head": [graph.outputs[0]],
    }
    functions = {"detect": lambda: model.detect(images), "mold": lambda: model.mold_inputs(images)}
    for name, outputs in ends.items():
        # A mean of each output, so that handing large ones over is not counted.
        part = keras.Model(graph.inputs, [ops.mean(ops.cast(x, "float32")) for x in outputs])
        functions[name] = lambda part=part: part.predict_on_batch(inputs)
    detector, heads = model.compiled
    detections, *maps = detector(inputs)
    rois = detections[..., :4]
    given = [rois, inputs[1], *maps]
    found = {name: ops.convert_to_numpy(x) for name, x in heads(given).items()}
    rows = ops.convert_to_numpy(detections)
    functions["mask head"] = lambda: ops.convert_to_numpy(heads(given)["mrcnn_mask"])
    functions["unmold"] = lambda: [
        model.unmold_detections(rows[i], found["mrcnn_mask"][i], image.shape, molded.shape[1:], windows[i])
        for i in range(len(images))
    ]
    with flops() as counted:
        detector.graph([ops.convert_to_tensor(x) for x in inputs])
        heads.graph([ops.convert_to_tensor(x) for x in given])
    return functions, sum(counted), molded.shape


SIDE = 4096


def matrix_product():
    """A function to time: the product of two float32 matrices of this side, by NumPy."""
    a = np.random.default_rng(0).random((SIDE, SIDE), "float32")
    return lambda: a @ a


def rate(seconds):
    """Its floating point operations per second."""
    return 2 * SIDE**3 / seconds


def resident_peak():
    """MiB of memory that this process held at most."""
    with open("/proc/self/status") as file:  # getrusage would give the parent's, where that held more
        return next(int(line.split()[1]) // 1024 for line in file if line.startswith("VmHWM"))


def rounds(functions, repeats):
    """Median seconds of each function, called in turn after one call that warms up."""
    seconds = {name: [] for name in functions}
    for i in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            taken = function()
            seconds[name].append(taken if isinstance(taken, float) else time.perf_counter() - start)
        print(f"\rround {i} of {repeats}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


PEER = """
import sys, time, torch, torchvision
from torchvision.models.detection import maskrcnn_resnet50_fpn
detections, height, width = map(int, sys.argv[1:])
torch.manual_seed(0)
model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, box_score_thresh=0.0, min_size=800, max_size=1024,
                              box_detections_per_img=detections).eval()
with torch.no_grad():
    model.roi_heads.box_predictor.cls_score.bias[0] = -9
image = torch.rand(3, height, width)
print("torchvision", torchvision.__version__, flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    with torch.no_grad():
        found = model([image])[0]
    seconds = time.perf_counter() - start
    assert len(found["boxes"]) == detections
    print(seconds, flush=True)
"""


@contextlib.contextmanager
def peer(python, detections, height, width):
    """torchvision in a process of its own, that waits while others are measured: (its version, a function to time)."""
    process = subprocess.Popen(
        [python, "-c", PEER, str(detections), str(height), str(width)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def call():
        process.stdin.write("\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    try:
        yield process.stdout.readline().strip(), call
    finally:
        process.kill()


def title(case):
    """A case in words."""
    folded = ", folded" if case["fold"] else ""
    return f"{case['backbone']} {case['mode']} x{case['batch']} {case['precision']}{folded}"


def peak_memory(case, args):
    """MiB that a process needs to build and detect once, by this case."""
    command = [sys.executable, __file__, "--memory", json.dumps(case), "--detections", str(args.detections)]
    command += ["--size", *map(str, args.size)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main():
    """Print a table: a row for every case, a column for every stage."""
    parser, count = arguments.Parser(description=__doc__), arguments.whole(1)
    parser.add_argument("--backbones", nargs="+", default=["resnet50", "resnet101"])
    parser.add_argument("--modes", nargs="+", default=["rect", "square"])
    parser.add_argument("--batches", nargs="+", type=count, default=[1, 4])
    parser.add_argument("--precision", nargs="+", default=["float32"])
    parser.add_argument(
        "--fold", nargs="+", type=int, default=[0, 1], choices=[0, 1], help="1: BatchNorm folded into the convolutions"
    )
    parser.add_argument("--detections", type=count, default=16, help="objects found in each image")
    parser.add_argument(
        "--size", nargs=2, type=count, default=[427, 640], metavar=("HEIGHT", "WIDTH"), help="the photo"
    )
    parser.add_argument("--repeats", type=count, default=7)
    parser.add_argument("--peer", action="store_true", help="torchvision's model in the same rounds")
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    args = parser.parse_args()
    image = photo(*args.size)
    if args.memory:
        case = json.loads(args.memory)
        build(case, args.detections).detect([image] * case["batch"])
        print(resident_peak())
        return
    cases = [
        dict(zip(("backbone", "mode", "batch", "precision", "fold"), values, strict=True))
        for values in itertools.product(args.backbones, args.modes, args.batches, args.precision, args.fold)
    ]
    print(f"Keras {keras.__version__} on {keras.backend.backend()}, {os.cpu_count()} CPUs, {processor()}")
    functions, counted, shapes = {"product": matrix_product()}, {}, {}
    for case in cases:
        parts, counted[title(case)], shapes[title(case)] = stages(build(case, args.detections), image)
        functions |= {(title(case), stage): function for stage, function in parts.items()}
    with contextlib.ExitStack() as stack:
        if args.peer:
            version, functions["peer"] = stack.enter_context(peer(args.peer_python, args.detections, *args.size))
        found = rounds(functions, args.repeats)
    peak = rate(found["product"])
    print(f"product of float32 matrices of {SIDE} x {SIDE}: {peak / 1e9:.0f} GFLOP/s")
    print(f"photo of {args.size[1]} x {args.size[0]}, {args.detections} detections, medians of {args.repeats}, seconds")
    columns = ("detect", "mold", "backbone", "FPN", "RPN", "box head", "mask head", "unmold")
    print(f"{'':36}{'shape':>12}{''.join(f'{name:>11}' for name in columns)}{'GFLOP':>8}{'of peak':>9}{'MiB':>7}")
    for case in cases:
        name = title(case)
        seconds = {stage: found[name, stage] for stage in columns}
        chain = ("backbone", "FPN", "RPN", "box head")
        row = seconds | {b: max(seconds[b] - seconds[a], 0) for a, b in itertools.pairwise(chain)}
        share = counted[name] / seconds["detect"] / peak
        shape = "x".join(map(str, shapes[name][1:3]))
        numbers = "".join(f"{row[stage]:>11.3f}" for stage in columns)
        print(
            f"{name:36}{shape:>12}{numbers}{counted[name] / 1e9:>8.0f}{share:>9.0%}{peak_memory(case, args):>7}",
            flush=True,
        )
    if args.peer:
        print(f"{version} maskrcnn_resnet50_fpn, float32, one image: {found['peer']:.3f}")
        for case in cases:
            if case["batch"] == 1:
                print(f"  {title(case)}: {found[title(case), 'detect'] / found['peer']:.2f} of that")


def processor():
    """The processor's name, as far as the system tells."""
    with contextlib.suppress(OSError, StopIteration), open("/proc/cpuinfo") as file:
        return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    return "unknown processor"


if __name__ == "__main__":
    sys.exit(program.run("inference.py", main))
