"""Train, evaluate and run Mask R-CNN, or another --detector, on COCO, on a folder in its format, or on a generated set.

A folder holds annotations/instances_<subset><year>.json and the images in <subset><year>/, or is in another format that
--format names. Classes and their number follow the annotations. Without --dataset a set of coloured shapes is generated
and used.

    python samples/coco.py train                                              # the generated set, from scratch
    python samples/coco.py evaluate
    python samples/coco.py detect
    python samples/coco.py validate --dataset my/set                     # what is wrong with it; --advise: what fits it
    python samples/coco.py anchors --dataset my/set --count 9                 # sizes for anchors, by k-means
    python samples/coco.py train --dataset path/to/coco --model imagenet
    python samples/coco.py train --dataset my/set --model coco --layers heads --epochs 10
    python samples/coco.py train --dataset my/yolo                            # labelme, VOC, YOLO ... as well
    python samples/coco.py convert-annotations my/yolo my/labelme --to labelme
    python samples/coco.py evaluate --dataset path/to/coco --model coco --limit 500
    python samples/coco.py detect --model coco --image street.jpg --output found.png
    python samples/coco.py detect --model coco --video street.mp4 --track --output found.mp4
    python samples/coco.py export --format onnx --output found.onnx           # evaluate, detect: --model found.onnx

Several devices of one machine: --config GPU_COUNT=2. Two machines with one device each, on the first and on the second:

    KERAS_BACKEND=jax python samples/coco.py train --config GPU_COUNT=2 --machines 0/2@first:9000
    KERAS_BACKEND=jax python samples/coco.py train --config GPU_COUNT=2 --machines 1/2@first:9000
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mrcnn.cli import program

program.begin(__name__)

from dataclasses import dataclass
from functools import partial

import convert_annotations
import exporting
import folders
import many
import options
import shapes
from pictures import check_detect, detect

from mrcnn import evaluate as coco_evaluate
from mrcnn import weights
from mrcnn.cli import arguments
from mrcnn.cli.arguments import parse_settings
from mrcnn.config import Config
from mrcnn.data.clusters import yolo_anchors
from mrcnn.data.coco import CocoDataset
from mrcnn.data.tiles import TiledDataset
from mrcnn.draw.examples import Examples
from mrcnn.export.runtime import is_exported
from mrcnn.models.multi_scale import MultiScale
from mrcnn.models.tiled import Tiled
from mrcnn.models.tracking import LOWEST
from mrcnn.settings import CONFIG
from mrcnn.settings.checks import CELLS, ONE_SIZE
from mrcnn.settings.detectors import practice
from mrcnn.train.schedules import from_scratch
from mrcnn.weights import convert

DEFAULT_LOGS_DIR = program.logs(__file__)

# What --model names beside paths.
NAMED = "coco", "imagenet", "none", "last"

# Names of the classes of the released COCO weights, in their order.
COCO_CLASSES = """person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,
parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,
frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,
wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,
potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,
refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush""".replace("\n", "").split(",")


class CocoConfig(Config):
    """For COCO and sets like it: ResNet-101 at 1024 pixels, as the released weights were trained."""

    NAME = "coco"
    IMAGES_PER_GPU = 2
    NUM_CLASSES = 1 + 80


@dataclass
class Sample:
    """What this script and its sister pose.py do differently.

    Attributes:
        prog, description: of the command line.
        config: class of the settings for a data set.
        generated, generated_config, generated_epochs: the function that gives the folder of the set that needs no
            download, the class of its settings, and the epochs in which they learn it.
        keypoints: whether objects have keypoints.
    """

    prog: str
    description: str
    config: type
    generated: object
    generated_config: type
    generated_epochs: int
    keypoints: bool = False


COCO = Sample("coco.py", __doc__, CocoConfig, shapes.ensure, shapes.ShapesConfig, shapes.EPOCHS)


def build_coco_results(dataset, image_ids, rois, class_ids, scores, masks):
    """Detections of one image, whose source id is image_ids[0], in COCO's results format."""
    index = dataset.image_from_source_map[f"coco.{image_ids[0]}"]
    return coco_evaluate.to_coco_results(
        dataset, index, {"rois": rois, "class_ids": class_ids, "scores": scores, "masks": masks}
    )


