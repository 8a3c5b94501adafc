"""Data sets in COCO's format (https://cocodataset.org/#format-data)."""

import difflib
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from tqdm.auto import tqdm

from mrcnn.data.annotations import Annotation
from mrcnn.data.coco_file import read_coco, read_raw
from mrcnn.data.dataset import Dataset
from mrcnn.ops.masks import stack_masks
from mrcnn.weights.download import fetch

SERVER = "http://images.cocodataset.org"


class CocoDataset(Dataset):
    """Images and instances of COCO, or of any set in its format; source "coco".

    An image's objects are in its `image_info`, under "annotations", as `mrcnn.data.annotations.Annotation`.

    Attributes:
        coco: the pycocotools `COCO` object of all that was loaded, or None. Nothing here reads it; old code may.
    """

    def __init__(self, class_map: Any = None) -> None:
        super().__init__(class_map)
        self._files: list[Path] = []

    @cached_property
    def coco(self) -> COCO | None:
        """See above; the files are read anew for it."""
        return index(_joined([read_raw(path) for path in self._files])) if self._files else None

    def load_coco(
        self,
        dataset_dir: Path | str,
        subset: str,
        year: int | str = "2017",
        class_ids: Sequence[int] | None = None,
        class_map: Any = None,
        return_coco: bool = False,
        auto_download: bool = False,
        class_names: Sequence[str] | None = None,
        keypoints: bool = False,
        outside: bool = False,
    ) -> COCO | None:
        """Add the images of a subset; call it again, before `prepare`, to add another one.

        Args:
            dataset_dir: folder with annotations/instances_{subset}{year}.json and the images in {subset}{year}/.
            subset: "train" or "val"; or "minival" or "valminusminival", parts of 2014 whose images are in val{year}/.
            year: of the files' names.
            class_ids: COCO's category ids to keep, in the order of the classes; None keeps all of them, and then images
                without any object too.
            class_map: accepted for old code, without effect, as it always was.
            return_coco: return the `COCO` object of this subset.
            auto_download: fetch images and annotations that are not there from COCO's server (train2017: 19 GB).
            class_names: names of categories to keep, after those of `class_ids`.
            keypoints: read annotations/person_keypoints_{subset}{year}.json instead, whose persons have keypoints.
            outside: file names may lead out of `dataset_dir`.

        Raises:
            FileNotFoundError: the folder, the annotation file or the image folder is missing.
            ValueError: the file is not COCO's JSON, or a class is not in it. What is wrong with single entries goes to
                `problems`.
            OSError: the download failed.
        """
        dataset_dir = Path(dataset_dir).expanduser()
        image_dir = dataset_dir / f"{'val' if subset in ('minival', 'valminusminival') else subset}{year}"
        kind = "person_keypoints" if keypoints else "instances"
        path = dataset_dir / "annotations" / f"{kind}_{subset}{year}.json"
        if auto_download:
            download(f"{SERVER}/zips/{image_dir.name}.zip", dataset_dir, image_dir)
            download(f"{SERVER}/annotations/annotations_trainval{year}.zip", dataset_dir, path)
        if not dataset_dir.is_dir():
            raise FileNotFoundError(f"There is no data set folder {dataset_dir}.")
        if path.is_file() and not image_dir.is_dir():
            raise FileNotFoundError(f"The images of {path} were looked for in {image_dir}, which is not there.")
        file = read_coco(path, image_dir, None if outside else dataset_dir)
        chosen = categories(file.classes, class_ids, class_names, path)
        self._add_classes(file, chosen)
        self._add_images(file, None if class_ids is None and class_names is None else set(chosen))
        self.problems += file.problems
        self._files.append(path)
        self.__dict__.pop("coco", None)
        return index(read_raw(path)) if return_coco else None

    def _add_classes(self, file, chosen):
        """Registers classes, and gives the objects our ids.

        Raises:
            ValueError: a file before had another name for an id.
        """
        known = {info["id"]: info["name"] for info in self.class_info if info["source"] == "coco"}
        for number in chosen:
            name = file.classes[number]
            if known.get(number, name) != name:
                raise ValueError(
                    f"{file.path}: the category id {number!r} is that of {name!r}, but that of {known[number]!r} in "
                    f"{self._files[-1]}; the files of one set must agree."
                )
            self.add_class("coco", number, name)
        ids = {info["id"]: i for i, info in enumerate(self.class_info) if info["source"] == "coco"}
        for found in file.objects.values():
            for annotation in found:
                annotation.class_id = ids.get(annotation.category_id, 0)

    def _add_images(self, file, kept):
        """Registers images: all, or those with objects of the categories that are kept."""
        objects, image_ids = file.objects, list(file.images)
        if kept is not None:
            objects = {i: [a for a in found if a.category_id in kept] for i, found in objects.items()}
            image_ids = sorted((i for i, found in objects.items() if found), key=_order)
        for i in image_ids:
            path, height, width, page = file.images[i]
            which = {} if page is None else {"page": page}
            self.add_image("coco", i, path, width=width, height=height, annotations=objects.get(i, []), **which)

    def prepare(self, class_map: Any = None) -> None:
        """As of `Dataset`, with the whole names of the categories, commas and all."""
        super().prepare(class_map)
        self.class_names = [info["name"] for info in self.class_info]

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Masks [height, width, instances] bool and class ids [instances] int32, negative for crowds.

        Objects without a single pixel are left out.
        """
        return self._load(image_id, boxes=False)

    def load_box_masks(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """As `load_mask`, with the pixels of its box for an object without a mask."""
        return self._load(image_id, boxes=True)

    def _load(self, image_id, boxes):
        info = self.image_info[image_id]
        if info["source"] != "coco":
            return super().load_mask(image_id)
        shape = info["height"], info["width"]
        found = [(a, a.mask(*shape) if a.has_mask() or not boxes else a.box_mask(*shape)) for a in info["annotations"]]
        found = [(annotation, mask) for annotation, mask in found if mask.any()]
        # `load_keypoints` gives those of the same objects.
        info["kept"] = kept = [annotation for annotation, _ in found]
        class_ids = [-annotation.class_id if annotation.crowd else annotation.class_id for annotation in kept]
        return stack_masks([mask for _, mask in found], *shape), np.array(class_ids, "int32")

    def load_annotations(self, image_id: int) -> list[Annotation]:
        """The image's objects as the file has them, those without a pixel too."""
        info = self.image_info[image_id]
        return info["annotations"] if info["source"] == "coco" else super().load_annotations(image_id)

    def load_keypoints(self, image_id: int) -> np.ndarray | None:
        """Keypoints [instances, J, 3] of (x, y, v), zero for objects without; None for an image without objects.

        Raises:
            ValueError: a list of keypoints of another length than others have.
        """
        info = self.image_info[image_id]
        if info["source"] != "coco":
            return super().load_keypoints(image_id)
        if "kept" not in info:
            self.load_mask(image_id)
        kept = info.get("kept", info["annotations"])  # of a subclass with its own load_mask all
        given = [annotation.keypoints or [] for annotation in kept]
        count = max(map(len, given), default=0)
        if not count:
            return None
        wrong = [a.id for a, x in zip(kept, given, strict=True) if len(x) not in (0, count - count % 3)]
        if wrong:
            raise ValueError(f"{info['path']}: annotations {wrong} have more or fewer keypoint values than others.")
        return np.array([x or [0] * count for x in given], "float32").reshape(len(given), -1, 3)

    def image_reference(self, image_id: int) -> str:
        """The image's page in COCO's explorer."""
        info = self.image_info[image_id]
        if info["source"] != "coco":
            return super().image_reference(image_id)
        return f"https://cocodataset.org/#explore?id={info['id']}"


