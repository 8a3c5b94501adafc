"""What all detectors have in common beside training: from images to boxes in them, evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike
from tqdm.auto import tqdm

from mrcnn import evaluate
from mrcnn.data import windows as parts
from mrcnn.data.anchors import pyramid_anchors
from mrcnn.data.dataset import Dataset
from mrcnn.data.proposals import checked, search
from mrcnn.data.resizing import mold, plan, resize_image
from mrcnn.export import writing
from mrcnn.models import inspection
from mrcnn.models.inspection import log
from mrcnn.models.network import Network
from mrcnn.models.tiled import detect_tiled
from mrcnn.ops import boxes
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.images import convert_channels, image_list
from mrcnn.ops.meta import compose_image_meta
from mrcnn.ops.results import Place, mold_boxes
from mrcnn.settings import Config
from mrcnn.settings.checks import check_arguments
from mrcnn.train.memory import keep_freed_memory

# Outputs of a network for one image or a batch of them, by name; "detections" is one of them.
Found = dict[str, np.ndarray]


class Detector(Network):
    """A detector: a graph, its losses and its results.

    A system is a subclass that gives three things: `graphs`, of which the first has its losses set where it trains,
    `predict`, and `result`; and `inputs`, where its graph takes more than an image and its meta.

    Attributes:
        name: what DETECTOR calls it; the config of a model says so from then on. None where it has no name there.
        anchors: [A, 4] in pixels, of the last image shape asked for.
    """

    name: str | None = None

    def __init__(self, mode: str, config: Config, model_dir: Path | str) -> None:
        if self.name:
            config.update(DETECTOR=self.name)
        self.anchors: np.ndarray | None = None
        self._anchors: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}
        super().__init__(mode, config, model_dir)

    # What a system gives

    def inputs(self, molded: np.ndarray, metas: np.ndarray, *given: np.ndarray) -> list[np.ndarray]:
        """Inputs of the inference graph for molded images [B, H, W, C], their metas [B, 12 + K] and, where they come
        with the images, their proposals [B, N, 4] normalised, zero-padded."""
        return [molded, metas, *given]

    def predict(self, molded: np.ndarray, metas: np.ndarray, *given: np.ndarray) -> Found:
        """Run the network.

        Args:
            molded: [B, H, W, C] float32.
            metas: [B, 12 + K] float32.
            given: as of `inputs`.

        Returns:
            outputs by name, [B, ...] each: "detections" [B, D, 6], and what else `result` reads.
        """
        raise NotImplementedError

    def result(self, found: Found, place: Place, rle: bool = False) -> dict[str, Any]:
        """What `detect` gives for one image, of the outputs of `predict` for it, without the batch's axis."""
        raise NotImplementedError

    def steps(self) -> tuple[keras.Model, keras.Model | None]:
        """The graph of `inputs` up to the detections [B, D, 6], with the maps behind them if heads look at these; and
        that of further heads of any boxes [B, n, 4], meta and these maps, or None."""
        detector, heads = [*self.compiled, None][:2]
        assert detector
        return detector.graph, heads.graph if heads else None

    # Detection

    def pixel_anchors(self, config: Config, image_shape: Sequence[int]) -> np.ndarray:
        """Anchors [A, 4] of an image shape, in pixels."""
        return pyramid_anchors(config, image_shape)

    def get_anchors(self, image_shape: Sequence[int]) -> np.ndarray:
        """Anchors [A, 4] of an image shape, normalised; in pixels they are left in `self.anchors`."""
        key = tuple(image_shape[:2])
        if key not in self._anchors:
            pixels = self.pixel_anchors(self.config, image_shape)
            self._anchors[key] = pixels, boxes.normalize(pixels, key, self.config.BOX_NORMALIZATION)
        self.anchors, normalized = self._anchors[key]
        return normalized

    def mold_inputs(self, images: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Resize, pad and centre images for the network.

        Args:
            images: list of [h, w, C] arrays of 0..255, of any sizes.

        Returns:
            molded [n, H, W, C] float32, image_metas [n, 12 + K] float32, windows [n, 4] int pixels.

        Raises:
            ValueError: the images do not come to one size.
        """
        molded, metas, windows = zip(*(self._mold(image) for image in images), strict=True)
        if len({x.shape for x in molded}) > 1:
            raise ValueError(
                f"IMAGE_RESIZE_MODE {self.config.IMAGE_RESIZE_MODE!r} gives these images different sizes; pass them "
                "one by one, or use 'square'."
            )
        return np.stack(molded), np.stack(metas), np.stack(windows)

    def detect(
        self,
        images: Sequence[np.ndarray],
        verbose: int = 0,
        rle: bool = False,
        proposals: Sequence[np.ndarray] | None = None,
    ) -> list[dict[str, Any]]:
        """Find the instances in images, batch by batch.

        Args:
            images: list of any number of [h, w, C] arrays of 0..255, of any sizes. Other values, such as 0..1, bring a
                warning.
            verbose: 1 prints shapes.
            rle: True gives masks as COCO's run lengths, which need little memory where images are large.
            proposals: for a detector that takes some, boxes to look at in each image, [n, 4] pixels, the best first;
                None for those of a selective search.

        Returns:
            For each image a dict of rois [n, 4] pixels, int32, or float32 unless MASK_PASTE is "integer"; class_ids [n]
            int32, scores [n] float32; unless USE_MASK is False masks [h, w, n] bool, or a list of n run lengths as of
            `masks.encode_rle`; and with NUM_KEYPOINTS keypoints [n, J, 3] float32 of (x, y, score): pixels, and the
            point's probability in its box, all 0 for classes without keypoints.

        Raises:
            ValueError: something else than a list of images; or see `mold_inputs`.
            RuntimeError: in a process that was forked off one with a model.
        """
        self._need("inference")
        images = image_list(images)
        if verbose:
            log(f"Processing {len(images)} images")
            for image in images:
                log("image", image)
        if self.config.takes_proposals and proposals is None:
            proposals = [search(np.asarray(image)) for image in images]
        self._check_proposals(proposals, len(images))
        results: list[Any] = [None] * len(images)
        for members, molded, metas, shapes, windows in self._molded(images):
            given = [proposals[i] for i in members] if proposals is not None else None
            for i, result in zip(members, self._detect_batch(molded, metas, shapes, windows, rle, given), strict=True):
                results[i] = result
        return results

    @check_arguments
    def detect_tiled(
        self, image: Path | str | np.ndarray | parts.Windows, tile: int = 1024, overlap: float = 0.2, verbose: int = 0
    ) -> dict[str, Any]:
        """Find the instances in an image too large for the network, in overlapping tiles of it.

        Objects that a seam between tiles cuts are put together; `mrcnn.models.tiled` says how. A TIFF is read tile by
        tile where its compression allows, see `mrcnn.data.windows`: memory then does not grow with the image.

        Args:
            image: a file, or an array [h, w, C] of 0..255.
            tile: side of the tiles in pixels, about that of the images that the model was trained on: each goes through
                `detect`, which resizes it as the config says.
            overlap: least share of a tile that it has in common with the next, 0 to below 1. Objects smaller than that
                are seen whole by one tile at least.
            verbose: 1 shows a progress bar.

        Returns:
            as of `detect` for one image, best score first; masks are always run lengths, of the whole image's size.

        Raises:
            OSError, ValueError: as `mrcnn.data.windows.windows`; an impossible tile or overlap, or a model for semantic
                segmentation.
        """
        self._need("inference")
        if self.config.by_pixels:
            raise ValueError(f"A {self.config.DETECTOR} gives pixels classes, which are not put together from tiles.")

        def progress(steps, count):
            return tqdm(steps, total=count, desc="Detecting", unit="batch", disable=not verbose)

        whole = parts.windows(image, self.config.IMAGE_CHANNEL_COUNT)
        return detect_tiled(partial(self.detect, rle=True), whole, tile, overlap, self.config.BATCH_SIZE, progress)

    def detect_molded(
        self,
        molded_images: np.ndarray | Sequence[np.ndarray],
        image_metas: ArrayLike,
        verbose: int = 0,
        proposals: Sequence[np.ndarray] | None = None,
    ) -> list[dict[str, Any]]:
        """As `detect`, for images that `mold_inputs` or `load_image_gt` with `mold_image` prepared.

        Boxes and masks are those of the molded image, and so are the proposals, which a detector that takes some needs.
        """
        self._need("inference")
        if verbose:
            log(f"Processing {len(molded_images)} images")
            log("molded_images", molded_images)
            log("image_metas", image_metas)
        self._check_proposals(proposals, len(molded_images))
        if not len(molded_images):
            return []
        molded, count = np.asarray(molded_images), len(molded_images)
        shapes, windows = [molded.shape[1:]] * count, [(0, 0, *molded.shape[1:3])] * count
        return self._detect_batch(molded, np.asarray(image_metas), shapes, windows, proposals=proposals)

    def _molded(self, images):
        """Batches of images of equal molded shape: their indices, what `mold_inputs` gives but with the shapes of the
        images before the windows."""
        for members in _batches([self._molded_shape(image) for image in images], self.config.BATCH_SIZE):
            molded, metas, windows = self.mold_inputs([images[i] for i in members])
            yield members, molded, metas, [np.shape(images[i]) for i in members], windows

    def _places(self, molded, original_shapes, windows):
        how = self.config.BOX_NORMALIZATION
        return [
            Place(shape, molded.shape[1:], window, how) for shape, window in zip(original_shapes, windows, strict=True)
        ]

    def _detect_batch(self, molded, metas, original_shapes, windows, rle=False, proposals=None):
        keep_freed_memory()
        places = self._places(molded, original_shapes, windows)
        found = self.predict(molded, metas.astype("float32"), *self._given(proposals, places))
        return [self.result({name: x[i] for name, x in found.items()}, place, rle) for i, place in enumerate(places)]

    def _check_proposals(self, proposals, count):
        if proposals is not None and not self.config.takes_proposals:
            raise ValueError(f"A {self.config.DETECTOR} takes no proposals: it finds what to look at itself.")
        if proposals is not None and len(proposals) != count:
            raise ValueError(f"There are proposals of {len(proposals)} images for {count}; give those of each.")
        for i, given in enumerate(() if proposals is None else proposals):
            checked(given, f"images[{i}]")

    def _given(self, proposals, places):
        """The further inputs of a detector that takes proposals: those of each image, as the network reads them."""
        if proposals is None:
            return []
        count = self.config.POST_NMS_ROIS_INFERENCE
        return [np.stack([mold_boxes(x, place, count) for x, place in zip(proposals, places, strict=True)])]

    def _molded_shape(self, image):
        config, (height, width) = self.config, np.shape(image)[:2]
        sides = config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM, config.IMAGE_MIN_SCALE
        return plan(height, width, *sides, config.IMAGE_RESIZE_MODE).shape

    def _mold(self, image):
        config = self.config
        if config.IMAGE_RESIZE_MODE == "crop":
            raise ValueError("IMAGE_RESIZE_MODE 'crop' is for training; set 'square' or 'rect' to detect.")
        image = convert_channels(image, config.IMAGE_CHANNEL_COUNT)
        molded, window, scale, _, _ = resize_image(
            image,
            min_dim=config.IMAGE_MIN_DIM,
            min_scale=config.IMAGE_MIN_SCALE,
            max_dim=config.IMAGE_MAX_DIM,
            mode=config.IMAGE_RESIZE_MODE,
            rounding=config.IMAGE_ROUNDING,
        )
        if config.IMAGE_RESIZE_MODE != "stretch" and (molded.shape[0] % 64 or molded.shape[1] % 64):
            raise ValueError(
                f"The image is {molded.shape[1]}x{molded.shape[0]} after resizing; the network wants multiples of 64. "
                "Use IMAGE_RESIZE_MODE 'square' or 'rect'."
            )
        active = np.zeros(config.NUM_CLASSES, "int32")
        meta = compose_image_meta(0, image.shape, molded.shape, window, scale, active)
        return mold(molded, config, window), meta, np.array(window)

    def fold_batch_norm(self) -> int:
        """Move BatchNorm into the convolution before it, where that has a bias: the same results, less to compute.

        Call it after the weights are loaded; loading others undoes it.

        Returns:
            the number of BatchNorm layers that are gone.

        Raises:
            ValueError: built for training.
        """
        self._need("inference")
        count = sum(layer.fold() for layer in self._batch_norms())
        self._forget_compiled()
        return count

    def export(
        self,
        path: Path | str,
        format: str = "savedmodel",
        precision: str = "float32",
        images: Sequence[np.ndarray] = (),
        canvas: Sequence[int] | None = None,
        image_size: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Write the model as a file of another runtime, in which `mrcnn.export.Exported` or anything else runs it.

        BatchNorm is folded first. The file takes images as they are and gives boxes in their pixels, see
        `mrcnn.export.graph.exported_graph`; the JSON beside it says the rest. Both are checked before they are there.

        Args:
            path: the file, or for a SavedModel the folder.
            format: "savedmodel", "onnx", "openvino" or "litert".
            precision: "float32"; "float16" for weights of half the size; "int8" for what is quantised by `images`.
            images: [h, w, C] uint8 each, of those that the model is for: to check it with, and for "int8" some dozens.
            canvas: (H, W) of what the network sees, multiples of 64; None for IMAGE_MAX_DIM squared. Images are scaled
                as IMAGE_RESIZE_MODE says, but so that they fit, and padded.
            image_size: (h, w) of images for "litert", which takes one size; None for that of the canvas.

        Returns:
            what the JSON holds; "differences" are the largest ones from this model's own results.

        Raises:
            ImportError: a package is missing, which `pip install 'mask-rcnn-keras[export]'` has.
            ValueError: the model cannot be exported so, or its file in float32 gives other results.
        """
        self._need("inference")
        return writing.export(self, path, format, precision, images, canvas, image_size)

    # Evaluation

    def evaluate(self, dataset: Dataset, **options: Any) -> dict[str, dict[str, Any]]:
        """COCO's numbers on a prepared data set; see `mrcnn.evaluate.evaluate` for the options."""
        self._need("inference")
        return evaluate.evaluate(self, dataset, **options)

    # For notebooks

    def ancestor(self, tensor: Tensor, name: str, checked: Any = None) -> Tensor | None:
        """A tensor that `tensor` comes from, or None: of the layer `name`, or of a path such as "ROI/refined_anchors"
        what is computed inside; see `mrcnn.models.inspection.ancestor`. `checked` is not used."""
        return inspection.ancestor(tensor, name)

    def run_graph(
        self,
        images: np.ndarray | Sequence[np.ndarray],
        outputs: Iterable[tuple[str, Tensor]],
        image_metas: ArrayLike | None = None,
        proposals: Sequence[np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Values of chosen tensors of the inference graph.

        Args:
            images: list of images, or molded images [n, H, W, C] if image_metas are given.
            outputs: list of (name, tensor) pairs; tensors as in `keras_model.get_layer("ROI").output`.
            image_metas: [n, 12 + K].
            proposals: as of `detect`, in pixels of `images`; a detector that takes some needs them.

        Returns:
            dict of name and NumPy array.
        """
        self._check_proposals(proposals, len(images))
        molded, shapes = images, [np.shape(image) for image in images]
        windows: Any = [(0, 0, *shape[:2]) for shape in shapes]
        if image_metas is None:
            molded, image_metas, windows = self.mold_inputs(images)
        molded = np.asarray(molded)
        given = self._given(proposals, self._places(molded, shapes, windows))
        inputs = self.inputs(molded, np.asarray(image_metas, "float32"), *given)
        values = inspection.tensor_values(self.keras_model, dict(outputs), inputs)
        for name, value in values.items():
            log(name, value)
        return values


def _batches(shapes, size):
    """Indices of images of equal shape, at most `size` together."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(i)
    for members in groups.values():
        for start in range(0, len(members), size):
            yield members[start : start + size]
