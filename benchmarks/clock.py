"""Training for a time instead of a number of steps."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager

import keras
import numpy as np

from mrcnn import weights
from mrcnn.models.detectors import build_detector

MEMORY = 0.995  # of the running mean of the weights


class Clock(keras.callbacks.Callback):
    """Learning rate by the time that is left (warm-up, then a cosine), the end, and the running mean of the weights,
    which the model has at the end.

    Args:
        memory: what the mean keeps of itself at every step; 0 for no mean.

    Attributes:
        steps, losses: those done, and (minutes, loss) of each.
    """

    def __init__(self, minutes: float, rate: float, memory: float = MEMORY) -> None:
        super().__init__()
        self.minutes, self.rate, self.memory = minutes, rate, memory
        self.steps, self.total, self.losses = 0, 0.0, []

    def on_train_begin(self, logs=None):
        self.start = time.time()
        self.variables = [v for v in self.model.weights if keras.backend.is_float_dtype(v.dtype)]
        self.mean = self.values() if self.memory else []

    @contextmanager
    def standing(self):
        """What happens meanwhile takes no time."""
        paused = time.time()
        yield
        self.start += time.time() - paused

    def elapsed(self):
        return (time.time() - self.start) / 60

    def on_train_batch_begin(self, batch, logs=None):
        share = min(1.0, self.elapsed() / self.minutes)
        cosine = 0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2
        self.model.optimizer.learning_rate = self.rate * min(1.0, (self.steps + 1) / 50) * cosine

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if self.memory:
            memory = min(self.memory, self.steps / (self.steps + 10))
            for mean, value in zip(self.mean, self.values(), strict=True):
                mean += (1 - memory) * (value - mean)
        total = logs["loss"] * (batch + 1)  # Keras gives the mean of the epoch so far
        self.losses.append((self.elapsed(), total - (self.total if batch else 0)))
        self.total = total
        self.model.stop_training = self.elapsed() >= self.minutes

    def on_train_end(self, logs=None):
        if self.memory:
            self.assign(self.mean)

    def values(self):
        """Copies of all weights."""
        return [np.array(v) for v in self.variables]

    def assign(self, values):
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)

    def loss(self, count=100):
        """The mean of the last losses."""
        return np.mean([x for _, x in self.losses[-count:]])


class Marks(Clock):
    """A clock that stands still at some minutes and at the end, for `evaluate(minute)`."""

    def __init__(self, minutes: float, rate: float, marks=(), memory: float = MEMORY) -> None:
        super().__init__(minutes, rate, memory)
        self.marks = sorted({m for m in marks if m < minutes} | {minutes})

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if self.elapsed() >= self.marks[0]:
            with self.standing():
                self.evaluate(self.marks.pop(0))
        self.model.stop_training = not self.marks


def train_for(minutes, config, dataset, logs, seed=0, start=None):
    """The trained `Detector`, every layer of it, and its `Clock`.

    Args:
        start: weights file to begin with; None for random weights.
    """
    keras.utils.set_random_seed(seed)
    model = build_detector("training", config, logs)
    if start:
        model.load_weights(start, by_name=True)
    clock = Clock(minutes, config.LEARNING_RATE)
    model.train(dataset, None, config.LEARNING_RATE, 10**6, "all", custom_callbacks=[clock], augment=True, seed=seed)
    return model, clock


def detector_of(model, config, logs):
    """A `Detector` for inference with the weights of a model that was trained."""
    detector = build_detector("inference", config, logs)
    weights.copy(model.keras_model, detector.keras_model)
    return detector
