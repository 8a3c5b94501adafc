"""Data sets of --dataset that are not laid out as COCO's: any format that `mrcnn.data.formats` knows."""

from pathlib import Path

import numpy as np

from mrcnn.data.formats import FolderDataset


def is_coco(args):
    """Whether --dataset is, or is to be, laid out as COCO: annotations/KIND_SUBSETYEAR.json; or it is not there. Only
    JSON of COCO's kind holds keypoints."""
    folder = Path(args.dataset)
    if args.sample.keypoints and next(folder.glob("**/*.json"), None) is None:
        return True
    subsets = "train", "val", "minival", "valminusminival"
    there = (path for name in subsets for path in folder.glob(f"annotations/*_{name}{args.year}.json"))
    return args.download or not folder.exists() or next(there, None) is not None


def load(args, subset):
    """The part "train" or "val" of the set, prepared; to evaluate or detect in, all of a set without parts.

    Raises:
        FileNotFoundError, ValueError: see `FolderDataset.load_folder`.
    """
    dataset = FolderDataset()
    options = {"name": args.format, "class_names": args.classes, "outside": args.outside}
    try:
        dataset.load_folder(args.dataset, subset, **options)
    except FileNotFoundError:
        if args.command not in ("evaluate", "detect") or not Path(args.dataset).exists():
            raise
        dataset.load_folder(args.dataset, None, **options)
        print(f"{args.dataset} has no part {subset!r}: all of its {len(dataset.image_info)} images are taken.")
    dataset.prepare()
    args.channels = dataset.channels if args.command != "validate" else 3
    return dataset


def channels(args, config):
    """Settings for images of more than three channels, where the config does not know of them yet."""
    count = getattr(args, "channels", 3)
    if count <= 3 or config.IMAGE_CHANNEL_COUNT != 3:
        return {}
    return {"IMAGE_CHANNEL_COUNT": count, "MEAN_PIXEL": np.full(count, np.mean(config.MEAN_PIXEL))}
