"""Callbacks beside the steps: the loss is looked at without waiting for it, and a broken one ends the training."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.train.callbacks import Pace, StopOnNonFiniteLoss
from mrcnn.train.checkpoints import Checkpoints
from mrcnn.train.trackers import trackers

pytestmark = pytest.mark.graph


class Generator:
    """Batch k of epoch n has the images 100 n + 2 k and the next one."""

    epoch = 0

    def image_ids(self, index):
        return np.arange(2) + 100 * self.epoch + 2 * index


class Later:
    """A loss that is known once it is set; turning it into a number waits for that, as for a step on a device."""

    def __init__(self):
        self.known = threading.Event()

    def set(self, value):
        self.value = value
        self.known.set()

    def __float__(self):
        assert self.known.wait(20)
        return self.value


class Tracked(Config):
    TRACKERS = "tensorboard", "csv"


def model_of(weight=1.0):
    return SimpleNamespace(weights=[keras.Variable([weight], name="scale")], stop_training=False)


@pytest.fixture
def callbacks(tmp_path, monkeypatch):
    """What `train` adds, as `fit` calls it where the backend may be used from threads."""
    monkeypatch.setattr("keras.src.callbacks.callback_list.backend.IS_THREAD_SAFE", True)
    model = model_of()
    trained = SimpleNamespace(checkpoint_path=str(tmp_path / "{epoch}"))
    parts = [StopOnNonFiniteLoss(Generator()), Pace(2), *trackers(tmp_path, Tracked()), Checkpoints(trained)]
    parts[-1].on_epoch_end = lambda epoch, logs: pytest.fail("a checkpoint was written")
    assert len(parts) == 5
    calls = keras.callbacks.CallbackList([parts[0], parts[-1]])  # TensorBoard wants a whole model
    monkeypatch.setattr(parts[2], "set_model", lambda model: None)
    assert keras.callbacks.CallbackList(parts)._async_train and calls._async_train
    calls.set_model(model)
    calls.on_train_begin()
    calls.on_epoch_begin(0)
    yield calls
    calls._executor.shutdown()


def step(calls, batch, loss):
    calls.on_train_batch_begin(batch)
    calls.on_train_batch_end(batch, {"loss": loss})


def test_steps_begin_before_the_last_losses_are_known(callbacks):
    losses = [Later() for _ in range(5)]
    for batch in range(3):
        step(callbacks, batch, losses[batch])
    with ThreadPoolExecutor() as pool:
        fourth = pool.submit(step, callbacks, 3, losses[3])
        # Three steps are under way: the next one waits, for one loss and no more.
        with pytest.raises(TimeoutError):
            fourth.result(0.2)
        losses[1].set(1.0)
        fourth.result(20)
    for loss in losses:
        loss.set(1.0)
    step(callbacks, 4, losses[4])
    callbacks._flush_futures()


def test_the_first_broken_step_is_named_whatever_comes_first(callbacks):
    losses = [Later() for _ in range(3)]
    for batch in range(3):
        step(callbacks, batch, losses[batch])
    losses[2].set(np.nan)
    threading.Timer(0.1, losses[1].set, [np.inf]).start()
    threading.Timer(0.2, losses[0].set, [1.0]).start()
    with pytest.raises(FloatingPointError, match=r"^The loss is inf at step 1 with images \[2, 3\]: check their boxes"):
        callbacks.on_train_batch_begin(3)


def test_a_broken_last_step_leaves_no_checkpoint(callbacks):
    step(callbacks, 0, 1.0)
    step(callbacks, 1, np.nan)
    callbacks.callbacks[0].generator.epoch = 1  # as `fit` does before it calls on_epoch_end
    with pytest.raises(FloatingPointError, match=r"The loss is nan at step 1 with images \[2, 3\]"):
        callbacks.on_epoch_end(0, {"loss": np.nan})


def test_broken_weights_leave_no_checkpoint(callbacks):
    """The last step's gradient broke them, and no loss has shown it."""
    step(callbacks, 0, 1.0)
    step(callbacks, 1, 1.0)
    callbacks.callbacks[0].set_model(model_of(np.nan))
    with pytest.raises(
        FloatingPointError, match=r"^scale is not finite \(1 weights\) after step 1 with images \[2, 3\]"
    ):
        callbacks.on_epoch_end(0, {"loss": 1.0})


def test_an_error_of_another_callback_does_not_hang(callbacks, monkeypatch):
    """It comes before, so that the loss never arrives; Keras raises it with the next step."""

    class Broken(keras.callbacks.Callback):
        async_safe = True

        def on_train_batch_end(self, batch, logs=None):
            raise KeyError("its own error")

    monkeypatch.setattr(StopOnNonFiniteLoss, "PATIENCE", 0.01)
    callbacks.callbacks.insert(0, Broken())
    with pytest.raises(KeyError, match="its own error"):
        for batch in range(10):
            step(callbacks, batch, 1.0)


def test_memory_of_long_epochs_is_flat():
    stop = StopOnNonFiniteLoss(Generator())
    stop.set_model(model_of())
    for batch in range(1000):
        stop.on_train_batch_begin(batch)
        stop.on_train_batch_end(batch, {"loss": 1.0})
    assert not stop._waiting and not stop._broken
    stop.on_epoch_end(0, {"loss": 1.0})
