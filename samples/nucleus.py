"""Find nuclei in microscopy images (Data Science Bowl 2018), from random weights.

The folder is the competition's, with `stage1_train/ID/images` and `stage1_train/ID/masks`, of which every tenth image
is held out as `val`; or a set in COCO's format with `annotations/instances_{train,val}2018.json`.

    python samples/nucleus.py train    --dataset path/to/nuclei
    python samples/nucleus.py evaluate --dataset path/to/nuclei
    python samples/nucleus.py detect   --dataset path/to/nuclei --subset stage1_test --output submission.csv
"""

import argparse
import csv
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "train" in sys.argv:  # oneDNN, which TensorFlow leaves off without AVX-512, is faster for batches; not for one image
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
ROOT_DIR = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT_DIR))

import numpy as np  # noqa: E402
from tqdm.auto import tqdm  # noqa: E402

from mrcnn import evaluate  # noqa: E402
from mrcnn.config import Config  # noqa: E402
from mrcnn.data.coco import CocoDataset  # noqa: E402
from mrcnn.data.mask_folders import MaskFolderDataset  # noqa: E402
from mrcnn.model import MaskRCNN  # noqa: E402

DEFAULT_LOGS_DIR = ROOT_DIR / "logs"
MAX_DETECTIONS = 300
AUGMENTATION = "flip,turn,colour"  # cells have no up


class NucleusConfig(Config):
    """Small objects, many of them: crops of 256 pixels, small anchors, a light network that trains on a CPU."""

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
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    TOP_DOWN_PYRAMID_SIZE = 128
    RPN_CHANNELS = 128
    MASK_CHANNELS = 64
    FPN_CLASSIF_FC_LAYERS_SIZE = 512
    RPN_TRAIN_ANCHORS_PER_IMAGE = 128
    PRE_NMS_LIMIT = 2000
    POST_NMS_ROIS_TRAINING = 500
    POST_NMS_ROIS_INFERENCE = 1000
    TRAIN_ROIS_PER_IMAGE = 96
    MAX_GT_INSTANCES = 200
    DETECTION_MAX_INSTANCES = MAX_DETECTIONS
    DETECTION_MIN_CONFIDENCE = 0.5
    OPTIMIZER = "adamw"
    TRAIN_BN = True


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


def load_dataset(folder, subset, annotated=True):
    """A subset of a folder in either format, prepared; see `load_nucleus`."""
    if (Path(folder) / "annotations").is_dir():
        dataset = CocoDataset()
        dataset.load_coco(folder, subset, year="2018")
    else:
        dataset = NucleusDataset()
        dataset.load_nucleus(folder, subset, annotated)
    dataset.prepare()
    return dataset


def train(model, folder, epochs):
    """Train everything from random weights, with a cosine schedule over all epochs."""
    from keras.optimizers.schedules import CosineDecay

    total, rate = epochs * model.config.STEPS_PER_EPOCH, model.config.LEARNING_RATE
    schedule = CosineDecay(rate / 10, total, alpha=0.01, warmup_target=rate, warmup_steps=max(1, total // 20))
    model.train(load_dataset(folder, "train"), load_dataset(folder, "val"), schedule, epochs, "all", AUGMENTATION)
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
    """Detect nuclei in a subset and write the competition's CSV."""
    output = Path(output or "submission.csv")
    output.parent.mkdir(parents=True, exist_ok=True)
    with open(output, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ImageId", "EncodedPixels"])
        for i in tqdm(dataset.image_ids, desc="Detecting", unit="image"):
            (found,) = model.detect([dataset.load_image(i)])
            writer.writerows(submission_rows(dataset.image_info[i]["id"], found["masks"], found["scores"]))
    print(f"Wrote {output.resolve()}")


def parse_arguments(argv=None):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["train", "evaluate", "detect"])
    parser.add_argument("--dataset", required=True, metavar="DIR", help="folder of the set")
    parser.add_argument("--weights", help="last, none or a path (default: none to train, else last)")
    parser.add_argument("--logs", default=DEFAULT_LOGS_DIR, metavar="DIR", help="folder of runs (default: logs)")
    parser.add_argument("--epochs", type=int, default=20, help="train: epoch to stop at (default: 20)")
    parser.add_argument("--subset", default="val", help="evaluate, detect: train, val or a folder (default: val)")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="evaluate: only the first N images")
    parser.add_argument("--output", metavar="PATH", help="detect: CSV to write (default: submission.csv)")
    parser.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="settings of mrcnn.config")
    return parser.parse_args(argv)


def load_model(args):
    """The model with its weights."""
    from coco import parse_settings

    training = args.command == "train"
    changes = {} if training else dict(INFERENCE)
    if args.command == "evaluate":
        changes["DETECTION_MIN_CONFIDENCE"] = 0.05  # AP counts every detection, however unsure
    config = NucleusConfig().update(**{**changes, **parse_settings(args.config)})
    model = MaskRCNN("training" if training else "inference", config, args.logs)
    path = args.weights or ("none" if training else "last")
    if path != "none":
        model.load_weights(model.find_last() if path == "last" else path, by_name=True)
    return model


def main(argv=None):
    """Run a command; the exit code is 2 for a mistake in arguments or files, 130 for Ctrl-C."""
    args = parse_arguments(argv)
    try:
        if args.command == "train":
            train(load_model(args), args.dataset, args.epochs)
        else:
            dataset = load_dataset(args.dataset, args.subset, annotated=args.command != "detect")
            model = load_model(args)
            if args.command == "detect":
                detect(model, dataset, args.output)
            else:
                metrics = evaluate.evaluate(model, dataset, limit=args.limit, max_detections=MAX_DETECTIONS)
                print(evaluate.format_table(metrics))
    except KeyboardInterrupt:
        print("\nStopped." + (" Go on with --weights last." if args.command == "train" else ""), file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"nucleus.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