def evaluate_coco(model, dataset, coco, eval_type="bbox", limit=0, image_ids=None):
    """Evaluate a model on a `CocoDataset` and print COCO's table; `coco` is not used, old code passes it."""
    metrics = coco_evaluate.evaluate(model, dataset, image_ids=image_ids, limit=limit)
    if eval_type not in metrics:
        raise ValueError(f"eval_type is {eval_type!r}; of this model there is {' and '.join(metrics)}.")
    print(coco_evaluate.format_table({eval_type: metrics[eval_type]}))
    return metrics


def parse_arguments(argv=None, sample=COCO):
    """The command line; its errors end the program with exit code 2."""
    return options.parse(argv, sample, DEFAULT_LOGS_DIR)


def load_dataset(args, subset):
    """The set of `subset` ("train" or "val") that the arguments ask for, prepared."""
    folder = args.dataset or args.sample.generated()
    if args.dataset and (args.format or not folders.is_coco(args)):
        return folders.load(args, subset)
    dataset = CocoDataset()
    # COCO 2014 is trained on most of its validation images too and evaluated on the rest.
    subsets = {"train": ["train", "valminusminival"], "val": ["minival"]}[subset] if args.year == "2014" else [subset]
    for name in subsets:
        dataset.load_coco(
            folder,
            name,
            year=args.year,
            class_names=args.classes,
            auto_download=args.download,
            keypoints=args.sample.keypoints,
            outside=args.outside,
        )
    dataset.prepare()
    return dataset


def stored_config(path, otherwise):
    """The config that was saved beside the weights at `path`, or an instance of the class `otherwise`."""
    saved = Path(path).parent / CONFIG
    return otherwise.from_json(saved) if saved.exists() else otherwise()


def released_names(args):
    """Names of the classes of weights that are used without a data set."""
    usual = ["BG", *(["person"] if args.sample.keypoints else COCO_CLASSES)]
    stored = None if args.model in NAMED else stored_config(args.model, args.sample.config)
    if stored is None or (len(usual) == stored.NUM_CLASSES and not stored.CLASS_NAMES):
        return usual
    return options.names_of(stored)


def make_config(args, num_classes):
    """The config that was saved beside the weights, or that of the set, with the changes of --config and --steps."""
    from mrcnn.train.run import find_last

    generated = args.dataset is None and not args.image_only
    config_class = args.sample.generated_config if generated else args.sample.config
    own = parse_settings(args.config)
    args.new_detector = False
    args.goes_on = args.model == "last"
    if args.goes_on:
        args.model = find_last(args.logs, own.get("NAME", config_class.NAME))
    named = args.model in ("coco", "imagenet", "none")
    config = config_class() if named else stored_config(args.model, config_class)
    pretrained = weights.imagenet.settings(own.get("BACKBONE", config.BACKBONE)) if args.model == "imagenet" else {}
    changes = {"NUM_CLASSES": num_classes, **folders.channels(args, config), **pretrained, **own}
    if args.command == "train":  # a stored config has the name of the run that its weights are of
        changes = {"NAME": config_class.NAME, **changes}
    if args.detector and args.detector != config.DETECTOR:
        if args.goes_on:
            raise ValueError(
                f"{args.model} is of a {config.DETECTOR}; a {args.detector} cannot go on with it: leave --model out."
            )
        args.new_detector = True
        changes = {**practice(args.detector, {**config.to_dict(), **changes}, config_class().to_dict()), **changes}
    if args.steps:
        # A short epoch is not followed by a long validation.
        changes = {"VALIDATION_STEPS": min(args.steps, config.VALIDATION_STEPS), **changes}
        changes["STEPS_PER_EPOCH"] = args.steps
    if args.log:
        changes["TRACKERS"] = args.log
    if args.command in ("evaluate", "export"):
        # COCO's AP counts every detection, however unsure; of a file the unsure ones can be left out later.
        changes = {"DETECTION_MIN_CONFIDENCE": min(0.05, config.DETECTION_MIN_CONFIDENCE), **changes}
    if args.command == "detect":
        # Published weights come with the score from which AP counts, which is far too low for a picture.
        least = LOWEST if args.track else max(0.5, config.DETECTION_MIN_CONFIDENCE)
        changes = {"DETECTION_MIN_CONFIDENCE": least, **changes}
    if args.command == "detect" and config.IMAGE_RESIZE_MODE == "square" and config.DETECTOR not in ONE_SIZE:
        changes = {"IMAGE_RESIZE_MODE": "rect", **changes}  # no padding to compute
    return config.update(**changes)


