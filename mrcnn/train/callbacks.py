"""What goes on beside the gradient steps: seeds, the progress bar's numbers, stopping on a broken loss.

Keras dispatches callbacks asynchronously (on JAX and PyTorch; on TensorFlow never): the next step is under way while
the losses of the last one come. One callback that reads batches and does not say `async_safe` ends that for all of
them, and the device waits for the host in every step. So what `train` adds says it; a callback of the user's own that
has `on_train_batch_end` should say it too, if it may run in a thread.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol

import keras
import numpy as np

from mrcnn.weights.averages import batches_seen


class Batches(Protocol):
    """What knows the images of a batch: a `DataGenerator`."""

    def image_ids(self, index: int) -> Sequence[int]: ...


class SampleSeed(keras.callbacks.Callback):
    """Makes the choice of RoIs follow from the seed and the step, so that a resumed run draws what it would have drawn.

    Args:
        generator: the `keras.random.SeedGenerator` of the choice.
        seed: any whole number.
    """

    def __init__(self, generator: keras.random.SeedGenerator, seed: int) -> None:
        super().__init__()
        self.generator, self.seed = generator, seed

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.generator.state.assign(np.array([self.seed, batches_seen(self.model)], self.generator.state.dtype))


class Pace(keras.callbacks.Callback):
    """Puts how fast a training is into the progress bar: images a second in this epoch, minutes to the end of the
    training, the process's memory in GB.

    Args:
        images: of a step.
    """

    async_safe = True

    def __init__(self, images: int) -> None:
        super().__init__()
        self.images = images

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch = epoch
        self.start: tuple[int, float] | None = None

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self.start is None:  # the first step compiles
            self.start = batch, time.time()
            return
        seconds = (time.time() - self.start[1]) / (batch - self.start[0])
        if logs is None or seconds <= 0:
            return
        left = (self.params["epochs"] - self.epoch) * self.params["steps"] - batch - 1
        logs.update(images_s=self.images / seconds, minutes_left=left * seconds / 60, memory_GB=memory() / 1e9)


def memory() -> int:
    """Bytes of main memory that this process holds; 0 where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Ends training when the loss is not finite, or a weight after an epoch: no checkpoint holds such weights.

    A loss is known when its step has run, and waiting for it would leave the device without work. So losses come when
    they come, perhaps from threads and out of order, and are looked at before a later step begins and at the epoch's
    end, which is before `Checkpoints` where that comes later in the list. At most `AHEAD` steps whose loss is unknown
    are under way beside the one that begins, so that few batches are in memory.

    Args:
        generator: the `DataGenerator`, which knows the batch's images.

    Raises:
        FloatingPointError: from `fit`; it names the first step that is to blame, and its images.
    """

    async_safe = True
    AHEAD = 2
    PATIENCE = 60  # seconds; after the error of a callback before this one, which the next step raises, no loss comes

    def __init__(self, generator: Batches) -> None:
        super().__init__()
        self.generator = generator
        self._known = threading.Condition()
        self._waiting: dict[int, list[int]] = {}  # steps whose loss is unknown, and their images
        self._broken: dict[int, str] = {}  # steps with a broken loss, and what is to say
        self._last: tuple[int, list[int]] = (-1, [])

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._check(self.AHEAD)
        # Asked now, because the generator goes on to the next epoch before the last losses are known.
        self._waiting[batch] = [int(i) for i in self.generator.image_ids(batch)]

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        with self._known:
            images = self._waiting.pop(batch, [])
            self._last = max(self._last, (batch, images))
            if logs and not np.isfinite(logs["loss"]):
                self._broken[batch] = f"The loss is {logs['loss']} at step {batch} with images {images}"
            self._known.notify()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._check(0)
        (batch, images), self._last = self._last, (-1, [])
        broken = [v.path for v in self.model.weights if not np.isfinite(v.numpy()).all()]
        if broken:
            self._stop(f"{broken[0]} is not finite ({len(broken)} weights) after step {batch} with images {images}")

    def _check(self, ahead):
        """Wait until no more than so many losses are unknown, then raise if any is broken."""
        with self._known:
            self._known.wait_for(lambda: len(self._waiting) <= (0 if self._broken else ahead), self.PATIENCE)
            if self._broken:
                self._stop(self._broken[min(self._broken)])

    def _stop(self, what):
        raise FloatingPointError(f"{what}: check their boxes and masks, or lower the learning rate.")
