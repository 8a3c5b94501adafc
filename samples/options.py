"""The command line of coco.py and pose.py: their options, what these may be, and what does not go together; and the
command `validate` of all samples, `anchors` of theirs."""

import argparse
import re
import warnings
from pathlib import Path

import exporting
import many
import numpy as np

from mrcnn import weights
from mrcnn.cli import arguments
from mrcnn.data import advice
from mrcnn.data.augment import RECIPES
from mrcnn.data.clusters import anchor_sizes
from mrcnn.data.formats import FORMATS
from mrcnn.data.problems import Problem, format_problems
from mrcnn.data.remarks import emptiness
from mrcnn.evaluate.coco import ENGINES
from mrcnn.export import runtime
from mrcnn.settings import SETTINGS
from mrcnn.settings.checks import DETECTORS, TRACKERS
from mrcnn.weights import convert

# Weights that come with the package, which --model names.
SHIPPED = "shapes", "figures"


def parse(argv, sample, logs):
    """The command line of a `coco.Sample`; `logs` is the folder of runs."""
    parser = arguments.Parser(sample.prog, sample.description)
    path, work = arguments.path, "train evaluate detect export"
    parser.add_argument("command", choices=[*work.split(), "validate", "anchors"], help="what to do")
    parser.add_argument("--dataset", type=path, metavar="DIR", help="folder of a set; default: a generated one")
    looks = "of the files in --dataset, default: found by what is there; of export the file's, default: savedmodel"
    parser.add_argument("--format", choices=[*FORMATS, *runtime.FORMATS], help=looks)
    parser.add_argument("--year", type=arguments.year, default="2017", help="year in the file names (2014, 2017, ...)")
    parser.add_argument("--download", action="store_true", help="fetch COCO into --dataset if it is not there")
    add_outside(parser)
    parser.add_argument("--classes", type=arguments.names(), metavar="A,B,...", help="only these classes, by name")
    parser.add_argument(
        "--model",
        only=work,
        type=path,
        metavar="WEIGHTS",
        help="coco, imagenet, last (this set's last checkpoint), none, shapes or figures (which come with mrcnn), or a "
        "path: an .h5 file, one of torchvision or Detectron2 (.pth, .pkl), or of Darknet (.weights, with its .cfg "
        "beside it), a folder that mrcnn.weights.convert wrote, or what export wrote; default: to train, none for a "
        "generated set and coco for others; else last",
    )
    parser.add_run(logs, f"{work} anchors validate")
    add_advise(parser)
    count = "sizes to find (default: 9)"
    parser.add_argument("--count", only="anchors", type=arguments.whole(1, 1000), default=9, metavar="N", help=count)
    parser.add_count("--limit", only=work, help="only the first N images to evaluate or detect")
    add_training(parser)
    exporting.add_options(parser)
    many.add_options(parser)
    image = "an image, a folder, or for a .json a .txt that lists images; default: validation images"
    parser.add_argument("--image", only="detect", type=path, metavar="PATH", help=image)
    parser.add_argument("--video", only="detect", type=path, metavar="PATH", help="--output names what to write")
    track = "the same number and colour for an object in all of --video, by ByteTrack (an extra: track)"
    parser.add_argument("--track", only="detect", action="store_true", help=track)
    parser.add_argument(
        "--refine", only="detect", action="store_true", help="move edges of large masks to where colours change (slow)"
    )
    output = (
        "the picture, or the video (.mp4), or what was found: .json (COCO's format; of a folder or list of images "
        "COCO's results, and the same command goes on after a break), .geojson, .csv, or a new folder for labelme; of "
        "evaluate the results, a .json; of export the file or folder"
    )
    parser.add_argument("--output", only="evaluate detect export", type=path, metavar="PATH", help=output)
    report = "a new folder for a page about the evaluation: curves, mistakes by kind, the worst images"
    parser.add_argument("--report", only="evaluate", type=path, metavar="DIR", help=report)
    add_outlines(parser, "detect")
    add_scales(parser)
    add_numbers(parser)
    add_tiles(parser, work)
    args = parser.parse_args(argv)
    args.file_format = args.format or "savedmodel"
    if args.command == "export":  # it reads sets of any format that is found by what is there
        args.format = None
    args.sample = sample
    wrong = contradiction(args)
    if wrong:
        parser.error(wrong)
    return args


def add_outside(parser, only=""):
    """The option of programs whose annotation files name images."""
    what = "read images, too, whose file names leave --dataset"
    parser.add_argument("--outside", action="store_true", only=only, help=what)


