"""Published weights files: where they are, and fetching them; those that come with the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mrcnn.ops.files import cache_folder
from mrcnn.weights.download import fetch


@dataclass(frozen=True)
class Release:
    """A published weights file; one without a `url` comes with the package."""

    file: str
    url: str | None
    about: str
    classes: int  # without the background; 0 where there are no heads
    sha256: str | None = None


_GITHUB = "https://github.com/matterport/Mask_RCNN/releases/download"
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/resnet"

PRETRAINED = {
    "coco": Release(
        "mask_rcnn_coco.h5",
        f"{_GITHUB}/v2.0/mask_rcnn_coco.h5",
        "ResNet-101 on COCO, by the 2017-2019 original",
        80,
        "ee7eeb918fe544c8bc1fd0f1f9588bf9f8e0e1055a4d12a98f83fa83c5f8b36d",
    ),
    "balloon": Release(
        "mask_rcnn_balloon.h5",
        f"{_GITHUB}/v2.1/mask_rcnn_balloon.h5",
        "ResNet-101 on the balloon sample, by the original",
        1,
    ),
    "imagenet-resnet50": Release(
        "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        f"{_KERAS}/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "ResNet-50 on ImageNet without its classifier, by Keras",
        0,
        "66c8b43daff3fcc15bc4f30e3d2a167e21a14d9c9598a5394e5516471f4af504",
    ),
    "imagenet-resnet101": Release(
        "resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5",
        f"{_KERAS}/resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "ResNet-101 on ImageNet without its classifier, by Keras",
        0,
    ),
    "shapes": Release(
        "shapes/mask_rcnn_shapes.h5", None, "a narrow ResNet-18 on the generated shapes, with its config", 5
    ),
    "figures": Release(
        "figures/mask_rcnn_figures.h5", None, "the same with keypoints on the generated figures, with its config", 1
    ),
}


def default_folder() -> Path:
    """Where downloads land: `weights/` beside the package in a checkout, else MRCNN_CACHE or ~/.cache/mrcnn."""
    checkout = Path(__file__).resolve().parent.parent.parent
    if (checkout / "setup.cfg").exists():
        return checkout / "weights"
    return cache_folder() / "weights"


def download(name: str, path: Path | str | None = None, verbose: int = 1) -> str:
    """Path of a pretrained weights file, downloaded first if it is not there and does not come with the package.

    Args:
        name: a key of `PRETRAINED`.
        path: file to write; default is the name of the release in `default_folder()`. Nothing is written of what
            comes with the package.
        verbose: 0 for silence.

    Raises:
        ValueError: no such name.
        OSError: as `mrcnn.weights.download.fetch`; the message says where to put the file by hand.
        FileNotFoundError: it comes with the package and is not there.
    """
    if name not in PRETRAINED:
        raise ValueError(f"There are no weights named {name!r}; known are {', '.join(PRETRAINED)}.")
    release = PRETRAINED[name]
    if release.url is None:
        return str(_shipped(release.file))
    return fetch(release.url, path or default_folder() / release.file, release.sha256, verbose)


def _shipped(file):
    """Path of a file that comes with the package: in `weights/` of a checkout, in `mrcnn_weights` of a wheel."""
    root = Path(__file__).resolve().parent.parent.parent
    for folder in (root / "weights", root / "mrcnn_weights"):
        if (folder / file).exists():
            return folder / file
    raise FileNotFoundError(f"{root / 'weights' / file} should be there; install the package anew.")


def table() -> str:
    """`PRETRAINED` as a Markdown table, as in weights/README.md."""
    rows = ["| name | file | what | classes | sha256 |", "|---|---|---|---|---|"]
    for name, x in PRETRAINED.items():
        checksum = f"`{x.sha256}`" if x.sha256 else "not known"
        link = f"[{x.file}]({x.url})" if x.url else f"`{x.file}`"
        rows.append(f"| `{name}` | {link} | {x.about} | {x.classes or '-'} | {checksum if x.url else '-'} |")
    return "\n".join(rows)
