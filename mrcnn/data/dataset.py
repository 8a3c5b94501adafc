"""The base class of data sets: which classes there are, which images, and how to load an image and its masks."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.data.annotations import Annotation, RunLengths
from mrcnn.data.arrays import is_array, read_array, read_page
from mrcnn.data.problems import Problem, format_problems
from mrcnn.data.reading import image_size, read_image
from mrcnn.data.validate import validate
from mrcnn.ops.masks import encode_rle
from mrcnn.settings.kinds import once


class Dataset:
    """Subclass it, add a method that registers classes and images, and override `load_mask`:

        class Cats(Dataset):
            def load_cats(self, folder):
                self.add_class("cats", 1, "cat")
                for path in Path(folder).glob("*.jpg"):
                    self.add_image("cats", image_id=path.stem, path=str(path))

            def load_mask(self, image_id):
                ...

        dataset = Cats()
        dataset.load_cats("cats")
        dataset.prepare()

    A source is the name of a collection that classes and images come from. One Dataset may hold several; their class
    ids are counted anew from 1, class 0 being the background.

    Attributes:
        class_info: list of dicts (source, id in the source, name), index: class id.
        image_info: list of dicts (source, id in the source, path, and what `add_image` was given), index: image id.
        problems: list of `Problem`, what was wrong with the files that were read; `validate` finds more.
        num_classes, class_ids, class_names, num_images, sources: set by `prepare`, as are those below.
        class_from_source_map: dict, "source.id" -> class id.
        image_from_source_map: dict, "source.id" -> image id.
        source_class_ids: dict, source -> class ids.
    """

    def __init__(self, class_map: Any = None) -> None:
        self._image_ids: np.ndarray | list[int] = []
        self.image_info: list[dict[str, Any]] = []
        self.class_info: list[dict[str, Any]] = [{"source": "", "id": 0, "name": "BG"}]
        self.problems: list[Problem] = []
        self.source_class_ids: dict[str, list[int]] = {}

    def add_class(self, source: str, class_id: int | str, class_name: str) -> None:
        """Register a class; a second one with the same source and id is ignored.

        Raises:
            ValueError: the source's name holds a dot, which separates source and id in the maps.
        """
        if "." in source:
            raise ValueError(f"The source name {source!r} must not contain a dot.")
        if not any(info["source"] == source and info["id"] == class_id for info in self.class_info):
            self.class_info.append({"source": source, "id": class_id, "name": class_name})

    def add_classes(self, source: str, names: Sequence[str]) -> None:
        """Register classes by their names, with the ids 1, 2, ... in the source.

        Raises:
            ValueError: they are no list of different names, or the source has others.
        """
        if not isinstance(source, str):
            raise ValueError(f"source is {source!r}; it must be the name of the collection.")
        listed = [] if isinstance(names, str) or not hasattr(names, "__iter__") else list(names)
        if not listed or not all(isinstance(name, str) and name for name in listed):
            raise ValueError(f"classes is {names!r}; it must be a list of names, as ['cat', 'dog'].")
        known = {info["id"]: info["name"] for info in self.class_info if info["source"] == source}
        if len(set(listed)) < len(listed):
            raise ValueError(f"classes has a name twice: {', '.join(listed)}.")
        for i, name in enumerate(listed, 1):
            if known.get(i, name) != name:
                raise ValueError(f"Source {source!r} has class {i} {known[i]!r} already; give {name!r} another source.")
            self.add_class(source, i, name)

    def add_image(self, source: str, image_id: int | str, path: Path | str | None, **kwargs: Any) -> None:
        """Register an image by its id in the source and its file; `kwargs` are kept in `image_info` beside them."""
        self.image_info.append({"id": image_id, "source": source, "path": path, **kwargs})

    def add_files(self, source: str, images: Iterable[dict[str, Any]]) -> None:
        """Register images, each by the arguments of `add_image`, with the height and width that their files have.

        Those that cannot be read are left out and among `problems`.

        Raises:
            OSError: none can be read.
        """
        count, errors = len(self.image_info), []
        for image in images:
            try:
                height, width = image_size(image["path"])
            except OSError as error:
                missing = isinstance(error, FileNotFoundError)
                what = ("file missing", "") if missing else ("image cannot be read", str(error))
                self.problems.append(Problem(what[0], str(image["path"]), what[1]))
                errors.append(error)
            else:
                self.add_image(source, height=height, width=width, **image)
        if errors and len(self.image_info) == count:
            raise errors[0]

    def image_reference(self, image_id: int) -> str:
        """A link to the image or a description of it, for people who look into the data; override it."""
        return ""

    def prepare(self, class_map: Any = None) -> None:
        """Build the maps; call it once all classes and images are registered. `class_map` is not used."""
        self.num_classes = len(self.class_info)
        self.class_ids = np.arange(self.num_classes)
        # COCO-like names carry synonyms behind a comma
        self.class_names: list[str] = [info["name"].split(",")[0] for info in self.class_info]
        self.num_images = len(self.image_info)
        self._image_ids = np.arange(self.num_images)
        self.class_from_source_map = {f"{info['source']}.{info['id']}": i for i, info in enumerate(self.class_info)}
        self.image_from_source_map = {f"{info['source']}.{info['id']}": i for i, info in enumerate(self.image_info)}
        self.sources: list[str] = list(dict.fromkeys(info["source"] for info in self.class_info))
        # the background belongs to every source
        self.source_class_ids = {
            source: [i for i, info in enumerate(self.class_info) if i == 0 or info["source"] == source]
            for source in self.sources
        }

    def map_source_class_id(self, source_class_id: str) -> int:
        """Class id of "source.id", for instance "coco.12"."""
        return self.class_from_source_map[source_class_id]

    def get_source_class_id(self, class_id: int, source: str) -> int | str:
        """Id in the source of a class id.

        Raises:
            ValueError: the class is of another source.
        """
        info = self.class_info[class_id]
        if info["source"] != source:
            raise ValueError(f"Class {class_id} is of source {info['source']!r}, not {source!r}.")
        return info["id"]

    @property
    def image_ids(self) -> np.ndarray | list[int]:
        """[images] the ids 0, 1, ...; empty before `prepare`."""
        return self._image_ids

    def source_image_link(self, image_id: int) -> Path | str | None:
        """Path or address of the image."""
        return self.image_info[image_id]["path"]

    def load_image(self, image_id: int) -> np.ndarray:
        """The image [H, W, 3] uint8, RGB; all channels of a .npy file and of a page of a TIFF file (the `page` given to
        `add_image`), uint8 or uint16.

        Raises:
            OSError: the file is missing or broken; the message names it.
        """
        path, page = self.image_info[image_id]["path"], self.image_info[image_id].get("page")
        if page is not None:
            return read_page(path, page)
        return read_array(path) if is_array(path) else read_image(path)

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Override it: the image's instances.

        Returns:
            masks [H, W, N] bool, one channel per instance, and class ids [N] int32, negative for a crowd. Here N is 0,
            and H and W are the `height` and `width` given to `add_image`, or 0.
        """
        info = self.image_info[image_id]
        shape = (info.get("height", 0), info.get("width", 0), 0)
        return np.zeros(shape, dtype=bool), np.zeros(0, dtype="int32")

    def load_box_masks(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """As `load_mask`, for models that need no more of a mask than its box (USE_MASK False); override it if of some
        objects the box alone is known."""
        return self.load_mask(image_id)

    def load_keypoints(self, image_id: int) -> np.ndarray | None:
        """Override it if the objects have keypoints: those of the image's instances, in the order of `load_mask`.

        Returns:
            [N, J, 3] of (x, y, v) in pixels: (0, 0) is the centre of the upper left pixel; v is 0 for a point without
            annotation, whose x and y do not matter, 1 for a hidden one, 2 for a visible one. None, as here, if no
            instance has any.
        """
        return None

    def load_proposals(self, image_id: int) -> np.ndarray | None:
        """Override it if boxes to look at come with the images: those of one, [n, 4] (y1, x1, y2, x2) in its pixels,
        the best first. None, as here, has a detector that takes some search the image for them."""
        return None

    def load_annotations(self, image_id: int) -> list[Annotation]:
        """The image's objects for evaluation; here those of `load_mask` and `load_keypoints`, numbered from 1."""
        masks, class_ids = self.load_mask(image_id)
        points = self.load_keypoints(image_id)
        found = []
        for k, (class_id, mask) in enumerate(zip(class_ids, np.moveaxis(masks, -1, 0), strict=True)):
            own = int(abs(class_id))
            segmentation = RunLengths(mask.shape, encode_rle(mask)["counts"])
            numbers = None if points is None else array("d", np.ravel(points[k]).tolist())
            ids = k + 1, self.image_info[image_id]["id"], self.class_info[own]["id"]
            found.append(Annotation(*ids, segmentation, crowd=bool(class_id < 0), keypoints=numbers, class_id=own))
        return found

    def validate(self, quick: bool = False, verbose: int = 1) -> list[Problem]:
        """Look for what is wrong in the set, and print it.

        Args:
            quick: only what can be seen without reading images and masks.
            verbose: 0 for silence.

        Returns:
            list of `mrcnn.data.problems.Problem`.
        """
        problems = validate(self, quick, verbose)
        if verbose:
            print(format_problems(problems, len(self.image_info)))
        return problems


def read_json(path: Path | str, hook: Callable[[dict], Any] | None = None) -> Any:
    """The content of an annotation file.

    Args:
        path: of a file in UTF-8 or UTF-16, with or without a byte order mark.
        hook: what it makes of each JSON object takes the object's place.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not JSON, no file, or an object with one name twice; the message names the file.
    """
    if Path(path).exists() and not Path(path).is_file():  # a pipe never ends
        raise ValueError(f"{path} is no file.")
    try:
        text: Any = Path(path).read_bytes()
        if text.startswith((b"\x1f\x8b", b"PK\3\4")):
            raise ValueError("it is compressed, unpack it")
        build = (lambda pairs: hook(once(pairs))) if hook else once
        # As json.loads does it with bytes, of which it would keep both: 400 MB more for a file of COCO's size.
        text = text.decode(json.detect_encoding(text), "surrogatepass")
        return json.loads(text, object_pairs_hook=build)
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no annotation file {path}.") from None
    except ValueError as error:
        raise ValueError(f"{path} is no JSON that can be used, or was cut off: {str(error).rstrip('.')}.") from None
    except RecursionError:
        raise ValueError(f"{path} is not JSON of annotations: its brackets are nested too deep.") from None