def scales(text):
    """Factors of the images' size, as 0.75,1,1.5."""
    found = [arguments.number(0.1, 8)(word) for word in text.split(",")]
    if len(found) > 8:
        raise argparse.ArgumentTypeError(f"{len(found)} sizes are too many; give up to 8")
    return found


def add_scales(parser):
    """The option of evaluate that looks at an image more than once."""
    views = "look at each image in sizes of A, B, ... times its own and in a mirror, as 0.75,1,1.5 (slow)"
    parser.add_argument("--scales", only="evaluate", type=scales, metavar="A,B,...", help=views)


def add_advise(parser):
    """The option of validate that looks at more than what is wrong."""
    what = "what fits the set better than the settings of --config: anchors, image size, counts; and a step's memory"
    parser.add_argument("--advise", action="store_true", only="validate", help=what)


def add_tiles(parser, only):
    """How large images are looked at."""
    tiles = "look at large images, or train on them, in overlapping tiles of N pixels, as large as those trained on"
    parser.add_argument("--tiles", only=only, type=arguments.whole(64, 10**5), metavar="N", help=tiles)


def add_numbers(parser):
    """What evaluate counts, and how."""
    most = "detections that count in an image (default: 100, as for COCO)"
    parser.add_count("--max-detections", only="evaluate", default=100, help=most)
    engine = "what counts COCO's numbers; the second, an extra, is faster and gives the same"
    parser.add_argument("--engine", only="evaluate", choices=ENGINES, default=ENGINES[0], help=engine)
    parser.add_argument("--voc", only="evaluate", action="store_true", help="PASCAL VOC's AP of boxes, too")
    frequency = "AP of classes that few, some and many training images have, too, as LVIS groups them"
    parser.add_argument("--frequency", only="evaluate", action="store_true", help=frequency)


def add_outlines(parser, only=""):
    """How outlines are written."""
    tolerance = "by which outlines for labelme and in a .geojson may miss masks, for fewer corners"
    number = arguments.number(0, 1000)
    parser.add_argument("--tolerance", only=only, type=number, metavar="PIXELS", help=tolerance)
    transform = "affine map of a .geojson: x' = A x + B y + C, y' = D x + E y + F"
    parser.add_argument("--transform", only=only, type=arguments.affine, metavar="A,...,F", help=transform)


def add_training(parser):
    """The options of train alone."""
    detectors, recipes = SETTINGS["DETECTOR"].choices, ["joint", "four-step"]
    what = "what to train (default: mask_rcnn); its config remembers it"
    parser.add_argument("--detector", only="train", choices=detectors, help=what)
    recipe = "four-step alternates between the RPN and the box head of a faster_rcnn (Ren et al. 2015)"
    parser.add_argument("--recipe", only="train", choices=recipes, default="joint", help=recipe)
    parser.add_seed()
    usual = "default: what the generated set needs; else heads until 40, 4+ until 120, then all until 160"
    parser.add_count("--epochs", only="train", help=f"epoch to stop at ({usual})")
    parser.add_count("--steps", only="train", help="steps in an epoch (default: STEPS_PER_EPOCH of the config)")
    parser.add_argument(
        "--augment",
        only="train",
        type=arguments.names(RECIPES),
        metavar="A,B,...",
        help=f"of {', '.join(RECIPES)} (default: flip)",
    )
    parser.add_count("--eval-every", only="train", help="COCO's AP after every N epochs, best kept")
    log = f"where numbers go, of {', '.join(TRACKERS)} (default: TRACKERS of the config, tensorboard)"
    parser.add_argument("--log", only="train", type=arguments.names(TRACKERS), metavar="A,B,...", help=log)
    parser.add_count("--patience", only="train", help="stop after N evaluations of --eval-every without a better AP")
    parser.add_argument(
        "--layers",
        only="train",
        type=arguments.layers,
        metavar="L",
        help="heads, 3+, 4+, 5+, all or a regular expression (default: all, but for the stages of --epochs)",
    )
    parser.add_argument(
        "--machines",
        only="train",
        type=machines,
        metavar="I/N@HOST:PORT",
        help="this is machine I (from 0) of N that train together, meeting at the address of the first",
    )


