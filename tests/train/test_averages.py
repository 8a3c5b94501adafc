"""Averages of weights and accumulated gradients, by hand: one weight, whose gradient is what the test gives."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.models.network import Network
from mrcnn.train import optimizers
from mrcnn.train.callbacks import SampleSeed
from mrcnn.train.checkpoints import Checkpoints, restore_optimizer
from mrcnn.train.optimizers import make_optimizer
from mrcnn.train.schedules import Schedule
from mrcnn.weights import averaged
from mrcnn.weights.averages import begin_with_weights


def one_weight(**options):
    """A compiled model of one weight, which is 0; each step of SGD takes the gradient off it."""
    image = keras.Input((1,))
    model = keras.Model(image, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="w")(image))
    with_rate = {"learning_rate": 1.0, **options}
    model.compile(make_optimizer("sgd", momentum=0.0, **with_rate), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def step(model, gradient):
    model.optimizer.apply([keras.ops.convert_to_tensor([[gradient]], "float32")])
    return weight(model)


def weight(model):
    return float(model.get_layer("w").get_weights()[0][0, 0])


def by_hand(momentum, *weights):
    """The average of the weights after each batch: at batch t, from 0 on, min(momentum, t / (t + 10)) of it is kept."""
    average = 0.0
    for t, value in enumerate(weights):
        kept = min(momentum, t / (t + 10))
        average = kept * average + (1 - kept) * value
    return pytest.approx(average, rel=1e-6)


def test_averages_of_weights():
    """The first step as it is, 1/11 of the average at the second one, then 0.1, which is less than 2/12."""
    model = one_weight(ema_momentum=0.1)
    assert [step(model, 1.0) for _ in range(3)] == [-1, -2, -3]
    with averaged(model):
        assert weight(model) == pytest.approx(0.1 * (-1 / 11 - 2 * 10 / 11) + 0.9 * -3, rel=1e-6)
    assert weight(model) == -3
    with pytest.raises(RuntimeError), averaged(model):
        raise RuntimeError
    assert weight(model) == -3


def test_averages_are_the_weights_before_there_is_a_step():
    """As after a scaled loss that overflowed; 0 is what Keras has."""
    model = one_weight(ema_momentum=0.5)
    model.get_layer("w").set_weights([np.array([[7.0]])])
    begin_with_weights(model.optimizer)
    with averaged(model):
        assert weight(model) == 7
    assert step(model, 1.0) == 6
    with averaged(model):
        assert weight(model) == 6


def test_without_averages_nothing_changes():
    model = one_weight()
    step(model, 1.0)
    with averaged(model):
        assert weight(model) == -1


def test_a_checkpoint_has_averages_and_goes_on_with_the_weights(tmp_path):
    model, saved = one_weight(ema_momentum=0.5), []
    for _ in range(3):
        step(model, 1.0)
    path = str(tmp_path / "mrcnn_{epoch:04d}.h5")
    trained = SimpleNamespace(checkpoint_path=path, epoch=0, config=Config())
    trained.save_weights = lambda path: saved.append(weight(model))
    callback = Checkpoints(trained)
    callback.set_model(model)
    callback.on_epoch_end(0)
    assert saved == [by_hand(0.5, -1, -2, -3)] and weight(model) == -3

    other = one_weight(ema_momentum=0.5)
    other.get_layer("w").set_weights([np.array([saved])])
    restore_optimizer(other, tmp_path / "mrcnn_0001.h5")
    assert weight(other) == -3 and step(other, 1.0) == -4
    with averaged(other):
        assert weight(other) == by_hand(0.5, -1, -2, -3, -4)


def test_a_step_of_the_mean_gradient_of_two_batches():
    model = one_weight(accumulation=2)
    assert [step(model, gradient) for gradient in (1.0, 3.0, 5.0, 1.0)] == [0, -2, -2, -5]


def test_tensorflow_accumulates_on_one_device(monkeypatch):
    monkeypatch.setattr(optimizers, "replicas", lambda: 2)
    with pytest.raises(ValueError, match="GRADIENT_ACCUMULATION is 8; on 2 devices TensorFlow takes 1 alone"):
        optimizers.make_optimizer("sgd", 0.1, accumulation=8)


def test_gradients_are_clipped_when_they_are_one():
    """The mean of 1 and 7 is clipped to 2; each by itself would be 1 and 2."""
    model = one_weight(accumulation=2, clip_norm=2.0)
    step(model, 1.0)
    assert step(model, 7.0) == -2


def test_a_schedule_counts_batches(tmp_path):
    """It falls over 8 batches, 4 steps, of which the second is taken with the fourth batch."""
    schedule = Schedule(1.0, 8, "cosine")
    model = one_weight(accumulation=2, learning_rate=schedule)
    rates = [step(model, 1.0) for _ in range(4)][1::2]
    expected = [0.5 * (1 + np.cos(np.pi * done / 8)) for done in (1, 3)]
    np.testing.assert_allclose(np.diff([0, *rates]), np.negative(expected), rtol=1e-6)
    callback = Checkpoints(SimpleNamespace(checkpoint_path=str(tmp_path / "{epoch}.h5"), epoch=0, config=Config()))
    callback.trained.save_weights = lambda path: None
    callback.set_model(model)
    callback.on_epoch_end(0)
    assert restore_optimizer(one_weight(accumulation=2, learning_rate=schedule), tmp_path / "1.h5") == 4


# On JAX Keras scales a loss in compiled steps alone.
@pytest.mark.parametrize("scaled", [False] if keras.backend.backend() == "jax" else [False, True])
def test_what_resumes_counts_batches(tmp_path, scaled):
    """With a scaled loss too, whose own optimizer counts none; and in the second of two batches that make a step."""
    model = one_weight(accumulation=2, ema_momentum=0.5, scale_loss=scaled)
    times = float(model.optimizer.dynamic_scale.numpy()) if scaled else 1.0
    assert [step(model, times * gradient) for gradient in (1.0, 3.0, 5.0)] == [0, -2, -2]
    callback = Checkpoints(SimpleNamespace(checkpoint_path=str(tmp_path / "{epoch}.h5"), epoch=0, config=Config()))
    callback.trained.save_weights = lambda path: None
    callback.set_model(model)
    callback.on_epoch_end(0)

    other = one_weight(accumulation=2, ema_momentum=0.5, scale_loss=scaled)
    assert restore_optimizer(other, tmp_path / "1.h5") == 3
    assert step(other, times * 1.0) == -5  # of 5 and 1
    with averaged(other):
        assert weight(other) == by_hand(0.5, 0, -2, -2, -5)
    sampler = SampleSeed(SimpleNamespace(state=keras.Variable([0, 0], dtype="uint32")), 7)
    sampler.set_model(other)
    sampler.on_epoch_begin(1)
    assert sampler.generator.state.numpy().tolist() == [7, 4]


def test_warmup_counts_steps_of_the_optimizer():
    config, rates = Config().update(GRADIENT_ACCUMULATION=4, WARMUP_STEPS=3, LEARNING_RATE_SCHEDULE="cosine"), []
    network = SimpleNamespace(config=config, compile=lambda rate, momentum: rates.append(rate), _resume_from=None)
    Network._go_on(network, 0.1, 100)
    assert rates[0].get_config() == {"rate": 0.1, "steps": 100, "shape": "cosine", "warmup": 12}
