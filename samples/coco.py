"""Train, evaluate and run Mask R-CNN, or another --detector, on COCO, on a folder in its format, or on a generated set.

A folder holds annotations/instances_<subset><year>.json and the images in <subset><year>/. Classes and their number
follow the annotation file. Without --dataset a set of coloured shapes is generated and used.

    python samples/coco.py train                                              # the generated set, from scratch
    python samples/coco.py evaluate
    python samples/coco.py detect
    python samples/coco.py validate --dataset my/set                          # what is wrong with it
    python samples/coco.py train --dataset path/to/coco --model imagenet
    python samples/coco.py train --dataset my/set --model coco --layers heads --epochs 10
    python samples/coco.py evaluate --dataset path/to/coco --model coco --limit 500
    python samples/coco.py detect --model coco --image street.jpg --output found.png
    python samples/coco.py detect --model coco --video street.mp4 --output found.mp4

Several devices of one machine: --config GPU_COUNT=2. Two machines with one device each, on the first and on the second:

    KERAS_BACKEND=jax python samples/coco.py train --config GPU_COUNT=2 --machines 0/2@first:9000
    KERAS_BACKEND=jax python samples/coco.py train --config GPU_COUNT=2 --machines 1/2@first:9000
"""

import argparse
import ast
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "train" in sys.argv:  # oneDNN, which TensorFlow leaves off without AVX-512, is faster for batches; not for one image
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import shapes  # noqa: E402
from pictures import detect  # noqa: E402

from mrcnn import evaluate as coco_evaluate  # noqa: E402
from mrcnn import weights  # noqa: E402
from mrcnn.config import Config  # noqa: E402
from mrcnn.data.coco import CocoDataset  # noqa: E402
from mrcnn.evaluate.during_training import stored_record  # noqa: E402
from mrcnn.settings import CONFIG, SETTINGS  # noqa: E402
from mrcnn.settings.detectors import practice  # noqa: E402
from mrcnn.weights import convert  # noqa: E402

DEFAULT_LOGS_DIR = ROOT / "logs"
DEFAULT_DATASET_YEAR = "2017"

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
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=sample.prog, description=sample.description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["train", "evaluate", "detect", "validate"], help="what to do")
    parser.add_argument("--dataset", metavar="DIR", help="folder in COCO's format; default: the generated set")
    parser.add_argument("--year", default=DEFAULT_DATASET_YEAR, help="year in the file names (2014, 2017, ...)")
    parser.add_argument("--download", action="store_true", help="fetch COCO into --dataset if it is not there")
    parser.add_argument("--classes", metavar="A,B,...", help="only these classes, by name")
    parser.add_argument(
        "--model",
        metavar="WEIGHTS",
        help="coco, imagenet, last (this set's last checkpoint), none, or a path: an .h5 file, one of torchvision or "
        "Detectron2 (.pth, .pkl), or a folder that mrcnn.weights.convert wrote; default: to train, none for a "
        "generated set and coco for others; else last",
    )
    parser.add_argument(
        "--detector",
        choices=SETTINGS["DETECTOR"].choices,
        help="train: what to train (default: mask_rcnn); its config remembers it",
    )
    parser.add_argument(
        "--recipe",
        choices=["joint", "four-step"],
        default="joint",
        help="train: four-step alternates between the RPN and the box head of a faster_rcnn (Ren et al. 2015)",
    )
    parser.add_argument("--logs", default=DEFAULT_LOGS_DIR, metavar="DIR", help="folder of runs (default: logs)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N images to evaluate or detect")
    parser.add_argument("--epochs", type=int, metavar="N", help="train: epoch to stop at")
    parser.add_argument("--steps", type=int, metavar="N", help="train: steps in an epoch")
    parser.add_argument("--augment", metavar="A,B,...", help="train: of flip, turn, scale, colour (default: flip)")
    parser.add_argument("--eval-every", type=int, metavar="N", help="train: COCO's AP after every N epochs, best kept")
    parser.add_argument(
        "--patience", type=int, metavar="N", help="train: stop after N evaluations of --eval-every without a better AP"
    )
    parser.add_argument("--layers", metavar="L", help="train: heads, 3+, 4+, 5+, all or a regular expression")
    parser.add_argument(
        "--machines",
        metavar="I/N@HOST:PORT",
        help="train: this is machine I (from 0) of N that train together, meeting at the address of the first",
    )
    parser.add_argument("--image", metavar="PATH", help="detect: an image or a folder; default: validation images")
    parser.add_argument("--video", metavar="PATH", help="detect: a video; --output names the .mp4 to write")
    parser.add_argument(
        "--refine", action="store_true", help="detect: move the edges of large masks to where colours change (slow)"
    )
    parser.add_argument("--output", metavar="PATH", help="detect: picture to write; evaluate: results JSON to write")
    parser.add_argument(
        "--config", nargs="+", default=[], metavar="KEY=VALUE", help="settings of mrcnn.config, as BACKBONE=resnet50"
    )
    args = parser.parse_args(argv)
    args.sample = sample
    return args