def machines(text):
    """(address of the first machine, how many there are, which this is) of I/N@HOST:PORT."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})@([^\s:]+:(\d{1,5}))", text)
    if not match or int(match[1]) >= int(match[2]) or not 0 < int(match[4]) < 2**16:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form I/N@HOST:PORT, with I from 0 to N - 1")
    return match[3], int(match[2]), int(match[1])


def contradiction(args):
    """What does not go together in the command line, as a sentence, or None."""
    training, every, detector = args.command == "train", args.eval_every or 0, args.detector
    posing = [name for name, finds in DETECTORS.items() if "keypoints" in finds]
    output = Path(args.output or "").suffix.lower()
    boxes_alone = args.sample.keypoints and detector and detector not in posing
    rules = [
        (args.command == "export" and args.file_format not in runtime.FORMATS, "--format of export names the file's"),
        (args.format in runtime.FORMATS, f"--format {args.format} goes with export, not with {args.command}"),
        (args.format and not args.dataset, "--format is of the files in --dataset; give both"),
        (args.download and args.format, "--download fetches COCO, whose --format need not be named"),
        (args.download and not args.dataset, "--download needs --dataset, the folder to put COCO in"),
        (args.patience and not every, "--patience counts the evaluations of --eval-every; give both"),
        (training and args.limit and not every, "--limit is of the images that --eval-every evaluates; give both"),
        (every > last_epoch(args), f"--eval-every {every} never comes: training ends after epoch {last_epoch(args)}"),
        (every and args.detector == "rcnn", "--eval-every does not go with --detector rcnn: its SVMs come last"),
        (every and args.machines, "--eval-every does not go with --machines; evaluate the checkpoints afterwards"),
        (
            args.machines and detector == "rcnn",
            "--machines does not go with --detector rcnn: its SVMs are of one machine",
        ),
        (boxes_alone, f"--detector {detector} finds no keypoints; {', '.join(posing[:-1])} and {posing[-1]} do"),
        (args.image and args.video, "--image does not go with --video"),
        (args.track and not args.video, "--track follows what is in a --video; give both"),
        (args.tiles and args.command == "detect" and not args.image, "--tiles needs --image, the large image"),
        (args.tiles and args.refine, "--refine does not go with --tiles"),
        (args.tiles and args.ray, "--ray does not go with --tiles"),
        (args.tiles and args.sample.keypoints and training, "--tiles cuts no keypoints: train on whole images"),
        (args.tiles and training and every, "--eval-every does not go with --tiles; evaluate --tiles afterwards"),
        (args.scales and args.tiles, "--scales does not go with --tiles"),
        (args.limit and args.video, "--limit does not go with --video"),
        (args.workers and not args.ray, "--workers counts the processes of --ray; give both"),
        (args.calibrate and args.precision != "int8", "--calibrate counts images for --precision int8; give both"),
        (args.image_size and args.file_format != "litert", "--image-size is of a file of --format litert; give both"),
        (args.transform and output != ".geojson", "--transform goes with a .geojson as --output"),
        (
            args.tolerance is not None and (args.output is None or output not in ("", ".geojson")),
            "--tolerance goes with a .geojson or a folder as --output",
        ),
        (not training and args.model == "imagenet", "--model imagenet is to train from; it finds nothing itself"),
    ]
    return next((words for wrong, words in rules if wrong), None)


def anchors(dataset, config, count):
    """Print sizes for anchors of a set's objects, as YOLO has them and as the settings of the RPN do."""
    sizes, iou = anchor_sizes(dataset, config, count)
    print(f"{count} sizes by k-means on IoU, in pixels at IMAGE_MAX_DIM = {config.IMAGE_MAX_DIM}:")
    print("width x height: " + ", ".join(f"{width:.1f} x {height:.1f}" for width, height in sizes))
    print(f"Mean IoU of an object with the nearest of them: {iou:.3f}")
    levels = 3 if count % 3 == 0 else 1
    listed = advice.pasted({"YOLO_ANCHORS": sizes.round(1).reshape(levels, -1, 2).tolist()})
    print(f"For yolo_v{2 if levels == 1 else 3}: --config {listed}")
    sides, ratios = np.sqrt(sizes.prod(axis=1)), sizes[:, 0] / sizes[:, 1]
    print(f"For RPN_ANCHOR_SCALES: sides of {sides.min():.0f} to {sides.max():.0f}, half below {np.median(sides):.0f}.")
    print(f"For RPN_ANCHOR_RATIOS: width / height {ratios.min():.2f} to {ratios.max():.2f}.")


def advise(dataset, config):
    """Print what settings fit a set, and how much memory a training step with them needs at most."""
    from mrcnn.models.detectors import build_detector
    from mrcnn.models.inspection import step_memory

    found = advice.advise(dataset, config.update(NUM_CLASSES=dataset.num_classes))
    print("\n".join(["", *found.lines]))
    model = build_detector("training", config.update(**found.settings), "")
    slots = 2 if config.OPTIMIZER == "adamw" else 1
    slots += (config.EMA_MOMENTUM > 0) + (config.GRADIENT_ACCUMULATION > 1)
    size = step_memory(model.keras_model, slots)
    print(f"A step of {config.BATCH_SIZE} images needs up to {size / 1e9:.1f} GB, and libraries 1 to 2 GB beside.")
    if found.settings:
        print(f"Settings to try:\n--config {advice.pasted(found.settings)}")
    else:
        print("The settings fit.")


