"""The command `python -m mrcnn.weights.convert SOURCE OUT`."""

import os
from pathlib import Path

from mrcnn.cli import program
from mrcnn.cli.arguments import Parser, check_folder, number, path
from mrcnn.settings import CONFIG
from mrcnn.weights.convert.files import WEIGHTS, convert_file

ABOUT = """SOURCE is a `.pth`, `.safetensors` or `.pkl` file of a Mask, Keypoint, Faster or Cascade R-CNN with a
ResNet-50 or -101 or a ResNeXt of 32 groups and a feature pyramid, or of torchvision's RetinaNet, FCOS, SSD300 or FCN;
or a `.weights` file of Darknet with its `.cfg` beside it: YOLO v2 or v3, tiny or not, or one of the same layers. OUT
becomes a folder of `weights.h5` and of a `config.json` whose settings compute what the source's package does;
`mrcnn.models.detectors.load_detector(OUT)` is that model."""

FOUND = {"bbox": "boxes", "segm": "masks", "keypoints": "keypoints", "semantic": "classes of pixels"}


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = Parser("python -m mrcnn.weights.convert", ABOUT)
    parser.add_argument("source", type=path, help="a .pth, .safetensors, .pkl or .weights file")
    parser.add_argument("out", type=path, help="folder to write")
    parser.add_argument(
        "--all-classes", action="store_true", help="keep torchvision's 91 outputs for COCO's 80 classes"
    )
    parser.add_argument(
        "--epsilon", type=number(0, 1), help="of BatchNorm; default 1e-5, and 0 for torchvision's COCO_V1 files"
    )
    args = parser.parse_args(arguments)
    return program.run("mrcnn.weights.convert", lambda: _work(args))


def _work(args):
    if Path(args.out).exists() and not Path(args.out).is_dir():
        raise NotADirectoryError(f"{args.out} is a file; name a folder to write.")
    if Path(args.out, CONFIG).exists() and not Path(args.out, WEIGHTS).exists():
        raise ValueError(f"{args.out} holds a {CONFIG} of other weights; name another folder to write.")
    check_folder(args.out)
    print(f"Reading {args.source}")
    config = convert_file(args.source, args.out, args.epsilon, args.all_classes)
    heads = [FOUND[kind] for kind in config.finds]
    network = "Darknet" if config.DARKNET else config.BACKBONE
    print(
        f"{args.out}: {network}, {config.NUM_CLASSES} classes with the background, {', '.join(heads)}. "
        f"Use it as mrcnn.models.detectors.load_detector({os.fspath(args.out)!r})."
    )
    return 0
