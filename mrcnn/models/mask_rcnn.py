"""Mask R-CNN (He et al. 2017): the graph of its boxes in the paper's figure, training, detection."""

from __future__ import annotations

import datetime
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import ArrayLike

from mrcnn import weights
from mrcnn.data.anchors import pyramid_anchors
from mrcnn.data.batches import DataGenerator
from mrcnn.data.validate import format_problems
from mrcnn.layers.backbones import build_backbone
from mrcnn.layers.batch_norm import BatchNorm
from mrcnn.layers.detections import DetectionLayer, image_window
from mrcnn.layers.fpn import build_fpn
from mrcnn.layers.heads import KeypointHead, MaskHead, fpn_classifier_graph
from mrcnn.layers.rpn import Anchors, ProposalLayer, build_rpn_model
from mrcnn.layers.targets import DetectionTargetLayer
from mrcnn.models.graph import InferenceGraph, TrainingGraph, precision
from mrcnn.ops import boxes, images, keypoints, masks
from mrcnn.ops.boxes import Tensor
from mrcnn.settings.config import CONFIG, Config
from mrcnn.train.callbacks import (
    Checkpoints,
    SampleSeed,
    Schedule,
    StopOnNonFiniteLoss,
    find_last,
    keep_freed_memory,
    restore_optimizer,
    tensorboard,
)
from mrcnn.train.devices import machine, optimizer_class, strategy
from mrcnn.weights import convert

if TYPE_CHECKING:
    from keras.optimizers.schedules import LearningRateSchedule
    from typing_extensions import Self  # in typing from Python 3.11 on

    from mrcnn.data.dataset import Dataset