def load_model(args, config):
    """The model with its weights."""
    import keras

    from mrcnn.models.detectors import build_detector

    keras.utils.set_random_seed(args.seed)
    model = build_detector("training" if args.command == "train" else "inference", config, args.logs)
    if args.model == "none":
        return model
    path = args.model
    if path == "coco":
        path = weights.download("coco")
    elif path == "imagenet":
        path = model.get_imagenet_weights()
    args.weights = path
    options.load_weights(model, path)
    if args.command == "train" and not args.goes_on:
        model.set_log_dir()  # a run of its own
    if args.command == "detect":
        model.fold_batch_norm()
    return model


def anchors(args):
    """Print sizes for anchors of the training images' objects."""
    config = config_class_of(args)().update(**parse_settings(args.config))
    options.anchors(load_dataset(args, "train"), config, args.count)


def config_class_of(args):
    """The class of the settings that training from random weights would have."""
    return args.sample.config if args.dataset else args.sample.generated_config


def train(args, model, train_set, val_set):
    """Train: a run from scratch goes in one stage with a cosine schedule, fine-tuning in the original's three, but that
    of R-CNN, each of whose stages ends with SVMs, in one."""
    config = model.config
    print(f"Training on {len(train_set.image_ids)} images of {train_set.num_classes - 1} classes.")
    rate = config.LEARNING_RATE
    if args.dataset is None or args.layers or args.epochs or config.DETECTOR == "rcnn":
        epochs = options.last_epoch(args)
        if args.dataset is None:
            rate = from_scratch(rate, epochs * config.STEPS_PER_EPOCH)
        stages = [(rate, epochs, args.layers or "all")]
    else:
        stages = [(rate, 40, "heads"), (rate, 120, "4+"), (rate / 10, 160, "all")]
    names = ",".join(args.augment or []) or None
    options_of_all = {"augmentation": names, "augment": names is None, "seed": args.seed}
    if args.recipe == "four-step":
        from mrcnn.models.four_step import train_four_step

        (rate, epochs, _), *_ = stages
        train_four_step(model, train_set, val_set, rate, epochs, **options_of_all)
        stages = []
    callbacks = []
    if args.eval_every:
        evaluation = coco_evaluate.Evaluation(model, val_set, args.eval_every, args.limit or 0, args.patience)
        callbacks = [evaluation, Examples(evaluation)]
    with program.resumable(model, "Go on with --model last."):
        for rate, epochs, layers in options.left(stages, model.record):
            model.train(train_set, val_set, rate, epochs, layers, custom_callbacks=callbacks, **options_of_all)
    last = Path(model.checkpoint_path.format(epoch=model.epoch))
    if last.exists():  # the first of several machines writes it
        print(f"Weights are in {last}")