def index(content: dict[str, Any]) -> COCO:
    """A pycocotools `COCO` object of a dict in COCO's format."""
    coco = COCO()
    coco.dataset = content
    with redirect_stdout(None):
        coco.createIndex()
    return coco


def _joined(contents):
    """The contents of several files as one."""
    both = {key: [entry for content in contents for entry in content[key]] for key in ("images", "annotations")}
    categories = {entry["id"]: entry for content in contents for entry in content["categories"]}
    return {**contents[0], **both, "categories": list(categories.values())}


def categories(
    names: dict[int | str, str], class_ids: Sequence[Any] | None, class_names: Sequence[str] | None, path: Path | str
) -> list[Any]:
    """Category ids, of a file with these names by ids, for ids and names; all of them, sorted, if both are None.

    Raises:
        ValueError: the file, which the message names, has none of them.
    """
    if class_ids is None and class_names is None:
        return sorted(names, key=_order)
    by_name = {name: i for i, name in names.items()}
    for name in class_names or []:
        if name not in by_name:
            close = difflib.get_close_matches(str(name), by_name, n=3)
            known = f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(by_name)}."
            raise ValueError(f"{path} has no class {name!r}; {known}")
    for i in class_ids or []:
        if i not in names:
            raise ValueError(
                f"{path} has no category id {i!r}; it has {', '.join(map(str, sorted(names, key=_order)))}."
            )
    return list(dict.fromkeys([*(class_ids or []), *(by_name[name] for name in class_names or [])]))


def _order(number):
    """What ids are sorted by: numbers come before text."""
    return isinstance(number, str), number


def download(url: str, folder: Path, target: Path) -> None:
    """Fetch a zip file and unpack it in `folder`, unless `target`, something that it holds, is there already.

    The download is resumed after a break; whatever is there under its own name is complete.

    Raises:
        OSError: no connection, no such file on the server, or a broken zip file.
    """
    if target.exists():
        return
    archive = Path(fetch(url, folder / url.rsplit("/", 1)[-1]))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpack-") as temporary:
        try:
            with zipfile.ZipFile(archive) as content:
                for name in tqdm(content.namelist(), desc=f"Unpacking {archive.name}", unit="file"):
                    content.extract(name, temporary)
        except zipfile.BadZipFile as error:
            raise OSError(f"{archive} is no whole zip file ({error}); delete it and run this again.") from error
        for item in Path(temporary).iterdir():
            if item.is_dir() and (folder / item.name).is_dir():
                for file in item.iterdir():
                    file.replace(folder / item.name / file.name)
            else:
                item.replace(folder / item.name)
    archive.unlink()
