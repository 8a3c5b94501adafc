"""An exported model where it lands: NumPy and its runtime are enough, without Keras."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mrcnn.export.canvas import window_on_canvas
from mrcnn.ops import boxes as box_ops
from mrcnn.ops.images import convert_channels, image_list, resize
from mrcnn.ops.results import Place, paste_masks, place_keypoints, to_molded
from mrcnn.settings import Config

# Format -> its module beside this one, and what must be installed for it to run.
FORMATS = {
    "savedmodel": "tensorflow",
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "litert": "ai_edge_litert",
}


# What the JSON beside a model must have.
FIELDS = {"format", "settings", "image", "canvas", "outputs"}


def format_module(name: str) -> ModuleType:
    """The file of a format."""
    return importlib.import_module(f"mrcnn.export.{name}")


def record_path(path: Path | str) -> Path:
    """The JSON beside an exported model."""
    return Path(f"{path}.json")


def is_exported(path: Path | str | None) -> bool:
    """Whether there is an exported model at a path: it has its JSON beside it."""
    return path is not None and Path(path).exists() and record_path(path).exists()


def files_of(path: Path | str) -> list[Path]:
    """The files of an exported model, without its JSON: one, those of a folder, or an .xml with its .bin."""
    path = Path(path)
    return sorted(file for file in (path.rglob("*") if path.is_dir() else _parts(path)) if file.is_file())


def _parts(path):
    """An exported model's own path, and the .bin of an .xml."""
    return [path] + [path.with_suffix(".bin")] * (path.suffix == ".xml")


def read_record(path: Path | str) -> dict[str, Any]:
    """The content of the JSON beside an exported model.

    Raises:
        FileNotFoundError: one of both is not there.
        ValueError: it is another file, or was changed so that no model can be as it says; or that of another model.
    """
    beside = record_path(path)
    for file in (*_parts(Path(path)), beside):
        if not file.exists():
            raise FileNotFoundError(f"There is no {file}; the files of an exported model lie beside each other.")
    try:
        record = json.loads(beside.read_text(encoding="utf-8-sig"))
        if not record.keys() >= FIELDS or record["format"] not in FORMATS:
            raise ValueError("what it should say is not there")
        if not _sides(record["canvas"], 2) or not (record["image"] is None or _sides(record["image"], 3)):
            raise ValueError("its canvas or its image is no size")
        Config.from_dict(record["settings"])
        if not {"NUM_CLASSES", "DETECTION_MIN_CONFIDENCE", "IMAGE_CHANNEL_COUNT"} <= record["settings"].keys():
            raise ValueError("its settings are not complete")
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"{beside} is not of an exported model: {str(error).rstrip('.')}.") from error
    if record.get("sha1", own := fingerprint(path).hex()) != own:
        raise ValueError(
            f"{beside} is not of the {path} beside it, which was written another time: export it again, or delete sha1 "
            "from the .json if you have changed the file yourself."
        )
    return record


def _sides(values, count):
    """Whether values are a size: so many whole numbers from 1 on."""
    return isinstance(values, list) and len(values) == count and all(type(x) is int and 0 < x < 2**16 for x in values)


def fingerprint(path: Path | str) -> bytes:
    """A digest of the files of an exported model, which tells it from others."""
    digest = hashlib.sha1()
    for file in files_of(path):
        digest.update(file.read_bytes())
    return digest.digest()