def parse_settings(pairs):
    """Settings from KEY=VALUE words; values are Python literals or plain text.

    Raises:
        ValueError: a word without "=".
    """
    values = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            raise ValueError(f"--config takes KEY=VALUE, not {pair!r}.")
        try:
            values[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[key] = text
    return values


def load_dataset(args, subset):
    """The set of `subset` ("train" or "val") that the arguments ask for, prepared."""
    folder = args.dataset or args.sample.generated()
    names = [name.strip() for name in args.classes.split(",")] if args.classes else None
    dataset = CocoDataset()
    # COCO 2014 is trained on most of its validation images too and evaluated on the rest.
    subsets = {"train": ["train", "valminusminival"], "val": ["minival"]}[subset] if args.year == "2014" else [subset]
    for name in subsets:
        dataset.load_coco(
            folder,
            name,
            year=args.year,
            class_names=names,
            auto_download=args.download,
            keypoints=args.sample.keypoints,
        )
    dataset.prepare()
    return dataset


def stored_config(path, otherwise):
    """The config that was saved beside the weights at `path`, or an instance of the class `otherwise`."""
    saved = Path(path).parent / CONFIG
    return otherwise.from_json(saved) if saved.exists() else otherwise()


def make_config(args, num_classes):
    """The config that was saved beside the weights, or that of the set, with the changes of --config and --steps."""
    from mrcnn.train.run import find_last

    generated = args.dataset is None and not args.image_only
    config_class = args.sample.generated_config if generated else args.sample.config
    if args.model == "last":
        args.model = find_last(args.logs, config_class.NAME)
    named = args.model in ("coco", "imagenet", "none")
    config = config_class() if named else stored_config(args.model, config_class)
    changes = {"NUM_CLASSES": num_classes, **parse_settings(args.config)}
    if args.detector and args.detector != config.DETECTOR:
        changes = {**practice(args.detector, {**config.to_dict(), **changes}), **changes}
    if args.steps:
        # A short epoch is not followed by a long validation.
        changes = {"VALIDATION_STEPS": min(args.steps, config.VALIDATION_STEPS), **changes}
        changes["STEPS_PER_EPOCH"] = args.steps
    if args.command == "evaluate":
        # COCO's AP counts every detection, however unsure.
        changes = {"DETECTION_MIN_CONFIDENCE": 0.05, **changes}
    if args.command == "detect":
        # Published weights come with the score from which AP counts, which is far too low for a picture.
        changes = {"DETECTION_MIN_CONFIDENCE": max(0.5, config.DETECTION_MIN_CONFIDENCE), **changes}
    if args.command == "detect" and config.IMAGE_RESIZE_MODE == "square":
        changes = {"IMAGE_RESIZE_MODE": "rect", **changes}  # no padding to compute
    return config.update(**changes)


def join_machines(text):
    """Join the machines of --machines.

    Raises:
        ValueError: not of the form I/N@HOST:PORT, or not on JAX.
    """
    from mrcnn.train.devices import join

    match = re.fullmatch(r"(\d+)/(\d+)@(.+:\d+)", text)
    if not match or int(match[1]) >= int(match[2]):
        raise ValueError(f"--machines takes I/N@HOST:PORT, with I from 0 to N - 1, not {text!r}.")
    join(match[3], int(match[2]), int(match[1]))


def load_model(args, config):
    """The model with its weights."""
    from mrcnn.models.detectors import build_detector

    model = build_detector("training" if args.command == "train" else "inference", config, args.logs)
    if args.model == "none":
        return model
    path = args.model
    if path == "coco":
        path = weights.download("coco")
    elif path == "imagenet":
        path = model.get_imagenet_weights()
    model.load_weights(path, by_name=True)
    if args.command == "detect":
        model.fold_batch_norm()
    return model


def validate(args):
    """Print what is wrong with the training and the validation images; the exit code is 1 if anything is."""
    problems = load_dataset(args, "train").validate()
    try:
        problems += load_dataset(args, "val").validate()
    except FileNotFoundError as error:
        print(f"No validation images: {error}")
    return 1 if problems else 0


def train(args, model, train_set, val_set):
    """Train: a run from scratch goes in one stage with a cosine schedule, fine-tuning in the original's three."""
    from keras.optimizers.schedules import CosineDecay

    config = model.config
    print(f"Training on {len(train_set.image_ids)} images of {train_set.num_classes - 1} classes.")
    rate = config.LEARNING_RATE
    if args.dataset is None or args.layers or args.epochs:
        epochs = args.epochs or (args.sample.generated_epochs if args.dataset is None else 160)
        if args.dataset is None:
            total = epochs * config.STEPS_PER_EPOCH
            rate = CosineDecay(rate / 10, total, alpha=0.01, warmup_target=rate, warmup_steps=max(1, total // 20))
        stages = [(rate, epochs, args.layers or "all")]
    else:
        stages = [(rate, 40, "heads"), (rate, 120, "4+"), (rate / 10, 160, "all")]
    if args.recipe == "four-step":
        from mrcnn.models.four_step import train_four_step

        (rate, epochs, _), *_ = stages
        options = {"augmentation": args.augment, "augment": not args.augment}
        train_four_step(model, train_set, val_set, rate, epochs, **options)
        stages = []
    callbacks = []
    if args.eval_every and val_set is not None:
        callbacks = [coco_evaluate.Evaluation(model, val_set, args.eval_every, args.limit or 0, args.patience)]
    for rate, epochs, layers in left(stages, stored_record(model)):
        model.train(train_set, val_set, rate, epochs, layers, args.augment, callbacks, augment=not args.augment)
    last = Path(model.checkpoint_path.format(epoch=model.epoch))
    if last.exists():  # the first of several machines writes it
        print(f"Weights are in {last}")


def check_recipe(args):
    """Raise ValueError where --recipe does not go with the rest; four-step names the detector that it trains."""
    if args.recipe == "four-step":
        if (args.detector or "faster_rcnn") != "faster_rcnn" or args.eval_every or args.machines or args.layers:
            raise ValueError(
                "--recipe four-step trains a faster_rcnn on one machine, without --eval-every and --layers."
            )
        args.detector = "faster_rcnn"


def left(stages, record):
    """The stages from the one on in which a resumed run was: those before may have ended early, at any epoch."""
    ends = [epochs for _, epochs, _ in stages]
    return stages[ends.index(record["until"]) :] if record.get("until") in ends else stages


def evaluate(args, model, dataset):
    """Print COCO's table for boxes and masks, and the classes'."""
    metrics = coco_evaluate.evaluate(model, dataset, limit=args.limit or 0, results_path=args.output)
    print(coco_evaluate.format_table(metrics))
    if "keypoints" in metrics:
        share, count = metrics["keypoints"]["swapped"], metrics["keypoints"]["matched"]
        print(
            f"Left and right exchanged in {share:.1%} of {count} people that were found." if count else "Nobody found."
        )
    print()
    print(coco_evaluate.format_classes(metrics))


def main(argv=None, sample=COCO):
    """Run a command; the exit code is 2 for a mistake in arguments or files, 130 for Ctrl-C."""
    args = parse_arguments(argv, sample)
    if args.model is None:
        args.model = "last" if args.command != "train" else "coco" if args.dataset else "none"
    try:
        if args.model not in ("coco", "imagenet", "none", "last"):
            args.model = str(convert.h5_file(args.model, args.logs))
        # An image for released weights needs no data set.
        released = Path(args.model).name == convert.WEIGHTS or (args.model == "coco" and not sample.keypoints)
        args.image_only = args.command == "detect" and released and not args.dataset
        if args.machines and args.eval_every:
            raise ValueError("--eval-every does not go with --machines; evaluate the checkpoints afterwards.")
        check_recipe(args)
        if args.machines:
            join_machines(args.machines)
        if args.image_only:
            dataset, class_names = None, ["BG", *(["person"] if sample.keypoints else COCO_CLASSES)]
            if args.image is None and args.video is None:
                raise ValueError("Name a picture with --image, or a video with --video.")
        else:
            dataset = load_dataset(args, "train" if args.command == "train" else "val")
            class_names = dataset.class_names
        if args.command == "validate":
            return validate(args)
        if args.image and not Path(args.image).exists():
            raise FileNotFoundError(f"There is no image or folder {args.image}.")
        if args.video and not Path(args.video).exists():
            raise FileNotFoundError(f"There is no video {args.video}.")
        val_set = None
        if args.command == "train":
            try:
                val_set = load_dataset(args, "val")
            except FileNotFoundError as error:
                print(f"Training without validation: {error}")
        model = load_model(args, make_config(args, len(class_names)))
    except (ValueError, OSError, ImportError) as error:
        print(f"{sample.prog}: error: {error}", file=sys.stderr)
        return 2
    try:
        if args.command == "train":
            train(args, model, dataset, val_set)
        elif args.command == "evaluate":
            evaluate(args, model, dataset)
        else:
            detect(args, model, dataset, class_names)
    except KeyboardInterrupt:
        print("\nStopped." + (" Go on with --model last." if args.command == "train" else ""), file=sys.stderr)
        return 130
    except FloatingPointError as error:
        print(f"{sample.prog}: error: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError, ImportError) as error:
        print(f"{sample.prog}: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
