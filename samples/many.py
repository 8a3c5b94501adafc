"""`coco.py detect` in a folder of any size, or a list of files, with a .json as --output: COCO's results, streamed."""

import sys
from functools import partial
from pathlib import Path

from mrcnn.cli import arguments, program
from mrcnn.evaluate.many import detect_files, here, listed, on_ray
from mrcnn.evaluate.results import check_results, digest_of
from mrcnn.export import Exported


def add_options(parser):
    """The options of such a detection alone."""
    ray = "detect in the files of a folder or list on a Ray cluster: its address, or local for processes here"
    parser.add_argument("--ray", only="detect", type=arguments.text("an address"), metavar="ADDRESS", help=ray)
    parser.add_count("--workers", only="detect", help="processes of --ray, each with the model (default: 2)")


def wanted(args):
    """Whether the arguments of detect ask for that, and not for a picture or a data set of what was found."""
    if args.tiles:
        return False
    several = bool(args.image) and (Path(args.image).is_dir() or Path(args.image).suffix == ".txt")
    return bool(args.ray) or (several and Path(args.output or "").suffix == ".json")


def check(args):
    """Look at what is to be read and written.

    Raises:
        ValueError, OSError: it cannot be.
    """
    if args.video or not (args.image and args.output):
        raise ValueError("--ray wants --image, a folder or a .txt that lists images, and --output, a .json.")
    if args.refine:
        raise ValueError("--refine is for pictures; it does not go with results of many images.")
    listed(args.image)
    check_output(args.output)


def check_output(path):
    """Try whether results can be written, a .json; see `arguments.check_output` and `check_results`."""
    arguments.check_output(path, [".json"])
    check_results(path)


def detect(args, model, dataset):
    """Detect in all images and write the results. Returns the exit code."""
    paths = listed(args.image)[: args.limit]
    categories = [info["id"] for info in dataset.class_info] if dataset is not None else None
    engine = on_ray(_loader(args, model), args.ray, args.workers or 2) if args.ray else here(lambda: model)
    try:
        count, bad = detect_files(
            paths, args.output, digest_of(model, [str(path) for path in paths]), engine, categories
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("The same command goes on.") from None
    for path, words in bad.items():
        print(f"{path.name}: {words}", file=sys.stderr)
    print(f"{count} detections in {len(paths) - len(bad)} images\nWrote {Path(args.output).resolve()}")
    return program.FAILED if bad else 0


def _loader(args, model):
    """A function that makes the model once more, in a process that knows nothing of this one."""
    settings = model.config.to_dict()
    if args.exported:
        after = ("DETECTION_MIN_CONFIDENCE", "MASK_PASTE", "KEYPOINT_DECODE", "IMAGES_PER_GPU")
        return partial(Exported, Path(args.model).resolve(), **{name: settings[name] for name in after})
    from mrcnn.models.detectors import detector_of  # it imports Keras

    return partial(detector_of, settings, Path(args.weights).resolve(), Path(args.logs).resolve())
