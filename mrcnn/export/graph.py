"""The graph that is exported: an image as it is in, boxes in its pixels out. All is of Keras layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import ArrayLike

from mrcnn.export.canvas import size_on_canvas
from mrcnn.ops import boxes
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.meta import parse_image_meta

# Gray levels below a whole number at which float32 still means that number: resized values are cut.
ALMOST = 2e-4


class Canvas(layers.Layer):
    """Images of any one size on a canvas of a fixed one, as `data.resizing.resize_image` and `mold` make it.

    Args:
        shape: (H, W) of the canvas, in pixels.
        classes: K, for the length of the meta.
        min_dim, min_scale, mode, rounding: as of `resize_image`; on a canvas that is no square, what is too large for
            it is scaled down to it.
        mean_pixel, pixel_std, padding, channel_order: MEAN_PIXEL, PIXEL_STD, IMAGE_PADDING and CHANNEL_ORDER.

    Input: images [B, h, w, C] uint8.
    Output: molded [B, H, W, C] float32; image_meta [B, 12 + K] with shapes and window.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        min_dim: int | None = None,
        min_scale: float | None = None,
        mode: str = "square",
        rounding: str = "truncate",
        mean_pixel: ArrayLike = 0.0,
        pixel_std: ArrayLike = 1.0,
        padding: str = "zero",
        channel_order: str = "rgb",
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.shape, self.classes = tuple(int(side) for side in shape), classes
        self.rules: dict[str, Any] = {"mode": mode, "min_dim": min_dim, "min_scale": min_scale}
        self.rounding = rounding
        self.mean_pixel, self.pixel_std = (np.asarray(x, "float32") for x in (mean_pixel, pixel_std))
        self.padding, self.channel_order = padding, channel_order

    def call(self, images: Tensor) -> tuple[Tensor, Tensor]:
        batch, *sides = ops.shape(images)[:3]
        height, width = (ops.cast(side, "float32") for side in sides)
        size = size_on_canvas(height, width, self.shape, xp=ops, **self.rules)
        sides, size = ([ops.cast(side, "int32") for side in lengths] for lengths in (sides, size))
        starts = [(whole - part) // 2 for whole, part in zip(self.shape, size, strict=True)]
        pixels = ops.cast(images, "float32")
        low, high = (pick(pixels, axis=(1, 2, 3), keepdims=True) for pick in (ops.min, ops.max))
        inside: Any = True
        for axis in (0, 1):
            pixels, seen = self._resized(pixels, axis, sides[axis], size[axis], starts[axis])
            inside = ops.logical_and(inside, seen)
        pixels = ops.clip(pixels, low, high)
        pixels = ops.floor(pixels + ALMOST) if self.rounding == "truncate" else ops.round(pixels)
        inside = ops.cast(inside, "float32")
        molded = (pixels * inside - self.mean_pixel) / self.pixel_std
        if self.padding == "mean":
            molded = molded * inside
        window = [*starts, *(start + part for start, part in zip(starts, size, strict=True))]
        channels = images.shape[-1]
        numbers = [0, *sides, channels, *self.shape, channels, *window, 1, *[0] * self.classes]
        meta = ops.stack([ops.cast(x, "float32") for x in numbers])
        return molded[..., ::-1] if self.channel_order == "bgr" else molded, ops.tile(meta[None], (batch, 1))

    def _resized(self, pixels, axis, length, size, start):
        """Pixels [B, h, w, C] resized along an axis and put on the canvas; and which of its rows (or columns) are
        image, [H, 1, 1] or [1, W, 1]. All positions are whole numbers over 2 * size, and so exact."""
        place = ops.clip(ops.arange(self.shape[axis], dtype="int32") - start, 0, size - 1)
        position = (2 * place + 1) * length + size  # one pixel further, so that it is positive
        before = position // (2 * size) - 1
        weight = ops.cast(position - (before + 1) * 2 * size, "float32") / ops.cast(2 * size, "float32")
        shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
        result: Any = 0
        for index, part in ((before, 1 - weight), (before + 1, weight)):
            exists = ops.logical_and(index >= 0, index < length)
            part = ops.reshape(part * ops.cast(exists, "float32"), shape)
            result = result + ops.take(pixels, ops.clip(index, 0, length - 1), axis=axis + 1) * part
        place = ops.arange(self.shape[axis], dtype="int32")
        return result, ops.reshape(ops.logical_and(place >= start, place < start + size), shape)

    def compute_output_spec(self, images: Tensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        batch, channels = images.shape[0], images.shape[-1]
        return (
            keras.KerasTensor((batch, *self.shape, channels), "float32"),
            keras.KerasTensor((batch, 12 + self.classes), "float32"),
        )


class Repeated(layers.Layer):
    """A constant [...] for every image of a batch: any tensor [B, ...] -> [B, ...]."""

    def __init__(self, values: Any, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.values = values

    def call(self, inputs: Tensor) -> Tensor:
        return ops.tile(ops.convert_to_tensor(self.values)[None], (ops.shape(inputs)[0], *[1] * self.values.ndim))

    def compute_output_spec(self, inputs: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor((inputs.shape[0], *self.values.shape), str(self.values.dtype))


class OnCanvas(layers.Layer):
    """Boxes [B, N, 4] in pixels of images as the network reads them: normalised to the canvas; zero rows stay zero.

    Args:
        shape: (H, W) of the canvas.
        normalization: as `boxes.normalize` takes it.

    Inputs: [boxes, image_meta]. `back` is the other way.
    """

    def __init__(self, shape: Sequence[int], normalization: str, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.shape, self.normalization = tuple(shape), normalization

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        pixels, meta = inputs
        original, window = self._frames(meta)
        start = ops.concatenate([window[..., :2]] * 2, axis=-1)
        scale = (window[..., 2:] - window[..., :2]) / original
        molded = pixels * ops.concatenate([scale, scale], axis=-1) + start
        return boxes.normalize(molded, self.shape, self.normalization) * _filled(pixels)

    def back(self, normalized: Tensor, meta: Tensor) -> Tensor:
        """Boxes [B, N, 4] of the network in pixels of the images, as `results.to_original` has them."""
        original, window = self._frames(meta)
        last = float(self.normalization == "pixels")
        window = boxes.normalize(window, self.shape, self.normalization)
        start, size = window[..., :2], window[..., 2:] - window[..., :2]
        sides = original - last
        shift = ops.convert_to_tensor([0.0, 0.0, last, last])
        factor = sides / ops.maximum(size, 1e-6)  # of a window of one pixel this is 0
        start, factor = (ops.concatenate([x, x], axis=-1) for x in (start, factor))
        return ((normalized - start) * factor + shift) * _filled(normalized)

    def _frames(self, meta):
        """Sizes of the original images [B, 1, 2], and the windows [B, 1, 4]."""
        fields = parse_image_meta(meta)
        return fields["original_image_shape"][:, None, :2], fields["window"][:, None]

    def compute_output_spec(self, inputs: Sequence[Tensor]) -> keras.KerasTensor:
        return keras.KerasTensor(inputs[0].shape, "float32")


class InImage(OnCanvas):
    """The way back of `OnCanvas`. Inputs: [boxes [B, N, 4] normalised, image_meta]."""

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        return self.back(*inputs)


class PointsInImage(OnCanvas):
    """Points of the canvas in pixels of the images, as of `keypoints.restore`: [points [B, N, J, 3], image_meta]."""

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        points, meta = inputs
        original, window = self._frames(meta)
        start, size = window[..., :2], window[..., 2:] - window[..., :2]
        start, factor = (x[..., None, ::-1] for x in (start, original / size))
        places = (points[..., :2] - start + 0.5) * factor - 0.5
        return ops.concatenate([places, points[..., 2:]], axis=-1)


def _filled(rows):
    """1 for rows [..., 4] that are no padding, else 0, [..., 1]."""
    return ops.cast(ops.any(ops.not_equal(rows, 0), axis=-1, keepdims=True), "float32")


class Filled(layers.Layer):
    """The first of the detections [B, D, 6]: as many as the fullest image of the batch has, at least one.

    Args:
        fixed: True for all of them, so that shapes are known beforehand.
    """

    def __init__(self, fixed: bool = False, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.fixed = fixed

    def call(self, detections: Tensor) -> Tensor:
        if self.fixed:
            return detections
        counts = ops.sum(ops.cast(detections[..., 4] > 0, "int32"), axis=1)
        return detections[:, : ops.maximum(ops.max(counts), 1)]

    def compute_output_spec(self, detections: Tensor) -> keras.KerasTensor:
        batch, count, values = detections.shape
        return keras.KerasTensor((batch, count if self.fixed else None, values), "float32")


class Slots(layers.Layer):
    """Values [B, n, ...] of the first detections, with zeros up to D.

    Args:
        count: D.
    """

    def __init__(self, count: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.count = count

    def call(self, x: Tensor) -> Tensor:
        if x.shape[1] == self.count:
            return x
        missing = self.count - ops.shape(x)[1]
        return ops.concatenate([x, ops.zeros((ops.shape(x)[0], missing, *x.shape[2:]), x.dtype)], axis=1)

    def compute_output_spec(self, x: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor((x.shape[0], self.count, *x.shape[2:]), x.dtype)


class OwnMask(layers.Layer):
    """Of the masks of all classes that of each detection's class: [masks [B, n, h, w, K], detections [B, n, 6]] to
    [B, n, h, w]."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        masks, detections = inputs
        height, width, classes = masks.shape[2:]
        flat = ops.transpose(ops.reshape(masks, (-1, height, width, classes)), (0, 3, 1, 2))  # as runtimes have them
        flat = ops.reshape(flat, (-1, height, width))
        ids = ops.reshape(ops.cast(detections[..., 4], "int32"), (-1,))
        own = ops.take(flat, ops.arange(ops.shape(ids)[0], dtype="int32") * classes + ids, axis=0)
        return ops.reshape(own, (-1, ops.shape(masks)[1], height, width))

    def compute_output_spec(self, inputs: Sequence[Tensor]) -> keras.KerasTensor:
        return keras.KerasTensor(inputs[0].shape[:4], "float32")


class PixelsInImage(layers.Layer):
    """The values of a map [B, H, W] of the canvas at the pixels of the images, the nearest ones.

    Inputs: [map, image_meta, images [B, h, w, C]]. Output: [B, h, w].
    """

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        values, meta, images = inputs
        y1, x1, y2, x2 = ops.unstack(ops.cast(parse_image_meta(meta)["window"][0], "int32"), 4)
        for axis, start, end in ((1, y1, y2), (2, x1, x2)):
            side = ops.shape(images)[axis]
            place = (2 * ops.arange(side, dtype="int32") + 1) * (end - start) // (2 * side)
            values = ops.take(values, start + place, axis=axis)
        return values

    def compute_output_spec(self, inputs: Sequence[Tensor]) -> keras.KerasTensor:
        return keras.KerasTensor(inputs[2].shape[:3], inputs[0].dtype)


def exported_graph(model: Any, shape: Sequence[int], image_size: Sequence[int] | None = None) -> keras.Model:
    """The graph of a detector from images to results.

    Args:
        model: a detector in inference mode.
        shape: (H, W) of what the network sees, see `Canvas`.
        image_size: (batch, h, w) of images, for a graph in which all shapes are known; None for any.

    Returns:
        a model of "image" [B, h, w, C] uint8, and "proposals" [B, N, 4] in its pixels where the detector takes some,
        zero-padded, which gives a dict of boxes [B, D, 4] (y1, x1, y2, x2) in its pixels, classes [B, D] int32, 0 where
        nothing is, scores [B, D], and what there is of masks [B, D, h', w'], probabilities, keypoints
        [B, D, J, h', w'], logits, and points [B, D, J, 3] (x, y, score) in its pixels. Of a network for semantic
        segmentation: semantic [B, h, w] int32, the classes of the images' pixels, and canvas [B, H, W, 2] float32, the
        class and its probability of every pixel of the canvas, of which objects are made.
    """
    config = model.config
    batch, *size = image_size or (None, None, None)
    image = keras.Input((*size, config.IMAGE_CHANNEL_COUNT), batch, dtype="uint8", name="image")
    molded, meta = Canvas(
        shape,
        config.NUM_CLASSES,
        config.IMAGE_MIN_DIM,
        config.IMAGE_MIN_SCALE,
        config.IMAGE_RESIZE_MODE,
        config.IMAGE_ROUNDING,
        config.MEAN_PIXEL,
        config.PIXEL_STD,
        config.IMAGE_PADDING,
        config.CHANNEL_ORDER,
        name="canvas",
    )(image)
    given = {"input_image": molded, "input_image_meta": meta}
    inputs = {"image": image}
    detector, heads = model.steps()
    names = [x.name for x in detector.inputs]
    if "input_anchors" in names:
        given["input_anchors"] = Repeated(model.get_anchors(shape), name="anchors")(image)
    if "input_rois" in names:
        count = config.POST_NMS_ROIS_INFERENCE
        inputs["proposals"] = keras.Input((count, 4), batch, name="proposals")
        given["input_rois"] = OnCanvas(shape, config.BOX_NORMALIZATION, name="on_canvas")([inputs["proposals"], meta])
    found = detector([given[name] for name in names])
    if config.by_pixels:
        classes = ops.cast(found["classes"], "int32")
        outputs = {
            "semantic": PixelsInImage(name="pixels_in_image")([classes, meta, image]),
            "canvas": ops.stack([ops.cast(classes, "float32"), found["scores"]], axis=-1),
        }
        return keras.Model(inputs, outputs, name="exported")
    outputs = _outputs(model, shape, found, heads, meta, batch)
    return keras.Model(inputs, outputs, name="exported")


def _outputs(model, shape, found, heads, meta, batch):
    """What a detector gives, by name, of what its first graph has found and its heads."""
    config = model.config
    joints = found.get("joints") if isinstance(found, dict) else None
    detections, *levels = keras.tree.flatten(found)
    outputs = {
        "boxes": InImage(shape, config.BOX_NORMALIZATION, name="in_image")([detections[..., :4], meta]),
        "classes": ops.cast(detections[..., 4], "int32"),
        "scores": detections[..., 5],
    }
    if joints is not None:
        outputs["points"] = PointsInImage(shape, config.BOX_NORMALIZATION, name="points_in_image")([joints, meta])
    if heads is not None:
        slots = Slots(detections.shape[1], name="slots")
        first = Filled(fixed=batch is not None, name="filled")(detections)
        found = heads([first[..., :4], meta, *levels])
        if "mrcnn_mask" in found:
            outputs["masks"] = slots(OwnMask(name="own_mask")([found["mrcnn_mask"], first]))
        if "mrcnn_keypoint" in found:
            outputs["keypoints"] = slots(found["mrcnn_keypoint"])
    return outputs