class Exported:
    """A model that was exported, with `detect` as of `Detector`.

    Args:
        path: the file, or the folder of a SavedModel, with its .json beside it.
        settings: of the config, in the place of those that were stored, where they are of what comes after the network:
            DETECTION_MIN_CONFIDENCE above the stored one, MASK_PASTE, KEYPOINT_DECODE, CLASS_NAMES, IMAGES_PER_GPU.

    Attributes:
        config: the settings.
        record: what the .json says.

    Raises:
        FileNotFoundError: it or its .json is not there.
        ImportError: its runtime is not installed.
        ValueError: the .json is not one of `Detector.export`, or a setting is impossible.
    """

    def __init__(self, path: Path | str, **settings: Any) -> None:
        self.path, self.record = Path(path), read_record(path)
        package = FORMATS[self.record["format"]]
        self.config: Config = Config.from_dict(self.record["settings"])
        self.config.update(**settings)
        lowest = self.record["settings"]["DETECTION_MIN_CONFIDENCE"]
        if lowest > self.config.DETECTION_MIN_CONFIDENCE:
            raise ValueError(f"{path} finds nothing below DETECTION_MIN_CONFIDENCE {lowest}; export it with less.")
        try:
            self._run = format_module(self.record["format"]).load(self.path)
        except ImportError as error:
            raise ImportError(f"{path} needs {package}: pip install {package} ({error})") from error
        except MemoryError:
            raise
        except Exception as error:  # each runtime has errors of its own
            words = " ".join(str(error).split())[:200]
            raise ValueError(f"{path} is broken, or no model of {self.record['format']}: {words}") from error

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What the file itself gives: inputs and outputs of `exported_graph` by name.

        Raises:
            ValueError: it gives something else than its .json says.
        """
        found = self._run(inputs)
        if missing := set(self.record["outputs"]) - found.keys():
            raise ValueError(
                f"{self.path} gives no {', '.join(sorted(missing))}, which its .json has: export it again."
            )
        return found

    def fingerprint(self) -> bytes:
        """A digest of the file, which tells it from others."""
        return fingerprint(self.path)

    def detect(
        self,
        images: Sequence[np.ndarray],
        verbose: int = 0,
        rle: bool = False,
        proposals: Sequence[np.ndarray] | None = None,
    ) -> list[dict[str, Any]]:
        """Find the instances in images; arguments and results as of `Detector.detect`, images [h, w, C] uint8.

        Raises:
            ValueError: something else than a list of images, or proposals are missing.
        """
        config = self.config
        if config.takes_proposals and proposals is None:
            raise ValueError(f"A {config.DETECTOR} looks at proposals: give those of each image as `proposals`.")
        arrays = [self._as_read(image) for image in image_list(images)]
        results: list[Any] = [None] * len(arrays)
        for members in self._batches([image.shape for image in arrays]):
            fitted = [self._fit(arrays[i]) for i in members]
            given = [] if proposals is None else [self._rows(proposals[i], arrays[i]) for i in members]
            # A fixed batch may have more places than there are images.
            spare = self.record["image"][0] - len(members) if self.record["image"] else 0
            batches = [np.stack(x + x[-1:] * spare) for x in (fitted, given) if x]
            found = self.run(dict(zip(("image", "proposals"), batches, strict=False)))
            for n, i in enumerate(members):
                results[i] = self._result({name: x[n] for name, x in found.items()}, arrays[i].shape, rle)
        return results

    def _as_read(self, image):
        """An array as the file takes it: [h, w, C] uint8."""
        array = convert_channels(image, self.config.IMAGE_CHANNEL_COUNT)
        return array if array.dtype == np.uint8 else np.clip(np.rint(array), 0, 255).astype("uint8")

    def _batches(self, shapes):
        """Indices of images that go through together: those of one shape, or, where it is fixed, as many as that."""
        fixed = self.record["image"]
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, shape in enumerate(shapes):
            groups.setdefault(() if fixed else shape, []).append(i)
        size = fixed[0] if fixed else self.config.BATCH_SIZE
        for members in groups.values():
            for start in range(0, len(members), size):
                yield members[start : start + size]

    def _window(self, shape):
        """Height and width that an image of a shape has in what the file takes: its own, unless that is fixed."""
        if not self.record["image"]:
            return tuple(shape[:2])
        sides = self.record["image"][1:]
        scale = min(side / x for side, x in zip(sides, shape, strict=False))
        return tuple(max(1, min(side, round(x * scale))) for side, x in zip(sides, shape, strict=False))

    def _fit(self, image):
        """The image as the file takes it: as it is, or in the upper left of the fixed size."""
        size = self._window(image.shape)
        if size != image.shape[:2]:
            image = np.rint(resize(image, size, preserve_range=True)).astype("uint8")
        height, width = self.record["image"][1:] if self.record["image"] else size
        return np.pad(image, [(0, height - size[0]), (0, width - size[1]), (0, 0)])

    def _rows(self, boxes, image):
        """Proposals [n, 4] as the graph takes them, zero-padded."""
        rows = np.zeros((self.config.POST_NMS_ROIS_INFERENCE, 4), "float32")
        boxes = np.asarray(boxes, "float32").reshape(-1, 4)[: len(rows)]
        rows[: len(boxes)] = boxes * np.tile(np.divide(self._window(image.shape), image.shape[:2]), 2)
        return rows

    def _result(self, found, shape, rle):
        """`detect`'s dict for an image of a shape, of the file's outputs for it."""
        if "semantic" in found:
            return self._regions(found["canvas"], shape, rle)
        config = self.config
        factor = np.divide(shape[:2], self._window(shape))
        boxes = np.clip(found["boxes"] * np.tile(factor, 2), 0, np.tile(shape[:2], 2))
        rois = np.around(boxes).astype("int32") if config.MASK_PASTE == "integer" else boxes.astype("float32")
        area = (rois[:, 2] - rois[:, 0]) * (rois[:, 3] - rois[:, 1])
        seen = (found["classes"] > 0) & (found["scores"] >= config.DETECTION_MIN_CONFIDENCE)
        kept = np.flatnonzero(seen & (area > 0))
        rois, class_ids, scores = rois[kept], found["classes"][kept], found["scores"][kept]
        result = {"rois": rois, "class_ids": class_ids.astype("int32"), "scores": scores}
        if "masks" in found:
            result["masks"] = paste_masks(found["masks"][kept], rois, shape, config.MASK_PASTE, rle)
        if "points" in found:
            result["keypoints"] = self._moved(found["points"][kept], factor)
            if config.KEYPOINT_CLASSES is not None:
                result["keypoints"][~np.isin(class_ids, config.KEYPOINT_CLASSES)] = 0
        if "keypoints" in found:
            result["keypoints"] = self._points(found, kept, shape, factor)
        return result

    def _place(self, shape):
        """Where what the file takes of an image of a shape lies in what the network sees."""
        config, canvas = self.config, self.record["canvas"]
        size = self.record["image"][1:] if self.record["image"] else shape[:2]
        rules: dict[str, Any] = {
            "mode": config.IMAGE_RESIZE_MODE,
            "min_dim": config.IMAGE_MIN_DIM,
            "min_scale": config.IMAGE_MIN_SCALE,
        }
        return Place(size, canvas, window_on_canvas(size[0], size[1], canvas, **rules), config.BOX_NORMALIZATION)

    def _regions(self, canvas, shape, rle):
        """`detect`'s dict of the classes of pixels [H, W, 2] of the canvas; needs SciPy and scikit-image."""
        from mrcnn.ops.semantic import place_components

        config, place = self.config, self._place(shape)
        y1, x1, y2, x2 = place.window
        part = np.divide(self._window(shape), place.original)  # of a fixed size the image may fill a part
        rows, columns = (max(1, round(side * share)) for side, share in zip((y2 - y1, x2 - x1), part, strict=True))
        classes, scores = np.moveaxis(canvas[y1 : y1 + rows, x1 : x1 + columns], -1, 0)
        limits = config.COMPONENT_AREA, config.DETECTION_MAX_INSTANCES, config.DETECTION_MIN_CONFIDENCE
        return place_components(classes.astype("int32"), scores, shape, *limits, rle)

    def _points(self, found, kept, shape, factor):
        """Points [n, J, 3] of detections in pixels of the image."""
        config, place = self.config, self._place(shape)
        normalized = box_ops.normalize(found["boxes"][kept], place.original, place.normalization)
        molded = to_molded(normalized, place)
        rows = np.concatenate([molded, found["classes"][kept, None], found["scores"][kept, None]], axis=1)
        how = config.KEYPOINT_ROI_EXPAND, config.KEYPOINT_CLASSES, config.KEYPOINT_DECODE
        points = place_keypoints(found["keypoints"][kept], rows, place, *how)
        return self._moved(points, factor) * points.any(axis=2, keepdims=True)

    def _moved(self, points, factor):
        """Points [n, J, 3] of what the file took in pixels of the image."""
        places = (points[..., :2] + 0.5) * factor[::-1] - 0.5
        return np.concatenate([places, points[..., 2:]], axis=-1).astype("float32")
