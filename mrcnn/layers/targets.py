"""What the heads should say: matching of proposals with ground truth, and the targets of those that are sampled."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
from keras import layers, ops

from mrcnn.ops import boxes, keypoints, matching, sampling
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.gather import gather
from mrcnn.ops.roi_align import crop_and_resize


@keras.saving.register_keras_serializable("mrcnn")
class DetectionTargetLayer(layers.Layer):
    """Samples RoIs from the proposals and gives each its class and deltas, and its mask and keypoints.

    A proposal is positive with an IoU of at least `iou_threshold` with an instance, else negative unless it lies in a
    crowd. At most `positive_ratio` of the sample is positive; positives come first, negatives fill the rest.

    Args:
        rois_per_image: T.
        positive_ratio: the first P = int(T * positive_ratio) slots may be positive.
        mask_shape: shape of the mask targets; None for none.
        use_mini_mask: whether gt_masks are cut to their boxes.
        std_dev: the four numbers by which deltas are divided.
        seed: of the random choice.
        keypoint_shape: shape of the heatmaps; None for no keypoints.
        image_shape: (H, W) pixels, in which keypoints are given.
        keypoint_classes: class ids that have keypoints; None for all.
        roi_expand: how many times as long as the RoI's the sides of the heatmap are.
        append_gt: whether the ground truth boxes are among the proposals.
        sampling: where in their cells masks are read, as the heads read the maps; a key of `roi_align.SAMPLINGS`.
        normalization: of the boxes, as `boxes.normalize` takes it.
        iou_threshold: 0.5 of the paper; the later stages of a cascade have more.
        crowd_overlap: share of its own area from which on a proposal lies in a crowd.

    Inputs: [proposals [B, N, 4], gt_class_ids [B, G] (0 padding, negative crowd), gt_boxes [B, G, 4]], boxes
    normalised, proposals zero-padded; then with masks gt_masks [B, h, w, G], and with keypoints gt_keypoints
    [B, G, J, 3] (x, y, v) in pixels.

    Outputs, all constants to the gradient: rois [B, T, 4] normalised, zero-padded; class ids [B, T] int32, 0
    background, -1 padding; deltas [B, T, 4], zero where not positive; and for the first P slots, with masks, masks
    [B, P, *mask_shape] of 0 and 1, and with keypoints [B, P, J] int32 the cell of each point's heatmap, or -1.
    """

    def __init__(
        self,
        rois_per_image: int = 200,
        positive_ratio: float = 0.33,
        mask_shape: Sequence[int] | None = (28, 28),
        use_mini_mask: bool = True,
        std_dev: Iterable[float] = (0.1, 0.1, 0.2, 0.2),
        seed: int | None = None,
        keypoint_shape: Sequence[int] | None = None,
        image_shape: Sequence[int] | None = None,
        keypoint_classes: Iterable[int] | None = None,
        roi_expand: float = 1.0,
        append_gt: bool = False,
        sampling: str = "corners",
        normalization: str = "pixels",
        iou_threshold: float = 0.5,
        crowd_overlap: float = matching.CROWD_OVERLAP,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.rois_per_image = rois_per_image
        self.positive_ratio = positive_ratio
        self.positive_slots = int(rois_per_image * positive_ratio)
        self.mask_shape: Any = mask_shape and tuple(mask_shape)
        self.use_mini_mask = use_mini_mask
        self.std_dev = tuple(std_dev)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.keypoint_shape: Any = keypoint_shape and tuple(keypoint_shape)
        self.image_shape: Any = image_shape and tuple(image_shape[:2])
        self.keypoint_classes = None if keypoint_classes is None else tuple(int(i) for i in keypoint_classes)
        self.roi_expand = roi_expand
        self.append_gt = append_gt
        self.sampling = sampling
        self.normalization = normalization
        self.iou_threshold = iou_threshold
        self.crowd_overlap = crowd_overlap

    def call(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        proposals, gt_class_ids, gt_boxes, *others = (ops.stop_gradient(x) for x in inputs)
        proposals, gt_boxes = ops.cast(proposals, "float32"), ops.cast(gt_boxes, "float32")
        if self.append_gt:
            instances = ops.where((gt_class_ids > 0)[..., None], gt_boxes, 0.0)
            proposals = ops.concatenate([proposals, instances], axis=1)
        short = max(0, self.rois_per_image - proposals.shape[1])
        proposals = ops.pad(proposals, [[0, 0], [0, short], [0, 0]])

        valid = ops.any(ops.not_equal(proposals, 0), axis=-1)
        threshold = self.iou_threshold
        labels, best = matching.match(
            proposals, gt_class_ids, gt_boxes, threshold, threshold, crowd_overlap=self.crowd_overlap
        )
        chosen, positive, filled = sampling.choose(
            ops.logical_and(valid, labels > 0),
            ops.logical_and(valid, labels < 0),
            keras.random.uniform(ops.shape(valid), seed=self.seed_generator),
            self.rois_per_image,
            self.positive_slots,
        )
        rois = gather(proposals, chosen)
        rois = ops.where(filled[..., None], rois, 0.0)

        match = gather(best, chosen)
        class_ids = gather(ops.cast(gt_class_ids, "int32"), match)
        class_ids = ops.where(positive, class_ids, ops.where(filled, 0, -1))
        matched_boxes = gather(gt_boxes, match)
        deltas = boxes.encode(rois, matched_boxes) / ops.convert_to_tensor(self.std_dev, dtype="float32")
        deltas = ops.where(positive[..., None], deltas, 0.0)

        outputs = [rois, class_ids, deltas]
        slots = self.positive_slots
        first_rois, match, positive = rois[:, :slots], match[:, :slots], positive[:, :slots]
        if self.mask_shape:
            masks = self._masks(first_rois, matched_boxes[:, :slots], match, others.pop(0))
            outputs.append(ops.where(positive[..., None, None], masks, 0.0))
        if self.keypoint_shape:
            cells = self._keypoints(first_rois, match, others.pop(0))
            if self.keypoint_classes:
                classes = ops.convert_to_tensor(self.keypoint_classes, dtype="int32")
                positive = ops.logical_and(positive, ops.any(class_ids[:, :slots, None] == classes, axis=-1))
            outputs.append(ops.where(positive[..., None], cells, -1))
        return [ops.stop_gradient(x) for x in outputs]

    def _masks(self, rois, gt_boxes, match, gt_masks):
        """Mask targets [B, P, rows, columns]: the instance's mask inside the RoI, rounded to 0 or 1."""
        height, width, count = gt_masks.shape[1:]
        if self.use_mini_mask:
            origin = ops.concatenate([gt_boxes[..., :2], gt_boxes[..., :2]], axis=-1)
            size = gt_boxes[..., 2:] - gt_boxes[..., :2]
            size = ops.where(size > 0, size, 1.0)
            rois = (rois - origin) / ops.concatenate([size, size], axis=-1)
        flat = ops.reshape(ops.transpose(gt_masks, (0, 3, 1, 2)), (-1, count * height * width, 1))
        cells = ops.ones_like(match)
        masks = crop_and_resize(
            ops.cast(flat, "float32"),
            match * height * width,
            cells * height,
            cells * width,
            rois,
            self.mask_shape,
            self.sampling,
        )
        return ops.round(masks[..., 0])

    def _keypoints(self, rois, match, gt_keypoints):
        """Cells [B, P, J] of the heatmaps in which the instances' points lie, or -1."""
        points = gather(ops.cast(gt_keypoints, "float32"), match)
        rois = boxes.to_pixels(boxes.expand(rois, self.roi_expand), self.image_shape, self.normalization)
        return keypoints.encode(points, rois, self.keypoint_shape)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> list[tuple]:
        batch, total, slots = input_shape[0][0], self.rois_per_image, self.positive_slots
        shapes = [(batch, total, 4), (batch, total), (batch, total, 4)]
        if self.mask_shape:
            shapes.append((batch, slots, *self.mask_shape))
        if self.keypoint_shape:
            shapes.append((batch, slots, input_shape[-1][2]))
        return shapes

    def compute_output_spec(self, inputs: Sequence[Tensor]) -> list[keras.KerasTensor]:
        shapes = self.compute_output_shape([x.shape for x in inputs])
        heads = ["float32"] * bool(self.mask_shape) + ["int32"] * bool(self.keypoint_shape)
        dtypes = ["float32", "int32", "float32", *heads]
        return [keras.KerasTensor(s, dtype=d) for s, d in zip(shapes, dtypes, strict=True)]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "rois_per_image": self.rois_per_image,
            "positive_ratio": self.positive_ratio,
            "mask_shape": self.mask_shape,
            "use_mini_mask": self.use_mini_mask,
            "std_dev": self.std_dev,
            "seed": self.seed,
            "keypoint_shape": self.keypoint_shape,
            "image_shape": self.image_shape,
            "keypoint_classes": self.keypoint_classes,
            "roi_expand": self.roi_expand,
            "append_gt": self.append_gt,
            "sampling": self.sampling,
            "normalization": self.normalization,
            "iou_threshold": self.iou_threshold,
            "crowd_overlap": self.crowd_overlap,
        }