def evaluate(args, model, dataset):
    """Print COCO's table for boxes and masks, and the classes'."""
    train_set = load_dataset(args, "train") if args.frequency else None
    more = {"engine": args.engine, "voc": args.voc, "train_set": train_set, "max_detections": args.max_detections}
    model = Tiled(model, args.tiles) if args.tiles else model
    model = MultiScale(model, args.scales) if args.scales else model
    evaluated = coco_evaluate.evaluate_in_full(model, dataset, None, args.limit or 0, args.output, **more)
    metrics = evaluated.metrics
    print(coco_evaluate.format_table(metrics))
    if args.voc or args.frequency:
        print(f"\n{coco_evaluate.format_groups(metrics)}")
    if "keypoints" in metrics:
        share, count = metrics["keypoints"]["swapped"], metrics["keypoints"]["matched"]
        print(
            f"Left and right exchanged in {share:.1%} of {count} people that were found." if count else "Nobody found."
        )
    print()
    print(coco_evaluate.format_classes(metrics))
    if args.report:
        from mrcnn.draw.report import write_report

        print(f"Wrote {write_report(args.report, dataset, evaluated, f'Evaluation of {args.model}').resolve()}")


def check(args):
    """Look at the files that the arguments name, before anything else is done.

    Raises:
        ValueError, OSError: one cannot be read or written.
    """
    parse_settings(args.config)
    options.check_recipe(args)
    exporting.check(args)
    if args.model not in NAMED and not Path(args.model).exists():
        raise FileNotFoundError(f"Weights file not found: {args.model}")
    if args.command == "train":
        arguments.check_folder(args.logs)
    if args.report:
        options.check_report(args.report)
    if args.command == "evaluate" and args.output:
        many.check_output(args.output)
    elif args.command == "detect":
        check_detect(args)


def work(args):
    """Do what the arguments say."""
    args.model = options.weights_of(args)
    check(args)
    if args.command == "validate":
        return options.validate(args, partial(load_dataset, args), config_class_of(args))
    if args.command == "anchors":
        return anchors(args)
    args.exported = is_exported(args.model)
    if args.model not in NAMED and not args.exported:
        args.model = str(convert.h5_file(args.model, args.logs))
    args.image_only = options.without_set(args)
    if args.machines:
        from mrcnn.train.devices import join

        join(*args.machines)
    if args.image_only:
        dataset, class_names = None, [] if args.exported else released_names(args)
    else:
        learns = args.command == "train" or (args.command == "export" and args.precision == "int8")
        dataset = load_dataset(args, "train" if learns else "val")
        class_names = dataset.class_names
    val_set = validation_set(args) if args.command == "train" else None
    if args.command == "train" and args.tiles:
        dataset, val_set = (whole and TiledDataset(whole, args.tiles) for whole in (dataset, val_set))
    if args.exported:
        model = exporting.load(args, dataset)
        return use(args, model, dataset, options.names_of(model.config) if args.image_only else class_names)
    config = make_config(args, len(class_names))
    if args.new_detector and config.DETECTOR in CELLS and "YOLO_ANCHORS" not in parse_settings(args.config):
        config.update(YOLO_ANCHORS=yolo_anchors(dataset, config))  # as its paper finds them
    if args.machines and config.GPU_COUNT % args.machines[1]:
        raise ValueError(f"GPU_COUNT is {config.GPU_COUNT}; it counts the devices of all {args.machines[1]} machines.")
    model = load_model(args, config)
    if args.command == "train":
        return train(args, model, dataset, val_set)
    if args.command == "export":
        config.update(CLASS_NAMES=config.CLASS_NAMES or class_names)
        return exporting.export(args, model, dataset)
    return use(args, model, dataset, class_names)


def use(args, model, dataset, class_names):
    """Evaluate or detect with a model."""
    if args.command == "evaluate":
        return evaluate(args, model, dataset)
    return detect(args, model, dataset, class_names)


def validation_set(args):
    """The images to validate with, None where a set has none.

    Raises:
        FileNotFoundError: it has none, and --eval-every asks for them.
    """
    try:
        return load_dataset(args, "val")
    except FileNotFoundError as error:
        if args.eval_every:
            raise
        print(f"Training without validation: {error}")
        return None


def main(argv=None, sample=COCO):
    """Run a command; see `mrcnn.cli.program.run` for the exit code."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["convert-annotations"]:
        return program.run(sample.prog, lambda: convert_annotations.work(words[1:], sample.prog))
    return program.run(sample.prog, lambda: work(parse_arguments(argv, sample)))


if __name__ == "__main__":
    sys.exit(main())
