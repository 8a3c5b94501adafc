"""`coco.py export`, and exported models in the place of weights."""

from pathlib import Path

from mrcnn.cli import arguments
from mrcnn.cli.arguments import parse_settings
from mrcnn.data.agreement import check_set
from mrcnn.export import Exported
from mrcnn.export.runtime import files_of, format_module, is_exported, read_record

# Images to check a file with; calibration takes more.
CHECKED = 3

COMMANDS = "evaluate detect"


def add_options(parser):
    """The options of export alone."""
    kinds, only = ["float32", "float16", "int8"], {"only": "export"}
    parser.add_argument("--precision", choices=kinds, default="float32", help="of the weights; int8 calibrates", **only)
    parser.add_count("--calibrate", help="images of the training set to calibrate int8 with (default: 100)", **only)
    canvas = "what the network sees, such as 704x1024 (default: IMAGE_MAX_DIM squared); images are scaled to fit"
    size = arguments.text("HEIGHTxWIDTH", r"[1-9]\d{0,4}x[1-9]\d{0,4}")
    parser.add_argument("--canvas", type=size, metavar="HxW", help=canvas, **only)
    parser.add_argument("--image-size", type=size, metavar="HxW", help="of images for litert, which takes one", **only)


def check(args):
    """Look at what is to be written.

    Raises:
        ValueError, OSError, ImportError: it cannot be.
    """
    if args.command != "export":
        if is_exported(args.model) and args.command not in COMMANDS:
            raise ValueError(f"{args.model} is exported: it can {' and '.join(COMMANDS.split())}, no more.")
        if is_exported(args.model) and (args.tiles or args.scales):
            raise ValueError("--tiles and --scales want weights; an exported model takes images as they are.")
        return
    if not args.output:
        raise ValueError("Name the file to write with --output.")
    if is_exported(args.model):
        raise ValueError(f"{args.model} is exported already; export its weights.")
    ending = format_module(args.file_format).ENDING
    if ending:
        arguments.check_output(args.output, [ending])
    else:
        arguments.check_folder(Path(args.output).parent)
    from mrcnn.export.writing import check_format

    check_format(Path(args.output), args.file_format, args.precision)


def export(args, model, dataset):
    """Write the model as --format says, and print how far its results are from the model's."""
    count = (args.calibrate or 100) if args.precision == "int8" else CHECKED
    if dataset is None and args.precision == "int8":
        raise ValueError("int8 is calibrated on images: name a set with --dataset.")
    images = [dataset.load_image(i) for i in dataset.image_ids[:count]] if dataset is not None else []
    canvas, size = (x and [int(side) for side in x.split("x")] for x in (args.canvas, args.image_size))
    record = model.export(args.output, args.file_format, args.precision, images, canvas, size)
    found = record["differences"]
    words = [f"{name} {found[name]:.2g}" for name in found if name not in ("lost", "new")]
    print(f"Largest differences from the model itself: {', '.join(words)}")
    if found.get("lost") or found.get("new"):
        print(f"{found['lost']:g} detections are lost, {found['new']:g} new.")
    output = Path(args.output)
    megabytes = sum(file.stat().st_size for file in files_of(output)) / 2**20
    print(f"Wrote {output.resolve()}, {megabytes:.1f} MiB, and {output.name}.json beside it")


def load(args, dataset=None):
    """The exported model that --model names, with --config.

    Raises:
        ValueError: the data set has other classes.
    """
    values = parse_settings(args.config)
    if args.command == "detect":
        stored = read_record(args.model)["settings"]["DETECTION_MIN_CONFIDENCE"]
        values = {"DETECTION_MIN_CONFIDENCE": max(0.5, stored), **values}
    model = Exported(args.model, **values)
    if dataset is not None:
        check_set(dataset, model.config)
    return model
