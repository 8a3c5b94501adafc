"""Find balloons in photos: all that a data set of one's own needs, in one file.

The folder has `train` and `val`, each with photos and `via_region_data.json` of the VGG Image Annotator. The original's
is at https://github.com/matterport/Mask_RCNN/releases/download/v2.1/balloon_dataset.zip

    python samples/balloon.py train    --dataset path/to/balloon --weights coco
    python samples/balloon.py evaluate --dataset path/to/balloon --weights last
    python samples/balloon.py splash   --weights last --image photo.jpg --output splash.png
    python samples/balloon.py splash   --weights last --video in.mp4 --output out.mp4

Splash keeps the colour of the balloons and turns all else gray.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "train" in sys.argv:  # oneDNN, which TensorFlow leaves off without AVX-512, is faster for batches; not for one image
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
ROOT_DIR = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT_DIR))

import numpy as np  # noqa: E402
import skimage.color  # noqa: E402

from mrcnn import evaluate, weights  # noqa: E402
from mrcnn.config import Config  # noqa: E402
from mrcnn.data.reading import read_image, write_image  # noqa: E402
from mrcnn.data.via import ViaDataset  # noqa: E402
from mrcnn.draw import video  # noqa: E402
from mrcnn.model import MaskRCNN  # noqa: E402

DEFAULT_LOGS_DIR = ROOT_DIR / "logs"


class BalloonConfig(Config):
    """One class, few photos: start from COCO's weights and train the heads."""

    NAME = "balloon"
    IMAGES_PER_GPU = 2
    NUM_CLASSES = 1 + 1  # background, balloon
    STEPS_PER_EPOCH = 100
    VALIDATION_STEPS = 5
    DETECTION_MIN_CONFIDENCE = 0.9


class BalloonDataset(ViaDataset):
    """The photos of a subset. For a format that mrcnn.data does not know, write load_mask as well: masks
    [height, width, instances] bool and the class id of each instance."""

    def load_balloon(self, dataset_dir, subset):
        """Add the photos of "train" or "val"."""
        self.load_via(Path(dataset_dir) / subset, source="balloon", classes=["balloon"])


def load_dataset(folder, subset):
    """A subset, prepared."""
    dataset = BalloonDataset()
    dataset.load_balloon(folder, subset)
    dataset.prepare()
    return dataset


def train(model, folder, epochs, layers):
    """Train from the weights that the model has."""
    train_set, val_set = load_dataset(folder, "train"), load_dataset(folder, "val")
    model.train(train_set, val_set, model.config.LEARNING_RATE, epochs, layers, augment=True)
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["train", "evaluate", "splash"])
    parser.add_argument("--dataset", metavar="DIR", help="folder with train and val")
    parser.add_argument("--weights", required=True, help="coco, imagenet, last, none or a path")
    parser.add_argument("--logs", default=DEFAULT_LOGS_DIR, metavar="DIR", help="folder of runs (default: logs)")
    parser.add_argument("--epochs", type=int, default=30, help="train: epoch to stop at (default: 30)")
    parser.add_argument("--layers", default="heads", help="train: heads, 3+, 4+, 5+ or all (default: heads)")
    parser.add_argument("--image", metavar="PATH", help="splash: an image")
    parser.add_argument("--video", metavar="PATH", help="splash: a video")
    parser.add_argument("--output", metavar="PATH", help="splash: file to write (default: splash.png or splash.mp4)")
    parser.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="settings of mrcnn.config")
    args = parser.parse_args(argv)
    if args.command == "splash" and bool(args.image) == bool(args.video):
        parser.error("splash takes either --image or --video")
    if args.command != "splash" and not args.dataset:
        parser.error(f"{args.command} needs --dataset")
    return args


def load_model(args):
    """The model with its weights."""
    from coco import parse_settings

    changes = parse_settings(args.config)
    if args.command == "evaluate":
        changes.setdefault("DETECTION_MIN_CONFIDENCE", 0.05)  # AP counts every detection, however unsure
    config = BalloonConfig().update(**changes)
    model = MaskRCNN("training" if args.command == "train" else "inference", config, args.logs)
    named = {"coco": lambda: weights.download("coco"), "imagenet": model.get_imagenet_weights, "last": model.find_last}
    if args.weights != "none":
        # COCO's heads are of other classes; load_weights skips them and says so.
        model.load_weights(named.get(args.weights, lambda: args.weights)(), by_name=True)
    return model


def main(argv=None):
    """Run a command; the exit code is 2 for a mistake in arguments or files, 130 for Ctrl-C."""
    args = parse_arguments(argv)
    try:
        model = load_model(args)
        if args.command == "train":
            train(model, args.dataset, args.epochs, args.layers)
        elif args.command == "evaluate":
            metrics = evaluate.evaluate(model, load_dataset(args.dataset, "val"))
            print(evaluate.format_table(metrics))
        else:
            detect_and_color_splash(model, args.image, args.video, args.output)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        print(f"balloon.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
