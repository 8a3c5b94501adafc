"""Four-step alternating training (Ren et al. 2015, section 3.2): RPN and detector in turn, then on a shared network."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras.optimizers.schedules import LearningRateSchedule
from tqdm.auto import tqdm

from mrcnn import weights
from mrcnn.data.bad_images import BadImages
from mrcnn.data.dataset import Dataset
from mrcnn.data.proposals import WithProposals
from mrcnn.models.fast_rcnn import FastRCNN
from mrcnn.models.faster_rcnn import FasterRCNN
from mrcnn.settings import Config
from mrcnn.settings.checks import LOSSES


def train_four_step(
    model: FasterRCNN,
    train_dataset: Dataset,
    val_dataset: Dataset | None,
    learning_rate: float | LearningRateSchedule,
    epochs: int,
    **options: Any,
) -> None:
    """Train a Faster R-CNN in four steps, each of so many epochs.

    1. An RPN alone, from the model's weights.
    2. A Fast R-CNN on its proposals, from the model's weights as well: the two share nothing yet.
    3. The RPN of the model, on the network of the Fast R-CNN, which stays as it is.
    4. The box head of the Fast R-CNN, on the proposals of the model, while their network stays as it is.

    The steps 1 and 2 have runs of their own, NAME with -rpn and -detector behind. What comes of it all is the last
    checkpoint of the model's run. After an interruption it begins anew.

    Args:
        model: built for training.
        train_dataset, val_dataset, learning_rate, epochs, options: as of `Network.train`.

    Raises:
        ValueError: the model goes on with a run.
    """
    if model.epoch:
        raise ValueError("Training in four steps begins anew; give it no checkpoint of a run to go on with.")
    config, folder = model.config, model.model_dir
    print("Step 1 of 4: an RPN")
    proposer = FasterRCNN("training", _changed(config, "rpn", LOSS_WEIGHTS=_without_head(config)), folder)
    weights.copy(model.keras_model, proposer.keras_model)
    proposer.train(train_dataset, val_dataset, learning_rate, epochs, r"(?!mrcnn_).*", **options)

    print("Step 2 of 4: a detector on its proposals")
    sets = [_with_proposals(proposer, dataset) for dataset in (train_dataset, val_dataset)]
    detector = FastRCNN("training", _changed(config, "detector"), folder)
    weights.copy(model.keras_model, detector.keras_model)
    detector.train(*sets, learning_rate, epochs, "all", **options)

    print("Step 3 of 4: an RPN on the detector's network")
    weights.load(model.keras_model, detector.find_last())
    model.train(train_dataset, val_dataset, learning_rate, epochs, r"rpn_.*", **options)

    print("Step 4 of 4: the detector's head on these proposals")
    sets = [_with_proposals(model, dataset) for dataset in (train_dataset, val_dataset)]
    detector.train(*sets, learning_rate, 2 * epochs, r"mrcnn_.*", **options)
    weights.load(model.keras_model, detector.find_last())
    model.save_weights(model.checkpoint_path.format(epoch=model.epoch))


def _changed(config: Config, part: str, **settings: Any) -> Config:
    """A config like this one, for another run."""
    return type(config).from_dict({**config.to_dict(), "NAME": f"{config.NAME or 'mrcnn'}-{part}", **settings})


def _without_head(config):
    return {**config.LOSS_WEIGHTS, **{name: 0.0 for name in LOSSES if name.startswith("mrcnn_")}}


def _with_proposals(model, dataset):
    """A data set with what the RPN of a model that trains proposes in its images."""
    if dataset is None:
        return None
    count = model.config.POST_NMS_ROIS_TRAINING
    detector = FasterRCNN("inference", _changed(model.config, "rpn", POST_NMS_ROIS_INFERENCE=count), model.model_dir)
    weights.copy(model.keras_model, detector.keras_model)
    found: dict[int, np.ndarray] = {}
    bad = BadImages(dataset, "No proposals for image {}")
    for image_id in tqdm(dataset.image_ids, desc="Proposals", unit="image"):
        try:
            image = dataset.load_image(image_id)
        except Exception as error:  # whatever a broken file or a user's class raises
            bad.add(image_id, error)
        else:
            bad.good()
            (found[int(image_id)],) = detector.regions([image])
    return WithProposals(dataset, found)
