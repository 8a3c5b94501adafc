"""What all models have in common: building, weights, the folder of a run, training."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
from keras.optimizers.schedules import LearningRateSchedule
from typing_extensions import Self

from mrcnn import weights
from mrcnn.data.agreement import check_training
from mrcnn.data.batches import DataGenerator, SameBatches
from mrcnn.data.dataset import Dataset
from mrcnn.data.encoders import Encoder
from mrcnn.data.problems import format_problems
from mrcnn.data.remarks import remarks
from mrcnn.evaluate import Evaluation
from mrcnn.evaluate.during_training import stored_record
from mrcnn.layers.batch_norm import BatchNorm
from mrcnn.models.graph import Compiled, precision
from mrcnn.models.processes import stay_home
from mrcnn.settings import CONFIG, Config
from mrcnn.settings.checks import check_arguments
from mrcnn.train.callbacks import Pace, SampleSeed, StopOnNonFiniteLoss
from mrcnn.train.checkpoints import Checkpoints, restore_optimizer
from mrcnn.train.devices import check_width, machine, strategy
from mrcnn.train.memory import keep_freed_memory
from mrcnn.train.optimizers import jit_compile, make_optimizer
from mrcnn.train.run import Run, claimed, find_last, run_of
from mrcnn.train.schedules import schedule_for
from mrcnn.train.trackers import missing, trackers
from mrcnn.weights.averages import begin_with_weights
from mrcnn.weights.convert import h5_file

# Which layers the presets of train(layers=...) train, as in the original.
LAYER_PRESETS = {
    "heads": r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "3+": r"(res3.*)|(bn3.*)|(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "4+": r"(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "5+": r"(res5.*)|(bn5.*)|(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "all": ".*",
}
# The same stages of VGG.
_BLOCKS = {f"{i}+": rf"|(block[{i}-5]\_.*)" for i in (3, 4, 5)}


class Network:
    """A model: a graph with its losses; what surrounds them is the same for all.

    A system is a subclass that gives `graphs`.

    Args:
        mode: "training" or "inference".
        config: an instance of a `Config` subclass.
        model_dir: folder for training logs and checkpoints.

    Attributes:
        keras_model: the graph.
        config, mode, model_dir: as given.
        log_dir: folder of this run.
        epoch: epochs trained so far.
        record: what the run has learned beside weights, see `Evaluation`; {} for a new one.
        compiled: further graphs that `graphs` gave, as `Compiled` functions.
        layer_presets: which layers the names that `train` knows train.
    """

    layer_presets = {name: layers + _BLOCKS.get(name, "") for name, layers in LAYER_PRESETS.items()}

    def __init__(self, mode: str, config: Config, model_dir: Path | str) -> None:
        if mode not in ("training", "inference"):
            raise ValueError(f"mode is {mode!r}; it must be 'training' or 'inference'.")
        stay_home()
        self.mode = mode
        self.config = config
        self.model_dir = str(model_dir)
        self._resume_from: str | None = None
        self.load_report: weights.LoadReport | None = None
        self.set_log_dir()
        # Only training is split over devices; detection takes one.
        self._strategy = strategy(config.GPU_COUNT if mode == "training" else 1)
        self.keras_model, *steps = self._build(mode, config)
        self.compiled = [graph and Compiled(graph) for graph in steps]

    @classmethod
    def from_pretrained(
        cls, path: Path | str, model_dir: Path | str = "logs", mode: str = "inference", **settings: Any
    ) -> Self:
        """A model with the config and the weights of a folder of `mrcnn.weights.convert`, or of an `.h5` file of a run.

        Args:
            path: the folder, the file, with config.json beside it, or one of torchvision or Detectron2, which is
                converted into model_dir first.
            model_dir, mode: as for the class.
            settings: of the config, in the place of those that were stored.

        Raises:
            FileNotFoundError, ImportError, ValueError: as `convert.convert_file`, `Config.from_json`, `Config.update`
                and `load_weights`.
        """
        path = h5_file(path, model_dir)
        model = cls(mode, Config.from_json(path.parent / CONFIG).update(**settings), model_dir)
        model.load_weights(path)
        return model

    def graphs(self, mode: str, config: Config) -> tuple[keras.Model | None, ...]:
        """The Keras model of `mode`, with its losses if it trains; then, for inference, the graphs that `predict` runs,
        which are found compiled in `self.compiled`. All follows from `config`."""
        raise NotImplementedError

    # Building

    def build(self, mode: str, config: Config) -> keras.Model:
        """The graph of `mode`, from the image to detections or to losses; all of it follows from `config`."""
        return self._build(mode, config)[0]

    def _build(self, mode, config):
        config.validate()
        with self._strategy.scope(), precision(config.PRECISION):
            return self.graphs(mode, config)

    def encoders(self, config: Config) -> list[Encoder]:
        """What a training batch needs beside images and ground truth; here nothing."""
        return []

    # Weights

    def load_weights(self, filepath: Path | str, by_name: bool = False, exclude: Iterable[str] | None = None) -> None:
        """Load an `.h5` file in the original's layout, and print what was and what was not loaded.

        Args:
            filepath: the file; from a checkpoint of this NAME and DETECTOR training goes on at its epoch.
            by_name: True loads what fits and leaves the rest (another NUM_CLASSES leaves the heads); False demands all.
            exclude: names of layers to leave as they are.

        Raises:
            FileNotFoundError, ValueError: see `mrcnn.weights.load` and `mrcnn.weights.imagenet.check`.
        """
        weights.imagenet.check(filepath, self.config)
        folded = [layer for layer in self._batch_norms() if layer.folded]
        for layer in folded:
            layer.folded = False  # an identity until its weights are loaded
        if folded:
            self._forget_compiled()
        seen = weights.Pixels(self.config.MEAN_PIXEL, self.config.PIXEL_STD, self.config.CHANNEL_ORDER)
        strict = not by_name and not exclude
        self.load_report = weights.load(self.keras_model, filepath, exclude or (), strict, seen)
        print(self.load_report)
        if self.mode == "inference" and self.load_report.left:
            warnings.warn(
                f"Random weights, and so meaningless detections, in {weights.some(self.load_report.left)}.",
                stacklevel=2,
            )
        self.set_log_dir(filepath)

    def set_log_dir(self, model_path: Path | str | None = None) -> None:
        """Name this run's folder, `{name}{date}T{time}`; given a checkpoint of this NAME and DETECTOR, take its folder
        and its epoch. `train` makes the folder, with a number behind the time if there is one already."""
        run = run_of(self.model_dir, self.config.NAME, model_path, self.config.DETECTOR)
        self.log_dir, self.checkpoint_path, self.epoch = run
        self._resume_from = str(model_path) if self.epoch else None
        self.record = stored_record(model_path) if self.epoch and model_path else {}

    def save_weights(self, filepath: Path | str) -> None:
        """Write the weights in the original's `.h5` layout, with the run's record in it."""
        weights.write(self.keras_model, filepath, self.mode, self.record)

    def get_imagenet_weights(self) -> str:
        """Path of the ImageNet weights that belong to this backbone, see `mrcnn.weights.imagenet.path`."""
        return weights.imagenet.path(self.config.BACKBONE)

    def find_last(self) -> str:
        """Path of the last checkpoint of the last run of this config's NAME under model_dir.

        Raises:
            FileNotFoundError: there is none.
        """
        return find_last(self.model_dir, self.config.NAME)

    def _batch_norms(self):
        return [layer for layer in self.get_trainable_layers() if isinstance(layer, BatchNorm)]

    def _forget_compiled(self):
        self.keras_model.predict_function = None
        for graph in self.compiled:
            if graph:
                graph.forget()

    def get_trainable_layers(self) -> list[keras.layers.Layer]:
        """Layers that hold weights, those of nested models too."""
        return list(weights.weighted_layers(self.keras_model))

    def find_trainable_layer(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        """The layer itself; layers are not wrapped any more."""
        return layer

    # Training

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
        config = self.config
        decays = config.OPTIMIZER == "adamw" or config.WEIGHT_DECAY_BY == "optimizer"
        with self._strategy.scope():
            optimizer = make_optimizer(
                config.OPTIMIZER,
                learning_rate,
                momentum,
                config.GRADIENT_CLIP_NORM,
                config.WEIGHT_DECAY if decays else None,
                config.PRECISION == "float16",
                config.EMA_MOMENTUM,
                config.GRADIENT_ACCUMULATION,
            )
            optimizer.build(self.keras_model.trainable_variables)
            if config.EMA_MOMENTUM:
                begin_with_weights(optimizer)
        self.keras_model.compile(optimizer=optimizer, jit_compile=jit_compile())

    @check_arguments
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
            learning_rate: a number, to which LEARNING_RATE_SCHEDULE and WARMUP_STEPS apply, or a Keras schedule.
            epochs: epoch to stop at, those already done included: training in stages counts on.
            layers: heads, 3+, 4+, 5+, all, or a regular expression of layer names.
            augmentation: imgaug, Albumentations or names as "flip,scale"; see `mrcnn.data.augment.augment`.
            custom_callbacks: more Keras callbacks.
            no_augmentation_sources: sources of images that are not augmented.
            augment: flip half of the images left and right.
            workers, seed: threads that prepare batches; seed of order, augmentation, and choice of anchors and RoIs.

        Raises:
            ValueError: built for inference, an impossible number, `layers` match none, or as `mrcnn.data.agreement`.
            OSError: another process trains in the run's folder, or it cannot be written.
            FloatingPointError: the loss is not finite; the message names the batch's images.
        """
        self._need("training")
        if self.epoch >= epochs:
            return print(f"Nothing to train: {self.epoch} of {epochs} epochs are done.")
        _check_sets(self.config, train_dataset, val_dataset, custom_callbacks or ())
        self._choose_layers(layers, epochs)
        start, shared = self.epoch, self._shared(seed, workers)
        generator = DataGenerator(
            train_dataset,
            self.config,
            augment=augment,
            augmentation=augmentation,
            no_augmentation_sources=no_augmentation_sources,
            steps=self.config.STEPS_PER_EPOCH,
            epoch=start,
            **shared,
        )
        self._go_on(learning_rate, (epochs - start) * len(generator))
        with self._folder():
            history = self.keras_model.fit(
                generator,
                initial_epoch=start,
                epochs=epochs,
                validation_data=self._validation(val_dataset, shared),
                shuffle=False,  # the generator has its own order
                callbacks=self._callbacks(generator, custom_callbacks or [], seed),
                verbose="auto" if machine()[0] == 0 else 0,
            )
            self.epoch = start + len(history.epoch)

    def _shared(self, seed: int, workers: int) -> dict[str, Any]:
        return {"seed": seed, "part": machine(), "workers": workers, "encoders": self.encoders(self.config)}

    def _validation(self, dataset, shared):
        steps = self.config.VALIDATION_STEPS
        if dataset is None or steps == 0:
            return None
        return SameBatches(dataset, self.config, shuffle=False, steps=steps, **shared)

    def _choose_layers(self, layers, epochs):
        self.set_trainable(self.layer_presets.get(layers, layers), verbose=0)
        every = self.get_trainable_layers()
        count = sum(layer.trainable for layer in every)
        if not count:
            raise ValueError(
                f"layers={layers!r} matches no layer; use {', '.join(LAYER_PRESETS)} or a regular expression."
            )
        print(f"Training {count} of {len(every)} layers ({layers}) from epoch {self.epoch} to {epochs}.")

    @contextlib.contextmanager
    def _folder(self):
        """What a training has as long as it runs: freed memory, and a folder, of several machines the first one."""
        keep_freed_memory()
        if machine()[0] != 0:
            yield
            return
        with claimed(Run(self.log_dir, self.checkpoint_path, self.epoch), self.config.NAME) as run:
            self.log_dir, self.checkpoint_path, _ = run
            print(f"Checkpoints: {self.checkpoint_path}")
            yield

    def _go_on(self, learning_rate, steps):
        """Compile for so many more steps, with the optimizer's state of the checkpoint that was loaded."""
        config = self.config

        def rate(done):
            warmup = config.WARMUP_STEPS * config.GRADIENT_ACCUMULATION
            return schedule_for(learning_rate, config.LEARNING_RATE_SCHEDULE, warmup, done, steps)

        self.compile(rate(0), config.LEARNING_MOMENTUM)
        if self._resume_from:
            done = restore_optimizer(self.keras_model, self._resume_from)
            self.keras_model.optimizer.learning_rate = rate(done)
            self._resume_from = None

    def _callbacks(self, generator, custom, seed):
        samplers = [x.seed_generator for x in self.keras_model.layers if hasattr(x, "seed_generator")]
        callbacks = [*(SampleSeed(sampler, seed) for sampler in samplers), StopOnNonFiniteLoss(generator)]
        callbacks += [x for x in custom if getattr(x, "adds_logs", False)]
        if machine()[0] == 0:
            callbacks += [Checkpoints(self), *trackers(self.log_dir, self.config)]
        pace = Pace(self.config.BATCH_SIZE)  # the last, as what it adds is for the bar alone
        return [*callbacks, *(x for x in custom if x not in callbacks), pace]

    def _need(self, mode):
        stay_home()
        if self.mode != mode:
            raise ValueError(f"This model was built for {self.mode}; make one with mode={mode!r}.")


def _check_sets(config, train_dataset, val_dataset, callbacks):
    """Refuse sets that do not fit, and a network that must not be trained here; print what is wrong with the first set,
    and note its classes in the config."""
    check_width(config.BACKBONE_WIDTH)
    missing(config)  # before there is a folder of the run
    held_out = [val_dataset, *(x.dataset for x in callbacks if isinstance(x, Evaluation))]
    check_training(config, train_dataset, [dataset for dataset in held_out if dataset is not None])
    problems = train_dataset.validate(quick=True, verbose=0)
    if problems:
        print(format_problems(problems, len(train_dataset.image_info), each=2))
        print("train_dataset.validate() lists them all. Training goes on without what is left out.")
    for remark in remarks(train_dataset, config):
        print(remark)
    config.CLASS_NAMES = list(train_dataset.class_names)
