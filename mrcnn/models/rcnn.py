"""R-CNN (Girshick et al. 2014) as in its figure 1: proposals, warped crops, a network's features, linear SVMs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from tqdm.auto import tqdm

from mrcnn import losses
from mrcnn.data.agreement import check_training
from mrcnn.data.bad_images import BadImages
from mrcnn.data.batches import BAD_SHARE
from mrcnn.data.dataset import Dataset
from mrcnn.data.resizing import mold
from mrcnn.data.samples import load_sample
from mrcnn.evaluate import Evaluation
from mrcnn.layers.linear_models import BoxRegression, ClassSvms
from mrcnn.layers.roi_head import Unflatten
from mrcnn.layers.warp import WarpRegions
from mrcnn.models import parts
from mrcnn.models.detector import Found
from mrcnn.models.fast_rcnn import FastRCNN
from mrcnn.ops import boxes
from mrcnn.ops.boxes import Tensor
from mrcnn.ops.meta import parse_image_meta
from mrcnn.settings import CONFIG, Config
from mrcnn.train.devices import machine
from mrcnn.train.linear_models import LinearModels, Regions

# Crops that go through the backbone at once.
PIECE = 64


class RCNN(FastRCNN):
    """R-CNN: each region is an image of its own to the backbone, whose features linear models judge.

    The backbone learns to tell K classes of crops apart. On its features, the means of C5, `train` then fits an SVM and
    a regression of boxes for each class; they are weights of the network like others, and in its files. Regions come as
    in `FastRCNN`, and so do the inputs and outputs of `keras_model`, which takes all regions at once; `detect` takes
    `PIECE` of them.
    """

    name = "rcnn"

    def graphs(self, mode: str, config: Config) -> tuple[keras.Model | None, ...]:
        """The graph; then of its layers what describes regions, any number of them, and what detects by features."""
        whole, *_ = super().graphs(mode, config)
        assert whole is not None
        warp, described = whole.get_layer("rcnn_warp"), whole.get_layer("rcnn_regions")
        image = keras.Input((None, None, config.IMAGE_CHANNEL_COUNT))
        regions = [image, keras.Input((4,)), keras.Input((), dtype="int32")]
        backbone = keras.Model(warp.output, whole.get_layer("rcnn_features").output)
        describe = keras.Model(regions, backbone(warp(regions)))
        if mode == "training":
            return whole, describe
        _, meta, rois = whole.inputs
        return whole, describe, keras.Model([described.output, meta, rois], whole.outputs[0])

    def maps(self, config: Config, image: Tensor) -> list[Tensor]:
        return [image]

    def find(self, config: Config, rois: Tensor, levels: list[Tensor], meta: Tensor) -> dict[str, Tensor]:
        found = self._classified(config, rois, levels)
        detections = parts.detection_layer(config)([rois, found["mrcnn_class"], found["mrcnn_bbox"], meta])
        return {**found, "detections": detections}

    def learn(
        self,
        config: Config,
        sampled: parts.SampledRois,
        truth: dict[str, Tensor],
        levels: list[Tensor],
        meta: Tensor,
    ) -> dict[str, Tensor]:
        return {**sampled.outputs(), **self._classified(config, sampled.rois, levels)}

    def _classified(self, config, rois, levels):
        """What is said of the regions by their features: the softmax learns, the SVMs and the ridge detect."""
        (image,) = levels
        warp = WarpRegions(config.RCNN_CROP_SIZE, config.RCNN_CONTEXT, config.BOX_NORMALIZATION, name="rcnn_warp")
        *_, last = parts.backbone(config, warp([image, rois]))
        pooled = layers.GlobalAveragePooling2D(name="rcnn_features", dtype="float32")(last)
        features = Unflatten(name="rcnn_regions")([pooled, rois])
        logits = layers.Dense(config.NUM_CLASSES, name="mrcnn_class_logits", dtype="float32")(features)
        softmax = layers.Activation("softmax", name="mrcnn_class", dtype="float32")(logits)
        return {
            "mrcnn_class_logits": logits,
            "mrcnn_class": ClassSvms(config.NUM_CLASSES, name="mrcnn_svm")([features, softmax]),
            "mrcnn_bbox": BoxRegression(config.NUM_CLASSES, name="mrcnn_ridge")(features),
        }

    def criterion(self, config: Config) -> tuple[Any, dict[str, Any], list[str]]:
        return rcnn_losses, {}, ["mrcnn_class"]

    def predict(self, molded: np.ndarray, metas: np.ndarray, *given: np.ndarray) -> Found:
        if not self.fitted:
            warnings.warn(
                "The SVMs of this R-CNN are not fitted: its scores are those of the softmax, its boxes the proposals. "
                "`train` fits them after the last epoch.",
                stacklevel=2,
            )
        _, _, rois = self.inputs(molded, metas, *given)
        _, detect = self.compiled
        return {"detections": ops.convert_to_numpy(detect([self.features(molded, rois), metas, rois]))}

    def steps(self) -> tuple[keras.Model, keras.Model | None]:
        """The whole graph up to the detections: it takes all regions at once."""
        return keras.Model(self.keras_model.inputs, self.keras_model.outputs[0]), None

    def features(self, molded: np.ndarray, rois: np.ndarray) -> np.ndarray:
        """Features of regions, a piece of them at a time.

        Args:
            molded: [B, H, W, C] float32.
            rois: [B, N, 4] normalised; rows of zeros are padding.

        Returns:
            [B, N, F] float32; 0 of padding.
        """
        describe, image, real = self.compiled[0], ops.convert_to_tensor(molded), rois.any(axis=-1)
        index, count = np.nonzero(real)[0].astype("int32"), int(np.count_nonzero(real))
        spare = -count % PIECE
        regions, index = np.pad(rois[real], ((0, spare), (0, 0))), np.pad(index, (0, spare))
        found = np.zeros((*real.shape, self._svms.kernel.shape[0]), "float32")
        if count:
            starts = range(0, count, PIECE)
            pieces = [describe([image, regions[i : i + PIECE], index[i : i + PIECE]]) for i in starts]
            found[real] = np.concatenate([ops.convert_to_numpy(piece) for piece in pieces])[:count]
        return found

    # The linear models

    @property
    def _svms(self):
        return self.keras_model.get_layer("mrcnn_svm")

    @property
    def fitted(self) -> bool:
        """Whether there are SVMs: they are zero until they are fitted, and again once the backbone trains on."""
        return bool(np.any(self._svms.kernel.numpy()))

    def train(
        self,
        train_dataset: Dataset,
        val_dataset: Dataset | None,
        learning_rate: Any,
        epochs: int,
        layers: str,
        augmentation: Any = None,
        custom_callbacks: Sequence[keras.callbacks.Callback] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """As `Network.train`; after the last epoch SVMs and boxes are fitted (`fit`), and the last checkpoint is
        written again, with them. After an interruption in between, the next call fits them.

        Raises:
            ValueError: `Evaluation` is among the callbacks, as there are no SVMs before the end; several machines train
                together; and see `Network`.
        """
        self._need("training")
        if machine()[1] > 1:
            raise ValueError("An R-CNN trains on one machine, as its SVMs are fitted on one.")
        if any(isinstance(callback, Evaluation) for callback in custom_callbacks or ()):
            raise ValueError("An R-CNN has no SVMs before training ends: evaluate it afterwards, without Evaluation.")
        if self.fitted and self.epoch >= epochs:
            return print(f"Nothing to train: {self.epoch} of {epochs} epochs are done.")
        if self.epoch < epochs:
            self._set_linear_models(np.zeros(weight.shape) for weight in self._linear_models())
            given = train_dataset, val_dataset, learning_rate, epochs, layers, augmentation, custom_callbacks
            super().train(*given, *args, **kwargs)
        self.fit(train_dataset)

    def fit(self, dataset: Dataset) -> None:
        """Fit the SVMs and the boxes to a data set, image by image, and write the run's last checkpoint with them.

        Positives of a class are its ground truth boxes, negatives the proposals with little of it, of which those that
        are hard are kept; see `mrcnn.train.linear_models`.
        """
        config = self.config
        check_training(config, dataset, [])
        models = LinearModels(config.NUM_CLASSES, self._svms.kernel.shape[0], config.BBOX_STD_DEV)
        with self._folder():
            for regions in self._regions(dataset):
                models.add(regions)
            (kernel, bias), (box_kernel, box_bias) = models.fit()
            self._set_linear_models([kernel, bias, box_kernel, box_bias])
            config.to_json(Path(self.log_dir) / CONFIG)
            self.save_weights(self.checkpoint_path.format(epoch=self.epoch))

    def _linear_models(self):
        return [*self._svms.weights, *self.keras_model.get_layer("mrcnn_ridge").weights]

    def _set_linear_models(self, values):
        for weight, value in zip(self._linear_models(), values, strict=True):
            weight.assign(value)

    def _regions(self, dataset: Dataset) -> Iterator[Regions]:
        """The regions of every image that can be used. All of its instances are among them: a proposal on one that was
        left out would be a hard negative."""
        config, bad = self.config, BadImages(dataset, "No examples of image {}", BAD_SHARE)
        for image_id in tqdm(dataset.image_ids, desc="Features", unit="image"):
            try:
                sample = load_sample(dataset, config, image_id, rng=np.random.default_rng(image_id))
            except Exception as error:  # whatever a broken file or a user's class raises
                bad.add(image_id, error)
                continue
            bad.good()
            pixels = np.concatenate([sample.boxes, sample.proposals[: config.POST_NMS_ROIS_TRAINING]])
            rois = boxes.normalize(pixels, sample.image.shape[:2], config.BOX_NORMALIZATION).astype("float32")
            (features,) = self.features(mold(sample.image, config, inside=sample.inside)[None], rois[None])
            yield Regions(features, rois, sample.class_ids, parse_image_meta(sample.meta)["active_class_ids"])


@keras.saving.register_keras_serializable("mrcnn")
def rcnn_losses(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The loss of fine-tuning (section 2.3 of the paper), of the outputs of the training graph: a softmax over all
    classes and the background, where a region stands for the instance that it has an IoU of 0.5 with."""
    y = outputs
    loss = losses.class_loss(y["target_class_ids"], y["mrcnn_class_logits"], y["active_class_ids"])
    return {"mrcnn_class_loss": loss}