# Which layers the presets of train(layers=...) train.
LAYER_PRESETS = {
    "heads": r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "3+": r"(res3.*)|(bn3.*)|(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "4+": r"(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "5+": r"(res5.*)|(bn5.*)|(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "all": ".*",
}

# How many detections of an image the mask and keypoint heads are run on: the next of these, so that few graphs are
# compiled.
DETECTION_BATCHES = (4, 16, 48)


class MaskRCNN:
    """Mask R-CNN: builds the graph, trains it, detects with it.

    Args:
        mode: "training" or "inference".
        config: an instance of a `Config` subclass.
        model_dir: folder for training logs and checkpoints.

    Attributes:
        keras_model: the graph. For inference it takes [image, image_meta, anchors] and gives [detections, mrcnn_class,
            mrcnn_bbox, mrcnn_mask, rpn_rois, rpn_class, rpn_bbox], then mrcnn_keypoint if there are keypoints; with
            USE_MASK False there is no mrcnn_mask.
        config, mode, model_dir: as given.
        log_dir: folder of this run.
        epoch: epochs trained so far.
        anchors: [A, 4] in pixels, of the last image shape asked for.
    """

    def __init__(self, mode: str, config: Config, model_dir: Path | str) -> None:
        if mode not in ("training", "inference"):
            raise ValueError(f"mode is {mode!r}; it must be 'training' or 'inference'.")
        self.mode = mode
        self.config = config
        self.model_dir = str(model_dir)
        self.anchors: np.ndarray | None = None
        self._anchors: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}
        self._resume_from: str | None = None
        self.load_report: weights.LoadReport | None = None
        self.set_log_dir()
        keep_freed_memory()
        # Only training is split over devices; detection takes one.
        self._strategy = strategy(config.GPU_COUNT if mode == "training" else 1)
        with self._strategy.scope(), precision(config.PRECISION):
            self.keras_model = self.build(mode=mode, config=config)

    @classmethod
    def from_pretrained(
        cls, path: Path | str, model_dir: Path | str = "logs", mode: str = "inference", **settings: Any
    ) -> Self:
        """A model with the config and the weights of a folder of `mrcnn.weights.convert`, or of an `.h5` file of a run.

        Args:
            path: the folder, the file, with config.json beside it, or one of torchvision or Detectron2, which is
                converted into model_dir first.
            model_dir, mode: as for `MaskRCNN`.
            settings: of the config, in the place of those that were stored.

        Raises:
            FileNotFoundError, ImportError, ValueError: as `convert.convert_file`, `Config.from_json`, `Config.update`
                and `load_weights`.
        """
        path = convert.h5_file(path, model_dir)
        model = cls(mode, Config.from_json(path.parent / CONFIG).update(**settings), model_dir)
        model.load_weights(path)
        return model

    # Building

    def build(self, mode: str, config: Config) -> keras.Model:
        """The graph of `mode`, from the image to detections or to losses."""
        config.validate()
        shape: list[Any] = list(config.IMAGE_SHAPE)
        if mode == "inference" and config.IMAGE_RESIZE_MODE in ("rect", "shortest", "pad64", "none"):
            shape[:2] = None, None
        elif None in shape:
            raise ValueError(
                f"IMAGE_RESIZE_MODE is {config.IMAGE_RESIZE_MODE!r} and IMAGE_MAX_DIM None; training needs images of "
                "one size: set IMAGE_MAX_DIM to their side."
            )
        # One device trains on batches of one size; a batch that is split over several has another on each.
        batch = config.BATCH_SIZE if mode == "training" and config.GPU_COUNT == 1 else None
        input_image = keras.Input(shape, batch, name="input_image")
        input_image_meta = keras.Input((config.IMAGE_META_SIZE,), batch, name="input_image_meta")

        _, c2, c3, c4, c5 = build_backbone(config, input_image)
        pyramid = build_fpn([c2, c3, c4, c5], config.TOP_DOWN_PYRAMID_SIZE)
        rpn_levels = self._rpn(pyramid)
        rpn_class_logits, rpn_class, rpn_bbox = (
            layers.Concatenate(axis=1, name=name, dtype="float32")(level) for name, level in rpn_levels.items()
        )
        feature_maps = pyramid[:4]
        heads = self._roi_heads(mask_logits=mode == "training" and config.MASK_LOSS == "logits")

        if mode == "inference":
            anchors = input_anchors = keras.Input(
                (None if None in shape else self._anchor_count(), 4), name="input_anchors"
            )
            count = config.POST_NMS_ROIS_INFERENCE
        else:
            anchors = Anchors(self.get_anchors(shape)[0], name="anchors")(input_image)
            count = config.POST_NMS_ROIS_TRAINING
        scored = [rpn_class, rpn_bbox, anchors]
        if config.PROPOSAL_NMS == "level":
            scored[:2] = rpn_levels["rpn_class"], rpn_levels["rpn_bbox"]
        if config.PROPOSAL_WINDOW == "image":
            scored.append(image_window(input_image_meta, config.BOX_NORMALIZATION))
        proposals = ProposalLayer(
            count, config.RPN_NMS_THRESHOLD, config.PRE_NMS_LIMIT, config.RPN_BBOX_STD_DEV, name="ROI"
        )(scored)

        if mode == "inference":
            _, probs, deltas = self._box_head(proposals, feature_maps, input_image_meta)
            detections = DetectionLayer(
                config.DETECTION_MAX_INSTANCES,
                config.DETECTION_MIN_CONFIDENCE,
                config.DETECTION_NMS_THRESHOLD,
                config.BBOX_STD_DEV,
                config.DETECTION_CLASSES,
                config.DETECTION_NMS,
                config.BOX_NORMALIZATION,
                name="mrcnn_detection",
            )([proposals, probs, deltas, input_image_meta])
            found = {name: head(detections[..., :4], feature_maps, input_image_meta) for name, head in heads.items()}
            inputs = [input_image, input_image_meta, input_anchors]
            tensors = [detections, probs, deltas, found.pop("mrcnn_mask", None), proposals, rpn_class, rpn_bbox]
            tensors = [x for x in (*tensors, *found.values()) if x is not None]
            # For `detect`: the graph up to the detections, and the other heads for any number of boxes.
            self._detector = keras.Model(inputs, [detections, *feature_maps])
            rois = keras.Input((None, 4))
            maps = [keras.Input(x.shape[1:], dtype=x.dtype) for x in feature_maps]
            flat = {name: head.flat(rois, maps, input_image_meta) for name, head in heads.items()}
            self._roi_detector = keras.Model([rois, input_image_meta, *maps], flat) if flat else None
            return InferenceGraph(inputs, tensors, name="mask_rcnn")

        targets = self._target_inputs(shape, batch)
        gt_boxes = self._normalize(targets["input_gt_boxes"], shape)
        candidates = proposals
        if not config.USE_RPN_ROIS:
            given = targets["input_rois"]
            # Zero rows are padding and stay zero.
            padding = ops.all(ops.equal(given, 0), axis=-1, keepdims=True)
            candidates = ops.where(padding, 0.0, self._normalize(given, shape))
        truth = [targets[name] for name in ("input_gt_masks", "input_gt_keypoints") if name in targets]
        sampler = DetectionTargetLayer(
            config.TRAIN_ROIS_PER_IMAGE,
            config.ROI_POSITIVE_RATIO,
            config.MASK_SHAPE if config.USE_MASK else None,
            config.USE_MINI_MASK,
            config.BBOX_STD_DEV,
            keypoint_shape=config.KEYPOINT_MASK_SHAPE if config.NUM_KEYPOINTS else None,
            image_shape=shape,
            keypoint_classes=config.KEYPOINT_CLASSES,
            roi_expand=config.KEYPOINT_ROI_EXPAND,
            append_gt=config.APPEND_GT_ROIS,
            sampling=config.ROI_ALIGN,
            normalization=config.BOX_NORMALIZATION,
            name="proposal_targets",
        )
        rois, target_class_ids, target_bbox, *roi_targets = sampler(
            [candidates, targets["input_gt_class_ids"], gt_boxes, *truth]
        )
        class_logits, probs, deltas = self._box_head(rois, feature_maps, input_image_meta)
        # Only the first slots can be positive, and only positive ones have a mask and keypoints.
        positive = rois[:, : sampler.positive_slots]

        outputs = {
            "rpn_class_logits": rpn_class_logits,
            "rpn_class": rpn_class,
            "rpn_bbox": rpn_bbox,
            "rpn_rois": proposals,
            "output_rois": rois,
            "mrcnn_class_logits": class_logits,
            "mrcnn_class": probs,
            "mrcnn_bbox": deltas,
            "target_rpn_match": targets["input_rpn_match"],
            "target_rpn_bbox": targets["input_rpn_bbox"],
            "target_class_ids": target_class_ids,
            "target_bbox": target_bbox,
            "active_class_ids": images.parse_image_meta(input_image_meta)["active_class_ids"],
        }
        for (name, head), target in zip(heads.items(), roi_targets, strict=True):
            outputs[name] = head(positive, feature_maps, input_image_meta)
            outputs[name.replace("mrcnn", "target")] = target
        model = TrainingGraph([input_image, input_image_meta, *targets.values()], outputs, name="mask_rcnn")
        model.set_losses(config, outputs)
        return model

    def _rpn(self, pyramid):
        """RPN logits, probabilities and deltas, each a list of the levels' tensors."""
        config = self.config
        rpn = build_rpn_model(
            config.RPN_ANCHOR_STRIDE,
            len(config.RPN_ANCHOR_RATIOS),
            config.TOP_DOWN_PYRAMID_SIZE,
            config.RPN_CHANNELS,
            config.RPN_SCORE,
        )
        levels = zip(*(rpn(level) for level in pyramid), strict=True)
        names = ("rpn_class_logits", "rpn_class", "rpn_bbox")
        return {name: list(level) for name, level in zip(names, levels, strict=True)}

    def _align(self):
        """How RoIs are read."""
        return {"sampling": self.config.ROI_ALIGN, "rounding": self.config.ROI_LEVEL}

    def _norm(self, wanted):
        """The BatchNorm of a head, if it has one."""
        return partial(BatchNorm, epsilon=self.config.BATCH_NORM_EPSILON) if wanted else None

    def _normalize(self, pixels, shape):
        return boxes.normalize(pixels, shape, self.config.BOX_NORMALIZATION)

    def _box_head(self, rois, feature_maps, image_meta):
        c = self.config
        return fpn_classifier_graph(
            rois,
            feature_maps,
            image_meta,
            c.POOL_SIZE,
            c.NUM_CLASSES,
            c.TRAIN_BN,
            c.FPN_CLASSIF_FC_LAYERS_SIZE,
            self._norm(c.BOX_HEAD_BN),
            **self._align(),
        )

    def _roi_heads(self, mask_logits=False):
        """The heads that look at detections, and in training at positive RoIs: name of the output -> head."""
        c = self.config
        heads: dict[str, MaskHead | KeypointHead] = {}
        if c.USE_MASK:
            norm = self._norm(c.MASK_HEAD_BN)
            heads["mrcnn_mask"] = MaskHead(
                c.MASK_POOL_SIZE, c.NUM_CLASSES, c.TRAIN_BN, c.MASK_CHANNELS, norm, mask_logits, **self._align()
            )
        if c.NUM_KEYPOINTS:
            heads["mrcnn_keypoint"] = KeypointHead(
                c.KEYPOINT_POOL_SIZE,
                c.NUM_KEYPOINTS,
                c.KEYPOINT_CONVOLUTIONS,
                c.KEYPOINT_CHANNELS,
                c.KEYPOINT_ROI_EXPAND,
                **self._align(),
            )
        return heads

    def _target_inputs(self, image_shape, batch):
        """Inputs of the training graph beside image and meta, in the original's order."""
        config = self.config
        mask_shape = config.MINI_MASK_SHAPE if config.USE_MINI_MASK else image_shape[:2]
        limit = config.MAX_GT_INSTANCES
        shapes = {
            "input_rpn_match": ((self._anchor_count(), 1), "int32"),
            "input_rpn_bbox": ((config.RPN_TRAIN_ANCHORS_PER_IMAGE, 4), "float32"),
            "input_gt_class_ids": ((limit,), "int32"),
            "input_gt_boxes": ((limit, 4), "float32"),
        }
        if config.USE_MASK:
            shapes["input_gt_masks"] = (*mask_shape, limit), "bool"
        if config.NUM_KEYPOINTS:
            shapes["input_gt_keypoints"] = (limit, config.NUM_KEYPOINTS, 3), "float32"
        if not config.USE_RPN_ROIS:
            shapes["input_rois"] = ((config.POST_NMS_ROIS_TRAINING, 4), "float32")
        return {name: keras.Input(shape, batch, dtype=dtype, name=name) for name, (shape, dtype) in shapes.items()}

    def _anchor_count(self):
        return self.get_anchors(self.config.IMAGE_SHAPE).shape[1]

    # Weights

    def load_weights(self, filepath: Path | str, by_name: bool = False, exclude: Iterable[str] | None = None) -> None:
        """Load an `.h5` file in the original's layout, and print what was and what was not loaded.

        Args:
            filepath: the file; from a checkpoint of this package, training goes on at its epoch.
            by_name: True loads what fits and leaves the rest (another NUM_CLASSES leaves the heads); False demands all.
            exclude: names of layers to leave as they are.

        Raises:
            FileNotFoundError, ValueError: see `mrcnn.weights.h5.load`.
        """
        folded = [layer for layer in self._batch_norms() if layer.folded]
        for layer in folded:
            layer.folded = False  # an identity until its weights are loaded
        if folded:
            self._forget_compiled()
        self.load_report = weights.load(self.keras_model, filepath, exclude or (), strict=not by_name and not exclude)
        print(self.load_report)
        if self.mode == "inference" and self.load_report.left:
            warnings.warn(
                f"Random weights, and so meaningless detections, in {weights.some(self.load_report.left)}.",
                stacklevel=2,
            )
        self.set_log_dir(filepath)
        self._resume_from = str(filepath)

    def save_weights(self, filepath: Path | str) -> None:
        """Write the weights in the original's `.h5` layout."""
        weights.write(self.keras_model, filepath, self.mode)

    def get_imagenet_weights(self) -> str:
        """Path of Keras's ImageNet weights for this backbone, downloaded first if needed.

        Raises:
            ValueError: there are none for this backbone.
            OSError: no network; the message says where to put the file.
        """
        name = f"imagenet-{self.config.BACKBONE}"
        if name not in weights.PRETRAINED:
            raise ValueError(f"No ImageNet weights for BACKBONE {self.config.BACKBONE!r}; use resnet50 or resnet101.")
        return weights.download(name)

    def find_last(self) -> str:
        """Path of the last checkpoint of the last run of this config's NAME under model_dir.

        Raises:
            FileNotFoundError: there is none.
        """
        return find_last(self.model_dir, self.config.NAME)

    def set_log_dir(self, model_path: Path | str | None = None) -> None:
        """Name the folder of this run, `{name}{date}T{time}`; given a checkpoint, take its folder and its epoch."""
        self.epoch = 0
        name = (self.config.NAME or "mrcnn").lower()
        match = re.search(r"([^/\\]+\d{8}T\d{4})[/\\]mask_rcnn_.+?_(\d{4})\.h5$", str(model_path or ""))
        if match:
            self.epoch = int(match[2])
            self.log_dir = os.path.join(self.model_dir, match[1])
        else:
            self.log_dir = os.path.join(self.model_dir, f"{name}{datetime.datetime.now():%Y%m%dT%H%M}")
        self.checkpoint_path = os.path.join(self.log_dir, f"mask_rcnn_{name}_{{epoch:04d}}.h5")

    # Training

    def get_trainable_layers(self) -> list[keras.layers.Layer]:
        """Layers that hold weights, those of nested models too."""
        return list(weights.weighted_layers(self.keras_model))

    def find_trainable_layer(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        """The layer itself; layers are not wrapped any more."""
        return layer

    def set_trainable(
        self, layer_regex: str, keras_model: keras.Model | None = None, indent: int = 0, verbose: int = 1
    ) -> None:
        """Make the layers trainable whose whole name matches a regular expression, and no others."""
        if verbose and keras_model is None:
            print("\nTrainable layers:")
        for layer in weights.weighted_layers(keras_model or self.keras_model):
            layer.trainable = bool(re.fullmatch(layer_regex, layer.name))
            if layer.trainable and verbose:
                print(f"{' ' * indent}{layer.name:24} ({type(layer).__name__})")

    def compile(self, learning_rate: float | LearningRateSchedule, momentum: float) -> None:
        """The optimizer, with gradients clipped by their global norm; the losses are part of the graph.

        Args:
            learning_rate: a number or a `keras.optimizers.schedules.LearningRateSchedule`.
            momentum: a number; for SGD.
        """
        with self._strategy.scope():
            optimizer = self._optimizer(learning_rate, momentum)
            if self.config.PRECISION == "float16":
                optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
            optimizer.build(self.keras_model.trainable_variables)
        # On a CPU, TensorFlow is faster without XLA; JAX without it is not compiled at all.
        plain = keras.backend.backend() == "tensorflow" and not _has_accelerator()
        self.keras_model.compile(optimizer=optimizer, jit_compile=False if plain else "auto")

    def _optimizer(self, learning_rate, momentum):
        config = self.config
        shared = {"learning_rate": learning_rate, "global_clipnorm": config.GRADIENT_CLIP_NORM}
        if config.OPTIMIZER == "adamw" or config.WEIGHT_DECAY_BY == "optimizer":
            shared["weight_decay"] = config.WEIGHT_DECAY
        if config.OPTIMIZER == "sgd":
            optimizer = optimizer_class(keras.optimizers.SGD)(momentum=momentum, **shared)
        else:
            optimizer = optimizer_class(keras.optimizers.AdamW)(**shared)
        if "weight_decay" in shared:
            optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        return optimizer

    def train(
        self,
        train_dataset: Dataset,
        val_dataset: Dataset | None,
        learning_rate: float | LearningRateSchedule,
        epochs: int,
        layers: str,
        augmentation: Any = None,
        custom_callbacks: Sequence[keras.callbacks.Callback] | None = None,
        no_augmentation_sources: Iterable[str] | None = None,
        augment: bool = False,
        workers: int = 2,
        seed: int = 0,
    ) -> None:
        """Train, with a checkpoint and a TensorBoard record after every epoch.

        Args:
            train_dataset, val_dataset: prepared `Dataset`s; val_dataset may be None.
            learning_rate: a number, which LEARNING_RATE_SCHEDULE and WARMUP_STEPS change over time, or a
                `keras.optimizers.schedules.LearningRateSchedule`.
            epochs: epoch to stop at, those already done included: training in stages counts on.
            layers: heads, 3+, 4+, 5+, all, or a regular expression of layer names.
            augmentation: imgaug, Albumentations or names as "flip,scale"; see `mrcnn.data.augment.augment`.
            custom_callbacks: more Keras callbacks.
            no_augmentation_sources: sources of images that are not augmented.
            augment: flip half of the images left and right.
            workers: threads that prepare batches.
            seed: of order, augmentation and the choice of anchors and RoIs.

        Raises:
            ValueError: built for inference.
            FloatingPointError: the loss is not finite; the message names the batch's images.
        """
        if self.mode != "training":
            raise ValueError("This model was built for inference; make one with mode='training'.")
        if self.epoch >= epochs:
            print(f"Nothing to train: {self.epoch} of {epochs} epochs are done.")
            return
        config = self.config
        problems = train_dataset.validate(quick=True, verbose=0)
        if problems:
            print(format_problems(problems[:5], len(train_dataset.image_info)))
            print(f"{len(problems)} problems in all; train_dataset.validate() lists them. Training goes on.")
        part = machine()
        generator = DataGenerator(
            train_dataset,
            config,
            augment=augment,
            augmentation=augmentation,
            no_augmentation_sources=no_augmentation_sources,
            steps=config.STEPS_PER_EPOCH,
            epoch=self.epoch,
            seed=seed,
            part=part,
            workers=workers,
        )
        validation = None
        if val_dataset is not None and config.VALIDATION_STEPS:
            validation = DataGenerator(
                val_dataset, config, shuffle=False, steps=config.VALIDATION_STEPS, seed=seed, part=part, workers=workers
            )
            validation.on_epoch_end = lambda: None  # type: ignore[method-assign]  # the same images after every epoch

        self.set_trainable(LAYER_PRESETS.get(layers, layers), verbose=0)
        every = self.get_trainable_layers()
        count = sum(layer.trainable for layer in every)
        if not count:
            raise ValueError(
                f"layers={layers!r} matches no layer; use {', '.join(LAYER_PRESETS)} or a regular expression."
            )
        print(f"Training {count} of {len(every)} layers ({layers}) from epoch {self.epoch} to {epochs}.")
        print(f"Checkpoints: {self.checkpoint_path}")
        scheduled = config.WARMUP_STEPS or config.LEARNING_RATE_SCHEDULE != "constant"
        if scheduled and not callable(learning_rate):
            learning_rate = Schedule(learning_rate, 1, config.LEARNING_RATE_SCHEDULE, config.WARMUP_STEPS)
        self.compile(learning_rate, config.LEARNING_MOMENTUM)
        if self._resume_from:
            restore_optimizer(self.keras_model, self._resume_from)
            self._resume_from = None
        if isinstance(learning_rate, Schedule):
            done = int(self.keras_model.optimizer.iterations.numpy())
            learning_rate.steps = done + (epochs - self.epoch) * len(generator)
        sampler = self.keras_model.get_layer("proposal_targets").seed_generator
        callbacks = [SampleSeed(sampler, seed), StopOnNonFiniteLoss(generator)]
        callbacks += [x for x in custom_callbacks or [] if getattr(x, "adds_logs", False)]
        first = part[0] == 0
        if first:
            os.makedirs(self.log_dir, exist_ok=True)
            callbacks += [Checkpoints(self), *tensorboard(self.log_dir)]
        callbacks += [x for x in custom_callbacks or [] if x not in callbacks]
        self.keras_model.fit(
            generator,
            initial_epoch=self.epoch,
            epochs=epochs,
            validation_data=validation,
            shuffle=False,  # the generator has its own order
            callbacks=callbacks,
            verbose="auto" if first else 0,
        )
        self.epoch = max(self.epoch, epochs)

    # Detection

    def get_anchors(self, image_shape: Sequence[int]) -> np.ndarray:
        """Anchors [1, A, 4] of an image shape, normalised; in pixels they are left in `self.anchors`."""
        key = tuple(image_shape[:2])
        if key not in self._anchors:
            pixels = pyramid_anchors(self.config, image_shape)
            self._anchors[key] = pixels, self._normalize(pixels, image_shape[:2])
        self.anchors, normalized = self._anchors[key]
        return normalized[None]

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

    def _mold(self, image):
        config = self.config
        if config.IMAGE_RESIZE_MODE == "crop":
            raise ValueError("IMAGE_RESIZE_MODE 'crop' is for training; set 'square' or 'rect' to detect.")
        image = images.convert_channels(image, config.IMAGE_CHANNEL_COUNT)
        molded, window, scale, _, _ = images.resize_image(
            image,
            min_dim=config.IMAGE_MIN_DIM,
            min_scale=config.IMAGE_MIN_SCALE,
            max_dim=config.IMAGE_MAX_DIM,
            mode=config.IMAGE_RESIZE_MODE,
        )
        if molded.shape[0] % 64 or molded.shape[1] % 64:
            raise ValueError(
                f"The image is {molded.shape[1]}x{molded.shape[0]} after resizing; the network wants multiples of 64. "
                "Use IMAGE_RESIZE_MODE 'square' or 'rect'."
            )
        active = np.zeros(config.NUM_CLASSES, "int32")
        meta = images.compose_image_meta(0, image.shape, molded.shape, window, scale, active)
        return images.mold(molded, config, window), meta, np.array(window)

    def detect(self, images: Sequence[np.ndarray], verbose: int = 0, rle: bool = False) -> list[dict[str, Any]]:
        """Find the instances in images.

        Args:
            images: list of any number of [h, w, C] arrays of 0..255, of any sizes.
            verbose: 1 prints shapes.
            rle: True gives masks as COCO's run lengths, which need little memory where images are large.

        Returns:
            For each image a dict of rois [n, 4] pixels, int32, or float32 unless MASK_PASTE is "integer"; class_ids [n]
            int32, scores [n] float32; unless USE_MASK is False masks [h, w, n] bool, or a list of n run lengths as of
            `masks.encode_rle`; and with NUM_KEYPOINTS keypoints [n, J, 3] float32 of (x, y, score): pixels, and the
            point's probability in its box, all 0 for classes without keypoints.
        """
        self._need_inference()
        if any(np.issubdtype(np.asarray(image).dtype, np.floating) and np.min(image) < 0 for image in images):
            warnings.warn(
                "An image has negative values, as if mold_image had been applied: detect does that itself. Pass the "
                "image of 0..255, or molded ones to detect_molded.",
                stacklevel=2,
            )
        results: list[Any] = [None] * len(images)
        molded = [self._mold(image) for image in images]
        if verbose:
            log(f"Processing {len(images)} images")
            for image in images:
                log("image", image)
        for members in _batches([image.shape for image, _, _ in molded], self.config.BATCH_SIZE):
            batch, metas, windows = (np.stack(values) for values in zip(*(molded[i] for i in members), strict=True))
            shapes = [np.shape(images[i]) for i in members]
            for i, result in zip(members, self._detect_batch(batch, metas, shapes, windows, rle), strict=True):
                results[i] = result
        return results

    def detect_molded(
        self, molded_images: np.ndarray | Sequence[np.ndarray], image_metas: ArrayLike, verbose: int = 0
    ) -> list[dict[str, Any]]:
        """As `detect`, for images that `mold_inputs` or `load_image_gt` with `mold_image` prepared.

        Boxes and masks are those of the molded image.
        """
        self._need_inference()
        if verbose:
            log(f"Processing {len(molded_images)} images")
            log("molded_images", molded_images)
            log("image_metas", image_metas)
        if not len(molded_images):
            return []
        shape = molded_images[0].shape
        return self._detect_batch(
            np.asarray(molded_images),
            np.asarray(image_metas),
            [shape] * len(molded_images),
            [(0, 0, *shape[:2])] * len(molded_images),
        )

    def _need_inference(self):
        if self.mode != "inference":
            raise ValueError("This model was built for training; make one with mode='inference'.")

    def _detect_batch(self, molded, metas, original_shapes, windows, rle=False):
        anchors = np.repeat(self.get_anchors(molded.shape[1:]), len(molded), axis=0)
        metas = metas.astype("float32")
        detections, *maps = self._detector.predict_on_batch([molded, metas, anchors])
        count = int((detections[..., 4] > 0).sum(axis=1).max())
        slots = min(n for n in (0, *DETECTION_BATCHES, detections.shape[1]) if n >= count)
        flat = {}
        if self._roi_detector is not None:
            flat = {name: np.zeros((0, *x.shape[1:]), "float32") for name, x in self._roi_detector.output.items()}
            if slots:
                flat = self._roi_detector.predict_on_batch([detections[:, :slots, :4], metas, *maps])
        found = {name: x.reshape(len(molded), slots, *x.shape[1:]) for name, x in flat.items()}
        results = []
        for i, (shape, window) in enumerate(zip(original_shapes, windows, strict=True)):
            place = shape, molded.shape[1:], window
            mask = found["mrcnn_mask"][i] if "mrcnn_mask" in found else None
            values = self.unmold_detections(detections[i], mask, *place, rle)
            result = dict(zip(("rois", "class_ids", "scores", "masks"), values, strict=True))
            if mask is None:
                del result["masks"]
            if "mrcnn_keypoint" in found:
                result["keypoints"] = self.unmold_keypoints(detections[i], found["mrcnn_keypoint"][i], *place)
            results.append(result)
        return results

    def unmold_detections(
        self,
        detections: np.ndarray,
        mrcnn_mask: np.ndarray | None,
        original_image_shape: Sequence[int],
        image_shape: Sequence[int],
        window: Sequence[int] | np.ndarray,
        rle: bool = False,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | list[dict[str, Any]] | None]:
        """Detections of one molded image in terms of the original one.

        Args:
            detections: [D, 6] of (y1, x1, y2, x2 normalised, class id, score), zero-padded.
            mrcnn_mask: [at least n, h, w, K] probabilities, or None.
            original_image_shape, image_shape: (H, W, C) before and after molding.
            window: (y1, x1, y2, x2) pixels of the molded image that are image.
            rle: True for masks as run lengths.

        Returns:
            boxes [n, 4] pixels, int32, or float32 unless MASK_PASTE is "integer"; class_ids [n] int32, scores [n]
            float32, masks [H, W, n] bool, or a list of n run lengths, or None.
        """
        kept, rois = self._place(detections, original_image_shape, image_shape, window)
        class_ids = detections[kept, 4].astype("int32")
        full: Any = None
        if mrcnn_mask is not None:
            unmold = masks.unmold_mask_rle if rle else masks.unmold_mask
            full = [
                unmold(mrcnn_mask[i, :, :, k], box, original_image_shape, self.config.MASK_PASTE)
                for i, k, box in zip(kept, class_ids, rois, strict=True)
            ]
            if not rle:
                full = masks.stack_masks(full, *original_image_shape[:2])
        return rois, class_ids, detections[kept, 5], full

    def unmold_keypoints(
        self,
        detections: np.ndarray,
        heatmaps: np.ndarray,
        original_image_shape: Sequence[int],
        image_shape: Sequence[int],
        window: Sequence[int] | np.ndarray,
    ) -> np.ndarray:
        """Keypoints [n, J, 3] float32 of (x, y, score), in pixels of the original image, of the boxes that
        `unmold_detections` gives; heatmaps are [at least n, J, h, w] logits."""
        kept, _ = self._place(detections, original_image_shape, image_shape, window)
        expanded = boxes.expand(detections[:, :4], self.config.KEYPOINT_ROI_EXPAND)
        rois = boxes.to_pixels(expanded, image_shape, self.config.BOX_NORMALIZATION)
        points = np.zeros((len(kept), heatmaps.shape[1], 3), "float32")
        for point, i in zip(points, kept, strict=True):
            if self.config.KEYPOINT_CLASSES is None or detections[i, 4] in self.config.KEYPOINT_CLASSES:
                point[:] = keypoints.restore(
                    keypoints.decode(heatmaps[i], rois[i], self.config.KEYPOINT_DECODE), original_image_shape, window
                )
        return points

    def _place(self, detections, original_image_shape, image_shape, window):
        """Rows of the detections that cover pixels of the original image, and their boxes in its pixels."""
        count, how = int(np.argmin(np.append(detections[:, 4], 0) != 0)), self.config.BOX_NORMALIZATION
        wy1, wx1, wy2, wx2 = boxes.normalize(np.asarray(window), image_shape[:2], how)
        scale = np.array([wy2 - wy1, wx2 - wx1, wy2 - wy1, wx2 - wx1])
        normalized = (detections[:count, :4] - np.array([wy1, wx1, wy1, wx1])) / scale
        if self.config.MASK_PASTE != "integer":
            rois = boxes.to_pixels(normalized, original_image_shape[:2], how).astype("float32")
        else:
            rois = boxes.denormalize(normalized, original_image_shape[:2], how)
        kept = np.nonzero(boxes.area(rois) > 0)[0]
        return kept, rois[kept]

    def fold_batch_norm(self) -> int:
        """Move BatchNorm into the convolution before it, where that has a bias: the same results, less to compute.

        Call it after the weights are loaded; loading others undoes it.

        Returns:
            the number of BatchNorm layers that are gone.

        Raises:
            ValueError: built for training.
        """
        self._need_inference()
        count = sum(layer.fold() for layer in self._batch_norms())
        self._forget_compiled()
        return count

    def _batch_norms(self):
        return [layer for layer in self.get_trainable_layers() if isinstance(layer, BatchNorm)]

    def _forget_compiled(self):
        for graph in (self.keras_model, self._detector, self._roi_detector):
            if graph is not None:
                graph.predict_function = None

    # For notebooks

    def ancestor(self, tensor: Tensor, name: str, checked: Any = None) -> Tensor | None:
        """The tensor of the layer `name` (or of the layer a path begins with) that `tensor` comes from, or None."""
        history = tensor._keras_history
        layer = history.operation
        if layer.name == name or f"{layer.name}/" in f"{name}/":
            return tensor
        for parent in layer._inbound_nodes[history.node_index].input_tensors:
            found = self.ancestor(parent, name)
            if found is not None:
                return found
        return None

    def run_graph(
        self,
        images: np.ndarray | Sequence[np.ndarray],
        outputs: Iterable[tuple[str, Tensor]],
        image_metas: ArrayLike | None = None,
    ) -> dict[str, np.ndarray]:
        """Values of chosen tensors of the inference graph.

        Args:
            images: list of images, or molded images [n, H, W, C] if image_metas are given.
            outputs: list of (name, tensor) pairs; tensors as in `keras_model.get_layer("ROI").output`.
            image_metas: [n, 12 + K].

        Returns:
            dict of name and NumPy array.
        """
        tensors = dict(outputs)
        molded = images
        if image_metas is None:
            molded, image_metas, _ = self.mold_inputs(images)
        anchors = np.repeat(self.get_anchors(molded[0].shape), len(molded), axis=0)
        model = keras.Model(self.keras_model.inputs, tensors)
        values = model.predict_on_batch([np.asarray(molded), np.asarray(image_metas, "float32"), anchors])
        values = {name: values[name] for name in tensors}
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


def _has_accelerator():
    return any(name.startswith(("gpu", "tpu", "cuda")) for name in keras.distribution.list_devices())


def log(text: str, array: ArrayLike | None = None) -> None:
    """Print a text and, for an array, its shape, range and dtype."""
    if array is not None:
        array = np.asarray(array)
        span = f"min: {array.min():10.5f}  max: {array.max():10.5f}" if array.size else "empty"
        text = f"{text:25}  shape: {array.shape!s:20}  {span}  {array.dtype}"
    print(text)
