"""Learning rates over the steps, and which of them `train` makes."""

import keras
import numpy as np
import pytest
from keras import ops

from mrcnn.train.schedules import Schedule, from_scratch, schedule_for

pytestmark = pytest.mark.graph


def value(schedule, step):
    return float(ops.convert_to_numpy(ops.convert_to_tensor(schedule(step))))


@pytest.mark.parametrize(
    "shape, expected",
    [
        ("constant", [0.0002, 0.1001, 0.2, 0.2, 0.2, 0.2, 0.2]),
        ("step", [0.0002, 0.1001, 0.2, 0.2, 0.02, 0.002, 0.002]),
        (
            "cosine",
            [0.0002, 0.1001 * 0.5 * (1 + np.cos(np.pi / 18)), 0.1 * (1 + np.cos(np.pi / 9)), 0.1, None, None, 0],
        ),
    ],
)
def test_schedule(shape, expected):
    schedule = Schedule(0.2, 90, shape, warmup=10)
    for step, rate in zip((0, 5, 10, 45, 61, 81, 90), expected, strict=True):
        if rate is not None:
            assert value(schedule, step) == pytest.approx(rate, abs=1e-7)
    assert Schedule(**schedule.get_config()).get_config() == schedule.get_config()


def test_a_number_gets_the_steps_of_its_training():
    schedule = schedule_for(0.2, "cosine", 0, steps_done=30, steps_to_do=60)
    assert value(schedule, 45) == pytest.approx(0.1) and value(schedule, 90) == pytest.approx(0, abs=1e-8)
    warm = schedule_for(0.2, "constant", 10, 0, 60)
    assert value(warm, 5) == pytest.approx(0.1001) and value(warm, 60) == pytest.approx(0.2)
    assert schedule_for(0.2, "constant", 0, 30, 60) == 0.2


@pytest.mark.parametrize(
    "own", [Schedule(0.2, 500, "cosine"), keras.optimizers.schedules.CosineDecay(0.2, 500), lambda: 0.2]
)
def test_a_schedule_of_the_users_own_stays_as_it_is(own):
    before = getattr(own, "get_config", dict)()
    assert schedule_for(own, "step", 10, 30, 60) is own
    assert getattr(own, "get_config", dict)() == before


def test_from_scratch():
    """Up from a tenth in five of 105 steps, then half a cosine down to a hundredth, which the last one reaches."""
    rates = [value(from_scratch(0.2, 105), step) for step in (0, 5, 55, 105, 200)]
    np.testing.assert_allclose(rates, [0.02, 0.2, 0.2 * (0.01 + 0.99 / 2), 0.002, 0.002], rtol=1e-5)
    assert value(from_scratch(0.2, 1), 1) == pytest.approx(0.2)