def validate(args, load, config_class, subsets=("train", "val")):
    """The command `validate`: print what is wrong with a set, and, with --advise, what settings fit it.

    Args:
        args: of the command line.
        load: gives the prepared set of a subset.
        config_class: of the settings that --config changes.
        subsets: names of the subsets; only the first has to be there.

    Returns:
        the exit code: 1 if anything is wrong.

    Raises:
        FileNotFoundError: the first subset is not there.
        ValueError: --config without --advise or impossible.
    """
    if args.config and not args.advise:
        raise ValueError("--config of validate changes what --advise goes by; give both.")
    config = config_class().update(**arguments.parse_settings(args.config))
    problems, first = [], None
    for subset in subsets:
        try:
            dataset = load(subset)
            problems += dataset.validate()
            if empty := emptiness(dataset):
                print(empty)
            elif subset == subsets[0]:
                first = dataset
        except FileNotFoundError as error:
            if subset == subsets[0]:
                raise
            print(f"No validation images: {error}")
        except (ValueError, OSError) as error:
            problems.append(Problem("annotation file that cannot be used", str(args.dataset), str(error)))
            print(format_problems(problems[-1:], 0))
    if args.advise and first:
        advise(first, config)
    return 1 if problems else 0


def weights_of(args):
    """What --model names, those weights that come with the package as a path."""
    name = args.model or usual_model(args)
    return weights.download(name) if name in SHIPPED else name


def usual_model(args):
    """What --model is where it is left out: to train "coco", or "none" on the generated set; else the last run, and
    where there is none yet the weights of the generated set that come with the package."""
    from mrcnn.train.run import find_last

    if args.command == "train":
        return "coco" if args.dataset else "none"
    name = args.sample.generated_config.NAME
    named = args.dataset or "NAME" in arguments.parse_settings(args.config)
    if named or args.command not in ("evaluate", "detect", "export"):
        return "last"
    try:
        find_last(args.logs, name)
    except FileNotFoundError:
        print(f"No run of {name} in {args.logs} yet: these are the weights that come with mrcnn (--model {name}).")
        return name
    return "last"


def load_weights(model, path):
    """Load weights; a model that is to detect must find all of its layers in them, else what it finds means nothing.

    Raises:
        ValueError: some would be random, such as the heads where there are other classes.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Random weights")
        model.load_weights(path, by_name=True)
    if model.mode == "inference" and model.load_report.left:
        config = model.config
        raise ValueError(
            f"{path} does not fit the settings of {config.NAME!r} with NUM_CLASSES {config.NUM_CLASSES}, which leave "
            f"without weights {weights.some(model.load_report.left, 4)}. Put the config.json of its run beside it, and "
            "use it on sets of the classes that it was trained on."
        )


def without_set(args):
    """Whether no data set is needed: for an image and weights, or an exported model, that know their classes.

    Raises:
        ValueError: there is no image.
    """
    released = Path(args.model).name == convert.WEIGHTS or (args.model == "coco" and not args.sample.keypoints)
    given = bool(args.image or args.video)
    if args.dataset or not (released or args.exported) or args.command not in ("detect", "export"):
        return False
    if released and args.command == "detect" and not given:
        raise ValueError("Name a picture with --image, or a video with --video.")
    return released or given


def names_of(config):
    """Names of a config's classes; numbers where it has none, or those of another set."""
    names = list(config.CLASS_NAMES)
    return names if len(names) == config.NUM_CLASSES else ["BG", *(f"class {i}" for i in range(1, config.NUM_CLASSES))]


def last_epoch(args):
    """The epoch to stop at."""
    return args.epochs or (args.sample.generated_epochs if args.dataset is None else 160)


def check_recipe(args):
    """Raise ValueError where --recipe does not go with the rest; four-step names the detector that it trains."""
    if args.recipe == "four-step":
        if (args.detector or "faster_rcnn") != "faster_rcnn" or args.eval_every or args.machines or args.layers:
            raise ValueError(
                "--recipe four-step trains a faster_rcnn on one machine, without --eval-every and --layers."
            )
        args.detector = "faster_rcnn"


def check_report(folder):
    """Raise ValueError or OSError where --report cannot be written."""
    from mrcnn.draw import report

    arguments.check_folder(folder)
    report.check(folder)


def left(stages, record):
    """The stages from the one on in which a resumed run was: those before may have ended early, at any epoch."""
    ends = [epochs for _, epochs, _ in stages]
    return stages[ends.index(record["until"]) :] if record.get("until") in ends else stages
