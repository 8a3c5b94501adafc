"""Images a second on an accelerator: detection and training at 1024 pixels, beside torchvision on the same card.

    KERAS_BACKEND=jax python benchmarks/gpu.py
    KERAS_BACKEND=jax python benchmarks/gpu.py --size 128 --detect 1 2 --train 2 --precision float32 --repeats 2

ResNet-50 with random weights and COCO's classes; images are noise, and detections limited to 100, as in torchvision.
The whole of `detect` counts, and a whole training step from a batch in memory. torchvision's maskrcnn_resnet50_fpn runs
in turn with ours, where it is installed, under autocast to the same precision. Before that, suppression of boxes on the
card, where products may be of TF32, is compared with NumPy's; after it, benchmarks/export.py measures files of ONNX,
where TensorFlow and ONNX Runtime are installed. The second line tries it all out on a CPU.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leave memory for PyTorch
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mrcnn.cli import program

program.begin(__name__)

import importlib.util
import statistics
import subprocess
import tempfile
import time

import keras
import numpy as np

from mrcnn.cli import arguments
from mrcnn.config import Config
from mrcnn.data.batches import DataGenerator
from mrcnn.data.dataset import Dataset
from mrcnn.model import MaskRCNN
from mrcnn.ops.nms import nms, nms_indices


class Squares(Dataset):
    """Noise with four bright squares in each image, of classes 1 to 4."""

    def __init__(self, count, side):
        super().__init__()
        self.side = side
        for class_id in range(1, 81):
            self.add_class("squares", class_id, str(class_id))
        for i in range(count):
            self.add_image("squares", i, None, height=side, width=side)
        self.prepare()

    def load_image(self, image_id):
        return np.random.default_rng(image_id).integers(0, 256, (self.side, self.side, 3), "uint8")

    def load_mask(self, image_id):
        masks, part = np.zeros((self.side, self.side, 4), bool), self.side // 4
        for i in range(4):
            masks[i * part : i * part + part // 2, i * part : i * part + part // 2, i] = True
        return masks, np.arange(1, 5, dtype="int32")


def ours(args):
    """{(what, batch): function that does it once}."""
    settings = {"BACKBONE": "resnet50", "NUM_CLASSES": 81, "PRECISION": args.precision, "TRAIN_ROIS_PER_IMAGE": 512}
    settings |= {"IMAGE_MIN_DIM": args.size, "IMAGE_MAX_DIM": args.size, "DETECTION_MIN_CONFIDENCE": 0.0}
    settings |= {"ROI_POSITIVE_RATIO": 0.25, "NAME": "gpu"}
    data, folder, found = Squares(max(args.detect + args.train), args.size), tempfile.mkdtemp(), {}

    def config(batch):
        return Config.from_dict({**settings, "IMAGES_PER_GPU": batch})

    for batch in args.detect:
        model = MaskRCNN("inference", config(batch), folder)
        images = [data.load_image(i) for i in range(batch)]
        found["detect", batch] = lambda model=model, images=images: model.detect(images, rle=True)
    for batch in args.train:
        model = MaskRCNN("training", config(batch), folder)
        model.set_trainable(".*", verbose=0)
        model.compile(0.001, 0.9)
        (arrays,) = DataGenerator(data, model.config)[0]
        found["train", batch] = lambda model=model, arrays=arrays: model.keras_model.train_on_batch(arrays)
    return found


def torchvisions(args):
    """The same of torchvision, or nothing where it is missing."""
    try:
        import torch
        import torchvision
    except ImportError:
        return {}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data, found, sizes = Squares(max(args.detect + args.train), args.size), {}, {"min_size": args.size}
    build = torchvision.models.detection.maskrcnn_resnet50_fpn

    def tensor(i):
        return torch.from_numpy(data.load_image(i).transpose(2, 0, 1) / np.float32(255)).to(device)

    def target(i):
        masks, labels = data.load_mask(i)
        rows = [np.nonzero(masks[..., k].any(axis=1))[0] for k in range(4)]
        boxes = np.array([[r[0], r[0], r[-1] + 1, r[-1] + 1] for r in rows], "float32")
        values = {"boxes": boxes, "labels": labels.astype("int64"), "masks": masks.transpose(2, 0, 1).astype("uint8")}
        return {name: torch.from_numpy(value).to(device) for name, value in values.items()}

    def wait(value):
        if device == "cuda":
            torch.cuda.synchronize()
        return value

    cast = {"dtype": getattr(torch, args.precision), "enabled": args.precision != "float32"}
    for batch in args.detect:
        model = build(weights=None, weights_backbone=None, max_size=args.size, **sizes).to(device).eval()

        images = [tensor(i) for i in range(batch)]

        def detect(model=model, images=images):
            with torch.inference_mode(), torch.autocast(device, **cast):
                return wait(model(images))

        found["detect", batch] = detect
    for batch in args.train:
        model = build(weights=None, weights_backbone=None, max_size=args.size, **sizes).to(device).train()
        optimizer = torch.optim.SGD(model.parameters(), 0.001, 0.9)
        images, targets = [tensor(i) for i in range(batch)], [target(i) for i in range(batch)]

        def train(model=model, optimizer=optimizer, images=images, targets=targets):
            with torch.autocast(device, **cast):
                loss = sum(model(images, targets).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return wait(loss.item())

        found["train", batch] = train
    return found


def check_suppression(count=4000, kept=1000):
    """Say whether the device keeps the boxes that NumPy keeps; of whole pixels, float32 has all areas exactly."""
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "tensorfloat32")
    corners = np.sort(np.random.default_rng(0).integers(0, 1000, (count, 2, 2)), axis=1).astype("float32")
    boxes = corners.reshape(count, 4)
    expected = nms(boxes, -np.arange(count), 0.5)[:kept]
    index, valid = nms_indices(boxes[None], np.ones((1, count), bool), 0.5, kept)
    found = keras.ops.convert_to_numpy(index)[0][keras.ops.convert_to_numpy(valid)[0]]
    same = len(found) == len(expected) and (found == expected).all()
    print(f"NMS of {count} boxes keeps {len(found)}, {'those' if same else 'NOT those'} of NumPy", flush=True)


def exported(args):
    """Speed of exported files, which TensorFlow writes, in a process of its own."""
    if importlib.util.find_spec("tensorflow") and importlib.util.find_spec("onnxruntime"):
        program = Path(__file__).with_name("export.py")
        words = "speed --formats onnx --precisions float32 float16 int8 --repeats".split()
        environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
        subprocess.run([sys.executable, program, *words, str(args.repeats)], env=environment, check=False)


def main():
    """Print a row for each batch."""
    parser, count = arguments.Parser(description=__doc__), arguments.whole(1)
    parser.add_argument("--size", type=count, default=1024)
    parser.add_argument("--detect", type=count, nargs="+", default=[1, 8], help="batches")
    parser.add_argument("--train", type=count, nargs="+", default=[8, 16], help="batches")
    parser.add_argument("--precision", choices=["float32", "bfloat16", "float16"], default="bfloat16")
    parser.add_argument("--repeats", type=count, default=10)
    args = parser.parse_args()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}, {', '.join(keras.distribution.list_devices())}")
    print(f"images a second at {args.size} x {args.size}, {args.precision}, medians of {args.repeats}")
    check_suppression()
    packages = {"this package": ours(args), "torchvision": torchvisions(args)}
    for what, batch in packages["this package"]:
        functions = {name: found[what, batch] for name, found in packages.items() if found}
        times = {name: [] for name in functions}
        for i in range(args.repeats + 2):
            for name, function in functions.items():
                start = time.perf_counter()
                function()
                if i >= 2:  # the first ones compile
                    times[name].append(time.perf_counter() - start)
        rates = ", ".join(f"{name} {batch / statistics.median(t):.2f}" for name, t in times.items())
        print(f"{what}, batch {batch}: {rates}", flush=True)
    exported(args)


if __name__ == "__main__":
    sys.exit(program.run("gpu.py", main))
