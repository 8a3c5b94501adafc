"""Learning rates that change with the step."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

# LEARNING_RATE_SCHEDULE -> the factor of the rate when a share of the steps, 0..1, is done.
SHAPES = {
    "constant": lambda done: 1.0,
    "step": lambda done: ops.where(done < 2 / 3, 1.0, ops.where(done < 8 / 9, 0.1, 0.01)),
    "cosine": lambda done: 0.5 * (1 + ops.cos(math.pi * done)),
}


@keras.saving.register_keras_serializable("mrcnn")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises from a thousandth over the first steps, and then falls.

    Args:
        rate: the full learning rate.
        steps: all steps of the training.
        shape: how it falls, a key of `SHAPES`.
        warmup: steps over which it rises.
    """

    def __init__(self, rate: float, steps: int, shape: str = "constant", warmup: int = 0) -> None:
        self.rate, self.steps, self.shape, self.warmup = rate, steps, shape, warmup

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        rise = ops.minimum(1.0, 0.001 + 0.999 * step / max(self.warmup, 1)) if self.warmup else 1.0
        return self.rate * rise * SHAPES[self.shape](ops.minimum(step / self.steps, 1.0))

    def get_config(self) -> dict[str, Any]:
        return {"rate": self.rate, "steps": self.steps, "shape": self.shape, "warmup": self.warmup}


def schedule_for(learning_rate: Any, shape: str, warmup: int, steps_done: int, steps_to_do: int) -> Any:
    """What an optimizer takes as its learning rate.

    Args:
        learning_rate: a number, or a schedule of the user's own, which stays as it is.
        shape: a key of `SHAPES`.
        warmup: steps over which the rate rises.
        steps_done: steps that the optimizer has done, where it resumes.
        steps_to_do: steps of this training.

    Returns:
        `learning_rate` itself, if it is a schedule or has nothing to follow; else the `Schedule` of the number, which
        reaches its end with the last step to do.
    """
    if callable(learning_rate) or (shape == "constant" and not warmup):
        return learning_rate
    return Schedule(learning_rate, steps_done + steps_to_do, shape, warmup)


def from_scratch(rate: float, steps: int) -> keras.optimizers.schedules.CosineDecay:
    """A schedule for random weights: from a tenth of the rate up in a twentieth of the steps, then down to a hundredth
    along a cosine."""
    warmup = max(1, steps // 20)  # after which Keras's own steps begin
    return keras.optimizers.schedules.CosineDecay(
        rate / 10, max(1, steps - warmup), alpha=0.01, warmup_target=rate, warmup_steps=warmup
    )
